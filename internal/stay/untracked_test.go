// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"testing"

	"github.com/taskiso/taskiso/internal/event"
)

// Without context tracking the next entry ends a stay. The scripts end with a
// system call at 1000 that does that, and is itself left open.
func TestUntracked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []event.Event
		want   []string
	}{
		{
			name:   "system call",
			script: []event.Event{at(10, event.SyscallEnter), at(15, event.SyscallExit)},
			want:   []string{"10-15 sys_enter quiet -1: sys_enter 5"},
		},
		{
			name:   "a device's interrupt was moved away",
			script: []event.Event{at(10, event.VectorFreed), at(40, event.VectorFreed)},
			want:   []string{"10-10 vector_free_moved quiet -1: vector_free_moved", "40-40 vector_free_moved quiet 30: vector_free_moved"},
		},
		{
			name: "quiet time between system calls",
			script: []event.Event{
				at(10, event.SyscallEnter), at(15, event.SyscallExit),
				at(40, event.SyscallEnter), at(43, event.SyscallExit),
			},
			want: []string{"10-15 sys_enter quiet -1: sys_enter 5", "40-43 sys_enter quiet 25: sys_enter 3"},
		},
		{
			name:   "interrupt in user mode",
			script: []event.Event{at(10, event.LocalTimerEnter), at(12, event.HRTimer), at(14, event.LocalTimerExit)},
			want:   []string{"10-14 local_timer_entry quiet -1: local_timer_entry 4, hrtimer_expire_entry"},
		},
		{
			name: "two interrupts in user mode, one instruction",
			script: []event.Event{
				at(10, event.LocalTimerEnter), at(14, event.LocalTimerExit),
				at(20, event.IRQEnter), at(21, event.IRQExit),
			},
			want: []string{"10-14 local_timer_entry quiet -1: local_timer_entry 4", "20-21 irq_handler_entry quiet 6: irq_handler_entry 1"},
		},
		{
			name: "softirq after the interrupt",
			script: []event.Event{
				at(10, event.LocalTimerEnter), at(14, event.LocalTimerExit),
				at(15, event.SoftirqEnter), at(18, event.SoftirqExit),
			},
			want: []string{"10-18 local_timer_entry quiet -1: local_timer_entry 4, softirq_entry 3"},
		},
		{
			name: "interrupt in a softirq",
			script: []event.Event{
				at(10, event.LocalTimerEnter), at(14, event.LocalTimerExit),
				at(15, event.SoftirqEnter), at(16, event.IRQEnter), at(17, event.IRQExit), at(18, event.SoftirqExit),
			},
			want: []string{"10-18 local_timer_entry quiet -1: local_timer_entry 4, softirq_entry 3, irq_handler_entry 1"},
		},
		{
			name: "interrupt in a system call",
			script: []event.Event{
				at(10, event.SyscallEnter), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit), at(20, event.SyscallExit),
			},
			want: []string{"10-20 sys_enter quiet -1: sys_enter 10, local_timer_entry 1"},
		},
		{
			name: "interrupt after a system call",
			script: []event.Event{
				at(10, event.SyscallEnter), at(12, event.SyscallExit), at(20, event.LocalTimerEnter), at(21, event.LocalTimerExit),
			},
			want: []string{"10-12 sys_enter quiet -1: sys_enter 2", "20-21 local_timer_entry quiet 8: local_timer_entry 1"},
		},
		{
			name: "page fault, then an interrupt that finds its registers",
			script: []event.Event{
				at(10, event.PageFault), at(12, event.LocalTimerEnter), at(14, event.LocalTimerExit),
			},
			want: []string{"10-14 page_fault_user quiet -1: page_fault_user, local_timer_entry 2"},
		},
		{
			name: "page fault, then an interrupt elsewhere",
			script: []event.Event{
				at(10, event.PageFault), at(12, event.LocalTimerEnter, ip(0xb)), at(14, event.LocalTimerExit, ip(0xb)),
			},
			want: []string{
				"10-10 page_fault_user quiet -1: page_fault_user",
				"12-14 local_timer_entry (thread 100, CPU 1, ip 0xb) quiet 2: local_timer_entry 2",
			},
		},
		{
			name: "page fault that shows when it is resolved, after it has waited",
			script: []event.Event{
				at(10, event.SyscallEnter), at(15, event.SyscallExit), switched(40, app, swapper, 2, ip(0x1)),
				at(60, event.IRQEnter, in(swapper)), at(61, event.IRQExit, in(swapper)),
				switched(70, swapper, app, 0), at(75, event.PageFault, ip(0x1), argB(event.FaultMajor)),
			},
			want: []string{
				"10-15 sys_enter quiet -1: sys_enter 5",
				"40-75 page_fault_user (thread 100, CPU 1, ip 0x1) quiet 25: sched_switch swapper 30, page_fault_user",
			},
		},
		{
			name: "page faults that show when they are resolved, at two instructions",
			script: []event.Event{
				at(10, event.PageFault, argB(event.FaultMinor)), at(20, event.PageFault, argB(event.FaultMinor)), at(30, event.PageFault, argB(event.FaultMinor), ip(0x1)),
			},
			want: []string{
				"10-10 page_fault_user quiet -1: page_fault_user", "20-20 page_fault_user quiet 10: page_fault_user",
				"30-30 page_fault_user (thread 100, CPU 1, ip 0x1) quiet 10: page_fault_user",
			},
		},
		{
			name:   "two page faults at one instruction",
			script: []event.Event{at(10, event.PageFault), at(20, event.PageFault)},
			want:   []string{"10-10 page_fault_user quiet -1: page_fault_user", "20-20 page_fault_user quiet 10: page_fault_user"},
		},
		{
			name:   "NMI in user mode",
			script: []event.Event{at(10, event.SyscallEnter), at(12, event.SyscallExit), nmi(30, 5)},
			want:   []string{"10-12 sys_enter quiet -1: sys_enter 2", "25-30 nmi_handler quiet 13: nmi_handler 5"},
		},
		{
			name:   "NMI in a system call",
			script: []event.Event{at(10, event.SyscallEnter), nmi(15, 2), at(18, event.SyscallExit)},
			want:   []string{"10-18 sys_enter quiet -1: sys_enter 8, nmi_handler 2"},
		},
		{
			name: "signal at the end of a system call",
			script: []event.Event{
				at(10, event.SyscallEnter), at(15, event.SyscallExit), at(16, event.Signal),
			},
			want: []string{"10-16 sys_enter quiet -1: sys_enter 5, signal_deliver"},
		},
		{
			name:   "nothing shows the entry but a signal",
			script: []event.Event{at(10, event.SyscallEnter), at(12, event.SyscallExit), at(12, event.PageFault, ip(1)), at(30, event.Signal, ip(1))},
			want: []string{
				"10-12 sys_enter quiet -1: sys_enter 2",
				"12-30 page_fault_user (thread 100, CPU 1, ip 0x1) quiet 0: page_fault_user, signal_deliver",
			},
		},
		{
			name: "preempted and back",
			script: []event.Event{
				at(10, event.RescheduleEnter), at(11, event.RescheduleExit),
				switched(12, app, kworker, runnable), at(13, event.Work, in(kworker)), switched(20, kworker, app, sleeping),
			},
			want: []string{"10-20 reschedule_entry quiet -1: reschedule_entry 1, sched_switch kworker 8, workqueue_execute_start"},
		},
		{
			name: "preempted by two tasks, one after the other",
			script: []event.Event{
				at(10, event.RescheduleEnter), at(11, event.RescheduleExit),
				switched(12, app, kworker, runnable), switched(20, kworker, ksoft, sleeping),
				at(21, event.SoftirqEnter, in(ksoft)), at(22, event.SoftirqExit, in(ksoft)), switched(25, ksoft, app, sleeping),
			},
			want: []string{"10-25 reschedule_entry quiet -1: reschedule_entry 1, sched_switch kworker 8, sched_switch ksoftirqd 5, softirq_entry 1"},
		},
		{
			name: "preempted, and then the CPU idle although the thread could run",
			script: []event.Event{
				at(10, event.RescheduleEnter), at(11, event.RescheduleExit),
				switched(12, app, kworker, runnable), switched(14, kworker, swapper, sleeping),
				switched(30, swapper, app, runnable),
			},
			want: []string{"10-30 reschedule_entry quiet -1: reschedule_entry 1, sched_switch kworker 2, sched_switch swapper 16"},
		},
		{
			name: "preempted twice",
			script: []event.Event{
				at(10, event.SyscallEnter),
				switched(12, app, kworker, runnable), switched(20, kworker, app, sleeping),
				switched(30, app, ksoft, runnable), switched(33, ksoft, app, sleeping),
				at(40, event.SyscallExit),
			},
			want: []string{"10-40 sys_enter quiet -1: sys_enter 30, sched_switch kworker 8, sched_switch ksoftirqd 3"},
		},
		{
			name: "blocked in a system call: what runs meanwhile is not part of it",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, sleeping),
				at(13, event.LocalTimerEnter, in(swapper)), at(14, event.LocalTimerExit, in(swapper)),
				switched(15, swapper, kworker, runnable), at(16, event.Work, in(kworker)), switched(19, kworker, app, sleeping),
				at(20, event.SyscallExit),
			},
			want: []string{"10-20 sys_enter quiet -1: sys_enter 10, sched_switch swapper 7"},
		},
		{
			name: "moved to another CPU while it slept",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, sleeping),
				switched(18, swapper, app, runnable, on(2)), at(20, event.SyscallExit, on(2)),
			},
			want: []string{"10-20 sys_enter quiet -1: sys_enter 10, sched_switch swapper 6"},
		},
		{
			name: "moved away from the task that preempted it",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, kworker, runnable),
				switched(14, swapper, app, runnable, on(2)), at(15, event.Work, in(kworker)), at(20, event.SyscallExit, on(2)),
			},
			want: []string{"10-20 sys_enter quiet -1: sys_enter 10, sched_switch kworker 2"},
		},
		{
			name: "moved away from a CPU that then was idle",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, kworker, runnable), switched(14, kworker, swapper, sleeping),
				switched(16, swapper, app, runnable, on(2)), at(20, event.SyscallExit, on(2)),
			},
			want: []string{"10-20 sys_enter quiet -1: sys_enter 10, sched_switch kworker 4"},
		},
		{
			name: "two watched threads share the CPU",
			script: []event.Event{
				at(10, event.LocalTimerEnter), at(12, event.LocalTimerExit), switched(14, app, peer, runnable),
				at(20, event.SyscallEnter, in(peer)), at(22, event.SyscallExit, in(peer)),
				at(30, event.LocalTimerEnter, in(peer)), at(31, event.LocalTimerExit, in(peer)),
				switched(32, peer, app, runnable),
			},
			want: []string{
				"20-22 sys_enter (thread 101, CPU 1, ip 0xa) quiet 6: sys_enter 2",
				"10-32 local_timer_entry quiet -1: local_timer_entry 2, sched_switch peer 18",
			},
		},
		{
			name: "the program is executed: the stay with it is not reported",
			script: []event.Event{
				at(10, event.SyscallEnter), exec(20, app, app.TID), at(21, event.PageFault, in(kworker)), at(22, event.SyscallExit),
				at(30, event.SyscallEnter), at(31, event.SyscallExit),
			},
			want: []string{"30-31 sys_enter quiet 8: sys_enter 1"},
		},
		{
			name: "another thread than the leader executes: it becomes the leader",
			script: []event.Event{
				at(10, event.SyscallEnter, in(peer)), exec(20, app, peer.TID), at(22, event.SyscallExit),
				at(30, event.SyscallEnter), at(31, event.SyscallExit),
			},
			want: []string{"30-31 sys_enter quiet 8: sys_enter 1"},
		},
		{
			name: "child first seen when it is switched to: how it came into the kernel is not known",
			script: []event.Event{
				at(5, event.Fork, in(peer), argA(uint64(app.TID))), switched(10, swapper, app, runnable),
				at(20, event.SyscallEnter), at(21, event.SyscallExit),
			},
			want: []string{"20-21 sys_enter quiet 10: sys_enter 1"},
		},
		{
			name: "the last stay of a thread breaks nothing",
			script: []event.Event{
				at(10, event.SyscallEnter, in(peer)), at(15, event.Exit, in(peer)),
				at(16, event.LocalTimerEnter, in(peer)), at(17, event.LocalTimerExit, in(peer)),
				at(18, event.LocalTimerEnter, in(peer)), at(19, event.LocalTimerExit, in(peer)),
				switched(20, peer, app, dead),
			},
		},
		{
			name: "a thread number is used again",
			script: []event.Event{
				at(10, event.SyscallEnter, in(peer)), at(15, event.Exit, in(peer)), switched(20, peer, swapper, dead),
				switched(30, swapper, peer, runnable),
				at(40, event.SyscallEnter, in(peer)), at(41, event.SyscallExit, in(peer)), at(50, event.SyscallEnter, in(peer)),
			},
			want: []string{"40-41 sys_enter (thread 101, CPU 1, ip 0xa) quiet 10: sys_enter 1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder()
			r.play(append(tc.script, at(1000, event.SyscallEnter))...)
			expect(t, r, tc.want...)
		})
	}
}

