// SPDX-License-Identifier: Apache-2.0

// Package clock reads the clock that the times of all events are of. BPF programs
// read it with bpf_ktime_get_ns, perf where it is asked to, and Go's package time
// does not show it.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the kernel's own CLOCK_MONOTONIC: the time since the machine was booted, without the
// time that it was suspended. A process in a time namespace reads another one: [Here].
func Now() time.Duration { return Here() - Ahead() }

// Here returns CLOCK_MONOTONIC as this process reads it.
func Here() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail: every Linux has the clock, and ts is ours
	return time.Duration(ts.Nano())
}
