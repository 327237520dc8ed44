// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
)

// maxMonitors bounds those of a recording, which are run on each CPU.
const maxMonitors = 64

// Listener is called with what a replay comes upon. Each of its functions may be nil.
type Listener struct {
	Event func(event.Event) // each event of a batch, before anything is made of the batch
	Break func(report.Break)
	Stay  func(*stay.Stay, report.Break) // a break as well, with the stay that it is, which is valid until it returns
	User  func(stay.Stretch)             // a time in user mode
	Lost  func(Loss)
	// Begin is called once, when the observation begins, and LoopGap afterwards with what a recording has of busy loops.
	Begin   func(at time.Duration)
	LoopGap func(record.LoopGap)
}

// Loss is a time in which events of a CPU were lost. 0 stands for events that were counted with the loss before.
type Loss struct {
	CPU         int
	From, Until time.Duration // CLOCK_MONOTONIC
	Events      uint64
}

// Replay does again what an observation did, from its recording, and returns its report. A recording without an end gives a
// report of what it has, about which everything is in doubt. onBreak, if not nil, is called with each break.
func Replay(in *record.Reader, onBreak func(report.Break)) (*report.Report, error) {
	return ReplayTo(in, Listener{Break: onBreak})
}

// ReplayTo does the same, and calls a listener.
func ReplayTo(in *record.Reader, to Listener) (*report.Report, error) {
	catalogue, err := cause.Load()
	if err != nil {
		return nil, err
	}
	return replayWith(catalogue, in, to)
}

func replayWith(catalogue *cause.Catalogue, in *record.Reader, to Listener) (*report.Report, error) {
	a, err := analysisOf(in, catalogue)
	if err != nil {
		return nil, err
	}
	a.collector.OnBreak, a.collector.OnStay, a.collector.OnUser, a.onEvent, a.onLost = to.Break, to.Stay, to.User, to.Event, to.Lost
	p := player{analysis: a, to: to, online: in.Header.Host.Online}
	for {
		item, err := in.Next()
		if errors.Is(err, io.EOF) {
			return p.recorded(&in.Header, in.End), nil
		}
		if err != nil {
			return nil, err
		}
		p.take(item)
	}
}

// analysisOf returns an analysis as the one beside which it was recorded.
func analysisOf(in *record.Reader, catalogue *cause.Catalogue) (*analysis, error) {
	h := &in.Header
	s := scene{cpus: h.CPUs, nohzFull: h.NohzFull, sources: sourcesOf(h.Sources)}
	if h.Symbols != "" {
		s.symbolsErr = errors.New(h.Symbols)
	}
	if len(h.Monitors) > maxMonitors {
		return nil, fmt.Errorf("%w: it has %d monitors, and %d can be run", record.ErrFormat, len(h.Monitors), maxMonitors)
	}
	var monitors []*monitor.Monitor
	for _, m := range h.Monitors {
		parsed, err := monitor.Parse(m.Name, m.Text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", record.ErrFormat, err)
		}
		monitors = append(monitors, parsed)
	}
	a := newAnalysis(s, catalogue, in.Names(), monitors)
	if h.Part != nil {
		a.isPart(h.Part)
	}
	return a, nil
}

// player gives an analysis what a recording holds.
type player struct {
	*analysis
	to     Listener
	online cpulist.Set
	early  record.Gap // before the beginning was known
	gaps   int
	gone   time.Duration // how long these are together
}

func (p *player) take(item record.Item) {
	switch item := item.(type) {
	case record.Batch:
		p.add(item.Batch)
	case record.Begin:
		if p.part != nil {
			return // that of the whole
		}
		if p.to.Begin != nil && p.begin == notYet {
			p.to.Begin(item.At)
		}
		p.beginAt(item.At)
		if p.early != (record.Gap{}) {
			p.gap(p.early)
			p.early = record.Gap{}
		}
	case record.Found:
		p.builder.Found(item.CPU, item.TID, item.From, item.At)
	case record.LoopGap:
		if p.to.LoopGap != nil && p.begin != notYet {
			p.to.LoopGap(item)
		}
	case record.Gap:
		p.gaps++
		p.gone += item.Until - item.From
		if p.begin == notYet { // the beginning may be in it
			p.early = record.Gap{Until: item.Until, Events: p.early.Events + item.Events}
			return
		}
		p.gap(item)
	}
}

