// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// ring is the memory of a slot's queue: one receiver, and one sender at a
// time, the holder of the poster lock. A message exists from the moment that
// tail passes it, so that a sender which dies before has sent nothing.
type ring struct {
	bytes   []byte
	boxSize int
	len     uint64
}

func (q ring) box(i uint64) box {
	at := int(i&(q.len-1)) * q.boxSize
	return box(q.bytes[at : at+q.boxSize])
}

// put stores a message and lets tail pass it.
func (q ring) put(r *slotRecord, message []byte) error {
	tail := atomic.LoadUint64(&r.tail)
	waiting := tail - atomic.LoadUint64(&r.head)
	if waiting > q.len {
		return fmt.Errorf("%w: queue of %d with %d waiting messages", ErrCorrupt, q.len, waiting)
	}
	if waiting == q.len {
		return ErrFull
	}
	q.box(tail).put(message)
	atomic.StoreUint64(&r.tail, tail+1)
	return nil
}

// Send appends a message to a slot's queue. The owner gets it at its next
// catch-up, in order. It returns ErrFull, without waiting, if the owner has not
// yet received as many messages as the queue holds; what to do then is the
// sender's decision. Several senders to one slot take turns.
//
// Should an owner die while it handles messages, the next one gets them again.
func (d *Domain) Send(slot int, message []byte) (Ticket, error) {
	r, err := d.record(slot)
	if err != nil {
		return Ticket{}, fmt.Errorf("sending: %w", err)
	}
	if len(message) > d.geo.message {
		return Ticket{}, fmt.Errorf("sending to slot %d: %w: %d bytes, messages have %d", slot, ErrTooLarge, len(message), d.geo.message)
	}
	if d.geo.queue == 0 {
		return Ticket{}, fmt.Errorf("sending to slot %d: %w: the domain has no queues", slot, ErrRange)
	}
	if err := d.lock(&r.post); err != nil {
		return Ticket{}, fmt.Errorf("sending to slot %d: %w", slot, err)
	}
	defer unlockWord(&r.post)
	if err := d.geo.ring(d.mem.bytes, slot).put(r, message); err != nil {
		if err == ErrFull {
			return Ticket{}, ErrFull // an expected answer: no allocation
		}
		return Ticket{}, fmt.Errorf("sending to slot %d: %w", slot, err)
	}
	return d.mark(slot, r, queueBit), nil
}

// Queue is the typed queue of every slot.
type Queue[T any] struct{ d *Domain }

// NewQueue returns the queues of d as messages of type T. T must be plain
// memory of fixed size, without pointers, and fit into the domain's messages.
func NewQueue[T any](d *Domain) (Queue[T], error) {
	if err := checkPlain[T](d.geo.message); err != nil {
		return Queue[T]{}, fmt.Errorf("using queue: %w", err)
	}
	return Queue[T]{d: d}, nil
}

// Send appends a message; see Domain.Send.
func (q Queue[T]) Send(slot int, message T) (Ticket, error) {
	return q.d.Send(slot, bytesOf(&message))
}

// Handle sets what the owner does with a message; see Slot.HandleMessages.
// Messages of another size than T are counted as corrupt.
func (q Queue[T]) Handle(s *Slot, f func(T)) {
	s.HandleMessages(func(b []byte) {
		var v T
		if len(b) != int(unsafe.Sizeof(v)) {
			s.corrupt++
			return
		}
		copy(bytesOf(&v), b)
		f(v)
	})
}
