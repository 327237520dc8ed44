// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

// symbols names functions and system calls.
type symbols struct{}

func (symbols) Function(addr uint64) string {
	switch addr {
	case 0x10:
		return "do_sync_core"
	case 0x20:
		return "some_timer"
	}
	return fmt.Sprintf("%#x", addr)
}
func (symbols) Syscall(number int) string { return map[int]string{1: "write"}[number] }
func (symbols) Device(int) string         { return "eth0" }

// app is a watched thread, on CPU 3.
func app(at time.Duration) event.Event {
	return event.Event{Kind: event.Switch, Time: at, CPU: 3, Task: &event.Task{TID: 7, PID: 7, Name: "app", Watched: true}}
}

func in(kind event.Kind, at time.Duration) event.Event {
	return event.Event{Kind: kind, Time: at, CPU: 3, TID: 7, Watched: true}
}

// kernelStay is what happens in the kernel from one time to another.
func kernelStay(from, to time.Duration, events ...event.Event) []event.Event {
	return append(append([]event.Event{in(event.UserExit, from)}, events...), in(event.UserEnter, to))
}

// batches are some interruptions of the thread: a system call, a timer, a call of another CPU, and one that losses leave in doubt.
func batches() []event.Batch {
	call, timer, send, csd := in(event.SyscallEnter, 1110), in(event.HRTimer, 2010), in(event.SendCall, 2900), in(event.CSDEnter, 3010)
	call.A, timer.A, csd.A = 1, 0x20, 0x10
	send.CPU, send.A, send.B, send.Sender = 0, 3, 0x10, &event.Sender{PID: 9, Name: "ftrace", Stack: []uint64{0x10, 0x30}}
	return []event.Batch{
		{Until: 900},
		{Until: 1500, Events: slices.Concat([]event.Event{app(1000), in(event.UserEnter, 1060)}, kernelStay(1100, 1200, call, in(event.SyscallExit, 1190)))},
		{Until: 2500, Events: kernelStay(1990, 2030, in(event.LocalTimerEnter, 2000), timer, in(event.LocalTimerExit, 2020))},
		{Until: 2700},
		{Until: 3500, Events: slices.Concat([]event.Event{send}, kernelStay(2990, 3040, in(event.CallFunctionSingleEnter, 3000), csd, in(event.CSDExit, 3020), in(event.CallFunctionSingleExit, 3030)))},
		{Until: 3600},
		{Until: 4500, Lost: map[int]uint64{3: 2}, SendersMissed: true, Events: kernelStay(3990, 4110, in(event.LocalTimerEnter, 4000), in(event.LocalTimerExit, 4100))},
	}
}

// observed is an analysis of these batches, and the recording beside it.
type observed struct {
	report    report.Report
	breaks    []report.Break
	recording []byte
}

var machine = fstest.MapFS{
	"proc/cmdline":                          {Data: []byte("nohz_full=3")},
	"sys/devices/system/cpu/nohz_full":      {Data: []byte("3\n")},
	"proc/sys/kernel/timer_migration":       {Data: []byte("1\n")},
	"sys/devices/virtual/workqueue/cpumask": {Data: []byte("f\n")},
}

func observeAll(t *testing.T, batches []event.Batch, end bool) observed {
	t.Helper()
	var o observed
	cpus, err := cpulist.New(3)
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	watch, err := monitor.Load("quiet_user")
	if err != nil {
		t.Fatal(err)
	}
	var sources []trace.Source
	for k := range event.Kinds() {
		s := trace.Source{Name: "x:" + k.String(), Kind: k, Shows: "something"}
		if k == event.VectorFreed {
			s.Err = errors.New("not in this kernel")
		}
		sources = append(sources, s)
	}
	h := record.Header{Version: "test", CPUs: cpus, NohzFull: cpus, Sources: recordedSources(sources), Devices: map[int]string{},
		Monitors: []record.Monitor{{Name: watch.Name(), Text: watch.Text()}}, Limits: []string{"first"}}
	var out bytes.Buffer
	w, err := record.NewWriter(&out, h, symbols{})
	if err != nil {
		t.Fatal(err)
	}
	a := newAnalysis(scene{cpus: cpus, nohzFull: cpus, sources: sources}, catalogue, symbols{}, []*monitor.Monitor{watch})
	a.collector.OnBreak = func(b report.Break) { o.breaks = append(o.breaks, b) }
	a.beginAt(1050)
	w.Begin(1050)
	for _, b := range batches {
		a.add(b)
		w.Batch(b)
	}
	ending := record.Ending{Counts: []record.CPUCounts{{CPU: 3, Seen: map[event.Kind]uint64{event.LocalTimerEnter: 2}, Preempted: 1}}, Missed: 1,
		MissedOf: map[event.Kind]uint64{event.Tick: 1}, Files: record.Capture(machine, catalogue.Files())}
	o.report = report.Report{Schema: report.Schema, Version: "test", CPUs: []report.CPU{}, Host: report.Host{Sources: []report.Source{}}, Limits: []string{"first"}}
	a.finish(&o.report, &ending, machine)
	own := [2]int{1, len(o.report.Limits)}
	o.report.Limits = append(o.report.Limits, "last")
	o.report.Usage = &report.Usage{}
	if !end {
		err = w.Abort()
	} else {
		err = w.Close(&record.End{Ending: ending, Report: &o.report, OwnLimits: own})
	}
	if err != nil {
		t.Fatal(err)
	}
	o.recording = out.Bytes()
	return o
}

