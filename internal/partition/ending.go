// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// Ending is what a partition does about the interruptions of one cause.
type Ending string

// Endings.
const (
	Remains Ending = "remains"
	Ends    Ending = "ends"
	Unclear Ending = "unknown"
)

// endings are the causes of the catalogue that a setting ends by itself. Causes that it only makes rarer are not in it.
var endings = map[string]string{
	"irq": "irq-affinity", "task-irq-thread": "irq-affinity",
	"work-unbound": "workqueue", "work-scheduler-tick": "workqueue",
	"ipi-network": "rps", "ipi-network-buffers": "skb-defer",
	"timer-lockup-watchdog": "watchdog", "timer-machine-check": "mce-polling",
	"ipi-tlb-user-numa": "numa-balancing", "ipi-tlb-user-khugepaged": "thp", "ipi-tlb-user-ksm": "ksm",
	"timer-rt-throttling":   "rt-throttling",
	"timer-deadline-server": "fair-server", "ipi-deadline-server": "fair-server", "ipi-tick-kick-deadline": "fair-server",
	"ipi-cpufreq": "cpufreq", "work-cpufreq": "cpufreq", "task-cpufreq": "cpufreq",
	"stopper-balance": cpusetSetting, "ipi-idle-balance": cpusetSetting, "ipi-rt-push": cpusetSetting,
	"task-user": tasksSetting, "task-kernel": tasksSetting, "task-memory": tasksSetting, "task-rcu": tasksSetting, "task-napi": tasksSetting,
}

// EndingCauses returns the causes of which a setting ends the interruptions, with the names of these settings.
func EndingCauses() map[string]string { return endings }

// Ending is what it does about the interruptions of a cause if the plan is carried out. detail distinguishes them from
// others of the cause, as reports have it; running are the threads of the machine.
func (p *Plan) Ending(cause, detail string, running []thread.Thread) Ending {
	name := endings[cause]
	if name == tasksSetting && p.kind() != None {
		name = cpusetSetting // which moves them
	}
	s := p.setting(name)
	if s == nil {
		return Remains
	}
	e := s.ending()
	switch {
	case e != Ends:
		return e
	case cause == "irq":
		number, _, _ := strings.Cut(detail, " ")
		return s.endingOfInterrupt(number)
	case cause == "task-irq-thread":
		return s.endingOfInterrupt(thread.Thread{Name: detail, Flags: thread.Kthread}.Interrupt())
	case endings[cause] == tasksSetting:
		return p.endingOfThread(cause, detail, running)
	}
	return Ends
}

// ending is what the setting does about what it ends on other machines.
func (s *Setting) ending() Ending {
	mayFail := s.Name == cpusetSetting && slices.ContainsFunc(s.Changes, func(c change.Change) bool { return c.MayFail })
	switch {
	case s.State == Unknown, s.State == Changes && (s.Short != "" || mayFail):
		return Unclear
	case s.State == Changes:
		return Ends
	}
	return Remains
}

// endingOfInterrupt looks for an interrupt among those that are moved.
func (s *Setting) endingOfInterrupt(number string) Ending {
	if slices.ContainsFunc(s.Changes, func(c change.Change) bool { return strings.HasPrefix(c.Path, "/proc/irq/"+number+"/") }) {
		return Ends
	}
	return Remains
}

// endingOfThread looks whether every thread of a name is moved. What has ended by now would have been moved, or its parent,
// if it was of a user.
func (p *Plan) endingOfThread(cause, name string, running []thread.Thread) Ending {
	var stay, moved int
	for _, t := range running {
		switch {
		case t.Name != name:
		case !t.Movable() || p.kind() == None && t.Allowed.IsSubsetOf(p.CPUs):
			stay++
		default:
			moved++
		}
	}
	switch {
	case stay > 0 && moved > 0, stay+moved == 0 && cause != "task-user":
		return Unclear
	case stay > 0:
		return Remains
	}
	return Ends
}
