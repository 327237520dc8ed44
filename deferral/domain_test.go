// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var small = Options{Slots: 2, Cells: 2, CellSize: 48, Queue: 4, MessageSize: 24}

// kinds of memory in which every behaviour must be the same.
func eachMemory(t *testing.T, f func(t *testing.T, o Options)) {
	for name, shared := range map[string]bool{"private": false, "shared": true} {
		o := small
		o.Shared = shared
		t.Run(name, func(t *testing.T) { f(t, o) })
	}
}

func create(t testing.TB, o Options) *Domain {
	t.Helper()
	d, err := Create(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func attach(t testing.TB, d *Domain, slot int) *Slot {
	t.Helper()
	s, err := d.Attach(slot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB) func(Ticket, error) Ticket {
	return func(k Ticket, err error) Ticket {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

func TestPostIsSeenAtTheNextCatchUp(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		s := attach(t, d, 1)
		calls := 0
		if err := s.HandleKind(3, func() { calls++ }); err != nil {
			t.Fatal(err)
		}
		s.Enter()
		if s.Poll() {
			t.Error("poll without post is true")
		}
		first := must(t)(d.Post(1, 3))
		second := must(t)(d.Post(1, 3))
		if first.Deferred() || first.Done() || first.Seen() {
			t.Error("ticket of an online slot is done before the catch-up")
		}
		if !s.Poll() {
			t.Error("poll after post is false")
		}
		s.CatchUp()
		if calls != 1 {
			t.Errorf("two coalesced posts called the handler %d times", calls)
		}
		if !first.Seen() || !second.Done() || s.Poll() {
			t.Error("catch-up did not complete the tickets")
		}
		must(t)(d.Post(1, 3))
		s.Exit()
		if calls != 2 {
			t.Errorf("exit left with posted work: %d calls", calls)
		}
		away := must(t)(d.Post(1, 3))
		if !away.Deferred() || !away.Done() || away.Seen() {
			t.Error("ticket of an absent slot: want deferred and done, not seen")
		}
		s.Enter()
		if calls != 3 || !away.Seen() {
			t.Errorf("enter did not catch up: %d calls", calls)
		}
		if err := s.Detach(); err != nil {
			t.Error(err)
		}
	})
}

func TestWorkWaitsForTheNextOwner(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		k := must(t)(d.Post(0, 0))
		must(t)(d.Send(0, []byte("early")))
		s := attach(t, d, 0)
		got := ""
		s.HandleKind(0, func() { got += "kind " })
		s.HandleMessages(func(m []byte) { got += string(m) })
		s.Enter()
		if got != "kind early" || !k.Seen() {
			t.Errorf("posted before attach, got %q", got)
		}
		s.Detach()
		s = attach(t, d, 0)
		s.Enter()
		s.Detach()
	})
}

func TestCellKeepsTheLatestValue(t *testing.T) {
	type config struct{ Gain, Rate float64 }
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		c, err := NewCell[config](d, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := attach(t, d, 0)
		defer s.Detach()
		seen := 0
		c.Handle(s, func(config) { seen++ })
		s.Enter()
		if _, ok := c.Load(s); ok {
			t.Error("value before the first publish")
		}
		for i := range 3 {
			must(t)(c.Publish(0, config{Gain: float64(i), Rate: 1}))
		}
		if _, ok := c.Load(s); ok {
			t.Error("value changed before the catch-up")
		}
		s.CatchUp()
		if v, ok := c.Load(s); !ok || v != (config{2, 1}) || seen != 1 {
			t.Errorf("value %v %v, handled %d times", v, ok, seen)
		}
		if v := c.View(s); v == nil || *v != (config{2, 1}) {
			t.Errorf("view %v", v)
		}
		other, _ := NewCell[uint16](d, 1)
		if _, ok := other.Load(s); ok || other.View(s) != nil {
			t.Error("value of another size was accepted")
		}
	})
}

func TestQueueIsBoundedAndInOrder(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		q, err := NewQueue[uint64](d)
		if err != nil {
			t.Fatal(err)
		}
		s := attach(t, d, 0)
		defer s.Detach()
		var got []uint64
		q.Handle(s, func(v uint64) { got = append(got, v) })
		s.Enter()
		for lap := range uint64(3) {
			for i := range uint64(4) {
				must(t)(q.Send(0, 4*lap+i))
			}
			if _, err := q.Send(0, 99); !errors.Is(err, ErrFull) {
				t.Errorf("fifth message of four: %v", err)
			}
			s.CatchUp()
		}
		for i, v := range got {
			if v != uint64(i) {
				t.Fatalf("order %v", got)
			}
		}
		if len(got) != 12 {
			t.Errorf("got %d messages of 12", len(got))
		}
	})
}

