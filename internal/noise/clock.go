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

// spinClock is spin with CLOCK_MONOTONIC as the counter.
//
//go:nosplit
func spinClock(from, threshold uint64, stop *uint32) (last, to, samples uint64) {
	for {
		to = readClock()
		samples++
		if to-from >= threshold {
			return from, to, samples
		}
		if atomic.LoadUint32(stop) != 0 {
			return to, to, samples
		}
		from = to
	}
}
