// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak mixes all operations on real threads and checks all the time that
// nothing is lost, torn, reordered or used after its grace period.
// DEFERRAL_SOAK is the number of operations; `make deferral-soak` does 10^8.
func TestSoak(t *testing.T) {
	total := uint64(1_000_000)
	if raceEnabled || testing.Short() {
		total = 100_000
	}
	if n, err := strconv.ParseUint(os.Getenv("DEFERRAL_SOAK"), 10, 64); err == nil {
		total = n
	}
	eachMemory(t, func(t *testing.T, o Options) {
		o.CellSize, o.MessageSize, o.Queue = 112, 112, 64
		s := newSoak(t, o, total/2) // half in each kind of memory
		start := time.Now()
		s.run()
		t.Logf("%d operations in %v, %d catch-ups, %d grace periods, queue full %d times, lock held for long %d times",
			s.done.Load(), time.Since(start).Round(time.Millisecond), s.catchUps, s.graces.Load(), s.full.Load(), s.busy.Load())
	})
}

const soakPosters = 3

type soak struct {
	t     *testing.T
	d     *Domain
	s     *Slot
	cell  Cell[value]
	queue Queue[value]
	each  uint64

	done, graces, full, busy atomic.Uint64
	posted                   [soakPosters]atomic.Uint64 // what kind i announces
	object                   atomic.Pointer[atomic.Bool]

	// the owner's
	catchUps uint64
	kinds    [soakPosters]uint64
	messages [soakPosters]uint64
	values   [soakPosters]uint64
}

func newSoak(t *testing.T, o Options, operations uint64) *soak {
	d := create(t, o)
	s := &soak{t: t, d: d, s: attach(t, d, 0), each: operations / soakPosters}
	s.cell, _ = NewCell[value](d, 0)
	s.queue, _ = NewQueue[value](d)
	s.object.Store(new(atomic.Bool))
	for i := range soakPosters {
		s.s.HandleKind(Kind(i), func() { s.kinds[i] = s.posted[i].Load() })
	}
	s.cell.Handle(s.s, func(v value) { s.check(v, &s.values, false) })
	s.queue.Handle(s.s, func(v value) { s.check(v, &s.messages, true) })
	return s
}

// check expects values of each poster in order; messages without gaps.
func (s *soak) check(v value, last *[soakPosters]uint64, every bool) {
	i, n := v.id%soakPosters, v.id/soakPosters
	if v.torn() || n <= last[i] || every && n != last[i]+1 {
		s.t.Errorf("poster %d: %d after %d, torn %v", i, n, last[i], v.torn())
	}
	last[i] = n
}

func (s *soak) run() {
	finished := posters(soakPosters, s.post)
	for end := false; !end; {
		end = finished()
		s.s.Enter()
		for range 200 {
			object := s.object.Load()
			if s.s.Poll() {
				if object.Load() {
					s.t.Error("object used after its grace period")
				}
				s.s.CatchUp()
				s.catchUps++
			}
		}
		s.s.Exit()
		if s.catchUps%64 == 0 {
			runtime.Gosched()
		}
	}
	for i := range soakPosters {
		if got, want := s.kinds[i], s.posted[i].Load(); got != want {
			s.t.Errorf("kind %d: handler saw %d of %d", i, got, want)
		}
	}
	if err := errors.Join(s.s.Err(), s.s.Detach()); err != nil {
		s.t.Error(err)
	}
}

func (s *soak) post(i int) {
	sent, published := uint64(0), uint64(0)
	for n := uint64(1); n <= s.each; n++ {
		switch n % 8 {
		case 0:
			published++
			s.untilDone(func() error {
				_, err := s.cell.Publish(0, newValue(published*soakPosters+uint64(i)))
				return err
			})
		case 4:
			sent++
			s.untilDone(func() error {
				_, err := s.queue.Send(0, newValue(sent*soakPosters+uint64(i)))
				return err
			})
		default:
			s.posted[i].Add(1)
			must(s.t)(s.d.Post(0, Kind(i)))
		}
		if n%4096 == 0 {
			old := s.object.Swap(new(atomic.Bool))
			if err := s.d.Synchronize(s.t.Context()); err != nil {
				s.t.Error(err)
			}
			old.Store(true)
			s.graces.Add(1)
		}
	}
	s.done.Add(s.each)
}

// untilDone tries again while the queue is full, and while who holds the lock
// gets no CPU from a machine that has other work.
func (s *soak) untilDone(f func() error) {
	for {
		switch err := f(); {
		case errors.Is(err, ErrFull):
			s.full.Add(1)
		case errors.Is(err, ErrBusy):
			s.busy.Add(1)
		default:
			if err != nil {
				s.t.Error(err)
			}
			return
		}
		runtime.Gosched()
	}
}
