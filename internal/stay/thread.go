// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"time"

	"github.com/taskiso/taskiso/internal/event"
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
	inexact  bool // when its waiting ended was not seen
	unsure   bool // it was on a CPU that lost events then
	ended    bool // it only has to be switched away
	// quietSince is when user mode was last entered, and quietKnown whether
	// every entry since then was seen.
	quietSince time.Duration
	quietKnown bool

	// What the thread is in, where no context tracking shows it.
	syscall  bool
	irqs     int
	softirqs int
	fault    bool // the entry was a page fault, whose end no event shows

	away   bool // the CPU was given to another task
	asleep bool // ... by its own choice, in a system call
	// doubtful: since it went away, it can have run where that was not seen.
	doubtful bool

	born     time.Duration // 0: not known
	switches uint64        // the number that the next switch to it is to have, if it runs nowhere else before

	// seen is until when the open stay is accounted for, and onCPU what of that the
	// thread was in the kernel since it was last switched to.
	seen, onCPU time.Duration
	// ip is where it will go on in user mode, or 0 if that is not known.
	ip uint64

	broken event.Event // isolation ended with the stay that is about to begin
	signal uint64      // to be sent when isolation ends with a break
}

// isOwn reports whether e is the signal that the break in the open stay has sent.
func (t *thread) isOwn(e event.Event) bool {
	return e.Kind == event.Signal && t.stay != nil && t.stay.BreaksIsolation() && t.stay.Broken.Signals() && e.A == t.signal && e.FromKernel()
}

// breakIsolation notes that isolation ended with the open stay, or where the
// beginning of a stay does not show, with the next.
func (t *thread) breakIsolation(e event.Event) {
	if t.stay != nil {
		t.stay.Broken = e
	} else {
		t.broken = e
	}
}

// inKernel reports, without context tracking, whether an interrupt that left user
// registers at ip hit the thread in the kernel. The end of a page fault shows
// nowhere, but an interrupt that finds the registers of the fault in place is
// most likely inside it.
func (t *thread) inKernel(ip uint64) bool {
	return t.stay != nil && (t.inside() || t.fault && ip == t.stay.UserIP)
}

// waitsInFault reports whether e, a page fault that shows when it was resolved, is what the open stay began with: nothing else
// shows what it is, and user mode was left at the same place.
func (t *thread) waitsInFault(e event.Event) bool {
	return t.stay != nil && !t.stay.Named() && e.UserIP == t.stay.UserIP
}

// inside reports whether something has begun that has not ended.
func (t *thread) inside() bool { return t.syscall || t.irqs > 0 || t.softirqs > 0 || t.away }

// track keeps account of the entries and calls that the thread is in.
func (t *thread) track(e event.Event) {
	switch k := e.Kind; {
	case k == event.SyscallEnter:
		t.syscall = true
	case k == event.SyscallExit:
		t.syscall = false
	case k == event.IRQEnter, k.IsVectorEnter():
		t.irqs++
	case k == event.IRQExit, k.IsVector():
		t.irqs = max(0, t.irqs-1)
	case k == event.SoftirqEnter:
		t.softirqs++
	case k == event.SoftirqExit:
		t.softirqs = max(0, t.softirqs-1)
	}
}

// open begins a stay.
func (t *thread) open(e event.Event) {
	start := e.Time
	if e.Kind == event.NMI {
		// The duration is by another clock than the time.
		start = max(start-time.Duration(e.B), t.quietSince)
	}
	quiet := time.Duration(-1)
	if t.quietKnown {
		quiet = start - t.quietSince
	}
	t.last = Stay{CPU: e.CPU, TID: t.tid, Start: start, End: start, Entry: e, UserIP: e.UserIP, Quiet: quiet, Inside: t.last.Inside[:0], Spent: t.last.Spent[:0]}
	t.last.Broken, t.broken = t.broken, event.Event{}
	t.stay = &t.last
	t.partial, t.userExit, t.syscall, t.irqs, t.softirqs = false, false, false, 0, 0
	t.fault = e.Kind == event.PageFault
	t.seen, t.onCPU, t.ip, t.inexact, t.unsure = start, 0, e.UserIP, false, false
}

// account takes in that the thread, which runs, is still in its stay. sure: it was there all the time.
func (t *thread) account(now time.Duration, sure bool) {
	d := max(0, now-t.seen)
	t.seen += d
	if sure {
		t.onCPU += d
	} else {
		t.stay.Gap += d
	}
	t.stay.End = max(t.stay.End, now)
}

// maxSilence is how long, without context tracking, a stay can go on with nothing to show for it: what is done on
// the way back to user mode takes some microseconds from one event to the next.
const maxSilence = 100 * time.Microsecond

// cameBack reports, without context tracking, whether the thread has been in user mode before e, which is not an entry.
// The place where it left user mode then is not the last one that was recorded.
func (t *thread) cameBack(e event.Event) bool {
	switch {
	case t.stay == nil:
		return true
	case t.inside(), t.fault && e.UserIP == t.stay.UserIP:
		return false
	case t.ip != 0 && e.UserIP != 0 && e.UserIP != t.ip:
		return true
	}
	return e.Time-t.seen > maxSilence
}

// goesTo notes where user mode will go on, as far as e shows it. A signal's handler is elsewhere, and so is a system
// call that is made again: the results -ERESTARTSYS to -ERESTART_RESTARTBLOCK of include/linux/errno.h.
func (t *thread) goesTo(e event.Event) {
	result := int64(e.B)
	if e.Kind == event.Signal || e.Kind == event.SyscallExit && result <= -512 && result >= -516 {
		t.ip = 0
		return
	}
	t.ip = e.UserIP
}

// In these states a thread sleeps, and in those not because it wants to: TASK_INTERRUPTIBLE and
// TASK_UNINTERRUPTIBLE, __TASK_STOPPED, __TASK_TRACED and TASK_FROZEN in include/linux/sched.h.
const (
	taskInterruptible = 0x1

	taskSleeps  = taskInterruptible | 0x2
	taskStopped = 0x4 | 0x8 | 0x8000
)

// sleeps reports whether a thread that gives way with e goes to sleep by its own choice. To be frozen is none, nor to
// sleep in a page fault. Nobody sleeps in an interrupt: there the call that it came in was not seen. With lateFaults a page
// fault shows after it has slept, and before that by its state: no signal ends such a sleep.
func (t *thread) sleeps(e event.Event, lossy, lateFaults bool) bool {
	if e.B&taskSleeps == 0 || e.B&taskStopped != 0 || e.Frozen {
		return false
	}
	entry := t.stay.Entry.Kind
	inFault := entry == event.PageFault || lateFaults && !t.stay.Named() && e.B&taskInterruptible == 0
	t.inexact = t.inexact || lossy || !inFault && entry != event.SyscallEnter
	return lossy || !inFault
}

// openPartial notes that the thread is in the kernel since an unknown time.
func (t *thread) openPartial(e event.Event) {
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
	if len(s.Spent) > 0 && t.onCPU > 0 {
		s.spend(t.cpu, t.onCPU, 0)
	}
	s.End, s.Exact = end, exact && !t.inexact
	return s
}

// forget drops what a gap in the events made unknown.
func (t *thread) forget() {
	t.stay, t.partial, t.quietKnown = nil, false, false
	t.syscall, t.irqs, t.softirqs, t.fault = false, 0, 0, false
	t.away, t.asleep, t.doubtful, t.switches = false, false, false, 0
}
