// SPDX-License-Identifier: Apache-2.0

package taskiso

import "fmt"

// Cause is the reason why isolation ended. The numbers are those of enum taskiso_cause in
// include/taskiso/taskiso.h: they keep their meaning, and others may come.
type Cause uint32

// Causes.
const (
	None       Cause = iota
	Syscall          // detail: its number
	PageFault        // one that was resolved; detail: the address
	Timer            // detail, of all interrupts of the CPU itself: the vector
	Reschedule       //
	Call             // a function called by another CPU
	IRQWork          //
	Vector           // another one
	IRQ              // a device; detail: number in /proc/interrupts
	NMI              //
	Task             // detail: thread that ran instead
	Signal           // of others, or of an exception; no other was sent. Detail: the signal
	Moved            // the affinity changed while the thread was entering, or asking; detail: the CPU
	Unnamed          // something that no event of this kernel names
	Unwatched        // taskiso has ended
)

var causeNames = [...]string{
	"none", "system call", "page fault", "timer interrupt", "rescheduling interrupt", "function-call interrupt",
	"irq_work", "interrupt vector", "device interrupt", "NMI", "another task", "signal", "moved", "unnamed", "unwatched",
}

// String returns a word for the cause.
func (c Cause) String() string {
	if int(c) < len(causeNames) {
		return causeNames[c]
	}
	return fmt.Sprintf("cause %d", uint32(c))
}
