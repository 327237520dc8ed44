// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// Kind is one sort of work, 0 to MaxKinds-1. Posting a kind that is already
// posted changes nothing: kinds are coalesced and need no memory.
type Kind uint8

// Post asks a slot to do work of one kind at its next catch-up. It does not
// wait, does not interrupt the slot and makes no system call. The slot's handler
// sees everything that the caller wrote before.
func (d *Domain) Post(slot int, k Kind) (Ticket, error) {
	r, err := d.record(slot)
	if err != nil {
		return Ticket{}, fmt.Errorf("posting: %w", err)
	}
	if k >= MaxKinds {
		return Ticket{}, fmt.Errorf("posting to slot %d: %w: kind %d of %d", slot, ErrRange, k, MaxKinds)
	}
	return d.mark(slot, r, kindBit(k)), nil
}

// mark runs the steps of a post in a row.
func (d *Domain) mark(slot int, r *slotRecord, bits uint64) Ticket {
	p := poster{bits: bits}
	p.postBefore(r)
	p.postMark(r)
	for p.postAfter(r) != finished {
		p.postBefore(r)
		p.postMark(r)
	}
	t := Ticket{d: d, round: p.round, slot: slot}
	if p.away() {
		t.known = postDeferred
	}
	return t
}

// Ticket stands for one post. Copies are independent; one copy is not safe for
// concurrent use. The zero Ticket is done.
//
// It has four words, so that it is returned in registers: through memory it
// would cost more than the post.
type Ticket struct {
	d     *Domain
	round uint64
	slot  int
	known uint8
}

// What a ticket knows without looking.
const (
	postWaits uint8 = iota
	postDeferred
	postDone
)

// Deferred reports whether the slot was away at the very moment of the post:
// nobody is using old data, and the work will be done by the next Enter.
// Otherwise the work is done before the slot leaves.
func (t *Ticket) Deferred() bool { return t.known == postDeferred }

// Done reports whether the slot has caught up with the post, or is away and
// will catch up before it uses shared data again. Once true, it stays true.
func (t *Ticket) Done() bool {
	if t.d == nil || t.known != postWaits {
		return true
	}
	p, r := t.look()
	if r == nil || p.waitDone(r) != finished && p.waitState(r) != finished {
		return false
	}
	t.known = postDone
	return true
}

// Seen reports whether the slot has done the work. For a deferred post that is
// after the next Enter.
func (t *Ticket) Seen() bool {
	if t.d == nil {
		return true
	}
	p, r := t.look()
	return r != nil && p.waitDone(r) == finished
}

// look returns what it takes to look at the slot, or nil in a closed domain.
func (t *Ticket) look() (poster, *slotRecord) {
	if t.d.closed.Load() {
		return poster{}, nil
	}
	return poster{round: t.round}, t.d.slots[t.slot]
}

const (
	spinFor    = 200                   // looks at the slot before giving up the thread
	yieldFor   = 5000                  // and before sleeping
	sleepFirst = 20 * time.Microsecond // doubled each time
	sleepMost  = 1 * time.Millisecond  //
	checkOwner = 20 * time.Millisecond // how soon a dead owner is noticed
)

// Wait returns when Done is true. If the owner has died, it releases the slot;
// the work then waits for the next owner. If ctx ends first, it returns its
// error: the work is still posted.
func (t *Ticket) Wait(ctx context.Context) error {
	next := time.Time{}
	sleep := sleepFirst
	for try := 0; !t.Done(); try++ {
		switch {
		case try < spinFor:
			continue
		case try < yieldFor:
			runtime.Gosched()
		default:
			time.Sleep(sleep)
			sleep = min(2*sleep, sleepMost)
		}
		if try&63 != 0 && try < yieldFor {
			continue
		}
		if err := t.check(ctx, &next); err != nil {
			return fmt.Errorf("waiting for slot %d: %w", t.slot, err)
		}
	}
	return nil
}

// check looks for reasons not to wait any longer.
func (t *Ticket) check(ctx context.Context, next *time.Time) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r, err := t.d.record(t.slot)
	if err != nil {
		return err
	}
	if atomic.LoadUint64(&r.state)&stateMask == stateMask {
		return fmt.Errorf("%w: state word %#x", ErrCorrupt, atomic.LoadUint64(&r.state))
	}
	now := time.Now()
	if next.IsZero() {
		*next = now.Add(checkOwner)
	}
	if now.Before(*next) {
		return nil
	}
	*next = now.Add(checkOwner)
	_, err = t.d.releaseSlot(t.slot)
	return err
}

// Synchronize waits until every slot has passed a catch-up that began after
// the call, or is away. No slot uses memory after the call that the caller made
// unreachable before it: the memory can be freed or changed. Slots of owners that died are
// released, so that nobody waits for them for ever.
//
// If ctx ends first, the error names the slots that were not yet done.
func (d *Domain) Synchronize(ctx context.Context) error {
	var waiting []Ticket
	for slot := range d.slots {
		r, err := d.record(slot)
		if err != nil {
			return fmt.Errorf("synchronising: %w", err)
		}
		if t := d.mark(slot, r, syncBit); !t.Done() {
			waiting = append(waiting, t)
		}
	}
	var errs []error
	for i := range waiting {
		errs = append(errs, waiting[i].Wait(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("synchronising: %w", err)
	}
	return nil
}

// RunPinned calls f on behalf of a slot that is away, and keeps its owner from
// entering until f returns. It returns ErrOnline if the slot is online, and
// ErrBusy if it is pinned for long by somebody else. f should be short: an
// owner that wants to enter waits for it.
func (d *Domain) RunPinned(slot int, f func()) error {
	r, err := d.record(slot)
	if err != nil {
		return fmt.Errorf("running pinned: %w", err)
	}
	if err := d.lock(&r.pin); err != nil {
		return fmt.Errorf("running pinned to slot %d: %w", slot, err)
	}
	defer unlockWord(&r.pin)
	var p pinner
	for at := pinRead; at != finished; {
		at = p.do(at, r)
	}
	if !p.held {
		return fmt.Errorf("running pinned to slot %d: %w", slot, ErrOnline)
	}
	defer p.pinRelease(r)
	f()
	return nil
}
