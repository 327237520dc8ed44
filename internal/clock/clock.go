// SPDX-License-Identifier: Apache-2.0

// Package clock reads the clock that the times of all events are of. BPF programs
// read it with bpf_ktime_get_ns, perf where it is asked to, and Go's package time
// does not show it.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns CLOCK_MONOTONIC: the time since the machine was booted, without the
// time that it was suspended.
func Now() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail: every Linux has the clock, and ts is ours
	return time.Duration(ts.Nano())
}
