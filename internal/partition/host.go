// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/systemd"
	"github.com/taskiso/taskiso/internal/topology"
)

// host is the machine that a plan is for.
type host struct {
	topology.Machine
	files              fs.FS
	bootIsolated       cpulist.Set // those of the isolated ones that isolcpus= has isolated
	unseen             bool        // isolated are those that the command line names: nothing shows more
	partitioned        cpulist.Set // the others, which cpuset partitions have
	cpus, housekeeping cpulist.Set // as the spec wants them
	siblings           cpulist.Set // hardware threads of all cores with an isolated CPU
	siblingsError      error       // why the siblings of some are not known
	hidden             cpulist.Set // hardware threads that are offline for good
	taken              cpulist.Set // by other partitions
	mounts             mounts
	spec               Spec
}

// Files that show what the kernel made of its command line.
const (
	isolatedFile        = "/sys/devices/system/cpu/isolated"
	nohzFullFile        = "/sys/devices/system/cpu/nohz_full"
	defaultAffinityFile = "/proc/irq/default_smp_affinity"
)

// Verdicts of the functions that plan a setting; [because] gives them a reason.
var (
	// errLacking means that the machine has no such setting, nor what it would end.
	errLacking = errors.New("not on this machine")
	// errFixed means that it has what the setting would end, and lets nobody change it.
	errFixed = errors.New("not changeable on this machine")
	// errLeft means that it is changed only on request.
	errLeft = errors.New("only on request")
	// errTaken means that the machine has it, but others have taken it.
	errTaken = errors.New("not available here")
	// errElsewhere means that the machine has it, but it cannot be written from here.
	errElsewhere = errors.New("not from here")
	// errNeedless means that the machine has it, but it would change nothing.
	errNeedless = errors.New("not needed")
)

// reason is a verdict for a reader: the state has a word of its own, so the text is
// the reason alone.
type reason struct {
	verdict error
	text    string
}

func (r reason) Error() string { return r.text }
func (r reason) Unwrap() error { return r.verdict }

func because(verdict error, format string, args ...any) error {
	return reason{verdict, fmt.Sprintf(format, args...)}
}

// readHost reads what a spec is about; taken are the CPUs of other partitions.
func readHost(spec Spec, files fs.FS, taken cpulist.Set) (*host, error) {
	h := &host{files: files, spec: spec, taken: taken}
	var err error
	if h.Machine, err = topology.ReadMachine(files); err != nil {
		return nil, err
	}
	if h.cpus, err = h.parseCPUs("cpus", spec.CPUs); err != nil {
		return nil, err
	}
	h.findBootIsolated()
	h.siblings, h.siblingsError = h.threadsOfCores()
	h.hidden = h.hiddenThreads()
	h.mounts = readMounts(files)
	return h, h.chooseHousekeeping()
}

// findBootIsolated separates the CPUs that isolcpus= has isolated from those of cpuset
// partitions, which newer kernels show in the same file. Without the command line
// none of them is known to be of a partition.
//
// A kernel without that file (before 4.2) is assumed to have followed its command line.
func (h *host) findBootIsolated() {
	text, err := h.read("/proc/cmdline")
	if h.unseen = err == nil && !h.exists(isolatedFile); h.unseen {
		h.Isolated = askedFor(domainKind, arguments(text), h.Possible)
	}
	h.bootIsolated = h.Isolated
	if err == nil {
		h.bootIsolated = h.Isolated.Intersect(askedFor(domainKind, arguments(text), h.Possible))
	}
	h.partitioned = h.Isolated.Minus(h.bootIsolated)
}

// hiddenThreads returns CPUs that stay offline because the machine was booted
// without hardware threads: what is set for them would only count if that ended.
func (h *host) hiddenThreads() cpulist.Set {
	control, err := h.read("/sys/devices/system/cpu/smt/control")
	if err != nil {
		text, _ := h.read("/proc/cmdline")
		if len(named(arguments(text), "nosmt")) > 0 {
			control = "off"
		}
	}
	if control != "off" && control != "forceoff" {
		return cpulist.Set{}
	}
	return h.Possible.Minus(h.Online)
}

