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
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// Functions names kernel functions by their addresses.
type Functions interface{ Function(addr uint64) string }

// Checker runs monitors on the events of CPUs. Its methods are not safe for
// concurrent use.
type Checker struct {
	functions Functions
	runs      []*run
	followers []*follower
}

// run is one monitor on one CPU.
type run struct {
	of         *Monitor
	cpu        int
	m          *automaton.Monitor // nil if there is one for each thread: see follower
	pokes      pokes
	blind      []string // why it cannot see all events that it needs
	events     uint64
	lostEvents uint64
	first      time.Duration
	violations uint64
	against    map[automaton.Violation]uint64
}

// Blind returns why events of a kind, or the functions that they name, are not
// seen on a CPU; "" if they are.
type Blind func(cpu int, k event.Kind, named bool) string

// Steps stands for the steps of a patch, which are derived from others and have no kind of their own, where a Blind is asked.
const Steps event.Kind = 0

// NewChecker returns a checker of all monitors on all cpus.
func NewChecker(monitors []*Monitor, cpus cpulist.Set, functions Functions, blind Blind) *Checker {
	c := &Checker{functions: functions}
	followers := make(map[*Monitor]*follower)
	for _, m := range monitors {
		if m.threads {
			followers[m] = &follower{of: m, runs: make(map[int]*run), threads: make(map[uint32]*thread)}
			c.followers = append(c.followers, followers[m])
		}
	}
	for cpu := range cpus.All() {
		for _, m := range monitors {
			r := &run{of: m, cpu: cpu, blind: m.blind(cpu, blind), against: make(map[automaton.Violation]uint64)}
			if f := followers[m]; f != nil {
				f.runs[cpu] = r
			} else {
				r.m = m.a.Monitor()
				r.m.Forget() // the state of the CPU before is not known
			}
			c.runs = append(c.runs, r)
		}
	}
	return c
}

func (m *Monitor) blind(cpu int, blind Blind) []string {
	var reasons []string
	for k := range event.Kinds() {
		events := m.events[k]
		if events == nil {
			continue
		}
		named := len(events.functions) > 0 || m.pokes && k == event.SendCall
		if why := blind(cpu, k, named); why != "" && !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	if m.pokes {
		if why := blind(cpu, Steps, false); why != "" {
			reasons = append(reasons, why)
		}
	}
	return reasons
}

// Add takes in the next batch; what happened before begin is left out.
func (c *Checker) Add(batch event.Batch, begin time.Duration) {
	if batch.Until < begin {
		return
	}
	for _, f := range c.followers {
		f.add(batch, begin, c.functions)
	}
	for _, r := range c.runs {
		if r.m == nil {
			continue
		}
		if n, lossy := r.lost(batch); lossy {
			// It is not known where the lost event belongs among these, so none of them proves anything.
			r.m.Forget()
			if n > 0 {
				r.m.Lost(n)
				r.lostEvents += n
			}
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

// lost returns how many events were lost that r may have needed, and whether any
// can be missing in the batch: those can have been counted with the one before.
func (r *run) lost(batch event.Batch) (uint64, bool) {
	if !r.sends() {
		n, lossy := batch.Lost[r.cpu]
		return n, lossy
	}
	var n uint64
	for _, lost := range batch.Lost { // senders are on any CPU
		n += lost
	}
	return n, len(batch.Lost) > 0
}

// sends reports whether the monitor needs to see senders.
func (r *run) sends() bool {
	for k := range r.of.events {
		if k.IsSend() {
			return true
		}
	}
	return false
}

func (r *run) event(e event.Event, functions Functions) {
	r.take(r.m, r.name(e, functions), e.Time)
}

// take gives m an event, if it has a name.
func (r *run) take(m *automaton.Monitor, name string, at time.Duration) {
	if name == "" {
		return
	}
	r.events++
	if err := m.Event(name); err != nil {
		r.violated(at, err)
	}
}

func (r *run) violated(at time.Duration, err error) {
	var v automaton.Violation
	if errors.As(err, &v); r.violations == 0 {
		r.first = at
	}
	r.violations++
	r.against[v]++
}

// name returns what the automaton calls e, or "" if it has no name for it.
func (r *run) name(e event.Event, functions Functions) string {
	known := r.of.events[e.Kind]
	if known == nil || target(e) != r.cpu {
		return ""
	}
	if r.of.pokes && e.Kind == event.SendCall {
		if name := r.pokes.event(e, functions); name != "" {
			return name
		}
	}
	return known.name(e, functions)
}

// nameOf does the same as run.name, for any CPU.
func (m *Monitor) nameOf(e event.Event, functions Functions) string {
	if known := m.events[e.Kind]; known != nil {
		return known.name(e, functions)
	}
	return ""
}

func (known *events) name(e event.Event, functions Functions) string {
	if len(known.functions) > 0 {
		if name := known.functions[functions.Function(function(e))]; name != "" {
			return name
		}
	}
	return known.any
}

// target is the CPU that e happened on, or was sent to.
func target(e event.Event) int {
	if e.Kind.IsSend() {
		return int(e.A)
	}
	return e.CPU
}

// Results returns the verdict of every monitor, by CPU. begin is that of Add. missed
// reports whether events of a kind may have been missed, without being counted in a
// batch: on a CPU, or if they are of senders on any.
func (c *Checker) Results(begin time.Duration, missed func(cpu int, k event.Kind) bool) []report.Monitor {
	var results []report.Monitor
	idle := c.idle()
	for _, r := range c.runs {
		m := r.result(begin)
		if idle[r.of] {
			m.Reasons = append(m.Reasons, noThread)
		}
		for k := range event.Kinds() {
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

// noThread is why a monitor of threads has no verdict: without a thread nothing was checked.
const noThread = "no thread was seen to become isolated"

// idle returns the monitors of threads that had no thread to check, on any CPU.
func (c *Checker) idle() map[*Monitor]bool {
	idle := make(map[*Monitor]bool)
	for _, f := range c.followers {
		idle[f.of] = !f.followed
	}
	return idle
}

// Violations returns how often all monitors were violated until now.
func (c *Checker) Violations() (n uint64) {
	for _, r := range c.runs {
		n += r.violations
	}
	return n
}

func (r *run) result(begin time.Duration) report.Monitor {
	m := report.Monitor{
		Monitor: r.of.name, CPU: r.cpu, Verdict: report.MonitorSatisfied,
		Reasons: slices.Clone(r.blind), Events: r.events, Lost: r.lostEvents, Violations: r.violations,
		OfUserMode: r.of.events[event.UserEnter] != nil || r.of.events[event.UserExit] != nil,
		OfThreads:  r.of.threads,
	}
	switch {
	case r.violations > 0:
		m.Verdict, m.First = report.MonitorViolated, r.first-begin
	case r.lostEvents > 0:
		m.Reasons = append(m.Reasons, "events were lost")
	}
	for v, n := range r.against {
		m.By = append(m.By, report.Violation{State: v.State, Event: v.Event, Count: n})
	}
	slices.SortFunc(m.By, func(a, b report.Violation) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Event, b.Event))
	})
	return m
}
