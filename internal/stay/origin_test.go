// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

const (
	single     = event.CallFunctionSingleEnter
	singleExit = event.CallFunctionSingleExit
)

// causedBy names the senders that a stay is blamed on, with when they arrived.
func causedBy(s *Stay) []string {
	names := []string{}
	for from, arrived := range s.Senders() {
		names = append(names, from.Sender.Name+" "+arrived.Kind.String())
	}
	return names
}

func TestOrigins(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script []event.Event
		shown  string
		causes []string
	}{
		{
			name: "one function call",
			script: []event.Event{
				queued(5, "bash", 1), at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit),
			},
			shown:  "10-13 call_function_single_entry quiet -1: call_function_single_entry 3, csd_function_entry 1<bash",
			causes: []string{"bash csd_function_entry"},
		},
		{
			name: "two senders behind one interrupt",
			script: []event.Event{
				queued(5, "bash", 1), queued(6, "cron", 2), at(10, single),
				called(11, 2), at(12, event.CSDExit), called(13, 1), at(14, event.CSDExit), at(15, singleExit),
			},
			shown: "10-15 call_function_single_entry quiet -1: call_function_single_entry 5, " +
				"csd_function_entry 1<cron, csd_function_entry 1<bash",
			causes: []string{"cron csd_function_entry", "bash csd_function_entry"},
		},
		{
			name: "the same csd, queued again after it ran",
			script: []event.Event{
				queued(5, "bash", 1), at(6, single), called(7, 1), at(8, event.CSDExit), at(9, singleExit),
				at(9, event.SyscallEnter), at(9, event.SyscallExit),
				queued(15, "cron", 1), at(20, single), called(21, 1), at(22, event.CSDExit), at(23, singleExit),
			},
			shown:  "20-23 call_function_single_entry quiet 11: call_function_single_entry 3, csd_function_entry 1<cron",
			causes: []string{"cron csd_function_entry"},
		},
		{
			name: "an irq_work shows only in what is left of the queue",
			script: []event.Event{
				queued(4, "cron", 2), queued(5, "bash", 1), at(10, single), called(11, 1), at(12, event.CSDExit),
				queued(12, "late", 3), at(13, singleExit),
			},
			shown:  "10-13 call_function_single_entry quiet -1: call_function_single_entry 3<cron, csd_function_entry 1<bash",
			causes: []string{"cron call_function_single_entry", "bash csd_function_entry"},
		},
		{
			name: "queued while the queue is emptied: it arrives with the next interrupt",
			script: []event.Event{
				at(10, single), queued(11, "bash", 1), at(12, singleExit),
				at(15, single), called(16, 1), at(17, event.CSDExit), at(18, singleExit),
			},
			shown:  "15-18 call_function_single_entry quiet 3: call_function_single_entry 3, csd_function_entry 1<bash",
			causes: []string{"bash csd_function_entry"},
		},
		{
			name: "an irq_work that ran while another task did is not blamed later",
			script: []event.Event{
				switched(1, app, kworker, sleeping), queued(2, "bash", 1),
				at(3, single, in(kworker)), at(4, singleExit, in(kworker)), switched(5, kworker, app, sleeping),
				at(10, single), at(13, singleExit),
			},
			shown: "10-13 call_function_single_entry quiet 5: call_function_single_entry 3",
		},
		{
			name: "sent to another CPU",
			script: []event.Event{
				queued(5, "bash", 1, argA(2)), reschedule(6, "cron", argA(2)), at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit),
			},
			shown: "10-13 call_function_single_entry quiet -1: call_function_single_entry 3, csd_function_entry 1",
		},
		{
			name: "rescheduling with several senders",
			script: []event.Event{
				reschedule(5, "bash"), reschedule(6, "cron"), at(10, event.RescheduleEnter), at(11, event.RescheduleExit),
			},
			shown:  "10-11 reschedule_entry quiet -1: reschedule_entry 1<bash<cron",
			causes: []string{"bash reschedule_entry", "cron reschedule_entry"},
		},
		{
			name: "an IPI for another reason, and one whose reason differs",
			script: []event.Event{
				send(5, event.SendIPI, "bash", 7, 1), send(6, event.SendIPI, "cron", 7, 1), send(7, event.SendIPI, "other", 8, 1),
				at(10, event.IPIEnter, argB(7), argC(1)), at(11, event.IPIExit),
			},
			shown:  "10-11 ipi_entry quiet -1: ipi_entry 1<bash<cron",
			causes: []string{"bash ipi_entry", "cron ipi_entry"},
		},
		{
			name: "a rescheduling sender stands behind one interrupt only",
			script: []event.Event{
				reschedule(5, "bash"), at(6, event.RescheduleEnter), at(7, event.RescheduleExit),
				at(10, event.RescheduleEnter), at(11, event.RescheduleExit),
			},
			shown: "10-11 reschedule_entry quiet 3: reschedule_entry 1",
		},
		{
			name: "a function call in a rescheduling interrupt is not its cause",
			script: []event.Event{
				queued(4, "bash", 1), reschedule(5, "cron"), at(10, event.RescheduleEnter), called(10, 1), at(11, event.RescheduleExit),
			},
			shown:  "10-11 reschedule_entry quiet -1: reschedule_entry 1<cron, csd_function_entry<bash",
			causes: []string{"cron reschedule_entry"},
		},
		{
			name: "a function call in a system call is not its cause",
			script: []event.Event{
				queued(5, "bash", 1), at(8, event.SyscallEnter), at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit),
				at(14, event.SyscallExit),
			},
			shown: "8-14 sys_enter quiet -1: sys_enter 6, call_function_single_entry 3, csd_function_entry 1<bash",
		},
		{
			name: "what arrives after the interrupt is not its cause",
			script: []event.Event{
				queued(5, "bash", 1), at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit),
				at(14, event.SoftirqEnter), queued(14, "cron", 2), at(15, single), called(16, 2), at(17, event.CSDExit), at(18, singleExit),
				at(19, event.SoftirqExit),
			},
			shown: "10-19 call_function_single_entry quiet -1: call_function_single_entry 3, csd_function_entry 1<bash, softirq_entry 5, " +
				"call_function_single_entry 3, csd_function_entry 1<cron",
			causes: []string{"bash csd_function_entry"},
		},
		{
			name: "the task that ran instead was woken",
			script: []event.Event{
				send(4, event.SendWake, "bash", uint64(kworker.TID), 0), send(4, event.SendWake, "other", uint64(ksoft.TID), 0),
				at(10, event.LocalTimerEnter), at(11, event.LocalTimerExit), switched(12, app, kworker, runnable), switched(20, kworker, app, sleeping),
			},
			shown:  "10-20 local_timer_entry quiet -1: local_timer_entry 1, sched_switch kworker 8<bash",
			causes: []string{"bash sched_switch"},
		},
		{
			name: "who woke the task that runs while the thread sleeps does not matter",
			script: []event.Event{
				send(4, event.SendWake, "bash", uint64(kworker.TID), 0),
				at(10, event.SyscallEnter), switched(12, app, kworker, sleeping), switched(20, kworker, app, sleeping), at(21, event.SyscallExit),
			},
			shown: "10-21 sys_enter quiet -1: sys_enter 11, sched_switch kworker 8",
		},
		{
			name: "only the first task that ran instead is to blame, but every work",
			script: []event.Event{
				send(3, event.SendWake, "bash", uint64(kworker.TID), 0), send(4, event.SendWake, "cron", uint64(ksoft.TID), 0),
				send(5, event.SendWork, "init", 1, 2), send(5, event.SendWork, "other", 1, 3),
				at(10, event.LocalTimerEnter), at(11, event.LocalTimerExit), switched(12, app, kworker, runnable),
				at(13, event.Work, in(kworker), argA(1), argB(2)), switched(14, kworker, ksoft, sleeping), switched(20, ksoft, app, sleeping),
			},
			shown: "10-20 local_timer_entry quiet -1: local_timer_entry 1, sched_switch kworker 2<bash, " +
				"workqueue_execute_start<init, sched_switch ksoftirqd 6<cron",
			causes: []string{"bash sched_switch", "init workqueue_execute_start"},
		},
		{
			name: "every interrupt that was moved here",
			script: []event.Event{
				send(4, event.SendIRQ, "bash", 27, 0), send(4, event.SendIRQ, "other", 28, 0),
				at(10, event.IRQEnter, argA(27)), at(11, event.IRQExit), at(20, event.IRQEnter, argA(27)), at(21, event.IRQExit),
			},
			shown:  "20-21 irq_handler_entry quiet 9: irq_handler_entry 1<bash",
			causes: []string{"bash irq_handler_entry"},
		},
		{
			name: "where no event shows which functions ran: all that were queued",
			script: []event.Event{
				queued(5, "bash", 1), calls(6, "cron", 2), conditional(7, "perhaps", 3), at(10, single), at(13, singleExit),
			},
			shown:  "10-13 call_function_single_entry quiet -1: call_function_single_entry 3<bash<cron",
			causes: []string{"bash call_function_single_entry", "cron call_function_single_entry"},
		},
		{
			name:   "a conditional call, if nobody else can have sent the interrupt",
			script: []event.Event{conditional(7, "bash", 3), at(10, single), at(13, singleExit)},
			shown:  "10-13 call_function_single_entry quiet -1: call_function_single_entry 3<bash",
			causes: []string{"bash call_function_single_entry"},
		},
		{
			name: "who armed the timer, each time it expires",
			script: []event.Event{
				send(1, event.SendHRTimer, "bash", 5, 7), send(1, event.SendTimer, "other", 5, 8),
				at(10, event.LocalTimerEnter), at(11, event.HRTimer, argA(5), argB(7)), at(12, event.LocalTimerExit),
				at(20, event.LocalTimerEnter), at(21, event.HRTimer, argA(5), argB(7)), at(22, event.LocalTimerExit),
			},
			shown:  "20-22 local_timer_entry quiet 8: local_timer_entry 2, hrtimer_expire_entry<bash",
			causes: []string{"bash hrtimer_expire_entry"},
		},
		{
			name: "who armed a timer that expires in a softirq, but none of the next interrupt",
			script: []event.Event{
				send(1, event.SendTimer, "bash", 5, 7), send(1, event.SendTimer, "other", 5, 8),
				at(10, event.LocalTimerEnter), at(11, event.LocalTimerExit), at(12, event.SoftirqEnter), at(13, event.Timer, argB(7)),
				at(14, single), at(15, event.Timer, argB(8)), at(16, singleExit), at(17, event.SoftirqExit),
			},
			shown: "10-17 local_timer_entry quiet -1: local_timer_entry 1, softirq_entry 5, timer_expire_entry<bash, " +
				"call_function_single_entry 2, timer_expire_entry<other",
			causes: []string{"bash timer_expire_entry"},
		},
		{
			name: "who let the task run here that ran instead",
			script: []event.Event{
				send(1, event.SendAffinity, "bash", uint64(kworker.TID), 0),
				at(10, event.RescheduleEnter), at(11, event.RescheduleExit), switched(12, app, kworker, runnable), switched(20, kworker, app, sleeping),
			},
			shown:  "10-20 reschedule_entry quiet -1: reschedule_entry 1, sched_switch kworker 8<bash",
			causes: []string{"bash sched_switch"},
		},
		{
			name: "without events of the interrupt itself",
			script: []event.Event{
				queued(5, "bash", 1), called(11, 1), at(12, event.CSDExit),
			},
			shown:  "11-12 csd_function_entry quiet -1: csd_function_entry 1<bash",
			causes: []string{"bash csd_function_entry"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder()
			r.play(append(tc.script, at(1000, event.SyscallEnter))...)
			if len(r.stays) == 0 {
				t.Fatal("no stay")
			}
			last := r.stays[len(r.stays)-1]
			if got := show(&last); got != tc.shown {
				t.Errorf("got\n\t%s\nwant\n\t%s", got, tc.shown)
			}
			if got := causedBy(&last); !slices.Equal(got, append([]string{}, tc.causes...)) {
				t.Errorf("blamed on %q, want %q", got, tc.causes)
			}
		})
	}
}

