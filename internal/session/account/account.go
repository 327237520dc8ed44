// SPDX-License-Identifier: Apache-2.0

// Package account has what became of the calls by which threads asked to be isolated: data of reports, which are made
// without the supervisor that answers the calls.
package account

import "time"

// Others is the thread whose account sums up those of threads without their own.
const Others = 0

// Calls sums up the calls of one thread, or of several: see [Others].
type Calls struct {
	TID      uint32
	Attempts uint64
	Granted  uint64
	Invalid  uint64        // EINVAL: not on exactly one CPU for isolation
	NotQuiet uint64        // EAGAIN
	Cut      uint64        // interrupted by a signal while it waited
	Settling time.Duration // in all
	Longest  time.Duration // settling of one call
	// WaitedFor counts, by what disturbed the CPU last, the calls that waited
	// for it, or were refused because of it.
	WaitedFor map[string]uint64
}