// threadsOfCores returns the hardware threads of all cores with an isolated CPU, as
// far as the machine shows them.
func (h *host) threadsOfCores() (all cpulist.Set, err error) {
	if active, err := h.read("/sys/devices/system/cpu/smt/active"); err == nil && active == "0" {
		return h.cpus, nil
	}
	all = h.cpus
	var unknown cpulist.Set
	for cpu := range h.cpus.All() {
		threads, err := topology.Siblings(h.files, cpu)
		if err != nil {
			unknown = unknown.Union(single(cpu))
		}
		all = all.Union(threads)
	}
	if !unknown.IsEmpty() {
		err = fmt.Errorf("which threads share a core with CPU %v is not known: neither core_cpus_list nor thread_siblings_list in /sys/devices/system/cpu/cpu*/topology can be read", unknown)
	}
	return all, err
}

func (h *host) parseCPUs(what, text string) (cpulist.Set, error) {
	if text == "" {
		return cpulist.Set{}, wrong("%s: no CPU given: name them with -c 2-3, or cpus = \"2-3\" in the spec", what)
	}
	set, err := h.Parse(text)
	if err != nil {
		return set, wrong("%s: %w", what, err)
	}
	return set, nil
}

func (h *host) chooseHousekeeping() error {
	rest, err := h.Beside(h.cpus)
	if err != nil {
		return wrong("%w", err)
	}
	if h.spec.Siblings == Offline {
		rest = rest.Minus(h.siblings)
	}
	if rest = rest.Minus(h.taken); rest.IsEmpty() {
		return wrong("CPU %v %s all that no other partition has, or its cores: one must be left for the rest of the system", h.cpus, either(h.cpus, "is", "are"))
	}
	if h.spec.Housekeeping == "" {
		h.housekeeping = h.Housekeeping(rest)
		return nil
	}
	chosen, err := h.parseCPUs("housekeeping", h.spec.Housekeeping)
	if err != nil {
		return err
	}
	if both := chosen.Intersect(h.cpus); !both.IsEmpty() {
		return wrong("CPU %v cannot both be isolated and do housekeeping", both)
	}
	if theirs := chosen.Intersect(h.taken); !theirs.IsEmpty() {
		return wrong("CPU %v cannot do housekeeping: another partition has them", theirs)
	}
	h.housekeeping = chosen
	return nil
}

// read returns the value in a file.
func (h *host) read(path string) (string, error) {
	content, err := kernfs.ReadValue(h.files, strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", h.readError(path, err)
	}
	return strings.TrimSpace(string(content)), nil
}

// readWritable returns also whether the mode of the file lets root write it.
func (h *host) readWritable(path string) (text string, writable bool, err error) {
	content, mode, err := kernfs.ReadValueMode(h.files, strings.TrimPrefix(path, "/"))
	if err != nil {
		return "", false, h.readError(path, err)
	}
	return strings.TrimSpace(string(content)), mode&0o200 != 0, nil
}

// alwaysThere are directories that every kernel has which could have a setting below. Where one of them is missing, as with
// a procfs of processes only (subset=pid) and in sandboxes, its files are hidden, and that a file is missing proves nothing.
var alwaysThere = []string{"/proc/irq", "/proc/sys", "/sys/class/net", "/sys/kernel/mm"}

// missing is the error of a path that is not there.
func (h *host) missing(path string) error {
	for _, dir := range alwaysThere {
		if (path == dir || strings.HasPrefix(path, dir+"/")) && !h.exists(dir) {
			return fmt.Errorf("there is no %s here, so that the files below it cannot be known: look from the host itself, with all of /proc and /sys mounted", dir)
		}
	}
	return because(errLacking, "no %s", path)
}

func (h *host) readError(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return h.missing(path)
	}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		err = pathError.Err
	}
	return fmt.Errorf("reading %s: %w", path, err)
}

func (h *host) exists(path string) bool {
	_, err := fs.Stat(h.files, strings.TrimPrefix(path, "/"))
	return err == nil
}

// glob returns the paths that match, in the order of [fs.Glob], absolute.
func (h *host) glob(pattern string) ([]string, error) {
	paths, err := fs.Glob(h.files, strings.TrimPrefix(pattern, "/"))
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, h.noneOf(pattern)
	}
	for i, path := range paths {
		paths[i] = "/" + path
	}
	return paths, nil
}

