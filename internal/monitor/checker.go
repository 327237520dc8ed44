// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/automaton"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// Functions names kernel functions by their addresses.
type Functions interface{ Function(addr uint64) string }

// Checker runs monitors on the events of CPUs. Its methods are not safe for
// concurrent use.
type Checker struct {
	functions Functions
	runs      []*run
}

// run is one monitor on one CPU.
type run struct {
	of      *Monitor
	cpu     int
	m       *automaton.Monitor
	pokes   pokes
	blind   []string // why it cannot see what it needs
	events  uint64
	first   time.Duration
	against map[automaton.Violation]uint64
}

// Blind says why events of a kind are not seen on a CPU, or not the functions
// that they name; "" if they are.
type Blind func(cpu int, k trace.Kind, named bool) string

// NewChecker returns a checker of all monitors on all cpus.
func NewChecker(monitors []*Monitor, cpus cpulist.Set, functions Functions, blind Blind) *Checker {
	c := &Checker{functions: functions}
	for cpu := range cpus.All() {
		for _, m := range monitors {
			r := &run{of: m, cpu: cpu, m: m.a.Monitor(), blind: m.blind(cpu, blind), against: make(map[automaton.Violation]uint64)}
			r.m.Forget() // what the CPU was doing before is not known
			c.runs = append(c.runs, r)
		}
	}
	return c
}

func (m *Monitor) blind(cpu int, blind Blind) []string {
	var reasons []string
	for k := range trace.Kinds() {
		events := m.events[k]
		if events == nil {
			continue
		}
		named := len(events.functions) > 0 || m.pokes && k == trace.SendCall
		if why := blind(cpu, k, named); why != "" && !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// Add takes in the next batch; what happened before begin is left out.
func (c *Checker) Add(batch trace.Batch, begin time.Duration) {
	if batch.Until < begin {
		return
	}
	for _, r := range c.runs {
		if n := r.lost(batch); n > 0 {
			// Where among the events it was is not known, so none tells anything.
			r.m.Lost(n)
			r.pokes.lost()
			continue
		}
		for _, e := range batch.Events {
			if e.Time >= begin {
				r.event(e, c.functions)
			}
		}
	}
}

// lost returns how many events were lost that r may have needed.
func (r *run) lost(batch trace.Batch) uint64 {
	if !r.sends() {
		return batch.Lost[r.cpu]
	}
	var n uint64
	for _, lost := range batch.Lost { // senders are on any CPU
		n += lost
	}
	return n
}

// sends tells whether the monitor needs to see senders.
func (r *run) sends() bool {
	for k := range r.of.events {
		if k.IsSend() {
			return true
		}
	}
	return false
}

func (r *run) event(e trace.Event, functions Functions) {
	name := r.name(e, functions)
	if name == "" {
		return
	}
	r.events++
	if err := r.m.Event(name); err != nil {
		r.violated(e.Time, err)
	}
}

func (r *run) violated(at time.Duration, err error) {
	var v automaton.Violation
	if errors.As(err, &v); len(r.against) == 0 {
		r.first = at
	}
	r.against[v]++
}

// name returns what the automaton calls e, or "" if it has no name for it.
func (r *run) name(e trace.Event, functions Functions) string {
	known := r.of.events[e.Kind]
	if known == nil || target(e) != r.cpu {
		return ""
	}
	if r.of.pokes && e.Kind == trace.SendCall {
		if name := r.pokes.event(e, functions); name != "" {
			return name
		}
	}
	if len(known.functions) > 0 {
		if name := known.functions[functions.Function(function(e))]; name != "" {
			return name
		}
	}
	return known.any
}

// target is the CPU that e happened on, or was sent to.
func target(e trace.Event) int {
	if e.Kind.IsSend() {
		return int(e.A)
	}
	return e.CPU
}

// Results returns what every monitor says, by CPU. begin is that of Add. missed
// tells whether events of a kind may have been missed, without being counted in a
// batch: on a CPU, or if they are of senders on any.
func (c *Checker) Results(begin time.Duration, missed func(cpu int, k trace.Kind) bool) []report.Monitor {
	var results []report.Monitor
	for _, r := range c.runs {
		m := r.result(begin)
		for k := range trace.Kinds() {
			if r.of.events[k] != nil && missed(r.cpu, k) {
				m.Reasons = append(m.Reasons, fmt.Sprintf("events %s may have been missed: their recording was preempted", k))
			}
		}
		if len(m.Reasons) > 0 {
			m.Verdict = report.MonitorUnknown
		}
		results = append(results, m)
	}
	return results
}

func (r *run) result(begin time.Duration) report.Monitor {
	violations, lost := r.m.Violations()
	m := report.Monitor{
		Monitor: r.of.name, CPU: r.cpu, Verdict: string(r.m.Verdict()),
		Reasons: slices.Clone(r.blind), Events: r.events, Lost: lost, Violations: violations,
	}
	if violations == 0 && lost > 0 {
		m.Reasons = append(m.Reasons, "events were lost")
	}
	if violations > 0 {
		m.First = r.first - begin
	}
	for v, n := range r.against {
		m.By = append(m.By, report.Violation{State: v.State, Event: v.Event, Count: n})
	}
	slices.SortFunc(m.By, func(a, b report.Violation) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Event, b.Event))
	})
	return m
}
