// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"fmt"
	"testing"

	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

// fakeNames maps addresses to functions.
type fakeNames map[uint64]string

func (n fakeNames) Function(addr uint64) string { return n[addr] }
func (n fakeNames) Syscall(number int) string   { return fmt.Sprintf("syscall_%d", number) }
func (n fakeNames) IRQ(number int) string       { return fmt.Sprintf("%d eth0", number) }

// Addresses of functions.
const (
	tick = iota + 1
	watchdog
	patch
	flush
	driver
)

var kernelNames = fakeNames{tick: "tick_nohz_handler", watchdog: "watchdog", patch: "do_sync_core", flush: "flush_tlb_func", driver: "perf_event_nmi_handler"}

// rules of a small catalogue with everything a rule can say.
var testRules = Catalogue{rules: []rule{
	{ID: "tick", Title: "tick", Entry: []string{"local_timer_entry"}, Function: []string{"tick_nohz_handler"}},
	{ID: "timer", Title: "timer", Entry: []string{"local_timer_entry"}, Detail: "function"},
	{ID: "patched", Title: "text patched", Entry: []string{"call_function_entry"}, Function: []string{"do_sync_core"}, Detail: "function"},
	{ID: "call", Title: "function call", Entry: []string{"call_function_entry"}, Detail: "function"},
	{ID: "resched", Title: "rescheduling", Entry: []string{"reschedule_entry"}, Detail: "next"},
	{ID: "irq", Title: "interrupt", Entry: []string{"irq_handler_entry"}, Detail: "irq"},
	{ID: "nmi", Title: "NMI", Entry: []string{"nmi_handler"}, Detail: "handler"},
	{ID: "syscall", Title: "system call", Entry: []string{"sys_enter"}, Detail: "syscall"},
	{ID: "signal", Title: "signal", Signal: true, Detail: "event"},
	{ID: "unnamed", Title: "unnamed", Detail: "event"},
}}

func part(kind trace.Kind, a uint64) stay.Part {
	return stay.Part{Event: trace.Event{Kind: kind, A: a}}
}

func toTask(name string) stay.Part {
	return stay.Part{Event: trace.Event{Kind: trace.Switch, Task: &trace.Task{TID: 7, Name: name}}}
}

// entered is a stay of which the first part is the entry.
func entered(parts ...stay.Part) stay.Stay {
	return stay.Stay{Entry: parts[0].Event, Inside: parts}
}

func unnamed(parts ...stay.Part) stay.Stay {
	return stay.Stay{Entry: trace.Event{Kind: trace.UserExit}, Inside: parts}
}

func TestOf(t *testing.T) {
	sent := part(trace.CallFunctionEnter, 0xfb)
	sent.Senders = []trace.Event{{Kind: trace.SendCall, B: flush, Sender: &trace.Sender{}}}
	for _, tc := range []struct {
		name string
		stay stay.Stay
		want string // ID: Detail
	}{
		{"tick", entered(part(trace.LocalTimerEnter, 0xec), part(trace.HRTimer, tick)), "tick: "},
		{"tick behind another timer", entered(part(trace.LocalTimerEnter, 0xec), part(trace.HRTimer, watchdog), part(trace.HRTimer, tick)), "tick: "},
		{"another timer", entered(part(trace.LocalTimerEnter, 0xec), part(trace.HRTimer, watchdog)), "timer: watchdog"},
		{"timer that shows nothing", entered(part(trace.LocalTimerEnter, 0xec)), "timer: "},
		{"known function", entered(part(trace.CallFunctionEnter, 0xfb), part(trace.CSDEnter, flush), part(trace.CSDEnter, patch)), "patched: do_sync_core"},
		{"other function", entered(part(trace.CallFunctionEnter, 0xfb), part(trace.CSDEnter, flush), part(trace.CSDEnter, watchdog)), "call: flush_tlb_func"},
		{"timer in a function call", entered(part(trace.CallFunctionEnter, 0xfb), part(trace.CSDEnter, flush), part(trace.HRTimer, tick)), "call: flush_tlb_func"},
		{"function in a timer", entered(part(trace.LocalTimerEnter, 0xec), part(trace.CSDEnter, patch)), "timer: "},
		{"irq_work, known from its sender", entered(sent), "call: flush_tlb_func"},
		{"to run a task", entered(part(trace.RescheduleEnter, 0xfd), toTask("kworker/1:0")), "resched: to run kworker/1:0"},
		{"to run nothing", entered(part(trace.RescheduleEnter, 0xfd)), "resched: "},
		{"interrupt", entered(part(trace.IRQEnter, 27)), "irq: 27 eth0"},
		{"NMI", entered(part(trace.NMI, driver)), "nmi: perf_event_nmi_handler"},
		{"system call", entered(part(trace.SyscallEnter, 39)), "syscall: syscall_39"},
		{"system call with a signal", entered(part(trace.SyscallEnter, 39), part(trace.Signal, 15)), "syscall: syscall_39"},
		{"exception", unnamed(part(trace.Signal, 8)), "signal: first seen: signal_deliver"},
		{"nothing seen", unnamed(), "unnamed: "},
		{"nothing but a switch", unnamed(toTask("migration/1")), "unnamed: switch to migration/1"},
		{"nothing but a softirq", unnamed(part(trace.SoftirqEnter, 1)), "unnamed: first seen: softirq_entry"},
		{"no rule", entered(part(trace.ThermalEnter, 0xfa)), "unnamed: "},
	} {
		if got := testRules.Of(&tc.stay, kernelNames); got.ID+": "+got.Detail != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got.ID+": "+got.Detail, tc.want)
		}
	}
}

func TestCauseString(t *testing.T) {
	for want, c := range map[string]Cause{
		"tick":                      {ID: "tick", Title: "tick"},
		"system call: getppid":      {ID: "syscall", Title: "system call", Detail: "getppid"},
		"device interrupt: 27 eth0": {ID: "irq", Title: "device interrupt", Detail: "27 eth0"},
	} {
		if got := c.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, tc := range []struct {
		event trace.Event
		want  string
	}{
		{part(trace.SyscallEnter, 39).Event, "syscall_39"},
		{part(trace.IRQEnter, 27).Event, "27 eth0"},
		{part(trace.PageFault, 0xdead).Event, "0xdead"},
		{part(trace.Signal, 15).Event, "signal 15"},
		{part(trace.SoftirqEnter, 9).Event, "RCU"},
		{part(trace.SoftirqEnter, 10).Event, "softirq 10"},
		{toTask("cron").Event, "cron"},
		{part(trace.CSDEnter, patch).Event, "do_sync_core"},
		{part(trace.HRTimer, tick).Event, "tick_nohz_handler"},
		{part(trace.Timer, watchdog).Event, "watchdog"},
		{part(trace.Work, watchdog).Event, "watchdog"},
		{part(trace.NMI, driver).Event, "perf_event_nmi_handler"},
		{part(trace.LocalTimerEnter, tick).Event, ""},
	} {
		if got := Describe(tc.event, kernelNames); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.event.Kind, got, tc.want)
		}
	}
}
