// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"
)

// keptBytes is what a chunk costs beside its content.
const keptBytes = 160

// kept is a chunk in memory, as it stands in a file.
type kept struct {
	text   []byte
	chunk  chunk // without the content
	pinned bool  // a snapshot has to write it
	out    bool  // it is not in the ring any more
}

func (k *kept) cost() int { return len(k.text) + keptBytes }

// ring keeps the latest chunks, of so many bytes and of so much time, and what must be known of the time before them. A [Writer]
// writes to it as to a file.
type ring struct {
	limit int // bytes of everything
	room  int // of that for chunks; a quarter is for those that come while a snapshot still has to write the oldest
	span  time.Duration

	mu      sync.Mutex
	chunks  []*kept
	before  *before
	bytes   int  // of chunks, also of those that only a snapshot still holds
	copied  int  // of a copy of before
	peak    int  // of all this
	full    bool // the snapshot that is being written takes the room of what is new: it is to be given up
	missing Gap  // what found no room
	headed  bool
}

// shareBefore is which part of the bytes is for what must be known of the time before, and once more for the copy that a snapshot has.
const shareBefore = 16

func newRing(limit int, span time.Duration) *ring {
	share := limit / shareBefore
	return &ring{limit: limit, room: limit - 2*share, span: span, before: newBefore(share)}
}

// Write takes a chunk. It never fails.
func (r *ring) Write(text []byte) (int, error) {
	if !r.headed { // the header of the file
		r.headed = true
		return len(text), nil
	}
	k := &kept{text: bytes.Clone(text), chunk: headerOf(text)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(k)
	return len(text), nil
}

// headerOf reads the header of a chunk that this program has written.
func headerOf(text []byte) chunk {
	le := binary.LittleEndian
	return chunk{
		kind: string(text[:4]), from: time.Duration(le.Uint64(text[8:])), until: time.Duration(le.Uint64(text[16:])), events: le.Uint32(text[24:]),
	}
}

// add makes room for a chunk. One for which a snapshot leaves no room is left out: the time that it had is a gap.
func (r *ring) add(k *kept) {
	for len(r.chunks) > 0 && k.chunk.until-r.chunks[0].chunk.from > r.span {
		r.evict()
	}
	for len(r.chunks) > 0 && r.bytes+k.cost() > r.room/4*3 && !r.chunks[0].pinned {
		r.evict()
	}
	if r.bytes+k.cost() > r.room {
		r.full = true
		r.missing = merge(r.missing, k.chunk)
		return
	}
	if r.missing != (Gap{}) {
		r.push(gapIn(r.missing))
		r.missing = Gap{}
	}
	r.push(k)
}

func gapIn(g Gap) *kept {
	c := chunk{kind: gapChunk, from: g.From, until: g.Until, events: g.Events}
	return &kept{text: appendChunk(nil, c), chunk: c}
}

func (r *ring) push(k *kept) {
	r.chunks = append(r.chunks, k)
	r.bytes += k.cost()
	r.peak = max(r.peak, r.used())
}

// used is how many bytes there are of everything.
func (r *ring) used() int { return r.bytes + r.before.size() + r.copied }

// evict takes the oldest chunk out.
func (r *ring) evict() {
	k := r.chunks[0]
	r.chunks[0] = nil
	r.chunks = r.chunks[1:]
	r.before.chunk(k)
	if k.out = true; !k.pinned {
		r.bytes -= k.cost()
	}
}

// pin returns all chunks and a copy of what must be known of the time before them. Each is to be given back with unpin, and the copy
// with drop.
func (r *ring) pin() ([]*kept, *before) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.chunks {
		k.pinned = true
	}
	r.full = false
	known := r.before.clone()
	r.copied = known.limit // it grows up to that
	r.peak = max(r.peak, r.used())
	return append([]*kept(nil), r.chunks...), known
}

// unpin gives a chunk back, and reports whether the snapshot is to be given up.
func (r *ring) unpin(k *kept) (full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k.pinned && k.out {
		r.bytes -= k.cost()
	}
	k.pinned = false
	return r.full
}

func (r *ring) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.copied = 0
}

// chunk takes in a chunk of which all came before.
func (s *before) chunk(k *kept) {
	if k.chunk.kind != dataChunk {
		s.gap()
		return
	}
	c := k.chunk
	c.content = k.text[chunkHeader:]
	names := &Recorded{functions: make(map[uint64]string), syscalls: make(map[uint64]string)}
	d := newDecoder(c, kinds(), names, nil)
	for {
		item, err := d.next()
		switch item := item.(type) {
		case Batch:
			s.batch(item.Batch)
		case Found:
			s.find(item)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil { // it was written by this program
			s.gap()
			return
		}
	}
}
