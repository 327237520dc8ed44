// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options are the fixed dimensions of a new domain.
type Options struct {
	Slots       int // isolated threads, 1 to 4096; 0 means 1
	Cells       int // latest-value cells of each slot, 0 to 16
	CellSize    int // bytes of the largest value of a cell, up to 1 MiB
	Queue       int // messages that each slot's queue holds: a power of two up to 65536, or 0
	MessageSize int // bytes of the largest message, up to 64 KiB

	// Shared puts the domain into a sealed memfd that other processes can open.
	// Without it, the domain is private memory of this process.
	Shared bool
	// HugePages takes the memfd from the hugetlb pool, so that it costs the
	// isolated thread one TLB entry. It implies Shared.
	HugePages bool
	// Name is shown in /proc/PID/maps; it has no other meaning.
	Name string
}

// Domain is one region of memory in which posters meet the owners of slots.
// Its methods are safe for concurrent use, except Close.
type Domain struct {
	mem    region
	geo    geometry
	peer   int
	slots  []*slotRecord
	closed atomic.Bool

	patience time.Duration // with a lock that somebody else holds

	mu       sync.Mutex // serialises the release of dead peers, and attached
	attached int
}

// Create makes a new domain. It needs no privileges, except that HugePages
// needs free pages in the hugetlb pool.
func Create(o Options) (*Domain, error) {
	if o.Slots == 0 {
		o.Slots = 1
	}
	g, err := geometry{slots: o.Slots, cells: o.Cells, cellSize: o.CellSize, queue: o.Queue, message: o.MessageSize}.complete()
	if err != nil {
		return nil, fmt.Errorf("creating a domain: %w", err)
	}
	mem := privateRegion(g.size)
	if o.Shared || o.HugePages {
		if mem, err = createRegion(o.Name, g.size, o.HugePages); err != nil {
			return nil, fmt.Errorf("creating a domain: %w", err)
		}
	}
	g.format(mem.bytes)
	return newDomain(mem, g)
}

// format writes the header last: before it, the memory is not a domain.
func (g geometry) format(region []byte) {
	for slot := range g.slots {
		for key := range g.cells {
			*g.cell(region, slot, key).ctl = cellStart
		}
	}
	h := g.header()
	h.magic = 0
	*(*header)(unsafe.Pointer(unsafe.SliceData(region))) = h
	atomic.StoreUint64((*uint64)(unsafe.Pointer(unsafe.SliceData(region))), magic)
}

// Open joins a domain that another process created, given its file: inherited,
// received over a socket, or opened as /proc/PID/fd/N. The caller keeps f.
//
// It returns ErrNotSealed, ErrLayout or ErrVersion for memory that is not a
// domain of this version, and ErrTooManyPeers if 64 processes are in already.
// Nothing that a peer writes later makes a method read or write outside of the
// region; at worst it returns ErrCorrupt, or delivers what the peer forged.
func Open(f *os.File) (*Domain, error) {
	mem, err := openRegion(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("opening a domain: %w", err)
	}
	g, err := readGeometry(mem.bytes)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a domain: %w", err), mem.close())
	}
	return newDomain(mem, g)
}

func newDomain(mem region, g geometry) (*Domain, error) {
	d := &Domain{mem: mem, geo: g, patience: patience}
	for slot := range g.slots {
		d.slots = append(d.slots, g.record(mem.bytes, slot))
	}
	if mem.fd < 0 {
		return d, nil
	}
	if err := d.join(); err != nil {
		return nil, errors.Join(err, mem.close())
	}
	return d, nil
}

// join takes the first free place among the peers, and what is left of its
// predecessor: from now on nobody else may act under that number.
func (d *Domain) join() error {
	for peer := range maxPeers {
		ok, err := tryLock(d.mem.fd, peerByte+int64(peer))
		if err != nil {
			return fmt.Errorf("joining a domain: %w", err)
		}
		if ok {
			d.peer = peer
			d.releasePeer(peer)
			return nil
		}
	}
	return fmt.Errorf("joining a domain: %w: %d places are taken", ErrTooManyPeers, maxPeers)
}

