// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// before is what must be known of the time before a part, so that what is in the part is understood as in the whole: which
// task each CPU runs, where that is, and what was sent and has not arrived. It is made of the events that show it.
type before struct {
	cpus     map[int]*cpuBefore
	found    []Found
	sent     map[sendKey]event.Event
	isolated map[uint64]event.Event // threads that are isolated, by status page

	bytes, limit int // of all that
}

// cpuBefore is what the latest events of a CPU show.
type cpuBefore struct {
	current *event.Event // the latest switch
	other   *event.Event // the latest one that is not between two watched threads: nothing is recorded of a CPU before it
	inside  []event.Event
}

// sendKey is what the latest send of is kept.
type sendKey struct {
	kind   event.Kind // one for all those that replace each other
	target int        // of SendIRQ
	of     uint64
}

// Bounds of what is kept. A stay with more events than maxInside is known in part only.
const (
	maxInside   = 32
	maxIsolated = 1024
	maxCPUs     = 1 << 13 // CONFIG_NR_CPUS of x86 and arm64
	maxBytes    = 16 << 20
	sendBytes   = 320              // of an event with its sender and its place in a map, without the stack
	insideBytes = 256              // of an event, perhaps with a task
	cpuBytes    = 1 << 10          // of a CPU, with two switches
	maxSendAge  = 10 * time.Second // as package stay has it for what arrives once
)

func newBefore(limit int) *before {
	return &before{cpus: make(map[int]*cpuBefore), sent: make(map[sendKey]event.Event), isolated: make(map[uint64]event.Event), limit: limit}
}

// batch takes in a batch of which all came before.
func (s *before) batch(b event.Batch) {
	for i := range b.Events {
		s.event(b.Events[i])
	}
	for cpu := range b.Lost {
		s.lost(cpu)
	}
	if len(b.Lost) > 0 || b.SendersMissed {
		s.drop(func(k sendKey, _ event.Event) bool { return k.kind != event.SendWake })
	}
}

// gap forgets everything: nothing is known of what came then.
func (s *before) gap() { *s = *newBefore(s.limit) }

func (s *before) event(e event.Event) {
	if e.Kind.IsSend() {
		s.send(e)
		return
	}
	if len(s.found) > 0 {
		s.found = slices.DeleteFunc(s.found, func(f Found) bool { return f.CPU == e.CPU })
	}
	c := s.cpu(e.CPU)
	defer func(n int) { s.bytes += (len(c.inside) - n) * insideBytes }(len(c.inside))
	switch e.Kind {
	case event.Switch:
		c.switched(e)
		s.arrived(sendKey{kind: event.SendWake, of: uint64(e.Task.TID)})
		return
	case event.Work:
		s.arrived(sendKey{kind: event.SendWork, of: e.B})
	case event.Isolated:
		if len(s.isolated) >= maxIsolated {
			clear(s.isolated)
		}
		s.isolated[e.A] = e
	case event.Broken, event.Left:
		delete(s.isolated, uint64(e.Slot()))
	case event.UserEnter, event.SyscallEnter, event.PageFault: // here the thread is, or was just before, in user mode
		c.inside = c.inside[:0]
	}
	if len(c.inside) == maxInside {
		c.inside = slices.Delete(c.inside, 0, maxInside/2)
	}
	s.room(insideBytes)
	c.inside = append(c.inside, e)
}

// cpu returns what is known of a CPU.
func (s *before) cpu(n int) *cpuBefore {
	c := s.cpus[n]
	if c != nil {
		return c
	}
	c = &cpuBefore{}
	if len(s.cpus) < maxCPUs {
		s.room(cpuBytes)
		s.cpus[n] = c
		s.bytes += cpuBytes
	}
	return c
}

// find notes a thread that was in user mode.
func (s *before) find(f Found) {
	if len(s.found) < maxCPUs {
		s.found = append(s.found, f)
	}
}

