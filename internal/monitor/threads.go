// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/automaton"
	"github.com/taskiso/taskiso/internal/event"
)

// brokenSilently is derived: isolation was broken without a signal to the thread, because the break was another signal
// or exec, or because the thread asked for none.
const brokenSilently = "broken_silently"

// follower runs a monitor on threads: isolation is a thread's, wherever it is moved.
// What it finds belongs to the CPU on which the thread was isolated.
type follower struct {
	of       *Monitor
	runs     map[int]*run // by CPU
	threads  map[uint32]*thread
	followed bool // it has had one
}

// thread is one that was isolated, or is.
type thread struct {
	m       *automaton.Monitor
	of      *run
	slot    uint32 // of its status page
	asked   uint64 // the signal that it asked for at a break
	foreign bool   // others send it a signal of that number
}

func (f *follower) add(batch event.Batch, begin time.Duration, functions Functions) {
	if len(batch.Lost) > 0 { // the thread can be on any CPU
		f.lost(batch.Lost)
		return
	}
	for _, e := range batch.Events {
		if e.Time >= begin {
			f.event(e, functions)
		}
	}
}

func (f *follower) lost(by map[int]uint64) {
	for _, n := range by {
		for _, r := range f.runs {
			r.lostEvents += n
		}
	}
	clear(f.threads) // their states, and what they asked for, are not known
}

func (f *follower) event(e event.Event, functions Functions) {
	if e.Kind == event.Isolated {
		f.isolated(e)
	}
	t := f.threads[e.TID]
	if e.Kind == event.Broken {
		t = f.broken(e)
	}
	if t == nil {
		return // the thread is not isolated
	}
	t.of.take(t.m, t.name(e, f.of.nameOf(e, functions)), e.Time)
	switch {
	case e.Kind == event.Exit:
		delete(f.threads, e.TID)
	case e.Kind == event.Exec && e.B != uint64(e.Task.TID): // it takes over the number of the leader
		delete(f.threads, uint32(e.B))
	}
}

// isolated notes where a thread is isolated. A thread that was not known may be in any
// state, because the observation began in the middle.
func (f *follower) isolated(e event.Event) {
	t, r := f.threads[e.TID], f.runs[e.CPU]
	switch {
	case r == nil: // the CPU is not checked
		return
	case t == nil:
		t = &thread{m: f.of.a.Monitor()}
		t.m.Forget()
		f.threads[e.TID] = t
	}
	f.followed = true
	t.of, t.slot = r, uint32(e.A)
}

// broken returns the thread whose isolation was broken. The isolation of a thread that did not ask for it may end while
// another one runs instead.
func (f *follower) broken(e event.Event) *thread {
	if t := f.threads[e.TID]; t != nil && t.slot == e.Slot() {
		return t
	}
	for _, t := range f.threads {
		if t.slot == e.Slot() {
			return t
		}
	}
	return nil
}

// name returns what the automaton calls e, if it does. kind is its name for events of the kind.
func (t *thread) name(e event.Event, kind string) string {
	switch e.Kind {
	case event.Isolated:
		t.asked, t.foreign = e.B, false
	case event.Broken:
		t.foreign = !e.Signals() && taskiso.Cause(e.B) == taskiso.Signal && e.C == t.asked
		if !e.Signals() && !t.foreign {
			return brokenSilently
		}
	case event.Signal, event.Told:
		if e.A != t.asked || !t.foreign && !e.FromKernel() {
			return ""
		}
		t.foreign = false
	}
	return kind
}
