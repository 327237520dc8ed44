// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// Selection is what of a recording is to be in a part.
type Selection struct {
	From, Until time.Duration // since the beginning of the observation
	CPUs        cpulist.Set   // only these; empty: all
	TID         uint32        // only this thread; 0: all
}

// ErrNothing means that a part would have nothing in it.
var ErrNothing = errors.New("nothing is recorded of that")

// Cut writes a part of a recording, which is a recording. Chunks that are in it as a whole are copied.
func Cut(in io.ReadSeeker, out io.Writer, s Selection) error {
	all, err := survey(in)
	if err != nil {
		return err
	}
	h, err := s.header(all)
	if err != nil {
		return err
	}
	r, err := rewind(in)
	if err != nil {
		return err
	}
	w, err := newPartWriter(out, h, r.Names())
	if err != nil {
		return err
	}
	c := &cutter{Selection: s, w: w, known: newBefore(maxBytes), begin: max(0, h.Part.Began-lead), end: h.Part.Began + h.Part.Until - h.Part.From}
	r.whole = c.whole
	if err := c.run(r); err != nil {
		return err
	}
	return w.close(&End{Ending: Ending{Files: all.end.Files, Spinning: all.end.Spinning}})
}

func rewind(in io.ReadSeeker) (*Reader, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("a part is cut out of a file that can be read twice: %w", err)
	}
	return NewReader(in)
}

// surveyed is what is known of a recording without reading most of it.
type surveyed struct {
	header       Header
	begin, until time.Duration // CLOCK_MONOTONIC
	end          Ending
}

// survey finds when the observation begins and ends.
func survey(in io.ReadSeeker) (surveyed, error) {
	r, err := rewind(in)
	if err != nil {
		return surveyed{}, err
	}
	s := surveyed{header: r.Header}
	begun := r.Header.Part != nil
	if begun {
		s.begin = r.Header.Part.Began
	}
	r.whole = func(c chunk) bool {
		s.until = max(s.until, c.until)
		return begun
	}
	for {
		item, err := r.Next()
		switch item := item.(type) {
		case Begin:
			s.begin, begun = item.At, true
		case Gap:
			s.until = max(s.until, item.Until)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, err
		}
	}
	if r.End != nil {
		s.end = r.End.Ending
	}
	if !begun {
		return s, fmt.Errorf("%w: the observation did not begin", ErrNothing)
	}
	return s, nil
}

// header returns that of the part.
func (s *Selection) header(all surveyed) (Header, error) {
	h := all.header
	length := all.until - all.begin
	if s.From < 0 || s.From >= length {
		return h, fmt.Errorf("%w: the recording has %s, and the part would begin at %s", ErrNothing, display.Span(max(0, length)), s.From)
	}
	if s.Until <= s.From {
		return h, fmt.Errorf("%w: the part would end at %s, before it begins at %s", ErrNothing, s.Until, s.From)
	}
	p := Part{PartOf: report.PartOf{Of: h.Started, From: s.From, Until: min(s.Until, length), CPUs: s.CPUs, TID: s.TID}, Began: all.begin + s.From}
	if before := h.Part; before != nil {
		if err := p.within(before); err != nil {
			return h, err
		}
	}
	if !s.CPUs.IsEmpty() && !h.CPUs.IsEmpty() {
		if h.CPUs = h.CPUs.Intersect(s.CPUs); h.CPUs.IsEmpty() {
			return h, fmt.Errorf("%w: CPU %v was not observed, only %v", ErrNothing, s.CPUs, all.header.CPUs)
		}
	}
	if s.TID != 0 {
		h.Monitors = nil // they check what every thread does
	}
	h.Started, h.Part = h.Started.Add(s.From), &p
	return h, nil
}

// within makes p, which is a part of a part, one of the recording that was cut first.
func (p *Part) within(before *Part) error {
	p.Of, p.From, p.Until, p.Snapshot = before.Of, p.From+before.From, p.Until+before.From, before.Snapshot
	switch {
	case p.CPUs.IsEmpty():
		p.CPUs = before.CPUs
	case !before.CPUs.IsEmpty():
		if p.CPUs = p.CPUs.Intersect(before.CPUs); p.CPUs.IsEmpty() {
			return fmt.Errorf("%w: the recording is a part of another, with CPU %v only", ErrNothing, before.CPUs)
		}
	}
	if p.TID != 0 && before.TID != 0 && p.TID != before.TID {
		return fmt.Errorf("%w: the recording is a part of another, with thread %d only", ErrNothing, before.TID)
	}
	p.TID = max(p.TID, before.TID)
	return nil
}

// cutter writes what is between two times of CLOCK_MONOTONIC.
type cutter struct {
	Selection
	w          *partWriter
	known      *before
	begun      bool // what is known is written
	begin, end time.Duration
}

// whole takes chunks that need not be decoded: those that are in the part with all that they hold, and those behind it.
func (c *cutter) whole(chunk chunk) bool {
	if chunk.from >= c.end && c.begun {
		return true
	}
	if chunk.from < c.begin || chunk.until > c.end || !c.CPUs.IsEmpty() || c.TID != 0 {
		return false
	}
	c.start()
	c.w.copy(chunk)
	return true
}

func (c *cutter) run(r *Reader) error {
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			c.start()
			if c.w.until < c.end { // nothing came until then
				c.w.batch(event.Batch{Until: c.end})
			}
			return nil
		}
		if err != nil {
			return err
		}
		c.take(item)
	}
}

// start writes what is known, once.
func (c *cutter) start() {
	if !c.begun {
		c.begun = true
		c.w.before(c.known, c.begin)
	}
}

func (c *cutter) take(item Item) {
	switch item := item.(type) {
	case Batch:
		c.batch(item.Batch)
	case Found:
		switch {
		case !c.isAbout(item) || item.At > c.end:
		case c.begun:
			c.w.found(item)
		default:
			c.known.find(item)
		}
	case Gap:
		c.gap(item)
	}
}

func (c *cutter) batch(b event.Batch) {
	b.Events = c.chosen(b.Events)
	n := countUntil(b.Events, c.begin)
	if b.Until <= c.begin {
		c.known.batch(b)
		return
	}
	if !c.begun {
		c.known.batch(event.Batch{Events: b.Events[:n]})
		c.start()
	}
	if c.w.until >= c.end {
		return
	}
	b.Events = b.Events[n:countUntil(b.Events, c.end)]
	b.Until = min(b.Until, c.end)
	c.w.batch(b)
}

// countUntil returns how many events are not later than a time.
func countUntil(events []event.Event, end time.Duration) int {
	n, _ := slices.BinarySearchFunc(events, end, func(e event.Event, end time.Duration) int {
		if e.Time <= end {
			return -1
		}
		return 1
	})
	return n
}

func (c *cutter) gap(g Gap) {
	switch {
	case g.Until <= c.begin:
		c.known.gap()
	case g.From < c.end:
		if !c.begun && g.From < c.begin {
			c.known.gap()
		}
		c.start()
		c.w.gap(Gap{From: max(g.From, c.begin), Until: min(g.Until, c.end), Events: g.Events})
	}
}
