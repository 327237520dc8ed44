// SPDX-License-Identifier: Apache-2.0

// Package stay turns the events of package trace into stays: for each watched
// thread, the time from leaving user mode to returning to it, what entered the
// kernel, what was done inside, and which tasks elsewhere caused it.
//
// On CPUs with context tracking (nohz_full) the kernel itself reports both ends
// and a stay is exact. Elsewhere nothing reports the return to user mode: a stay
// is closed when the next one begins, and ends at its last event, so that its
// duration is a lower bound.
package stay
