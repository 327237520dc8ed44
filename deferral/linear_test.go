// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"cmp"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// Linearizability on real threads: every operation notes when it began and
// when it ended on one common clock; a checker then looks for an order of all
// operations that respects these times and the meaning of a cell or queue.

type span struct{ begin, end int64 }

type value struct {
	id   uint64
	fill [13]uint64 // all equal to id: torn values differ
}

func newValue(id uint64) (v value) {
	v.id = id
	for i := range v.fill {
		v.fill[i] = id
	}
	return v
}

func (v value) torn() bool { return v != newValue(v.id) }

// history is what posters did, by identity of the value.
type history struct {
	clock atomic.Int64
	spans []span
}

func (h *history) post(id uint64, f func() error) error {
	begin := h.clock.Add(1)
	err := f()
	h.spans[id] = span{begin, h.clock.Add(1)}
	return err
}

type read struct {
	span
	id uint64
}

// checkRegister looks for reads that no order explains: of a value whose
// publication began after the read, of one that another publication had
// replaced before the read began, or going back behind an earlier read.
func checkRegister(t *testing.T, spans []span, reads []read) {
	t.Helper()
	byEnd := slices.SortedFunc(slices.Values(spans), func(a, b span) int { return cmp.Compare(a.end, b.end) })
	next, newest := 0, int64(0)
	var last *read
	for i := range reads {
		r := &reads[i]
		v := spans[r.id]
		for ; next < len(byEnd) && byEnd[next].end < r.begin; next++ {
			newest = max(newest, byEnd[next].begin)
		}
		switch {
		case v.begin > r.end:
			t.Fatalf("read %+v of a value from the future %+v", *r, v)
		case newest > v.end:
			t.Fatalf("read %+v of %+v, replaced by a publication that began at %d", *r, v, newest)
		case last != nil && v.end < spans[last.id].begin:
			t.Fatalf("read %+v of %+v after the newer %+v", *r, v, spans[last.id])
		}
		last = r
	}
}

// checkQueue looks for lost, doubled and overtaking messages.
func checkQueue(t *testing.T, spans []span, got []uint64) {
	t.Helper()
	if len(got) != len(spans) {
		t.Fatalf("received %d of %d messages", len(got), len(spans))
	}
	seen := make([]bool, len(spans))
	earliest := int64(1) << 62 // end of any message received later
	for _, id := range slices.Backward(got) {
		if seen[id] {
			t.Fatalf("message %d received twice", id)
		}
		seen[id] = true
		if earliest < spans[id].begin {
			t.Fatalf("message %d, sent at %+v, overtook one whose sending ended at %d", id, spans[id], earliest)
		}
		earliest = min(earliest, spans[id].end)
	}
}

// operations is larger without the race detector and without -short.
func operations(t testing.TB) uint64 {
	switch {
	case raceEnabled, testing.Short():
		return 20_000
	}
	return 300_000
}

func posters(n int, f func(i int)) (finished func() bool) {
	var wg sync.WaitGroup
	var done atomic.Bool
	for i := range n {
		wg.Go(func() { f(i) })
	}
	go func() { wg.Wait(); done.Store(true) }()
	return done.Load
}

func TestCellIsLinearizable(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		o.CellSize = 112
		d := create(t, o)
		c, err := NewCell[value](d, 0)
		if err != nil {
			t.Fatal(err)
		}
		const publishers = 3
		each := operations(t) / publishers
		h := history{spans: make([]span, publishers*each)}
		s := attach(t, d, 0)
		defer s.Detach()
		finished := posters(publishers, func(i int) {
			for id := uint64(i) * each; id < uint64(i+1)*each; id++ {
				if err := h.post(id, func() error { _, err := c.Publish(0, newValue(id)); return err }); err != nil {
					t.Error(err)
				}
				if id%64 == 0 {
					runtime.Gosched()
				}
			}
		})
		var reads []read
		s.Enter()
		for end := false; !end; {
			end = finished()
			r := read{span: span{begin: h.clock.Add(1)}}
			s.CatchUp()
			v, ok := c.Load(s)
			r.end = h.clock.Add(1)
			if !ok {
				continue
			}
			if v.torn() {
				t.Fatalf("torn value %v", v)
			}
			r.id = v.id
			reads = append(reads, r)
		}
		s.Exit()
		t.Logf("%d publications, %d reads", len(h.spans), len(reads))
		checkRegister(t, h.spans, reads)
	})
}

