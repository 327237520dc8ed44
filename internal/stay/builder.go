// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
)

// Builder builds stays. Its methods are not safe for concurrent use.
type Builder struct {
	// tracked are the CPUs whose kernel entries and exits are all reported by
	// context tracking.
	tracked cpulist.Set
	emit    func(*Stay)
	// Everywhere is true if the threads are followed to each CPU on which they run, and nothing
	// is recorded of a CPU while it runs another task.
	Everywhere bool
	// Unseen is true if a thread can leave the CPUs that are recorded without a Migrate.
	Unseen bool
	// LateFaults is true if a page fault shows when it was resolved, and not before.
	LateFaults bool
	// Ended, if set, is called with the last time in user mode of each thread that ends: no stay follows on it.
	Ended func(Stretch)

	threads map[uint32]*thread
	running map[int]uint32 // watched thread on each CPU
	// preempted is the watched thread that was runnable when its CPU was given
	// to another task: what runs there now is inside its stay.
	preempted map[int]*thread
	// absent is the watched thread that was the last to give each CPU away, until another
	// one runs there: what time passes is its.
	absent   map[int]absence
	senders  senders
	currents currents
	lossy    map[int]uint64 // CPUs that lost events in the batch at hand
	missed   bool           // a sender may have been missed in it
	until    time.Duration  // end of the last batch
	found    []found        // in the order of their time
}

// found is a thread that is in user mode at a time that no event shows.
type found struct {
	cpu      int
	tid      uint32
	from, at time.Duration
}

type absence struct {
	*thread
	since time.Duration
}

// maxThreads bounds the threads that are known. More can only sleep at the same time, or have ended unseen.
const maxThreads = 8192

// NewBuilder returns a builder that hands each finished stay to emit, which may
// use it until it returns.
func NewBuilder(tracked cpulist.Set, emit func(*Stay)) *Builder {
	return &Builder{
		tracked:   tracked,
		emit:      emit,
		threads:   make(map[uint32]*thread),
		running:   make(map[int]uint32),
		preempted: make(map[int]*thread),
		absent:    make(map[int]absence),
		senders:   newSenders(),
		currents:  newCurrents(),
	}
}

// Add takes in the next batch.
func (b *Builder) Add(batch event.Batch) {
	b.lossy, b.missed = batch.Lost, batch.SendersMissed
	for _, e := range batch.Events {
		if len(b.found) > 0 {
			b.place(e.Time)
			b.doubt(e)
		}
		b.event(e)
		b.until = max(b.until, e.Time)
	}
	b.place(batch.Until)
	for cpu := range batch.Lost {
		b.lost(cpu)
	}
	if len(batch.Lost) > 0 || batch.SendersMissed {
		b.senders.forgetLatest()
	}
	b.until = max(b.until, batch.Until)
	b.senders.expire(batch.Until)
}

// Found takes in that a thread was in user mode on a CPU at some time between two times; the later one is in no batch
// yet. It has no effect if there is an event of the CPU in between, or one of the thread before: those show more.
func (b *Builder) Found(cpu int, tid uint32, from, at time.Duration) {
	b.found = append(b.found, found{cpu, tid, from, at})
}

// doubt drops those that may have been found before e, or after.
func (b *Builder) doubt(e event.Event) {
	b.found = slices.DeleteFunc(b.found, func(f found) bool { return f.cpu == e.CPU && f.from <= e.Time && !e.Kind.IsSend() })
}

// place takes in those that were found by now.
func (b *Builder) place(now time.Duration) {
	for len(b.found) > 0 && b.found[0].at <= now {
		f := b.found[0]
		b.found = b.found[1:]
		_, lossy := b.lossy[f.cpu]
		_, runs := b.running[f.cpu]
		if lossy || runs || b.threads[f.tid] != nil {
			continue
		}
		t := b.thread(f.tid)
		t.cpu, t.quietSince, t.quietKnown = f.cpu, f.at, true
		b.running[f.cpu] = f.tid
	}
}

// Stretch is a time in user mode that no stay follows on, because the thread or the observation ends.
type Stretch struct {
	CPU          int
	TID          uint32
	Since, Until time.Duration
}

// lost drops what can no longer be known of the threads on a CPU.
func (b *Builder) lost(cpu int) {
	for tid, t := range b.threads {
		switch {
		case t.cpu == cpu && t.ended:
			delete(b.threads, tid) // that it was switched away may be among what was lost
		case t.cpu == cpu, t.stay != nil && t.stay.CPU == cpu:
			t.forget()
		case t.away:
			t.doubtful = true // it may have run there
		}
	}
	delete(b.running, cpu)
	delete(b.preempted, cpu)
	delete(b.absent, cpu)
	delete(b.currents.tasks, cpu)
	b.senders.forget(cpu)
}