func TestSynchronizeWaitsForOnlineSlotsOnly(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		s := attach(t, d, 0)
		defer s.Detach()
		ctx := context.Background()
		if err := d.Synchronize(ctx); err != nil {
			t.Fatal(err)
		}
		s.Enter()
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		if err := d.Synchronize(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("synchronised with a slot that does not catch up: %v", err)
		}
		var polls atomic.Int64
		done := make(chan error)
		go func() { done <- d.Synchronize(ctx) }()
		for err := error(nil); ; polls.Add(1) {
			if s.Poll() {
				s.CatchUp()
			}
			select {
			case err = <-done:
				if err != nil {
					t.Error(err)
				}
				s.Exit()
				return
			default:
			}
		}
	})
}

func TestRunPinnedKeepsTheOwnerOut(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		s := attach(t, d, 0)
		defer s.Detach()
		s.Enter()
		if err := d.RunPinned(0, func() { t.Error("ran") }); !errors.Is(err, ErrOnline) {
			t.Errorf("pinned an online slot: %v", err)
		}
		s.Exit()
		var entered atomic.Bool
		left := make(chan bool)
		err := d.RunPinned(0, func() {
			go func() {
				s.Enter()
				entered.Store(true)
				s.Exit()
				close(left)
			}()
			time.Sleep(10 * time.Millisecond)
			if entered.Load() {
				t.Error("the owner entered while the slot was pinned")
			}
		})
		<-left
		if err != nil || !entered.Load() {
			t.Errorf("err %v, entered %v", err, entered.Load())
		}
	})
}

// Calls out of order do nothing: an owner cannot slip past a pin, or go online
// unnoticed.
func TestCallsOutOfOrder(t *testing.T) {
	eachMemory(t, func(t *testing.T, o Options) {
		d := create(t, o)
		s := attach(t, d, 0)
		must(t)(d.Post(0, 0))
		s.CatchUp()
		s.Exit()
		if err := d.RunPinned(0, func() { s.CatchUp() }); err != nil {
			t.Errorf("the slot went online: %v", err)
		}
		s.Enter()
		s.Enter()
		s.Exit()
		s.Exit()
		if err := d.RunPinned(0, func() {}); err != nil {
			t.Error(err)
		}
		if err := s.Detach(); err != nil {
			t.Error(err)
		}
	})
}

func TestBadArguments(t *testing.T) {
	d := create(t, small)
	s := attach(t, d, 0)
	defer s.Detach()
	post := func(_ Ticket, err error) error { return err }
	_, twice := d.Attach(0)
	_, nowhere := d.Attach(2)
	_, badKey := NewCell[int](d, 2)
	_, pointers := NewCell[struct{ p *int }](d, 0)
	_, large := NewQueue[[25]byte](d)
	_, empty := NewCell[struct{}](d, 0)
	_, noFile := d.File()
	for name, c := range map[string]struct{ err, want error }{
		"slot taken twice":        {twice, ErrBusy},
		"attach, slot range":      {nowhere, ErrRange},
		"post, slot range":        {post(d.Post(-1, 0)), ErrRange},
		"post, kind range":        {post(d.Post(0, MaxKinds)), ErrRange},
		"publish, key range":      {post(d.Publish(0, 2, nil)), ErrRange},
		"publish, too large":      {post(d.Publish(0, 0, make([]byte, 49))), ErrTooLarge},
		"send, too large":         {post(d.Send(0, make([]byte, 25))), ErrTooLarge},
		"send, slot range":        {post(d.Send(7, nil)), ErrRange},
		"pinned, slot range":      {d.RunPinned(2, nil), ErrRange},
		"handle, kind range":      {s.HandleKind(MaxKinds, nil), ErrRange},
		"handle, key range":       {s.HandleCell(2, nil), ErrRange},
		"cell, key range":         {badKey, ErrRange},
		"queue, type too large":   {large, ErrTooLarge},
		"cell, type without size": {empty, ErrTooLarge},
		"close while attached":    {d.Close(), ErrBusy},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: got %v, want %v", name, c.err, c.want)
		}
	}
	if pointers == nil || noFile == nil {
		t.Errorf("type with pointers: %v; file of private memory: %v", pointers, noFile)
	}
	for _, o := range []Options{
		{Slots: -1}, {Slots: 4097}, {Cells: 17}, {Cells: 1, CellSize: 1<<20 + 1},
		{Queue: 3}, {Queue: 1 << 17}, {Queue: 2, MessageSize: 1<<16 + 1},
		{Slots: 4096, Cells: 16, CellSize: 1 << 20},
	} {
		if _, err := Create(o); !errors.Is(err, ErrLayout) {
			t.Errorf("creating %+v: %v", o, err)
		}
	}
	none := create(t, Options{})
	if _, err := none.Send(0, nil); !errors.Is(err, ErrRange) {
		t.Errorf("sending without a queue: %v", err)
	}
}

