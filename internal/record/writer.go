// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
)

// When a chunk ends: what comes after it is lost if the recorder is killed. One of a CPU of which nothing happens is
// some fifty bytes.
const (
	chunkBytes = 1 << 18 // of records, before they are compressed
	chunkTime  = 4 * time.Second
)

// queueLength is how many chunks can wait for the disk: 64 MiB of records. Those that come when it is full are left out.
const queueLength = 256

// Writer writes a recording. Its methods are not safe for concurrent use. Compressing and writing is done beside them, so that
// none of them waits for a disk.
type Writer struct {
	out   io.Writer
	enc   *encoder
	until time.Duration // end of the last batch
	idle  time.Duration // end of the last batch, if it was left out because there was nothing in it; else 0

	length  time.Duration // of a chunk
	queue   chan content
	written chan error
	spare   chan []byte // buffers to be used again
	missing Gap         // chunks that were left out since the last one
	patient bool        // wait for the disk rather than leave out anything
}

// content is a chunk before it is compressed.
type content struct {
	chunk
	records []byte
	mark    func() // if set, it is no chunk: called when all before it are written
}

// NewWriter begins a recording on out, to which it writes whole chunks.
func NewWriter(out io.Writer, h Header, names Names) (*Writer, error) {
	return newWriter(out, h, names, queueLength, chunkTime)
}

// newWriter returns one of which so many chunks, of so much time each, can wait.
func newWriter(out io.Writer, h Header, names Names, queue int, length time.Duration) (*Writer, error) {
	h.Kinds = kinds()
	text, err := marshal(h, "header")
	if err != nil {
		return nil, err
	}
	head := appendChunk([]byte(magic), chunk{kind: headChunk, content: newDeflater().compress(text)})
	if _, err := out.Write(head); err != nil {
		return nil, fmt.Errorf("beginning a recording: %w", err)
	}
	w := &Writer{
		out: out, enc: newEncoder(names), length: length, queue: make(chan content, queue), written: make(chan error, 1), spare: make(chan []byte, queue),
	}
	go func() { w.written <- w.write() }()
	return w, nil
}

// Begin notes when the observation begins.
func (w *Writer) Begin(at time.Duration) { w.enc.begin(at) }

// Found notes a thread that was in user mode.
func (w *Writer) Found(f Found) { w.enc.found(f) }

// LoopGap notes a gap of a loop.
func (w *Writer) LoopGap(g LoopGap) { w.enc.loopGap(g) }

// Held notes an operation that was held.
func (w *Writer) Held(r operation.Record) { w.enc.held(r) }

// Batch adds what happened. A batch of more than [MaxEvents] events is not valid. It is not kept.
func (w *Writer) Batch(b event.Batch) { w.piece(&b, math.MaxInt, math.MaxInt) }

// piece adds as much of a batch as has so many events and bytes, and leaves the rest in it. It reports whether that was all.
func (w *Writer) piece(b *event.Batch, events, bytes int) bool {
	if w.until == 0 { // the first chunk begins with its first event
		w.enc.from = b.Until
		if len(b.Events) > 0 {
			w.enc.from = b.Events[0].Time
		}
		w.enc.time = w.enc.from
	}
	if len(b.Events) == 0 && len(b.Lost) == 0 && !b.SendersMissed {
		w.until, w.idle = b.Until, b.Until // the next one shows that time has passed
		w.endLong()
		return true
	}
	if w.idle != 0 && (len(b.Lost) > 0 || b.SendersMissed) { // where events are missing begins with the end of the batch before
		w.enc.batch(event.Batch{Until: w.idle})
	}
	w.idle = 0
	n := w.enc.all(b.Events[:min(events, len(b.Events))], bytes)
	first, rest := split(*b, n)
	w.enc.end(first)
	w.until = first.Until
	*b = rest
	w.endLong()
	return len(rest.Events) == 0
}

// endLong ends a chunk that has enough.
func (w *Writer) endLong() {
	if len(w.enc.buf) >= chunkBytes || w.until-w.enc.from >= w.length {
		w.endChunk()
	}
}

// endChunk hands the chunk on. It never waits: a chunk for which the queue has no room is left out, and that is recorded.
func (w *Writer) endChunk() {
	if w.idle != 0 {
		w.enc.batch(event.Batch{Until: w.idle})
		w.idle = 0
	}
	c := chunk{kind: dataChunk, from: w.enc.from, until: w.until, events: w.enc.events}
	if w.enc.readable() && w.offer(&w.missing) && w.hand(content{chunk: c, records: w.enc.buf}) {
		w.enc.buf = w.buffer()
	} else {
		w.missing = merge(w.missing, c)
	}
	w.enc.reset(w.until)
}

// offer hands on which chunks were left out, if any were, and returns whether the queue has room for more.
func (w *Writer) offer(missing *Gap) bool {
	if *missing == (Gap{}) {
		return true
	}
	if !w.hand(missing.content()) {
		return false
	}
	*missing = Gap{}
	return true
}

// content returns the chunk that stands for a gap.
func (g Gap) content() content {
	return content{chunk: chunk{kind: gapChunk, from: g.From, until: g.Until, events: g.Events}}
}

func (w *Writer) hand(c content) bool {
	if w.patient {
		w.queue <- c
		return true
	}
	select {
	case w.queue <- c:
		return true
	default:
		return false
	}
}

// merge adds a chunk that is left out.
func merge(missing Gap, c chunk) Gap {
	if missing == (Gap{}) {
		missing.From = c.from
	}
	return Gap{From: missing.From, Until: c.until, Events: missing.Events + c.events}
}

func (w *Writer) buffer() []byte {
	select {
	case buf := <-w.spare:
		return buf
	default:
		return make([]byte, 0, chunkBytes+chunkBytes/8)
	}
}

// write compresses and writes until the queue is closed. After an error it only empties the queue.
func (w *Writer) write() error {
	d := newDeflater()
	var buf []byte
	var failed error
	for c := range w.queue {
		if c.mark != nil {
			c.mark()
			continue
		}
		if failed != nil {
			continue
		}
		c.content = d.compress(c.records)
		buf = appendChunk(buf[:0], c.chunk)
		if _, err := w.out.Write(buf); err != nil {
			failed = fmt.Errorf("writing a recording: %w", err)
		}
		if c.kind == dataChunk {
			w.reuse(c.records)
		}
	}
	return failed
}

func (w *Writer) reuse(records []byte) {
	select {
	case w.spare <- records[:0]:
	default:
	}
}

// Close writes what is left, and end, without which the recording is readable as well. It waits until everything is written.
func (w *Writer) Close(end *End) error {
	text, err := marshal(end, "end")
	w.finish()
	if err == nil {
		w.queue <- content{chunk: chunk{kind: endChunk, from: w.until, until: w.until}, records: text}
	}
	return errors.Join(err, w.end())
}

// Abort writes what is left, without an end.
func (w *Writer) Abort() error {
	w.finish()
	return w.end()
}

// gap notes a time of which nothing is known.
func (w *Writer) gap(g Gap) {
	if w.until != 0 {
		w.endChunk()
	}
	w.until = max(w.until, g.Until)
	if w.hand(g.content()) {
		w.enc.reset(w.until)
	}
}

// finish hands on what is left, and waits until there is room for it.
func (w *Writer) finish() {
	if w.until != 0 {
		w.endChunk()
	}
	if w.missing != (Gap{}) {
		w.queue <- w.missing.content()
	}
}

func (w *Writer) end() error {
	close(w.queue)
	return <-w.written
}