func (b *Builder) event(e event.Event) {
	if _, lossy := b.lossy[e.CPU]; !lossy {
		b.compare(e)
	}
	if e.Kind.IsSend() {
		b.senders.sent(e)
		return
	}
	switch e.Kind {
	case event.Switch:
		b.switched(e, b.arrived(e))
	case event.Exec:
		b.executed(e)
	case event.Exit:
		b.ended(e)
	case event.Broken:
		b.broken(e)
	case event.Isolated:
		b.runs(e.TID, e.CPU).signal = e.B
	case event.Migrate:
		b.left(e)
	case event.Left, event.Told:
		// Not a part of a stay: the one is a request of the thread, the other happened on another CPU.
	case event.Fork:
		// The child shows itself when it is switched to.
	default:
		b.inside(e, b.arrived(e))
	}
}

// arrived returns the sends whose arrival e shows. Where events were lost, an earlier send can have arrived with one
// of them, and a later send can be among them. A later send can also be missing where a sender was missed.
func (b *Builder) arrived(e event.Event) []event.Event {
	_, here := b.lossy[e.CPU]
	if here {
		b.senders.disown(e)
	}
	from := b.senders.arrived(e)
	if len(b.lossy) == 0 && !b.missed {
		return from
	}
	switch e.Kind {
	case event.Switch: // the number of times that the thread was switched away proves which task woke it last
		return slices.DeleteFunc(from, func(sent event.Event) bool { return sent.Kind != event.SendWake || e.Task.Born == 0 && here })
	case event.CSDEnter: // a csd is taken until it has arrived
		if !here || len(b.lossy) == 1 {
			return from
		}
	case event.RescheduleEnter:
		if !here {
			return from
		}
	case event.CallFunctionExit, event.CallFunctionSingleExit: // what may not have been sent was if nothing else was, which is not known
		if !here {
			return slices.DeleteFunc(from, func(sent event.Event) bool { return sent.Sender.Conditional })
		}
	}
	return nil
}

// executed handles the start of a program. Another thread than the leader takes
// over the leader's number.
func (b *Builder) executed(e event.Event) {
	if t := b.threads[uint32(e.B)]; t != nil && t.tid != e.Task.TID {
		b.forget(t)
	}
	t := b.runs(e.Task.TID, e.CPU)
	t.openPartial(e)
	t.syscall = true
	t.born, t.switches = e.Task.Born, 0
}

// broken notes that isolation ended: with the open stay, or the next if the thread has left that unseen.
func (b *Builder) broken(e event.Event) {
	t := b.runs(e.TID, e.CPU)
	if t.stay != nil && !b.tracked.Contains(e.CPU) && t.cameBack(e) {
		b.close(t, t.stay.End, false)
	}
	t.breakIsolation(e)
}

func (b *Builder) thread(tid uint32) *thread {
	t := b.threads[tid]
	if t == nil {
		if len(b.threads) >= maxThreads {
			b.forgetHalf()
		}
		t = &thread{tid: tid}
		b.threads[tid] = t
	}
	return t
}

// forget drops a thread that is there no more, or that nothing more is seen of.
func (b *Builder) forget(t *thread) {
	maps.DeleteFunc(b.preempted, func(_ int, p *thread) bool { return p == t })
	maps.DeleteFunc(b.absent, func(_ int, a absence) bool { return a.thread == t })
	if b.running[t.cpu] == t.tid {
		delete(b.running, t.cpu)
	}
	delete(b.threads, t.tid)
}

// forgetHalf drops those half of the threads that are longest away.
func (b *Builder) forgetHalf() {
	var away []*thread
	for _, t := range b.threads {
		if t.away || t.ended || t.stay == nil && b.running[t.cpu] != t.tid {
			away = append(away, t)
		}
	}
	slices.SortFunc(away, func(a, b *thread) int { return cmp.Compare(a.seen, b.seen) })
	for _, t := range away[:(len(away)+1)/2] {
		b.forget(t)
	}
}

// ended forgets what a thread was in: its last stay never returns to user mode
// and so breaks nothing. The thread itself is forgotten when it is switched away.
func (b *Builder) ended(e event.Event) {
	t := b.runs(e.TID, e.CPU)
	if t.stay != nil && t.stay.BreaksIsolation() { // the signal has killed it
		b.close(t, e.Time, false)
	} else if s := t.stay; b.Ended != nil && s != nil && !t.partial && s.Quiet >= 0 {
		b.Ended(Stretch{CPU: s.CPU, TID: t.tid, Since: s.Start - s.Quiet, Until: s.Start})
	}
	t.forget()
	t.ended = true
	if e.A == 1 {
		b.forget(t)
	}
}

