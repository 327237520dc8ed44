// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// awayPart is a switch of CPU 3 away from a thread, to a task.
func awayPart(from uint32, state uint64, to event.Task, d time.Duration) stay.Part {
	return stay.Part{Event: event.Event{Kind: event.Switch, TID: from, B: state, Task: &to}, Duration: d}
}

// outOfQuota and inFrozenCgroup are switches away from a thread of which the scheduler recorded that.
func outOfQuota(p stay.Part) stay.Part {
	p.Event.Throttled = true
	return p
}

func inFrozenCgroup(p stay.Part) stay.Part {
	p.Event.Frozen = true
	return p
}

// An absence is attributed neither to the entry into the kernel nor to the task that ran first in it.
func TestAbsence(t *testing.T) {
	const (
		own   = 100
		other = 9
		ms    = time.Millisecond
	)
	kworker := event.Task{TID: other, PID: other, Name: "kworker/3:0", Kernel: true}
	idle := event.Task{Name: "swapper/3", Kernel: true}
	work := part(event.Work, tickFunction)
	stopper := event.Task{TID: other, PID: other, Name: "migration/3", Kernel: true}
	const freezer = 0x1 | 0x2000 // TASK_INTERRUPTIBLE and TASK_FREEZABLE, in which others sleep too
	c := load(t)
	for _, tc := range []struct {
		name  string
		entry event.Kind
		parts []stay.Part
		want  string
	}{
		{"quota", event.LocalTimerEnter, []stay.Part{outOfQuota(awayPart(own, 0, idle, 900*ms))}, "away-throttled"},
		{"quota, a kworker first", event.RescheduleEnter, []stay.Part{outOfQuota(awayPart(own, 0, kworker, ms)), work, awayPart(other, 1, idle, 900*ms)}, "away-throttled"},
		{"quota, the stopper first", event.RescheduleEnter, []stay.Part{outOfQuota(awayPart(own, 0, stopper, ms)), awayPart(other, 1, idle, 900*ms)}, "away-throttled"},
		{"quota twice, the second not recorded", event.RescheduleEnter,
			[]stay.Part{outOfQuota(awayPart(own, 0, idle, 900*ms)), awayPart(own, 0, idle, ms)}, "away-throttled"},
		{"idle without a quota", event.LocalTimerEnter, []stay.Part{awayPart(own, 0, idle, 900*ms)}, "away-idle"},
		{"idle without a quota, and a short one", event.LocalTimerEnter,
			[]stay.Part{awayPart(own, 0, idle, 900*ms), outOfQuota(awayPart(own, 0, idle, ms))}, "away-idle"},
		{"idle without a quota, a kworker first", event.RescheduleEnter, []stay.Part{awayPart(own, 0, kworker, ms), work, awayPart(other, 1, idle, 900*ms)}, "away-idle"},
		{"moved, idle until it is back", event.RescheduleEnter, []stay.Part{awayPart(own, 0, stopper, ms/100), awayPart(other, 1, idle, 100*ms)}, "stopper"},
		{"moved after a kworker", event.RescheduleEnter,
			[]stay.Part{awayPart(own, 0, kworker, ms), work, awayPart(other, 0, stopper, ms/100), awayPart(other, 1, idle, 100*ms)}, "work-bound"},
		{"moves itself", event.SyscallEnter, []stay.Part{awayPart(own, 0, stopper, ms/100), awayPart(other, 1, idle, 900*ms)}, "syscall"},
		{"moved while it sleeps, woken just before", event.SyscallEnter, []stay.Part{awayPart(own, 1, idle, 900*ms), awayPart(own, 0, stopper, ms/100), awayPart(other, 1, idle, 900*ms)}, "syscall"},
		{"a kworker, idle for a moment", event.RescheduleEnter, []stay.Part{awayPart(own, 0, kworker, 5*ms), work, awayPart(other, 1, idle, ms)}, "work-bound"},
		{"frozen, a kworker first", event.RescheduleEnter, []stay.Part{inFrozenCgroup(awayPart(own, freezer, kworker, 747*ms)), work}, "away-frozen"},
		{"frozen in a system call", event.SyscallEnter, []stay.Part{inFrozenCgroup(awayPart(own, freezer, kworker, 747*ms))}, "away-frozen"},
		{"asleep where the call was not seen", event.UserExit, []stay.Part{awayPart(own, freezer, kworker, 747*ms), work}, "unnamed"},
		{"frozen while suspended", event.RescheduleEnter, []stay.Part{awayPart(own, taskFrozen, idle, 747*ms)}, "away-frozen"},
		{"stopped", event.RescheduleEnter, []stay.Part{part(event.Signal, 19), awayPart(own, taskStopped|0x100, kworker, 10*ms)}, "away-stopped"},
		{"traced", event.RescheduleEnter, []stay.Part{awayPart(own, taskTraced, idle, 10*ms)}, "away-traced"},
		{"sleeps in a system call", event.SyscallEnter, []stay.Part{awayPart(own, freezer, kworker, 900*ms)}, "syscall"},
		{"system call, then throttled", event.SyscallEnter, []stay.Part{outOfQuota(awayPart(own, 0, idle, 900*ms))}, "away-throttled"},
		{"sleeps in a system call, throttled for a moment", event.SyscallEnter,
			[]stay.Part{awayPart(own, 1, idle, 900*ms), outOfQuota(awayPart(own, 0, idle, ms))}, "syscall"},
		{"page fault, throttled for a moment", event.PageFault, []stay.Part{awayPart(own, 2, idle, 900*ms), outOfQuota(awayPart(own, 0, idle, ms))}, "page-fault"},
	} {
		s := entered(append([]stay.Part{part(tc.entry, 0)}, tc.parts...)...)
		s.TID, s.End = own, time.Second
		if got := c.Of(&s, addresses{}); got.ID != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got.ID, tc.want)
		}
	}
}
