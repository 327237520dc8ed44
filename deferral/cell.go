// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// A cell holds the latest value of something. It has three buffers with one
// role each: front belongs to the slot's owner, back to the publisher that holds
// the poster lock, middle to nobody. Publishing exchanges back and middle,
// taking exchanges middle and front, both by one compare-and-swap of the
// control word. So neither side ever reads or writes a buffer of the other,
// and a publisher that dies leaves at most a half-written back.
//
//	bits 0-1 front, 2-3 middle, 4-5 back, 6 fresh: middle is newer than front
type cell struct {
	ctl   *uint64
	boxes [3]box
}

const (
	cellStart = 0 | 1<<2 | 2<<4
	fresh     = 1 << 6
)

// roles decodes a control word. Anything but a permutation of 0, 1 and 2 was
// not written by this protocol.
func roles(ctl uint64) (front, middle, back uint64, ok bool) {
	front, middle, back = ctl&3, ctl>>2&3, ctl>>4&3
	ok = ctl>>7 == 0 && 1<<front|1<<middle|1<<back == 0b111
	return front, middle, back, ok
}

func compose(front, middle, back uint64) uint64 { return front | middle<<2 | back<<4 }

// back returns the buffer that the holder of the poster lock may write.
func (c cell) back() (box, error) {
	_, _, back, ok := roles(atomic.LoadUint64(c.ctl))
	if !ok {
		return nil, fmt.Errorf("%w: cell control word %#x", ErrCorrupt, atomic.LoadUint64(c.ctl))
	}
	return c.boxes[back], nil
}

// tryPublish makes back the newest value. It fails if the owner took the
// previous one at the same moment; back is still back then.
func (c cell) tryPublish() bool {
	ctl := atomic.LoadUint64(c.ctl)
	front, middle, back, _ := roles(ctl)
	return atomic.CompareAndSwapUint64(c.ctl, ctl, compose(front, back, middle)|fresh)
}

// tryTake makes the newest value front. It fails if another one was published
// at the same moment.
func (c cell) tryTake() (taken, again bool) {
	ctl := atomic.LoadUint64(c.ctl)
	front, middle, back, ok := roles(ctl)
	if !ok || ctl&fresh == 0 {
		return false, false
	}
	taken = atomic.CompareAndSwapUint64(c.ctl, ctl, compose(middle, front, back))
	return taken, !taken
}

// front returns the owner's buffer.
func (c cell) front() (box, bool) {
	front, _, _, ok := roles(atomic.LoadUint64(c.ctl))
	if !ok {
		return nil, false
	}
	return c.boxes[front], true
}

func (d *Domain) cellOf(slot, key int) (*slotRecord, cell, error) {
	r, err := d.record(slot)
	if err != nil {
		return nil, cell{}, err
	}
	if uint(key) >= uint(d.geo.cells) {
		return nil, cell{}, fmt.Errorf("%w: cell %d of %d", ErrRange, key, d.geo.cells)
	}
	return r, d.geo.cell(d.mem.bytes, slot, key), nil
}

// Publish gives a slot a new value of a cell. The owner sees the newest one at
// its next catch-up; values in between are skipped. Several publishers of one
// slot take turns.
func (d *Domain) Publish(slot, key int, value []byte) (Ticket, error) {
	r, c, err := d.cellOf(slot, key)
	if err != nil {
		return Ticket{}, fmt.Errorf("publishing: %w", err)
	}
	if len(value) > d.geo.cellSize {
		return Ticket{}, fmt.Errorf("publishing to cell %d: %w: %d bytes, cells have %d", key, ErrTooLarge, len(value), d.geo.cellSize)
	}
	if err := d.lock(&r.post); err != nil {
		return Ticket{}, fmt.Errorf("publishing to slot %d: %w", slot, err)
	}
	defer unlockWord(&r.post)
	back, err := c.back()
	if err != nil {
		return Ticket{}, fmt.Errorf("publishing to slot %d, cell %d: %w", slot, key, err)
	}
	back.put(value)
	for !c.tryPublish() {
	}
	return d.mark(slot, r, cellsBit), nil
}

// Cell is a typed cell, the same one of every slot.
type Cell[T any] struct {
	d   *Domain
	key int
}

// NewCell returns cell key of d as values of type T. T must be plain memory of
// fixed size, without pointers, and fit into the domain's cells. Processes that
// share a cell must agree on T.
func NewCell[T any](d *Domain, key int) (Cell[T], error) {
	if uint(key) >= uint(d.geo.cells) {
		return Cell[T]{}, fmt.Errorf("using cell: %w: cell %d of %d", ErrRange, key, d.geo.cells)
	}
	if err := checkPlain[T](d.geo.cellSize); err != nil {
		return Cell[T]{}, fmt.Errorf("using cell %d: %w", key, err)
	}
	return Cell[T]{d: d, key: key}, nil
}

// Publish gives a slot a new value; see Domain.Publish.
func (c Cell[T]) Publish(slot int, value T) (Ticket, error) {
	return c.d.Publish(slot, c.key, bytesOf(&value))
}

// Load returns the value as of the slot's last catch-up, and false if there
// was none. Only the slot's owner may call it. It does not allocate.
func (c Cell[T]) Load(s *Slot) (value T, ok bool) {
	b := s.Cell(c.key)
	if len(b) != int(unsafe.Sizeof(value)) {
		return value, false
	}
	copy(bytesOf(&value), b)
	return value, true
}

// View is Load without a copy: the value lies in the domain, and is valid until
// the slot's next catch-up. It is nil if there was none.
func (c Cell[T]) View(s *Slot) *T {
	b := s.Cell(c.key)
	if len(b) != int(unsafe.Sizeof(*new(T))) {
		return nil
	}
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// Handle sets what the owner does with a new value; see Slot.HandleCell.
func (c Cell[T]) Handle(s *Slot, f func(T)) error {
	return s.HandleCell(c.key, func([]byte) {
		if v, ok := c.Load(s); ok {
			f(v)
		}
	})
}

func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
