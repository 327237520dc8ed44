// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/trace"
)

// With context tracking every script begins in user mode, known since 5.
func TestTracked(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []trace.Event
		want   []string
	}{
		{
			name:   "a stay that nothing names",
			script: []trace.Event{at(10, trace.UserExit), at(15, trace.UserEnter)},
			want:   []string{"10-15 exact user_exit quiet 5:"},
		},
		{
			name:   "a device's interrupt was moved away",
			script: []trace.Event{at(10, trace.UserExit), at(12, trace.VectorFreed, argA(4), argB(0x24)), at(15, trace.UserEnter)},
			want:   []string{"10-15 exact vector_free_moved quiet 5: vector_free_moved"},
		},
		{
			name:   "... and a timer does the rest",
			script: []trace.Event{at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.VectorFreed), at(13, trace.LocalTimerExit), at(15, trace.UserEnter)},
			want:   []string{"10-15 exact local_timer_entry quiet 5: local_timer_entry 2, vector_free_moved"},
		},
		{
			name:   "system call",
			script: []trace.Event{at(10, trace.UserExit), at(11, trace.SyscallEnter), at(14, trace.SyscallExit), at(15, trace.UserEnter)},
			want:   []string{"10-15 exact sys_enter quiet 5: sys_enter 3"},
		},
		{
			name:   "system call that seccomp answers",
			script: []trace.Event{at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit), at(14, trace.SyscallExit, argA(157)), at(15, trace.UserEnter)},
			want:   []string{"10-15 exact sys_enter quiet 5: local_timer_entry 1"},
		},
		{
			name:   "page fault",
			script: []trace.Event{at(10, trace.UserExit), at(11, trace.PageFault), at(25, trace.UserEnter)},
			want:   []string{"10-25 exact page_fault_user quiet 5: page_fault_user"},
		},
		{
			name: "interrupt with a softirq",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				at(13, trace.SoftirqEnter), at(16, trace.SoftirqExit), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, softirq_entry 3"},
		},
		{
			name: "two interrupts in a row are one stay if user mode was not between",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				at(13, trace.IRQEnter), at(14, trace.IRQExit), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, irq_handler_entry 1"},
		},
		{
			name: "interrupt before a system call shows: the call is what entered",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				at(13, trace.SyscallEnter), at(14, trace.SyscallExit), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact sys_enter quiet 5: local_timer_entry 1, sys_enter 1"},
		},
		{
			name: "interrupt while an exception is handled: the signal tells",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				at(13, trace.Signal, argA(uint64(unix.SIGSEGV)), argB(0x80)), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact signal_deliver quiet 5: local_timer_entry 1, signal_deliver"},
		},
		{
			name: "a signal that somebody sent does not",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				at(13, trace.Signal, argA(uint64(unix.SIGSEGV)), argB(0)), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact local_timer_entry quiet 5: local_timer_entry 1, signal_deliver"},
		},
		{
			name: "interrupt long after an entry that nothing names",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.Signal), at(12, trace.LocalTimerEnter), at(13, trace.LocalTimerExit), at(18, trace.UserEnter),
			},
			want: []string{"10-18 exact user_exit quiet 5: signal_deliver, local_timer_entry 1"},
		},
		{
			name:   "NMI in user mode enters without context tracking",
			script: []trace.Event{nmi(30, 4), at(40, trace.UserExit), at(45, trace.UserEnter)},
			want:   []string{"26-30 exact nmi_handler quiet 21: nmi_handler 4", "40-45 exact user_exit quiet 10:"},
		},
		{
			name:   "two handlers of one NMI whose clocks disagree",
			script: []trace.Event{nmi(30, 4), nmi(33, 5)},
			want:   []string{"26-30 exact nmi_handler quiet 21: nmi_handler 4", "30-33 exact nmi_handler quiet 0: nmi_handler 5"},
		},
		{
			name:   "NMI inside a stay names nothing",
			script: []trace.Event{at(10, trace.UserExit), nmi(15, 2), at(20, trace.UserEnter)},
			want:   []string{"10-20 exact user_exit quiet 5: nmi_handler 2"},
		},
		{
			name: "NMI before the interrupt shows",
			script: []trace.Event{
				at(10, trace.UserExit), nmi(15, 2), at(16, trace.SyscallEnter), at(17, trace.SyscallExit), at(20, trace.UserEnter),
			},
			want: []string{"10-20 exact sys_enter quiet 5: nmi_handler 2, sys_enter 1"},
		},
		{
			name: "preempted and back",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.RescheduleEnter), at(12, trace.RescheduleExit), switched(13, app, kworker, runnable),
				at(14, trace.Work, in(kworker)), switched(33, kworker, app, sleeping), at(35, trace.UserEnter),
			},
			want: []string{"10-35 exact reschedule_entry quiet 5: reschedule_entry 1, sched_switch kworker 20, workqueue_execute_start"},
		},
		{
			name: "preempted by a task with a user mode of its own",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.LocalTimerEnter), at(12, trace.LocalTimerExit),
				switched(13, app, trace.Task{TID: 50, Name: "cron"}, runnable),
				at(14, trace.UserEnter, in(trace.Task{TID: 50})), at(18, trace.UserExit, in(trace.Task{TID: 50})),
				switched(20, trace.Task{TID: 50}, app, sleeping), at(22, trace.UserEnter),
			},
			want: []string{"10-22 exact local_timer_entry quiet 5: local_timer_entry 1, sched_switch cron 7"},
		},
		{
			name: "blocked in a system call",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.SyscallEnter), switched(12, app, swapper, sleeping),
				send(49, trace.SendWake, "bash", uint64(app.TID), 0), at(50, trace.RescheduleEnter, in(swapper)), switched(52, swapper, app, runnable),
				at(55, trace.SyscallExit), at(56, trace.UserEnter),
			},
			want: []string{"10-56 exact sys_enter quiet 5: sys_enter 44, sched_switch swapper 40"},
		},
		{
			name: "blocked in a system call, and when it was woken was not seen: how long it then had to wait is not known",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.SyscallEnter), switched(12, app, swapper, sleeping),
				at(50, trace.RescheduleEnter, in(swapper)), switched(52, swapper, app, runnable),
				at(55, trace.SyscallExit), at(56, trace.UserEnter),
			},
			want: []string{"10-56 sys_enter quiet 5: sys_enter 44, sched_switch swapper 40"},
		},
		{
			name: "moved to a CPU without context tracking",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.SyscallEnter), switched(12, app, swapper, sleeping),
				switched(20, swapper, app, runnable, on(2)), at(22, trace.SyscallExit, on(2)), at(30, trace.LocalTimerEnter, on(2)),
			},
			want: []string{"10-22 sys_enter quiet 5: sys_enter 11, sched_switch swapper 8"},
		},
		{
			name: "moved from a CPU without context tracking: one end only is the kernel's own",
			script: []trace.Event{
				at(10, trace.SyscallEnter, on(2)), switched(12, app, swapper, sleeping, on(2)),
				switched(20, swapper, app, runnable), at(22, trace.SyscallExit), at(23, trace.UserEnter),
			},
			want: []string{"10-23 sys_enter (thread 100, CPU 2, ip 0xa) quiet 5: sys_enter 12, sched_switch swapper 8"},
		},
		{
			name:   "an end that was not reported",
			script: []trace.Event{at(10, trace.UserExit), at(12, trace.SyscallEnter), at(30, trace.UserExit), at(35, trace.UserEnter)},
			want:   []string{"10-12 sys_enter quiet 5: sys_enter", "30-35 exact user_exit quiet -1:"},
		},
		{
			name:   "a beginning that was not reported",
			script: []trace.Event{at(12, trace.SyscallEnter), at(30, trace.UserEnter)},
			want:   []string{"12-30 sys_enter quiet 7: sys_enter"},
		},
		{
			name: "the program is executed",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.SyscallEnter), exec(20, app, app.TID), at(22, trace.SyscallExit), at(23, trace.UserEnter),
				at(30, trace.UserExit), at(31, trace.UserEnter),
			},
			want: []string{"30-31 exact user_exit quiet 7:"},
		},
		{
			name: "child first seen when it is switched to",
			script: []trace.Event{
				switched(10, app, peer, sleeping), at(12, trace.UserEnter, in(peer)), at(20, trace.UserExit, in(peer)), at(25, trace.UserEnter, in(peer)),
			},
			want: []string{"20-25 exact user_exit (thread 101, CPU 1, ip 0xa) quiet 8:"},
		},
		{
			name: "the last stay of a thread breaks nothing",
			script: []trace.Event{
				at(10, trace.UserExit), at(11, trace.SyscallEnter), at(12, trace.Exit), nmi(15, 2), at(16, trace.LocalTimerEnter), switched(18, app, swapper, dead),
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(scriptCPU)
			r.play(append([]trace.Event{at(0, trace.SyscallExit), at(5, trace.UserEnter)}, tc.script...)...)
			expect(t, r, tc.want...)
		})
	}
}

