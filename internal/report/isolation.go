// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/session"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/total"
	"github.com/taskiso/taskiso/internal/trace"
)

// Isolation is what became of one thread's wish to be isolated.
type Isolation struct {
	TID uint32 `json:"tid"`
	// Attempts are its calls to enter; they were granted, or refused because the
	// thread was not on exactly one CPU for isolation (EINVAL) or because that
	// CPU did not become quiet in time (EAGAIN), or cut short by a signal.
	Attempts uint64 `json:"attempts"`
	Invalid  uint64 `json:"refused_einval"`
	NotQuiet uint64 `json:"refused_eagain"`
	Cut      uint64 `json:"interrupted"`
	// Settling is how long calls waited for the CPU to become quiet.
	Settling        time.Duration `json:"settling_ns"`
	LongestSettling time.Duration `json:"longest_settling_ns"`
	WaitedFor       []WaitedFor   `json:"waited_for,omitempty"`

	Entered  uint64        `json:"entered"`
	Left     uint64        `json:"left"` // because the thread wanted it
	Breaks   uint64        `json:"breaks"`
	Isolated time.Duration `json:"isolated_ns"`
	// Lost tells that events were lost: there may have been more.
	Lost   bool             `json:"lost,omitempty"`
	Causes []IsolationCause `json:"causes,omitempty"`
}

// WaitedFor is what calls to enter waited for.
type WaitedFor struct {
	What  string `json:"what"`
	Calls uint64 `json:"calls"`
}

// IsolationCause is one cause of breaks of isolation. ID is empty if its stay
// was not seen as a whole.
type IsolationCause struct {
	ID      string   `json:"id,omitempty"`
	Title   string   `json:"title"`
	Detail  string   `json:"detail,omitempty"`
	Count   uint64   `json:"count"`
	Origins []Origin `json:"origins,omitempty"`
}

// isolationTotals are those of one thread.
type isolationTotals struct {
	Isolation
	since  map[uint64]time.Duration // CLOCK_MONOTONIC, by status page, while isolated
	told   uint64                   // breaks whose stays were seen
	coarse map[taskiso.Cause]uint64
	causes total.ByCause[causeTotals]
}

// maxIsolations bounds how many threads are kept apart: a command may isolate
// as many, one after the other, as it likes. othersTID stands for the rest.
const (
	maxIsolations = 1024
	othersTID     = session.Others
)

func (c *Collector) isolationOf(tid uint32) *isolationTotals {
	t := c.isolation[tid]
	if t == nil && len(c.isolation) >= maxIsolations && tid != othersTID { // which may be one more
		return c.isolationOf(othersTID)
	}
	if t == nil {
		t = &isolationTotals{
			Isolation: Isolation{TID: tid},
			since:     make(map[uint64]time.Duration),
			coarse:    make(map[taskiso.Cause]uint64),
			causes:    make(total.ByCause[causeTotals]),
		}
		c.isolation[tid] = t
	}
	return t
}

// Isolation takes in the beginning or an end of a thread's isolation.
func (c *Collector) Isolation(e trace.Event) {
	t := c.isolationOf(e.TID)
	if since, ok := t.since[e.A]; ok {
		t.Isolated += e.Time - since
		delete(t.since, e.A)
	}
	switch e.Kind {
	case trace.Isolated:
		t.Entered++
		t.since[e.A] = e.Time
	case trace.Broken:
		t.Breaks++
		t.coarse[taskiso.Cause(e.B)]++
	case trace.Left:
		t.Left++
	}
}

// isolationBreak takes in a stay that ended a thread's isolation.
func (c *Collector) isolationBreak(s *stay.Stay) {
	t := c.isolationOf(s.TID)
	what := c.isolationCause(s)
	t.causes.Of(what, newCauseTotals).add(s, c.names, &c.origins)
	t.told++
	t.coarse[taskiso.Cause(s.Broken.B)]--
	if c.OnIsolationBreak != nil {
		c.OnIsolationBreak(c.describe(s, what), s.Broken.Time)
	}
}

// isolationCause names what ended isolation: what entered the kernel, unless that
// was the call that began it, on whose way back something else came, or led to a signal.
func (c *Collector) isolationCause(s *stay.Stay) cause.Cause {
	coarse := taskiso.Cause(s.Broken.B)
	if coarse == taskiso.Signal {
		return c.signalCause(s)
	}
	if s.Entry.Kind == trace.SyscallEnter && coarse != taskiso.Syscall {
		return cause.Cause{Title: coarse.String(), Detail: "while prctl returned"}
	}
	return c.catalogue.Of(s, c.names)
}

// signalCause names a break by a signal: who sent it is not what carried it to the
// CPU, and the fault that raised it is not one that was resolved.
func (c *Collector) signalCause(s *stay.Stay) cause.Cause {
	i := slices.IndexFunc(s.Inside, func(p stay.Part) bool { return p.Event.Kind == trace.Signal && p.Event.A == s.Broken.C })
	if i < 0 { // that of another thread, which stopped this one as well
		return cause.Cause{Title: taskiso.Signal.String(), Detail: signame.Of(syscall.Signal(s.Broken.C))}
	}
	only := stay.Stay{Entry: s.Inside[i].Event, Inside: s.Inside[i : i+1]}
	if !only.IsException() {
		only.Entry = trace.Event{Kind: trace.RescheduleEnter}
	}
	return c.catalogue.Of(&only, c.names)
}

