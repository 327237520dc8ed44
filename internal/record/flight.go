// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// FlightConfig is what a flight recorder keeps, and how much of it.
type FlightConfig struct {
	Bytes         int           // at most, of everything; at least [MinFlight]
	Span          time.Duration // at most
	Before, After time.Duration // what a snapshot has around what triggered it
	// Save writes a snapshot with write, and returns where. It is called beside everything else, once at a time.
	Save func(write func(io.Writer) error) (file string, err error)
	// Files returns the settings of the machine, when a snapshot is written.
	Files func() Files
	// Saved is called with each snapshot that was kept, or could not be.
	Saved func(report.Kept)
}

// MinFlight is how much memory a flight recorder takes at least. flightOwn of it are for what is no chunk yet: events that wait to be
// compressed, and the tables of encoder, decoder and compressor.
const (
	MinFlight = 16 << 20
	flightOwn = 11 << 20
)

// flightTime is when a chunk of a flight recorder ends, and flightQueue how many chunks can wait. A batch is cut into pieces of so many
// events, and so many bytes beyond the length of a chunk, which bounds what a chunk can have. Where events are lost it is cut where it must be
// only: what is lost can be anywhere in each piece.
const (
	flightTime   = time.Second
	flightQueue  = 4
	flightEvents = 1 << 12
	lossyEvents  = 1 << 14
	flightBytes  = 1 << 19
)

// Snapshot asks for one.
type Snapshot struct {
	Trigger, Reason string
	From, Until     time.Duration // of what happened, in CLOCK_MONOTONIC
	// Asked is true if somebody wants it now: it need not keep a distance to the one before.
	Asked bool
	// Done, if set, is called with what became of it. It must not wait.
	Done func(report.Kept)
}

// Why no snapshot is taken.
var (
	ErrBusy   = errors.New("another snapshot is being taken; try again when it is written")
	ErrEarly  = errors.New("the observation has not begun")
	errTooFew = errors.New("the disk did not keep up: what was new found no room in memory")
)

// Flight keeps the latest of what is seen in memory, and writes snapshots of it. Its methods are not safe for concurrent use. As with a
// [Writer] none of them waits.
type Flight struct {
	cfg    FlightConfig
	header Header
	names  Names
	ring   *ring
	w      *Writer
	begin  time.Duration

	pending *Snapshot
	next    time.Duration // a trigger before is passed over
	passed  uint64        // triggers
	busy    atomic.Bool
	writing sync.WaitGroup

	mu   sync.Mutex
	kept []report.Kept
	more uint64 // beyond maxKept
	bad  uint64
}

// maxKept bounds how many snapshots a report lists.
const maxKept = 100

// Check finds out whether a recorder can be so small.
func (cfg FlightConfig) Check() error {
	if cfg.Bytes < MinFlight {
		return fmt.Errorf("a flight recorder takes at least %d MiB, not %d bytes", MinFlight>>20, cfg.Bytes)
	}
	if least := cfg.Before + cfg.After + 2*flightTime; cfg.Span < least {
		return fmt.Errorf("a flight recorder of %s is too short for snapshots of %s before and %s after: give it at least %s", cfg.Span, cfg.Before, cfg.After, least)
	}
	return nil
}

// NewFlight begins to keep what is seen.
func NewFlight(h Header, names Names, cfg FlightConfig) (*Flight, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	h.Kinds = kinds()
	f := &Flight{cfg: cfg, header: h, names: names, ring: newRing(cfg.Bytes-flightOwn, cfg.Span)}
	var err error
	f.w, err = newWriter(f.ring, h, names, flightQueue, flightTime)
	return f, err
}

// Begin notes when the observation begins.
func (f *Flight) Begin(at time.Duration) {
	f.begin = at
	f.w.Begin(at)
}

// Found notes a thread that was in user mode.
func (f *Flight) Found(found Found) { f.w.Found(found) }

// Batch adds what happened. It is not kept.
func (f *Flight) Batch(b event.Batch) {
	most := flightEvents
	if len(b.Lost) > 0 || b.SendersMissed {
		most = lossyEvents
	}
	for rest := b; !f.w.piece(&rest, most, flightBytes); {
	}
	if p := f.pending; p != nil && b.Until >= p.Until+f.cfg.After {
		f.take()
	}
}

