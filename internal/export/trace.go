// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/perfetto"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
)

// Trace makes a trace for ui.perfetto.dev of a recording while that is read. What it keeps has bounds. Its methods are not safe for
// concurrent use.
type Trace struct {
	w        *perfetto.Writer
	report   *report.Report
	remedies map[causeKey]string
	cpus     map[int]*cpuTracks
	threads  threadTracks
	sent     map[sending]int
	flows    uint64
	omitted  omitted
}

// omitted counts what has no place in the trace.
type omitted struct{ stays, threads, holds uint64 }

type causeKey struct {
	cpu        int
	id, detail string
}

// Ranks of tracks at the top, and of those of a CPU.
const (
	rankObservation = iota
	rankThreads
	rankHolds
	rankCPUs
)

// NewTrace begins a trace. The report is that of the whole recording: remedies, and all that is in doubt, are known from it only.
func NewTrace(out io.Writer, r *report.Report) *Trace {
	t := &Trace{
		w: perfetto.NewWriter(out, r.Began, r.Started), report: r, remedies: make(map[causeKey]string),
		cpus: make(map[int]*cpuTracks), sent: make(map[sending]int),
	}
	t.threads.init(t.w)
	for _, cpu := range r.CPUs {
		for _, c := range cpu.Causes {
			if c.Remedy != nil {
				t.remedies[causeKey{cpu.CPU, c.ID, c.Detail}] = c.Remedy.String()
			}
		}
	}
	t.observation()
	for _, cpu := range r.CPUs {
		t.cpu(cpu.CPU).observed()
	}
	return t
}

// observation writes what was observed, and all that makes it uncertain.
func (t *Trace) observation() {
	r := t.report
	track := t.w.NewTrack("observation", perfetto.Top, rankObservation)
	about := perfetto.Event{Name: "observation", Args: []perfetto.Arg{
		{Name: "taskiso", Value: r.Version}, {Name: "kernel", Value: r.Host.Kernel}, {Name: "task", Value: r.Task.Kind},
		{Name: "command", Value: strings.Join(r.Task.Command, " ")},
	}}
	for _, cpu := range r.CPUs {
		about.Args = append(about.Args, perfetto.Arg{Name: fmt.Sprintf("CPU %d", cpu.CPU), Value: cpu.Verdict})
	}
	t.w.Begin(track, r.Began, &about)
	for _, d := range r.Doubts {
		t.w.Instant(track, r.Began, &perfetto.Event{Name: "in doubt: " + d.Reason, Args: []perfetto.Arg{{Name: "why", Value: d.Text}}})
	}
	for _, limit := range r.Limits {
		t.w.Instant(track, r.Began, &perfetto.Event{Name: "limit", Args: []perfetto.Arg{{Name: "limit", Value: limit}}})
	}
	t.w.End(track, r.Began+r.Duration)
}

// Event takes in an event: it can be about the isolation of a thread, or have its name.
func (t *Trace) Event(e event.Event) {
	switch {
	case e.Kind.HasTask() && e.Task != nil && e.Task.Watched:
		t.threads.name(e.Task)
	case e.Kind.IsIsolation():
		t.threads.event(e)
	}
}

// User takes in a time in user mode.
func (t *Trace) User(s stay.Stretch) {
	cpu := t.cpu(s.CPU)
	track, ok := cpu.lane(s.Since, s.Until, s.TID)
	if !ok {
		t.omitted.stays++
		return
	}
	t.w.Begin(track, s.Since, &perfetto.Event{Name: "user mode", Args: []perfetto.Arg{t.threads.arg(s.TID)}})
	t.w.End(track, s.Until)
}

// Stay takes in a break, and the stay that it is.
func (t *Trace) Stay(s *stay.Stay, b report.Break) {
	t.threads.stay(s)
	for _, share := range s.Shares() {
		t.cpu(share.CPU).count(share, s.End)
	}
	cpu := t.cpu(s.CPU)
	cpu.breaks++
	track, ok := cpu.lane(s.Start, s.End, s.TID)
	if !ok {
		t.omitted.stays++
		return
	}
	arrivals := t.sendings(s, b.Origins)
	t.w.Begin(track, s.Start, t.breakEvent(s, &b))
	t.inside(track, s, b.Inside, arrivals)
	t.w.End(track, s.End)
}

// breakEvent returns what is shown of a break.
func (t *Trace) breakEvent(s *stay.Stay, b *report.Break) *perfetto.Event {
	kernel, waited := s.Cost()
	args := []perfetto.Arg{{Name: "cause", Value: b.ID}, {Name: "time_ns", Value: int64(kernel)}, t.threads.arg(s.TID)}
	add := func(name string, value any, known bool) {
		if known {
			args = append(args, perfetto.Arg{Name: name, Value: value})
		}
	}
	add("detail", b.Detail, b.Detail != "")
	add("waited_ns", int64(waited), waited != 0)
	add("unseen_ns", int64(s.Gap), s.Gap != 0)
	add("at_least", true, b.AtLeast)
	add("open", true, b.Open)
	add("lossy", true, b.Lossy)
	add("user_ip", s.UserIP, s.UserIP != 0)
	remedy, known := t.remedies[causeKey{b.CPU, b.ID, b.Detail}]
	add("remedy", remedy, known)
	for i, o := range b.Origins[:min(len(b.Origins), maxOrigins)] {
		number := ""
		if i > 0 {
			number = fmt.Sprint(" ", i+1)
		}
		add("origin"+number, o.Description(), true)
		add("stack"+number, stackText(o.Stack), len(o.Stack) > 0)
	}
	add("more origins", int64(len(b.Origins)-maxOrigins), len(b.Origins) > maxOrigins)
	add("parts_omitted", int64(b.Omitted), b.Omitted > 0)
	return &perfetto.Event{Name: b.What(), Args: args}
}

// maxOrigins bounds how many are shown with a break. Each has an arrow as well.
const maxOrigins = 4

// Lost takes in that events of a CPU were lost.
func (t *Trace) Lost(cpu int, from, until time.Duration, events uint64) {
	if until >= t.report.Began { // as in the report
		t.cpu(cpu).lose(from, until, events)
	}
}

// Close ends the trace. It returns in words what had no place in it, "" for nothing.
func (t *Trace) Close() (string, error) {
	end := t.report.Began + t.report.Duration
	for _, cpu := range slices.Sorted(maps.Keys(t.cpus)) {
		t.cpus[cpu].set(end)
	}
	t.threads.close(end)
	t.holds()
	t.omitted.threads = t.threads.omitted
	return t.omitted.String(), t.w.Close()
}

func (o omitted) String() string {
	var parts []string
	if o.stays > 0 {
		parts = append(parts, display.Plural(o.stays, "stay", "stays")+" of too many threads at once")
	}
	if o.threads > 0 {
		parts = append(parts, display.Plural(o.threads, "change", "changes")+" of the isolation of too many threads")
	}
	if o.holds > 0 {
		parts = append(parts, display.Plural(o.holds, "held operation", "held operations")+" of too many at once")
	}
	return strings.Join(parts, ", ")
}
