// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// senders keeps what was sent to watched CPUs and has not arrived yet.
//
// A called function is matched by its csd, which is locked from the moment it
// is queued until it has run: at most one sender stands behind it at a time,
// however many senders share one interrupt. An irq_work takes the same queue but
// shows nowhere when it runs; since an interrupt empties the queue, what is left
// at its end and was queued before it began are those. A rescheduling interrupt has
// no such mark: all that were sent since the last one arrived stand behind it.
type senders struct {
	calls       map[call]event.Event
	before      map[call]event.Event   // those whose csd was sent again before they were seen to arrive
	reschedules map[int][]event.Event  // by target CPU
	ipis        map[call][]event.Event // other IPIs, by target CPU and the beginning of their reason
	emptying    map[int]time.Duration  // since when a function-call interrupt empties a CPU's queue
	wakes       map[uint32]event.Event // the latest of each thread
	works       map[uint64]event.Event // the latest of each work item
	irqs        map[call]event.Event   // the latest of each irq and CPU; kept
	timers      map[uint64]event.Event // by which task each timer was armed last; kept, because a timer may be periodic
	moves       map[uint32]event.Event // the last change of the CPUs on which each thread may run; kept

	// settled is until when what was sent to each CPU may have arrived although no event showed it: its queue is
	// emptied some time after an interrupt begins, and without one when it is idle.
	settled map[int]time.Duration
	emptied map[int]time.Duration // when the first call was seen in the interrupt that empties a CPU's queue
	// seenSince is since when all that is sent to a CPU, and its arrival, is recorded, if that is not always.
	seenSince map[int]time.Duration
}

// call is something that waits on a CPU: a csd, or the number of an irq.
type call struct {
	target int
	csd    uint64
}

// maxKept bounds each kind of sends that are kept whether or not they arrive.
const maxKept = 16384

// maxSendAge bounds how long a send without arrival is kept: the target may
// have run a task that is not watched, whose interrupts are not recorded.
const maxSendAge = 10 * time.Second

func newSenders() senders {
	return senders{
		calls:       make(map[call]event.Event),
		before:      make(map[call]event.Event),
		reschedules: make(map[int][]event.Event),
		ipis:        make(map[call][]event.Event),
		emptying:    make(map[int]time.Duration),
		wakes:       make(map[uint32]event.Event),
		works:       make(map[uint64]event.Event),
		irqs:        make(map[call]event.Event),
		timers:      make(map[uint64]event.Event),
		moves:       make(map[uint32]event.Event),
		settled:     make(map[int]time.Duration),
		emptied:     make(map[int]time.Duration),
		seenSince:   make(map[int]time.Duration),
	}
}

func (s senders) sent(e event.Event) {
	target := int(e.A)
	switch e.Kind {
	case event.SendCall, event.SendSingle, event.SendCalls:
		e.Kind = event.SendCall // they differ only in how they were seen
		s.called(call{target, e.C}, e)
	case event.SendReschedule:
		s.reschedules[target] = append(s.reschedules[target], e)
	case event.SendIPI:
		key := call{target, e.B}
		s.ipis[key] = append(s.ipis[key], e)
	case event.SendWake:
		s.wakes[uint32(e.B)] = e
	case event.SendWork:
		s.works[e.C] = e
	case event.SendIRQ:
		s.irqs[call{target, e.B}] = e
	case event.SendHRTimer, event.SendTimer:
		keep(s.timers, e.C, e)
	case event.SendAffinity, event.SendCgroup:
		keep(s.moves, uint32(e.B), e)
	}
}

// called notes a call. A csd that nobody waits for is free again just before its function is called, and can be
// sent again before that shows.
func (s senders) called(key call, e event.Event) {
	if old, ok := s.calls[key]; ok && old.Sender.Shown && !isBefore(old, s.seenSince, key.target) {
		s.before[key] = old
	}
	s.calls[key] = e
}

// disown drops both of those that share the csd which arrives with e: the arrival of the first may have been lost.
func (s senders) disown(e event.Event) {
	key := call{e.CPU, e.B}
	if _, shared := s.before[key]; shared && e.Kind == event.CSDEnter {
		delete(s.before, key)
		delete(s.calls, key)
	}
}

func keep[K comparable](kept map[K]event.Event, key K, e event.Event) {
	if len(kept) >= maxKept {
		clear(kept) // nothing shows which of them are of no more use
	}
	kept[key] = e
}

func look[K comparable](kept map[K]event.Event, key K) []event.Event {
	if e, ok := kept[key]; ok {
		return []event.Event{e}
	}
	return nil
}

// arrived returns, and forgets, the sends whose arrival e shows.
func (s senders) arrived(e event.Event) []event.Event {
	return slices.DeleteFunc(s.candidates(e), func(sent event.Event) bool { return !s.reaches(sent, e) })
}

// reaches reports whether what was sent can be what arrives with e, and did not
// arrive elsewhere or unseen.
func (s senders) reaches(sent, e event.Event) bool {
	switch sent.Kind {
	case event.SendWake: // it was this thread, and it has not run since
		return sent.C == e.Task.Switches && sent.Time >= e.Task.Born
	case event.SendAffinity, event.SendCgroup: // it was this thread and not one of the same number before
		return sent.Time >= e.Task.Born
	case event.SendCall: // one sent after the interrupt began may be for the next, and another of the same csd have come
		if began, in := s.emptying[e.CPU]; e.Kind == event.CSDEnter && in && sent.Time > began {
			return false
		}
	case event.SendHRTimer, event.SendTimer, event.SendWork: // it may have been armed or queued for another CPU since
		due := uint64(e.CPU)
		if e.Kind == event.Timer && e.C != 0 { // another CPU can make it expire
			due = e.C - 1
		}
		if sent.A != due {
			return false
		}
	}
	return !isBefore(sent, s.seenSince, int(sent.A))
}

