// SPDX-License-Identifier: Apache-2.0

// Package explore is an explicit-state model checker: it visits every state
// that a system can reach, in breadth-first order, so that the first violation
// it finds has a shortest trace.
//
// A system whose numbers grow without bound (versions, generations, rounds)
// can still have finitely many states, if the numbers are only created as a
// new maximum, copied and compared: Ranks replaces them by their ranks, which
// no step can tell apart. Exhausting such a system proves its properties for
// runs of any length.
package explore

import (
	"fmt"
	"slices"
	"time"
)

// System is what Check explores. S is a complete state, small and comparable.
type System[S comparable] struct {
	Start S
	// Next calls emit for every step possible in s. The states it emits are in
	// normal form: equal if nothing can tell them apart.
	Next func(s S, emit func(action Action, to S))
	// Bad names the property that s violates, or is empty.
	Bad func(s S) string
	// Goal, if set, must stay reachable from every state: a state from which
	// no run leads to Goal is a violation.
	Goal func(s S) bool
	// Limit is the number of states after which Check gives up.
	Limit int
}

// Action is one step: who does what.
type Action struct{ Who, What string }

// Result says what Check found.
type Result struct {
	States, Transitions int
	Elapsed             time.Duration
	Violation           string // empty: none
	Trace               []Action
	Complete            bool // every reachable state was visited
}

func (r Result) String() string {
	verdict := "proved"
	switch {
	case r.Violation != "":
		verdict = fmt.Sprintf("violated: %s, trace of %d steps", r.Violation, len(r.Trace))
	case !r.Complete:
		verdict = "unknown: limit reached"
	}
	return fmt.Sprintf("%d states, %d transitions, %v: %s", r.States, r.Transitions, r.Elapsed.Round(time.Millisecond), verdict)
}

type edge struct {
	from   int32
	action Action
}

type search[S comparable] struct {
	System[S]
	index  map[S]int32
	states []S
	cause  []edge    // how a state was first reached
	before [][]int32 // all predecessors, if Goal is set
	result Result
}

// Check visits all states.
func Check[S comparable](sys System[S]) Result {
	begin := time.Now()
	c := &search[S]{System: sys, index: map[S]int32{}}
	c.visit(sys.Start, edge{from: -1})
	c.run()
	c.result.States = len(c.states)
	c.result.Elapsed = time.Since(begin)
	return c.result
}

func (c *search[S]) run() {
	for i := int32(0); int(i) < len(c.states); i++ {
		if len(c.states) > c.Limit {
			return
		}
		steps := c.expand(i)
		if c.result.Violation != "" {
			return
		}
		if steps == 0 && (c.Goal == nil || !c.Goal(c.states[i])) {
			c.violate("deadlock", i)
			return
		}
	}
	c.result.Complete = true
	if c.Goal != nil {
		c.checkGoal()
	}
}

func (c *search[S]) expand(i int32) (steps int) {
	c.Next(c.states[i], func(a Action, to S) {
		steps++
		c.result.Transitions++
		if c.result.Violation != "" {
			return
		}
		j := c.visit(to, edge{from: i, action: a})
		if c.Goal != nil {
			c.before[j] = append(c.before[j], i)
		}
	})
	return steps
}

func (c *search[S]) visit(s S, e edge) int32 {
	if j, ok := c.index[s]; ok {
		return j
	}
	j := int32(len(c.states))
	c.index[s] = j
	c.states = append(c.states, s)
	c.cause = append(c.cause, e)
	if c.Goal != nil {
		c.before = append(c.before, nil)
	}
	if bad := c.Bad(s); bad != "" {
		c.violate(bad, j)
	}
	return j
}

func (c *search[S]) violate(what string, at int32) {
	c.result.Violation = what
	for i := at; c.cause[i].from >= 0; i = c.cause[i].from {
		c.result.Trace = append(c.result.Trace, c.cause[i].action)
	}
	slices.Reverse(c.result.Trace)
}

// checkGoal walks back from the goal states; what it does not reach is lost.
func (c *search[S]) checkGoal() {
	var queue []int32
	good := make([]bool, len(c.states))
	for i, s := range c.states {
		if c.Goal(s) {
			good[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for _, j := range c.before[i] {
			if !good[j] {
				good[j] = true
				queue = append(queue, j)
			}
		}
	}
	if lost := slices.Index(good, false); lost >= 0 {
		c.violate("goal out of reach", int32(lost))
	}
}

// Ranks replaces each number by its rank among the numbers given.
func Ranks(numbers ...*uint8) {
	var present [256]bool
	for _, n := range numbers {
		present[*n] = true
	}
	var rank [256]uint8
	next := uint8(0)
	for v, p := range present {
		rank[v] = next
		if p {
			next++
		}
	}
	for _, n := range numbers {
		*n = rank[*n]
	}
}