// An observation begins at any moment: what is under way then is not reported.
func TestTrackedBegins(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []trace.Event
		want   []string
	}{
		{"in user mode", []trace.Event{at(10, trace.UserExit), at(15, trace.UserEnter)}, []string{"10-15 exact user_exit quiet -1:"}},
		{"at the end of a stay", []trace.Event{at(5, trace.UserEnter), at(10, trace.UserExit), at(15, trace.UserEnter)}, []string{"10-15 exact user_exit quiet 5:"}},
		{"in the kernel", []trace.Event{at(10, trace.SyscallExit), at(15, trace.UserEnter)}, nil},
		{"switched to", []trace.Event{switched(10, kworker, app, sleeping), at(15, trace.UserEnter)}, nil},
		{"in the kernel, switched away and back", []trace.Event{
			at(8, trace.SyscallExit), switched(10, app, kworker, runnable), switched(12, kworker, app, sleeping), at(15, trace.UserEnter),
		}, nil},
		// It may have come in the kernel, so it does not tell where the thread is.
		{"with an NMI", []trace.Event{nmi(10, 4), at(12, trace.SyscallExit), at(15, trace.UserEnter)}, []string{"6-10 nmi_handler quiet -1: nmi_handler 4"}},
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
	r.play(exec(5, app, app.TID, on(0)), switched(10, swapper, app, runnable), at(12, trace.UserEnter))
	if open := r.Finish(); len(open) != 1 || open[0].CPU != scriptCPU || open[0].TID != app.TID {
		t.Errorf("in user mode: %+v, want thread %d on CPU %d", open, app.TID, scriptCPU)
	}
}

