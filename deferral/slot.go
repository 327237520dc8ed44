// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// Slot is the isolated side: one thread that must not be interrupted. All
// methods are for that thread only, and not for its signal handlers. After
// Attach none of them allocates, locks or makes a system call, except Detach
// and whatever the handlers do.
type Slot struct {
	rec    *slotRecord // first: Poll is one load from it
	own    owner
	online bool // between Enter and Exit; the word is not asked, a peer may forge it

	kinds    [MaxKinds]func()
	cells    []cell
	onCell   []func([]byte)
	ring     ring
	head     uint64
	onMsg    func([]byte)
	cellSize int
	msgSize  int
	corrupt  uint64

	d     *Domain
	index int
	fd    int
}

// attachTries covers the moment in which somebody else looks whether the
// previous owner is dead.
const attachTries = 20

// Attach makes the caller the owner of a slot, offline at first. It returns
// ErrBusy if the slot has an owner that lives. Work that was posted while the slot
// had no owner waits for Enter. Attach is not for the critical path: it opens
// a file and allocates.
//
// A Go program should call runtime.LockOSThread before, and CheckRuntime once.
func (d *Domain) Attach(slot int) (*Slot, error) {
	r, err := d.record(slot)
	if err != nil {
		return nil, fmt.Errorf("attaching: %w", err)
	}
	fd, err := d.mem.dup()
	if err != nil {
		return nil, fmt.Errorf("attaching to slot %d: %w", slot, err)
	}
	if err := d.claim(r, slot, fd); err != nil {
		return nil, errors.Join(fmt.Errorf("attaching to slot %d: %w", slot, err), closeFD(fd))
	}
	d.mu.Lock()
	d.attached++
	d.mu.Unlock()
	return d.newSlot(r, slot, fd), nil
}