// gap takes in that nothing is recorded of a time: on each CPU as much may be missing as was there in all.
func (p *player) gap(g record.Gap) {
	cpus := p.cpus
	if cpus.IsEmpty() {
		cpus = p.online // the threads can have been anywhere
	}
	lost := make(map[int]uint64)
	for cpu := range cpus.All() {
		lost[cpu] = max(1, uint64(g.Events))
	}
	p.add(event.Batch{Until: max(g.Until, p.until), Lost: lost, SendersMissed: true})
}

// recorded returns the report, with what is not recorded as a limit.
func (p *player) recorded(h *record.Header, end *record.End) *report.Report {
	r := p.ran(h, end)
	if p.gaps > 0 {
		r.Limits = append(r.Limits, fmt.Sprintf("gaps in the recording (%d), %s in all, because it is damaged or the disk did not keep up: what happened then is not known",
			p.gaps, display.Span(p.gone)))
	}
	return r
}

// ran completes the report with what is known from the run only.
func (a *analysis) ran(h *record.Header, end *record.End) *report.Report {
	if a.part != nil {
		return a.partial(h, end)
	}
	if end == nil || end.Report == nil {
		return a.unended(h)
	}
	r, ran := *end.Report, end.Report
	own := end.OwnLimits
	if own[0] < 0 || own[1] < own[0] || own[1] > len(ran.Limits) {
		own = [2]int{len(ran.Limits), len(ran.Limits)}
	}
	r.CPUs, r.Lost, r.Host.Sources = []report.CPU{}, report.Lost{}, []report.Source{}
	r.Limits = slices.Clone(ran.Limits[:own[0]])
	a.finish(&r, &end.Ending, end.Ending.Files)
	r.Limits = append(r.Limits, ran.Limits[own[1]:]...)
	keepCalls(&r, ran)
	keepPartition(&r, ran)
	return &r
}

// unended returns the report of a recording without an end.
func (a *analysis) unended(h *record.Header) *report.Report {
	r := begun(h)
	a.finish(r, &record.Ending{Unended: true}, record.Files{})
	r.Limits = append(r.Limits, fmt.Sprintf("the recording has no end, because taskiso was ended or still writes it: what came after its first %s, the kernel's own counts, "+
		"the settings of the machine, and how the task ended are not in it", display.Span(max(0, a.until-a.begin))))
	return r
}

// begun returns a report as it is when a recording begins.
func begun(h *record.Header) *report.Report {
	return &report.Report{
		Schema: report.Schema, Version: h.Version, Started: h.Started, Task: h.Task, CPUs: []report.CPU{},
		Host: report.Host{Host: h.Host, Sources: []report.Source{}}, Limits: slices.Clone(h.Limits),
	}
}

// keepCalls takes over which calls for isolation the run has answered: they are no events.
func keepCalls(r, ran *report.Report) {
	for i := range ran.Isolation {
		calls := ran.Isolation[i].IsolationCalls
		j := slices.IndexFunc(r.Isolation, func(have report.Isolation) bool { return have.TID == ran.Isolation[i].TID })
		if j < 0 {
			r.Isolation = append(r.Isolation, report.Isolation{TID: ran.Isolation[i].TID})
			j = len(r.Isolation) - 1
		}
		r.Isolation[j].IsolationCalls = calls
	}
	slices.SortFunc(r.Isolation, func(a, b report.Isolation) int { return cmp.Compare(a.TID, b.TID) })
}

// keepPartition takes over which causes a partition of the machine would have ended.
func keepPartition(r, ran *report.Report) {
	type key struct {
		cpu        int
		id, detail string
	}
	ends := make(map[key]string)
	for _, cpu := range ran.CPUs {
		for _, c := range cpu.Causes {
			ends[key{cpu.CPU, c.ID, c.Detail}] = c.Partition
		}
	}
	for i := range r.CPUs {
		for j := range r.CPUs[i].Causes {
			c := &r.CPUs[i].Causes[j]
			c.Partition = ends[key{r.CPUs[i].CPU, c.ID, c.Detail}]
		}
	}
}
