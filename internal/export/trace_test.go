// SPDX-License-Identifier: Apache-2.0

package export_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/export"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/perfetto/perfettotest"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/topology"
)

// names name nothing.
type names struct{}

func (names) Function(addr uint64) string { return fmt.Sprintf("function_%x", addr) }
func (names) Syscall(n int) string        { return fmt.Sprintf("call%d", n) }
func (names) Device(int) string           { return "eth0" }

const began = 1_000_000

func in(cpu int, tid uint32, kind event.Kind, at time.Duration) event.Event {
	return event.Event{Kind: kind, Time: began + at, CPU: cpu, TID: tid, Watched: true}
}

// goes is a switch of a CPU from one thread to another. Those with numbers below 100 are watched.
func goes(cpu int, from, to uint32, at time.Duration, state uint64) event.Event {
	e := in(cpu, from, event.Switch, at)
	e.Watched, e.B = from < 100 && from > 0, state
	e.Task = &event.Task{TID: to, PID: to, Name: fmt.Sprintf("app%d", to), Watched: to < 100 && to > 0, Kernel: to == 0}
	return e
}

func with(e event.Event, a, b, c uint64) event.Event {
	e.A, e.B, e.C = a, b, c
	return e
}

func sent(kind event.Kind, at time.Duration, a, b, c uint64) event.Event {
	e := with(in(0, 200, kind, at), a, b, c)
	e.Watched, e.Sender = false, &event.Sender{PID: 200, Name: "=ftrace", Stack: []uint64{0x10, 0x20}, Shown: true, Cgroup: 5}
	return e
}

// batches are two threads on CPUs 2 and 3. They are interrupted by a call of another CPU with a softirq behind it, by an NMI, and twice by
// one timer; they preempt each other; one goes from CPU 3 to CPU 2 within a system call; and isolation of one of them is asked for, granted,
// broken and left.
func batches() []event.Batch {
	interrupts := []event.Event{
		goes(3, 0, 7, 0, 0), in(3, 7, event.UserEnter, 100),
		sent(event.SendCall, 900, 3, 0x10, 77),
		in(3, 7, event.UserExit, 1000), in(3, 7, event.CallFunctionSingleEnter, 1010), with(in(3, 7, event.CSDEnter, 1020), 0x10, 77, 0),
		in(3, 7, event.CSDExit, 1050), in(3, 7, event.CallFunctionSingleExit, 1060), with(in(3, 7, event.SoftirqEnter, 1070), 9, 0, 0),
		with(in(3, 7, event.NMI, 1090), 0x30, 500, 1), in(3, 7, event.SoftirqExit, 1100), in(3, 7, event.UserEnter, 1120),
		sent(event.SendHRTimer, 1500, 3, 0x40, 88),
		in(3, 7, event.UserExit, 2000), in(3, 7, event.LocalTimerEnter, 2010), with(in(3, 7, event.HRTimer, 2020), 0x40, 88, 0),
		in(3, 7, event.LocalTimerExit, 2030), in(3, 7, event.UserEnter, 2040),
		in(3, 7, event.UserExit, 2500), in(3, 7, event.LocalTimerEnter, 2510), with(in(3, 7, event.HRTimer, 2520), 0x40, 88, 0),
		in(3, 7, event.LocalTimerExit, 2530), in(3, 7, event.UserEnter, 2540),
	}
	threads := []event.Event{
		in(3, 7, event.UserExit, 3000), in(3, 7, event.LocalTimerEnter, 3010), in(3, 7, event.LocalTimerExit, 3020), goes(3, 7, 8, 3030, 0),
		in(3, 8, event.UserEnter, 3100), in(3, 8, event.UserExit, 3200), with(in(3, 8, event.SyscallEnter, 3210), 1, 0, 0),
		goes(3, 8, 7, 3300, 1), in(3, 7, event.UserEnter, 3400), // 8 sleeps
		sent(event.SendWake, 3600, 3, 8, 1), goes(2, 0, 8, 3700, 0), in(2, 8, event.SyscallExit, 3750), in(2, 8, event.UserEnter, 3800),
		in(3, 7, event.UserExit, 4000), with(in(3, 7, event.SyscallEnter, 4010), 157, 0, 0), with(in(3, 7, event.Isolated, 4100), 1, 10, 0),
		in(3, 7, event.SyscallExit, 4110), in(3, 7, event.UserEnter, 4150),
		in(3, 7, event.UserExit, 5000), with(in(3, 7, event.Broken, 5005), 1<<32|1, 3, 0), in(3, 7, event.LocalTimerEnter, 5010),
		in(3, 7, event.LocalTimerExit, 5020), in(3, 7, event.UserEnter, 5040),
		in(3, 7, event.UserExit, 6000), with(in(3, 7, event.SyscallEnter, 6010), 157, 0, 0), with(in(3, 7, event.Isolated, 6100), 1, 10, 0),
		in(3, 7, event.SyscallExit, 6110), in(3, 7, event.UserEnter, 6150),
		in(3, 7, event.UserExit, 7000), with(in(3, 7, event.SyscallEnter, 7010), 157, 0, 0), with(in(3, 7, event.Left, 7020), 1, 0, 0),
		in(3, 7, event.SyscallExit, 7030), in(3, 7, event.UserEnter, 7050),
	}
	lost := []event.Event{in(3, 7, event.UserExit, 8000), in(3, 7, event.LocalTimerEnter, 8010), in(3, 7, event.LocalTimerExit, 8020), in(3, 7, event.UserEnter, 8030)}
	return []event.Batch{
		{Until: began - 20, Lost: map[int]uint64{3: 9}}, {Until: began - 10}, {Until: began + 2600, Events: interrupts}, {Until: began + 7500, Events: threads},
		{Until: began + 7600}, {Until: began + 9000, Events: lost, Lost: map[int]uint64{3: 4}, SendersMissed: true}, {Until: began + 9500},
	}
}

