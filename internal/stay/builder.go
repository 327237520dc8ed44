// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/trace"
)

// Builder builds stays. Its methods are not safe for concurrent use.
type Builder struct {
	// tracked are the CPUs whose kernel entries and exits are all reported by
	// context tracking.
	tracked cpulist.Set
	emit    func(*Stay)

	threads map[uint32]*thread
	running map[int]uint32 // watched thread on each CPU
	// preempted is the watched thread that was runnable when its CPU was given
	// to another task: what runs there now is inside its stay.
	preempted map[int]*thread
	senders   senders
	lossy     map[int]uint64 // CPUs that lost events in the batch at hand
}

// NewBuilder returns a builder that hands each finished stay to emit, which may
// use it until it returns.
func NewBuilder(tracked cpulist.Set, emit func(*Stay)) *Builder {
	return &Builder{
		tracked:   tracked,
		emit:      emit,
		threads:   make(map[uint32]*thread),
		running:   make(map[int]uint32),
		preempted: make(map[int]*thread),
		senders:   newSenders(),
	}
}

// Add takes in the next batch.
func (b *Builder) Add(batch trace.Batch) {
	b.lossy = batch.Lost
	for _, e := range batch.Events {
		b.event(e)
	}
	for cpu := range batch.Lost {
		b.lost(cpu)
	}
	b.senders.expire(batch.Until)
}

// Finish ends the observation: it closes the stays that are over as far as the
// events tell, and returns for each thread in user mode since when it is there.
func (b *Builder) Finish() []Stretch {
	var open []Stretch
	for _, cpu := range slices.Sorted(maps.Keys(b.running)) {
		tid := b.running[cpu]
		t := b.threads[tid]
		if t == nil {
			continue
		}
		if t.stay != nil && !b.tracked.Contains(cpu) && !t.inside() {
			b.close(t, t.stay.End, false)
		}
		if t.stay == nil && t.quietKnown {
			open = append(open, Stretch{CPU: cpu, TID: tid, Since: t.quietSince})
		}
	}
	return open
}

// Stretch is the time in user mode that a thread is in when the observation ends.
type Stretch struct {
	CPU   int
	TID   uint32
	Since time.Duration
}

// lost drops what can no longer be known of the threads on a CPU.
func (b *Builder) lost(cpu int) {
	for tid, t := range b.threads {
		switch {
		case t.cpu == cpu && t.ended:
			delete(b.threads, tid) // that it was switched away may be among what was lost
		case t.cpu == cpu, t.stay != nil && t.stay.CPU == cpu:
			t.forget()
		}
	}
	delete(b.running, cpu)
	delete(b.preempted, cpu)
	b.senders.forget(cpu)
}

func (b *Builder) event(e trace.Event) {
	if e.Kind.IsSend() {
		b.senders.sent(e)
		return
	}
	switch e.Kind {
	case trace.Switch:
		b.switched(e, b.senders.arrived(e))
	case trace.Exec:
		b.executed(e)
	case trace.Exit:
		b.ended(e)
	case trace.Broken:
		b.runs(e.TID, e.CPU).breakIsolation(e)
	case trace.Isolated:
		b.runs(e.TID, e.CPU).signal = e.B
	case trace.Left:
		// No part of a stay: it says what the thread wanted, not what happened.
	case trace.Fork:
		// The child shows itself when it is switched to.
	default:
		b.inside(e, b.arrived(e))
	}
}

// arrived returns those who sent what e shows the arrival of.
func (b *Builder) arrived(e trace.Event) []trace.Event {
	from := b.senders.arrived(e)
	if b.lossy[e.CPU] > 0 && e.Kind != trace.CSDEnter {
		return nil // what they sent may have arrived before, with an event that was lost
	}
	return from
}

// executed handles the start of a program. Another thread than the leader takes
// over the leader's number.
func (b *Builder) executed(e trace.Event) {
	if before := uint32(e.B); before != e.Task.TID {
		delete(b.threads, before)
	}
	t := b.runs(e.Task.TID, e.CPU)
	t.openPartial(e)
	t.syscall = true
}

func (b *Builder) thread(tid uint32) *thread {
	t := b.threads[tid]
	if t == nil {
		t = &thread{tid: tid}
		b.threads[tid] = t
	}
	return t
}

// ended forgets what a thread was in: its last stay never returns to user mode
// and so breaks nothing. The thread itself is forgotten when it is switched away.
func (b *Builder) ended(e trace.Event) {
	t := b.runs(e.TID, e.CPU)
	if t.stay != nil && t.stay.BreaksIsolation() { // the signal has killed it
		b.close(t, e.Time, false)
	}
	t.forget()
	t.ended = true
}

func (b *Builder) switched(e trace.Event, wakers []trace.Event) {
	if t := b.threads[e.TID]; t != nil && t.ended {
		delete(b.threads, e.TID)
	} else if t != nil {
		b.switchedOut(t, e, wakers)
	} else if t := b.preempted[e.CPU]; t != nil && t.stay != nil && e.Task.TID != t.tid && e.Task.TID != 0 {
		t.stay.add(e, wakers) // one more task before it has its turn again
	}
	delete(b.running, e.CPU)
	if e.Task.Watched {
		b.switchedIn(b.runs(e.Task.TID, e.CPU), e)
	}
}

