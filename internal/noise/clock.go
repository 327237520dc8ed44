// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// epoch is what readings are counted from: Go reads CLOCK_MONOTONIC through the
// vDSO, x/sys/unix by a system call.
var epoch = time.Now()

func readClock() uint64 { return uint64(time.Since(epoch)) }

// clockOffset returns what is to be added to readClock to have CLOCK_MONOTONIC:
// of several attempts the one that was disturbed least.
func clockOffset() time.Duration {
	var best, offset time.Duration
	for i := range readings {
		before := readClock()
		var ts unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail: the clock exists and ts is ours
		took := time.Duration(readClock() - before)
		if i == 0 || took < best {
			best, offset = took, time.Duration(ts.Nano())-time.Duration(before)-took/2
		}
	}
	return offset
}

// spinClock is spin with CLOCK_MONOTONIC as the counter.
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