// claim takes the lock of the slot, or in private memory its state.
func (d *Domain) claim(r *slotRecord, slot, fd int) error {
	if fd < 0 {
		w := atomic.LoadUint64(&r.state)
		if w&stateMask != detached || !atomic.CompareAndSwapUint64(&r.state, w, takeOver(w, atomic.LoadUint64(&r.done), offline)) {
			return fmt.Errorf("%w: it has an owner", ErrBusy)
		}
		return nil
	}
	for range attachTries {
		ok, err := tryLock(fd, int64(slot))
		if err != nil {
			return err
		}
		if ok {
			r.takeOver(offline)
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("%w: it has an owner", ErrBusy)
}

func (d *Domain) newSlot(r *slotRecord, slot, fd int) *Slot {
	s := &Slot{
		rec: r, d: d, index: slot, fd: fd,
		ring: d.geo.ring(d.mem.bytes, slot), head: atomic.LoadUint64(&r.head),
		onCell:   make([]func([]byte), d.geo.cells),
		cellSize: d.geo.cellSize, msgSize: d.geo.message,
	}
	for key := range d.geo.cells {
		s.cells = append(s.cells, d.geo.cell(d.mem.bytes, slot, key))
	}
	s.own.round = roundOf(atomic.LoadUint64(&r.state), atomic.LoadUint64(&r.done))
	return s
}

// HandleKind sets what the owner does when kind k was posted. f must not block,
// must tolerate being called once too often, and must not call methods of s
// that change its state. Set handlers before the first Enter.
func (s *Slot) HandleKind(k Kind, f func()) error {
	if k >= MaxKinds {
		return fmt.Errorf("handling: %w: kind %d of %d", ErrRange, k, MaxKinds)
	}
	s.kinds[k] = f
	return nil
}

// HandleCell sets what the owner does with a new value of a cell. The bytes
// are valid until the next catch-up.
func (s *Slot) HandleCell(key int, f func(value []byte)) error {
	if uint(key) >= uint(len(s.cells)) {
		return fmt.Errorf("handling: %w: cell %d of %d", ErrRange, key, len(s.cells))
	}
	s.onCell[key] = f
	return nil
}

// HandleMessages sets what the owner does with each message of its queue. The
// bytes are valid during the call.
func (s *Slot) HandleMessages(f func(message []byte)) { s.onMsg = f }

// Poll reports whether something was posted since the last catch-up. It is one
// load from a line that nobody writes until something is posted.
func (s *Slot) Poll() bool { return uint32(atomic.LoadUint64(&s.rec.state))&workMask != 0 }

// Enter makes the slot online: from now on it may use shared data, and
// Synchronize waits for it. It first does everything that was posted before.
// While somebody acts for the slot (RunPinned), Enter waits, and this is the
// only wait of the isolated side. Only when that takes long, it makes a system
// call, to see whether the thread that pinned the slot is dead. It does nothing if the slot
// is online.
func (s *Slot) Enter() {
	if s.online {
		return
	}
	at := enterRead
	for try := 1; at == enterRead; try++ {
		if at = s.own.do(enterRead, s.rec); at == enterPublish {
			at = s.own.do(enterPublish, s.rec)
		}
		if try%pinCheck == 0 {
			s.d.releaseDead(atomic.LoadUint64(&s.rec.pin))
		}
	}
	s.run(at)
	s.online = true
}

// pinCheck is the number of tries to enter, each some nanoseconds, between two
// looks at the thread that pinned the slot.
const pinCheck = 1 << 20

// CatchUp does what was posted, then records that it is done. Between two
// calls the slot may hold on to shared data; at a call it must not. It does
// nothing if the slot is offline.
func (s *Slot) CatchUp() {
	if s.online {
		s.run(catchTake)
	}
}

// Exit makes the slot offline: it promises not to use shared data until the
// next Enter, and is not waited for. Work that was posted before is done first.
func (s *Slot) Exit() {
	if s.online {
		s.run(exitTry)
		s.online = false
	}
}

func (s *Slot) run(at step) {
	for at != finished {
		if at == handle {
			s.handle(s.own.work)
			at = record
		}
		at = s.own.do(at, s.rec)
	}
}

// handle does the work that was taken.
func (s *Slot) handle(work uint64) {
	for kinds := uint32(work) >> kindShift; kinds != 0; kinds &= kinds - 1 {
		if f := s.kinds[bits.TrailingZeros32(kinds)]; f != nil {
			f()
		}
	}
	if work&cellsBit != 0 {
		s.takeCells()
	}
	if work&queueBit != 0 {
		s.receive()
	}
}

func (s *Slot) takeCells() {
	for key, c := range s.cells {
		taken, again := c.tryTake()
		for again {
			taken, again = c.tryTake()
		}
		if taken && s.onCell[key] != nil {
			s.onCell[key](s.Cell(key))
		}
	}
}

// Cell returns the value of a cell as of the last catch-up, without copying
// it, or nil if there was none. The bytes are valid until the next catch-up.
func (s *Slot) Cell(key int) []byte {
	if uint(key) >= uint(len(s.cells)) {
		return nil
	}
	front, ok := s.cells[key].front()
	if !ok {
		s.corrupt++
		return nil
	}
	value, ok := front.get(s.cellSize)
	if !ok {
		s.corrupt++
	}
	return value
}

// receive handles the messages that were there when it began: the sender
// cannot keep the owner here for ever.
func (s *Slot) receive() {
	tail := atomic.LoadUint64(&s.rec.tail)
	if tail-s.head > s.ring.len {
		s.corrupt++
		s.head = tail
	}
	for ; s.head != tail; s.head++ {
		message, ok := s.ring.box(s.head).get(s.msgSize)
		if !ok {
			s.corrupt++
			continue
		}
		if s.onMsg != nil {
			s.onMsg(message)
		}
	}
	atomic.StoreUint64(&s.rec.head, s.head)
}

// Err returns ErrCorrupt if this side has found something in the shared memory
// that the protocol never writes, and how often. The slot goes on: such values
// and messages are dropped.
func (s *Slot) Err() error {
	if s.corrupt == 0 {
		return nil
	}
	return fmt.Errorf("slot %d: %w: %d times", s.index, ErrCorrupt, s.corrupt)
}

// Detach gives the slot up. Work that was posted before is done first if the
// slot is online, and waits for the next owner if it is not.
func (s *Slot) Detach() error {
	if s.online {
		s.run(detachTry)
		s.online = false
	} else {
		atomic.AndUint64(&s.rec.state, ^uint64(stateMask))
	}
	s.d.mu.Lock()
	s.d.attached--
	s.d.mu.Unlock()
	if err := closeFD(s.fd); err != nil {
		return fmt.Errorf("detaching from slot %d: %w", s.index, err)
	}
	return nil
}
