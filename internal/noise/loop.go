// SPDX-License-Identifier: Apache-2.0

// Package noise looks for gaps: a loop reads the CPU's time-stamp counter, and
// where two readings are too far apart, something other than the loop ran.
package noise

import (
	"math/bits"
	"time"

	"golang.org/x/sys/unix"
)

// Loop looks for gaps on the thread that calls it. Everything is allocated
// before it runs: it makes no system call and does not yield to Go's scheduler
// between the calls of spin.
type Loop struct {
	Threshold time.Duration // shortest gap that is noted
	Stop      uint32        // set to another value than 0, atomically, to end Run
}

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

// Run spins until Stop is set. Its caller has locked the goroutine to a thread
// and the thread to a CPU.
func (l *Loop) Run() Gaps {
	scale := calibrate()
	threshold := uint64(float64(l.Threshold) / scale)

	var g Gaps
	begin, last := counter(), uint64(0)
	for {
		from, to := spin(threshold, &l.Stop)
		last = to
		if to-from < threshold {
			break
		}
		gap := time.Duration(float64(to-from) * scale)
		g.Count++
		g.Total += gap
		g.Max = max(g.Max, gap)
		g.Histogram[bits.Len64(uint64(gap))-1]++
	}
	g.Ran = time.Duration(float64(last-begin) * scale)
	return g
}

// calibrate returns the nanoseconds of one count.
func calibrate() float64 {
	t0, c0 := monotonic(), counter()
	for monotonic()-t0 < calibration {
	}
	t1, c1 := monotonic(), counter()
	return float64(t1-t0) / float64(c1-c0)
}

func monotonic() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
