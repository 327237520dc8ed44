// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/event"
)

func TestLost(t *testing.T) {
	call := []event.Event{at(10, event.UserExit), at(11, event.SyscallEnter), at(14, event.SyscallExit), at(15, event.UserEnter)}
	for _, tc := range []struct {
		name    string
		tracked []int
		play    func(r *recorder)
		want    []string
	}{
		{
			name: "no quiet stretch across a loss", tracked: []int{1},
			play: func(r *recorder) {
				r.play(call...)
				r.lose([]int{1})
				r.play(at(50, event.UserExit), at(55, event.UserEnter))
			},
			want: []string{"10-15 exact sys_enter quiet -1: sys_enter 3", "50-55 exact user_exit quiet -1:"},
		},
		{
			name: "a loss on another CPU changes nothing", tracked: []int{1},
			play: func(r *recorder) {
				r.play(call...)
				r.lose([]int{0, 2})
				r.play(at(50, event.UserExit), at(55, event.UserEnter))
			},
			want: []string{"10-15 exact sys_enter quiet -1: sys_enter 3", "50-55 exact user_exit quiet 35:"},
		},
		{
			name: "stays of a batch with losses may be several", tracked: []int{1},
			play: func(r *recorder) {
				r.lose([]int{1}, append(call, at(20, event.UserExit), at(25, event.UserEnter))...)
			},
			want: []string{"10-15 lossy sys_enter quiet -1: sys_enter 3", "20-25 lossy user_exit quiet -1:"},
		},
		{
			name: "the next batch is whole again", tracked: []int{1},
			play: func(r *recorder) {
				r.lose([]int{1}, call...)
				r.play(at(20, event.UserExit), at(25, event.UserEnter), at(30, event.UserExit), at(35, event.UserEnter))
			},
			want: []string{
				"10-15 lossy sys_enter quiet -1: sys_enter 3",
				"20-25 exact user_exit quiet -1:", "30-35 exact user_exit quiet 5:",
			},
		},
		{
			name: "a stay open across a loss is not reported", tracked: []int{1},
			play: func(r *recorder) {
				r.lose([]int{1}, at(10, event.UserExit), at(11, event.SyscallEnter))
				r.play(at(14, event.SyscallExit), at(15, event.UserEnter), at(20, event.UserExit), at(25, event.UserEnter))
			},
			want: []string{"20-25 exact user_exit quiet 5:"},
		},
		{
			name: "a stay that came from the CPU with losses is not reported", tracked: []int{1},
			play: func(r *recorder) {
				r.lose([]int{1}, at(10, event.UserExit), at(11, event.SyscallEnter), switched(12, app, swapper, sleeping),
					switched(13, swapper, app, runnable, on(2)))
				r.play(at(14, event.SyscallExit, on(2)), at(20, event.SyscallEnter, on(2)))
			},
			want: []string{"14-14 sys_exit (thread 100, CPU 2, ip 0xa) quiet -1:"},
		},
		{
			name: "a stay that ended on the CPU with losses is marked",
			play: func(r *recorder) {
				r.lose([]int{2}, at(10, event.SyscallEnter), switched(12, app, swapper, sleeping),
					switched(13, swapper, app, runnable, on(2)), at(14, event.SyscallExit, on(2)), at(20, event.SyscallEnter, on(2)))
			},
			want: []string{"10-14 lossy sys_enter quiet -1: sys_enter 4, sched_switch swapper 1"},
		},
		{
			name: "a stay that began on the CPU with losses is marked",
			play: func(r *recorder) {
				r.lose([]int{1}, at(10, event.SyscallEnter), switched(12, app, swapper, sleeping),
					switched(13, swapper, app, runnable, on(2)), at(14, event.SyscallExit, on(2)), at(20, event.SyscallEnter, on(2)))
			},
			want: []string{"10-14 lossy sys_enter quiet -1: sys_enter 4, sched_switch swapper 1"},
		},
		{
			name: "a stay of which the beginning was lost", tracked: []int{1},
			play: func(r *recorder) {
				r.play(call...)
				r.lose([]int{1})
				r.play(switched(50, app, kworker, runnable), switched(52, kworker, app, sleeping), at(55, event.UserEnter))
			},
			want: []string{"10-15 exact sys_enter quiet -1: sys_enter 3"},
		},
		{
			name: "without context tracking",
			play: func(r *recorder) {
				r.play(at(10, event.SyscallEnter), at(12, event.SyscallExit))
				r.lose([]int{1})
				r.play(at(20, event.LocalTimerEnter), at(21, event.LocalTimerExit), at(30, event.SyscallEnter))
			},
			// The first is dropped, because nothing tells that it ended at 12.
			want: []string{"20-21 local_timer_entry quiet -1: local_timer_entry 1"},
		},
		{
			name: "what ran while the thread was preempted", tracked: []int{1},
			play: func(r *recorder) {
				r.lose([]int{1}, at(10, event.UserExit), at(11, event.RescheduleEnter), switched(12, app, kworker, runnable))
				r.play(at(13, event.Work, in(kworker)), switched(14, kworker, app, sleeping), at(15, event.UserEnter))
			},
		},
		{
			name: "a sender may have arrived unseen",
			play: func(r *recorder) {
				r.lose([]int{1}, queued(5, "bash", 1), reschedule(6, "cron"))
				r.play(at(10, single), at(11, singleExit), at(20, event.RescheduleEnter), at(21, event.RescheduleExit), at(30, event.SyscallEnter))
			},
			want: []string{
				"10-11 call_function_single_entry quiet -1: call_function_single_entry 1",
				"20-21 reschedule_entry quiet 9: reschedule_entry 1",
			},
		},
		{
			name: "in the batch itself only a csd tells its sender",
			play: func(r *recorder) {
				r.lose([]int{1}, queued(4, "init", 2), queued(5, "bash", 1), reschedule(6, "cron"),
					at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit),
					at(20, event.RescheduleEnter), at(21, event.RescheduleExit), at(30, event.SyscallEnter))
			},
			want: []string{
				"10-13 lossy call_function_single_entry quiet -1: call_function_single_entry 3, csd_function_entry 1<bash",
				"20-21 lossy reschedule_entry quiet -1: reschedule_entry 1",
			},
		},
		{
			name: "a thread that ended",
			play: func(r *recorder) {
				r.lose([]int{1}, at(10, event.SyscallEnter), at(12, event.Exit))
				r.play(switched(20, swapper, app, runnable), at(21, event.SyscallEnter), at(22, event.SyscallExit), at(30, event.SyscallEnter))
			},
			want: []string{"21-22 sys_enter quiet 1: sys_enter 1"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(tc.tracked...)
			tc.play(r)
			expect(t, r, tc.want...)
		})
	}
}

