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
	"github.com/taskiso/taskiso/internal/partition/change"
)

// planInterrupts moves each interrupt away that can be moved. Newer kernels
// say by the mode of the file which ones cannot (register_irq_proc); older
// ones refuse the write.
func planInterrupts(h *host) (found, error) {
	var f found
	numbers, err := h.interrupts()
	if err != nil {
		return f, err
	}
	theirs := 0 // interrupts that are on housekeeping CPUs then
	for _, n := range numbers {
		file := "/proc/irq/" + strconv.Itoa(n) + "/smp_affinity_list"
		text, writable, err := h.readWritable(file)
		if errors.Is(err, errLacking) {
			continue // it went away meanwhile
		}
		if err != nil {
			return f, err
		}
		changes, err := h.without(file, text, change.List{}, h.housekeeping)
		if err != nil {
			return f, err
		}
		if len(changes) > 0 && !writable {
			f.fixed = append(f.fixed, n)
			continue
		}
		theirs++
		for _, c := range changes {
			c.MayFail = true
			f.changes = append(f.changes, c)
		}
	}
	f.short = h.vectorWarning(theirs)
	if len(f.fixed) > 0 {
		f.note("IRQ %s: the kernel lets nobody move these; boot with isolcpus=managed_irq,%v, or have fewer queues", ranges(f.fixed), h.cpus)
	}
	return f, nil
}