// inside handles an event of a CPU that is neither a switch nor a task's life.
func (b *Builder) inside(e event.Event, senders []event.Event) {
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
	if t.away {
		b.lostTurn(t)
	}
	b.runsOn(t, cpu)
	delete(b.absent, cpu)
	return t
}

func (b *Builder) runsOn(t *thread, cpu int) {
	if b.running[t.cpu] == t.tid {
		delete(b.running, t.cpu) // a CPU that is not watched does not show that it left
	}
	if t.cpu != cpu && !b.tracked.Contains(cpu) {
		t.userExit = false // where nothing shows that user mode is entered
	}
	t.cpu = cpu
	b.running[cpu] = t.tid
}

// insideOther handles what happens while a task that is not watched runs: it
// belongs to the stay of the thread that had to give way to it.
func (b *Builder) insideOther(e event.Event, senders []event.Event) {
	t := b.preempted[e.CPU]
	if t == nil || t.stay == nil {
		return
	}
	t.stay.part(e, senders)
}

func (b *Builder) insideTracked(t *thread, e event.Event, senders []event.Event) {
	if t.stay == nil && e.Kind == event.NMI { // enters without context tracking
		b.nmi(t, e)
		return
	}
	if t.stay != nil && e.Kind != event.UserExit {
		b.account(t, e, true)
	}
	switch {
	case e.Kind == event.UserEnter:
		b.close(t, e.Time, t.userExit)
		t.quietSince, t.quietKnown = e.Time, true // even if no stay was known to be open
		return
	case e.Kind == event.UserExit:
		b.userExit(t, e)
		return
	case t.stay == nil && t.quietKnown:
		t.open(e)
	case t.stay == nil:
		t.openPartial(e)
	}
	b.record(t, e, senders)
}

// account takes in that a thread, which runs, is still in its stay. That nothing showed it in user mode
// proves nothing where events were lost.
func (b *Builder) account(t *thread, e event.Event, sure bool) {
	b.unsure(t, e.CPU)
	t.account(e.Time, sure && !t.unsure)
}

// unsure notes that a stay was on a CPU that lost events: what it seems to be in since may have ended.
func (b *Builder) unsure(t *thread, cpu int) {
	_, lossy := b.lossy[cpu]
	t.unsure = t.unsure || lossy
}

func (b *Builder) userExit(t *thread, e event.Event) {
	if t.stay != nil { // its end was not reported
		b.close(t, t.stay.End, false)
		t.quietKnown = false
	}
	t.open(e)
	t.userExit = true
}

// nmi handles an NMI in user mode, as far as that is known: an NMI does not
// show where the thread is.
func (b *Builder) nmi(t *thread, e event.Event) {
	known := t.quietKnown
	t.open(e)
	t.stay.add(e, nil)
	b.close(t, e.Time, known)
	t.quietKnown = t.quietKnown && known
}

func (b *Builder) insideUntracked(t *thread, e event.Event, senders []event.Event) {
	if b.fromUser(t, e) {
		if t.stay != nil {
			b.close(t, t.stay.End, false)
		}
		t.open(e)
		b.account(t, e, true) // an NMI shows at its end
	} else {
		b.account(t, e, t.inside())
	}
	t.track(e)
	t.goesTo(e)
	b.record(t, e, senders)
}

// fromUser reports whether e begins a stay, where no context tracking shows that.
func (b *Builder) fromUser(t *thread, e event.Event) bool {
	switch {
	case e.Kind == event.PageFault && e.IsResolved():
		return !t.waitsInFault(e)
	case e.Kind == event.SyscallEnter, e.Kind == event.PageFault:
		return true // neither happens in the kernel
	case e.Kind == event.NMI:
		return t.stay == nil || !t.inKernel(e.UserIP)
	case isEntry(e.Kind):
		return !t.inKernel(e.UserIP)
	default:
		return t.cameBack(e)
	}
}

// record adds e to the open stay, and names the stay if e is its entry.
func (b *Builder) record(t *thread, e event.Event, senders []event.Event) {
	if t.stay.isNamedBy(e) {
		t.stay.Entry = e
		if e.Kind == event.SyscallExit {
			t.stay.Entry.Kind = event.SyscallEnter
		}
	}
	t.stay.part(e, senders)
}

func (b *Builder) close(t *thread, end time.Duration, exact bool) {
	if t.stay == nil {
		return
	}
	unsure := t.unsure
	s := t.close(end, exact && !unsure)
	if s == nil {
		return
	}
	_, lossyThere := b.lossy[s.CPU]
	if _, lossyHere := b.lossy[t.cpu]; unsure || lossyHere || lossyThere {
		s.Lossy, s.Exact, s.Quiet = true, false, -1
	}
	b.emit(s)
}
