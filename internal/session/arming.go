// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/trace"
)

// Arming isolates a thread that has not asked for it, again and again: whenever
// it ran undisturbed, and without entering the kernel itself, for as long as it
// takes to settle. Its methods are not safe for concurrent use.
type Arming struct {
	Isolation *trace.Isolation
	TID       int
	CPU       int
	Signal    syscall.Signal // 0: none
	Settle    time.Duration
	// Entries returns how often the thread itself has entered the kernel.
	Entries func() uint64

	entries uint64
	since   time.Duration // when that number last changed
}

// armedSlot is the status page of the only thread.
const armedSlot = 0

// Poll is to be called every few milliseconds, from another CPU.
func (a *Arming) Poll() error {
	if _, armed := a.Isolation.Occupant(a.CPU); armed {
		return nil
	}
	last, _ := a.Isolation.Disturbed(a.CPU)
	if n := a.Entries(); n != a.entries || a.since == 0 {
		a.entries, a.since = n, clock.Now()
	}
	if clock.Now()-max(a.since, last) < a.Settle {
		return nil
	}
	_, err := a.Isolation.Arm(a.CPU, uint32(a.TID), armedSlot, uint32(a.Signal))
	return err
}

// Event sends the signal of a break that came when the thread was just leaving its CPU.
func (a *Arming) Event(e event.Event) error {
	if e.Kind != event.Broken || e.Slot() != armedSlot || int(e.TID) == a.TID || a.Signal == 0 {
		return nil
	}
	// Not Tgkill: its process is not known here, and the number of the thread is enough.
	if _, _, errno := unix.Syscall(unix.SYS_TKILL, uintptr(a.TID), uintptr(a.Signal), 0); errno != 0 && errno != unix.ESRCH {
		return fmt.Errorf("sending signal %d to thread %d: %w", a.Signal, a.TID, errno)
	}
	return nil
}