// File returns the file of a shared domain, to be passed to another process,
// for example in exec.Cmd.ExtraFiles. The caller closes it. A private domain
// has none and returns an error.
func (d *Domain) File() (*os.File, error) {
	if d.mem.fd < 0 {
		return nil, fmt.Errorf("getting the file of a domain: it is private; create it with Shared")
	}
	// A new description, because a child that inherited ours would keep our
	// locks alive after our death.
	fd, err := reopen(d.mem.fd)
	if err != nil {
		return nil, fmt.Errorf("getting the file of a domain: %w", err)
	}
	return os.NewFile(uintptr(fd), "deferral domain"), nil
}

// Slots returns the number of slots.
func (d *Domain) Slots() int { return d.geo.slots }

// Close leaves the domain. No other method may be running or called later,
// and no slot attached: then it returns ErrBusy and does nothing.
func (d *Domain) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.attached > 0 {
		return fmt.Errorf("closing a domain: %w: %d slots are attached; detach them first", ErrBusy, d.attached)
	}
	if d.closed.Swap(true) {
		return nil
	}
	if err := d.mem.close(); err != nil {
		return fmt.Errorf("closing a domain: %w", err)
	}
	return nil
}

// record returns the record of a slot that the caller named.
func (d *Domain) record(slot int) (*slotRecord, error) {
	if uint(slot) >= uint(len(d.slots)) {
		return nil, fmt.Errorf("%w: slot %d of %d", ErrRange, slot, len(d.slots))
	}
	if d.closed.Load() {
		return nil, fmt.Errorf("domain: %w", ErrClosed)
	}
	return d.slots[slot], nil
}

// releaseSlot gives up a slot whose owner died. It reports whether the slot is
// without owner. Only the holder of the slot's lock writes its state.
func (d *Domain) releaseSlot(slot int) (bool, error) {
	if d.mem.fd < 0 {
		return false, nil
	}
	held, err := locked(d.mem.fd, int64(slot))
	if err != nil || held {
		return false, err
	}
	d.mu.Lock() // one description cannot exclude itself
	defer d.mu.Unlock()
	ok, err := tryLock(d.mem.fd, int64(slot))
	if err != nil || !ok {
		return false, err
	}
	d.slots[slot].takeOver(detached)
	return true, unlock(d.mem.fd, int64(slot))
}

// takeOver changes the state of a slot whose lock the caller holds.
func (r *slotRecord) takeOver(state uint64) {
	for {
		w := atomic.LoadUint64(&r.state)
		if atomic.CompareAndSwapUint64(&r.state, w, takeOver(w, atomic.LoadUint64(&r.done), state)) {
			return
		}
	}
}

// releasePeer undoes what a peer held when it died. The caller holds the
// peer's lock. A half-written value or message was never published, because
// publishing is the last step; a finished one may not have been announced.
func (d *Domain) releasePeer(peer int) {
	mine := uint64(peer) + 1
	for _, r := range d.slots {
		if atomic.LoadUint64(&r.post) == mine {
			atomic.OrUint64(&r.state, cellsBit|queueBit)
			atomic.StoreUint64(&r.post, 0)
		}
		if atomic.LoadUint64(&r.pin) == mine {
			atomic.AndUint64(&r.state, ^uint64(pinBit))
			atomic.StoreUint64(&r.pin, 0)
		}
	}
}

// releaseDead releases what the peer behind a lock word holds, if it is dead.
func (d *Domain) releaseDead(lock uint64) error {
	if lock > maxPeers {
		return fmt.Errorf("%w: lock held by peer %d of %d", ErrCorrupt, lock-1, maxPeers)
	}
	peer := int(lock) - 1
	if d.mem.fd < 0 || peer < 0 || peer == d.peer {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	ok, err := tryLock(d.mem.fd, peerByte+int64(peer))
	if err != nil || !ok {
		return err
	}
	d.releasePeer(peer)
	return unlock(d.mem.fd, peerByte+int64(peer))
}

// dup is used by Attach: every owner has a description of its own.
func (r region) dup() (int, error) {
	if r.fd < 0 {
		return -1, nil
	}
	return reopen(r.fd)
}

func closeFD(fd int) error {
	if fd < 0 {
		return nil
	}
	return unix.Close(fd)
}