// room forgets what is sent, and then what is inside of stays, if that is needed for so many bytes more: nothing shows which of them
// are of no more use.
func (s *before) room(more int) {
	if s.bytes+more <= s.limit {
		return
	}
	s.drop(func(sendKey, event.Event) bool { return true })
	if s.bytes+more <= s.limit {
		return
	}
	for _, c := range s.cpus {
		s.bytes -= len(c.inside) * insideBytes
		c.inside = nil
	}
}

// size is how many bytes it takes, which is never more than its limit.
func (s *before) size() int { return s.bytes }

// clone returns a copy that can be changed.
func (s *before) clone() *before {
	c := &before{cpus: make(map[int]*cpuBefore), found: slices.Clone(s.found), sent: maps.Clone(s.sent), isolated: maps.Clone(s.isolated), bytes: s.bytes, limit: s.limit}
	for n, cpu := range s.cpus {
		c.cpus[n] = &cpuBefore{cpu.current, cpu.other, slices.Clone(cpu.inside)}
	}
	return c
}

func (c *cpuBefore) switched(e event.Event) {
	c.current, c.inside = &e, c.inside[:0]
	if !e.Watched || !e.Task.Watched {
		c.other = &e
	}
}

// send keeps what may arrive later. An interrupt of another CPU arrives so soon that it is in the part itself, as [lead] has it.
func (s *before) send(e event.Event) {
	var key sendKey
	switch e.Kind {
	case event.SendWake, event.SendAffinity:
		key = sendKey{kind: e.Kind, of: e.B}
	case event.SendCgroup:
		key = sendKey{kind: event.SendAffinity, of: e.B}
	case event.SendWork:
		key = sendKey{kind: e.Kind, of: e.C}
	case event.SendHRTimer, event.SendTimer:
		key = sendKey{kind: event.SendTimer, of: e.C}
	case event.SendIRQ:
		key = sendKey{kind: e.Kind, target: int(e.A), of: e.B}
	default:
		return
	}
	s.arrived(key) // the one before it is of no more use
	s.room(sizeOf(e))
	s.sent[key] = e
	s.bytes += sizeOf(e)
}

func sizeOf(e event.Event) int { return sendBytes + 8*len(e.Sender.Stack) }

func (s *before) arrived(key sendKey) {
	if e, ok := s.sent[key]; ok {
		delete(s.sent, key)
		s.bytes -= sizeOf(e)
	}
}

func (s *before) drop(which func(sendKey, event.Event) bool) {
	for key, e := range s.sent {
		if which(key, e) {
			s.arrived(key)
		}
	}
}

func (s *before) lost(cpu int) {
	if c := s.cpus[cpu]; c != nil {
		s.bytes -= cpuBytes + len(c.inside)*insideBytes
		delete(s.cpus, cpu)
	}
	s.drop(func(k sendKey, e event.Event) bool { return k.kind == event.SendWake && int(e.A) == cpu })
}

// events returns all that is known at a time, in the order of time.
func (s *before) events(now time.Duration) []event.Event {
	var all []event.Event
	for _, c := range s.cpus {
		if c.other != nil && c.other != c.current {
			all = append(all, *c.other)
		}
		if c.current != nil {
			all = append(all, *c.current)
		}
		all = append(all, c.inside...)
	}
	for key, e := range s.sent {
		if once := key.kind == event.SendWake || key.kind == event.SendWork; !once || now-e.Time <= maxSendAge {
			all = append(all, e)
		}
	}
	for e := range maps.Values(s.isolated) {
		if !slices.ContainsFunc(s.insideOf(e.CPU), func(in event.Event) bool { return in.Kind == event.Isolated && in.Time == e.Time }) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b event.Event) int { // nothing in them depends on the order of a map
		return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.CPU, b.CPU), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.B, b.B), cmp.Compare(a.C, b.C))
	})
	return all
}

func (s *before) insideOf(cpu int) []event.Event {
	if c := s.cpus[cpu]; c != nil {
		return c.inside
	}
	return nil
}
