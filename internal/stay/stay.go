// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"iter"
	"time"

	"github.com/taskiso/taskiso/internal/trace"
)

// Stay is one stay in the kernel of one thread.
type Stay struct {
	CPU   int // where it began
	TID   uint32
	Start time.Duration // CLOCK_MONOTONIC
	End   time.Duration
	// Exact tells that both ends are the kernel's own; otherwise the stay
	// lasted at least from Start to End.
	Exact bool
	// Lossy tells that events of its CPU were lost about that time: it may
	// really be several stays.
	Lossy bool
	// Entry is what entered the kernel. A stay that no event named has a
	// UserExit as its entry, or where there is no context tracking the first
	// event that was seen inside.
	Entry trace.Event
	// UserIP is where user mode was left.
	UserIP uint64
	// Inside is what happened in it, in order, and Omitted how many further
	// parts were not kept.
	Inside  []Part
	Omitted int
	// Quiet is the time in user mode before it, or negative if events were
	// lost in between or it is the first stay of the thread.
	Quiet time.Duration
}

// Part is one thing inside a stay.
type Part struct {
	Event trace.Event
	// Duration is 0 where it is not known.
	Duration time.Duration
	// Senders caused it from another CPU, or from this one.
	Senders []trace.Event
}

// maxParts bounds what is kept of one stay: a thread that sleeps for a minute
// is one stay with every interrupt of that minute in it.
const maxParts = 64

// Duration is how long the stay lasted, at least.
func (s *Stay) Duration() time.Duration { return s.End - s.Start }

// Named tells whether an event says what entered the kernel.
func (s *Stay) Named() bool { return isEntry(s.Entry.Kind) }

// Senders returns those who caused the stay from elsewhere, with the events
// that show their arrival: of the interrupt that began it, and of the functions
// called in that interrupt. What arrived later in the stay caused no break.
func (s *Stay) Senders() iter.Seq2[trace.Event, trace.Event] {
	return func(yield func(sent, arrived trace.Event) bool) {
		if len(s.Inside) == 0 {
			return
		}
		entry := s.Inside[0]
		for _, p := range s.Inside {
			if entry.Duration > 0 && p.Event.Time > entry.Event.Time+entry.Duration {
				return
			}
			for _, from := range p.Senders {
				if (from.Kind == trace.SendReschedule) == (s.Entry.Kind == trace.RescheduleEnter) && !yield(from, p.Event) {
					return
				}
			}
		}
	}
}

// Away returns how long other tasks ran in the stay, and the last of them.
func (s *Stay) Away() (time.Duration, string) {
	var d time.Duration
	var name string
	for _, p := range s.Inside {
		if p.Event.Kind == trace.Switch && p.Event.Task.TID != idle {
			d += p.Duration
			name = p.Event.Task.Name
		}
	}
	return d, name
}

// idle is the thread number of every CPU's idle task.
const idle = 0

// isEntry tells whether an event of kind k says what entered the kernel.
func isEntry(k trace.Kind) bool {
	switch k {
	case trace.SyscallEnter, trace.PageFault, trace.IRQEnter, trace.NMI:
		return true
	}
	return k.IsVectorEnter()
}

// ends returns the kind that ends what k begins, or 0.
func ends(k trace.Kind) trace.Kind {
	switch k {
	case trace.SyscallEnter, trace.IRQEnter, trace.SoftirqEnter, trace.CSDEnter:
		return k + 1
	}
	if k.IsVectorEnter() {
		return k + 1
	}
	return 0
}

func (s *Stay) add(e trace.Event, senders []trace.Event) {
	if len(s.Inside) == maxParts {
		s.Omitted++
		return
	}
	p := Part{Event: e, Senders: senders}
	if e.Kind == trace.NMI {
		p.Duration = time.Duration(e.B)
	}
	s.Inside = append(s.Inside, p)
}

// finish gives the youngest open part that e ends its duration, and returns it.
func (s *Stay) finish(e trace.Event) *Part {
	for i := len(s.Inside) - 1; i >= 0; i-- {
		p := &s.Inside[i]
		if p.Duration == 0 && ends(p.Event.Kind) == e.Kind {
			p.Duration = e.Time - p.Event.Time
			return p
		}
	}
	return nil
}
