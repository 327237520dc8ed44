// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

const us = time.Microsecond

func TestJoin(t *testing.T) {
	gap := func(at, length time.Duration) Gap { return Gap{at * us, length * us} }
	stay := func(at, length time.Duration, id string) Stay {
		return Stay{At: at * us, Duration: length * us, ID: id}
	}
	for name, tc := range map[string]struct {
		gaps   []Gap
		stays  []Stay
		want   []string
		unseen uint64
	}{
		"one in another":            {[]Gap{gap(10, 5)}, []Stay{stay(11, 3, "a")}, []string{"10 a 1"}, 0},
		"the longest is the cause":  {[]Gap{gap(10, 50)}, []Stay{stay(11, 3, "a"), stay(20, 30, "b"), stay(52, 2, "c")}, []string{"10 b 3"}, 0},
		"nobody knows":              {[]Gap{gap(10, 5), gap(100, 5)}, []Stay{stay(101, 3, "a")}, []string{"10 - 0", "100 a 1"}, 0},
		"no gap":                    {[]Gap{gap(100, 5)}, []Stay{stay(50, 1, "a"), stay(101, 3, "b"), stay(200, 1, "c")}, []string{"100 b 1"}, 2},
		"clocks differ, early":      {[]Gap{gap(10, 2)}, []Stay{stay(8, 2, "a")}, []string{"10 a 1"}, 0},
		"clocks differ, late":       {[]Gap{gap(10, 2)}, []Stay{stay(12, 2, "a")}, []string{"10 a 1"}, 0},
		"too far, early":            {[]Gap{gap(10, 2)}, []Stay{stay(5, 2, "a")}, []string{"10 - 0"}, 1},
		"too far, late":             {[]Gap{gap(10, 2)}, []Stay{stay(14, 2, "a")}, []string{"10 - 0"}, 1},
		"near two, inside the next": {[]Gap{gap(10, 2), gap(13, 2)}, []Stay{stay(13, 1, "a")}, []string{"10 - 0", "13 a 1"}, 0},
		"near two, inside the last": {[]Gap{gap(10, 2), gap(13, 2)}, []Stay{stay(11, 1, "a")}, []string{"10 a 1", "13 - 0"}, 0},
		"each its own":              {[]Gap{gap(10, 2), gap(13, 2)}, []Stay{stay(10, 1, "a"), stay(13, 1, "b")}, []string{"10 a 1", "13 b 1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			j := NewJoiner(func(g ExplainedGap) {
				id := "-"
				if g.Stay != nil {
					id = g.Stay.ID
				}
				got = append(got, fmt.Sprintf("%d %s %d", g.At/us, id, g.Stays))
			})
			for _, g := range tc.gaps {
				j.Gap(g)
			}
			for _, s := range tc.stays {
				j.Stay(s)
			}
			j.Finish(time.Hour * 2)
			if !slices.Equal(got, tc.want) || j.Unseen != tc.unseen {
				t.Errorf("got %q, %d stays without a gap; want %q, %d", got, j.Unseen, tc.want, tc.unseen)
			}
		})
	}
}

// However gaps and stays come in, the result is the same, and no gap is kept back
// once a later stay is known.
func TestJoinComesToTheSameInAnyPortions(t *testing.T) {
	const n = 1000
	for _, ahead := range []int{0, 1, 7, n} { // by how many the gaps are
		seen := 0
		j := NewJoiner(func(g ExplainedGap) {
			if want := time.Duration(seen); g.At != want*100*us || (g.Stay != nil) != (seen%3 > 0) || g.Stays > 1 {
				t.Errorf("gaps %d ahead: gap %d is %+v", ahead, seen, g)
			}
			seen++
		})
		next := 0
		for i := range n {
			for ; next <= min(i+ahead, n-1); next++ {
				j.Gap(Gap{time.Duration(next) * 100 * us, 10 * us})
			}
			if i%3 > 0 {
				j.Stay(Stay{At: time.Duration(i)*100*us + us, Duration: 5 * us})
				if seen < i {
					t.Fatalf("gaps %d ahead: %d gaps passed on, with stay %d known", ahead, seen, i)
				}
			}
		}
		if j.Finish(time.Hour * 2); seen != n || j.Unseen != 0 {
			t.Errorf("gaps %d ahead: %d gaps, %d stays without", ahead, seen, j.Unseen)
		}
	}
}

func TestJoinIsBounded(t *testing.T) {
	seen := 0
	j := NewJoiner(func(ExplainedGap) { seen++ })
	for i := range 3 * maxPending {
		j.Gap(Gap{time.Duration(i) * us, 1})
	}
	if waiting := 3*maxPending - seen; waiting > maxPending || waiting < maxPending/2 {
		t.Errorf("%d gaps wait", waiting)
	}
	j.Finish(time.Hour * 2)
	for i := range 3 * maxPending {
		j.Stay(Stay{At: time.Hour + time.Duration(i)})
	}
	if len(j.stays) > maxPending {
		t.Errorf("%d stays wait", len(j.stays))
	}
	if j.Finish(time.Hour * 2); seen != 3*maxPending || j.Unseen != 3*maxPending {
		t.Errorf("%d gaps, %d stays without", seen, j.Unseen)
	}
}
