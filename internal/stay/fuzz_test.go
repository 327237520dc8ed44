// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
)

// CPU 0 has no context tracking, CPU 1 has.
const fuzzTracked = 1

func lastKind() (last event.Kind) {
	for k := range event.Kinds() {
		last = k
	}
	return last
}

// eventsOf makes batches of any bytes: four for an event. Only what the tracer
// guarantees holds: times ascend, and events that carry a task or a sender have one.
func eventsOf(data []byte) []event.Batch {
	tasks := []event.Task{swapper, kworker, app, peer}
	var batches []event.Batch
	var batch event.Batch
	var now time.Duration
	for ; len(data) >= 4; data = data[4:] {
		now += time.Duration(data[1] >> 2)
		if data[0] == 0xff { // a batch ends, perhaps with losses
			batch.Until = now
			if data[2]&1 != 0 {
				batch.Lost = map[int]uint64{int(data[2] >> 1 & 1): uint64(data[3])}
			}
			batches = append(batches, batch)
			batch = event.Batch{}
			continue
		}
		kind := event.Kind(data[0])%lastKind() + 1
		task, next := tasks[data[1]&3], tasks[data[2]&3]
		e := at(int(now), kind, in(task), on(int(data[2]>>2&1)), ip(uint64(data[2]>>3&3)), argA(uint64(data[3]&1)), argB(uint64(data[3]>>1)), argC(uint64(data[3]>>1)))
		switch {
		case kind == event.Switch, kind == event.Exec:
			e.A, e.Task = uint64(next.TID), &next
		case kind.IsSend():
			e.Sender = &event.Sender{Name: "sender"}
		}
		batch.Events = append(batch.Events, e)
	}
	batch.Until = now
	return append(batches, batch)
}

// checker knows what must hold for the stays of any events.
type checker struct {
	t     *testing.T
	ended map[uint32]time.Duration // by thread: the end of its last stay
	exact int
}

func (c *checker) stay(s *Stay) {
	switch {
	case s.End < s.Start:
		c.t.Errorf("stay of %d ends before it begins: %s", s.TID, show(s))
	case s.Start < c.ended[s.TID]:
		c.t.Errorf("stay of %d begins before the last one ended at %d: %s", s.TID, c.ended[s.TID], show(s))
	case s.Quiet < -1:
		c.t.Errorf("quiet for %d: %s", s.Quiet, show(s))
	case s.Quiet >= 0 && s.Start-s.Quiet < c.ended[s.TID]:
		c.t.Errorf("quiet since %d, but the last stay ended at %d: %s", s.Start-s.Quiet, c.ended[s.TID], show(s))
	case s.Lossy && (s.Exact || s.Quiet != -1):
		c.t.Errorf("lossy and yet sure of itself: %s", show(s))
	case len(s.Inside) > maxParts:
		c.t.Errorf("%d parts", len(s.Inside))
	}
	for _, p := range s.Inside {
		if p.Duration < 0 {
			c.t.Errorf("part that lasted %d: %s", p.Duration, show(s))
		}
	}
	for from, arrived := range s.Senders() {
		if from.Time > arrived.Time {
			c.t.Errorf("sent at %d, arrived at %d: %s", from.Time, arrived.Time, show(s))
		}
	}
	c.ended[s.TID] = s.End
	if s.Exact {
		c.exact++
	}
}

func check(t *testing.T, batches []event.Batch) *checker {
	tracked, err := cpulist.New(fuzzTracked)
	if err != nil {
		t.Fatal(err)
	}
	c := &checker{t: t, ended: make(map[uint32]time.Duration)}
	b := NewBuilder(tracked, c.stay)
	for _, batch := range batches {
		b.Add(batch)
	}
	for _, open := range b.Finish() {
		if open.Since < c.ended[open.TID] {
			t.Errorf("%+v is in user mode since before its last stay ended at %d", open, c.ended[open.TID])
		}
	}
	return c
}

func FuzzBuilder(f *testing.F) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		data := make([]byte, 4*200)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, eventsOf(data)) })
}

// brackets counts what must come out as exact stays: for each thread, UserExit
// and UserEnter with nothing between that makes it forget or leave out the stay,
// and NMIs when it was known to be in user mode.
type brackets struct {
	inUser, open map[uint32]bool
	n            int
}

func (b *brackets) event(e event.Event) {
	tid := e.TID
	switch {
	case e.Kind == event.UserEnter:
		if b.open[tid] {
			b.n++
		}
		b.inUser[tid], b.open[tid] = true, false
	case e.Kind == event.UserExit:
		b.inUser[tid], b.open[tid] = false, true
	case e.Kind == event.Switch: // nothing switches back: what follows has lost that
		b.inUser[tid], b.open[tid] = false, false
	case e.Kind == event.Exec:
		b.inUser[e.Task.TID], b.open[e.Task.TID] = false, false
	case e.Kind == event.NMI && b.inUser[tid]:
		b.n++
	case e.Kind == event.NMI, e.Kind == event.Fork, e.Kind.IsSend():
	default: // in the kernel, by whatever way it came there
		b.inUser[tid] = false
	}
}

// On a CPU with context tracking each bracket is an exact stay, whatever
// happens inside and between, and nothing else is.
func TestBracketsAreExactStays(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := brackets{inUser: make(map[uint32]bool), open: make(map[uint32]bool)}
		var batch event.Batch
		for n := range 300 {
			e := anyTrackedEvent(r, 100*n)
			b.event(e)
			batch.Events = append(batch.Events, e)
		}
		if c := check(t, []event.Batch{batch}); c.exact != b.n {
			t.Errorf("seed %d: %d exact stays of %d brackets", seed, c.exact, b.n)
		}
		if b.n == 0 {
			t.Errorf("seed %d: no brackets", seed)
		}
	}
}

// anyTrackedEvent is about a bracket half the time.
func anyTrackedEvent(r *rand.Rand, now int) event.Event {
	task := []event.Task{app, app, app, peer, kworker}[r.IntN(5)]
	kinds := []event.Kind{event.UserExit, event.UserEnter, event.Kind(r.IntN(int(event.Switch))) + 1, event.NMI, event.Exec, event.SyscallEnter}
	kind := kinds[min(r.IntN(8), 2+r.IntN(4))]
	e := at(now, kind, in(task), on(fuzzTracked), argA(uint64(r.IntN(3))), argB(uint64(r.IntN(80))))
	switch kind {
	case event.Exec:
		e.TID, e.Watched, e.B, e.Task = app.TID, true, uint64(app.TID), &app
	case event.Switch:
		e.Task = &kworker
	}
	if !e.Watched && kind != event.Switch { // of no consequence for watched threads
		e.Kind = event.Work
	}
	return e
}
