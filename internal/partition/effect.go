// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/proc"
)

// Effect is a setting that has its value but not, or not yet, its effect.
type Effect struct {
	Setting string `json:"setting"`
	Reason  string `json:"reason"`
	// Later marks what comes by itself: the kernel has taken the setting and acts
	// on it when an interrupt next occurs.
	Later bool `json:"later,omitempty"`
}

// lacking tells whether an effect is missing that does not come by itself.
func lacking(effects []Effect) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { return !e.Later })
}

// effectTime is how long an effect may take: the kernel moves an interrupt when
// it next occurs, and rebuilds scheduling domains later than it says so.
const effectTime = 300 * time.Millisecond

// effectTimeOf is how long the effect of changes may take.
func (s *Store) effectTimeOf(changes []change.Change) time.Duration {
	longest := effectTime
	for _, c := range changes {
		longest = max(longest, c.Delay(s.files))
	}
	return longest
}

// waitForEffect returns the settings that have no effect by the end of effectTime.
func (s *Store) waitForEffect(ctx context.Context, cpus cpulist.Set, kind string, changes []change.Change) []Effect {
	for deadline := time.Now().Add(s.effectTimeOf(changes)); ; {
		missed := s.missed(cpus, kind, changes)
		if len(missed) == 0 || ctx.Err() != nil || time.Now().After(deadline) {
			return missed
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// missed looks at what the kernel makes of the settings, by other files than
// those that were written. What a machine does not show is taken as good.
func (s *Store) missed(cpus cpulist.Set, kind string, changes []change.Change) []Effect {
	missed := []Effect{}
	miss := func(setting, format string, args ...any) {
		missed = append(missed, Effect{Setting: setting, Reason: fmt.Sprintf(format, args...)})
	}
	later := func(setting, format string, args ...any) {
		missed = append(missed, Effect{setting, fmt.Sprintf(format, args...), true})
	}
	for _, irq := range s.interruptsOn(cpus) {
		if s.keepsOff(irq.number, cpus) {
			later("irq-affinity", "IRQ %s still goes to CPU %v: the kernel moves it when it next occurs, which is once more there; --cycle moves it at once", irq.number, irq.on)
			continue
		}
		miss("irq-affinity", "IRQ %s goes to CPU %v: nobody may move it, or somebody has moved it back", irq.number, irq.on)
	}
	for _, c := range changes {
		if reason := c.Outstanding(s.files); reason != "" {
			miss(balancerSetting, "%s", reason)
		}
	}
	const unbound = "/sys/devices/virtual/workqueue/cpumask"
	if on := s.masked(unbound, cpulist.ParseMask).Intersect(cpus); !on.IsEmpty() {
		miss("workqueue", "%s still has CPU %v", unbound, on)
	}
	cgroup := cgroupOfChanges(changes)
	if kind != None {
		s.missedCpuset(cgroup, cpus, kind, miss)
	}
	s.missedTasks(cpus, cgroup, miss, later)
	s.missedAffinity(cpus, changes, miss)
	return missed
}

type strayInterrupt struct {
	number string
	on     cpulist.Set
}

// interruptsOn returns the interrupts that have a handler and go to cpus.
func (s *Store) interruptsOn(cpus cpulist.Set) []strayInterrupt {
	numbers, err := proc.Numbered(s.view, "proc/irq")
	if err != nil {
		return nil
	}
	var stray []strayInterrupt
	for _, number := range numbers {
		n := strconv.Itoa(number)
		on := s.masked("/proc/irq/"+n+"/effective_affinity_list", cpulist.ParseSysfs).Intersect(cpus)
		if on.IsEmpty() {
			continue
		}
		if actions, err := s.files.Read("/sys/kernel/irq/" + n + "/actions"); err == nil && actions == "" {
			continue // nobody has asked for it: it cannot occur
		}
		stray = append(stray, strayInterrupt{n, on})
	}
	return stray
}

// keepsOff tells whether the affinity of an interrupt has none of the CPUs.
func (s *Store) keepsOff(irq string, cpus cpulist.Set) bool {
	asked := s.masked("/proc/irq/"+irq+"/smp_affinity_list", cpulist.ParseSysfs)
	return !asked.IsEmpty() && asked.Intersect(cpus).IsEmpty()
}

// missedAffinity finds threads that had CPUs of their own and now have all that their
// cpuset has: before 6.2 the kernel forgets what sched_setaffinity() asked for when a
// cpuset changes (set_cpus_allowed_ptr in update_tasks_cpumask).
func (s *Store) missedAffinity(cpus cpulist.Set, changes []change.Change, miss func(setting, format string, args ...any)) {
	for _, c := range changes {
		want := c.Kept(cpus)
		if want.IsEmpty() {
			continue
		}
		t, err := thread.Read(s.view, inFS(c.Path))
		if err != nil || t.Start != c.Start || t.Allowed == want || t.Allowed != s.cpusetOf(t) || want == s.cpusetOf(t) {
			continue
		}
		miss(tasksSetting, "%s (%s) had CPU %v to itself and may run on CPU %v now: the kernel has forgotten its affinity, or it has given it up", t.Name, t.Dir, want, t.Allowed)
	}
}

// masked returns the set in a file, the empty one if it has none.
func (s *Store) masked(file string, parse func(string) (cpulist.Set, error)) cpulist.Set {
	text, err := s.files.Read(file)
	if err != nil {
		return cpulist.Set{}
	}
	set, err := parse(text)
	if err != nil {
		return cpulist.Set{}
	}
	return set
}

func (s *Store) missedCpuset(dir string, cpus cpulist.Set, kind string, miss func(setting, format string, args ...any)) {
	if got, err := s.files.Read(dir + "/cpuset.cpus.partition"); err != nil {
		return // it was never made, or it is gone: then that is a drift
	} else if got != kind {
		miss("cpuset", "%s/cpuset.cpus.partition shows %q", dir, got)
	}
	if has := s.masked(dir+"/cpuset.cpus.effective", cpulist.ParseSysfs); !cpus.IsSubsetOf(has) {
		miss("cpuset", "%s/cpuset.cpus.effective has only CPU %v", dir, has)
	}
	if kind != Isolated {
		return
	}
	const isolated = cgroupRoot + "/cpuset.cpus.isolated" // not on older kernels
	if _, err := s.files.Read(isolated); err == nil {
		if rest := cpus.Minus(s.masked(isolated, cpulist.ParseSysfs)); !rest.IsEmpty() {
			miss("cpuset", "%s does not have CPU %v", isolated, rest)
		}
	}
	for cpu := range cpus.All() {
		domains, err := fs.ReadDir(s.view, fmt.Sprintf("sys/kernel/debug/sched/domains/cpu%d", cpu))
		if err == nil && len(domains) > 0 {
			miss("cpuset", "CPU %d is still in %d scheduling domains", cpu, len(domains))
		}
	}
}

// missedTasks finds threads that may still use the CPUs though their affinity
// can be set, and unbound workers.
func (s *Store) missedTasks(cpus cpulist.Set, cgroup string, miss, later func(setting, format string, args ...any)) {
	running, err := thread.All(s.view)
	if err != nil {
		return
	}
	for _, t := range running {
		on := t.Allowed.Intersect(cpus)
		irq := t.Interrupt()
		switch {
		case on.IsEmpty() || s.isInside(t, cgroup):
		case irq != "" && s.keepsOff(irq, cpus):
			later(tasksSetting, "%s (%s) may run on CPU %v: it handles IRQ %s, whose affinity it takes when that next occurs", t.Name, t.Dir, on, irq)
		case irq != "":
			miss(tasksSetting, "%s (%s) may run on CPU %v: it follows IRQ %s, which was not moved", t.Name, t.Dir, on, irq)
		case t.Movable():
			miss(tasksSetting, "%s (%s) may run on CPU %v", t.Name, t.Dir, on)
		case t.IsKernel() && strings.HasPrefix(t.Name, "kworker/u"):
			miss("workqueue", "%s (%s) may run on CPU %v", t.Name, t.Dir, on)
		}
	}
}

// isInside tells whether a thread is in a cgroup or below it.
func (s *Store) isInside(t thread.Thread, cgroup string) bool {
	text, err := s.files.Read(t.Dir + "/cgroup")
	if err != nil || cgroup == "" {
		return false
	}
	dir := cgroupOf(text)
	return dir == cgroup || strings.HasPrefix(dir, cgroup+"/")
}