func recordingOf(t testing.TB, batches []event.Batch, end *record.End) []byte {
	t.Helper()
	observed, err := cpulist.New(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	h := record.Header{
		Version: "test", Host: topology.Host{Kernel: "6.12"}, CPUs: observed, NohzFull: observed, Started: time.Unix(100, 0), Task: report.Task{Kind: "command", Command: []string{"app"}},
	}
	for k := range event.Kinds() {
		h.Sources = append(h.Sources, record.Source{Name: k.String(), Kind: k})
	}
	var out bytes.Buffer
	w, err := record.NewWriter(&out, h, names{})
	if err != nil {
		t.Fatal(err)
	}
	w.Begin(began)
	for _, b := range batches {
		w.Batch(b)
	}
	if end == nil {
		err = w.Abort()
	} else {
		err = w.Close(end)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func ended() *record.End {
	return &record.End{Report: &report.Report{Version: "test", Started: time.Unix(100, 0), Limits: []string{}, Holds: []operation.Record{
		{Time: time.Unix(100, 2000), Held: 3000, Operation: "module", Outcome: operation.Held, Reason: operation.ByWindow, Command: "modprobe", PID: 9, TID: 9},
		{Time: time.Unix(100, 3000), Held: 4000, Operation: "bpf", Outcome: operation.Held, Reason: operation.ByWait, Command: "bpftool", PID: 10, TID: 10},
	}}}
}

// replayed gives a recording to a listener.
func replayed(recording []byte, to observe.Listener) (*report.Report, error) {
	r, err := record.NewReader(bytes.NewReader(recording))
	if err != nil {
		return nil, err
	}
	return observe.ReplayTo(r, to)
}

// traceOf returns the trace of a recording, and its report.
func traceOf(recording []byte) (*report.Report, []byte, error) {
	r, err := replayed(recording, observe.Listener{})
	if err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	trace := export.NewTrace(&out, r)
	_, err = replayed(recording, observe.Listener{Event: trace.Event, Stay: trace.Stay, User: trace.User,
		Lost: func(l observe.Loss) { trace.Lost(l.CPU, l.From, l.Until, l.Events) }})
	if err != nil {
		return nil, nil, err
	}
	_, err = trace.Close()
	return r, out.Bytes(), err
}

func readTrace(t *testing.T, recording []byte) (*report.Report, *perfettotest.Trace) {
	t.Helper()
	r, text, err := traceOf(recording)
	if err != nil {
		t.Fatal(err)
	}
	trace, err := perfettotest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return r, trace
}

// tree returns what is on the tracks of a path, each slice with its beginning and length, and what is in it.
func tree(trace *perfettotest.Trace, path ...string) []string {
	var lines []string
	for _, s := range trace.Slices {
		if !slices.Equal(trace.Path(s.Track), path) {
			continue
		}
		depth := 0
		for p := s.Parent; p != nil; p = p.Parent {
			depth++
		}
		lines = append(lines, fmt.Sprintf("%s%d+%d %s", strings.Repeat("  ", depth), s.Start-began, s.End-s.Start, s.Name))
	}
	return lines
}

// The trace has the same breaks, times and losses as the report, and what was done in breaks is within them.
func TestTrace(t *testing.T) {
	r, trace := readTrace(t, recordingOf(t, batches(), ended()))
	for _, differs := range append(perfettotest.Compare(trace, r), trace.Flows()...) {
		t.Error(differs)
	}
	lanes := tree(trace, "CPU 3", "user mode and breaks")
	for _, want := range []string{
		"100+900 user mode",
		"1000+120 function-call IPI: function_10",
		"  1010+50 call_function_single_entry",
		"    1020+30 csd_function_entry: function_10",
		"  1070+30 softirq_entry: RCU",
		"    1070+20 nmi_handler: function_30",
		"  3030+270 sched_switch: app8",
	} {
		if !slices.ContainsFunc(lanes, func(have string) bool { return strings.HasPrefix(have, want) }) {
			t.Errorf("CPU 3 has no %q in\n%s", want, strings.Join(lanes, "\n"))
		}
	}
	if got := fmt.Sprint(tree(trace, "isolation", "thread app7 (7)")); got !=
		"[4000+100 asked 4100+905 isolated 5005+995 broken: timer interrupt 6000+100 asked 6100+920 isolated]" {
		t.Errorf("the isolation of the thread is %s", got)
	}
	if got := fmt.Sprint(tree(trace, "CPU 3", "events lost")); got != "[7600+1400 events lost]" {
		t.Errorf("lost are %s", got)
	}
	if got := fmt.Sprint(tree(trace, "held operations")); got != "[2000+3000 module held 3000+4000 bpf held]" {
		t.Errorf("held are %s", got)
	}
}

// Each sender is on its CPU, and an arrow leads to what it caused.
func TestSenders(t *testing.T) {
	_, trace := readTrace(t, recordingOf(t, batches(), ended()))
	if got := fmt.Sprint(tree(trace, "CPU 0", "senders")); got != "[900+0 =ftrace: call function_10 1500+0 =ftrace: arm function_40 1500+0 =ftrace: arm function_40]" {
		t.Errorf("senders are %s", got)
	}
	arrows := 0
	for _, b := range trace.Breaks() {
		for _, from := range trace.Senders(b) {
			arrows++
			origin, _ := b.Args["origin"].(string)
			if from.Args["process"] != int64(200) || !strings.Contains(origin, "(process 200)") || from.Args["stack"] != "function_10 ← function_20" || b.Args["stack"] != from.Args["stack"] {
				t.Errorf("%q has the origin %q, and an arrow from %v", b.Name, origin, from.Args)
			}
		}
	}
	if arrows != 3 {
		t.Errorf("%d breaks have an arrow", arrows)
	}
}

// What was sent once and arrives for ever does not fill the trace with arrows.
func TestArrowsOfOneSender(t *testing.T) {
	events := []event.Event{goes(3, 0, 7, 0, 0), in(3, 7, event.UserEnter, 100), sent(event.SendHRTimer, 500, 3, 0x40, 88)}
	for at := time.Duration(1000); at < 20_000; at += 1000 {
		events = append(events, in(3, 7, event.UserExit, at), in(3, 7, event.LocalTimerEnter, at+10), with(in(3, 7, event.HRTimer, at+20), 0x40, 88, 0),
			in(3, 7, event.LocalTimerExit, at+30), in(3, 7, event.UserEnter, at+40))
	}
	_, trace := readTrace(t, recordingOf(t, []event.Batch{{Until: began - 10}, {Until: began + 30_000, Events: events}}, ended()))
	if senders := tree(trace, "CPU 0", "senders"); len(senders) != 4 || len(trace.Breaks()) != 19 || len(trace.Flows()) > 0 {
		t.Errorf("%d breaks, and the senders %s", len(trace.Breaks()), senders)
	}
	for _, b := range trace.Breaks() {
		if b.Args["origin"] == nil {
			t.Errorf("%q has no origin", b.Name)
		}
	}
}

// What is in doubt is in the trace of a recording without an end, and sums are those of its report.
func TestTraceWithoutEnd(t *testing.T) {
	whole := recordingOf(t, batches(), ended())
	r, trace := readTrace(t, whole[:bytes.LastIndex(whole, []byte("end "))+10])
	for _, differs := range perfettotest.Compare(trace, r) {
		t.Error(differs)
	}
	if got := tree(trace, "observation"); !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "in doubt: unended") }) {
		t.Errorf("the observation is %s", got)
	}
}

