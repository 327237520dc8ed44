// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/stay"
)

// addresses maps addresses to functions.
type addresses map[uint64]string

func (n addresses) Function(addr uint64) string { return n[addr] }
func (n addresses) Syscall(number int) string   { return fmt.Sprintf("syscall_%d", number) }
func (n addresses) Device(int) string           { return "eth0" }

// Addresses of functions.
const (
	tickFunction = iota + 1
	watchdog
	patch
	flush
	driver
)

var kernelNames = addresses{
	tickFunction: "tick_nohz_handler", watchdog: "watchdog", patch: "do_sync_core", flush: "flush_tlb_func", driver: "perf_event_nmi_handler",
}

// smallCatalogue has everything that a rule can ask for.
func smallCatalogue(t *testing.T) *Catalogue {
	t.Helper()
	text := `carriers = ["tick_nohz_handler"]` + "\n"
	for _, rule := range []string{
		`id = "patched"; entry = ["call_function_entry"]; function = ["do_sync_core"]; detail = "function"`,
		`id = "other-task"; entry = ["reschedule_entry"]; next = ["user *", "kernel *"]; detail = "next"`,
		`id = "tick"; entry = ["local_timer_entry"]; function = ["tick_nohz_handler"]`,
		`id = "timer"; entry = ["local_timer_entry"]; detail = "function"`,
		`id = "call"; entry = ["call_function_entry"]; detail = "function"`,
		`id = "resched"; entry = ["reschedule_entry"]`,
		`id = "irq"; entry = ["irq_handler_entry"]; detail = "irq"`,
		`id = "nmi"; entry = ["nmi_handler"]; detail = "handler"`,
		`id = "read"; entry = ["sys_enter"]; syscall = ["syscall_0"]`,
		`id = "syscall"; entry = ["sys_enter"]; detail = "syscall"`,
		`id = "signal"; entry = ["unnamed"]; signal = ["*"]; detail = "signal"`,
		`id = "unnamed"; entry = ["unnamed"]; detail = "event"`,
	} {
		text += "[[cause]]\n" + strings.ReplaceAll(rule, "; ", "\n") + "\ntitle = \"t\"\nexplanation = \"e\"\nkernels = \"k\"\nsources = [\"s\"]\n"
	}
	c, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func part(kind event.Kind, a uint64) stay.Part {
	return stay.Part{Event: event.Event{Kind: kind, A: a}}
}

func toTask(name string) stay.Part {
	return stay.Part{Event: event.Event{Kind: event.Switch, Task: &event.Task{TID: 7, Name: name}}}
}

// entered is a stay of which the first part is the entry.
func entered(parts ...stay.Part) stay.Stay {
	return stay.Stay{Entry: parts[0].Event, Inside: parts}
}

func notNamed(parts ...stay.Part) stay.Stay {
	return stay.Stay{Entry: event.Event{Kind: event.UserExit}, Inside: parts}
}

func TestOf(t *testing.T) {
	c := smallCatalogue(t)
	sent := part(event.CallFunctionEnter, 0xfb)
	sent.Senders = []event.Event{{Kind: event.SendCall, B: flush, Sender: &event.Sender{}}}
	late := notNamed(part(event.LocalTimerEnter, 0xec)) // the signal came after as many parts as are kept
	late.Entry = event.Event{Kind: event.Signal, A: uint64(syscall.SIGILL), B: 2}
	for _, tc := range []struct {
		name string
		stay stay.Stay
		want string // ID: Detail
	}{
		{"tick", entered(part(event.LocalTimerEnter, 0xec), part(event.HRTimer, tickFunction)), "tick: "},
		{"tick behind another timer", entered(part(event.LocalTimerEnter, 0xec), part(event.HRTimer, watchdog), part(event.HRTimer, tickFunction)), "timer: watchdog"},
		{"another timer", entered(part(event.LocalTimerEnter, 0xec), part(event.HRTimer, watchdog)), "timer: watchdog"},
		{"timer that shows nothing", entered(part(event.LocalTimerEnter, 0xec)), "timer: "},
		{"known function", entered(part(event.CallFunctionEnter, 0xfb), part(event.CSDEnter, patch), part(event.CSDEnter, flush)), "patched: do_sync_core"},
		{"known function behind another", entered(part(event.CallFunctionEnter, 0xfb), part(event.CSDEnter, flush), part(event.CSDEnter, patch)), "call: flush_tlb_func"},
		{"other function", entered(part(event.CallFunctionEnter, 0xfb), part(event.CSDEnter, flush), part(event.CSDEnter, watchdog)), "call: flush_tlb_func"},
		{"timer in a function call", entered(part(event.CallFunctionEnter, 0xfb), part(event.CSDEnter, flush), part(event.HRTimer, tickFunction)), "call: flush_tlb_func"},
		{"function in a timer", entered(part(event.LocalTimerEnter, 0xec), part(event.CSDEnter, patch)), "timer: "},
		{"irq_work, known from its sender", entered(sent), "call: flush_tlb_func"},
		{"to run a task", entered(part(event.RescheduleEnter, 0xfd), toTask("kworker/1:0")), "other-task: kworker/1:0"},
		{"to run nothing", entered(part(event.RescheduleEnter, 0xfd)), "resched: "},
		{"interrupt", entered(part(event.IRQEnter, 27)), "irq: 27 eth0"},
		{"NMI", entered(part(event.NMI, driver)), "nmi: perf_event_nmi_handler"},
		{"system call", entered(part(event.SyscallEnter, 39)), "syscall: syscall_39"},
		{"certain system call", entered(part(event.SyscallEnter, 0)), "read: "},
		{"system call with a signal", entered(part(event.SyscallEnter, 39), part(event.Signal, 15)), "syscall: syscall_39"},
		{"exception", notNamed(part(event.Signal, 8)), "signal: SIGFPE"},
		{"exception whose signal came late", late, "signal: SIGILL"},
		{"nothing seen", notNamed(), "unnamed: "},
		{"nothing but a switch", notNamed(toTask("migration/1")), "unnamed: switch to migration/1"},
		{"nothing but a softirq", notNamed(part(event.SoftirqEnter, 1)), "unnamed: first seen: softirq_entry"},
		{"no rule", entered(part(event.ThermalEnter, 0xfa)), "unnamed: "},
	} {
		if got := c.Of(&tc.stay, kernelNames); got.ID+": "+got.Detail != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got.ID+": "+got.Detail, tc.want)
		}
	}
}

