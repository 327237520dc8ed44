// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"io/fs"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

// scene is what an analysis must know of the machine and the tracer.
type scene struct {
	cpus       cpulist.Set // that are observed; none: the watched threads wherever they run
	nohzFull   cpulist.Set // on which context tracking is active
	sources    []trace.Source
	symbolsErr error // why kernel functions have no names
}

// analysis is all that comes after the tracer: stays, causes, monitors and sums. It knows nothing but what it is given, so that
// a recording of that gives the same once more.
type analysis struct {
	onEvent func(event.Event) // called with each event, if not nil
	onLost  func(Loss)        // called with each loss, if not nil

	scene
	builder   *stay.Builder
	collector *collect.Collector
	catalogue *cause.Catalogue
	checker   *monitor.Checker

	begin time.Duration // CLOCK_MONOTONIC; far in the future until it is known
	until time.Duration // end of the last batch
	part  *record.Part  // nil: everything from the beginning on is there
}

func newAnalysis(s scene, catalogue *cause.Catalogue, names cause.Names, monitors []*monitor.Monitor) *analysis {
	a := &analysis{scene: s, catalogue: catalogue, begin: notYet}
	a.collector = collect.NewCollector(catalogue, names)
	a.builder = stay.NewBuilder(a.tracked(), a.collector.Stay)
	a.builder.Everywhere = s.cpus.IsEmpty()
	a.builder.Ended = a.collector.Stretch
	a.builder.LateFaults = s.lateFaults()
	a.builder.Unseen = !a.builder.Everywhere && !s.has(event.Migrate)
	a.checker = monitor.NewChecker(monitors, s.cpus, names, s.blind)
	return a
}

// has reports whether events of a kind are seen.
func (s *scene) has(k event.Kind) bool {
	for i := range s.sources {
		if s.sources[i].Has(k) && s.sources[i].Err == nil {
			return true
		}
	}
	return false
}

// lateFaults reports whether page faults show when they are resolved, and not before.
func (s *scene) lateFaults() bool {
	return slices.ContainsFunc(s.sources, func(s trace.Source) bool { return s.Err == nil && s.ShowsLateFaults() })
}

// tracked returns the CPUs on which the kernel reports both ends of each stay.
func (s *scene) tracked() cpulist.Set {
	if s.has(event.UserExit) && s.has(event.UserEnter) {
		return s.nohzFull
	}
	return cpulist.Set{}
}

func (a *analysis) beginAt(t time.Duration) {
	a.begin = t
	a.collector.Begin(t)
}

// add takes in the next batch.
func (a *analysis) add(batch event.Batch) {
	for _, e := range batch.Events {
		if a.onEvent != nil {
			a.onEvent(e)
		}
		if e.Kind.IsIsolation() && e.Kind != event.Told {
			a.collector.Isolation(e)
		}
	}
	a.builder.Add(batch)
	a.checker.Add(batch, a.begin)
	for cpu, n := range batch.Lost {
		a.collector.Lost(cpu, a.until, batch.Until, n)
		if a.onLost != nil {
			a.onLost(Loss{CPU: cpu, From: a.until, Until: batch.Until, Events: n})
		}
	}
	a.until = batch.Until
}

// finish writes what was seen into r. The settings of the machine are in files.
func (a *analysis) finish(r *report.Report, end *record.Ending, files fs.FS) {
	r.Elsewhere = end.Elsewhere
	for _, open := range a.builder.Finish() {
		a.collector.Stretch(open)
	}
	if a.begin == notYet {
		a.begin = a.until // it ended before it began
	}
	r.Tracing, r.Began = true, a.begin
	r.Duration = max(0, a.until-a.begin)
	counted := byCPU(end)
	watched := a.listed().Slice()
	if len(watched) == 0 {
		watched = a.collector.CPUs()
	}
	for _, cpu := range watched {
		a.collector.Preempted(cpu, counted[cpu].Preempted)
		a.collector.Unrecorded(cpu, a.builder.Unrecorded()[cpu])
	}
	a.collector.Fill(r, a.listed(), a.tracked())
	collect.AddRemedies(r, a.catalogue, cause.NewMachine(files))
	a.fillEvents(r, counted)
	if !end.Unended && a.part == nil {
		a.fillInterrupts(r, end)
	}
	a.fillSources(r, end)
	r.Lost.Missed, r.Lost.Children = end.Missed, end.Children
	a.fillMonitors(r, end, counted)
	r.Isolation = a.collector.Isolations(a.until)
	r.Judge(report.Scope{CPUs: a.cpus, WarmUp: end.WarmUp, Unended: end.Unended, Part: a.part != nil})
}

func byCPU(end *record.Ending) map[int]record.CPUCounts {
	counts := make(map[int]record.CPUCounts)
	for _, c := range end.Counts {
		counts[c.CPU] = c
	}
	return counts
}

func (a *analysis) fillEvents(r *report.Report, counted map[int]record.CPUCounts) {
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		counts := counted[cpu.CPU]
		for k := range event.Kinds() {
			if seen := counts.Seen[k]; seen > 0 {
				cpu.Events = append(cpu.Events, report.Events{Name: k.String(), Seen: seen, Lost: counts.Lost[k]})
			}
		}
	}
}

func (a *analysis) fillSources(r *report.Report, end *record.Ending) {
	for _, s := range a.sources {
		source := report.Source{Name: s.Name, Active: s.Err == nil, Shows: s.Shows}
		if s.Err != nil {
			source.Reason = s.Err.Error()
		}
		r.Host.Sources = append(r.Host.Sources, source)
	}
	r.Limits = append(r.Limits, a.limits(end)...)
	for _, e := range r.Elsewhere {
		r.Limits = append(r.Limits, e.String())
	}
}