// Every thread that ends is forgotten, or a fleet of short-lived ones would grow
// the builder for ever.
func TestEndedThreadsAreForgotten(t *testing.T) {
	r := newRecorder()
	for n := range 100 {
		task := event.Task{TID: uint32(1000 + n), Watched: true}
		r.play(
			switched(1000*n, swapper, task, runnable), at(1000*n+1, event.SyscallEnter, in(task)), at(1000*n+2, event.Exit, in(task)),
			at(1000*n+3, event.LocalTimerEnter, in(task)), at(1000*n+4, event.LocalTimerExit, in(task)),
			switched(1000*n+5, task, swapper, dead),
		)
	}
	r.play(at(200_000, event.SyscallEnter, in(peer)), exec(200_001, app, peer.TID))
	if len(r.threads) != 1 || len(r.preempted) > 0 {
		t.Errorf("%d threads known and %d preempted, want only %s", len(r.threads), len(r.preempted), app.Name)
	}
}

func TestPartsBeyondTheBoundAreCounted(t *testing.T) {
	r := newRecorder()
	script := []event.Event{at(10, event.SyscallEnter)}
	for n := range maxParts + 10 {
		script = append(script, at(20+10*n, event.LocalTimerEnter), at(21+10*n, event.LocalTimerExit))
	}
	end := 100 + 10*(maxParts+10)
	r.play(append(script, at(end, event.SyscallExit), at(end+10, event.SyscallEnter))...)
	if len(r.stays) != 1 {
		t.Fatalf("got %d stays, want 1", len(r.stays))
	}
	s := r.stays[0]
	if len(s.Inside) != maxParts || s.Omitted != 11 || int(s.Inside[0].Duration) != end-10 {
		t.Errorf("got %d parts and %d more, the first of %d ns; want %d and 11, %d ns", len(s.Inside), s.Omitted, s.Inside[0].Duration, maxParts, end-10)
	}
}
