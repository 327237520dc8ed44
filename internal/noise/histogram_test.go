// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Counts lie where the library would have put them.
func TestHistogramIsThatOfTheLibrary(t *testing.T) {
	library := hdrhistogram.New(1, int64(longestCounted), significantDigits)
	if n := len(library.Export().Counts); n != counts {
		t.Fatalf("the library has %d counts, we have %d", n, counts)
	}
	r := new(Record)
	for d := time.Duration(1); d < longestCounted; d += d/700 + 1 {
		for _, d := range []time.Duration{d, d + 1} {
			r.note(Gap{Length: d})
			if err := library.RecordValue(int64(d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.note(Gap{Length: longestCounted})
	if err := library.RecordValue(int64(longestCounted)); err != nil {
		t.Fatal(err)
	}
	if !r.Histogram().Equals(library) {
		t.Error("the histograms differ")
	}
}
