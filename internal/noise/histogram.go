// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// The counts of a record lie as HdrHistogram lays them out, so that the loop can
// count into memory that another process reads, which the library cannot, and
// the library does the rest.
const (
	significantDigits = 3
	subBuckets        = 2048 // the power of two from which 1/subBuckets*2 is below 10^-significantDigits
	halfSubBuckets    = subBuckets / 2
	halfMagnitude     = 10

	// longestCounted is beyond what anybody measures; longer gaps are counted apart.
	longestCounted = time.Hour
	// buckets is how often subBuckets is to be doubled to be above longestCounted.
	buckets = 32
	counts  = (buckets + 1) * halfSubBuckets
)

// histogramIndex returns where gaps of length d are counted: subBuckets linear steps,
// and then half as many in each doubling.
//
//go:nosplit
func histogramIndex(d time.Duration) int {
	bucket := bits.Len64(uint64(d)|(subBuckets-1)) - (halfMagnitude + 1)
	step := int(uint64(d) >> bucket)
	return (bucket+1)<<halfMagnitude + step - halfSubBuckets
}

// Histogram returns the lengths of the gaps so far, but for those beyond its range.
func (r *Record) Histogram() *hdrhistogram.Histogram {
	s := hdrhistogram.Snapshot{
		LowestTrackableValue:  1,
		HighestTrackableValue: int64(longestCounted),
		SignificantFigures:    significantDigits,
		Counts:                make([]int64, counts),
	}
	for i := range r.counts {
		s.Counts[i] = int64(atomic.LoadUint64(&r.counts[i]))
	}
	return hdrhistogram.Import(&s)
}