// interrupts returns the numbers of all interrupts, ascending.
func (h *host) interrupts() ([]int, error) {
	entries, err := fs.ReadDir(h.files, "proc/irq")
	if err != nil {
		return nil, readError("/proc/irq", err)
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

// ranges writes ascending numbers as a CPU list does; interrupts can have
// higher numbers than CPUs.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.Itoa(numbers[i])
		if j > i {
			part += "-" + strconv.Itoa(numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

func planUnboundWork(h *host) (found, error) {
	f, err := masked("/sys/devices/virtual/workqueue/cpumask")(h)
	f.note("work that is bound to CPU %v stays there (causes work-bound, task-kernel): beside a program that never sleeps it waits, beside a real-time one for as long as that runs, and so does whoever waits for it, as for I/O, a flush or a module that is unloaded", h.cpus)
	return f, err
}

func planWorkqueues(h *host) (found, error) {
	var f found
	paths, err := h.glob("/sys/devices/virtual/workqueue/*/cpumask")
	if err != nil {
		return f, err
	}
	for _, p := range paths {
		changes, err := h.keepOff(p, change.Mask{}, h.housekeeping)
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	return f, nil
}

// planPacketSteering may leave a mask empty, which switches steering off.
func planPacketSteering(h *host) (found, error) {
	var f found
	paths, err := h.glob("/sys/class/net/*/queues/rx-*/rps_cpus")
	if err != nil {
		return f, err
	}
	for _, p := range paths {
		changes, err := h.keepOff(p, change.Mask{}, cpulist.Set{})
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	return f, nil
}

func planDefaultSteering(h *host) (found, error) {
	changes, err := h.keepOff("/proc/sys/net/core/rps_default_mask", change.Mask{}, cpulist.Set{})
	return found{changes: changes}, err
}

func planWatchdog(h *host) (found, error) {
	on, err := h.read("/proc/sys/kernel/watchdog")
	if err != nil {
		return found{}, err
	}
	if on == "0" {
		return found{}, nil
	}
	changes, err := h.keepOff("/proc/sys/kernel/watchdog_cpumask", change.List{}, h.housekeeping)
	return found{changes: changes}, err
}

// planTimerMigration leaves migration on where it cannot reach the isolated
// CPUs: off, their own timers would no longer leave them when they are idle.
func planTimerMigration(h *host) (found, error) {
	if (h.spec.Partition == Isolated && h.hasCpuset()) || h.cpus.IsSubsetOf(h.Isolated) {
		return found{}, fmt.Errorf("the isolated CPUs are in no scheduling domain with others: %w", errNeedless)
	}
	if h.cpus.IsSubsetOf(h.NohzFull) {
		return found{}, fmt.Errorf("timers migrate to no nohz_full CPU: %w", errNeedless)
	}
	return value("/proc/sys/kernel/timer_migration", "0")(h)
}

// planMerging stops ksmd. Separating what is merged already (2) could not be
// undone; stopping can.
func planMerging(h *host) (found, error) {
	var f found
	text, err := h.read("/sys/kernel/mm/ksm/run")
	if err != nil || text != "1" {
		return f, err
	}
	f.changes = []change.Change{{Path: "/sys/kernel/mm/ksm/run", From: text, To: "0", Kind: change.Text{}}}
	f.note("pages that are merged already stay so: the first write to one is a page fault")
	return f, nil
}

// planPrintk lets only emergencies reach the console. The other three levels of
// the file stay; all messages are in the log as before.
func planPrintk(h *host) (found, error) {
	const file, emergencies = "/proc/sys/kernel/printk", "1"
	var f found
	text, err := h.read(file)
	if err != nil {
		return f, err
	}
	levels := strings.Fields(text)
	if len(levels) != 4 {
		return f, fmt.Errorf("reading %s: %q are not four levels", file, text)
	}
	if levels[0] == "0" || levels[0] == emergencies {
		return f, nil
	}
	f.changes = []change.Change{{Path: file, From: text, To: strings.Join(append([]string{emergencies}, levels[1:]...), "\t"), Kind: change.Text{}}}
	return f, nil
}

func planThrottling(h *host) (found, error) {
	f, err := value("/proc/sys/kernel/sched_rt_runtime_us", "-1")(h)
	if len(f.changes) > 0 {
		f.note("a real-time task that never sleeps then starves all else on its CPU, on housekeeping CPUs too")
	}
	return f, err
}

func planFairServer(h *host) (found, error) {
	if _, err := fs.ReadDir(h.files, "sys/kernel/debug"); errors.Is(err, fs.ErrPermission) {
		return found{}, fmt.Errorf("reading /sys/kernel/debug: %w: plan as root to see it", fs.ErrPermission)
	}
	if !h.exists("/sys/kernel/debug/sched") {
		return found{}, fmt.Errorf("no /sys/kernel/debug/sched: is debugfs mounted? %w", errLacking)
	}
	f, err := perCPU("/sys/kernel/debug/sched/fair_server/cpu%d/runtime", "0")(h)
	for i := range f.changes {
		f.changes[i].MayFail = true
	}
	if len(f.changes) > 0 {
		f.note("ordinary tasks on an isolated CPU then never run beside a real-time task that does not sleep")
	}
	return f, err
}

// planGovernor makes one change for each frequency domain: its CPUs share one
// governor.
func planGovernor(h *host) (found, error) {
	var f found
	var done, drawnIn cpulist.Set
	for cpu := range h.cpus.All() {
		if done.Contains(cpu) {
			continue
		}
		dir := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpufreq/", cpu)
		// There is one driver for all CPUs, and governors are the kernel's
		// (show_scaling_available_governors), so that one file tells for all.
		if done.IsEmpty() {
			if err := h.hasGovernor(dir, "performance"); err != nil {
				return f, err
			}
		}
		shared, err := h.frequencyDomain(dir, cpu)
		if err != nil {
			return f, err
		}
		done = done.Union(shared)
		changes, err := h.set(dir+"scaling_governor", change.Text{}, "performance")
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
		if len(changes) > 0 {
			drawnIn = drawnIn.Union(shared.Minus(h.cpus))
		}
	}
	if !drawnIn.IsEmpty() {
		f.note("CPU %v %s a frequency with isolated CPUs and %s the governor too", drawnIn, either(drawnIn, "shares", "share"), either(drawnIn, "gets", "get"))
	}
	return f, nil
}

func (h *host) hasGovernor(dir, governor string) error {
	available, err := h.read(dir + "scaling_available_governors")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(available), governor) {
		return fmt.Errorf("no governor %q in %sscaling_available_governors, only %s: %w", governor, dir, available, errLacking)
	}
	return nil
}

func (h *host) frequencyDomain(dir string, cpu int) (cpulist.Set, error) {
	text, err := h.read(dir + "affected_cpus")
	if err != nil {
		return cpulist.Set{}, err
	}
	shared, err := cpulist.Parse(text)
	if err != nil {
		return cpulist.Set{}, fmt.Errorf("reading %saffected_cpus: %w", dir, err)
	}
	own, err := cpulist.New(cpu)
	return shared.Union(own), err
}

// planSiblings takes the other threads of isolated cores offline, if the spec
// wants that. It comes after the masks, which the kernel changes when a CPU goes.
func planSiblings(h *host) (found, error) {
	var f found
	others := h.siblings.Minus(h.cpus).Intersect(h.Online)
	switch {
	case h.siblingsError != nil:
		return f, h.siblingsError
	case others.IsEmpty():
		return f, fmt.Errorf("no other thread is online on these cores: %w", errNeedless)
	case h.spec.Siblings != Offline:
		return f, fmt.Errorf("CPU %v %s online, because the spec does not name siblings: %w", others, either(others, "stays", "stay"), errLeft)
	}
	for cpu := range others.All() {
		changes, err := h.set(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu), change.Text{}, "0")
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	f.note("threads that are pinned to CPU %v alone may then run elsewhere", others)
	return f, nil
}

// planCycle takes each isolated CPU offline and online again, if the spec wants
// that: timers, work and interrupts that are there for good then go elsewhere.
func planCycle(h *host) (found, error) {
	var f found
	if !h.spec.Cycle && !slices.Contains(h.spec.Require, cycleSetting) {
		return f, fmt.Errorf("timers and work that were armed on these CPUs before stay there; --cycle (cycle = true) moves them, and stops for a moment what runs there: %w", errLeft)
	}
	for cpu := range h.cpus.All() {
		file := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu)
		if _, err := h.read(file); err != nil {
			return f, err
		}
		f.changes = append(f.changes, change.Change{Path: file, From: "1", To: "1", Kind: change.Cycle{}})
	}
	f.note("threads that are pinned to these CPUs alone may then run elsewhere")
	return f, nil
}

const (
	cpusetSetting = "cpuset"
	cgroupRoot    = "/sys/fs/cgroup"
	partitionFile = "cpuset.cpus.partition"
)

// Cgroup returns the directory of the cgroup of a partition where systemd does not
// run. Where it does, it is a slice of systemd's.
func Cgroup(name string) string { return path.Join(cgroupRoot, "taskiso-"+name) }

// planCpuset makes a cgroup of its own below the root cgroup, which always is a valid
// partition root, so that no other cgroup has to be changed.
func planCpuset(h *host) (found, error) {
	var f found
	if h.spec.Partition == None {
		return f, fmt.Errorf("the spec wants no cpuset partition: %w", errNeedless)
	}
	controllers, err := h.controllers()
	if err != nil {
		return f, err
	}
	if !slices.Contains(controllers, "cpuset") {
		return f, fmt.Errorf("cgroup v2 does not have the controller cpuset, only %q: %w", strings.Join(controllers, " "), errLacking)
	}
	dir := Cgroup(h.spec.Name)
	if h.isSystemd() {
		dir = sliceOf(h.spec.Name)
	}
	if h.exists(dir) {
		return f, fmt.Errorf("%s exists already: choose another name, or undo the partition that has this one", dir)
	}
	if f.changes, err = h.makeCgroup(dir); err != nil {
		return f, err
	}
	kind := change.Change{Path: dir + "/cpuset.cpus.partition", From: "member", To: h.spec.Partition, Kind: change.Partition{}}
	switch atBoot := h.cpus.Intersect(h.bootIsolated); {
	case atBoot.IsEmpty():
	case atBoot == h.cpus:
		kind.MayFail = true
		f.note("CPU %v: isolated at boot; a kernel that makes no partition of such CPUs leaves the cgroup without one; no load is balanced there anyway", h.cpus)
	default:
		f.note("CPU %v: isolated at boot, CPU %v: not; kernels such as 6.12 make no partition of both (\"conflicts with housekeeping setup\"), and creating fails there: ask for one or the other, or boot with other words (\"taskiso partition boot\")", atBoot, h.cpus.Minus(atBoot))
	}
	f.changes = append(f.changes, kind)
	h.noteRivalCpusets(&f)
	f.note("tasks that are to run there are written to %s/cgroup.procs", dir)
	switch {
	case h.isSystemd():
		f.note("services run there with Slice=%s", path.Base(dir))
	case h.exists("/run/systemd/system"):
		f.note("systemd, which cannot be asked here, takes the controller cpuset from the root cgroup when it next starts a unit, and the partition with it")
	}
	return f, nil
}

// makeCgroup makes a cgroup with the CPUs, or lets systemd make it.
func (h *host) makeCgroup(dir string) ([]change.Change, error) {
	if h.isSystemd() {
		return []change.Change{{Path: dir, To: h.cpus.String(), Kind: change.Slice{}}}, nil
	}
	changes, err := h.set(cgroupRoot+"/cgroup.subtree_control", change.Controller{}, "+cpuset")
	return append(changes,
		change.Make(dir),
		change.Change{Path: dir + "/cpuset.cpus", To: h.cpus.String(), Kind: change.List{}}), err
}

// noteRivalCpusets names the cgroups whose own list has the CPUs, and that are no
// partition, of which a warning speaks.
func (h *host) noteRivalCpusets(f *found) {
	owners, _ := Owners(h.files, h.cpus) // a warning says if there are more
	for _, o := range owners {
		if partitionOf(h.files, o).Partition == "" {
			f.note("%v has CPU %v in its cpuset.cpus: older kernels then refuse the partition (\"not exclusive\"); take them out there first", o, o.CPUs.Intersect(h.cpus))
		}
	}
}

// hasCpuset tells whether there will be a cpuset partition.
func (h *host) hasCpuset() bool {
	controllers, _ := h.controllers() // without cgroup v2 there will be none
	return h.spec.Partition != None && !h.mountOf(cgroupRoot+"/cpuset.cpus").readOnly && !slices.Contains(h.spec.Skip, cpusetSetting) && slices.Contains(controllers, "cpuset")
}

func (h *host) controllers() ([]string, error) {
	text, err := h.read(cgroupRoot + "/cgroup.controllers")
	if err == nil {
		return strings.Fields(text), nil
	}
	if errors.Is(err, errLacking) && h.exists(cgroupRoot+"/cpuset") {
		return nil, fmt.Errorf("the controller cpuset belongs to cgroup v1, which has no partitions (systemd.unified_cgroup_hierarchy=1 gives cgroup v2): %w", errLacking)
	}
	return nil, err
}
