// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/session/account"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/topology"
)

// Addresses of kernel functions.
const (
	tickFunction = 0x1000 + iota
	patchFunction
	syncFunction
	enterFunction
	probeFunction
	sysvecFunction
	switchFunction
)

type sampleNames struct{}

func (sampleNames) Function(addr uint64) string {
	return map[uint64]string{
		tickFunction:   "tick_nohz_handler",
		patchFunction:  "sample_ipi",
		syncFunction:   "sample_send",
		enterFunction:  "__x64_sys_sample",
		probeFunction:  "bpf_trace_run4",
		sysvecFunction: "asm_sysvec_apic_timer_interrupt",
		switchFunction: "sample_operation",
	}[addr]
}
func (sampleNames) Syscall(n int) string { return fmt.Sprintf("syscall_%d", n) }
func (sampleNames) Device(int) string    { return "eth0" }

var update = flag.Bool("update", false, "write the samples of package report anew")

// Package report shows, in its tests, reports that are collected here.
func TestSamples(t *testing.T) {
	for name, r := range samples(t) {
		var b bytes.Buffer
		if err := display.Report(&b, r); err != nil {
			t.Fatal(err)
		}
		compareGolden(t, name+".json", b.Bytes())
	}
}

func TestSampleBreaks(t *testing.T) {
	var b bytes.Buffer
	c := newSample(t)
	c.OnBreak = func(broken report.Break) {
		if err := json.NewEncoder(&b).Encode(broken); err != nil {
			t.Error(err)
		}
	}
	c.Stay(tickAt(time.Second, 1500))
	c.Stay(patchedBy(2*time.Second, busySender()))
	away := preemptedBy(3*time.Second, time.Millisecond, "cron")
	away.Exact, away.Lossy = false, true
	c.Stay(away)
	kernelOnly := tickAt(4*time.Second, 1500)
	kernelOnly.UserIP = 0
	c.Stay(kernelOnly)
	compareGolden(t, "breaks.jsonl", b.Bytes())
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("../report/testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", path, got)
	}
}

// begin is when the samples' observation begins.
const begin = 100 * time.Second

func newSample(t *testing.T) *Collector {
	t.Helper()
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(catalogue, sampleNames{})
	c.Begin(begin)
	return c
}

// stayAt is a stay on CPU 3 of the thread 4242, that begins at a time of the
// observation.
func stayAt(at, lasted time.Duration, entry event.Event, inside ...stay.Part) *stay.Stay {
	start := begin + at
	entry.Time = start
	parts := []stay.Part{{Event: entry, Duration: lasted}}
	for _, p := range inside {
		p.Event.Time += start
		parts = append(parts, p)
	}
	return &stay.Stay{
		CPU: 3, TID: 4242, Start: start, End: start + lasted, Exact: true, Entry: entry, UserIP: 0x401136, Quiet: 10 * time.Millisecond, Inside: parts,
	}
}

func tickAt(at, lasted time.Duration) *stay.Stay {
	return stayAt(at, lasted, event.Event{Kind: event.LocalTimerEnter, A: 236},
		stay.Part{Event: event.Event{Kind: event.HRTimer, A: tickFunction, Time: 200}},
		stay.Part{Event: event.Event{Kind: event.SoftirqEnter, A: 1, Time: 900}, Duration: 400})
}

// patchedBy is a function call sent 3 µs before it arrived.
func patchedBy(at time.Duration, sender event.Sender) *stay.Stay {
	from := event.Event{Kind: event.SendCall, Time: begin + at - 3*time.Microsecond, CPU: 0, A: 3, B: patchFunction, Sender: &sender}
	return stayAt(at, 2*time.Microsecond, event.Event{Kind: event.CallFunctionEnter, A: 252},
		stay.Part{Event: event.Event{Kind: event.CSDEnter, A: patchFunction, Time: 500}, Duration: 300, Senders: []event.Event{from}})
}

func preemptedBy(at, away time.Duration, task string, wakers ...event.Event) *stay.Stay {
	return stayAt(at, away+4*time.Microsecond, event.Event{Kind: event.RescheduleEnter, A: 253},
		stay.Part{Event: event.Event{Kind: event.Switch, Time: 1000, Task: &event.Task{TID: 17, Name: task}}, Duration: away, Senders: wakers})
}

// sentBy is something done 1 s into the observation.
func sentBy(kind event.Kind, sender event.Sender) event.Event {
	return event.Event{Kind: kind, Time: begin + time.Second, A: 3, B: patchFunction, Sender: &sender}
}