// FuzzTrace exports what anybody can write into a file. Whatever that is, slices nest, and flows have one end.
func FuzzTrace(f *testing.F) {
	f.Add(recordingOf(f, batches(), ended()))
	f.Add(recordingOf(f, batches(), nil))
	f.Fuzz(func(t *testing.T, recording []byte) {
		_, text, err := traceOf(recording)
		if err != nil {
			return
		}
		if _, err := perfettotest.Read(text); err != nil {
			t.Error(err)
		}
		table := export.NewTable(io.Discard)
		if _, err := replayed(recording, observe.Listener{Break: table.Add}); err != nil {
			t.Error(err)
		}
	})
}

// Parts are within each other and within their stay, whatever times they have.
func TestPartsNest(t *testing.T) {
	var out bytes.Buffer
	trace := export.NewTrace(&out, &report.Report{Began: began, Duration: time.Hour})
	s := &stay.Stay{CPU: 3, TID: 7, Start: began + 100, End: began + 200}
	var b report.Break
	for _, p := range []struct{ at, duration time.Duration }{{110, 50}, {120, 1000}, {115, 5}, {170, 10}, {50, 20}, {300, 10}} {
		s.Inside = append(s.Inside, stay.Part{Event: in(3, 7, event.IRQEnter, p.at), Duration: p.duration})
		b.Inside = append(b.Inside, report.Part{Event: fmt.Sprint(int(p.at))})
	}
	trace.Stay(s, b)
	if _, err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	read, err := perfettotest.Read(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(tree(read, "CPU 3", "user mode and breaks")); got != "[100+100    110+50 110     120+40 120       120+0 115   170+10 170     170+0 50   200+0 300]" {
		t.Errorf("got %s", got)
	}
}

// counted counts what is written.
type counted struct{ n int }

func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return len(b), nil
}

