// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/printable"
)

// ErrOwned means that CPUs belong to a cpuset partition that is none of ours. To write
// the same CPUs elsewhere makes that one invalid on kernels before 7.0.
var ErrOwned = errors.New("another program's cpuset partition has them")

// Bounds of the search: a user who may make cgroups chooses how many and how deep.
const (
	cgroupDepth = 64
	cgroupsMost = 50_000
)

// Owner is a cgroup to which CPUs have been given.
type Owner struct {
	Dir       string      // "/sys/fs/cgroup/machine.slice/machine-rt.slice"
	CPUs      cpulist.Set // its own list
	Partition string      // "isolated" or "root" for a valid cpuset partition, "" for none
	inV1      bool
}

// String describes the owner for a message.
func (o Owner) String() string {
	if o.Partition == "" {
		return printable.Text(o.Dir)
	}
	return fmt.Sprintf("%s (cpuset partition, %s)", printable.Text(o.Dir), o.Partition)
}

// Owners returns the cgroups, at any depth, to which some of the CPUs have been given.
// Where one is below another, only the inner one is returned for the CPUs that both
// have. That the tree is too large to be looked at as a whole is an error beside what
// was found: the outer levels are looked at first.
func Owners(files fs.FS, cpus cpulist.Set) ([]Owner, error) {
	all, err := claims(files)
	return innermost(all, cpus), err
}

// claims returns all cgroups that have CPUs of their own.
func claims(files fs.FS) ([]Owner, error) {
	w := ownerWalk{files: files}
	root := Owner{Dir: cgroupRoot}
	if _, err := fs.Stat(files, inFS(cgroupRoot)+"/cgroup.controllers"); err != nil {
		w.inV1 = true
		root = w.owner(inFS(cgroupRoot) + "/cpuset")
	}
	level := []Owner{root}
	for range cgroupDepth {
		if level = w.below(level); len(level) == 0 {
			return w.found, nil
		}
	}
	return w.found, fmt.Errorf("looking for owners of CPUs: %s has more than %d cgroups, or more than %d levels of them", cgroupRoot, cgroupsMost, cgroupDepth)
}

type ownerWalk struct {
	files fs.FS
	inV1  bool
	seen  int
	found []Owner
}

// below returns the cgroups one level below these, or these if they are too many.
func (w *ownerWalk) below(level []Owner) (next []Owner) {
	for _, parent := range level {
		entries, err := fs.ReadDir(w.files, inFS(parent.Dir))
		if err != nil {
			continue // it has gone, or there is none
		}
		for _, entry := range entries {
			if !entry.IsDir() {
				continue
			}
			if w.seen++; w.seen > cgroupsMost {
				return level
			}
			own := w.owner(path.Join(inFS(parent.Dir), entry.Name()))
			inherited := w.inV1 && own.CPUs == parent.CPUs // the default of version 1
			if !own.CPUs.IsEmpty() && !inherited {
				w.found = append(w.found, own)
			}
			next = append(next, own)
		}
	}
	return next
}

func (w *ownerWalk) owner(dir string) Owner {
	o := Owner{Dir: "/" + dir, CPUs: w.listIn(dir), inV1: w.inV1}
	kind, err := fs.ReadFile(w.files, dir+"/cpuset.cpus.partition")
	if text := strings.TrimSpace(string(kind)); err == nil && (text == Isolated || text == Root) {
		o.Partition = text
		if o.CPUs.IsEmpty() { // its CPUs may stand in the exclusive list only
			o.CPUs = w.setIn(dir + "/cpuset.cpus.exclusive.effective")
		}
	}
	return o
}

func (w *ownerWalk) listIn(dir string) cpulist.Set { return w.setIn(dir + "/cpuset.cpus") }

func (w *ownerWalk) setIn(file string) cpulist.Set {
	text, err := fs.ReadFile(w.files, file)
	if err != nil {
		return cpulist.Set{}
	}
	set, err := cpulist.ParseSysfs(strings.TrimSpace(string(text)))
	if err != nil {
		return cpulist.Set{}
	}
	return set
}

// innermost leaves out the owners all of whose CPUs of these an owner below them has.
func innermost(found []Owner, cpus cpulist.Set) []Owner {
	var list []Owner
	for _, o := range found {
		rest := o.CPUs.Intersect(cpus)
		for _, inner := range found {
			if strings.HasPrefix(inner.Dir, o.Dir+"/") {
				rest = rest.Minus(inner.CPUs)
			}
		}
		if !rest.IsEmpty() {
			list = append(list, o)
		}
	}
	return list
}

// partitionOf returns the partition that an owner is, or is below of.
func partitionOf(files fs.FS, o Owner) Owner {
	for dir := o.Dir; dir != cgroupRoot && dir != "/"; dir = path.Dir(dir) {
		w := ownerWalk{files: files}
		if above := w.owner(inFS(dir)); above.Partition != "" {
			return above
		}
	}
	return Owner{}
}

// ownerIn names an owner and the partition that it is in.
func ownerIn(o, in Owner) string {
	if o.Dir == in.Dir {
		return o.String()
	}
	return fmt.Sprintf("%v, below %v", o, in)
}

// takenFrom names the owner of the CPUs of a partition that the kernel calls invalid.
func takenFrom(files fs.FS, own string) string {
	w := ownerWalk{files: files}
	cpus := w.listIn(inFS(own))
	owners, err := Owners(files, cpus)
	owners = slices.DeleteFunc(owners, func(o Owner) bool { return o.Dir == own || strings.HasPrefix(o.Dir, own+"/") })
	for _, o := range owners {
		if in := partitionOf(files, o); in.Partition != "" || strings.HasPrefix(w.stateOf(o), "isolated") {
			return fmt.Sprintf("%v wants CPU %v for a partition of its own", o, o.CPUs.Intersect(cpus))
		}
	}
	switch {
	case err != nil:
		return err.Error()
	case len(owners) > 0:
		return fmt.Sprintf("%v has CPU %v in its cpuset.cpus since", owners[0], owners[0].CPUs.Intersect(cpus))
	}
	return "no other cgroup has its CPUs now"
}

func (w *ownerWalk) stateOf(o Owner) string {
	text, _ := fs.ReadFile(w.files, inFS(o.Dir)+"/cpuset.cpus.partition")
	return string(text)
}

// Around returns the innermost cpuset partition that a cgroup is in, if it is in one.
func Around(files fs.FS, dir string) (Owner, bool) {
	in := partitionOf(files, Owner{Dir: dir})
	return in, in.Partition != ""
}

// PartitionWith returns the innermost cpuset partition that has all of the CPUs.
func PartitionWith(files fs.FS, cpus cpulist.Set) (Owner, bool) {
	owners, _ := Owners(files, cpus) // the outer ones first: a partition is found
	for _, o := range owners {
		if in, found := Around(files, o.Dir); found && cpus.IsSubsetOf(in.CPUs) {
			return in, true
		}
	}
	return Owner{}, false
}

// refuseOwned refuses CPUs of somebody else's cpuset partition before anything is
// written. Without a partition of its own nothing is taken from anybody.
func refuseOwned(p *Plan, files fs.FS) error {
	if p.kind() == None {
		return nil
	}
	owners, _ := Owners(files, p.CPUs) // a warning of the plan reports that there are more
	for _, o := range owners {
		if in := partitionOf(files, o); in.Partition != "" {
			return fmt.Errorf("CPU %v: %w: %v; choose other CPUs, have that one give them up, or use --partition none",
				o.CPUs.Intersect(p.CPUs), ErrOwned, ownerIn(o, in))
		}
	}
	return nil
}