func host(t *testing.T) report.Host {
	t.Helper()
	return report.Host{
		Host: topology.Host{
			Kernel: "6.18.0-test", Arch: "amd64",
			Online: mustCPUs(t, 0, 1, 2, 3), Isolated: mustCPUs(t, 3), NohzFull: mustCPUs(t, 3),
		},
		Sources: []report.Source{
			{Name: "irq_vectors:local_timer_entry", Active: true, Shows: "the tick and other timers"},
			{Name: "csd:csd_queue_cpu", Shows: "the sender of a function-call interrupt", Reason: "this kernel has no such tracepoint: not supported"},
		},
	}
}

func mustCPUs(t *testing.T, cpus ...int) cpulist.Set {
	t.Helper()
	set, err := cpulist.New(cpus...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func newReport(t *testing.T, task report.Task) *report.Report {
	t.Helper()
	return &report.Report{
		Schema: report.Schema, Version: "v0.0.0-test", Started: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Duration: 10 * time.Second,
		Host: host(t), Task: task, CPUs: []report.CPU{}, Limits: []string{}, Tracing: true,
	}
}

func pointer[T any](v T) *T { return &v }

// samples are reports of every shape.
func samples(t *testing.T) map[string]*report.Report {
	t.Helper()
	all := map[string]*report.Report{
		"busy": busySample(t), "quiet": quietSample(t), "lost": lostSample(t), "lower-bounds": untrackedSample(t),
		"untraced": untracedSample(t), "untraced-process": untracedProcessSample(t), "empty": emptySample(t),
		"isolation": isolationSample(t), "holds": holdsSample(t), "elsewhere": elsewhereSample(t), "waiting": waitingSample(t),
	}
	scopes := map[string]report.Scope{"process": {}, "thread": {}}
	for _, r := range all {
		scope, followed := scopes[r.Task.Kind]
		for _, c := range r.CPUs {
			if !followed {
				scope.CPUs = scope.CPUs.Union(mustCPUs(t, c.CPU))
			}
		}
		r.Judge(scope)
	}
	return all
}

// waitingSample: a command that mostly sleeps by its own choice, and is stopped in the end.
func waitingSample(t *testing.T) *report.Report {
	c := newSample(t)
	for n := range time.Duration(3) {
		s := stayAt(n*time.Second, 900*time.Millisecond+50*time.Microsecond, event.Event{Kind: event.SyscallEnter, A: 232})
		s.Waited = 900 * time.Millisecond
		c.Stay(s)
	}
	c.Stay(tickAt(3500*time.Millisecond, 2*time.Microsecond))
	stopped := stayAt(4*time.Second, 6*time.Second, event.Event{Kind: event.RescheduleEnter, A: 253})
	stopped.Exact, stopped.Open = false, true
	c.Stay(stopped)
	r := newReport(t, report.Task{Kind: "command", Command: []string{"./server"}, PID: 4242})
	c.Fill(r, mustCPUs(t, 3), mustCPUs(t, 3))
	return r
}

// elsewhereSample: the command left the observed CPU.
func elsewhereSample(t *testing.T) *report.Report {
	r := newReport(t, report.Task{Kind: "command", Command: []string{"./app"}, PID: 4242, Status: pointer(0), EndedBy: "exit"})
	newSample(t).Fill(r, mustCPUs(t, 3), mustCPUs(t, 3))
	r.Elsewhere = []report.Elsewhere{{CPU: 0, Ran: 3 * time.Second}}
	r.Limits = []string{r.Elsewhere[0].String()}
	return r
}

func busySample(t *testing.T) *report.Report {
	c := newSample(t)
	c.Stay(tickAt(-time.Second, time.Microsecond)) // in the warm-up
	for n := range 12 {
		c.Stay(tickAt(time.Duration(n)*4*time.Millisecond, time.Duration(1500+100*n)))
	}
	bash := busySender()
	timer := event.Sender{PID: 900, Name: "a-very-long-name", Stack: []uint64{syncFunction, sysvecFunction}}
	c.Stay(patchedBy(time.Second, bash))
	c.Stay(patchedBy(2*time.Second, bash))
	c.Stay(patchedBy(3*time.Second, timer))
	c.Stay(preemptedBy(4*time.Second, 1200*time.Microsecond, "kworker/u8:2-events_unbound",
		sentBy(event.SendWake, busySender()), sentBy(event.SendWork, busySender())))
	moved := stayAt(4500*time.Millisecond, 3*time.Microsecond, event.Event{Kind: event.IRQEnter, A: 24})
	moved.Inside[0].Senders = []event.Event{sentBy(event.SendIRQ, busySender())}
	c.Stay(moved)
	c.Stay(stayAt(5*time.Second, 700, event.Event{Kind: event.SyscallEnter, A: 39}))
	nobody := stayAt(6*time.Second, 900, event.Event{Kind: event.UserExit})
	nobody.Inside, nobody.UserIP, nobody.Quiet = nil, 0, -1
	c.Stay(nobody)
	c.Stretch(stay.Stretch{CPU: 3, TID: 4242, Since: begin + 6*time.Second, Until: begin + 10*time.Second})
	r := newReport(t, report.Task{Kind: "command", Command: []string{"./app", "--an-option-with-a-rather-long-name=1", "ü"}, PID: 4242, Status: pointer(137), EndedBy: "exit"})
	c.Fill(r, mustCPUs(t, 3), mustCPUs(t, 3))
	r.CPUs[0].Causes[0].Remedy = &report.Remedy{Kind: "boot", Do: "nohz_full=3"}
	r.CPUs[0].Events = []report.Events{{Name: "local_timer_entry", Seen: 12}}
	r.Monitors = []report.Monitor{
		{Monitor: "poke3", CPU: 3, Verdict: report.MonitorSatisfied, Events: 18},
		{Monitor: "quiet_user", CPU: 3, Verdict: report.MonitorViolated, Events: 40, Violations: 4, First: time.Second,
			By: []report.Violation{{State: "hit", Event: "csd_function_entry_do_sync_core", Count: 4}}},
		{Monitor: "./own.dot", CPU: 3, Verdict: report.MonitorUnknown, Lost: 3, Reasons: []string{"events were lost"}},
	}
	r.CPUs[0].Interrupts = &report.Interrupts{Rows: []report.InterruptRow{
		{Name: "LOC", Description: "local timer", Kernel: 12, Seen: pointer(uint64(14)), MayDiffer: 2},
		{Name: "RES", Description: "rescheduling", Kernel: 2, Seen: pointer(uint64(2)), MayDiffer: 1},
		{Name: "CAL", Description: "function calls", Kernel: 4, Seen: pointer(uint64(3))},
		{Name: "NMI", Description: "non-maskable", Kernel: 1, Reason: "an event shows a handler"},
	}}
	r.Usage = &report.Usage{
		Task:       &report.TaskUsage{User: 9 * time.Second, System: time.Millisecond, MinorFaults: 1234, Voluntary: 3, Involuntary: 1},
		Interrupts: map[string]uint64{"LOC": 12}, Softirqs: map[string]uint64{"TIMER": 12}, Steal: pointer(20 * time.Millisecond),
	}
	return r
}

func busySender() event.Sender {
	return event.Sender{PID: 812, Name: "bash", Cgroup: 77, Stack: []uint64{probeFunction, syncFunction, switchFunction, enterFunction}}
}

func quietSample(t *testing.T) *report.Report {
	c := newSample(t)
	c.Stretch(stay.Stretch{CPU: 3, TID: 4242, Since: 0, Until: begin + 10*time.Second})
	r := newReport(t, report.Task{Kind: "busy loop", PID: 4242, EndedBy: "duration"})
	c.Fill(r, mustCPUs(t, 3), mustCPUs(t, 3))
	r.Loop = []report.Loop{{CPU: 3, Ran: 10 * time.Second, Threshold: time.Microsecond, Gaps: 2, Total: 30 * time.Microsecond, Max: 20 * time.Microsecond}}
	return r
}

func lostSample(t *testing.T) *report.Report {
	c := newSample(t)
	c.Lost(3, 0, begin-time.Second, 5) // in the warm-up
	c.Lost(3, begin-time.Second, begin+time.Second, 1234567)
	lossy := tickAt(2*time.Second, time.Microsecond)
	lossy.Lossy, lossy.Exact, lossy.Quiet = true, false, -1
	c.Stay(lossy)
	c.Lost(3, begin+2*time.Second, begin+2500*time.Millisecond, 1)
	c.Preempted(3, 2)
	r := newReport(t, report.Task{Kind: "process", PID: 4242, EndedBy: "interrupt"})
	c.Fill(r, mustCPUs(t, 1, 3), mustCPUs(t, 1, 3))
	r.Lost.Missed, r.Lost.Children = 7, 1
	return r
}

func untrackedSample(t *testing.T) *report.Report {
	c := newSample(t)
	long := preemptedBy(time.Second, 5*time.Millisecond, "stress")
	long.Exact = false
	c.Stay(long)
	fault := stayAt(2*time.Second, 0, event.Event{Kind: event.PageFault, A: 0x7f00})
	fault.Exact = false
	c.Stay(fault)
	r := newReport(t, report.Task{Kind: "thread", TID: 4242, EndedBy: "exit"})
	c.Fill(r, mustCPUs(t, 3), mustCPUs(t))
	r.Limits = []string{"CPU 3: not nohz_full, so nothing reports every kernel entry"}
	return r
}

func untracedSample(t *testing.T) *report.Report {
	r := newReport(t, report.Task{Kind: "command", Command: []string{"true"}, PID: 4242, Status: pointer(0), EndedBy: "exit"})
	r.Tracing = false
	r.Usage = &report.Usage{
		Task:       &report.TaskUsage{User: time.Millisecond, System: 300 * time.Microsecond, MinorFaults: 90},
		Events:     map[string]uint64{"page-faults-minor": 90, "context-switches": 1},
		Interrupts: map[string]uint64{"LOC": 250, "RES": 3, "24 eth0": 250}, Softirqs: map[string]uint64{},
		Steal: pointer(time.Duration(0)),
	}
	r.Limits = []string{"kernel entries could not be seen: operation not permitted; run as root"}
	return r
}

// untracedProcessSample: nobody knows on which CPUs the process ran.
func untracedProcessSample(t *testing.T) *report.Report {
	r := newReport(t, report.Task{Kind: "process", PID: 4242, EndedBy: "duration"})
	r.Tracing = false
	r.Usage = &report.Usage{Task: &report.TaskUsage{User: time.Millisecond, Voluntary: 3}}
	r.Limits = []string{"kernel entries could not be seen: operation not permitted; run as root"}
	return r
}

func emptySample(t *testing.T) *report.Report {
	r := newReport(t, report.Task{Kind: "cpus", EndedBy: "interrupt"})
	r.Duration = 0
	newSample(t).Fill(r, mustCPUs(t, 2, 3), mustCPUs(t))
	return r
}

// isolationSample: one thread was broken by a patch, by itself and on its way back
// from prctl, left once, and was killed; another was never let in.
func isolationSample(t *testing.T) *report.Report {
	c := newSample(t)
	at := begin
	isolated := func(kind event.Kind, b taskiso.Cause) event.Event {
		at += time.Second
		e := event.Event{Kind: kind, Time: at, CPU: 3, TID: 4242, B: uint64(b)}
		c.Isolation(e)
		return e
	}
	breaks := func(s *stay.Stay, coarse taskiso.Cause) {
		isolated(event.Isolated, 10)
		s.Broken = isolated(event.Broken, coarse)
		c.Stay(s)
	}
	isolated(event.Isolated, 10)
	isolated(event.Left, 0)
	breaks(patchedBy(4*time.Second, event.Sender{PID: 9, Name: "bpftrace", Stack: []uint64{syncFunction, enterFunction}}), taskiso.Call)
	breaks(stayAt(6*time.Second, 2*time.Microsecond, event.Event{Kind: event.SyscallEnter, A: 39}), taskiso.Syscall)
	breaks(stayAt(8*time.Second, 2*time.Microsecond, event.Event{Kind: event.SyscallEnter, A: 157}), taskiso.Timer)
	isolated(event.Isolated, 9)
	isolated(event.Broken, taskiso.PageFault) // its stay never ended
	isolated(event.Isolated, 10)

	r := newReport(t, report.Task{Kind: "command", Command: []string{"./app"}, PID: 4242})
	c.Fill(r, mustCPUs(t, 3), mustCPUs(t, 3))
	r.Isolation = c.Isolations(at + time.Second/2)
	AddCalls(r, []account.Calls{
		{TID: 17, Attempts: 3, Invalid: 1, NotQuiet: 2, Settling: 2100 * time.Millisecond, Longest: 1050 * time.Millisecond,
			WaitedFor: map[string]uint64{"timer interrupt": 2, "not on exactly one CPU for isolation": 1}},
		{TID: 18}, // only asked for its status page
		{TID: 4242, Attempts: 7, Granted: 6, Cut: 1, Settling: 70 * time.Millisecond, Longest: 13 * time.Millisecond, WaitedFor: map[string]uint64{"another task": 1}},
	})
	return r
}

func holdsSample(t *testing.T) *report.Report {
	r := quietSample(t)
	at := time.Date(2026, 11, 26, 9, 30, 0, 123e6, time.UTC)
	r.Holds = []operation.Record{
		{ID: 1, Time: at, PID: 812, TID: 812, Command: "bpftrace", Operation: "bpf", Detail: "PROG_LOAD", Outcome: operation.Held, Reason: operation.ByWindow, Held: 1300 * time.Millisecond, Spared: "ipi-text-patching-bpf", CPUs: mustCPUs(t, 3)},
		{ID: 2, Time: at, PID: 900, TID: 901, Command: "gdb", UID: 1000, Cgroup: "/user.slice", Operation: "perf", Detail: "type 6 event on every CPU", Outcome: operation.NotHeld, Reason: operation.ByTracer, Spared: "ipi-text-patching-perf", CPUs: mustCPUs(t, 3)},
	}
	for id := uint64(3); id < 25; id++ {
		r.Holds = append(r.Holds, operation.Record{ID: id, Time: at, PID: 7, TID: 7, Command: "udevd", Operation: "module", Outcome: operation.Denied, Spared: "ipi-text-patching-module", CPUs: mustCPUs(t, 3)})
	}
	return r
}
