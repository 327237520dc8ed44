// SPDX-License-Identifier: Apache-2.0

package record

import "github.com/taskiso/taskiso/internal/event"

// chosen returns the events that are selected, with what is needed to explain them, in the place of all. What is left out of them
// is as if it were not observed.
func (s *Selection) chosen(events []event.Event) []event.Event {
	if s.CPUs.IsEmpty() && s.TID == 0 {
		return events
	}
	kept := events[:0]
	for _, e := range events {
		if !s.onCPU(&e) {
			continue
		}
		if s.TID == 0 || s.ofThread(&e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// isAbout reports whether a thread that was in user mode is selected.
func (s *Selection) isAbout(f Found) bool {
	return (s.CPUs.IsEmpty() || s.CPUs.Contains(f.CPU)) && (s.TID == 0 || s.TID == f.TID)
}

// onCPU reports whether e happened on a CPU that is selected or can be the reason for what happens there. A timer, a work item and a
// thread can go to another CPU than they were meant for, and the latest one who sent them is meant.
func (s *Selection) onCPU(e *event.Event) bool {
	if s.CPUs.IsEmpty() {
		return true
	}
	switch e.Kind {
	case event.SendCall, event.SendSingle, event.SendCalls, event.SendReschedule, event.SendIRQ:
		return s.CPUs.Contains(int(e.A))
	case event.Migrate, event.Told:
		return true
	}
	return e.Kind.IsSend() || s.CPUs.Contains(e.CPU)
}

// ofThread reports whether e is of the thread, or can explain what happens to it: other threads become tasks that are not watched, of which
// only that they run is known.
func (s *Selection) ofThread(e *event.Event) bool {
	switch {
	case e.Kind.IsSend():
		return true
	case e.Kind == event.Migrate:
		return uint32(e.B) == s.TID
	case e.Kind == event.Exec:
		return e.Task.TID == s.TID || uint32(e.B) == s.TID
	case e.Kind == event.Switch:
		e.Watched = e.Watched && e.TID == s.TID
		if e.Task.Watched && e.Task.TID != s.TID {
			next := *e.Task
			next.Watched = false
			e.Task = &next
		}
		return true
	}
	return e.TID == s.TID || !e.Watched && !e.Kind.IsIsolation()
}
