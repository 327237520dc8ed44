// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// taskRunning is the state of a task that would go on if it could: TASK_RUNNING
// in include/linux/sched.h. taskDead is that of one that never will: TASK_DEAD.
const (
	taskRunning = 0
	taskDead    = 0x80
)

// switched handles that a CPU goes from one task to another.
func (b *Builder) switched(e event.Event, wakers []event.Event) {
	if t := b.threads[e.TID]; t != nil && (t.ended || e.B&taskDead != 0) {
		b.forget(t)
	} else if t != nil {
		b.switchedOut(t, e, wakers)
	} else if t := b.preempted[e.CPU]; t != nil && t.stay != nil && e.Task.TID != t.tid {
		t.stay.add(e, wakers) // one more task before it has its turn again, or none although it could run
	}
	delete(b.running, e.CPU)
	if e.Task.Watched {
		b.switchedIn(b.next(e), e, wakers)
	}
	b.senders.goesOn(e.CPU, e.Time, b.Everywhere && !(e.Watched && e.Task.Watched))
}

// next returns the thread that a CPU goes to. A number that is used again is another thread.
func (b *Builder) next(e event.Event) *thread {
	if t := b.threads[e.Task.TID]; t != nil && t.born != 0 && e.Task.Born != 0 && t.born != e.Task.Born {
		b.forget(t)
	}
	t := b.thread(e.Task.TID)
	if e.Task.Born != 0 {
		t.born = e.Task.Born
	}
	return t
}

// switchedOut handles that a thread gives its CPU away. The waker of the next task
// matters only to a thread that had to give its CPU away.
func (b *Builder) switchedOut(t *thread, e event.Event, wakers []event.Event) {
	if e.B != taskRunning {
		wakers = nil
	}
	if t.away {
		b.lostTurn(t)
	}
	tracked := b.tracked.Contains(e.CPU)
	if t.stay != nil && !tracked && t.cameBack(e) {
		b.close(t, t.stay.End, false)
	}
	switch {
	case t.stay == nil && tracked && !t.quietKnown:
		t.openPartial(e)
	case t.stay == nil:
		t.open(e)
	}
	b.account(t, e, tracked || t.inside())
	t.stay.spend(e.CPU, t.onCPU, 0)
	t.onCPU = 0
	t.stay.add(e, wakers)
	t.away, t.asleep, t.doubtful = true, t.sleeps(e, len(b.lossy) > 0, b.LateFaults), len(b.lossy) > 0
	delete(b.preempted, e.CPU)
	if e.B == taskRunning {
		b.preempted[e.CPU] = t
	}
	b.absent[e.CPU] = absence{t, e.Time}
}

func (b *Builder) switchedIn(t *thread, e event.Event, wakers []event.Event) {
	// It may have been preempted on another CPU, where others go on.
	moved := false
	maps.DeleteFunc(b.preempted, func(cpu int, p *thread) bool {
		moved = moved || p == t && cpu != e.CPU
		return p == t
	})
	if moved && t.stay != nil {
		t.stay.forgetIdle()
	}
	if t.away && b.ranElsewhere(t, e) {
		b.close(t, t.seen, false)
		t.forget()
	}
	switch {
	case t.away:
		b.chargeAll(t, e.Time, wakers)
	case t.stay != nil: // that it was switched away was lost
		t.account(e.Time, false)
	}
	b.charge(e.CPU, e.Time)
	b.runsOn(t, e.CPU)
	if t.stay == nil {
		t.openPartial(e)
	}
	if t.away {
		b.back(t, e, wakers)
	}
	b.unsure(t, e.CPU)
	t.switches, t.ip = e.Task.Switches+1, 0
}

// ranElsewhere reports whether a thread can have run where nothing of it was seen since it went away.
func (b *Builder) ranElsewhere(t *thread, e event.Event) bool {
	if e.Task.Born == 0 {
		return false // the event does not show it
	}
	if t.switches == 0 { // it ran when the observation began
		return t.doubtful || len(b.lossy) > 0
	}
	return e.Task.Switches != t.switches
}

// back ends the absence of a thread.
func (b *Builder) back(t *thread, e event.Event, wakers []event.Event) {
	woken, seen := wokenAt(wakers, t.seen, e.Time)
	t.inexact = t.inexact || t.asleep && !seen
	t.endAbsence(woken, e.Time)
	t.stay.finishAway(e)
}

// endAbsence accounts for the time that the thread was away until now; until woken it slept.
func (t *thread) endAbsence(woken, now time.Duration) {
	if t.asleep {
		t.stay.Waited += woken - t.seen
	}
	t.seen = max(t.seen, now)
	t.stay.End = max(t.stay.End, now)
	t.away, t.asleep, t.doubtful = false, false, false
}