// Isolations returns what was collected of each thread, until the time given.
func (c *Collector) Isolations(until time.Duration) []Isolation {
	var all []Isolation
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

func (t *isolationTotals) sortedCauses() []IsolationCause {
	var causes []IsolationCause
	for _, totals := range t.causes {
		sum := totals.sum()
		causes = append(causes, IsolationCause{ID: sum.ID, Title: sum.Title, Detail: sum.Detail, Count: sum.Count, Origins: sum.Origins})
	}
	for what, n := range t.coarse {
		if n > 0 { // the stay was not seen as a whole
			causes = append(causes, IsolationCause{Title: what.String(), Count: n})
		}
	}
	slices.SortFunc(causes, func(a, b IsolationCause) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Detail, b.Detail), cmp.Compare(a.Title, b.Title))
	})
	return causes
}

// AddCalls completes the isolation of each thread with the calls that it made.
func (r *Report) AddCalls(calls []session.Calls) {
	for _, c := range calls {
		if c.Attempts == 0 {
			continue // it only asked for its status page
		}
		i := slices.IndexFunc(r.Isolation, func(have Isolation) bool { return have.TID == c.TID })
		if i < 0 {
			r.Isolation = append(r.Isolation, Isolation{TID: c.TID})
			i = len(r.Isolation) - 1
		}
		t := &r.Isolation[i]
		t.Attempts, t.Invalid, t.NotQuiet, t.Cut = c.Attempts, c.Invalid, c.NotQuiet, c.Cut
		t.Settling, t.LongestSettling = c.Settling, c.Longest
		for what, n := range c.WaitedFor {
			t.WaitedFor = append(t.WaitedFor, WaitedFor{what, n})
		}
		slices.SortFunc(t.WaitedFor, func(a, b WaitedFor) int {
			return cmp.Or(cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.What, b.What))
		})
	}
	slices.SortFunc(r.Isolation, func(a, b Isolation) int { return cmp.Compare(a.TID, b.TID) })
}

// isolation tells the story of each thread that asked to be isolated.
func (t *text) isolation(r *Report) {
	for i := range r.Isolation {
		thread := &r.Isolation[i]
		began := fmt.Sprintf("entered %s of %s", display.Count(thread.Entered), display.Plural(thread.Attempts, "attempt", "attempts"))
		if thread.Attempts == 0 {
			began = "armed " + display.Plural(thread.Entered, "time", "times")
		}
		t.Printf("\n%s  %s, isolated for %s, %s, left %s\n", t.Paint(display.Bold, isolationHeading(thread.TID)),
			began, display.Span(thread.Isolated), display.Plural(thread.Breaks, "break", "breaks"), display.Plural(thread.Left, "time", "times"))
		t.calls(thread)
		t.isolationCauses(thread)
		if thread.Lost {
			t.Printf("  events were lost: there may have been more\n")
		}
	}
}

func isolationHeading(tid uint32) string {
	if tid == othersTID {
		return "isolation of the other threads:"
	}
	return fmt.Sprintf("isolation of thread %d:", tid)
}

func (t *text) calls(thread *Isolation) {
	for _, refused := range []struct {
		n    uint64
		what string
	}{
		{thread.Invalid, "refused with EINVAL: the thread was not on exactly one isolated CPU that is observed"},
		{thread.NotQuiet, "refused with EAGAIN: the CPU did not become quiet" + thread.because()},
		{thread.Cut, "interrupted by a signal"},
	} {
		if refused.n > 0 {
			t.Printf("  %s× %s\n", display.Count(refused.n), refused.what)
		}
	}
	if thread.Attempts > 0 {
		t.Printf("  settled in %s on average, %s at most", display.Span(thread.Settling/time.Duration(thread.Attempts)), display.Span(thread.LongestSettling))
		for i, w := range thread.WaitedFor {
			t.Printf("%s%s× %s", [...]string{"; waited for ", ", "}[min(i, 1)], display.Count(w.Calls), w.What)
		}
		t.Printf("\n")
	}
}

// because names what calls waited for most often.
func (i *Isolation) because() string {
	if len(i.WaitedFor) == 0 {
		return ""
	}
	return ", most often because of: " + i.WaitedFor[0].What
}

func (t *text) isolationCauses(thread *Isolation) {
	if len(thread.Causes) == 0 {
		return
	}
	rows := [][]string{{"breaks", "cause and origin"}}
	for _, c := range thread.Causes {
		rows = append(rows, []string{display.Count(c.Count), name(c.Title, c.Detail)})
		for i, o := range c.Origins {
			if i == textOrigins {
				rows = append(rows, []string{"", others(len(c.Origins) - i)})
				break
			}
			rows = append(rows, []string{"", "  " + o.String()})
		}
	}
	t.Table(rows)
}