func replay(t *testing.T, recording []byte) (*report.Report, []report.Break) {
	t.Helper()
	in, err := record.NewReader(bytes.NewReader(recording))
	if err != nil {
		t.Fatal(err)
	}
	var breaks []report.Break
	r, err := Replay(in, func(b report.Break) { breaks = append(breaks, b) })
	if err != nil {
		t.Fatal(err)
	}
	return r, breaks
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A recording gives the report of the run again, byte by byte: breaks, causes, origins, monitors, remedies, losses, limits.
func TestReplayGivesTheSameReport(t *testing.T) {
	o := observeAll(t, batches(), true)
	if len(o.breaks) < 3 || o.report.CPUs[0].Lost != 2 || len(o.report.Monitors) != 1 {
		t.Fatalf("the observation shows too little: %s", asJSON(t, o.report))
	}
	r, breaks := replay(t, o.recording)
	if got, want := asJSON(t, r), asJSON(t, o.report); got != want {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
	if got, want := asJSON(t, breaks), asJSON(t, o.breaks); got != want {
		t.Errorf("breaks are\n%s\nwant\n%s", got, want)
	}
}

// A recording without an end shows the same breaks, and claims nothing about their number.
func TestRecordingWithoutEnd(t *testing.T) {
	o := observeAll(t, batches(), true)
	cut := o.recording[:bytes.LastIndex(o.recording, []byte("end "))+10]
	r, breaks := replay(t, cut)
	if got, want := asJSON(t, breaks[:2]), asJSON(t, o.breaks[:2]); got != want {
		t.Errorf("breaks are\n%s\nwant\n%s", got, want)
	}
	if why := r.Unjudged(); !strings.Contains(why, "the recording has no end") {
		t.Errorf("it cannot be judged because of %q", why)
	}
	if last := r.Limits[len(r.Limits)-1]; r.Limits[0] != "first" || !strings.HasPrefix(last, "the recording has no end") {
		t.Errorf("limits are %q", r.Limits)
	}
}

// What is missing in the middle of a recording leaves each verdict after it unknown.
func TestRecordingWithAGap(t *testing.T) {
	quiet := []event.Batch{
		{Until: 2000, Events: []event.Event{app(1000), in(event.UserEnter, 1010)}},
		{Until: 5e9, Events: kernelStay(3e9, 3e9+10, in(event.SyscallEnter, 3e9+5))},
		{Until: 10e9, Events: kernelStay(6e9, 6e9+10, in(event.SyscallEnter, 6e9+5))},
	}
	o := observeAll(t, quiet, true)
	chunk := bytes.Index(o.recording, []byte("data"))
	o.recording[chunk+40] ^= 0xff
	r, _ := replay(t, o.recording)
	if len(r.CPUs) != 1 || r.CPUs[0].Lost == 0 || !strings.Contains(r.Unjudged(), "events of CPU 3 were lost") {
		t.Errorf("with a gap: %s", asJSON(t, r))
	}
}

// Where the settings of the machine are not recorded, no remedy is known to apply, or not to.
func TestNoRemedyWithoutSettings(t *testing.T) {
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	m := cause.NewMachine(record.Files{})
	for _, row := range catalogue.Rows() {
		for _, r := range row.Remedies {
			if state := r.State(m, cpulist.Set{}); len(r.Needs)+len(r.Set) > 0 && state != cause.Unknown {
				t.Errorf("%s: %q is %q", row.ID, r.Do, state)
			}
		}
	}
}

// A gap in a recording of threads that run anywhere leaves every CPU in doubt, also one of which nothing was seen.
func TestGapOfThreadsAnywhere(t *testing.T) {
	online, err := cpulist.New(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	p := player{analysis: newAnalysis(scene{}, catalogue, symbols{}, nil), online: online}
	for _, item := range []record.Item{record.Begin{At: 5}, record.Gap{From: 10, Until: 20}} {
		p.take(item)
	}
	r := p.recorded(&record.Header{}, &record.End{Report: &report.Report{}})
	if why := r.Unjudged(); !strings.Contains(why, "CPU 0 were lost") || !strings.Contains(why, "CPU 1 were lost") {
		t.Errorf("it cannot be judged because of %q", why)
	}
}

// FuzzReplay has an analysis take in what anybody can write into a file.
func FuzzReplay(f *testing.F) {
	var t testing.T
	o := observeAll(&t, batches(), true)
	f.Add(o.recording)
	f.Add(observeAll(&t, batches(), false).recording)
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := record.NewReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		r, err := ReplayTo(in, Listener{Break: func(report.Break) {}, Stay: func(*stay.Stay, report.Break) {}})
		if err != nil {
			if errors.Is(err, io.EOF) {
				t.Errorf("err = %v", err)
			}
			return
		}
		if err := report.WriteForeign(io.Discard, r); err != nil {
			t.Error(err)
		}
	})
}