// wokenAt returns when a thread that slept since a time was woken, or now if no waker was seen.
func wokenAt(wakers []event.Event, since, now time.Duration) (time.Duration, bool) {
	for _, w := range wakers {
		if w.Kind == event.SendWake && w.Time >= since && w.Time <= now {
			return w.Time, true
		}
	}
	return now, false
}

// charge gives the time that passed on a CPU to the thread that was the last to leave it.
func (b *Builder) charge(cpu int, now time.Duration) {
	if a, ok := b.absent[cpu]; ok {
		delete(b.absent, cpu)
		a.charge(cpu, now, b.senders.wakerOf(a.tid))
	}
}

// charge gives the thread the time of its absence.
func (a absence) charge(cpu int, now time.Duration, wakers []event.Event) {
	if a.stay == nil || !a.away || a.seen != a.since {
		return // it was not seen to come back
	}
	woken := a.since
	if a.asleep {
		woken, _ = wokenAt(wakers, a.since, now)
	}
	a.stay.spend(cpu, now-woken, woken-a.since)
}

// chargeAll gives a thread that comes back what it has been away on any CPU.
func (b *Builder) chargeAll(t *thread, now time.Duration, wakers []event.Event) {
	for cpu, a := range b.absent {
		if a.thread == t {
			delete(b.absent, cpu)
			a.charge(cpu, now, wakers)
		}
	}
}

// left handles that a thread which is away goes to a CPU on which nothing is recorded. It may return to user mode
// there, so its stay is known until then.
func (b *Builder) left(e event.Event) {
	t := b.threads[uint32(e.B)]
	if t == nil || !t.away {
		return
	}
	if !t.doubtful && len(b.lossy) == 0 {
		b.finishAbsent(t, e.Time)
	}
	b.close(t, t.stay.End, false)
	b.forget(t)
}

// finishAbsent accounts for a thread that does not come back until now.
func (b *Builder) finishAbsent(t *thread, now time.Duration) {
	wakers := b.senders.wakerOf(t.tid)
	b.chargeAll(t, now, wakers)
	woken, _ := wokenAt(wakers, t.seen, now)
	t.endAbsence(woken, now)
}

// forgetIdle drops that a CPU was idle after a thread that then ran elsewhere: it may
// have waited there.
func (s *Stay) forgetIdle() {
	s.Inside = slices.DeleteFunc(s.Inside, func(p Part) bool {
		return p.Event.Kind == event.Switch && p.Event.Task.TID == idle && p.Event.TID != s.TID
	})
}

// finishAway gives the parts in which other tasks ran their durations.
func (s *Stay) finishAway(e event.Event) {
	end := e.Time
	for i := len(s.Inside) - 1; i >= 0; i-- {
		p := &s.Inside[i]
		if p.Event.Kind == event.Switch && p.Duration == 0 {
			p.Duration = end - p.Event.Time
			end = p.Event.Time
		}
	}
}

// Finish ends the observation at the end of the last batch: it hands over the stays that are over as far as the events
// show, and those that go on, and returns for each thread in user mode since when it is there.
func (b *Builder) Finish() []Stretch {
	b.lossy = nil
	var open []Stretch
	for _, cpu := range slices.Sorted(maps.Keys(b.running)) {
		t := b.threads[b.running[cpu]]
		if t == nil || t.away || t.ended {
			continue
		}
		b.finishRunning(t, cpu)
		if t.stay == nil && t.quietKnown && !b.mayHaveLeft(cpu) {
			open = append(open, Stretch{CPU: cpu, TID: t.tid, Since: t.quietSince, Until: b.until})
		}
	}
	for _, tid := range slices.Sorted(maps.Keys(b.threads)) {
		if t := b.threads[tid]; t.away && t.stay != nil {
			b.finishAway(t)
		}
	}
	return open
}

// mayHaveLeft reports whether a thread that was last seen in user mode on a CPU may have gone from there unseen: where
// only switches from and to watched threads are recorded, and some are not.
func (b *Builder) mayHaveLeft(cpu int) bool {
	return b.Everywhere && !b.tracked.Contains(cpu) && b.currents.unrecorded[cpu] > 0
}

func (b *Builder) finishRunning(t *thread, cpu int) {
	switch {
	case t.stay == nil:
	case b.tracked.Contains(cpu), t.inside():
		t.account(b.until, true)
		t.stay.Open = true
		b.close(t, t.stay.End, false)
		t.quietKnown = false
	default:
		b.close(t, t.stay.End, false)
	}
}

func (b *Builder) finishAway(t *thread) {
	if t.doubtful || b.Unseen {
		b.close(t, t.seen, false) // it can have run elsewhere since
		return
	}
	b.finishAbsent(t, b.until)
	t.stay.finishAway(event.Event{Time: b.until})
	t.stay.Open = true
	b.close(t, t.stay.End, false)
}
