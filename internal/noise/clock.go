// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"sync/atomic"
	_ "unsafe" // for go:linkname
)

// nanotime is CLOCK_MONOTONIC, read through the vDSO. What package time has for it
// may be preempted by Go's scheduler; x/sys/unix makes a system call.
//
//go:linkname nanotime runtime.nanotime
func nanotime() int64

//go:nosplit
func readClock() uint64 { return uint64(nanotime()) }

// pace is how fast the clock is read. A clock that begins to enter the kernel, because
// that trusts its counter no longer, is read no more: each reading would be a gap, and
// an event for the tracer.
type pace struct {
	slow  uint64 // a reading takes less at the CPU's first speed, if it does not enter the kernel
	row   uint64 // slow readings in a row
	speed speed
}

// patience is how many readings in a row may be slow.
const patience = 1000

//go:nosplit
func (p *pace) lost() bool { return p.row > patience }

// take notes how long a reading took.
//
//go:nosplit
func (p *pace) take(took uint64) {
	if took < p.slow {
		p.row = 0
		return
	}
	p.row++
	if p.lost() && float64(took) < float64(p.slow)*p.speed.slowdown() {
		p.row = 0
	}
}

// spinClock is spin with CLOCK_MONOTONIC as the counter. It ends as well when the clock
// has become slow.
//
//go:nosplit
func spinClock(from, threshold uint64, stop *uint32, p *pace) (last, to, samples uint64) {
	for {
		to = readClock()
		samples++
		p.take(to - from)
		if to-from >= threshold {
			return from, to, samples
		}
		if atomic.LoadUint32(stop) != 0 || p.lost() {
			return to, to, samples
		}
		from = to
	}
}