func TestQueueIsLinearizable(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		o.MessageSize, o.Queue = 112, 16
		d := create(t, o)
		q, err := NewQueue[value](d)
		if err != nil {
			t.Fatal(err)
		}
		const senders = 3
		each := operations(t) / senders
		h := history{spans: make([]span, senders*each)}
		s := attach(t, d, 0)
		defer s.Detach()
		finished := posters(senders, func(i int) {
			for id := uint64(i) * each; id < uint64(i+1)*each; {
				err := h.post(id, func() error { _, err := q.Send(0, newValue(id)); return err })
				switch {
				case err == nil:
					id++
				case errors.Is(err, ErrFull):
					runtime.Gosched()
				default:
					t.Error(err)
					return
				}
			}
		})
		var got []uint64
		q.Handle(s, func(v value) {
			if v.torn() {
				t.Errorf("torn message %v", v)
			}
			got = append(got, v.id)
		})
		s.Enter()
		for !finished() {
			if s.Poll() {
				s.CatchUp()
			} else {
				runtime.Gosched()
			}
		}
		s.CatchUp()
		s.Exit()
		checkQueue(t, h.spans, got)
	})
}

// The checkers themselves must be able to fail.
func TestLinearizabilityCheckersFail(t *testing.T) {
	spans := []span{{1, 2}, {3, 4}, {9, 10}}
	for name, f := range map[string]func(t *testing.T){
		"future":    func(t *testing.T) { checkRegister(t, spans, []read{{span{5, 6}, 2}}) },
		"stale":     func(t *testing.T) { checkRegister(t, spans, []read{{span{5, 6}, 0}}) },
		"backwards": func(t *testing.T) { checkRegister(t, spans[:2], []read{{span{3, 4}, 1}, {span{3, 5}, 0}}) },
		"lost":      func(t *testing.T) { checkQueue(t, spans, []uint64{0, 1}) },
		"doubled":   func(t *testing.T) { checkQueue(t, spans, []uint64{0, 1, 1}) },
		"overtaken": func(t *testing.T) { checkQueue(t, spans, []uint64{1, 0, 2}) },
	} {
		done := make(chan bool)
		fake := &testing.T{}
		go func() { defer close(done); f(fake) }()
		<-done
		if !fake.Failed() {
			t.Errorf("%s: not noticed", name)
		}
	}
}

// Synchronize is a grace period: what was unpublished before it, nobody uses
// after it. The owner holds on to the object between catch-ups.
func TestSynchronizeIsAGracePeriod(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		s := attach(t, d, 0)
		defer s.Detach()
		type object struct{ freed atomic.Bool }
		var current atomic.Pointer[object]
		current.Store(&object{})
		rounds := operations(t) / 40
		finished := posters(2, func(int) {
			for range rounds {
				old := current.Swap(&object{})
				if err := d.Synchronize(t.Context()); err != nil {
					t.Error(err)
				}
				old.freed.Store(true)
			}
		})
		uses := 0
		for !finished() {
			s.Enter()
			for range 50 {
				held := current.Load()
				for range 20 {
					uses++
					if held.freed.Load() {
						t.Fatal("freed object in use")
					}
				}
				if s.Poll() {
					s.CatchUp()
				}
			}
			s.Exit()
			runtime.Gosched()
		}
		t.Logf("%d grace periods, %d uses", 2*rounds, uses)
	})
}
