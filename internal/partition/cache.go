// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"math/bits"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

const resctrlRoot = change.Resctrl

// CacheGroup returns the directory of the resource control group of a partition.
func CacheGroup(name string) string { return path.Join(resctrlRoot, "taskiso-"+name) }

func cacheKnob() knob {
	return knob{
		name:   cacheSetting,
		why:    "other CPUs fill the same cache and drive out what a task has there",
		source: "Documentation/filesystems/resctrl.rst",
		plan:   planCache,
		rate:   rate{perHour: 0, text: "no interrupt: it slows down what runs"},
		reads:  []string{"sys/devices/system/cpu/cpu[0-9]*/cache/index*/id", "sys/devices/system/cpu/cpu[0-9]*/cache/index*/level", "sys/fs/resctrl", "sys/fs/resctrl/*/cpus_list", "sys/fs/resctrl/*/schemata", "sys/fs/resctrl/info/*/cbm_mask", "sys/fs/resctrl/info/*/min_cbm_bits", "sys/fs/resctrl/info/*/shareable_bits", "sys/fs/resctrl/info/*/sparse_masks", "sys/fs/resctrl/schemata"},
	}
}

// planCache gives isolated CPUs ways of their caches that no others fill: a group
// with these ways, and the default group without them.
func planCache(h *host) (found, error) {
	var f found
	resources, err := cacheResources(h)
	if err != nil {
		return f, err
	}
	if h.spec.CacheWays == 0 {
		return f, because(errLeft, "it takes cache from all other CPUs (--cache-ways N, cache_ways = N)")
	}
	if err := inNoCacheGroup(h); err != nil {
		return f, err
	}
	dir := CacheGroup(h.spec.Name)
	if h.exists(dir) {
		return f, fmt.Errorf("%s exists already: choose another name, or undo the partition that has this one", dir)
	}
	own, others := []change.Change{change.Make(dir)}, []change.Change{}
	for _, r := range resources {
		give, leave, err := divide(h, r)
		if err != nil {
			return found{}, err
		}
		own = append(own, change.Change{Path: dir + "/schemata", To: give, Kind: change.Schema{}})
		others = append(others, leave)
	}
	own = append(own, change.Change{Path: dir + "/cpus_list", To: h.cpus.String(), Kind: change.List{}})
	f.changes = append(own, others...)
	f.note("tasks that are in a resource control group of their own keep its ways on these CPUs too")
	return f, nil
}

// cacheResource is one kind of cache, as resctrl shows it.
type cacheResource struct {
	name          string // "L3"; "L3CODE" and "L3DATA" with code and data prioritization
	level         string
	mask          uint64 // its ways
	shared        uint64 // ways that devices fill too
	fewest        int    // ways in a group
	sparse        bool   // they need not be next to each other
	domains       map[int]uint64
	otherGroups   map[string]map[int]uint64
	domainsOfCPUs []int
}

// cacheResources returns the kinds of the last cache that can be divided.
func cacheResources(h *host) ([]cacheResource, error) {
	infos, err := h.glob(resctrlRoot + "/info/L*/cbm_mask")
	switch {
	case errors.Is(err, errLacking) && h.exists(resctrlRoot+"/info"):
		return nil, because(errLacking, "these caches cannot be divided: no %s/info/L*/cbm_mask", resctrlRoot)
	case errors.Is(err, errLacking) && h.exists(resctrlRoot):
		return nil, because(errLacking, "%s is not mounted (mount -t resctrl resctrl %[1]s)", resctrlRoot)
	case errors.Is(err, errLacking):
		return nil, because(errLacking, "no %s: neither these caches nor this kernel divide them", resctrlRoot)
	case err != nil:
		return nil, err
	}
	var all []cacheResource
	for _, info := range infos {
		r, err := readCacheResource(h, path.Dir(info))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	last := slices.MaxFunc(all, func(a, b cacheResource) int { return strings.Compare(a.level, b.level) }).level
	return slices.DeleteFunc(all, func(r cacheResource) bool { return r.level != last }), nil
}

func readCacheResource(h *host, info string) (r cacheResource, err error) {
	r.name = path.Base(info)
	r.level = r.name[1:2]
	if r.mask, err = readHex(h, info+"/cbm_mask"); err != nil {
		return r, err
	}
	if r.shared, err = readHex(h, info+"/shareable_bits"); err != nil && !errors.Is(err, errLacking) {
		return r, err
	}
	text, err := h.read(info + "/min_cbm_bits")
	if err != nil {
		return r, err
	}
	if r.fewest, err = strconv.Atoi(text); err != nil {
		return r, fmt.Errorf("reading %s/min_cbm_bits: %w", info, err)
	}
	if text, err = h.read(info + "/sparse_masks"); err == nil { // not on older kernels
		r.sparse = text == "1"
	}
	if text, err = h.read(resctrlRoot + "/schemata"); err != nil {
		return r, err
	}
	if r.domains, err = change.ParseSchema(text, r.name); err != nil {
		return r, fmt.Errorf("reading %s/schemata: %w", resctrlRoot, err)
	}
	if r.otherGroups, err = cacheGroups(h, r.name); err != nil {
		return r, err
	}
	r.domainsOfCPUs, err = cacheDomains(h, r.level)
	return r, err
}

func readHex(h *host, file string) (uint64, error) {
	text, err := h.read(file)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", file, err)
	}
	return n, nil
}