// Waiting returns how many chunks wait to be compressed. What comes while there is no room for another is left out.
func (f *Flight) Waiting() int { return len(f.w.queue) }

// Take lets a snapshot be written when all that it is to have has come. Where one is under way, or the last one was so short before that
// this one would have the same, it is passed over and counted.
func (f *Flight) Take(s Snapshot) error {
	switch {
	case f.begin == 0 || f.w.until < f.begin:
		return ErrEarly
	case f.pending != nil || f.busy.Load():
		f.passed++
		return ErrBusy
	case !s.Asked && s.Until < f.next:
		f.passed++
		return ErrBusy
	}
	f.pending, f.next = &s, s.Until+f.cfg.Before+f.cfg.After
	return nil
}

// take hands the snapshot on, behind all that is in it. It is tried again if there is no room now.
func (f *Flight) take() {
	p := f.pending
	f.w.endChunk()
	f.busy.Store(true)
	if f.w.hand(content{mark: func() { f.begun(*p) }}) {
		f.pending = nil
	} else {
		f.busy.Store(false)
	}
}

// begun takes what is in memory now and begins to write.
func (f *Flight) begun(s Snapshot) {
	chunks, known := f.ring.pin()
	f.writing.Go(func() {
		defer f.busy.Store(false)
		kept := report.Kept{Trigger: s.Trigger, Reason: s.Reason, At: s.From - f.begin}
		var err error
		kept.File, err = f.cfg.Save(func(out io.Writer) error { return f.write(out, s, chunks, known) })
		for _, k := range chunks {
			f.ring.unpin(k)
		}
		f.ring.drop()
		if err != nil {
			kept.File, kept.Failed = "", err.Error()
		}
		f.note(kept)
		if s.Done != nil {
			s.Done(kept)
		}
	})
}

// write writes a snapshot: the chunks that have anything of its time.
func (f *Flight) write(out io.Writer, s Snapshot, chunks []*kept, known *before) error {
	begin := s.From - f.cfg.Before
	for len(chunks) > 1 && chunks[0].chunk.until <= begin-lead {
		known.chunk(chunks[0])
		f.ring.unpin(chunks[0])
		chunks = chunks[1:]
	}
	if len(chunks) == 0 {
		return ErrNothing
	}
	first, last := chunks[0].chunk, chunks[len(chunks)-1].chunk
	h := f.header
	h.Part = &Part{Began: max(begin, first.from, f.begin)}
	h.Part.PartOf = report.PartOf{
		Of: h.Started, From: h.Part.Began - f.begin, Until: last.until - f.begin,
		Snapshot: &report.Snapshot{Trigger: s.Trigger, Reason: s.Reason, At: s.From - h.Part.Began},
	}
	h.Started = h.Started.Add(h.Part.From)
	w, err := newPartWriter(out, h, f.names)
	if err != nil {
		return err
	}
	w.before(known, first.from)
	for _, k := range chunks {
		w.text(k.text, k.chunk.until)
		if f.ring.unpin(k) {
			return errTooFew
		}
	}
	return w.close(&End{Ending: Ending{Files: f.cfg.Files()}})
}

func (f *Flight) note(k report.Kept) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k.Failed != "" {
		f.bad++
	}
	if len(f.kept) < maxKept {
		f.kept = append(f.kept, k)
	} else {
		f.more++
	}
	if f.cfg.Saved != nil {
		f.cfg.Saved(k)
	}
}

// Close writes the snapshot that was asked for, with what there is of it, and returns what became of all.
func (f *Flight) Close() *report.Flight {
	for f.pending != nil {
		if f.take(); f.pending != nil {
			time.Sleep(time.Millisecond) // until something was compressed
		}
	}
	f.w.end()
	f.writing.Wait()
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	return &report.Flight{Kept: append([]report.Kept{}, f.kept...), Omitted: f.more, Failed: f.bad, PassedOver: f.passed, Peak: uint64(f.ring.peak + flightOwn), Bound: uint64(f.cfg.Bytes)}
}