// noneOf is the error of a pattern that nothing matches: [fs.Glob] takes a directory that cannot be read for an empty one.
func (h *host) noneOf(pattern string) error {
	dir, _, _ := strings.Cut(pattern, "*")
	dir = dir[:strings.LastIndexByte(dir, '/')]
	if _, err := fs.ReadDir(h.files, inFS(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return h.readError(dir, err)
	}
	return h.missing(pattern)
}

// keepOff returns the change that takes isolated CPUs out of the set in a file,
// or none if there are none in it. An empty rest becomes instead.
func (h *host) keepOff(path string, kind change.CPUs, instead cpulist.Set) ([]change.Change, error) {
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	return h.without(path, text, kind, instead)
}

func (h *host) without(path, text string, kind change.CPUs, instead cpulist.Set) ([]change.Change, error) {
	set, err := kind.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if set.Intersect(h.cpus).IsEmpty() {
		return nil, nil
	}
	rest := set.Minus(h.cpus).Minus(h.hidden)
	if rest.Intersect(h.Online).IsEmpty() {
		rest = instead
	}
	return []change.Change{{Path: path, From: text, To: kind.Format(rest), Kind: kind}}, nil
}

// set returns the change to a value, or none if it is there already.
func (h *host) set(path string, kind change.Kind, value string) ([]change.Change, error) {
	text, err := h.read(path)
	if err != nil {
		return nil, err
	}
	return change.To(value, path, text, kind), nil
}

// clusterMates returns CPUs that share a cache with isolated ones, but no core.
func (h *host) clusterMates() cpulist.Set {
	var all cpulist.Set
	var ids []string
	for cpu := range h.cpus.All() {
		cluster, err := topology.Cluster(h.files, cpu)
		if err != nil {
			ids = append(ids, h.secondCache(cpu))
		}
		all = all.Union(cluster)
	}
	// Archives of older versions of taskiso have no lists, only numbers of caches.
	if slices.ContainsFunc(ids, func(id string) bool { return id != "" }) {
		for cpu := range h.Online.All() {
			if id := h.secondCache(cpu); id != "" && slices.Contains(ids, id) {
				all = all.Union(single(cpu))
			}
		}
	}
	return all.Minus(h.siblings).Minus(h.cpus).Intersect(h.Online)
}

// secondCache returns the number of a CPU's L2 cache, or nothing.
func (h *host) secondCache(cpu int) string {
	files, err := h.glob(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cache/index[0-9]*/level", cpu))
	if err != nil {
		return ""
	}
	for _, file := range files {
		if level, err := h.read(file); err == nil && level == "2" {
			id, _ := h.read(path.Dir(file) + "/id")
			return id
		}
	}
	return ""
}

// interrupts returns the numbers of all interrupts, ascending.
func (h *host) interrupts() ([]int, error) {
	entries, err := fs.ReadDir(h.files, "proc/irq")
	if err != nil {
		return nil, h.readError("/proc/irq", err)
	}
	var numbers []int
	for _, entry := range entries {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

func (h *host) irqNumbers() []int {
	numbers, _ := h.interrupts() // a machine that does not list them is not warned of
	return numbers
}

// machineCheck returns the directory of a CPU with settings for machine checks, which
// only x86 has. There is none of a CPU that is offline, which may be CPU 0.
func (h *host) machineCheck() (dir string, err error) {
	const top = "/sys/devices/system/machinecheck"
	for cpu := range h.Online.All() {
		dir := fmt.Sprintf("%s/machinecheck%d", top, cpu)
		switch _, err := fs.Stat(h.files, inFS(dir)); {
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", h.readError(dir, err)
		}
	}
	return "", because(errLacking, "no %s", top)
}

// isSystemd reports whether systemd is there to be asked.
func (h *host) isSystemd() bool { return h.exists(systemd.Socket) }

func orNone(set cpulist.Set) string {
	if set.IsEmpty() {
		return "no CPU"
	}
	return "CPU " + set.String()
}

// either chooses the word for one CPU or for several.
func either(cpus cpulist.Set, one, several string) string {
	if cpus.Len() == 1 {
		return one
	}
	return several
}

// processes returns the numbers of processes by name, of each the first.
func processes(files fs.FS) map[string]int {
	running := make(map[string]int)
	numbers, err := proc.Processes(files)
	if err != nil {
		return running
	}
	for _, pid := range numbers {
		name, err := proc.Comm(files, proc.Process(pid))
		if _, known := running[name]; err == nil && !known {
			running[name] = pid
		}
	}
	return running
}