func isBefore(sent event.Event, when map[int]time.Duration, cpu int) bool {
	t, known := when[cpu]
	return known && sent.Time <= t
}

// goesOn notes that a CPU goes from one task to another; unseen: that for one of them nothing was or is recorded there.
func (s senders) goesOn(cpu int, at time.Duration, unseen bool) {
	s.settled[cpu] = at
	if unseen {
		s.seenSince[cpu] = at
		delete(s.reschedules, cpu)
		s.forgetIPIs(cpu)
		delete(s.emptying, cpu)
	}
}

// wakerOf returns the wake-up of a thread that has not run since.
func (s senders) wakerOf(tid uint32) []event.Event { return look(s.wakes, tid) }

// candidates returns the latest sends among those whose arrival e can show.
func (s senders) candidates(e event.Event) []event.Event {
	switch e.Kind {
	case event.CSDEnter:
		if _, known := s.emptied[e.CPU]; !known {
			s.emptied[e.CPU] = e.Time
		}
		if from := take(s.before, call{e.CPU, e.B}); from != nil {
			return from
		}
		return take(s.calls, call{e.CPU, e.B})
	case event.Switch:
		return append(take(s.wakes, e.Task.TID), look(s.moves, e.Task.TID)...)
	case event.HRTimer, event.Timer:
		return look(s.timers, e.B)
	case event.Work:
		return take(s.works, e.B)
	case event.IRQEnter: // the move stays the reason for every interrupt after it
		return look(s.irqs, call{e.CPU, e.A})
	case event.RescheduleEnter:
		from := s.reschedules[e.CPU]
		delete(s.reschedules, e.CPU)
		return from
	case event.IPIEnter:
		key := call{e.CPU, e.B}
		from := s.ipis[key]
		delete(s.ipis, key)
		return from
	case event.CallFunctionEnter, event.CallFunctionSingleEnter:
		s.emptying[e.CPU] = e.Time
		delete(s.emptied, e.CPU)
	case event.CallFunctionExit, event.CallFunctionSingleExit:
		return s.leftOver(e)
	}
	return nil
}

func take[K comparable](from map[K]event.Event, key K) []event.Event {
	e, ok := from[key]
	if !ok {
		return nil
	}
	delete(from, key)
	return []event.Event{e}
}

// leftOver returns, and forgets, those whose calls ran in the function-call
// interrupt that ends on a CPU, though no event showed which.
//
// A conditional call may not have been sent. It was if nothing else was: the
// interrupt came.
func (s senders) leftOver(e event.Event) []event.Event {
	cpu := e.CPU
	began, known := s.emptying[cpu]
	emptied, seen := s.emptied[cpu]
	if !seen {
		emptied = e.Time
	}
	defer func() { s.settled[cpu] = max(s.settled[cpu], emptied) }()
	if !known {
		return nil
	}
	delete(s.emptying, cpu)
	var from []event.Event
	for key, sent := range s.calls {
		if key.target == cpu && sent.Time <= began && !sent.Sender.Shown && !isBefore(sent, s.settled, cpu) {
			from = append(from, sent)
			delete(s.calls, key)
		}
	}
	slices.SortFunc(from, func(a, b event.Event) int { return cmp.Compare(a.Time, b.Time) })
	conditional := func(e event.Event) bool { return e.Sender.Conditional }
	if !slices.ContainsFunc(from, func(e event.Event) bool { return !conditional(e) }) {
		return from
	}
	return slices.DeleteFunc(from, conditional)
}

// forget drops what was sent to a CPU whose events were lost: it may have
// arrived unseen.
func (s senders) forget(cpu int) {
	maps.DeleteFunc(s.calls, func(key call, _ event.Event) bool { return key.target == cpu })
	maps.DeleteFunc(s.before, func(key call, _ event.Event) bool { return key.target == cpu })
	maps.DeleteFunc(s.wakes, func(_ uint32, e event.Event) bool { return int(e.A) == cpu })
	maps.DeleteFunc(s.works, func(_ uint64, e event.Event) bool { return int(e.A) == cpu })
	maps.DeleteFunc(s.timers, func(_ uint64, e event.Event) bool { return int(e.A) == cpu })
	delete(s.reschedules, cpu)
	s.forgetIPIs(cpu)
	delete(s.emptying, cpu)
}

func (s senders) forgetIPIs(cpu int) {
	maps.DeleteFunc(s.ipis, func(key call, _ []event.Event) bool { return key.target == cpu })
}

// forgetLatest drops what counts only if nothing was sent since: that may be among what was lost.
func (s senders) forgetLatest() {
	maps.DeleteFunc(s.calls, func(key call, sent event.Event) bool {
		return !sent.Sender.Shown && isBefore(sent, s.settled, key.target)
	})
	clear(s.works)
	clear(s.irqs)
	clear(s.timers)
	clear(s.moves)
}

func (s senders) expire(now time.Duration) {
	expire(s.calls, now)
	expire(s.before, now)
	expire(s.wakes, now)
	expire(s.works, now)
	expireLists(s.reschedules, now)
	expireLists(s.ipis, now)
}

func expireLists[K comparable](sent map[K][]event.Event, now time.Duration) {
	for target, list := range sent {
		for len(list) > 0 && now-list[0].Time > maxSendAge {
			list = list[1:]
		}
		if len(list) == 0 {
			delete(sent, target)
		} else {
			sent[target] = list
		}
	}
}

func expire[K comparable](sent map[K]event.Event, now time.Duration) {
	for key, e := range sent {
		if now-e.Time > maxSendAge {
			delete(sent, key)
		}
	}
}
