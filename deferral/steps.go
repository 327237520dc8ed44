// SPDX-License-Identifier: Apache-2.0

package deferral

import "sync/atomic"

// This file is the protocol. Every step is one atomic operation on the slot's
// record, and returns which step follows. The library runs the steps of an
// operation in a row; the explorer (explore_test.go) interleaves them in every
// possible order. So what is proved is this code, not a copy of it.
//
// The steps are those of protocol A'+B in model/: the round is the generation,
// taking work is the synchronisation, and leaving is refused while a request
// is in the word.

// step names the next atomic operation of one operation in progress.
type step uint8

const (
	finished step = iota

	// owner, Enter
	enterRead    // E1: look for a pin
	enterPublish // E2: become online and take what is posted, in one exchange
	// owner, CatchUp
	catchTake // C1: take what is posted
	// owner, both
	handle // C2: do the work; no shared operation of the protocol
	record // C3: record that it is done; never before it is done
	// owner, Exit
	exitTry // X1: become offline, unless something was posted
	// owner, Detach
	detachTry // D1: as X1, but give the slot up

	// poster, Post
	postBefore // P1: newest finished round
	postMark   // P2: put the request into the word
	postAfter  // P3: is P1 still recent enough to complete the round?
	// poster, Wait
	waitDone  // W1: has the round been recorded?
	waitState // W2: or is the slot away, so that it must catch up first?

	// pinner
	pinRead    // N1: is the slot away and free?
	pinTake    // N2: pin it, if it still is
	pinRelease // N3: let it go
)

// owner is what the isolated side of a slot knows without reading shared memory.
type owner struct {
	round   uint64 // rounds taken; the word holds the low half
	seen    uint64 // the word read by E1
	work    uint64 // work bits taken and not yet recorded
	leaving step   // exitTry or detachTry while an exit is served, else finished
}

// do runs one step. handle is not run here: the caller does the work.
func (o *owner) do(at step, r *slotRecord) step {
	switch at {
	case enterRead:
		return o.enterRead(r)
	case enterPublish:
		return o.enterPublish(r)
	case catchTake:
		return o.catchTake(r)
	case record:
		return o.record(r)
	case exitTry:
		return o.leave(r, offline)
	case detachTry:
		return o.leave(r, detached)
	}
	return finished
}

func (o *owner) enterRead(r *slotRecord) step {
	o.seen = atomic.LoadUint64(&r.state)
	if o.seen&pinBit != 0 {
		return enterRead
	}
	return enterPublish
}

// enterPublish makes the slot online. With the same operation it learns what
// was posted while it was away: a poster that saw the slot away comes before
// this exchange and is in the word, any later one sees the slot online.
func (o *owner) enterPublish(r *slotRecord) step {
	work := o.seen & workMask
	next := o.round
	if work != 0 {
		next++
	}
	if !atomic.CompareAndSwapUint64(&r.state, o.seen, word(online, next)) {
		return enterRead
	}
	if work == 0 {
		return finished
	}
	o.round, o.work = next, work
	return handle
}

func (o *owner) catchTake(r *slotRecord) step {
	o.round++
	o.work = atomic.SwapUint64(&r.state, word(online, o.round)) & workMask
	return handle
}

func (o *owner) record(r *slotRecord) step {
	atomic.StoreUint64(&r.done, o.round)
	o.work = 0
	next := o.leaving
	o.leaving = finished
	return next
}

// leave succeeds only if the word is exactly as this side last wrote it. Work that
// was posted in the meantime is served first, so that a poster that found the
// slot online is served in this stay, not at some later Enter.
func (o *owner) leave(r *slotRecord, state uint64) step {
	if atomic.CompareAndSwapUint64(&r.state, word(online, o.round), word(state, o.round)) {
		return finished
	}
	o.leaving = exitTry
	if state == detached {
		o.leaving = detachTry
	}
	return catchTake
}

// poster is one Post and the wait for it.
type poster struct {
	bits   uint64 // work bits to set
	before uint64 // done before the mark
	mark   uint64 // the word that the mark found
	round  uint64 // the round that will take the mark is the next one
}

func (p *poster) do(at step, r *slotRecord) step {
	switch at {
	case postBefore:
		return p.postBefore(r)
	case postMark:
		return p.postMark(r)
	case postAfter:
		return p.postAfter(r)
	case waitDone:
		return p.waitDone(r)
	case waitState:
		return p.waitState(r)
	}
	return finished
}

func (p *poster) postBefore(r *slotRecord) step {
	p.before = atomic.LoadUint64(&r.done)
	return postMark
}

func (p *poster) postMark(r *slotRecord) step {
	p.mark = atomic.OrUint64(&r.state, p.bits)
	return postAfter
}

// postAfter completes the 32 bits of the round. A poster that was stopped
// between P1 and P2 for so many rounds that they wrapped marks once more.
func (p *poster) postAfter(r *slotRecord) step {
	if atomic.LoadUint64(&r.done)-p.before >= 1<<31 {
		return postBefore
	}
	p.round = roundOf(p.mark, p.before)
	return finished
}

// away reports whether the mark found nobody online.
func (p *poster) away() bool { return p.mark&stateMask != online }

func (p *poster) waitDone(r *slotRecord) step {
	if atomic.LoadUint64(&r.done) > p.round {
		return finished
	}
	return waitState
}

func (p *poster) waitState(r *slotRecord) step {
	if atomic.LoadUint64(&r.state)&stateMask != online {
		return finished
	}
	return waitDone
}

// pinner acts on behalf of a slot that is away.
type pinner struct {
	seen uint64
	held bool
}

func (p *pinner) do(at step, r *slotRecord) step {
	switch at {
	case pinRead:
		return p.pinRead(r)
	case pinTake:
		return p.pinTake(r)
	case pinRelease:
		return p.pinRelease(r)
	}
	return finished
}

func (p *pinner) pinRead(r *slotRecord) step {
	p.seen = atomic.LoadUint64(&r.state)
	if p.seen&stateMask == online || p.seen&pinBit != 0 {
		return finished
	}
	return pinTake
}

func (p *pinner) pinTake(r *slotRecord) step {
	p.held = atomic.CompareAndSwapUint64(&r.state, p.seen, p.seen|pinBit)
	if !p.held {
		return pinRead
	}
	return finished
}

func (p *pinner) pinRelease(r *slotRecord) step {
	atomic.AndUint64(&r.state, ^uint64(pinBit))
	p.held = false
	return finished
}

// takeOver is the word of a slot whose owner is gone. If that owner had taken
// work and not recorded it, nobody can know what: everything is posted again,
// which handlers tolerate because a kind may always be called once too often.
func takeOver(w, done, state uint64) uint64 {
	w = w&^stateMask | state
	if uint32(w>>roundShift) != uint32(done) {
		w |= workMask
	}
	return w
}
