// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"
	"time"
)

// Fault is one page fault that the kernel has resolved.
type Fault struct {
	Time     time.Duration // of CLOCK_MONOTONIC, when it was resolved
	Duration time.Duration // in the fault handler; 0 if not asked for or not known
	PID, TID int
	Thread   string  // name of the thread, as far as known
	Address  uint64  // that was accessed
	IP       uint64  // instruction that accessed it
	Major    bool    // something had to be read or waited for
	Kernel   bool    // in kernel mode, on behalf of the thread
	Marked   bool    // after the thread called [ExpectNone]
	Mapping  Mapping // that Address is in
	Code     Mapping // that IP is in
	// Stack is innermost first and begins with IP. It goes as far as frame pointers do.
	Stack []Frame
}

// Frame is an address on a stack: of the instruction that faulted, or of the one
// after a call.
type Frame struct {
	IP   uint64
	Code Mapping // that IP is in
}

// Severity returns "major" or "minor".
func (f *Fault) Severity() string {
	if f.Major {
		return "major"
	}
	return "minor"
}

func (f *Fault) String() string {
	return fmt.Sprintf("%s fault of thread %d at %#x by %#x in %v", f.Severity(), f.TID, f.Address, f.IP, f.Mapping)
}

// Counts are the numbers of faults, by what became of them.
//
// Once [Watcher.Read] has returned io.EOF, Minor + Major = Reported + Filtered +
// Suppressed + Lost. Before that, some are still on their way.
type Counts struct {
	Minor, Major uint64 // as the kernel counted them
	Reported     uint64 // returned by Read
	Filtered     uint64 // outside of Options.Ranges, or after the one that Options.Once wants
	Suppressed   uint64 // above Options.MaxPerSecond
	Lost         uint64 // for want of room in the buffer
}

// Total returns the number of all faults.
func (c Counts) Total() uint64 { return c.Minor + c.Major }
