// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"testing"
	"time"
)

func TestLoopRunsUntilStopped(t *testing.T) {
	loop := NewLoop(time.Microsecond)
	time.AfterFunc(100*time.Millisecond, loop.Stop)
	begin := time.Now()
	g := loop.Run()
	wall := time.Since(begin)
	// Other tasks may have had the CPU before the loop and after it.
	if g.Ran > wall+wall/50 || g.Ran < wall/2 {
		t.Errorf("ran %v of %v", g.Ran, wall)
	}
	var inHistogram uint64
	for _, n := range g.Histogram {
		inHistogram += n
	}
	if inHistogram != g.Count || g.Total > g.Ran || g.Max > g.Total {
		t.Errorf("inconsistent gaps %+v", g)
	}
}

func TestSpinFindsAGapOfItsThreshold(t *testing.T) {
	var stop uint32
	from, to := spin(1, &stop) // two readings are always apart
	if to <= from {
		t.Errorf("gap from %d to %d", from, to)
	}
	stop = 1
	if from, to := spin(^uint64(0), &stop); from > to {
		t.Errorf("stopped loop returned %d, %d", from, to)
	}
}
