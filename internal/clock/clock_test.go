// SPDX-License-Identifier: Apache-2.0

package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHere compares the clock with the timer of the kernel that goes by it.
func TestHere(t *testing.T) {
	before := Here()
	if before <= 0 {
		t.Fatalf("the clock shows %v", before)
	}
	at := unix.NsecToTimespec(int64(before + time.Millisecond))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) != nil {
	}
	if after := Here(); after < before+time.Millisecond {
		t.Errorf("the clock shows %v after a sleep until %v", after, before+time.Millisecond)
	}
}
