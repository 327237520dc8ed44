// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// figures of a stay: how long it lasted at least, what of it was waited and not seen, and what it took of each CPU.
func figures(s *Stay) string {
	return fmt.Sprintf("%d-%d: %d, waited %d, gap %d, took %d", s.Start, s.End, s.Duration(), s.Waited, s.Gap, s.Shares())
}

func TestAccounting(t *testing.T) {
	for _, tc := range []struct {
		name    string
		tracked []int
		script  []event.Event
		want    []string
	}{
		{
			name: "asleep by choice, until it is woken",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, sleeping), send(50, event.SendWake, "bash", uint64(app.TID), 0),
				switched(60, swapper, app, runnable), at(65, event.SyscallExit),
			},
			want: []string{"10-65: 17, waited 38, gap 0, took [{1 17 38}]"},
		},
		{
			name: "asleep against its will in a page fault",
			script: []event.Event{
				at(10, event.PageFault), switched(10, app, swapper, 2), switched(60, swapper, app, runnable),
			},
			want: []string{"10-60: 50, waited 0, gap 0, took [{1 50 0}]"},
		},
		{
			// Between the fault, whose end has no event, and the interrupt, and behind that, user mode may lie.
			name: "another task runs after a page fault and an interrupt: the break lasts as long, and took of the CPU what it had",
			script: []event.Event{
				at(10, event.PageFault), at(12, event.RescheduleEnter), at(13, event.RescheduleExit), switched(14, app, peer, runnable),
				at(20, event.SyscallEnter, in(peer)), at(25, event.SyscallExit, in(peer)), at(55, event.RescheduleEnter, in(peer)),
				switched(56, peer, app, runnable),
			},
			want: []string{"20-25: 5, waited 0, gap 0, took [{1 5 0}]", "10-56: 43, waited 0, gap 3, took [{1 1 0}]"},
		},
		{
			name: "another task runs in the middle of a system call that would have gone on",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(14, app, peer, runnable),
				at(20, event.SyscallEnter, in(peer)), at(25, event.SyscallExit, in(peer)), at(55, event.RescheduleEnter, in(peer)),
				switched(56, peer, app, runnable), at(58, event.SyscallExit),
			},
			want: []string{"20-25: 5, waited 0, gap 0, took [{1 5 0}]", "10-58: 48, waited 0, gap 0, took [{1 6 0}]"},
		},
		{
			name: "stopped",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, stopped), switched(60, swapper, app, runnable), at(65, event.SyscallExit),
			},
			want: []string{"10-65: 55, waited 0, gap 0, took [{1 55 0}]"},
		},
		{
			name: "frozen by its cgroup while it sleeps in a system call",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, swapper, sleeping), switched(30, swapper, app, runnable),
				switched(32, app, swapper, sleeping|0x2000, func(e *event.Event) { e.Frozen = true }),
				switched(60, swapper, app, runnable), at(65, event.SyscallExit),
			},
			want: []string{"10-65: 37, waited 18, gap 0, took [{1 37 18}]"},
		},
		{
			name: "user mode may lie between the end of the interrupt and what came next",
			script: []event.Event{
				at(10, event.LocalTimerEnter), at(14, event.LocalTimerExit), switched(20, app, kworker, runnable), switched(30, kworker, app, sleeping),
			},
			want: []string{"10-30: 14, waited 0, gap 6, took [{1 14 0}]"},
		},
		{
			name: "two threads sleep side by side: the time of the CPU is given away once",
			script: []event.Event{
				at(10, event.SyscallEnter), switched(12, app, peer, sleeping), at(13, event.SyscallExit, in(peer)),
				at(20, event.SyscallEnter, in(peer)), switched(22, peer, swapper, sleeping),
				switched(50, swapper, app, runnable), at(51, event.SyscallExit), at(60, event.SyscallEnter), switched(61, app, peer, sleeping),
				at(62, event.SyscallExit, in(peer)),
			},
			want: []string{
				"10-51: 3, waited 38, gap 0, took [{1 3 0}]",
				"20-62: 3, waited 39, gap 0, took [{1 3 28}]",
			},
		},
		{
			name: "two threads take turns: neither is charged with the other's user mode",
			script: []event.Event{
				at(10, event.LocalTimerEnter), switched(12, app, peer, runnable), at(15, event.LocalTimerExit, in(peer)),
				at(40, event.LocalTimerEnter, in(peer)), switched(42, peer, app, runnable), at(43, event.LocalTimerExit),
			},
			want: []string{"10-43: 33, waited 0, gap 0, took [{1 3 0}]"},
		},
		{
			name: "in the kernel on two CPUs", tracked: []int{1, 2},
			script: []event.Event{
				at(5, event.UserEnter), at(10, event.UserExit), at(11, event.RescheduleEnter), at(12, event.RescheduleExit),
				switched(13, app, kworker, runnable), switched(20, swapper, app, runnable, on(2)), at(24, event.UserEnter, on(2)),
			},
			want: []string{"10-24: 14, waited 0, gap 0, took [{1 10 0} {2 4 0}]"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder(tc.tracked...)
			r.play(append(tc.script, at(1000, event.SyscallEnter), at(1000, event.SyscallEnter, in(peer)))...)
			// Of who is away at the end of a script no switch back is seen.
			r.stays = slices.DeleteFunc(r.stays, func(s Stay) bool { return s.Lossy })
			for i := range r.stays {
				if got := figures(&r.stays[i]); i >= len(tc.want) || got != tc.want[i] {
					t.Errorf("got %s, want %v", got, tc.want)
				}
			}
			if len(r.stays) < len(tc.want) {
				t.Errorf("%d stays, want %d", len(r.stays), len(tc.want))
			}
		})
	}
}

