// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// example returns a stay that began with an entry and of which every word in
// pick is true. It is built from events as the kernel sends them, so that a rule
// which asks for what no stay can have gets no name.
func example(t *testing.T, c *Catalogue, entry string, pick map[aspect]string) (*stay.Stay, *fakeNames) {
	t.Helper()
	x := &exampleStay{names: &fakeNames{}, at: time.Second}
	x.enter(entry, pick)
	x.run(entry, pick, c)
	for mask, name := range tickDependencies {
		if name == pick[tick] {
			x.add(event.Event{Kind: event.Tick, B: mask}, 0)
		}
	}
	x.keepAway(pick[absence])
	for _, of := range []aspect{next, work, signalName} {
		if word, ok := pick[of]; ok {
			x.follow(of, concrete(word), pick)
		}
	}
	return &x.stay, x.names
}

// keepAway adds that the thread was kept from its CPU for most of the time.
func (x *exampleStay) keepAway(why string) {
	leave, ok := map[string]event.Event{
		throttled: {Throttled: true}, idling: {}, stopped: {B: taskStopped}, traced: {B: taskTraced}, frozen: {B: 1, Frozen: true},
	}[why]
	if !ok {
		return
	}
	const away = time.Second
	leave.Kind, leave.Task = event.Switch, &event.Task{Name: "swapper/3", Kernel: true}
	x.add(leave, away)
	x.stay.End = x.stay.Start + away
}

// concrete replaces the wildcard of a word by something it stands for.
func concrete(word string) string {
	if word == "*" {
		return "SIGUSR1"
	}
	return strings.Replace(word, "*", "3:1", 1)
}

type exampleStay struct {
	stay  stay.Stay
	names *fakeNames
	at    time.Duration
}

func (x *exampleStay) add(e event.Event, d time.Duration, senders ...event.Event) {
	x.at += time.Microsecond
	e.Time = x.at
	x.stay.Inside = append(x.stay.Inside, stay.Part{Event: e, Duration: d, Senders: senders})
}

// enter adds the event that entered the kernel.
func (x *exampleStay) enter(entry string, pick map[aspect]string) {
	e := event.Event{Kind: kindOf(entry)}
	switch e.Kind {
	case event.SyscallEnter:
		x.names.syscall = concrete(pick[syscallName])
	case event.IRQEnter:
		x.names.device = concrete(pick[irqName])
	case event.PageFault:
		e.B = faultCode(pick[faultKind])
	case event.NMI:
		e.A = x.names.addr(concrete(pick[function]))
	case event.UserExit:
		x.stay.Entry = e
		return
	}
	var senders []event.Event
	if e.Kind == event.RescheduleEnter {
		senders = x.send(event.SendReschedule, 0, pick)
	}
	const handled = 100 * time.Microsecond
	x.add(e, handled, senders...)
	x.stay.Entry = x.stay.Inside[0].Event
}

func kindOf(entry string) event.Kind {
	for _, k := range entryKinds() {
		if k.String() == entry {
			return k
		}
	}
	return event.UserExit
}

func faultCode(word string) uint64 {
	for code := range uint64(32) {
		if faultName(code) == word {
			return code
		}
	}
	return 0
}

// run adds what the entry was for. A rule that does not ask for the function
// may be about any, so a carrier is taken.
func (x *exampleStay) run(entry string, pick map[aspect]string, c *Catalogue) {
	kind, ok := map[string]event.Kind{
		"local_timer_entry": event.HRTimer, "irq_handler_entry": event.HRTimer,
		"call_function_entry": event.CSDEnter, "call_function_single_entry": event.CSDEnter,
	}[entry]
	_, asked := pick[function]
	if !ok || entry == "irq_handler_entry" && !asked && pick[sender] == "" {
		return
	}
	name := "sched_ttwu_pending"
	if kind == event.HRTimer {
		name = "tick_nohz_handler"
	}
	if asked {
		name = concrete(pick[function])
	} else if pick[next] == "" && pick[signalName] == "" {
		if kind == event.HRTimer {
			return // a rule that asks for no function is for an interrupt in which none was seen
		}
		name = "some_function"
	}
	e := event.Event{Kind: kind, A: x.names.addr(name + ".isra.0")}
	if pick[sender] != "" && entry == "irq_handler_entry" {
		e.Kind = event.CSDEnter // a function call as well as a timer can be behind it
	}
	var senders []event.Event
	if e.Kind == event.CSDEnter {
		senders = x.send(event.SendCall, e.A, pick)
	}
	x.add(e, time.Microsecond, senders...)
}

