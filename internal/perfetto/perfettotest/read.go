// SPDX-License-Identifier: Apache-2.0

// Package perfettotest reads the traces that package perfetto writes, for tests. It is strict: what a viewer would pass over or
// repair is an error.
package perfettotest

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Trace is what a trace holds.
type Trace struct {
	Tracks map[uint64]Track
	Slices []*Slice // also instants, which have no duration
	Values []Value
	Clocks map[uint64]uint64 // the time of each in the same moment

	ends map[uint64][]*Slice // of flows, when they were asked for
}

// Track is a line of a trace.
type Track struct {
	Name    string
	Parent  uint64
	Counter bool
}

// Slice is a slice or an instant.
type Slice struct {
	Track        uint64
	Name         string
	Start, End   uint64
	Instant      bool
	Args         map[string]any
	Starts, Ends []uint64
	Parent       *Slice
}

// Value is what a counter had at a time.
type Value struct {
	Track, Time uint64
	Value       int64
}

// Path returns the names of a track and those above it, the topmost first.
func (t *Trace) Path(track uint64) []string {
	var names []string
	for track != 0 && len(names) < len(t.Tracks) {
		names = append(names, t.Tracks[track].Name)
		track = t.Tracks[track].Parent
	}
	slices.Reverse(names)
	return names
}

// Read reads a trace.
func Read(text []byte) (*Trace, error) {
	r := reader{trace: Trace{Tracks: make(map[uint64]Track), Clocks: make(map[uint64]uint64)}}
	packets, err := fieldsOf(text)
	if err != nil {
		return nil, err
	}
	for _, p := range packets {
		if p.number != 1 {
			return nil, fmt.Errorf("field %d of the trace", p.number)
		}
		if err := r.packet(p.bytes); err != nil {
			return nil, err
		}
	}
	return &r.trace, r.nest()
}

type reader struct {
	trace   Trace
	strings [3]map[uint64]string // since the state was cleared, by fields 2, 3 and 29 of InternedData
	used    [3]map[uint64]bool   // ever
	events  []event
}

type event struct {
	Slice
	kind uint64
}

// field is one of a message. Its value is a number, or bytes.
type field struct {
	number protowire.Number
	value  uint64
	bytes  []byte
}

func fieldsOf(text []byte) ([]field, error) {
	var all []field
	for len(text) > 0 {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		text = text[n:]
		f := field{number: number}
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(text)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(text)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(text)
		default:
			return nil, fmt.Errorf("field %d has type %d", number, kind)
		}
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		text, all = text[n:], append(all, f)
	}
	return all, nil
}

func (r *reader) packet(text []byte) error {
	fields, err := fieldsOf(text)
	if err != nil {
		return err
	}
	of := make(map[protowire.Number]field)
	for _, f := range fields {
		if _, twice := of[f.number]; twice {
			return fmt.Errorf("field %d of a packet twice", f.number)
		}
		of[f.number] = f
	}
	switch {
	case of[10].value != 1:
		return fmt.Errorf("a packet of sequence %d", of[10].value)
	case of[13].value == 1:
		r.strings = [3]map[uint64]string{{}, {}, {}}
		return r.defaults(of[59].bytes)
	case of[6].bytes != nil:
		return r.clocks(of[6].bytes)
	case of[60].bytes != nil:
		return r.track(of[60].bytes)
	case of[11].bytes == nil || of[13].value != 2 || r.strings[0] == nil:
		return fmt.Errorf("a packet with fields %v", fields)
	}
	if err := r.intern(of[12].bytes); err != nil {
		return err
	}
	return r.event(of[8].value, of[11].bytes)
}

func (r *reader) defaults(text []byte) error {
	fields, err := fieldsOf(text)
	if err == nil && (len(fields) != 1 || fields[0].number != 58 || fields[0].value != 3) {
		err = fmt.Errorf("defaults %v", fields)
	}
	return err
}

func (r *reader) clocks(text []byte) error {
	fields, err := fieldsOf(text)
	for _, f := range fields {
		if f.number == 2 && f.value != 3 {
			return fmt.Errorf("the clock of the trace is %d", f.value)
		}
		clock, wrong := fieldsOf(f.bytes)
		if f.number == 1 && wrong == nil && len(clock) == 2 {
			r.trace.Clocks[clock[0].value] = clock[1].value
		}
	}
	return err
}

func (r *reader) track(text []byte) error {
	fields, err := fieldsOf(text)
	var t Track
	var id uint64
	for _, f := range fields {
		switch f.number {
		case 1:
			id = f.value
		case 2:
			t.Name = string(f.bytes)
		case 5:
			t.Parent = f.value
		case 8:
			t.Counter = true
		}
	}
	if _, twice := r.trace.Tracks[id]; twice || id == 0 {
		return fmt.Errorf("track %d twice", id)
	}
	if _, known := r.trace.Tracks[t.Parent]; !known && t.Parent != 0 {
		return fmt.Errorf("track %d is below %d, which is not known", id, t.Parent)
	}
	r.trace.Tracks[id] = t
	return err
}

