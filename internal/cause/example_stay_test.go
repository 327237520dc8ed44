// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
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
			x.add(trace.Event{Kind: trace.Tick, B: mask}, 0)
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
	leave, ok := map[string]trace.Event{
		throttled: {Throttled: true}, idling: {}, stopped: {B: taskStopped}, traced: {B: taskTraced}, frozen: {B: 1, Frozen: true},
	}[why]
	if !ok {
		return
	}
	const away = time.Second
	leave.Kind, leave.Task = trace.Switch, &trace.Task{Name: "swapper/3", Kernel: true}
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

func (x *exampleStay) add(e trace.Event, d time.Duration, senders ...trace.Event) {
	x.at += time.Microsecond
	e.Time = x.at
	x.stay.Inside = append(x.stay.Inside, stay.Part{Event: e, Duration: d, Senders: senders})
}

// enter adds the event that entered the kernel.
func (x *exampleStay) enter(entry string, pick map[aspect]string) {
	e := trace.Event{Kind: kindOf(entry)}
	switch e.Kind {
	case trace.SyscallEnter:
		x.names.syscall = concrete(pick[syscallName])
	case trace.IRQEnter:
		x.names.device = concrete(pick[irqName])
	case trace.PageFault:
		e.B = faultCode(pick[faultKind])
	case trace.NMI:
		e.A = x.names.addr(concrete(pick[function]))
	case trace.UserExit:
		x.stay.Entry = e
		return
	}
	var senders []trace.Event
	if e.Kind == trace.RescheduleEnter {
		senders = x.send(trace.SendReschedule, 0, pick)
	}
	const handled = 100 * time.Microsecond
	x.add(e, handled, senders...)
	x.stay.Entry = x.stay.Inside[0].Event
}

func kindOf(entry string) trace.Kind {
	for _, k := range entryKinds() {
		if k.String() == entry {
			return k
		}
	}
	return trace.UserExit
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
	kind, ok := map[string]trace.Kind{
		"local_timer_entry": trace.HRTimer, "irq_handler_entry": trace.HRTimer,
		"call_function_entry": trace.CSDEnter, "call_function_single_entry": trace.CSDEnter,
	}[entry]
	_, asked := pick[function]
	if !ok || entry == "irq_handler_entry" && !asked && pick[sender] == "" {
		return
	}
	name := "sched_ttwu_pending"
	if kind == trace.HRTimer {
		name = "tick_nohz_handler"
	}
	if asked {
		name = concrete(pick[function])
	} else if pick[next] == "" && pick[signalName] == "" {
		if kind == trace.HRTimer {
			return // a rule that asks for no function is for an interrupt in which none was seen
		}
		name = "some_function"
	}
	e := trace.Event{Kind: kind, A: x.names.addr(name + ".isra.0")}
	if pick[sender] != "" && entry == "irq_handler_entry" {
		e.Kind = trace.CSDEnter // a function call as well as a timer can be behind it
	}
	var senders []trace.Event
	if e.Kind == trace.CSDEnter {
		senders = x.send(trace.SendCall, e.A, pick)
	}
	x.add(e, time.Microsecond, senders...)
}

// send returns the sender, whose stack has the wanted operation in its middle.
func (x *exampleStay) send(k trace.Kind, called uint64, pick map[aspect]string) []trace.Event {
	word, ok := pick[sender]
	if !ok {
		return nil
	}
	stack := []uint64{x.names.addr("smp_call_function_many_cond"), x.names.addr(concrete(word)), x.names.addr("do_syscall_64")}
	return []trace.Event{{Kind: k, B: called, Sender: &trace.Sender{PID: 1, Name: "sh", Stack: stack}}}
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
		x.add(e, time.Microsecond, x.send(trace.SendWake, 0, pick)...)
	case work:
		x.add(trace.Event{Kind: trace.Work, A: x.names.addr(word)}, 0)
	case signalName:
		x.add(trace.Event{Kind: trace.Signal, A: uint64(unix.SignalNum(word))}, 0)
	}
}

