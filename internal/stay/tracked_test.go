// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/event"
)

// With context tracking every script begins in user mode, known since 5.
func TestTracked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []event.Event
		want   []string
	}{
		{
			name:   "a stay that nothing names",
			script: []event.Event{at(10, event.UserExit), at(15, event.UserEnter)},
			want:   []string{"10-15 exact user_exit quiet 5:"},
		},
		{
			name:   "a device's interrupt was moved away",
			script: []event.Event{at(10, event.UserExit), at(12, event.VectorFreed, argA(4), argB(0x24)), at(15, event.UserEnter)},
			want:   []string{"10-15 exact vector_free_moved quiet 5: vector_free_moved"},
		},
		{
			name:   "... and a timer does the rest",
			script: []event.Event{at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.VectorFreed), at(13, event.LocalTimerExit), at(15, event.UserEnter)},
			want:   []string{"10-15 exact local_timer_entry quiet 5: local_timer_entry 2, vector_free_moved"},
		},
		{
			name:   "system call",
			script: []event.Event{at(10, event.UserExit), at(11, event.SyscallEnter), at(14, event.SyscallExit), at(15, event.UserEnter)},
			want:   []string{"10-15 exact sys_enter quiet 5: sys_enter 3"},
		},
		{
			name:   "system call that seccomp answers",
			script: []event.Event{at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit), at(14, event.SyscallExit, argA(157)), at(15, event.UserEnter)},
			want:   []string{"10-15 exact sys_enter quiet 5: local_timer_entry 1"},
		},
		{
			name:   "page fault",
			script: []event.Event{at(10, event.UserExit), at(11, event.PageFault), at(25, event.UserEnter)},
			want:   []string{"10-25 exact page_fault_user quiet 5: page_fault_user"},
		},
		{
			name: "interrupt with a softirq",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				at(13, event.SoftirqEnter), at(16, event.SoftirqExit), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, softirq_entry 3"},
		},
		{
			name: "two interrupts in a row are one stay if user mode was not between",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				at(13, event.IRQEnter), at(14, event.IRQExit), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, irq_handler_entry 1"},
		},
		{
			name: "interrupt before a system call shows: the call is what entered",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				at(13, event.SyscallEnter), at(14, event.SyscallExit), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact sys_enter quiet 5: local_timer_entry 1, sys_enter 1"},
		},
		{
			name: "interrupt while an exception is handled: the signal tells",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				at(13, event.Signal, argA(uint64(unix.SIGSEGV)), argB(0x80)), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact signal_deliver quiet 5: local_timer_entry 1, signal_deliver"},
		},
		{
			name: "a signal that somebody sent does not",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				at(13, event.Signal, argA(uint64(unix.SIGSEGV)), argB(0)), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, signal_deliver"},
		},
		{
			name: "interrupt long after an entry that nothing names",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.Signal), at(12, event.LocalTimerEnter), at(13, event.LocalTimerExit), at(18, event.UserEnter),
			},
			want: []string{"10-18 exact user_exit quiet 5: signal_deliver, local_timer_entry 1"},
		},
		{
			name:   "NMI in user mode enters without context tracking",
			script: []event.Event{nmi(30, 4), at(40, event.UserExit), at(45, event.UserEnter)},
			want:   []string{"26-30 exact nmi_handler quiet 21: nmi_handler 4", "40-45 exact user_exit quiet 10:"},
		},
		{
			name:   "two handlers of one NMI whose clocks disagree",
			script: []event.Event{nmi(30, 4), nmi(33, 5)},
			want:   []string{"26-30 exact nmi_handler quiet 21: nmi_handler 4", "30-33 exact nmi_handler quiet 0: nmi_handler 5"},
		},
		{
			name:   "NMI inside a stay names nothing",
			script: []event.Event{at(10, event.UserExit), nmi(15, 2), at(20, event.UserEnter)},
			want:   []string{"10-20 exact user_exit quiet 5: nmi_handler 2"},
		},
		{
			name: "NMI before the interrupt shows",
			script: []event.Event{
				at(10, event.UserExit), nmi(15, 2), at(16, event.SyscallEnter), at(17, event.SyscallExit), at(20, event.UserEnter),
			},
			want: []string{"10-20 exact sys_enter quiet 5: nmi_handler 2, sys_enter 1"},
		},
		{
			name: "preempted and back",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.RescheduleEnter), at(12, event.RescheduleExit), switched(13, app, kworker, runnable),
				at(14, event.Work, in(kworker)), switched(33, kworker, app, sleeping), at(35, event.UserEnter),
			},
			want: []string{"10-35 exact reschedule_entry quiet 5: reschedule_entry 1, sched_switch kworker 20, workqueue_execute_start"},
		},
		{
			name: "preempted by a task with a user mode of its own",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.LocalTimerEnter), at(12, event.LocalTimerExit),
				switched(13, app, event.Task{TID: 50, Name: "cron"}, runnable),
				at(14, event.UserEnter, in(event.Task{TID: 50})), at(18, event.UserExit, in(event.Task{TID: 50})),
				switched(20, event.Task{TID: 50}, app, sleeping), at(22, event.UserEnter),
			},
			want: []string{"10-22 exact local_timer_entry quiet 5: local_timer_entry 1, sched_switch cron 7"},
		},
		{
			name: "blocked in a system call",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.SyscallEnter), switched(12, app, swapper, sleeping),
				send(49, event.SendWake, "bash", uint64(app.TID), 0), at(50, event.RescheduleEnter, in(swapper)), switched(52, swapper, app, runnable),
				at(55, event.SyscallExit), at(56, event.UserEnter),
			},
			want: []string{"10-56 exact sys_enter quiet 5: sys_enter 44, sched_switch swapper 40"},
		},
		{
			name: "blocked in a system call, and when it was woken was not seen: how long it then had to wait is not known",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.SyscallEnter), switched(12, app, swapper, sleeping),
				at(50, event.RescheduleEnter, in(swapper)), switched(52, swapper, app, runnable),
				at(55, event.SyscallExit), at(56, event.UserEnter),
			},
			want: []string{"10-56 sys_enter quiet 5: sys_enter 44, sched_switch swapper 40"},
		},
		{
			name: "moved to a CPU without context tracking",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.SyscallEnter), switched(12, app, swapper, sleeping),
				switched(20, swapper, app, runnable, on(2)), at(22, event.SyscallExit, on(2)), at(30, event.LocalTimerEnter, on(2)),
			},
			want: []string{"10-22 sys_enter quiet 5: sys_enter 11, sched_switch swapper 8"},
		},
		{
			name: "moved from a CPU without context tracking: one end only is the kernel's own",
			script: []event.Event{
				at(10, event.SyscallEnter, on(2)), switched(12, app, swapper, sleeping, on(2)),
				switched(20, swapper, app, runnable), at(22, event.SyscallExit), at(23, event.UserEnter),
			},
			want: []string{"10-23 sys_enter (thread 100, CPU 2, ip 0xa) quiet 5: sys_enter 12, sched_switch swapper 8"},
		},
		{
			name:   "an end that was not reported",
			script: []event.Event{at(10, event.UserExit), at(12, event.SyscallEnter), at(30, event.UserExit), at(35, event.UserEnter)},
			want:   []string{"10-12 sys_enter quiet 5: sys_enter", "30-35 exact user_exit quiet -1:"},
		},
		{
			name:   "a beginning that was not reported",
			script: []event.Event{at(12, event.SyscallEnter), at(30, event.UserEnter)},
			want:   []string{"12-30 sys_enter quiet 7: sys_enter"},
		},
		{
			name: "the program is executed",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.SyscallEnter), exec(20, app, app.TID), at(22, event.SyscallExit), at(23, event.UserEnter),
				at(30, event.UserExit), at(31, event.UserEnter),
			},
			want: []string{"30-31 exact user_exit quiet 7:"},
		},
		{
			name: "child first seen when it is switched to",
			script: []event.Event{
				switched(10, app, peer, sleeping), at(12, event.UserEnter, in(peer)), at(20, event.UserExit, in(peer)), at(25, event.UserEnter, in(peer)),
			},
			want: []string{"20-25 exact user_exit (thread 101, CPU 1, ip 0xa) quiet 8:"},
		},
		{
			name: "the last stay of a thread breaks nothing",
			script: []event.Event{
				at(10, event.UserExit), at(11, event.SyscallEnter), at(12, event.Exit), nmi(15, 2), at(16, event.LocalTimerEnter), switched(18, app, swapper, dead),
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(scriptCPU)
			r.play(append([]event.Event{at(0, event.SyscallExit), at(5, event.UserEnter)}, tc.script...)...)
			expect(t, r, tc.want...)
		})
	}
}

