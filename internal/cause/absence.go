// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// Reasons that keep a thread from its CPU although no other task wants the CPU.
const (
	throttled = "throttled" // by a quota or budget, and the CPU was idle
	idling    = "idle"      // the CPU was idle, and nothing proves why
	stopped   = "stopped"
	traced    = "traced"
	frozen    = "frozen"
)

// States of a task: include/linux/sched.h, the same in Linux 6.1 to 7.2.
const (
	taskStopped = 0x4
	taskTraced  = 0x8
	taskFrozen  = 0x8000
)

// absenceOf returns what kept the thread of a stay from its CPU, or "". Neither the task that ran there meanwhile nor
// the entry into the kernel is the cause then: they only came first. A system call and a page fault are the thread's own
// doing and stay the cause unless the absence is most of the time.
//
// An idle CPU does not prove a quota: the scheduler's record of the thread does. Once the stopper has run, an idle CPU
// proves nothing: the stopper may have moved the thread (kernel/sched/core.c:migration_cpu_stop).
func absenceOf(s *stay.Stay) string {
	a := absentFor(s)
	why, kept := a.why, a.kept
	if idle := a.throttled + a.idle; idle > max(a.others, kept) {
		why, kept = idling, idle
		if a.throttled > a.idle {
			why = throttled
		}
	}
	if isOwnDoing(s.Entry.Kind) && kept < s.Duration()/2 {
		return ""
	}
	return why
}

// away is how long the thread of a stay was kept from its CPU: while the CPU was idle and the thread throttled; while
// the CPU was idle for an unknown reason; while others ran there; and by the thread's own state, for the reason why.
type away struct {
	throttled, idle, others, kept time.Duration
	why                           string
}

func absentFor(s *stay.Stay) away {
	var a away
	var couldRun, isThrottled bool
	for _, p := range s.Inside {
		if p.Event.Kind != event.Switch {
			continue
		}
		if leaves(s, p.Event) {
			couldRun, isThrottled = p.Event.B == 0, p.Event.Throttled
			if state := keptBy(p.Event); state != "" {
				a.why, a.kept = state, a.kept+p.Duration
				continue
			}
		}
		couldRun = couldRun && (isThrottled || !isStopper(p.Event))
		switch {
		case !couldRun:
		case !isIdle(p.Event):
			a.others += p.Duration
		case isThrottled:
			a.throttled += p.Duration
		default:
			a.idle += p.Duration
		}
	}
	return a
}

func isOwnDoing(k event.Kind) bool { return k == event.SyscallEnter || k == event.PageFault }

// isStopper reports whether e is a switch to the thread by which a CPU is stopped.
func isStopper(e event.Event) bool {
	return e.Task.Kernel && strings.HasPrefix(e.Task.Name, "migration/")
}

// keptBy returns why a thread that gives its CPU away in a state cannot go on, "" if it waits by its own choice. The
// freezer of a cgroup lets a thread sleep in a state in which others sleep as well: kernel/signal.c:do_freezer_trap.
func keptBy(e event.Event) string {
	switch state := e.B; {
	case state&taskTraced != 0:
		return traced
	case state&taskStopped != 0:
		return stopped
	case state&taskFrozen != 0, e.Frozen:
		return frozen
	}
	return ""
}