func TestCarriersGiveWay(t *testing.T) {
	c := load(t)
	for name, tc := range map[string]struct {
		entry trace.Kind
		parts []trace.Event
		names []string // of addresses 1, 2, 3
		want  string
	}{
		"tick alone":            {trace.LocalTimerEnter, []trace.Event{{Kind: trace.HRTimer, A: 1}}, []string{"tick_nohz_handler"}, "tick"},
		"timer with the tick":   {trace.LocalTimerEnter, []trace.Event{{Kind: trace.HRTimer, A: 1}, {Kind: trace.Timer, A: 2}}, []string{"tick_nohz_handler", "clocksource_watchdog"}, "timer-clocksource-watchdog"},
		"two timers":            {trace.LocalTimerEnter, []trace.Event{{Kind: trace.HRTimer, A: 1}, {Kind: trace.HRTimer, A: 2}}, []string{"mce_timer_fn", "hrtick"}, "timer-machine-check"},
		"wake-up behind a call": {trace.CallFunctionSingleEnter, []trace.Event{{Kind: trace.CSDEnter, A: 1}, {Kind: trace.CSDEnter, A: 2}}, []string{"sched_ttwu_pending", "rcu_exp_handler"}, "ipi-rcu-expedited"},
		"delayed work":          {trace.LocalTimerEnter, []trace.Event{{Kind: trace.Timer, A: 1}, switchTo("kworker/3:1", true), {Kind: trace.Work, A: 2}}, []string{"delayed_work_timer_fn", "vmstat_update"}, "work-vmstat"},
		"nested interrupt": {trace.RescheduleEnter, []trace.Event{switchTo("kworker/3:1", true), {Kind: trace.Work, A: 2}, {Kind: trace.LocalTimerEnter}, {Kind: trace.HRTimer, A: 1}},
			[]string{"mce_timer_fn", "vmstat_update"}, "work-vmstat"},
		"timer of the nested interrupt": {trace.LocalTimerEnter, []trace.Event{{Kind: trace.HRTimer, A: 1}, {Kind: trace.LocalTimerEnter}, {Kind: trace.HRTimer, A: 2}},
			[]string{"tick_nohz_handler", "mce_timer_fn"}, "tick"},
		"to a worker of io_uring, which has no user mode": {trace.RescheduleEnter, []trace.Event{switchToWorker("iou-wrk-100")}, nil, "task-io-uring"},
		"to one that has not run yet":                     {trace.RescheduleEnter, []trace.Event{switchToWorker("app")}, nil, "task-process-worker"},
		"to idle although it could run":                   {trace.RescheduleEnter, []trace.Event{{Kind: trace.Switch, Task: &trace.Task{Name: "swapper/3", Kernel: true}}}, nil, "away-idle"},
		"kick for a task that ran": {trace.CallFunctionSingleEnter, []trace.Event{{Kind: trace.CSDEnter, A: 1}, switchTo("kworker/3:1", true), {Kind: trace.Work, A: 2}},
			[]string{"nohz_full_kick_func", "flush_cpu_slab"}, "work-slab"},
		"unknown timer":    {trace.LocalTimerEnter, []trace.Event{{Kind: trace.Timer, A: 1}}, []string{"some_driver_timer"}, "timer"},
		"unknown function": {trace.CallFunctionEnter, []trace.Event{{Kind: trace.CSDEnter, A: 1}}, []string{"some_function"}, "ipi-function"},
		"interrupt, timer": {trace.IRQEnter, []trace.Event{{Kind: trace.HRTimer, A: 1}}, []string{"tick_nohz_handler"}, "tick"},
		"interrupt":        {trace.IRQEnter, nil, nil, "irq"},
		"nothing":          {trace.UserExit, nil, nil, Unnamed},
	} {
		x := &exampleStay{names: &fakeNames{functions: tc.names, device: "eth0"}}
		if tc.entry != trace.UserExit {
			x.add(trace.Event{Kind: tc.entry}, time.Millisecond)
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
func switchToWorker(name string) trace.Event {
	e := switchTo(name, true)
	e.Task.PID = 1
	return e
}

func switchTo(name string, kernel bool) trace.Event {
	return trace.Event{Kind: trace.Switch, Task: &trace.Task{TID: 9, PID: 9, Name: name, Kernel: kernel}}
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
		x.add(trace.Event{Kind: trace.CallFunctionEnter}, time.Millisecond)
		x.stay.Entry = x.stay.Inside[0].Event
		// A call that has nothing to do with it came in the same interrupt.
		other := trace.Event{Kind: trace.SendCall, B: 4711, Sender: &trace.Sender{Stack: []uint64{x.names.addr("load_module")}}}
		own := trace.Event{Kind: trace.SendCall, B: f, Sender: &trace.Sender{Stack: stack}}
		x.add(trace.Event{Kind: trace.CSDEnter, A: f}, time.Microsecond, other, own)
		if got := c.Of(&x.stay, x.names); got.ID != tc.want {
			t.Errorf("%q: got %s, want %s", slices.Clone(tc.stack), got.ID, tc.want)
		}
	}
}