// An observation begins at any moment: what is under way then is not reported.
func TestTrackedBegins(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []event.Event
		want   []string
	}{
		{"in user mode", []event.Event{at(10, event.UserExit), at(15, event.UserEnter)}, []string{"10-15 exact user_exit quiet -1:"}},
		{"at the end of a stay", []event.Event{at(5, event.UserEnter), at(10, event.UserExit), at(15, event.UserEnter)}, []string{"10-15 exact user_exit quiet 5:"}},
		{"in the kernel", []event.Event{at(10, event.SyscallExit), at(15, event.UserEnter)}, nil},
		{"switched to", []event.Event{switched(10, kworker, app, sleeping), at(15, event.UserEnter)}, nil},
		{"in the kernel, switched away and back", []event.Event{
			at(8, event.SyscallExit), switched(10, app, kworker, runnable), switched(12, kworker, app, sleeping), at(15, event.UserEnter),
		}, nil},
		// It may have come in the kernel, so it does not tell where the thread is.
		{"with an NMI", []event.Event{nmi(10, 4), at(12, event.SyscallExit), at(15, event.UserEnter)}, []string{"6-10 nmi_handler quiet -1: nmi_handler 4"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(scriptCPU)
			r.play(tc.script...)
			expect(t, r, tc.want...)
		})
	}
}