// calls is a call to many CPUs on a kernel without events of function calls.
func calls(t int, sender string, number uint64) event.Event {
	e := queued(t, sender, number)
	e.Kind = event.SendCalls
	return e
}

func conditional(t int, sender string, number uint64) event.Event {
	e := calls(t, sender, number)
	e.Sender.Conditional = true
	return e
}

// Where a sender was missed, whatever counts only if nothing was sent since is nobody's; so it is in the next batch.
func TestOriginWhereASenderWasMissed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		sent   event.Event
		script []event.Event
		want   []string
	}{
		{"timer", send(1, event.SendHRTimer, "bash", 0, 7),
			[]event.Event{at(10, event.LocalTimerEnter), at(11, event.HRTimer, argB(7)), at(12, event.LocalTimerExit)}, nil},
		{"call that may not have been sent", conditional(1, "bash", 1),
			[]event.Event{at(10, single), at(12, singleExit)}, nil},
		{"call, whose csd is taken until it arrives", queued(1, "bash", 1),
			[]event.Event{at(10, single), called(11, 1), at(12, event.CSDExit), at(13, singleExit)}, []string{"bash csd_function_entry"}},
	} {
		for _, missed := range []bool{false, true} {
			r := newRecorder()
			r.Add(event.Batch{Events: []event.Event{tc.sent}, Until: 5})
			r.Add(event.Batch{Events: append(tc.script, at(1000, event.SyscallEnter)), Until: 2000, SendersMissed: missed})
			if len(r.stays) == 0 {
				t.Fatalf("%s: no stay", tc.name)
			}
			got := causedBy(&r.stays[0])
			if missed && !slices.Equal(got, append([]string{}, tc.want...)) || !missed && len(got) != 1 {
				t.Errorf("%s, a sender was missed: %v: blamed on %q", tc.name, missed, got)
			}
		}
	}
}

