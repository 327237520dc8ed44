// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// Redact writes a recording that can be given to others: names of tasks, command lines, paths and cgroups have pseudonyms, the same for the same
// name in this one file, and addresses of the kernel are numbered. It is read twice: texts can have a name before it occurs.
func Redact(in io.ReadSeeker, out io.Writer) error {
	r, err := fromStart(in)
	if err != nil {
		return err
	}
	p, err := newPseudonyms()
	if err != nil {
		return err
	}
	if err := p.learn(r); err != nil {
		return err
	}
	if r, err = fromStart(in); err != nil {
		return err
	}
	p.known = r.Names()
	return p.rewrite(r, out)
}

func fromStart(in io.Seeker) (*Reader, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("it has to be a file that can be read twice: %w", err)
	}
	return NewReader(in.(io.Reader))
}

// learn notes all names of a recording.
func (p *pseudonyms) learn(r *Reader) error {
	p.command(r.Header.Task)
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		switch item := item.(type) {
		case Batch:
			for i := range item.Events {
				p.learnEvent(&item.Events[i])
			}
		case Held:
			p.held(item.Record)
		}
		if p.size > maxNames {
			return fmt.Errorf("%w: it has too many names", ErrFormat)
		}
	}
	if r.End != nil && r.End.Report != nil {
		p.command(r.End.Report.Task)
		for _, h := range r.End.Report.Holds {
			p.held(h)
		}
	}
	return nil
}

func (p *pseudonyms) learnEvent(e *event.Event) {
	switch {
	case e.Task != nil && e.Task.Kernel:
		p.kernel[e.Task.Name] = true
	case e.Task != nil:
		p.name(e.Task.Name)
	case e.Sender != nil && !isKernelThread(e.Sender.Name):
		p.name(e.Sender.Name)
	}
}

// rewrite writes all that a reader gives, with pseudonyms.
func (p *pseudonyms) rewrite(r *Reader, out io.Writer) error {
	w, err := NewWriter(out, p.header(r.Header), p)
	if err != nil {
		return err
	}
	w.patient = true
	if err := p.copy(r, w); err != nil {
		return errors.Join(err, w.Abort())
	}
	if r.End == nil {
		return w.Abort()
	}
	return w.Close(p.end(r.End))
}

func (p *pseudonyms) copy(r *Reader, w *Writer) error {
	var begun time.Duration
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch item := item.(type) {
		case Batch:
			for i := range item.Events {
				p.event(&item.Events[i])
			}
			w.Batch(item.Batch)
		case Begin:
			if item.At != begun { // each chunk repeats it
				w.Begin(item.At)
			}
			begun = item.At
		case Found:
			w.Found(item)
		case LoopGap:
			w.LoopGap(item)
		case Held:
			w.Held(p.held(item.Record))
		case Gap:
			w.gap(item)
		}
		if len(p.addresses) > maxAddresses {
			return fmt.Errorf("%w: it has too many addresses", ErrFormat)
		}
	}
}

// event gives an event pseudonyms. Tasks and senders are copies: the reader has its own.
func (p *pseudonyms) event(e *event.Event) {
	if e.Task != nil && !e.Task.Kernel {
		t := *e.Task
		t.Name = p.name(t.Name)
		e.Task = &t
	}
	if e.Sender != nil {
		s := *e.Sender
		if !p.kernel[s.Name] && !isKernelThread(s.Name) {
			s.Name = p.name(s.Name)
		}
		s.Cgroup, s.Stack = p.cgroup(s.Cgroup), slices.Clone(s.Stack)
		for i := range s.Stack {
			s.Stack[i] = p.address(s.Stack[i])
		}
		e.Sender = &s
	}
	for _, v := range []*uint64{&e.UserIP, &e.A, &e.B, &e.C} {
		*v = p.address(*v)
	}
}

func (p *pseudonyms) header(h Header) Header {
	h.Task, h.Limits, h.Symbols = p.command(h.Task), p.texts(h.Limits), p.text(h.Symbols)
	h.Sources, h.Monitors = slices.Clone(h.Sources), slices.Clone(h.Monitors)
	for i := range h.Sources {
		h.Sources[i].Missing = p.text(h.Sources[i].Missing)
	}
	for i := range h.Monitors {
		h.Monitors[i].Name = p.text(h.Monitors[i].Name)
	}
	if h.Part != nil && h.Part.Snapshot != nil {
		part, why := *h.Part, *h.Part.Snapshot
		why.Trigger, why.Reason, part.Snapshot = p.text(why.Trigger), p.text(why.Reason), &why
		h.Part = &part
	}
	if h.Noise != nil {
		start := *h.Noise
		start.Report.Limits = p.texts(start.Report.Limits)
		h.Noise = &start
	}
	return h
}

// end returns the end without what a replay makes anew.
func (p *pseudonyms) end(end *End) *End {
	e := *end
	e.HoldLimits, e.Ending.Spinning, e.Ending.Files = p.texts(e.HoldLimits), p.text(e.Ending.Spinning), p.files(e.Ending.Files)
	if e.Report != nil {
		e.Report = p.report(e.Report)
	}
	if e.Noise != nil {
		n := noise.End{Report: e.Noise.Report, Before: p.texts(e.Noise.Before), After: p.texts(e.Noise.After), Loops: e.Noise.Loops}
		n.Report.CPUs, n.Report.Limits, n.Report.Exceeded = nil, nil, nil
		e.Noise = &n
	}
	return &e
}

func (p *pseudonyms) report(ran *report.Report) *report.Report {
	r := *ran
	r.Task, r.Limits = p.command(r.Task), p.texts(r.Limits)
	r.CPUs, r.Doubts, r.Host.Sources, r.Monitors = nil, nil, nil, nil // made anew
	r.Partition, r.Flight = nil, nil
	r.Holds = slices.Clone(r.Holds)
	for i := range r.Holds {
		r.Holds[i] = p.held(r.Holds[i])
	}
	return &r
}

// command gives a task pseudonyms.
func (p *pseudonyms) command(t report.Task) report.Task {
	t.Command, t.Left = slices.Clone(t.Command), slices.Clone(t.Left)
	for i := range t.Command {
		t.Command[i] = p.argument(t.Command[i])
	}
	for i := range t.Left {
		t.Left[i].Name = p.name(t.Left[i].Name)
	}
	return t
}

func (p *pseudonyms) held(r operation.Record) operation.Record {
	r.Command, r.Cgroup, r.Detail = p.name(r.Command), p.argument(r.Cgroup), p.argument(r.Detail)
	r.Error = p.text(r.Error)
	return r
}