// Without context tracking an entry that has no event of its own is a stay of its own: the last one ended
// when user mode went on elsewhere, or when nothing came of it for long.
func TestEntryWithoutEvent(t *testing.T) {
	const long = 2_000_000
	first := []event.Event{at(10, event.SyscallEnter), at(15, event.SyscallExit)}
	call := "10-15 sys_enter quiet -1: sys_enter 5"
	for _, tc := range []struct {
		name   string
		script []event.Event
		want   []string
	}{
		{"a signal for an exception", []event.Event{at(long, event.Signal, ip(0xb), argA(4), argB(1))},
			[]string{call, "2000000-2000000 signal_deliver (thread 100, CPU 1, ip 0xb) quiet 1999985: signal_deliver"}},
		{"the same soon after", []event.Event{at(20, event.Signal, ip(0xb), argA(4), argB(1))},
			[]string{call, "20-20 signal_deliver (thread 100, CPU 1, ip 0xb) quiet 5: signal_deliver"}},
		{"a switch", []event.Event{switched(long, app, kworker, runnable, ip(0xb)), switched(long+10, kworker, app, sleeping)},
			[]string{call, "2000000-2000010 sched_switch (thread 100, CPU 1, ip 0xb) quiet 1999985: sched_switch kworker 10"}},
		{"a switch at the same instruction, long after", []event.Event{switched(long, app, kworker, runnable), switched(long+10, kworker, app, sleeping)},
			[]string{call, "2000000-2000010 sched_switch quiet 1999985: sched_switch kworker 10"}},
		{"a softirq", []event.Event{at(long, event.SoftirqEnter, ip(0xb)), at(long+5, event.SoftirqExit, ip(0xb))},
			[]string{call, "2000000-2000005 softirq_entry (thread 100, CPU 1, ip 0xb) quiet 1999985: softirq_entry 5"}},
		{"a signal whose handler is interrupted at once", []event.Event{at(16, event.Signal, argA(4)), switched(17, app, kworker, runnable, ip(0xc)), switched(20, kworker, app, sleeping)},
			[]string{"10-20 sys_enter quiet -1: sys_enter 5, signal_deliver, sched_switch kworker 3"}},
		{"a return from a signal, which goes on elsewhere", []event.Event{at(30, event.SyscallEnter), at(31, event.SyscallExit, ip(0xc)), switched(32, app, kworker, runnable, ip(0xc)), switched(40, kworker, app, sleeping)},
			[]string{call, "30-40 sys_enter quiet 15: sys_enter 1, sched_switch kworker 8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder()
			r.play(append(append(first[:2:2], tc.script...), at(2*long, event.SyscallEnter))...)
			expect(t, r, tc.want...)
		})
	}
}

// A break of isolation that comes with a switch is no part of what ended before.
func TestIsolationBreaksWithoutAnEntry(t *testing.T) {
	r := newRecorder()
	r.play(at(5, event.Isolated, argB(10)), at(10, event.LocalTimerEnter), at(12, event.LocalTimerExit),
		at(2_000_000, event.Broken, ip(0xb)), switched(2_000_001, app, kworker, runnable, ip(0xb)), switched(2_000_010, kworker, app, sleeping), at(3_000_000, event.SyscallEnter))
	if len(r.stays) != 2 || r.stays[0].BreaksIsolation() || !r.stays[1].BreaksIsolation() {
		t.Errorf("got %v", r.shown())
	}
}

func born(task event.Task, at time.Duration, switches uint64) event.Task {
	task.Born, task.Switches = at, switches
	return task
}

