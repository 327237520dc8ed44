// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Thread is the account of one thread's calls. Its methods are safe for
// concurrent use.
type Thread struct {
	TID uint32

	mu      sync.Mutex
	request uint64 // the flags of its last successful call
	calls   Calls
}

// Calls sums up the calls of one thread.
type Calls struct {
	TID      uint32
	Attempts uint64
	Granted  uint64
	Invalid  uint64        // EINVAL: not on exactly one CPU for isolation
	NotQuiet uint64        // EAGAIN
	Cut      uint64        // interrupted by a signal while it waited
	Settling time.Duration // in all
	Longest  time.Duration // settling of one call
	// WaitedFor counts, by what disturbed the CPU last, the calls that waited
	// for it, or were refused because of it.
	WaitedFor map[string]uint64
}

// thread returns the account of a thread, a new one if need be.
func (s *Supervisor) thread(tid uint32) *Thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.threads[tid]
	if t == nil {
		t = &Thread{TID: tid, calls: Calls{TID: tid, WaitedFor: make(map[string]uint64)}}
		s.threads[tid] = t
	}
	return t
}

// Calls returns the accounts of all threads that ever called, by thread.
func (s *Supervisor) Calls() []Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Calls
	for _, tid := range slices.Sorted(maps.Keys(s.threads)) {
		all = append(all, s.threads[tid].snapshot())
	}
	return all
}

func (t *Thread) snapshot() Calls {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.calls
	c.WaitedFor = maps.Clone(c.WaitedFor)
	return c
}

// attempt notes how a call to enter ended, and what it had waited for in vain.
func (t *Thread) attempt(settling time.Duration, errno unix.Errno, why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.calls
	c.Attempts++
	c.Settling += settling
	c.Longest = max(c.Longest, settling)
	switch errno {
	case 0:
		c.Granted++
	case unix.EINVAL:
		c.Invalid++
	case unix.EINTR:
		c.Cut++
	default:
		c.NotQuiet++
	}
	if why != "" {
		c.WaitedFor[why]++
	}
}

func (t *Thread) setFlags(flags uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.request = flags
}

func (t *Thread) flags() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.request
}