// A break of isolation belongs to the stay that it came in, without the signal that
// it sent; if that kills the thread, the stay ends with it.
func TestIsolationBreaks(t *testing.T) {
	isolated := at(6, trace.Isolated, argB(10))
	broken := at(12, trace.Broken, argB(uint64(taskiso.Timer)))
	ours := at(14, trace.Signal, argA(10), argB(0x80 /* SI_KERNEL */))
	for _, tc := range []struct {
		name   string
		script []trace.Event
		want   string
		broken bool
	}{
		{"broken", []trace.Event{isolated, at(10, trace.UserExit), at(11, trace.LocalTimerEnter), broken, ours, at(15, trace.UserEnter)},
			"10-15 exact local_timer_entry quiet 5: local_timer_entry", true},
		{"broken, and another signal", []trace.Event{isolated, at(10, trace.UserExit), at(11, trace.RescheduleEnter), broken, at(13, trace.Signal, argA(12)), at(15, trace.UserEnter)},
			"10-15 exact reschedule_entry quiet 5: reschedule_entry, signal_deliver", true},
		{"left", []trace.Event{isolated, at(10, trace.UserExit), at(11, trace.SyscallEnter), at(12, trace.Left), at(15, trace.UserEnter)},
			"10-15 exact sys_enter quiet 5: sys_enter", false},
		{"killed", []trace.Event{at(6, trace.Isolated, argB(uint64(unix.SIGKILL))), at(10, trace.UserExit), at(11, trace.PageFault), broken,
			at(14, trace.Signal, argA(uint64(unix.SIGKILL))), at(20, trace.Exit)},
			"10-20 page_fault_user quiet 5: page_fault_user", true},
		{"no handler", []trace.Event{isolated, at(10, trace.UserExit), at(11, trace.SyscallEnter), broken, at(14, trace.Signal, argA(10)), at(20, trace.Exit)},
			"10-20 sys_enter quiet 5: sys_enter", true},
		{"by a signal of the same number", []trace.Event{isolated, at(10, trace.UserExit), at(11, trace.RescheduleEnter),
			at(12, trace.Broken, argA(1<<32), argB(uint64(taskiso.Signal)), argC(10)), at(13, trace.Signal, argA(10)), at(15, trace.UserEnter)},
			"10-15 exact reschedule_entry quiet 5: reschedule_entry, signal_deliver", true},
	} {
		r := newRecorder(scriptCPU)
		r.play(append([]trace.Event{at(5, trace.UserEnter)}, tc.script...)...)
		expect(t, r, tc.want)
		if got := len(r.stays) == 1 && r.stays[0].BreaksIsolation(); got != tc.broken {
			t.Errorf("%s: breaks isolation: %v, want %v", tc.name, got, tc.broken)
		}
	}
}