// switchedOut handles that a thread gives its CPU away. Who woke the next task
// matters only to a thread that had to.
func (b *Builder) switchedOut(t *thread, e trace.Event, wakers []trace.Event) {
	if e.B != taskRunning {
		wakers = nil
	}
	switch {
	case t.stay == nil && b.tracked.Contains(e.CPU) && !t.quietKnown:
		t.openPartial(e)
	case t.stay == nil:
		t.open(e)
	}
	t.stay.add(e, wakers)
	t.stay.End = e.Time
	t.away = true
	delete(b.preempted, e.CPU)
	if e.B == taskRunning {
		b.preempted[e.CPU] = t
	}
}

// taskRunning is the state of a task that would go on if it could: TASK_RUNNING
// in include/linux/sched.h.
const taskRunning = 0

func (b *Builder) switchedIn(t *thread, e trace.Event) {
	// It may have been preempted on another CPU, where others go on.
	maps.DeleteFunc(b.preempted, func(_ int, p *thread) bool { return p == t })
	if t.stay == nil {
		t.openPartial(e)
	}
	if t.away {
		t.away = false
		t.stay.finishAway(e)
	}
	t.stay.End = e.Time
}

// finishAway gives the parts in which other tasks ran their durations.
func (s *Stay) finishAway(e trace.Event) {
	end := e.Time
	for i := len(s.Inside) - 1; i >= 0; i-- {
		p := &s.Inside[i]
		if p.Event.Kind == trace.Switch && p.Duration == 0 {
			p.Duration = end - p.Event.Time
			end = p.Event.Time
		}
	}
}

// inside handles an event of a CPU that is neither a switch nor a task's life.
func (b *Builder) inside(e trace.Event, senders []trace.Event) {
	switch t := b.threads[e.TID]; {
	case t != nil && (t.ended || t.isOwn(e)):
	case !e.Watched:
		b.insideOther(e, senders)
	case b.tracked.Contains(e.CPU):
		b.insideTracked(b.runs(e.TID, e.CPU), e, senders)
	default:
		b.insideUntracked(b.runs(e.TID, e.CPU), e, senders)
	}
}

// runs returns the thread that is shown to run on a CPU.
func (b *Builder) runs(tid uint32, cpu int) *thread {
	t := b.thread(tid)
	if b.running[t.cpu] == tid {
		delete(b.running, t.cpu) // a CPU that is not watched does not tell that it left
	}
	t.cpu = cpu
	b.running[cpu] = tid
	return t
}

// insideOther handles what happens while a task that is not watched runs: it
// belongs to the stay of the thread that had to give way to it.
func (b *Builder) insideOther(e trace.Event, senders []trace.Event) {
	t := b.preempted[e.CPU]
	if t == nil || t.stay == nil {
		return
	}
	t.stay.part(e, senders)
}

func (b *Builder) insideTracked(t *thread, e trace.Event, senders []trace.Event) {
	switch {
	case e.Kind == trace.UserEnter:
		b.close(t, e.Time, t.userExit)
		t.quietSince, t.quietKnown = e.Time, true // even if no stay was known to be open
		return
	case e.Kind == trace.UserExit:
		b.userExit(t, e)
		return
	case t.stay == nil && e.Kind == trace.NMI: // enters without context tracking
		b.nmi(t, e)
		return
	case t.stay == nil && t.quietKnown:
		t.open(e)
	case t.stay == nil:
		t.openPartial(e)
	}
	b.record(t, e, senders)
	t.stay.End = max(t.stay.End, e.Time)
}

func (b *Builder) userExit(t *thread, e trace.Event) {
	if t.stay != nil { // its end was not reported
		b.close(t, t.stay.End, false)
		t.quietKnown = false
	}
	t.open(e)
	t.userExit = true
}

// nmi handles an NMI in user mode, as far as that is known: it says nothing
// about where the thread is.
func (b *Builder) nmi(t *thread, e trace.Event) {
	known := t.quietKnown
	t.open(e)
	t.stay.add(e, nil)
	b.close(t, e.Time, known)
	t.quietKnown = t.quietKnown && known
}

func (b *Builder) insideUntracked(t *thread, e trace.Event, senders []trace.Event) {
	if b.fromUser(t, e) {
		if t.stay != nil {
			b.close(t, t.stay.End, false)
		}
		t.open(e)
	}
	t.track(e)
	b.record(t, e, senders)
	t.stay.End = max(t.stay.End, e.Time)
}

// fromUser tells, where no context tracking does, whether e begins a stay.
func (b *Builder) fromUser(t *thread, e trace.Event) bool {
	switch {
	case e.Kind == trace.SyscallEnter, e.Kind == trace.PageFault:
		return true // neither happens in the kernel
	case e.Kind == trace.NMI:
		return t.stay == nil || !t.inKernel(e.UserIP)
	case isEntry(e.Kind):
		return !t.inKernel(e.UserIP)
	default:
		return t.stay == nil
	}
}

// record adds e to the open stay, and names the stay if e is its entry.
func (b *Builder) record(t *thread, e trace.Event, senders []trace.Event) {
	if t.stay.isNamedBy(e) {
		t.stay.Entry = e
		if e.Kind == trace.SyscallExit {
			t.stay.Entry.Kind = trace.SyscallEnter
		}
	}
	t.stay.part(e, senders)
}

func (b *Builder) close(t *thread, end time.Duration, exact bool) {
	if t.stay == nil {
		return
	}
	s := t.close(end, exact)
	if s == nil {
		return
	}
	if b.lossy[s.CPU]+b.lossy[t.cpu] > 0 {
		s.Lossy, s.Exact, s.Quiet = true, false, -1
	}
	b.emit(s)
}
