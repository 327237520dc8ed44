// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/event"
)

// What is lost while a batch is read comes after the end of that batch, though it is counted with it: the
// next batch is the one that lacks events. A reader that is slow on purpose makes that certain.
func TestLossIsMarkedInEveryBatchItCanLieIn(t *testing.T) {
	needBPF(t)
	cpu := lastOnline(t)
	tracer, err := Open(Config{CPUs: mustParse(t, strconv.Itoa(cpu)), PossibleCPUs: possibleCPUs(t), RingBytes: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	tid, start, done := make(chan int), make(chan struct{}), make(chan struct{})
	go busySyscalls(cpu, tid, start, 1000, done)
	if err := tracer.Watch(<-tid); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	// The last ring is read after the end of the batch is taken: calls are lost before its losses are counted.
	last := &tracer.rings[len(tracer.rings)-1]
	last.reader = &slow{records: last.reader, once: func() { close(start); <-done }}
	first, err := tracer.Read()
	if err != nil {
		t.Fatal(err)
	}
	if first.Lost[cpu] == 0 {
		t.Fatal("nothing was lost")
	}
	if err := tracer.Stop(); err != nil {
		t.Fatal(err)
	}
	second, err := tracer.Read()
	if err != nil {
		t.Fatal(err)
	}
	lacks := time.Duration(0)
	for _, e := range second.Events {
		if e.Kind == event.SyscallEnter && e.A == unix.SYS_GETPPID {
			lacks++
		}
	}
	if _, marked := second.Lost[cpu]; !marked || lacks == 0 {
		t.Errorf("the batch with the calls (%d of 1000) says it lost %v", lacks, second.Lost)
	}
	// The ring was full until the second reading: more can have been lost until Stop, and
	// marks the third then. Nothing marks a fourth.
	third, err := tracer.Read()
	if err != nil || second.Lost[cpu] == 0 && len(third.Lost) > 0 {
		t.Errorf("the batch after that says it lost %v, error %v", third.Lost, err)
	}
	if fourth, err := tracer.Read(); err != nil || len(fourth.Lost) > 0 {
		t.Errorf("the last batch says it lost %v, error %v", fourth.Lost, err)
	}
}

// A sender that was missed is counted after the end of the batch: it may belong to that one or to the next.
func TestMissedSendersDoubtTwoBatches(t *testing.T) {
	var m misses
	for i, tc := range []struct {
		total uint64
		want  bool
	}{{0, false}, {3, true}, {3, true}, {3, false}, {4, true}, {5, true}, {5, true}, {5, false}} {
		if got, err := m.since(func() (uint64, error) { return tc.total, nil }); got != tc.want || err != nil {
			t.Errorf("batch %d, %d missed so far: %v, %v; want %v", i, tc.total, got, err, tc.want)
		}
	}
}

// All programs of senders that can be interrupted are there by that name.
func TestInterruptibleAreSenders(t *testing.T) {
	for _, name := range interruptible {
		if !slices.ContainsFunc(allSources(), func(s source) bool { return s.name == name && s.kind.IsSend() }) {
			t.Errorf("no sender %s", name)
		}
	}
}

// slow is a ring buffer while whose reading something else happens.
type slow struct {
	records
	once func()
}

func (r *slow) SetDeadline(t time.Time) {
	if r.once != nil {
		r.once()
		r.once = nil
	}
	r.records.SetDeadline(t)
}

func TestNoEventIsBeforeTheEndOfTheLastBatch(t *testing.T) {
	events := []event.Event{{Time: 5}, {Time: 7}, {Time: 9}}
	notBefore(events, 7)
	if events[0].Time != 7 || events[1].Time != 7 || events[2].Time != 9 {
		t.Errorf("got %v", events)
	}
}
