// SPDX-License-Identifier: Apache-2.0

// Package noise looks for gaps: a loop reads the CPU's time-stamp counter, and
// where two readings are too far apart, something other than the loop ran.
package noise

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Loop looks for gaps on the thread that runs it.
type Loop struct {
	threshold time.Duration
	scale     float64 // nanoseconds of one count
	stop      uint32
}

// NewLoop returns a loop that notes gaps of threshold or more. It takes some
// 20 ms to compare the counter with the clock.
func NewLoop(threshold time.Duration) *Loop {
	return &Loop{threshold: threshold, scale: calibrate()}
}

// Stop ends Run. It may be called from any goroutine.
func (l *Loop) Stop() { atomic.StoreUint32(&l.stop, 1) }

// Threshold is the shortest gap that is noted.
func (l *Loop) Threshold() time.Duration { return l.threshold }

// Gaps is what a Loop has seen.
type Gaps struct {
	Ran   time.Duration `json:"ran_ns"`
	Count uint64        `json:"count"`
	Total time.Duration `json:"total_ns"`
	Max   time.Duration `json:"max_ns"`
	// Histogram counts gaps by the position of their highest bit in
	// nanoseconds: Histogram[i] are those from 2^i to below 2^(i+1).
	Histogram [64]uint64 `json:"histogram_log2_ns"`
}

// calibration is how long the counter is compared with the clock beforehand.
const calibration = 20 * time.Millisecond

// Run spins until Stop is called. Its caller has locked the goroutine to a thread
// and the thread to a CPU. It makes no system call, allocates nothing and does
// not yield to Go's scheduler.
func (l *Loop) Run() Gaps {
	threshold := uint64(float64(l.threshold) / l.scale)

	var g Gaps
	begin, last := counter(), uint64(0)
	for {
		from, to := spin(threshold, &l.stop)
		last = to
		if to-from < threshold {
			break
		}
		gap := time.Duration(float64(to-from) * l.scale)
		g.Count++
		g.Total += gap
		g.Max = max(g.Max, gap)
		g.Histogram[bits.Len64(uint64(gap))-1]++
	}
	g.Ran = time.Duration(float64(last-begin) * l.scale)
	return g
}

// calibrate returns the nanoseconds of one count.
func calibrate() float64 {
	begin, c0 := reading()
	for time.Since(begin) < calibration {
	}
	end, c1 := reading()
	return float64(end.Sub(begin)) / float64(c1-c0)
}

// readings is how often the clock is read to get one reading in which nothing
// came between it and the counter.
const readings = 16

// reading returns the time and the counter at that time.
func reading() (at time.Time, count uint64) {
	best := ^uint64(0)
	for range readings {
		before := counter()
		t := time.Now()
		if between := counter() - before; between < best {
			best, at, count = between, t, before+between/2
		}
	}
	return at, count
}
