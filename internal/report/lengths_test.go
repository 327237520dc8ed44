// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Buckets cover all lengths, once each, and are narrow.
func TestLengthBuckets(t *testing.T) {
	next, n := time.Duration(0), 0
	for next < math.MaxInt64 {
		b := bucketOf(next)
		if b.From != next || b.To <= b.From || bucketOf(b.To-1) != b {
			t.Fatalf("bucket %+v at %d", b, next)
		}
		if b.From >= 4 && float64(b.To-b.From) > float64(b.From)/4 {
			t.Fatalf("bucket %+v is wide", b)
		}
		next, n = b.To, n+1
	}
	if n > 252 {
		t.Errorf("%d buckets", n)
	}
	if b := bucketOf(-1); b.From != 0 {
		t.Errorf("less than nothing is in %+v", b)
	}
}

// A percentile lies between the ends that are given for it.
func TestPercentile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var all []time.Duration
		var first, second Lengths
		for i := range 1 + random.IntN(300) {
			d := time.Duration(random.Int64N(1 << (1 + random.IntN(40))))
			all = append(all, d)
			if i%2 == 0 {
				first.Add(d)
			} else {
				second.Add(d)
			}
		}
		first.Merge(second)
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
			want := all[int(math.Ceil(q*float64(len(all))))-1]
			if from, to, ok := first.Percentile(q); !ok || want < from || want >= to {
				t.Fatalf("%v of %v: %v to %v, want %v among them", q, all, from, to, want)
			}
		}
		if !slices.IsSortedFunc(first, func(a, b LengthBucket) int { return int(a.From - b.From) }) {
			t.Fatalf("not sorted: %+v", first)
		}
	}
	if _, _, ok := (Lengths{}).Percentile(0.5); ok {
		t.Error("the median of nothing is known")
	}
}
