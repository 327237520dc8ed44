// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/taskiso/taskiso/internal/automaton"
	"github.com/taskiso/taskiso/model/explore"
)

// The protocol of a slot's owner is also an automaton, testdata/slot.dot. It is
// checked against every order of steps in the explorer, and against what an
// owner does on a thread of its own.
func slotAutomaton(t *testing.T) *automaton.Automaton {
	t.Helper()
	text, err := os.ReadFile("testdata/slot.dot")
	if err != nil {
		t.Fatal(err)
	}
	a, err := automaton.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ownerEvent is what a step of the owner is to the automaton, "" for a step that
// changes nothing: one that looks, or that failed.
func ownerEvent(at, next step) string {
	switch {
	case at == enterPublish && next == handle:
		return "enter_take"
	case at == enterPublish && next == finished:
		return "enter"
	case at == catchTake:
		return "take"
	case at == handle:
		return "serve"
	case at == record:
		return "record"
	case (at == exitTry || at == detachTry) && next == finished:
		return "exit"
	}
	return ""
}

// monitored is the explorer's world with the automaton beside it.
type monitored struct {
	world
	state string
}

func TestExploreMonitor(t *testing.T) {
	a := slotAutomaton(t)
	x := explorer{bits: []uint64{kindBit(0)}, crash: true, pinner: true}
	inner := x.system()
	follow := func(w monitored, did explore.Action, to world) monitored {
		event := ""
		switch {
		case did.Who != "owner":
		case did.What == "attaches":
			return monitored{to, a.Initial()}
		case did.What == "reads and uses the data":
			event = "use"
		case did.What == stepNames[w.at]:
			event = ownerEvent(w.at, to.at)
		}
		state, allowed := a.Next(w.state, event)
		if !allowed {
			to.bad = fmt.Sprintf("event %s in state %s", event, w.state)
		}
		return monitored{to, state}
	}
	r := explore.Check(explore.System[monitored]{
		Start: monitored{inner.Start, a.Initial()},
		Next: func(w monitored, emit func(explore.Action, monitored)) {
			inner.Next(w.world, func(did explore.Action, to world) { emit(did, follow(w, did, to)) })
		},
		Bad:   func(w monitored) string { return inner.Bad(w.world) },
		Goal:  func(w monitored) bool { return inner.Goal(w.world) },
		Limit: inner.Limit,
	})
	t.Log(r)
	if r.Violation == "" && r.Complete {
		return
	}
	t.Errorf("violated: %v", r)
	for _, a := range r.Trace {
		t.Logf("%-8s %s", a.Who, a.What)
	}
}

func TestMonitorOnThreads(t *testing.T) {
	m := slotAutomaton(t).Monitor()
	d := create(t, Options{Shared: true})
	s := attach(t, d, 0)
	served := 0
	s.HandleKind(0, func() { served++ })
	events := map[string]int{}
	saw := func(event string) {
		if event == "" {
			return
		}
		events[event]++
		if err := m.Event(event); err != nil {
			t.Error(err)
		}
	}
	run := func(at step) { // Slot.run, watched
		for at != finished {
			next := record
			if at == handle {
				s.handle(s.own.work)
			} else {
				next = s.own.do(at, s.rec)
			}
			saw(ownerEvent(at, next))
			at = next
		}
	}
	finished := posters(2, func(int) {
		for range 20_000 {
			must(t)(d.Post(0, 0))
		}
	})
	for end := false; !end; {
		end = finished()
		run(enterRead)
		for range 10 {
			if s.Poll() {
				run(catchTake)
			}
			saw("use")
		}
		run(exitTry)
	}
	if v := m.Verdict(); v != automaton.Satisfied || served == 0 || events["exit"] == 0 {
		t.Errorf("%s, served %d times, %v", v, served, events)
	}
	if err := errors.Join(s.Err(), s.Detach()); err != nil {
		t.Error(err)
	}
}