// Every way into the kernel has a name.
func TestCatalogueNamesEveryEntry(t *testing.T) {
	c, named := load(t), entryNames()
	for k := range event.Kind(255) {
		s := stay.Stay{Entry: event.Event{Kind: k}}
		if s.Named() && c.Of(&s, addresses{}).ID == Unnamed {
			t.Errorf("no rule for an entry by %s", k)
		}
		if s.Named() != (k.String() != Unnamed && named[k.String()]) {
			t.Errorf("%s: named %v, but rules can ask for it: %v", k, s.Named(), named[k.String()])
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
		event event.Event
		want  string
	}{
		{part(event.SyscallEnter, 39).Event, "syscall_39"},
		{part(event.IRQEnter, 27).Event, "27 eth0"},
		{part(event.PageFault, 0xdead).Event, "0xdead"},
		{event.Event{Kind: event.IPIEnter, B: 0x63616220555043}, "CPU bac"},
		{part(event.Signal, 15).Event, "SIGTERM"},
		{part(event.Signal, 40).Event, "signal 40"},
		{part(event.SoftirqEnter, 9).Event, "RCU"},
		{part(event.SoftirqEnter, 10).Event, "softirq 10"},
		{toTask("cron").Event, "cron"},
		{part(event.CSDEnter, patch).Event, "do_sync_core"},
		{part(event.HRTimer, tickFunction).Event, "tick_nohz_handler"},
		{part(event.Timer, watchdog).Event, "watchdog"},
		{part(event.Work, watchdog).Event, "watchdog"},
		{part(event.NMI, driver).Event, "perf_event_nmi_handler"},
		{part(event.LocalTimerEnter, tickFunction).Event, ""},
	} {
		if got := Describe(tc.event, kernelNames); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.event.Kind, got, tc.want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	c, err := Load()
	if err != nil {
		b.Fatal(err)
	}
	for name, s := range map[string]stay.Stay{
		"syscall": entered(part(event.SyscallEnter, 39)),
		"tick":    entered(part(event.LocalTimerEnter, 0xec), part(event.HRTimer, tickFunction), part(event.SoftirqEnter, 1)),
		"flush":   entered(part(event.CallFunctionEnter, 0xfb), part(event.CSDEnter, flush)),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Of(&s, kernelNames)
			}
		})
	}
}
