// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

var (
	// ErrNotRecording means that a file is something else than a recording.
	ErrNotRecording = errors.New("not a recording of taskiso; \"taskiso run --record FILE\" writes one")
	// ErrOlder means that a recording is of a form that this program no longer knows.
	ErrOlder = errors.New("the recording is from a taskiso of before the first release; report it with that one")
	// ErrNewer means that a recording is of a later form than this program knows.
	ErrNewer = errors.New("the recording is from a newer taskiso")
	// ErrFormat means that a recording is damaged where that cannot be passed over.
	ErrFormat = errors.New("the recording is damaged")
)

// Reader reads a recording from its beginning to its end. It keeps no more of it than one chunk and the names. Its methods
// are not safe for concurrent use.
type Reader struct {
	Header Header
	// End is the end of the recording, once Next has returned [io.EOF]; nil if it has none: it was cut off, or is still being
	// written.
	End *End

	in     *source
	kinds  []event.Kind // by their numbers in the recording; 0 for those that this program does not know
	names  *Recorded
	chunk  *decoder      // that is being read, or nil
	until  time.Duration // end of the last chunk
	missed *Gap          // chunks that are damaged, since then
	behind *chunk        // the chunk behind them
	events []event.Event

	whole func(chunk) bool // if set, takes chunks of records that are not to be decoded
}

// IsRecording reports whether a file that begins with text is a recording, of any form.
func IsRecording(text []byte) bool {
	return bytes.HasPrefix(text, []byte(magic[:len("taskiso recording ")]))
}

// NewReader begins to read a recording. Its errors match [ErrNotRecording], [ErrOlder], [ErrNewer] or [ErrFormat], or are those of in.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: newSource(in)}
	begin := make([]byte, len(magic))
	switch n, err := io.ReadFull(r.in.in, begin); {
	case !IsRecording(begin[:n]):
		return nil, ErrNotRecording
	case err != nil:
		return nil, fmt.Errorf("%w: it ends after %d bytes", ErrFormat, n)
	case string(begin) == firstMagic:
		return nil, ErrOlder
	case string(begin) != magic:
		return nil, fmt.Errorf("%w: it begins with %q, and this program knows %q", ErrNewer, begin, magic)
	}
	head, err := r.in.next()
	if err != nil || head.kind != headChunk {
		return nil, fmt.Errorf("%w: it has no header", ErrFormat)
	}
	if err := inflate(head, &r.Header, "header"); err != nil {
		return nil, err
	}
	r.names = &Recorded{functions: make(map[uint64]string), syscalls: make(map[uint64]string), devices: r.Header.Devices}
	r.kinds = r.Header.Kinds
	return r, nil
}

// Names returns the names that were read until now.
func (r *Reader) Names() *Recorded { return r.names }

// Next returns the next item, and [io.EOF] after the last one.
func (r *Reader) Next() (Item, error) {
	for {
		if r.chunk != nil {
			item, err := r.chunk.next()
			if !errors.Is(err, io.EOF) {
				return item, err
			}
			r.events, r.chunk = r.chunk.events, nil
		}
		item, err := r.nextChunk()
		if item != nil || err != nil {
			return item, err
		}
	}
}

// nextChunk begins the next chunk, and returns the item that stands for it if that is no chunk of records.
func (r *Reader) nextChunk() (Item, error) {
	c, err := r.take()
	switch {
	case errors.Is(err, errDamaged):
		if r.missed == nil {
			r.missed = &Gap{From: r.until}
		}
		r.missed.Events += c.events
		return nil, nil
	case errors.Is(err, io.EOF):
		return r.gap(r.until, io.EOF)
	case err != nil:
		return nil, err
	case r.missed != nil:
		r.behind = &c
		return r.gap(c.from, nil)
	}
	r.until = c.until
	switch c.kind {
	case gapChunk:
		return Gap{From: c.from, Until: c.until, Events: c.events}, nil
	case endChunk:
		var end End
		if err := inflate(c, &end, "end"); err != nil {
			return nil, err
		}
		r.End = &end
		return nil, io.EOF
	case dataChunk:
		if r.whole != nil && r.whole(c) {
			return nil, nil
		}
		r.chunk = newDecoder(c, r.kinds, r.names, r.events)
	}
	return nil, nil
}

// take returns the next chunk, which may have been read before. One that is not later than what stands before it is damaged: it belongs elsewhere.
// So is all from the header of another recording on.
func (r *Reader) take() (chunk, error) {
	if c := r.behind; c != nil {
		r.behind = nil
		return *c, nil
	}
	c, err := r.in.next()
	switch {
	case err != nil:
		return c, err
	case c.kind == headChunk:
		r.in.giveUp()
		return chunk{}, io.EOF
	case c.from < r.until:
		r.in.refuse(c)
		return chunk{}, errDamaged
	}
	r.in.accept()
	return c, nil
}

// gap returns what stands for damaged chunks, if there were any, up to a time that a whole chunk shows: nothing in a damaged
// one can be relied upon. Otherwise it returns err.
func (r *Reader) gap(until time.Duration, err error) (Item, error) {
	g := r.missed
	if g == nil {
		return nil, err
	}
	r.missed, g.Until = nil, until
	return *g, nil
}

// inflate reads a chunk of JSON.
func inflate(c chunk, to any, what string) error {
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(c.content)), maxContent))
	if err != nil {
		return fmt.Errorf("%w: its %s cannot be decompressed", ErrFormat, what)
	}
	return unmarshal(text, to, what)
}
