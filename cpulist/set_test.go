// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestZeroValue(t *testing.T) {
	var zero Set
	made, err := New()
	if err != nil || made != zero || !made.Equal(zero) {
		t.Errorf("New() = %v, %v, want the zero value", made, err)
	}
	if zero.Len() != 0 || !zero.IsEmpty() || zero.Contains(0) || zero.String() != "" || len(zero.Words()) != 0 {
		t.Errorf("the zero value is not empty: %q", zero)
	}
	if _, ok := zero.First(); ok {
		t.Error("the empty set has a first CPU")
	}
	if _, ok := zero.Last(); ok {
		t.Error("the empty set has a last CPU")
	}
	if !zero.IsSubsetOf(zero) {
		t.Error("the empty set is not a subset of itself")
	}
}

func TestNewErrors(t *testing.T) {
	for _, cpu := range []int{-1, MaxCPU + 1} {
		if got, err := New(1, cpu); !errors.Is(err, ErrRange) || !got.IsEmpty() {
			t.Errorf("New(1, %d) = %v, %v, want %v", cpu, got, err, ErrRange)
		}
	}
}

func TestFromWords(t *testing.T) {
	got, err := FromWords([]uint64{1 << 63, 0, 0b101, 0})
	if err != nil || got.String() != "63,128,130" {
		t.Errorf("got %q, %v, want 63,128,130", got, err)
	}
	words := make([]uint64, MaxCPU/64+2)
	words[len(words)-1] = 1
	if got, err := FromWords(words); !errors.Is(err, ErrRange) || !got.IsEmpty() {
		t.Errorf("got %q, %v, want %v", got, err, ErrRange)
	}
}

func TestContainsOutside(t *testing.T) {
	set := mustParse(t, "0-8191")
	for _, cpu := range []int{-1, -8, -9, MaxCPU + 1, math.MaxInt} {
		if set.Contains(cpu) {
			t.Errorf("the full set contains %d", cpu)
		}
	}
}

// TestAlgebra holds the set operations against maps on random sets, dense and
// sparse, small and large.
func TestAlgebra(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		a, inA := randomSet(t, random)
		b, inB := randomSet(t, random)
		either := func(cpu int) bool { return inA[cpu] || inB[cpu] }
		both := func(cpu int) bool { return inA[cpu] && inB[cpu] }
		onlyA := func(cpu int) bool { return inA[cpu] && !inB[cpu] }
		checkMembers(t, "union", a.Union(b), either)
		checkMembers(t, "intersection", a.Intersect(b), both)
		checkMembers(t, "difference", a.Minus(b), onlyA)
		if got, want := a.IsSubsetOf(b), a.Minus(b).Len() == 0; got != want {
			t.Errorf("(%q).IsSubsetOf(%q) = %v", a, b, got)
		}
		if !a.Intersect(b).IsSubsetOf(b) || !b.IsSubsetOf(a.Union(b)) {
			t.Errorf("%q and %q are not between their intersection and union", a, b)
		}
		checkRoundTrip(t, a)
	}
}

func randomSet(t *testing.T, random *rand.Rand) (Set, map[int]bool) {
	t.Helper()
	limit := []int{1, 8, 64, 65, MaxCPU + 1}[random.IntN(5)]
	members := map[int]bool{}
	for range random.IntN(min(limit, 200) + 1) {
		first := random.IntN(limit)
		for cpu := first; cpu < min(first+1+random.IntN(20), limit); cpu++ {
			members[cpu] = true
		}
	}
	var cpus []int
	for cpu := range members {
		cpus = append(cpus, cpu)
	}
	set, err := New(cpus...)
	if err != nil {
		t.Fatal(err)
	}
	return set, members
}

func checkMembers(t *testing.T, what string, got Set, want func(cpu int) bool) {
	t.Helper()
	var members []int
	for cpu := range MaxCPU + 1 {
		if got.Contains(cpu) != want(cpu) {
			t.Fatalf("%s %q: Contains(%d) = %v", what, got, cpu, got.Contains(cpu))
		}
		if want(cpu) {
			members = append(members, cpu)
		}
	}
	if !slices.Equal(got.Slice(), members) || got.Len() != len(members) {
		t.Fatalf("%s: got %v (Len %d), want %v", what, got.Slice(), got.Len(), members)
	}
	first, ok := got.First()
	last, _ := got.Last()
	if ok != (len(members) > 0) || ok && (first != members[0] || last != members[len(members)-1]) {
		t.Fatalf("%s %v: first %d, last %d, %v", what, members, first, last, ok)
	}
}

func TestAllStops(t *testing.T) {
	for cpu := range mustParse(t, "3-9").All() {
		if cpu > 4 {
			t.Fatalf("reached %d after the loop ended", cpu)
		}
		if cpu == 4 {
			break
		}
	}
}

func TestAllocations(t *testing.T) {
	a, b := mustParse(t, "0-8190"), mustParse(t, "1-8191")
	var found bool
	var count int
	for name, tc := range map[string]struct {
		limit float64
		op    func()
	}{
		"Contains": {0, func() { found = a.Contains(4000) }},
		"Len":      {0, func() { count = a.Len() }},
		"All": {0, func() {
			for range a.All() {
			}
		}},
		"Union": {1, func() { a.Union(b) }},
		"Parse": {2, func() { _, _ = Parse("1,3,5-7,100-8000") }},
	} {
		if got := testing.AllocsPerRun(10, tc.op); got > tc.limit {
			t.Errorf("%s allocates %v times, limit %v", name, got, tc.limit)
		}
	}
	if !found || count != 8191 {
		t.Errorf("Contains %v, Len %d, want true and 8191", found, count)
	}
}