// send returns the sender, whose stack has the wanted operation in its middle.
func (x *exampleStay) send(k event.Kind, called uint64, pick map[aspect]string) []event.Event {
	word, ok := pick[sender]
	if !ok {
		return nil
	}
	stack := []uint64{x.names.addr("smp_call_function_many_cond"), x.names.addr(concrete(word)), x.names.addr("do_syscall_64")}
	return []event.Event{{Kind: k, B: called, Sender: &event.Sender{PID: 1, Name: "sh", Stack: stack}}}
}

// follow adds what the entry led to.
func (x *exampleStay) follow(of aspect, word string, pick map[aspect]string) {
	switch of {
	case next:
		kind, name, _ := strings.Cut(word, " ")
		e := switchTo(name, kind == "kernel")
		if kind == "worker" {
			e = switchToWorker(name)
		}
		x.add(e, time.Microsecond, x.send(event.SendWake, 0, pick)...)
	case work:
		x.add(event.Event{Kind: event.Work, A: x.names.addr(word)}, 0)
	case signalName:
		x.add(event.Event{Kind: event.Signal, A: uint64(unix.SignalNum(word))}, 0)
	}
}

func TestCarriersGiveWay(t *testing.T) {
	c := load(t)
	for name, tc := range map[string]struct {
		entry event.Kind
		parts []event.Event
		names []string // of addresses 1, 2, 3
		want  string
	}{
		"tick alone":            {event.LocalTimerEnter, []event.Event{{Kind: event.HRTimer, A: 1}}, []string{"tick_nohz_handler"}, "tick"},
		"timer with the tick":   {event.LocalTimerEnter, []event.Event{{Kind: event.HRTimer, A: 1}, {Kind: event.Timer, A: 2}}, []string{"tick_nohz_handler", "clocksource_watchdog"}, "timer-clocksource-watchdog"},
		"two timers":            {event.LocalTimerEnter, []event.Event{{Kind: event.HRTimer, A: 1}, {Kind: event.HRTimer, A: 2}}, []string{"mce_timer_fn", "hrtick"}, "timer-machine-check"},
		"wake-up behind a call": {event.CallFunctionSingleEnter, []event.Event{{Kind: event.CSDEnter, A: 1}, {Kind: event.CSDEnter, A: 2}}, []string{"sched_ttwu_pending", "rcu_exp_handler"}, "ipi-rcu-expedited"},
		"delayed work":          {event.LocalTimerEnter, []event.Event{{Kind: event.Timer, A: 1}, switchTo("kworker/3:1", true), {Kind: event.Work, A: 2}}, []string{"delayed_work_timer_fn", "vmstat_update"}, "work-vmstat"},
		"nested interrupt": {event.RescheduleEnter, []event.Event{switchTo("kworker/3:1", true), {Kind: event.Work, A: 2}, {Kind: event.LocalTimerEnter}, {Kind: event.HRTimer, A: 1}},
			[]string{"mce_timer_fn", "vmstat_update"}, "work-vmstat"},
		"timer of the nested interrupt": {event.LocalTimerEnter, []event.Event{{Kind: event.HRTimer, A: 1}, {Kind: event.LocalTimerEnter}, {Kind: event.HRTimer, A: 2}},
			[]string{"tick_nohz_handler", "mce_timer_fn"}, "tick"},
		"to a worker of io_uring, which has no user mode": {event.RescheduleEnter, []event.Event{switchToWorker("iou-wrk-100")}, nil, "task-io-uring"},
		"to one that has not run yet":                     {event.RescheduleEnter, []event.Event{switchToWorker("app")}, nil, "task-process-worker"},
		"to idle although it could run":                   {event.RescheduleEnter, []event.Event{{Kind: event.Switch, Task: &event.Task{Name: "swapper/3", Kernel: true}}}, nil, "away-idle"},
		"kick for a task that ran": {event.CallFunctionSingleEnter, []event.Event{{Kind: event.CSDEnter, A: 1}, switchTo("kworker/3:1", true), {Kind: event.Work, A: 2}},
			[]string{"nohz_full_kick_func", "flush_cpu_slab"}, "work-slab"},
		"unknown timer":    {event.LocalTimerEnter, []event.Event{{Kind: event.Timer, A: 1}}, []string{"some_driver_timer"}, "timer"},
		"unknown function": {event.CallFunctionEnter, []event.Event{{Kind: event.CSDEnter, A: 1}}, []string{"some_function"}, "ipi-function"},
		"interrupt, timer": {event.IRQEnter, []event.Event{{Kind: event.HRTimer, A: 1}}, []string{"tick_nohz_handler"}, "tick"},
		"interrupt":        {event.IRQEnter, nil, nil, "irq"},
		"nothing":          {event.UserExit, nil, nil, Unnamed},
	} {
		x := &exampleStay{names: &fakeNames{functions: tc.names, device: "eth0"}}
		if tc.entry != event.UserExit {
			x.add(event.Event{Kind: tc.entry}, time.Millisecond)
			x.stay.Entry = x.stay.Inside[0].Event
		}
		for _, e := range tc.parts {
			x.add(e, time.Microsecond)
		}
		if got := c.Of(&x.stay, x.names); got.ID != tc.want {
			t.Errorf("%s: got %s, want %s", name, got.ID, tc.want)
		}
	}
}