// cacheGroups returns the ways of each group but the default one.
func cacheGroups(h *host, resource string) (map[string]map[int]uint64, error) {
	files, err := h.glob(resctrlRoot + "/*/schemata")
	if errors.Is(err, errLacking) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	groups := map[string]map[int]uint64{}
	for _, file := range files {
		text, err := h.read(file)
		if err != nil {
			return nil, err
		}
		if groups[path.Dir(file)], err = change.ParseSchema(text, resource); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	return groups, nil
}

// cacheDomains returns the numbers of the caches of a level that isolated CPUs use.
func cacheDomains(h *host, level string) ([]int, error) {
	seen := map[int]bool{}
	for cpu := range h.cpus.All() {
		id, err := cacheOfCPU(h, cpu, level)
		if err != nil {
			return nil, err
		}
		seen[id] = true
	}
	var ids []int
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

func cacheOfCPU(h *host, cpu int, level string) (int, error) {
	levels, err := h.glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cache/index*/level", cpu))
	if err != nil {
		return 0, err
	}
	for _, file := range levels {
		if text, err := h.read(file); err != nil {
			return 0, err
		} else if text != level {
			continue
		}
		file = path.Join(path.Dir(file), "id")
		text, err := h.read(file)
		if err != nil {
			return 0, err
		}
		id, err := strconv.Atoi(text)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", file, err)
		}
		return id, nil
	}
	return 0, because(errLacking, "CPU %d has no cache of level %s", cpu, level)
}

// inNoCacheGroup refuses CPUs of a group that somebody made: the kernel would not
// give them back to it.
func inNoCacheGroup(h *host) error {
	files, err := h.glob(resctrlRoot + "/*/cpus_list")
	if errors.Is(err, errLacking) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := h.read(file)
		if err != nil {
			return err
		}
		set, err := cpulist.ParseSysfs(text)
		if err != nil {
			return fmt.Errorf("reading %s: %w", file, err)
		}
		if theirs := set.Intersect(h.cpus); !theirs.IsEmpty() {
			return because(errTaken, "CPU %v are in the group %s, and would not be given back to it", theirs, path.Dir(file))
		}
	}
	return nil
}

// divide returns the ways of each cache that the group of the isolated CPUs gets,
// and the change that leaves the default group the others.
func divide(h *host, r cacheResource) (give string, leave change.Change, err error) {
	own := lowestBits(r.mask&^r.shared, h.spec.CacheWays)
	if bits.OnesCount64(own) < h.spec.CacheWays || h.spec.CacheWays < r.fewest || !r.allows(own) {
		return "", leave, because(errTaken, "%d ways of %s are not possible: it has %d, devices fill %d of them too, a group has at least %d",
			h.spec.CacheWays, r.name, bits.OnesCount64(r.mask), bits.OnesCount64(r.shared), r.fewest)
	}
	gives, from, to := map[int]uint64{}, map[int]uint64{}, map[int]uint64{}
	for _, id := range r.domainsOfCPUs {
		now, there := r.domains[id]
		if !there {
			return "", leave, because(errLacking, "%s/schemata has no %s %d", resctrlRoot, r.name, id)
		}
		for group, theirs := range r.otherGroups {
			if theirs[id]&own != 0 {
				return "", leave, because(errTaken, "the group %s has some of the first %d ways of %s %d too", group, h.spec.CacheWays, r.name, id)
			}
		}
		rest := now &^ own
		if bits.OnesCount64(rest) < r.fewest || !r.allows(rest) {
			return "", leave, because(errTaken, "%d ways of %s %d cannot be taken from the default group, which has %x", h.spec.CacheWays, r.name, id, now)
		}
		gives[id], from[id], to[id] = own, now, rest
	}
	return change.FormatSchema(r.name, gives), change.Change{
		Path: resctrlRoot + "/schemata", From: change.FormatSchema(r.name, from), To: change.FormatSchema(r.name, to), Kind: change.Schema{},
	}, nil
}

// allows reports whether ways are next to each other, where they have to be.
func (r cacheResource) allows(ways uint64) bool {
	run := ways >> bits.TrailingZeros64(ways)
	return r.sparse || ways != 0 && run&(run+1) == 0
}

// lowestBits returns the n lowest bits of mask.
func lowestBits(mask uint64, n int) uint64 {
	var low uint64
	for ; n > 0 && mask != 0; n-- {
		bit := mask & -mask
		low, mask = low|bit, mask&^bit
	}
	return low
}
