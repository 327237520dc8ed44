// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// Lengths counts breaks by how long they took, in ascending order of buckets, each a fifth to a quarter wider than it begins:
// four for each power of two, so that there are never more than 252.
type Lengths []LengthBucket

// LengthBucket counts breaks that took From or longer, and less than To.
type LengthBucket struct {
	From  time.Duration `json:"from_ns"`
	To    time.Duration `json:"to_ns"`
	Count uint64        `json:"count"`
}

// Add counts a break.
func (l *Lengths) Add(d time.Duration) { l.add(bucketOf(d), 1) }

// Merge adds what others counted.
func (l *Lengths) Merge(others Lengths) {
	for _, b := range others {
		l.add(b, b.Count)
	}
}

func (l *Lengths) add(b LengthBucket, n uint64) {
	i, there := slices.BinarySearchFunc(*l, b.From, func(have LengthBucket, from time.Duration) int { return cmp.Compare(have.From, from) })
	if !there {
		b.Count = 0
		*l = slices.Insert(*l, i, b)
	}
	(*l)[i].Count += n
}

// bucketOf returns the bucket of a length: each nanosecond by itself below 4 ns, then by the highest bit and the two behind it.
func bucketOf(d time.Duration) LengthBucket {
	v := uint64(max(0, d))
	if v < 4 {
		return LengthBucket{From: time.Duration(v), To: time.Duration(v + 1)}
	}
	width := uint64(1) << (bits.Len64(v) - 3)
	from := v &^ (width - 1)
	to := min(from+width, math.MaxInt64)
	return LengthBucket{From: time.Duration(from), To: time.Duration(to)}
}

// Percentile returns between which lengths the one is that q of all, 0 to 1, do not exceed (by the nearest rank); false if there is
// none.
func (l Lengths) Percentile(q float64) (from, to time.Duration, ok bool) {
	var all uint64
	for _, b := range l {
		all += b.Count
	}
	rank := uint64(math.Ceil(q * float64(all)))
	for _, b := range l {
		if b.Count >= rank && b.Count > 0 {
			return b.From, b.To, true
		}
		rank -= min(rank, b.Count)
	}
	return 0, 0, false
}
