// SPDX-License-Identifier: Apache-2.0

package record

import (
	"fmt"
	"io"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// Part is what a recording is a part of.
type Part struct {
	report.PartOf
	// Began is when the part begins, in CLOCK_MONOTONIC. What is recorded before only shows what was the case then.
	Began time.Duration `json:"began_monotonic_ns"`
}

// lead is how long before its beginning a part has all events. What was sent to a CPU before that, and arrives in the part, has
// no sender there; IPIs arrive within microseconds.
const lead = 100 * time.Millisecond

// partWriter writes a part of a recording. Other than a [Writer] it leaves nothing out, and waits.
type partWriter struct {
	out     io.Writer
	enc     *encoder
	deflate *deflater
	until   time.Duration // end of what was written
	pending bool          // there is something to write
	buf     []byte
	err     error // the first, after which nothing is written
}

func newPartWriter(out io.Writer, h Header, names Names) (*partWriter, error) {
	text, err := marshal(h, "header")
	if err != nil {
		return nil, err
	}
	w := &partWriter{out: out, enc: newEncoder(names), deflate: newDeflater()}
	if _, err := out.Write(appendChunk([]byte(magic), chunk{kind: headChunk, content: w.deflate.compress(text)})); err != nil {
		return nil, fmt.Errorf("beginning a recording: %w", err)
	}
	w.enc.begun = h.Part.Began
	return w, nil
}

// before writes what was the case when the part begins.
func (w *partWriter) before(s *before, at time.Duration) {
	events := s.events(at)
	w.enc.reset(at)
	if len(events) > 0 {
		w.enc.reset(events[0].Time)
	}
	w.until = w.enc.from
	const most = 1 << 12 // what they name is to fit in a chunk
	for len(events) > most {
		w.batch(event.Batch{Events: events[:most], Until: events[most-1].Time})
		events = events[most:]
	}
	w.batch(event.Batch{Events: events, Until: at})
	for _, f := range s.found {
		w.found(f)
	}
	w.flush()
}

func (w *partWriter) batch(b event.Batch) {
	w.enc.batch(b)
	w.until, w.pending = b.Until, true
	if len(w.enc.buf) >= chunkBytes || w.until-w.enc.from >= chunkTime {
		w.flush()
	}
}

func (w *partWriter) found(f Found) {
	w.enc.found(f)
	w.pending = true
}

func (w *partWriter) gap(g Gap) {
	w.copy(chunk{kind: gapChunk, from: g.From, until: g.Until, events: g.Events})
}

// copy writes a chunk as it is.
func (w *partWriter) copy(c chunk) {
	w.flush()
	w.write(c)
	w.until = max(w.until, c.until)
	w.enc.reset(w.until)
}

// text writes a chunk as it stands in a file.
func (w *partWriter) text(text []byte, until time.Duration) {
	if w.err == nil {
		if _, err := w.out.Write(text); err != nil {
			w.err = fmt.Errorf("writing a part of a recording: %w", err)
		}
	}
	w.until = max(w.until, until)
	w.enc.reset(w.until)
}

// flush ends the chunk that is being encoded.
func (w *partWriter) flush() {
	if !w.pending {
		return
	}
	w.write(chunk{kind: dataChunk, from: w.enc.from, until: w.until, events: w.enc.events, content: w.deflate.compress(w.enc.buf)})
	w.pending = false
	w.enc.reset(w.until)
}

func (w *partWriter) write(c chunk) {
	if w.err != nil {
		return
	}
	w.buf = appendChunk(w.buf[:0], c)
	if _, err := w.out.Write(w.buf); err != nil {
		w.err = fmt.Errorf("writing a part of a recording: %w", err)
	}
}

// close writes the end.
func (w *partWriter) close(end *End) error {
	w.flush()
	text, err := marshal(end, "end")
	if err != nil {
		return err
	}
	w.write(chunk{kind: endChunk, from: w.until, until: w.until, content: w.deflate.compress(text)})
	return w.err
}