var tables = []protowire.Number{2, 3, 29}

func (r *reader) intern(text []byte) error {
	fields, err := fieldsOf(text)
	for _, f := range fields {
		i := slices.Index(tables, f.number)
		entry, wrong := fieldsOf(f.bytes)
		if i < 0 || wrong != nil || len(entry) != 2 {
			return fmt.Errorf("string %v of table %d", entry, f.number)
		}
		if r.used[i] == nil {
			r.used[i] = make(map[uint64]bool)
		}
		if id := entry[0].value; r.used[i][id] || id == 0 {
			return fmt.Errorf("string %d of table %d twice", id, f.number)
		}
		r.used[i][entry[0].value] = true
		r.strings[i][entry[0].value] = string(entry[1].bytes)
	}
	return err
}

func (r *reader) text(table int, id uint64) (string, error) {
	s, ok := r.strings[table][id]
	if !ok {
		return "", fmt.Errorf("string %d of table %d is not known", id, tables[table])
	}
	return s, nil
}

func (r *reader) event(at uint64, text []byte) error {
	e := event{Slice: Slice{Start: at, Args: make(map[string]any)}}
	fields, err := fieldsOf(text)
	var value int64
	for _, f := range fields {
		switch f.number {
		case 4:
			err = r.arg(e.Args, f.bytes)
		case 9:
			e.kind = f.value
		case 10:
			e.Name, err = r.text(0, f.value)
		case 11:
			e.Track = f.value
		case 30:
			value = int64(f.value)
		case 47:
			e.Starts = append(e.Starts, f.value)
		case 48:
			e.Ends = append(e.Ends, f.value)
		default:
			err = fmt.Errorf("field %d of an event", f.number)
		}
		if err != nil {
			return err
		}
	}
	track, known := r.trace.Tracks[e.Track]
	switch {
	case !known || track.Counter != (e.kind == counter):
		return fmt.Errorf("an event of kind %d on track %d", e.kind, e.Track)
	case e.kind == counter:
		r.trace.Values = append(r.trace.Values, Value{e.Track, at, value})
	default:
		r.events = append(r.events, e)
	}
	return err
}

func (r *reader) arg(to map[string]any, text []byte) error {
	fields, err := fieldsOf(text)
	if err != nil || len(fields) != 2 || fields[0].number != 1 {
		return fmt.Errorf("value %v of an event", fields)
	}
	name, err := r.text(1, fields[0].value)
	if err != nil {
		return err
	}
	switch f := fields[1]; f.number {
	case 2:
		to[name] = f.value != 0
	case 4:
		to[name] = int64(f.value)
	case 7:
		to[name] = f.value
	case 17:
		to[name], err = r.text(2, f.value)
	default:
		err = fmt.Errorf("value of kind %d", f.number)
	}
	return err
}

// Kinds of events.
const (
	end     = 2
	instant = 3
	counter = 4
)

// order sorts the events by their times, as a viewer does. Those of slices have to be in order on each track before.
func (r *reader) order() error {
	last := make(map[uint64]uint64)
	for i := range r.events {
		e := &r.events[i]
		if e.kind != instant && e.Start < last[e.Track] {
			return fmt.Errorf("%v: %q at %d after an event at %d", r.trace.Path(e.Track), e.Name, e.Start, last[e.Track])
		}
		if e.kind != instant {
			last[e.Track] = e.Start
		}
	}
	slices.SortStableFunc(r.events, func(a, b event) int { return cmp.Compare(a.Start, b.Start) })
	return nil
}

// nest makes slices of beginnings and ends, which have to match on each track.
func (r *reader) nest() error {
	if err := r.order(); err != nil {
		return err
	}
	open := make(map[uint64][]*Slice)
	for i := range r.events {
		e := &r.events[i]
		stack := open[e.Track]
		if e.kind == end {
			if len(stack) == 0 {
				return fmt.Errorf("%v: an end without beginning at %d", r.trace.Path(e.Track), e.Start)
			}
			stack[len(stack)-1].End = e.Start
			open[e.Track] = stack[:len(stack)-1]
			continue
		}
		s := &e.Slice
		s.End, s.Instant = s.Start, e.kind == instant
		if len(stack) > 0 {
			s.Parent = stack[len(stack)-1]
		}
		r.trace.Slices = append(r.trace.Slices, s)
		if !s.Instant {
			open[e.Track] = append(stack, s)
		}
	}
	for track, stack := range open {
		if len(stack) > 0 {
			return fmt.Errorf("%v: %q has no end", r.trace.Path(track), stack[0].Name)
		}
	}
	return nil
}