// An NMI that is seen before the interrupt it came in does not hide its senders.
func TestOriginBehindAnNMI(t *testing.T) {
	r := newRecorder(scriptCPU)
	r.play(
		queued(5, "bash", 1), at(9, event.UserExit), nmi(10, 1), at(11, single),
		called(12, 1), at(13, event.CSDExit), at(14, singleExit), at(15, event.UserEnter),
	)
	expect(t, r, "9-15 exact call_function_single_entry quiet -1: nmi_handler 1, call_function_single_entry 3, csd_function_entry 1<bash")
	if got := causedBy(&r.stays[0]); !slices.Equal(got, []string{"bash csd_function_entry"}) {
		t.Errorf("blamed on %q", got)
	}
}

// One call to a set of CPUs is queued once for each, with a csd of its own.
func TestOriginOfACallToTwoCPUs(t *testing.T) {
	r := newRecorder()
	r.play(
		queued(4, "bash", 1), queued(5, "bash", 2, argA(2)),
		at(10, event.CallFunctionEnter), at(10, event.CallFunctionEnter, in(peer), on(2)),
		called(11, 1), called(11, 2, in(peer), on(2)),
		at(12, event.CSDExit), at(12, event.CSDExit, in(peer), on(2)),
		at(13, event.CallFunctionExit), at(13, event.CallFunctionExit, in(peer), on(2)),
		at(20, event.SyscallEnter), at(21, event.SyscallEnter, in(peer), on(2)),
	)
	expect(t, r,
		"10-13 call_function_entry quiet -1: call_function_entry 3, csd_function_entry 1<bash",
		"10-13 call_function_entry (thread 101, CPU 2, ip 0xa) quiet -1: call_function_entry 3, csd_function_entry 1<bash")
}

func TestSendersExpire(t *testing.T) {
	const second = int(time.Second)
	for _, tc := range []struct {
		name string
		age  int
		want int
	}{
		{"young", 9 * second, 4},
		{"old", 11 * second, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder()
			r.play(queued(0, "bash", 1), reschedule(0, "cron"), send(0, event.SendWake, "init", 7, 0), send(0, event.SendWork, "init", 1, 2))
			r.Add(event.Batch{Until: time.Duration(tc.age)})
			if got := len(r.senders.calls) + len(r.senders.reschedules) + len(r.senders.wakes) + len(r.senders.works); got != tc.want {
				t.Errorf("%d senders kept after %v, want %d", got, time.Duration(tc.age), tc.want)
			}
		})
	}
	r := newRecorder()
	r.play(reschedule(0, "cron"), reschedule(9*second, "bash"))
	r.Add(event.Batch{Until: time.Duration(11 * second)})
	r.play(at(12*second, event.RescheduleEnter), at(12*second+1, event.RescheduleExit), at(12*second+2, event.SyscallEnter))
	expect(t, r, "12000000000-12000000001 reschedule_entry quiet -1: reschedule_entry 1<bash")
}
