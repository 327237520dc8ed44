// SPDX-License-Identifier: Apache-2.0

// Package automaton checks streams of events against deterministic automata,
// written as the .dot files of the kernel's runtime verification
// (Documentation/trace/rv/deterministic_automata.rst), so that one file serves
// here and there.
//
// A lost event never leads to a violation: the monitor reports its state
// as unknown until later events leave only one state possible. If nothing was lost, an
// event that no possible state allows is a violation.
package automaton

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrSyntax: the text is not such a .dot file.
var ErrSyntax = errors.New("not an automaton")

// Automaton is a deterministic automaton. It is immutable.
type Automaton struct {
	states  []string
	events  map[string]int
	next    [][]int // by state and event: the next state, or none
	initial int
	final   []bool
}

const none = -1

// MaxStates is the largest number of states of an automaton.
const MaxStates = 1024

// States returns the names of the states, in the order of the file.
func (a *Automaton) States() []string { return slices.Clone(a.states) }

// Events returns the names of the events, sorted.
func (a *Automaton) Events() []string {
	names := make([]string, 0, len(a.events))
	for name := range a.events {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Initial returns the initial state.
func (a *Automaton) Initial() string { return a.states[a.initial] }

// Final reports whether the named state is marked final (doublecircle).
func (a *Automaton) Final(state string) bool {
	i := slices.Index(a.states, state)
	return i >= 0 && a.final[i]
}

// Next returns the state after an event, and whether the event is allowed. An
// event that the automaton does not have changes nothing.
func (a *Automaton) Next(state, event string) (string, bool) {
	i := slices.Index(a.states, state)
	e, ok := a.events[event]
	switch {
	case i < 0:
		return state, false
	case !ok:
		return state, true
	case a.next[i][e] == none:
		return state, false
	}
	return a.states[a.next[i][e]], true
}

// Verdict is the verdict of a monitor on all events that it was given.
type Verdict string

// Verdicts.
const (
	Satisfied Verdict = "satisfied" // every event was allowed, none was lost
	Violated  Verdict = "violated"  // at least one event was not allowed
	Unknown   Verdict = "unknown"   // none was seen to be forbidden, but some were lost
)

// Violation is an event that the automaton does not allow in its state, or in any
// that it can be in: then State is their names with "or" between them.
type Violation struct{ State, Event string }

func (v Violation) Error() string {
	return fmt.Sprintf("event %s in state %s", v.Event, v.State)
}

// Monitor follows one stream of events. It is for one goroutine.
type Monitor struct {
	a          *Automaton
	possible   []bool // states that the events so far leave possible
	after      []bool // room for those after the next event
	lost       uint64
	gap        bool // something was lost, and the state has not been known since
	violations uint64
}

// Monitor returns a monitor in the initial state.
func (a *Automaton) Monitor() *Monitor {
	m := &Monitor{a: a, possible: make([]bool, len(a.states)), after: make([]bool, len(a.states))}
	m.possible[a.initial] = true
	return m
}

// Event takes one event. Events that the automaton does not have are ignored.
// It returns a Violation, and stays where it is, if no state that it can be in
// allows the event; so each forbidden event is counted, not only the first. After a
// loss that takes a state that is known again.
func (m *Monitor) Event(name string) error {
	event, ok := m.a.events[name]
	if !ok {
		return nil
	}
	clear(m.after)
	moved := false
	for state, possible := range m.possible {
		if to := m.a.next[state][event]; possible && to != none {
			m.after[to], moved = true, true
		}
	}
	if moved {
		m.possible, m.after = m.after, m.possible
		_, known := m.State()
		m.gap = m.gap && !known
		return nil
	}
	if m.gap { // it may have been before the event
		m.Forget()
		return nil
	}
	m.violations++
	return Violation{State: m.states(), Event: name}
}

// states names the states that are possible.
func (m *Monitor) states() string {
	var names []string
	for state, possible := range m.possible {
		if possible {
			names = append(names, m.a.states[state])
		}
	}
	return strings.Join(names, " or ")
}

// Lost notes that n events, or an unknown number if 0, were lost: any state is
// possible now.
func (m *Monitor) Lost(n uint64) {
	m.lost += max(n, 1)
	m.gap = true
	m.Forget()
}

// Forget makes any state possible, though nothing was lost: the stream
// is joined in the middle.
func (m *Monitor) Forget() {
	for state := range m.possible {
		m.possible[state] = true
	}
}

// State returns the state, and whether it is known.
func (m *Monitor) State() (string, bool) {
	first := slices.Index(m.possible, true)
	if slices.Contains(m.possible[first+1:], true) {
		return "", false
	}
	return m.a.states[first], true
}

// Violations returns how many events were not allowed, and how many were lost.
func (m *Monitor) Violations() (violations, lost uint64) { return m.violations, m.lost }

// Verdict returns the verdict so far.
func (m *Monitor) Verdict() Verdict {
	switch {
	case m.violations > 0:
		return Violated
	case m.lost > 0:
		return Unknown
	}
	return Satisfied
}
