// SPDX-License-Identifier: Apache-2.0

// Package perfetto writes traces that ui.perfetto.dev shows: slices and instants on named tracks, flows between them, and
// counters. It keeps nothing of them but the strings that it has written lately.
package perfetto

import (
	"bufio"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Track is a line of a trace.
type Track uint64

// Top is what tracks are below that are below no other.
const Top Track = 0

// Event is a slice or an instant.
type Event struct {
	Name string
	// Starts are numbers of flows that begin here, and Ends of those that end here. A flow leads from one event to one other.
	Starts, Ends []uint64
	Args         []Arg
}

// Arg is a named value of an event: a string, bool, int64 or uint64, where a uint64 is an address.
type Arg struct {
	Name  string
	Value any
}

// Writer writes a trace. Times are those of CLOCK_MONOTONIC. Begin and End of one track are to be called in the order of their
// times, and Instant within a slice; viewers sort the rest. Its methods are not safe for concurrent use.
type Writer struct {
	out    *bufio.Writer
	err    error // the first
	tracks uint64
	begun  bool // something was written since the strings were forgotten

	names, args, values interned
	kept                int // bytes of all three
	fresh               []byte
	packet, message     []byte
}

// NewWriter begins a trace, in which the two times were the same moment.
func NewWriter(out io.Writer, at time.Duration, real time.Time) *Writer {
	w := &Writer{out: bufio.NewWriterSize(out, 1<<16)}
	w.names.field, w.args.field, w.values.field = internedNames, internedArgs, internedValues
	w.forget()
	clocks := message(nil, snapshotClock, clock(monotonicClock, uint64(max(0, at))))
	clocks = message(clocks, snapshotClock, clock(realtimeClock, uint64(max(0, real.UnixNano()))))
	w.write(message(nil, packetClocks, number(clocks, snapshotPrimary, monotonicClock)))
	return w
}

func clock(id, at uint64) []byte { return number(number(nil, clockID, id), clockTime, at) }

// NewTrack adds a track below another one, in order of rank.
func (w *Writer) NewTrack(name string, below Track, rank int) Track {
	return w.newTrack(name, below, rank, nil)
}

// Units of counters.
const (
	Nanoseconds = 1 // UNIT_TIME_NS
	Count       = 2 // UNIT_COUNT
)

// NewCounter adds a track of numbers.
func (w *Writer) NewCounter(name string, below Track, rank int, unit uint64) Track {
	return w.newTrack(name, below, rank, message(nil, trackCounter, number(nil, counterUnit, unit)))
}

func (w *Writer) newTrack(name string, below Track, rank int, more []byte) Track {
	w.tracks++
	track := number(nil, trackUUID, w.tracks)
	track = message(track, trackName, []byte(name))
	if below != Top {
		track = number(track, trackParent, uint64(below))
	}
	track = number(number(track, trackOrder, orderByRank), trackRank, uint64(rank))
	w.write(message(nil, packetTrack, append(track, more...)))
	return Track(w.tracks)
}

// Begin begins a slice. Slices of one track nest.
func (w *Writer) Begin(t Track, at time.Duration, e *Event) { w.event(t, at, sliceBegin, e) }

// End ends the slice of a track that began last.
func (w *Writer) End(t Track, at time.Duration) { w.event(t, at, sliceEnd, &Event{}) }

// Instant writes an event without duration.
func (w *Writer) Instant(t Track, at time.Duration, e *Event) { w.event(t, at, instant, e) }

// Set gives a counter a value.
func (w *Writer) Set(t Track, at time.Duration, value int64) {
	w.timed(at, number(eventOf(w.message[:0], t, counter), eventCounter, uint64(value)))
}

func eventOf(to []byte, t Track, kind uint64) []byte {
	return number(number(to, eventKind, kind), eventTrack, uint64(t))
}

func (w *Writer) event(t Track, at time.Duration, kind uint64, e *Event) {
	w.makeRoom()
	b := eventOf(w.message[:0], t, kind)
	if e.Name != "" {
		b = number(b, eventName, w.intern(&w.names, e.Name))
	}
	for _, id := range e.Starts {
		b = protowire.AppendFixed64(protowire.AppendTag(b, eventFlow, protowire.Fixed64Type), id)
	}
	for _, id := range e.Ends {
		b = protowire.AppendFixed64(protowire.AppendTag(b, eventFlowEnd, protowire.Fixed64Type), id)
	}
	for _, a := range e.Args {
		b = message(b, eventArg, w.arg(a))
	}
	w.timed(at, b)
}

func (w *Writer) arg(a Arg) []byte {
	b := number(nil, argName, w.intern(&w.args, a.Name))
	switch v := a.Value.(type) {
	case bool:
		return number(b, argBool, protowire.EncodeBool(v))
	case int64:
		return number(b, argInt, uint64(v))
	case uint64:
		return number(b, argPointer, v)
	default:
		return number(b, argString, w.intern(&w.values, fmt.Sprint(v)))
	}
}

// timed writes a packet with an event, and with the strings that it is the first to use.
func (w *Writer) timed(at time.Duration, event []byte) {
	w.message = event
	b := number(w.packet[:0], packetTime, uint64(max(0, at)))
	b = message(b, packetEvent, event)
	if len(w.fresh) > 0 {
		b = message(b, packetInterned, w.fresh)
		w.fresh = w.fresh[:0]
	}
	w.packet = number(b, packetFlags, needsState)
	w.write(w.packet)
}

// write writes a packet, and the number of the only sequence of them.
func (w *Writer) write(packet []byte) {
	if w.err != nil {
		return
	}
	const sequence = 1
	packet = number(packet, packetSequence, sequence)
	head := protowire.AppendVarint(protowire.AppendTag(nil, tracePacket, protowire.BytesType), uint64(len(packet)))
	if _, w.err = w.out.Write(head); w.err == nil {
		_, w.err = w.out.Write(packet)
	}
}

// Close ends the trace, and returns the first error of writing it.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err != nil {
		return fmt.Errorf("writing a trace: %w", w.err)
	}
	return nil
}

// number appends a field with a number, or with a text or message: message.
func number(to []byte, field protowire.Number, n uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), n)
}

func message(to []byte, field protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), content)
}