// A program that executes on a CPU that is not watched and goes to one that is, is
// in user mode on one of them in the end.
func TestThreadIsOnOneCPU(t *testing.T) {
	r := newRecorder(scriptCPU)
	r.play(exec(5, app, app.TID, on(0)), switched(10, swapper, app, runnable), at(12, event.UserEnter))
	if open := r.Finish(); len(open) != 1 || open[0].CPU != scriptCPU || open[0].TID != app.TID {
		t.Errorf("in user mode: %+v, want thread %d on CPU %d", open, app.TID, scriptCPU)
	}
}

// A break of isolation belongs to the stay that it came in, without the signal that
// it sent; if that kills the thread, the stay ends with it.
func TestIsolationBreaks(t *testing.T) {
	isolated := at(6, event.Isolated, argB(10))
	broken := at(12, event.Broken, argB(uint64(taskiso.Timer)))
	ours := at(14, event.Signal, argA(10), argB(0x80 /* SI_KERNEL */))
	for _, tc := range []struct {
		name   string
		script []event.Event
		want   string
		broken bool
	}{
		{"broken", []event.Event{isolated, at(10, event.UserExit), at(11, event.LocalTimerEnter), broken, ours, at(15, event.UserEnter)},
			"10-15 exact local_timer_entry quiet 5: local_timer_entry", true},
		{"broken, and another signal", []event.Event{isolated, at(10, event.UserExit), at(11, event.RescheduleEnter), broken, at(13, event.Signal, argA(12)), at(15, event.UserEnter)},
			"10-15 exact reschedule_entry quiet 5: reschedule_entry, signal_deliver", true},
		{"left", []event.Event{isolated, at(10, event.UserExit), at(11, event.SyscallEnter), at(12, event.Left), at(15, event.UserEnter)},
			"10-15 exact sys_enter quiet 5: sys_enter", false},
		{"killed", []event.Event{at(6, event.Isolated, argB(uint64(unix.SIGKILL))), at(10, event.UserExit), at(11, event.PageFault), broken,
			at(14, event.Signal, argA(uint64(unix.SIGKILL))), at(20, event.Exit)},
			"10-20 page_fault_user quiet 5: page_fault_user", true},
		{"no handler", []event.Event{isolated, at(10, event.UserExit), at(11, event.SyscallEnter), broken, at(14, event.Signal, argA(10)), at(20, event.Exit)},
			"10-20 sys_enter quiet 5: sys_enter", true},
		{"by a signal of the same number", []event.Event{isolated, at(10, event.UserExit), at(11, event.RescheduleEnter),
			at(12, event.Broken, argA(1<<32), argB(uint64(taskiso.Signal)), argC(10)), at(13, event.Signal, argA(10)), at(15, event.UserEnter)},
			"10-15 exact reschedule_entry quiet 5: reschedule_entry, signal_deliver", true},
	} {
		r := newRecorder(scriptCPU)
		r.play(append([]event.Event{at(5, event.UserEnter)}, tc.script...)...)
		expect(t, r, tc.want)
		if got := len(r.stays) == 1 && r.stays[0].BreaksIsolation(); got != tc.broken {
			t.Errorf("%s: breaks isolation: %v, want %v", tc.name, got, tc.broken)
		}
	}
}
