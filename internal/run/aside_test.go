// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// Where the watched threads may run anywhere, taskiso goes where they do not, if there is such a CPU, and stays there.
func TestAside(t *testing.T) {
	parse := func(text string) cpulist.Set {
		set, err := cpulist.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	events := make(map[int]uint64)
	var moves []string
	a := &aside{
		cpus: parse("0-2"), on: parse("1-2"), seen: make(map[int]uint64), active: make(map[int]time.Time),
		events: func(cpu int) uint64 { return events[cpu] },
		move:   func(cpus cpulist.Set) error { moves = append(moves, cpus.String()); return nil },
	}
	start := time.Now()
	for _, step := range []struct {
		at     time.Duration
		active []int
		want   string // where taskiso is then
		moves  int
	}{
		{0, nil, "1-2", 0},
		{50 * time.Millisecond, []int{0}, "1-2", 0},
		{70 * time.Millisecond, []int{1}, "1-2", 0},      // not looked at so soon
		{100 * time.Millisecond, []int{1}, "2", 1},       // they came
		{200 * time.Millisecond, []int{0, 1, 2}, "2", 1}, // they are everywhere
		{300 * time.Millisecond, []int{1, 2}, "0", 2},    // there they were a moment ago
		{400 * time.Millisecond, []int{1, 2}, "0", 2},
		{5 * time.Second, nil, "0", 2},
	} {
		for _, cpu := range step.active {
			events[cpu]++
		}
		if err := a.poll(start.Add(step.at)); err != nil {
			t.Fatal(err)
		}
		if a.on.String() != step.want || len(moves) != step.moves {
			t.Errorf("after %v, with %v active: on %v after %q, want %s after %d moves", step.at, step.active, a.on, moves, step.want, step.moves)
		}
	}
}
