// SPDX-License-Identifier: Apache-2.0

//go:build !amd64 && !arm64

package noise

import (
	"sync/atomic"
	"time"
)

// epoch is what readings are counted from: Go reads CLOCK_MONOTONIC through the
// vDSO, x/sys/unix by a system call.
var epoch = time.Now()

// spin is the portable form: the counter is CLOCK_MONOTONIC through the vDSO.
func spin(threshold uint64, stop *uint32) (from, to uint64) {
	from = counter()
	for {
		to = counter()
		if to-from >= threshold {
			return from, to
		}
		if atomic.LoadUint32(stop) != 0 {
			return to, to
		}
		from = to
	}
}

func counter() uint64 {
	return uint64(time.Since(epoch))
}
