// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/trace"
)

// thread is what is known of one watched thread.
type thread struct {
	tid  uint32
	cpu  int   // where it was last seen
	stay *Stay // nil while it is in user mode, or not known to be elsewhere
	last Stay  // what stay points to: its memory serves all stays of the thread

	// partial: the open stay began before the observation, or events of it
	// were lost. It is not reported, and the stretch before it is not known.
	partial bool
	// userExit: the beginning of the open stay was reported by context tracking.
	userExit bool
	ended    bool // it only has to be switched away
	// quietSince is when user mode was last entered, and quietKnown whether
	// every entry since then was seen.
	quietSince time.Duration
	quietKnown bool

	// What the thread is in, where no context tracking tells.
	syscall  bool
	irqs     int
	softirqs int
	fault    bool // the entry was a page fault, whose end no event shows

	away bool // the CPU was given to another task

	broken trace.Event // isolation ended with the stay that is about to begin
	signal uint64      // to be sent when isolation ends with a break
}

// siKernel is the si_code of what the kernel, and so a BPF program, sends:
// SI_KERNEL of include/uapi/asm-generic/siginfo.h. Of SIGKILL only the number is known.
const siKernel = 0x80

// isOwn tells whether e is the signal that the break in the open stay has sent.
func (t *thread) isOwn(e trace.Event) bool {
	return e.Kind == trace.Signal && t.stay != nil && t.stay.BreaksIsolation() && e.A == t.signal &&
		(e.B == siKernel || e.A == uint64(syscall.SIGKILL))
}

// breakIsolation notes that isolation ended with the open stay, or where the
// beginning of a stay does not show, with the next.
func (t *thread) breakIsolation(e trace.Event) {
	if t.stay != nil {
		t.stay.Broken = e
	} else {
		t.broken = e
	}
}

// inKernel tells, without context tracking, whether an interrupt that left user
// registers at ip hit the thread in the kernel. The end of a page fault shows
// nowhere, but an interrupt that finds the registers of the fault in place is
// most likely inside it.
func (t *thread) inKernel(ip uint64) bool {
	return t.stay != nil && (t.inside() || t.fault && ip == t.stay.UserIP)
}

// inside tells whether something has begun that has not ended.
func (t *thread) inside() bool { return t.syscall || t.irqs > 0 || t.softirqs > 0 || t.away }

// track keeps account of what the thread is in.
func (t *thread) track(e trace.Event) {
	switch k := e.Kind; {
	case k == trace.SyscallEnter:
		t.syscall = true
	case k == trace.SyscallExit:
		t.syscall = false
	case k == trace.IRQEnter, k.IsVectorEnter():
		t.irqs++
	case k == trace.IRQExit, k.IsVector():
		t.irqs = max(0, t.irqs-1)
	case k == trace.SoftirqEnter:
		t.softirqs++
	case k == trace.SoftirqExit:
		t.softirqs = max(0, t.softirqs-1)
	}
}

// open begins a stay.
func (t *thread) open(e trace.Event) {
	start := e.Time
	if e.Kind == trace.NMI {
		// The duration is by another clock than the time.
		start = max(start-time.Duration(e.B), t.quietSince)
	}
	quiet := time.Duration(-1)
	if t.quietKnown {
		quiet = start - t.quietSince
	}
	t.last = Stay{CPU: e.CPU, TID: t.tid, Start: start, End: start, Entry: e, UserIP: e.UserIP, Quiet: quiet, Inside: t.last.Inside[:0]}
	t.last.Broken, t.broken = t.broken, trace.Event{}
	t.stay = &t.last
	t.partial, t.userExit, t.syscall, t.irqs, t.softirqs = false, false, false, 0, 0
	t.fault = e.Kind == trace.PageFault
}

// openPartial notes that the thread is in the kernel since an unknown time.
func (t *thread) openPartial(e trace.Event) {
	t.open(e)
	t.partial, t.quietKnown = true, false
}

// close ends the open stay and returns it if it was seen whole.
func (t *thread) close(end time.Duration, exact bool) *Stay {
	s, whole := t.stay, !t.partial
	t.stay, t.partial = nil, false
	t.syscall, t.irqs, t.softirqs, t.fault = false, 0, 0, false
	t.quietSince, t.quietKnown = end, true
	if s == nil || !whole {
		return nil
	}
	s.End, s.Exact = end, exact
	return s
}

// forget drops what a gap in the events made unknown.
func (t *thread) forget() {
	t.stay, t.partial, t.quietKnown = nil, false, false
	t.syscall, t.irqs, t.softirqs, t.fault, t.away = false, 0, 0, false, false
}
