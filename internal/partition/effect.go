// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// Effect is a setting that has its value but not, or not yet, its effect.
type Effect struct {
	Setting string `json:"setting"`
	Reason  string `json:"reason"`
	// Later marks what comes by itself: the kernel has taken the setting and acts
	// on it when an interrupt next occurs.
	Later bool `json:"later,omitempty"`
}

// lacking reports whether an effect is missing that does not come by itself.
func lacking(effects []Effect) bool {
	return slices.ContainsFunc(effects, func(e Effect) bool { return !e.Later })
}

// effectTime is how long an effect may take: the kernel moves an interrupt when
// it next occurs, and rebuilds scheduling domains after it shows the new setting.
const effectTime = 300 * time.Millisecond

// effects are looked for on a machine that runs.
type effects struct {
	live
	cpus    cpulist.Set // of the partition
	kind    string      // of the cpuset partition
	changes []change.Change
	missed  []Effect
}

// waitForEffect returns the settings that have no effect by the end of effectTime.
func (l live) waitForEffect(ctx context.Context, cpus cpulist.Set, kind string, changes []change.Change) []Effect {
	e := effects{live: l, cpus: cpus, kind: kind, changes: changes}
	for deadline := time.Now().Add(e.time()); ; {
		e.look()
		if len(e.missed) == 0 || ctx.Err() != nil || time.Now().After(deadline) {
			return e.missed
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// time is how long the effect of the changes may take.
func (e *effects) time() time.Duration {
	longest := effectTime
	for _, c := range e.changes {
		longest = max(longest, c.Delay(e.files))
	}
	return longest
}

func (e *effects) miss(setting, format string, args ...any) {
	e.missed = append(e.missed, Effect{Setting: setting, Reason: fmt.Sprintf(format, args...)})
}

func (e *effects) later(setting, format string, args ...any) {
	e.missed = append(e.missed, Effect{setting, fmt.Sprintf(format, args...), true})
}

// look checks the effect of the settings in the kernel, by other files than
// those that were written. An effect that a machine does not show counts as good.
func (e *effects) look() {
	e.missed = []Effect{}
	e.interrupts()
	for _, c := range e.changes {
		if reason := c.Outstanding(e.files); reason != "" {
			e.miss(balancerSetting, "%s", reason)
		}
	}
	const unbound = "/sys/devices/virtual/workqueue/cpumask"
	if on := e.masked(unbound, cpulist.ParseMask).Intersect(e.cpus); !on.IsEmpty() {
		e.miss("workqueue", "%s still has CPU %v", unbound, on)
	}
	cgroup := cgroupOfChanges(e.changes)
	if e.kind != None {
		e.cpuset(cgroup)
	}
	e.tasks(cgroup)
	e.affinities()
}

// interrupts finds those that still go to the CPUs.
func (e *effects) interrupts() {
	for _, irq := range e.interruptsOn(e.cpus) {
		if e.keepsOff(irq.number, e.cpus) {
			e.later("irq-affinity", "IRQ %s still goes to CPU %v: the kernel moves it when it next occurs, which is once more there; --cycle moves it at once", irq.number, irq.on)
			continue
		}
		e.miss("irq-affinity", "IRQ %s goes to CPU %v: nobody may move it, or somebody has moved it back", irq.number, irq.on)
	}
}

// affinities finds threads that had CPUs of their own and now have all that their
// cpuset has: before 6.2 the kernel forgets what sched_setaffinity() asked for when a
// cpuset changes (set_cpus_allowed_ptr in update_tasks_cpumask).
func (e *effects) affinities() {
	for _, c := range e.changes {
		want := c.Kept(e.cpus)
		if want.IsEmpty() {
			continue
		}
		t, err := thread.Read(e.view, inFS(c.Path))
		if err != nil || !thread.Same(t.Start, c.Start) || t.Allowed == want || t.Allowed != e.cpusetOf(t) || want == e.cpusetOf(t) {
			continue
		}
		e.miss(tasksSetting, "%s (%s) had CPU %v to itself and may run on CPU %v now: the kernel has forgotten its affinity, or it has given it up", t.Name, t.Dir, want, t.Allowed)
	}
}

// cpuset compares what the kernel shows of a cpuset partition.
func (e *effects) cpuset(dir string) {
	if got, err := e.files.Read(dir + "/cpuset.cpus.partition"); err != nil {
		return // it was never made, or it is gone: then that is a drift
	} else if got != e.kind {
		e.miss("cpuset", "%s/cpuset.cpus.partition shows %q", dir, got)
	}
	if has := e.masked(dir+"/cpuset.cpus.effective", cpulist.ParseSysfs); !e.cpus.IsSubsetOf(has) {
		e.miss("cpuset", "%s/cpuset.cpus.effective has only CPU %v", dir, has)
	}
	if e.kind != Isolated {
		return
	}
	const isolated = cgroupRoot + "/cpuset.cpus.isolated" // not on older kernels
	if _, err := e.files.Read(isolated); err == nil {
		if rest := e.cpus.Minus(e.masked(isolated, cpulist.ParseSysfs)); !rest.IsEmpty() {
			e.miss("cpuset", "%s does not have CPU %v", isolated, rest)
		}
	}
	for cpu := range e.cpus.All() {
		domains, err := fs.ReadDir(e.view, fmt.Sprintf("sys/kernel/debug/sched/domains/cpu%d", cpu))
		if err == nil && len(domains) > 0 {
			e.miss("cpuset", "CPU %d is still in %d scheduling domains", cpu, len(domains))
		}
	}
}

// tasks finds threads that may still use the CPUs though their affinity
// can be set, and unbound workers.
func (e *effects) tasks(cgroup string) {
	running, err := thread.All(e.view)
	if err != nil {
		return
	}
	for _, t := range running {
		on := t.Allowed.Intersect(e.cpus)
		irq := t.Interrupt()
		switch {
		case on.IsEmpty() || e.isInside(t, cgroup):
		case irq != "" && e.keepsOff(irq, e.cpus):
			e.later(tasksSetting, "%s (%s) may run on CPU %v: it handles IRQ %s, whose affinity it takes when that next occurs", t.Name, t.Dir, on, irq)
		case irq != "":
			e.miss(tasksSetting, "%s (%s) may run on CPU %v: it follows IRQ %s, which was not moved", t.Name, t.Dir, on, irq)
		case t.Movable():
			e.miss(tasksSetting, "%s (%s) may run on CPU %v", t.Name, t.Dir, on)
		case t.IsKernel() && strings.HasPrefix(t.Name, "kworker/u"):
			e.miss("workqueue", "%s (%s) may run on CPU %v", t.Name, t.Dir, on)
		}
	}
}
