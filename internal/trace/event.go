// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/printable"
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

// Layout of struct event, struct task_event and struct send_event in bpf/core.h.
const (
	eventSize     = 48
	taskEventSize = eventSize + 40
	maxStack      = 32
	sendEventSize = eventSize + 32 + maxStack*8

	taskKernel      = 1
	taskWatched     = 2
	sendConditional = 4
	sendShown       = 8
	switchThrottled = 16
	switchFrozen    = 32
)

func decode(raw []byte) (Event, error) {
	if len(raw) < eventSize {
		return Event{}, fmt.Errorf("decoding event of %d bytes: shorter than its header", len(raw))
	}
	le := binary.LittleEndian
	e := Event{
		Time:    time.Duration(le.Uint64(raw)),
		Kind:    Kind(raw[8]),
		Watched: raw[9]&taskWatched != 0,
		CPU:     int(le.Uint16(raw[10:])),
		TID:     le.Uint32(raw[12:]),
		UserIP:  le.Uint64(raw[16:]),
		A:       le.Uint64(raw[24:]),
		B:       le.Uint64(raw[32:]),
		C:       le.Uint64(raw[40:]),
	}
	if want := e.Kind.size(); want == 0 || len(raw) != want {
		return Event{}, fmt.Errorf("decoding event of kind %d with %d bytes: want %d", e.Kind, len(raw), want)
	}
	if e.Kind == Switch {
		e.Throttled, e.Frozen = raw[9]&switchThrottled != 0, raw[9]&switchFrozen != 0
	}
	switch {
	case e.Kind == Switch || e.Kind == Exec:
		e.Task = decodeTask(uint32(e.A), raw[eventSize:])
	case e.Kind.IsSend():
		e.Sender = decodeSender(raw[eventSize:])
		e.Sender.Conditional = raw[9]&sendConditional != 0
		e.Sender.Shown = raw[9]&sendShown != 0
	}
	return e, nil
}

// size is the length of a record of kind k; 0 for an unknown kind.
func (k Kind) size() int {
	switch {
	case k == 0 || k >= kinds:
		return 0
	case k == Switch || k == Exec:
		return taskEventSize
	case k.IsSend():
		return sendEventSize
	default:
		return eventSize
	}
}

func decodeTask(tid uint32, raw []byte) *Task {
	flags := binary.LittleEndian.Uint32(raw[4:])
	return &Task{
		TID:     tid,
		PID:     binary.LittleEndian.Uint32(raw),
		Name:    name(raw[8:24]),
		Kernel:  flags&taskKernel != 0,
		Watched: flags&taskWatched != 0,

		Born:     time.Duration(binary.LittleEndian.Uint64(raw[24:])),
		Switches: binary.LittleEndian.Uint64(raw[32:]),
	}
}

func decodeSender(raw []byte) *Sender {
	le := binary.LittleEndian
	frames := min(int(le.Uint32(raw[4:])), maxStack)
	s := &Sender{
		PID:    le.Uint32(raw),
		Cgroup: le.Uint64(raw[8:]),
		Name:   name(raw[16:32]),
		Stack:  make([]uint64, frames),
	}
	for i := range s.Stack {
		s.Stack[i] = le.Uint64(raw[32+8*i:])
	}
	return s
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// name decodes the name of a task, which a task gives to itself.
func name(b []byte) string { return printable.Text(cString(b)) }
