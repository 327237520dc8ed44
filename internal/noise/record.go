// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// ringGaps is how many gaps wait for a reader. One that looks every 10 ms loses
// none up to three million a second.
const ringGaps = 1 << 15

// Gap is an interval in which the loop did not run.
type Gap struct {
	At     time.Duration // CLOCK_MONOTONIC
	Length time.Duration
}

// End is when the loop ran again.
func (g Gap) End() time.Duration { return g.At + g.Length }

// Record is what a loop has seen so far. It can lie in memory that two processes
// share: one runs the loop, the other reads. It has no pointers, and what is
// written by different sides is on different cache lines, so that the reader
// costs the loop nothing but a miss after each time it has written.
type Record struct {
	// Written by the reader.
	begin, stop uint32
	begunAt     int64 // CLOCK_MONOTONIC, 0 before Begin
	_           [48]byte
	tail        uint64
	_           [56]byte

	// Written by the loop.
	began   uint32
	done    uint32
	moved   uint32
	state   State
	head    uint64
	dropped uint64
	_       [64]byte

	counts [counts]uint64
	ring   [ringGaps]Gap
}

// State is the sums of a Record.
type State struct {
	Began     time.Duration // CLOCK_MONOTONIC
	Ran       time.Duration
	Count     uint64 // of gaps
	Total     time.Duration
	Max       time.Duration
	MaxAt     time.Duration // CLOCK_MONOTONIC
	Samples   uint64        // readings of the counter
	Beyond    uint64        // gaps too long for the histogram
	Backwards uint64        // times the counter went back
	Jumps     uint64        // times counter and clock no longer agreed
	LostClock bool          // the loop ended because reading the clock began to enter the kernel
	CPU       int64         // where the loop was in the end, -1 if that is not known
}

// Begin lets the loop note gaps from now on.
func (r *Record) Begin() {
	atomic.StoreInt64(&r.begunAt, int64(clock.Now()))
	atomic.StoreUint32(&r.begin, 1)
}

// Stop ends the loop.
func (r *Record) Stop() {
	atomic.StoreUint32(&r.stop, 1)
	atomic.StoreUint32(&r.begin, 1) // it may not have begun
}

// Began reports whether the loop notes gaps. Those before it had a turn on its CPU are
// not seen.
func (r *Record) Began() bool { return atomic.LoadUint32(&r.began) != 0 }

// Done reports whether the loop has ended, so that State is final.
func (r *Record) Done() bool { return atomic.LoadUint32(&r.done) != 0 }

// LostClock reports whether the loop has ended because reading the clock began to enter the kernel.
func (r *Record) LostClock() bool { return r.Done() && r.state.LostClock }

// Moved reports whether the loop was on another CPU after a gap. Only amd64's CPUs show
// where the loop is.
func (r *Record) Moved() bool { return atomic.LoadUint32(&r.moved) != 0 }

// State returns the sums. They are right only when Done.
func (r *Record) State() State { return r.state }

// Dropped returns how many gaps there was no room for in the ring. They are in the
// sums and in the histogram.
func (r *Record) Dropped() uint64 { return atomic.LoadUint64(&r.dropped) }

// Drain calls f with each gap noted since the last call, in order. There is one
// reader.
func (r *Record) Drain(f func(Gap)) {
	head := atomic.LoadUint64(&r.head)
	for ; r.tail != head; atomic.AddUint64(&r.tail, 1) {
		f(r.ring[r.tail%ringGaps])
	}
}

// note takes in a gap. It is called by the loop only.
//
//go:nosplit
func (r *Record) note(g Gap) {
	s := &r.state
	s.Count++
	s.Total += g.Length
	if g.Length > s.Max {
		s.Max, s.MaxAt = g.Length, g.At
	}
	if g.Length > longestCounted {
		s.Beyond++
	} else {
		atomic.AddUint64(&r.counts[histogramIndex(g.Length)], 1)
	}
	if r.head-atomic.LoadUint64(&r.tail) == ringGaps {
		atomic.AddUint64(&r.dropped, 1)
		return
	}
	r.ring[r.head%ringGaps] = g
	atomic.StoreUint64(&r.head, r.head+1)
}

// recordSize keeps records apart by whole pages.
const recordSize = (int(unsafe.Sizeof(Record{})) + 4095) &^ 4095

// Shared is the records of several loops in memory that processes can share.
type Shared struct {
	File    *os.File // give it to the other process
	Records []*Record
	memory  []byte
}

// NewShared returns n records.
func NewShared(n int) (*Shared, error) {
	fd, err := unix.MemfdCreate("taskiso:noise", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating memory for %d loops: %w", n, err)
	}
	file := os.NewFile(uintptr(fd), "taskiso:noise")
	if err := file.Truncate(int64(n * recordSize)); err != nil {
		file.Close()
		return nil, fmt.Errorf("creating memory for %d loops: %w", n, err)
	}
	return OpenShared(file)
}

// OpenShared returns the records in a file of another process. They are all in
// memory already: the loop shall not have page faults.
func OpenShared(file *os.File) (*Shared, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the size of the loops' memory: %w", err)
	}
	memory, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes of the loops' memory: %w", info.Size(), err)
	}
	s := &Shared{File: file, memory: memory}
	for at := 0; at+recordSize <= len(memory); at += recordSize {
		s.Records = append(s.Records, (*Record)(unsafe.Pointer(&memory[at])))
	}
	return s, nil
}

// Close gives the memory back. No record may be used afterwards.
func (s *Shared) Close() error {
	err := unix.Munmap(s.memory)
	s.File.Close()
	return err
}