// exportBreaks gives a trace breaks on one CPU, each sent by somebody, and returns how large it is and how many bytes are kept then.
func exportBreaks(t *testing.T, n int, name func(i int) string) (written, kept int) {
	t.Helper()
	var out counted
	trace := export.NewTrace(&out, &report.Report{Began: began, Duration: time.Hour})
	for i := range n {
		at := began + time.Duration(i)*10_000
		call, send := in(3, 7, event.CSDEnter, at-began+20), sent(event.SendCall, at-began-100, 3, 0x10, 77)
		s := &stay.Stay{CPU: 3, TID: 7, Start: at, End: at + 500, Exact: true, Entry: in(3, 7, event.CallFunctionSingleEnter, at-began+10), Quiet: 9500}
		s.Inside = []stay.Part{{Event: s.Entry, Duration: 400}, {Event: call, Duration: 100, Senders: []event.Event{send}}}
		b := report.Break{CPU: 3, TID: 7, ID: "ipi-call", Title: "function-call IPI", Detail: name(i), Inside: []report.Part{{Event: "call"}, {Event: "csd", Detail: name(i)}}}
		b.Origins = []report.Origin{{Did: report.DidCall, Name: name(i), PID: uint32(i), Stack: []string{"smp_call", name(i)}}}
		trace.User(stay.Stretch{CPU: 3, TID: 7, Since: at - 9500, Until: at})
		trace.Stay(s, b)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if _, err := trace.Close(); err != nil {
		t.Fatal(err)
	}
	return out.n, int(m.HeapAlloc)
}

// What is kept does not grow with the trace, also if every break has a name of its own.
func TestTraceDoesNotGrow(t *testing.T) {
	const breaks = 100_000
	_, few := exportBreaks(t, 1000, func(i int) string { return fmt.Sprint("task", i) })
	_, many := exportBreaks(t, breaks, func(i int) string { return fmt.Sprint("task", i) })
	const bound = 48 << 20 // of strings, and of senders that were written
	if many > few+bound {
		t.Errorf("%d bytes are kept of %d breaks, and %d of 1000", many, breaks, few)
	}
	size, _ := exportBreaks(t, breaks, func(int) string { return "task" })
	t.Logf("%d bytes for each break that somebody sent; %d MiB kept, of hostile names %d MiB", size/breaks, few>>20, many>>20)
	if size > 400*breaks {
		t.Errorf("%d bytes for each break", size/breaks)
	}
}
