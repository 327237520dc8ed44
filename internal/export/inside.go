// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/perfetto"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
)

// inside writes the parts of a stay, which nest. arrivals are the flows that end at each of them.
func (t *Trace) inside(track perfetto.Track, s *stay.Stay, parts []report.Part, arrivals map[int][]uint64) {
	n := nesting{w: t.w, track: track, now: s.Start, ends: []time.Duration{s.End}}
	for i, p := range s.Inside {
		from, until := p.Event.Time, p.Event.Time+p.Duration
		if p.Event.Kind == event.NMI { // its event comes at its end, and its duration is by another clock
			from, until = from-p.Duration, from
		}
		e := perfetto.Event{Name: parts[i].Event, Ends: arrivals[i]}
		if parts[i].Detail != "" {
			e.Name += ": " + parts[i].Detail
		}
		n.add(from, until, &e)
	}
	n.closeUntil(s.End)
}

// nesting keeps slices within each other, whatever their times are.
type nesting struct {
	w     *perfetto.Writer
	track perfetto.Track
	now   time.Duration
	ends  []time.Duration // of the slices that are open, the stay first
}

// add writes a slice, or an instant where no more is known.
func (n *nesting) add(from, until time.Duration, e *perfetto.Event) {
	from = min(max(from, n.now), n.ends[0])
	n.closeUntil(from)
	n.now = from
	if until <= from {
		n.w.Instant(n.track, from, e)
		return
	}
	n.w.Begin(n.track, from, e)
	n.ends = append(n.ends, min(until, n.ends[len(n.ends)-1]))
}

// closeUntil ends the slices within the stay that are over.
func (n *nesting) closeUntil(now time.Duration) {
	for last := len(n.ends) - 1; last > 0 && n.ends[last] <= now; last-- {
		n.now = max(n.now, n.ends[last])
		n.w.End(n.track, n.now)
		n.ends = n.ends[:last]
	}
}

// sending is something that was sent.
type sending struct {
	at      time.Duration
	cpu     int
	kind    event.Kind
	a, b, c uint64
}

// Bounds of arrows: of how many sendings it is known that they were written, and how often each is. What is sent once can arrive for ever, as
// a timer that repeats; a flow does not fork, so each arrow begins at a sender of its own, and those of one moment are drawn as a stack.
const (
	maxSent   = 1 << 16
	maxArrows = 4
)

// sendings writes the senders of a break on their CPUs, and returns the flows from them by the part of the stay that each leads to.
func (t *Trace) sendings(s *stay.Stay, origins []report.Origin) map[int][]uint64 {
	arrivals := make(map[int][]uint64)
	i := 0
	for from, arrived := range s.Senders() {
		o := &origins[i]
		i++
		key := sending{from.Time, from.CPU, from.Kind, from.A, from.B, from.C}
		if t.sent[key] >= maxArrows {
			continue
		}
		if len(t.sent) >= maxSent {
			clear(t.sent)
		}
		t.sent[key]++
		t.flows++
		t.send(from, o, s.CPU)
		part := slices.IndexFunc(s.Inside, func(p stay.Part) bool { return p.Event == arrived })
		arrivals[part] = append(arrivals[part], t.flows)
	}
	return arrivals
}

// send writes a sender on its CPU, from which the latest flow begins.
func (t *Trace) send(from event.Event, o *report.Origin, target int) {
	cpu := t.cpu(from.CPU)
	if cpu.sends == perfetto.Top {
		cpu.sends = t.w.NewTrack("senders", cpu.group, rankSends)
	}
	e := perfetto.Event{Name: strings.TrimSpace(o.Name + ": " + o.Did + " " + o.Function), Starts: []uint64{t.flows}, Args: []perfetto.Arg{
		{Name: "process", Value: int64(o.PID)}, {Name: "name", Value: o.Name}, {Name: "to", Value: fmt.Sprintf("CPU %d", target)}, {Name: "delay_ns", Value: int64(o.MaxDelay)},
	}}
	if len(o.Stack) > 0 {
		e.Args = append(e.Args, perfetto.Arg{Name: "stack", Value: stackText(o.Stack)})
	}
	if o.Cgroup != 0 {
		e.Args = append(e.Args, perfetto.Arg{Name: "cgroup_id", Value: int64(o.Cgroup)})
	}
	if o.Interrupt {
		e.Args = append(e.Args, perfetto.Arg{Name: "interrupted", Value: true})
	}
	t.w.Instant(cpu.sends, from.Time, &e)
}

// stackText is a stack as one text, the innermost function first.
func stackText(stack []string) string { return strings.Join(stack, " ← ") }
