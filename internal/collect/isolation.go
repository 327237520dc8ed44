// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"cmp"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/session/account"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/total"
)

// isolationTotals are those of one thread.
type isolationTotals struct {
	report.Isolation
	since  map[uint64]time.Duration // CLOCK_MONOTONIC, by status page, while isolated
	coarse map[taskiso.Cause]uint64
	causes total.ByCause[causeTotals]
}

// maxIsolations bounds how many threads are kept apart: a command may isolate
// as many, one after the other, as it likes. [report.OtherThreads] stands for the rest.
const maxIsolations = 1024

func (c *Collector) isolationOf(tid uint32) *isolationTotals {
	t := c.isolation[tid]
	if t == nil && len(c.isolation) >= maxIsolations && tid != report.OtherThreads { // OtherThreads may be one more
		return c.isolationOf(report.OtherThreads)
	}
	if t == nil {
		t = &isolationTotals{
			Isolation: report.Isolation{TID: tid},
			since:     make(map[uint64]time.Duration),
			coarse:    make(map[taskiso.Cause]uint64),
			causes:    make(total.ByCause[causeTotals]),
		}
		c.isolation[tid] = t
	}
	return t
}

// Isolation takes in the beginning or an end of a thread's isolation.
func (c *Collector) Isolation(e event.Event) {
	t := c.isolationOf(e.TID)
	if e.Kind == event.Isolated && e.Time < c.partial {
		t.since[e.A] = c.partial
		return
	}
	if since, ok := t.since[e.A]; ok {
		t.Isolated += e.Time - since
		delete(t.since, e.A)
	}
	switch e.Kind {
	case event.Isolated:
		t.Entered++
		t.since[e.A] = e.Time
	case event.Broken:
		t.Breaks++
		t.coarse[taskiso.Cause(e.B)]++
	case event.Left:
		t.Left++
	}
}

// isolationBreak takes in a stay that ended a thread's isolation.
func (c *Collector) isolationBreak(s *stay.Stay) {
	t := c.isolationOf(s.TID)
	what := c.isolationCause(s)
	t.causes.Of(what, newCauseTotals).add(s, c.names, &c.origins)
	t.coarse[taskiso.Cause(s.Broken.B)]--
	if c.OnIsolationBreak != nil {
		c.OnIsolationBreak(c.describe(s, what), s.Broken.Time)
	}
}

// isolationCause names what ended isolation: the entry into the kernel, unless that entry was the call that began
// isolation and something else came on its way back, or unless the entry led to a signal.
func (c *Collector) isolationCause(s *stay.Stay) cause.Cause {
	coarse := taskiso.Cause(s.Broken.B)
	if coarse == taskiso.Signal {
		return c.signalCause(s)
	}
	if s.Entry.Kind == event.SyscallEnter && coarse != taskiso.Syscall {
		return cause.Cause{Title: coarse.String(), Detail: "while prctl returned"}
	}
	return c.catalogue.Of(s, c.names)
}

// signalCause names a break by a signal: the entry that carried the signal to the CPU is not its sender, and the fault
// that raised it was not resolved.
func (c *Collector) signalCause(s *stay.Stay) cause.Cause {
	i := slices.IndexFunc(s.Inside, func(p stay.Part) bool { return p.Event.Kind == event.Signal && p.Event.A == s.Broken.C })
	if i < 0 { // a signal to another thread, which stopped this one as well
		return cause.Cause{Title: taskiso.Signal.String(), Detail: signame.Of(syscall.Signal(s.Broken.C))}
	}
	only := stay.Stay{Entry: s.Inside[i].Event, Inside: s.Inside[i : i+1]}
	if !only.IsException() {
		only.Entry = event.Event{Kind: event.RescheduleEnter}
	}
	return c.catalogue.Of(&only, c.names)
}

// Isolations returns what was collected of each thread, until the time given.
func (c *Collector) Isolations(until time.Duration) []report.Isolation {
	var all []report.Isolation
	for _, tid := range slices.Sorted(maps.Keys(c.isolation)) {
		t := c.isolation[tid]
		r := t.Isolation
		for _, since := range t.since {
			r.Isolated += max(0, until-since)
		}
		r.Lost = c.lost.Events > 0
		r.Causes = t.sortedCauses()
		all = append(all, r)
	}
	return all
}

func (t *isolationTotals) sortedCauses() []report.IsolationCause {
	var causes []report.IsolationCause
	for _, totals := range t.causes {
		sum := totals.sum()
		causes = append(causes, report.IsolationCause{ID: sum.ID, Title: sum.Title, Detail: sum.Detail, Count: sum.Count, Origins: sum.Origins})
	}
	for what, n := range t.coarse {
		if n > 0 { // the stay was not seen as a whole
			causes = append(causes, report.IsolationCause{Title: what.String(), Count: n})
		}
	}
	slices.SortFunc(causes, func(a, b report.IsolationCause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Detail, b.Detail), cmp.Compare(a.Title, b.Title))
	})
	return causes
}

// AddCalls completes the isolation of each thread in r with the calls that it made.
func AddCalls(r *report.Report, calls []account.Calls) {
	for _, c := range calls {
		if c.Attempts == 0 {
			continue // it only asked for its status page
		}
		i := slices.IndexFunc(r.Isolation, func(have report.Isolation) bool { return have.TID == c.TID })
		if i < 0 {
			r.Isolation = append(r.Isolation, report.Isolation{TID: c.TID})
			i = len(r.Isolation) - 1
		}
		t := &r.Isolation[i]
		t.Attempts, t.Invalid, t.NotQuiet, t.Cut = c.Attempts, c.Invalid, c.NotQuiet, c.Cut
		t.Settling, t.LongestSettling = c.Settling, c.Longest
		for what, n := range c.WaitedFor {
			t.WaitedFor = append(t.WaitedFor, report.WaitedFor{What: what, Calls: n})
		}
		slices.SortFunc(t.WaitedFor, func(a, b report.WaitedFor) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.What, b.What))
		})
	}
	slices.SortFunc(r.Isolation, func(a, b report.Isolation) int { return cmp.Compare(a.TID, b.TID) })
}