// switchToWorker is to a thread of process 1 that the kernel made.
func switchToWorker(name string) event.Event {
	e := switchTo(name, true)
	e.Task.PID = 1
	return e
}

func switchTo(name string, kernel bool) event.Event {
	return event.Event{Kind: event.Switch, Task: &event.Task{TID: 9, PID: 9, Name: name, Kernel: kernel}}
}

// Of the operations on a stack the one that fits the call names it, and of several
// that fit what was asked for and not the means.
func TestSenderIsWhatFits(t *testing.T) {
	c := load(t)
	for _, tc := range []struct {
		stack []string // innermost first
		want  string
	}{
		{[]string{"smp_text_poke_batch_finish", "static_key_enable", "tracepoint_probe_register", "__sys_bpf", "do_syscall_64"}, "ipi-text-patching-bpf"},
		{[]string{"smp_text_poke_batch_finish", "static_key_enable_cpuslocked", "static_key_enable", "__ftrace_event_enable_disable"}, "ipi-text-patching-tracing"},
		{[]string{"static_key_enable", "netstamp_clear", "process_one_work", "worker_thread"}, "ipi-text-patching-timestamps"},
		{[]string{"arch_jump_label_transform_apply", "static_key_slow_inc.part.0", "ipv6_flowlabel_opt"}, "ipi-text-patching-static-key"},
		// timekeeping_notify and clocksource_watchdog_kthread stop CPUs, and have nothing to do with patching.
		{[]string{"arch_jump_label_transform_apply", "static_key_disable", "mark_tsc_unstable", "timekeeping_notify", "clocksource_watchdog_kthread", "kthread"}, "ipi-text-patching-static-key"},
		{[]string{"text_poke_bp_batch", "__static_key_slow_dec_cpuslocked", "psi_cgroup_restart"}, "ipi-text-patching-static-key"},
		{[]string{"text_poke_bp_batch", "ftrace_replace_code", "ftrace_enable_sysctl", "proc_sys_call_handler"}, "ipi-text-patching-tracing"},
		{[]string{"text_poke_bp", "__static_call_transform", "__static_call_update", "__sched_dynamic_update", "sched_dynamic_write"}, "ipi-text-patching-preemption"},
		{[]string{"text_poke_bp", "__static_call_transform", "__static_call_update", "some_driver"}, "ipi-text-patching-static-call"},
		{[]string{"static_key_enable", "tracepoint_probe_register", "perf_trace_init", "perf_event_alloc", "__x64_sys_perf_event_open"}, "ipi-text-patching-tracing"},
		{[]string{"static_key_enable", "perf_event_alloc", "__do_sys_perf_event_open", "__x64_sys_perf_event_open"}, "ipi-text-patching-perf"},
		{[]string{"smp_call_function_many_cond", "something_else"}, "ipi-text-patching"},
		{[]string{"static_key_enable", "some_timer", "__hrtimer_run_queues", "asm_sysvec_apic_timer_interrupt", "load_module"}, "ipi-text-patching-static-key"},
		{[]string{"some_timer", "el1h_64_irq_handler", "load_module"}, "ipi-text-patching"},
		{nil, "ipi-text-patching"},
	} {
		x := &exampleStay{names: &fakeNames{}}
		f := x.names.addr("do_sync_core")
		var stack []uint64
		for _, name := range tc.stack {
			stack = append(stack, x.names.addr(name))
		}
		x.add(event.Event{Kind: event.CallFunctionEnter}, time.Millisecond)
		x.stay.Entry = x.stay.Inside[0].Event
		// A call that has nothing to do with it came in the same interrupt.
		other := event.Event{Kind: event.SendCall, B: 4711, Sender: &event.Sender{Stack: []uint64{x.names.addr("load_module")}}}
		own := event.Event{Kind: event.SendCall, B: f, Sender: &event.Sender{Stack: stack}}
		x.add(event.Event{Kind: event.CSDEnter, A: f}, time.Microsecond, other, own)
		if got := c.Of(&x.stay, x.names); got.ID != tc.want {
			t.Errorf("%q: got %s, want %s", slices.Clone(tc.stack), got.ID, tc.want)
		}
	}
}
