// SPDX-License-Identifier: Apache-2.0

package explore

import (
	"strings"
	"testing"
)

func TestProtocolsAreSafeWithoutBounds(t *testing.T) {
	for _, p := range []Protocol{
		{Nesting: 2, Patchers: 1},
		{Nesting: 2, Patchers: 1, Handshake: true},
		{Nesting: 2, Patchers: 1, Generation: true},
		{Nesting: 2, Patchers: 1, Generation: true, Handshake: true},
		{Nesting: 1, Patchers: 2, Generation: true},
		{Nesting: 1, Patchers: 2, Handshake: true},
		{Nesting: 1, Patchers: 2, Generation: true, Handshake: true},
	} {
		t.Run(p.String(), func(t *testing.T) {
			r := Check(p.System())
			t.Log(r)
			if r.Violation != "" || !r.Complete {
				t.Errorf("%v: %v", p, r)
				for _, a := range r.Trace {
					t.Logf("%-10s %s", a.Who, a.What)
				}
			}
		})
	}
}

func TestDroppedConstraintsAreFound(t *testing.T) {
	const (
		stale = "stale text executed"
		late  = "interrupted in user mode"
		dead  = "goal out of reach"
	)
	aPrime := Protocol{Generation: true}
	a := Protocol{}
	b := Protocol{Handshake: true}
	both := Protocol{Generation: true, Handshake: true}
	for _, seed := range []struct {
		protocol Protocol
		bug      Bug
		want     string
	}{
		{aPrime, RecordThenSync, stale},
		{a, RecordThenSync, stale},
		{aPrime, NMIRecordThenSync, stale},
		{aPrime, NMINoCatchUp, stale},
		{a, NMINoCatchUp, stale},
		{aPrime, NMISetsUser, stale},
		{aPrime, NMINoPublish, stale},
		{aPrime, PublishLate, stale},
		{a, PublishLate, stale},
		{aPrime, PublishEarly, stale},
		{a, SyncedOutlives, stale},
		{b, SyncedOutlives, stale},
		{aPrime, MutableEntry, stale},
		{aPrime, GenBeforeText, stale},
		{aPrime, GenAfterState, stale},
		{aPrime, StateBeforeText, stale},
		{both, StateBeforeText, stale},
		{both, NMILooksKernel, late},
		{both, ExitIgnoresReq, late},
		{both, AckBeforeSync, stale},
		{both, NoWait, stale},
		{both, SkipNMIUser, stale},
	} {
		p := seed.protocol
		p.Nesting, p.Patchers, p.Bug = 2, 1, seed.bug
		t.Run(p.String(), func(t *testing.T) {
			r := Check(p.System())
			t.Log(r)
			if !strings.HasPrefix(r.Violation, seed.want) {
				t.Errorf("%v: %v; want %q", p, r, seed.want)
			}
		})
	}
}

func TestCheckFindsDeadlockAndLostGoal(t *testing.T) {
	count := func(stuck int) System[int] {
		return System[int]{
			Next: func(s int, emit func(Action, int)) {
				if s != stuck {
					emit(Action{"a", "counts"}, (s+1)%10)
				}
			},
			Bad:   func(int) string { return "" },
			Limit: 100,
		}
	}
	if r := Check(count(7)); r.Violation != "deadlock" || len(r.Trace) != 7 {
		t.Errorf("deadlock after 7 steps: got %v", r)
	}
	if r := Check(count(-1)); r.Violation != "" || !r.Complete || r.States != 10 {
		t.Errorf("ring of 10 states: got %v", r)
	}
	lost := count(-1)
	lost.Goal = func(s int) bool { return s == 11 }
	if r := Check(lost); r.Violation != "goal out of reach" {
		t.Errorf("unreachable goal: got %v", r)
	}
	small := count(-1)
	small.Limit = 5
	if r := Check(small); r.Complete {
		t.Errorf("limit of 5 states: got %v", r)
	}
}