// A thread that ends makes no stay, but it was in user mode before: a program that computes and exits has done so.
func TestLastTimeInUserMode(t *testing.T) {
	for _, tc := range []struct {
		name    string
		tracked []int
		script  []event.Event
		want    []Stretch
	}{
		{
			name: "exit, tracked", tracked: []int{1},
			script: []event.Event{at(10, event.UserExit), at(15, event.UserEnter), at(1000, event.UserExit), at(1001, event.SyscallEnter), at(1010, event.Exit)},
			want:   []Stretch{{1, 100, 15, 1000}},
		},
		{
			name:   "exit",
			script: []event.Event{at(10, event.SyscallEnter), at(15, event.SyscallExit), at(1000, event.SyscallEnter), at(1010, event.Exit)},
			want:   []Stretch{{1, 100, 15, 1000}},
		},
		{
			name:   "not known since when",
			script: []event.Event{at(1000, event.SyscallEnter), at(1010, event.Exit)},
		},
		{
			name: "killed by the signal of its break, which is a stay", tracked: []int{1},
			script: []event.Event{
				at(10, event.UserExit), at(15, event.UserEnter), at(16, event.Isolated, argB(uint64(unix.SIGKILL))), at(1000, event.UserExit),
				at(1001, event.PageFault), at(1002, event.Broken, argB(uint64(taskiso.Timer))), at(1004, event.Signal, argA(uint64(unix.SIGKILL))), at(1010, event.Exit),
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(tc.tracked...)
			var got []Stretch
			r.Ended = func(s Stretch) { got = append(got, s) }
			r.play(tc.script...)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestFinish(t *testing.T) {
	for _, tc := range []struct {
		name    string
		tracked []int
		script  []event.Event
		stays   []string
		open    []Stretch
	}{
		{
			name: "in user mode", tracked: []int{1},
			script: []event.Event{at(10, event.UserExit), at(15, event.UserEnter)},
			stays:  []string{"10-15 exact user_exit quiet -1:"},
			open:   []Stretch{{CPU: 1, TID: 100, Since: 15, Until: 15}},
		},
		{
			name: "in the kernel", tracked: []int{1},
			script: []event.Event{at(10, event.UserExit), at(15, event.UserEnter), at(20, event.UserExit), at(21, event.IRQEnter), at(22, event.IRQExit)},
			stays:  []string{"10-15 exact user_exit quiet -1:", "20-22 open irq_handler_entry quiet 5: irq_handler_entry 1"},
		},
		{
			name:   "after a system call",
			script: []event.Event{at(10, event.SyscallEnter), at(15, event.SyscallExit)},
			stays:  []string{"10-15 sys_enter quiet -1: sys_enter 5"},
			open:   []Stretch{{CPU: 1, TID: 100, Since: 15, Until: 15}},
		},
		{
			name:   "in a system call",
			script: []event.Event{at(10, event.SyscallEnter), at(12, event.IRQEnter), at(15, event.IRQExit)},
			stays:  []string{"10-15 open sys_enter quiet -1: sys_enter, irq_handler_entry 3"},
		},
		{
			name:   "after a page fault, which ends unseen",
			script: []event.Event{at(10, event.PageFault)},
			stays:  []string{"10-10 page_fault_user quiet -1: page_fault_user"},
			open:   []Stretch{{CPU: 1, TID: 100, Since: 10, Until: 10}},
		},
		{
			name:   "asleep",
			script: []event.Event{at(10, event.SyscallEnter), switched(12, app, swapper, sleeping), at(50, event.LocalTimerEnter, in(swapper))},
			stays:  []string{"10-50 open sys_enter quiet -1: sys_enter, sched_switch swapper 38"},
		},
		{
			name:   "stopped",
			script: []event.Event{at(10, event.RescheduleEnter), at(11, event.RescheduleExit), switched(12, app, swapper, stopped), at(50, event.LocalTimerEnter, in(swapper))},
			stays:  []string{"10-50 open reschedule_entry quiet -1: reschedule_entry 1, sched_switch swapper 38"},
		},
		{
			name: "asleep, and then gone to a CPU of which nothing is recorded: it went on until then at least",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, sleeping), at(20, event.Migrate, on(0), in(kworker), argB(uint64(app.TID))),
				at(50, event.LocalTimerEnter, in(swapper)),
			},
			stays: []string{"10-20 sys_enter quiet -1: sys_enter, sched_switch swapper"},
		},
		{
			name:   "ended",
			script: []event.Event{at(10, event.SyscallEnter), at(12, event.Exit)},
		},
		{
			name: "on two CPUs",
			script: []event.Event{
				at(10, event.SyscallEnter, on(3), in(peer)), at(11, event.SyscallEnter), at(12, event.SyscallExit), at(13, event.SyscallExit, on(3), in(peer)),
			},
			stays: []string{"11-12 sys_enter quiet -1: sys_enter 1", "10-13 sys_enter (thread 101, CPU 3, ip 0xa) quiet -1: sys_enter 3"},
			open:  []Stretch{{CPU: 1, TID: 100, Since: 12, Until: 13}, {CPU: 3, TID: 101, Since: 13, Until: 13}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(tc.tracked...)
			r.play(tc.script...)
			open := r.Finish()
			expect(t, r, tc.stays...)
			if !slices.Equal(open, tc.open) {
				t.Errorf("threads in user mode: got %v, want %v", open, tc.open)
			}
		})
	}
}

func TestAway(t *testing.T) {
	r := newRecorder()
	r.play(
		at(10, event.SyscallEnter),
		switched(11, app, kworker, runnable), switched(14, kworker, app, sleeping),
		switched(20, app, swapper, sleeping), switched(60, swapper, app, runnable),
		switched(61, app, kworker, stopped), switched(80, swapper, app, runnable),
		switched(81, app, ksoft, runnable), switched(86, ksoft, app, sleeping),
		at(90, event.SyscallExit), at(100, event.SyscallEnter),
	)
	if len(r.stays) != 1 {
		t.Fatalf("got %d stays, want 1", len(r.stays))
	}
	// Time in which the CPU was idle, or the thread stopped, is not time that another task took.
	if d, last := r.stays[0].Away(); d != 8*time.Nanosecond || last != ksoft.Name {
		t.Errorf("away for %v, last for %s; want 8ns, %s", d, last, ksoft.Name)
	}
}
