// SPDX-License-Identifier: Apache-2.0

// Package event has the events that the tracer records: what happened on a watched CPU, and what others did to it. They
// are data. What is made of them, stays and causes, needs no tracer, so it can be made of saved events on another machine.
package event

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Event is one thing that happened on a watched CPU, or one sender's doing to it. A full ring is a hundred thousand of
// them at once: the small fields are together to need no padding.
type Event struct {
	Time    time.Duration // CLOCK_MONOTONIC
	Kind    Kind
	Watched bool // whether TID is a watched thread
	// What kept TID, if watched, from going on when it was switched away, by the scheduler's own record: a
	// quota or budget that it had used up, its cgroup. Only of Switch.
	Throttled, Frozen bool
	TID               uint32 // thread that was current
	CPU               int
	UserIP            uint64  // where it left user mode; 0 for kernel threads
	A, B, C           uint64  // see Kind
	Task              *Task   // of Switch and Exec
	Sender            *Sender // of kinds that name the sender
}

// signalKernel is the si_code of signals that the kernel sends, BPF programs included:
// SI_KERNEL of include/uapi/asm-generic/siginfo.h.
const signalKernel = 0x80

// FromKernel reports whether a Signal can be one that the kernel sent. Of one that has
// ended the process neither code nor sender is known.
func (e *Event) FromKernel() bool { return e.B == signalKernel || e.B == 0 && e.C == 0 }

// B of a PageFault that shows when it is resolved, and not before: without and with waiting for what is behind the page.
// FAULT_MINOR and FAULT_MAJOR of internal/trace/bpf/kinds.h.
const (
	FaultMinor = 1 << 62
	FaultMajor = 1 << 63
)

// IsResolved reports whether a PageFault shows when it was resolved.
func (e *Event) IsResolved() bool { return e.B == FaultMinor || e.B == FaultMajor }

// Reason returns what an IPIEnter or SendIPI is for, as the kernel calls it: as many letters as are recorded,
// none where no event shows it.
func (e *Event) Reason() string {
	text := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, e.B), e.C)
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text)
}

// Slot returns the slot of a Broken, and Signals whether it sends the signal that
// the thread asked for.
func (e *Event) Slot() uint32  { return uint32(e.A) }
func (e *Event) Signals() bool { return e.A>>32 == 0 }

// Task is a thread that begins to run.
type Task struct {
	TID, PID uint32
	Name     string
	Kernel   bool // it has no user mode
	Watched  bool
	Born     time.Duration // CLOCK_MONOTONIC: distinguishes threads with the same number
	Switches uint64        // how often it was switched away before, anywhere
}

// Sender is the task that sent an interrupt, or caused something in another way,
// recorded in its own context.
type Sender struct {
	// Conditional is true if a function decided, after this was recorded, whether
	// the target is called at all. Only of SendCalls.
	Conditional bool
	// Shown is true if a CSDEnter shows when the call arrives. Only of SendCall.
	Shown bool

	PID    uint32
	Name   string
	Cgroup uint64   // inode number of its cgroup v2 directory
	Stack  []uint64 // kernel addresses, innermost first
}

// Batch is what happened since the Batch before it.
type Batch struct {
	// Events in the order of their time, none later than Until. They are valid
	// until the next one is read.
	Events []Event
	Until  time.Duration // CLOCK_MONOTONIC
	// Lost counts, by CPU, events for which there was no room, each once. A CPU that is
	// in it lacks events between Until of the batch before and Until. 0 stands for events that were counted with
	// the batch before: they came while that batch was read, and which of the two batches lacks them is not known.
	Lost map[int]uint64
	// SendersMissed is true if a sender may have been missed in this batch or the one before. Then nothing is
	// known that depends on "nothing was sent since".
	SendersMissed bool
}