// A number that is used again is another thread, and one that has run elsewhere was not in the kernel all the time.
func TestWhoComesBack(t *testing.T) {
	const hour = int(time.Hour)
	for _, tc := range []struct {
		name string
		back event.Task
		want []string
	}{
		{"the same", born(app, 1, 4), []string{"10-3600000000005 sys_enter quiet 4: sys_enter 3599999999995, sched_switch swapper 3599999999988"}},
		{"another of the same number", born(app, 11, 4), nil},
		{"the same, which has run elsewhere", born(app, 1, 6), []string{"10-12 sys_enter quiet 4: sys_enter, sched_switch swapper"}},
	} {
		r := newRecorder()
		r.play(switched(2, swapper, born(app, 1, 3), runnable), at(5, event.SyscallEnter), at(6, event.SyscallExit), at(10, event.SyscallEnter), switched(12, app, swapper, sleeping),
			switched(hour, swapper, tc.back, runnable), at(hour+5, event.SyscallExit), at(hour+10, event.SyscallEnter))
		r.stays = r.stays[1:]
		if tc.name != "the same" && len(r.stays) > 0 && r.stays[len(r.stays)-1].Entry.Kind == event.SyscallExit {
			r.stays = r.stays[:len(r.stays)-1] // it was in a call when it came
		}
		t.Log(tc.name)
		expect(t, r, tc.want...)
	}
}

// Threads that end on other CPUs are forgotten, and so are those of which no end is seen at all.
func TestThreadsThatEndElsewhereAreForgotten(t *testing.T) {
	for _, seen := range []bool{true, false} {
		r := newRecorder()
		const n = 20_000
		for i := range n {
			task := event.Task{TID: uint32(1000 + i), Watched: true}
			r.play(switched(100*i, swapper, task, runnable), at(100*i+1, event.SyscallEnter, in(task)), switched(100*i+2, task, swapper, sleeping))
			if seen {
				r.play(at(100*i+3, event.Exit, in(task), on(0), argA(1)))
			}
		}
		if got := len(r.threads); seen && got != 0 || got > maxThreads || len(r.running) > 0 || len(r.preempted) > 0 || len(r.absent) > 1 {
			t.Errorf("end seen: %v; of %d threads %d are known, %d run, %d preempted, %d absent", seen, n, got, len(r.running), len(r.preempted), len(r.absent))
		}
	}
}

// A thread that never enters the kernel has no event: that it is in user mode must be found out otherwise.
func TestFoundInUserMode(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []event.Event
		stays  []string
		since  time.Duration // in user mode at the end; 0 if not
	}{
		{"it makes no event", nil, nil, 50},
		{"it is interrupted later", []event.Event{at(60, event.UserExit), at(61, event.LocalTimerEnter), at(62, event.LocalTimerExit), at(65, event.UserEnter)},
			[]string{"60-65 exact local_timer_entry quiet 10: local_timer_entry 1"}, 65},
		{"its events tell more", []event.Event{at(40, event.UserExit), at(45, event.UserEnter)}, []string{"40-45 exact user_exit quiet -1:"}, 45},
		{"it has gone before", []event.Event{switched(45, app, swapper, sleeping)}, nil, 0},
	} {
		r := newRecorder(scriptCPU)
		r.Found(scriptCPU, app.TID, 42, 50)
		r.play(tc.script...)
		r.Add(event.Batch{Until: 100})
		open := r.Finish()
		if len(r.stays) > 0 && r.stays[len(r.stays)-1].Open {
			r.stays = r.stays[:len(r.stays)-1]
		}
		expect(t, r, tc.stays...)
		if (tc.since == 0) != (len(open) == 0) || len(open) == 1 && open[0] != (Stretch{scriptCPU, app.TID, tc.since, 100}) {
			t.Errorf("%s: in user mode %v, want since %d", tc.name, open, tc.since)
		}
	}
}

// A thread that is switched away twice was switched to in between, and may have been in user mode.
func TestSwitchedAwayTwice(t *testing.T) {
	r := newRecorder()
	r.play(at(10, event.SyscallEnter), switched(12, app, swapper, sleeping), switched(5000, app, swapper, sleeping), switched(5010, swapper, app, runnable),
		at(5020, event.SyscallExit), at(6000, event.SyscallEnter))
	expect(t, r, "10-12 lossy sys_enter quiet -1: sys_enter, sched_switch swapper", "5000-5020 sys_enter quiet -1: sched_switch swapper 10")
	if n := r.Unrecorded()[scriptCPU]; n != 1 {
		t.Errorf("%d switches were not recorded, want 1", n)
	}
}

// Where a page fault shows when it was resolved, its sleep is told by that no signal ends it: the thread did not choose it.
func TestSleepInALateFault(t *testing.T) {
	for _, tracked := range []int{scriptCPU, scriptCPU + 1} {
		for state, want := range map[uint64]time.Duration{2: 0, sleeping: 40} {
			r := newRecorder(tracked)
			r.LateFaults = true
			r.play(
				at(1, event.UserExit), at(2, event.UserEnter), at(10, event.UserExit), switched(15, app, swapper, state), switched(55, swapper, app, runnable),
				at(60, event.PageFault, argB(event.FaultMajor)), at(60, event.UserEnter),
			)
			r.Finish()
			s := r.stays[len(r.stays)-1]
			if s.Waited != want || s.Entry.Kind != event.PageFault {
				t.Errorf("tracked %d, state %d: %v, waited %d, want %d", tracked, state, s.Entry.Kind, s.Waited, want)
			}
		}
	}
}