func TestClosedDomain(t *testing.T) {
	o := small
	o.Shared = true
	d := create(t, o)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Post(0, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("posting: %v", err)
	}
	if _, err := d.Attach(0); !errors.Is(err, ErrClosed) {
		t.Errorf("attaching: %v", err)
	}
	if err := d.Synchronize(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("synchronising: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// memfd returns a file with the given content, sealed or not.
func memfd(t testing.TB, content []byte, seals int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "test")
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt(content, 0); err != nil && len(content) > 0 {
		t.Fatal(err)
	}
	if seals != 0 {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestOpenRefusesForeignMemory(t *testing.T) {
	good := bytes.Clone(create(t, small).mem.bytes)
	with := func(at int, b byte) []byte {
		c := bytes.Clone(good)
		c[at] ^= b
		return c
	}
	for name, c := range map[string]struct {
		content []byte
		seals   int
		want    error
	}{
		"good":          {good, needSeals, nil},
		"not sealed":    {good, 0, ErrNotSealed},
		"half sealed":   {good, unix.F_SEAL_GROW, ErrNotSealed},
		"empty":         {nil, needSeals, ErrLayout},
		"short":         {good[:300], needSeals, ErrLayout},
		"truncated":     {good[:len(good)-1], needSeals, ErrLayout},
		"magic":         {with(0, 1), needSeals, ErrLayout},
		"older version": {with(8, 1), needSeals, ErrVersion},
		"slots":         {with(12, 4), needSeals, ErrLayout},
		"cells":         {with(16, 64), needSeals, ErrLayout},
		"cell size":     {with(20, 64), needSeals, ErrLayout},
		"queue":         {with(24, 1), needSeals, ErrLayout},
		"stride":        {with(32, 128), needSeals, ErrLayout},
		"size":          {with(40, 128), needSeals, ErrLayout},
	} {
		d, err := Open(memfd(t, c.content, c.seals))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if err == nil {
			d.Close()
		}
	}
	pipe, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := Open(pipe); !errors.Is(err, ErrNotSealed) {
		t.Errorf("opening a pipe: %v", err)
	}
}

func TestPlacesOfPeersAreBounded(t *testing.T) {
	o := small
	o.Shared = true
	d := create(t, o)
	f, err := d.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var last error
	for range maxPeers {
		var peer *Domain
		if peer, last = Open(f); last == nil {
			defer peer.Close()
		}
	}
	if !errors.Is(last, ErrTooManyPeers) {
		t.Errorf("peer %d: %v", maxPeers+1, last)
	}
}

// A poster that was stopped while the rounds wrapped must mark again.
func TestRoundIsCompletedOrMarkedAgain(t *testing.T) {
	const half = 1 << 31
	for _, c := range []struct {
		before, markRound, after uint64
		want                     step
		round                    uint64
	}{
		{5, 5, 5, finished, 5},
		{5, 6, 6, finished, 6},
		{1<<32 - 1, 1 << 32, 1 << 32, finished, 1 << 32},
		{7, 7 + half - 1, 7 + half - 1, finished, 7 + half - 1},
		{7, 7 + half, 7 + half, postBefore, 0},
		{7, 9, 7 + 1<<32, postBefore, 0},
	} {
		r := slotRecord{done: c.after}
		p := poster{before: c.before, mark: word(online, c.markRound)}
		if got := p.postAfter(&r); got != c.want || p.round != c.round {
			t.Errorf("%+v: step %d, round %d", c, got, p.round)
		}
	}
}

func TestPollAndCatchUpDoNotAllocate(t *testing.T) {
	d := create(t, small)
	c, _ := NewCell[uint64](d, 0)
	q, _ := NewQueue[uint64](d)
	s := attach(t, d, 0)
	defer s.Detach()
	sum := uint64(0)
	c.Handle(s, func(v uint64) { sum += v })
	q.Handle(s, func(v uint64) { sum += v })
	s.HandleKind(0, func() { sum++ })
	n := testing.AllocsPerRun(100, func() {
		s.Enter()
		d.Post(0, 0)
		c.Publish(0, 1)
		q.Send(0, 1)
		if s.Poll() {
			s.CatchUp()
		}
		s.Exit()
	})
	if n != 0 || sum != 303 {
		t.Errorf("%v allocations, sum %d", n, sum)
	}
}

func TestCheckRuntime(t *testing.T) {
	t.Setenv("GODEBUG", "gctrace=0,asyncpreemptoff=1")
	if err := CheckRuntime(); err != nil {
		t.Error(err)
	}
	t.Setenv("GODEBUG", "asyncpreemptoff=0")
	if err := CheckRuntime(); !errors.Is(err, ErrPreempt) {
		t.Errorf("got %v", err)
	}
}
