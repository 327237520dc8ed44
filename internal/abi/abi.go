// SPDX-License-Identifier: Apache-2.0

// Package abi is the interface between isolated tasks and taskiso, a contract: the
// numbers of prctl and the memory that a task maps. Package taskiso and
// include/taskiso/taskiso.h are its two callers; the supervisor and the BPF programs
// answer. A test compares it with the header.
package abi

// The options of prctl(2) that the task isolation series used. No kernel has
// given these numbers to anything else: include/uapi/linux/prctl.h goes from
// 47 to 50.
const (
	SetTaskIsolation = 48
	GetTaskIsolation = 49 // of the series' first versions only
)

// Flags in the second argument of SetTaskIsolation. The first two, and the signal,
// are those of the task isolation series; the others, which no version of it used,
// are ours.
const (
	Enable  = 1 << 0
	UserSig = 1 << 1  // first version: the signal is the caller's choice, even none
	Pages   = 1 << 16 // return a descriptor of the status pages
	Slot    = 1 << 17 // return the number of the caller's status page
	Stories = 1 << 18 // return a descriptor of the stories
	Window  = 1 << 19 // first let operations go on that wait for the caller
	Asks    = 1 << 20 // return a descriptor of the pages on which threads ask for snapshots

	SignalShift = 8
	SignalMask  = 0x7f
)

// PageSize is the size of a status page, and of a story, in their files: a thread
// maps only what concerns it. Version is the one of the status page.
const (
	PageSize = 4096
	Version  = 1
)

// Status is what a thread's status page begins with. What is after Seq is written
// while that is odd.
type Status struct {
	Version  uint32
	Isolated uint32 // 1, or 0
	Seq      uint32
	TID      uint32
	Entered  uint64 // how often isolation began
	Since    uint64 // ... last; CLOCK_MONOTONIC, ns
	Breaks   uint64 // how often it was broken
	Time     uint64 // of the last break; CLOCK_MONOTONIC, ns
	Detail   uint64
	Cause    uint32
	CPU      uint32 // on which it was isolated
}

// Story is what becomes known of a break after the thread was notified. It is valid
// while Seq is even.
type Story struct {
	Seq  uint32
	Pad  uint32
	Time uint64     // when it was recorded: not before Status.Time, and before that of the next break
	ID   [64]byte   // in the catalogue, ends with NUL
	Text [1024]byte // for people, ends with NUL
}

// Ask is what a thread's page of asks begins with. The thread writes to it, and the supervisor reads.
type Ask struct {
	Snapshot uint32 // a number of its own choice, but not 0, asks for a snapshot; 0 when that was seen
}
