// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"iter"
	"slices"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// Stay is one stay in the kernel of one thread.
type Stay struct {
	CPU   int // where it began
	TID   uint32
	Start time.Duration // CLOCK_MONOTONIC
	End   time.Duration
	// Exact is true if both ends, and those of Waited, are the kernel's own; otherwise
	// Duration is a lower bound.
	Exact bool
	// Open is true if it went on when the observation ended, at End.
	Open bool
	// Waited is the time in which the thread slept in a system call of its own: until it
	// was woken, or if that was not seen until it ran again.
	Waited time.Duration
	// Gap is the time in which nothing shows that the thread was not in user mode, where no context tracking does.
	Gap time.Duration
	// Spent is where the stay took time, if not all of Duration on CPU.
	Spent []Spent
	// Lossy is true if events of its CPU were lost about that time: it may
	// really be several stays.
	Lossy bool
	// Entry is what entered the kernel. A stay that no event named has a
	// UserExit as its entry, or where there is no context tracking the first
	// event that was seen inside.
	Entry event.Event
	// UserIP is where user mode was left.
	UserIP uint64
	// Inside is what happened in it, in order, and Omitted how many further
	// parts were not kept.
	Inside  []Part
	Omitted int
	// Quiet is the time in user mode before it, or negative if events were
	// lost in between or it is the first stay of the thread.
	Quiet time.Duration
	// Broken is the event of the end of isolation, if isolation ended with this stay.
	Broken event.Event
}

// Spent is the time of one CPU that a stay took. No two stays take the same time of a CPU, and none takes any
// in which a watched thread was in user mode there: together they are never more than there was.
type Spent struct {
	CPU int
	// Kernel is the time in the kernel and without the CPU against the thread's will, Waited that in which
	// it slept in a system call of its own and no other watched thread ran.
	Kernel, Waited time.Duration
}

// Part is one thing inside a stay.
type Part struct {
	Event event.Event
	// Duration is 0 where it is not known.
	Duration time.Duration
	// Senders caused it from another CPU, or from this one.
	Senders []event.Event
}

// maxParts bounds what is kept of one stay: a thread that sleeps for a minute
// is one stay with every interrupt of that minute in it.
const maxParts = 64

// Duration is how long the stay kept the thread from user mode against its will, at least.
func (s *Stay) Duration() time.Duration { return s.End - s.Start - s.Waited - s.Gap }

// Shares returns what the stay took of each CPU.
func (s *Stay) Shares() []Spent {
	if len(s.Spent) == 0 {
		return []Spent{{s.CPU, s.Duration(), s.Waited}}
	}
	return s.Spent
}

// Cost returns what the stay took of all CPUs together.
func (s *Stay) Cost() (kernel, waited time.Duration) {
	if len(s.Spent) == 0 {
		return s.Duration(), s.Waited
	}
	for _, share := range s.Spent {
		kernel, waited = kernel+share.Kernel, waited+share.Waited
	}
	return kernel, waited
}

func (s *Stay) spend(cpu int, kernel, waited time.Duration) {
	for i := range s.Spent {
		if s.Spent[i].CPU == cpu {
			s.Spent[i].Kernel += kernel
			s.Spent[i].Waited += waited
			return
		}
	}
	s.Spent = append(s.Spent, Spent{cpu, kernel, waited})
}

// Named reports whether an event shows what entered the kernel.
func (s *Stay) Named() bool { return isEntry(s.Entry.Kind) }

// IsOwn reports whether the stay is only there to send an isolated thread its signal:
// the tracer's own doing, no break.
func (s *Stay) IsOwn() bool { return s.Entry.Kind == event.IRQWorkEnter && s.Entry.B == 1 }

// BreaksIsolation reports whether isolation ended with this stay.
func (s *Stay) BreaksIsolation() bool { return s.Broken.Kind == event.Broken }

// IsException reports whether the stay began with an exception: an instruction of the
// thread itself that raised a signal, which alone shows it.
func (s *Stay) IsException() bool { return s.Entry.Kind == event.Signal && raisedByException(s.Entry) }

// isNamedBy reports whether e, inside s, shows what entered the kernel. A system
// call and a page fault happen in user mode only, so they do, even if an interrupt
// was quicker to show. An interrupt does if it is the first thing seen. NMIs
// come anywhere and are seen before what they interrupted. An exception has no
// event: if an interrupt hit while it was handled, only the signal that it raised
// shows that the interrupt was not what entered.
func (s *Stay) isNamedBy(e event.Event) bool {
	switch e.Kind {
	case event.SyscallExit: // all that shows of a call that seccomp answers
		return s.Entry.Kind != event.SyscallEnter && s.Entry.Kind != event.SyscallExit && s.Entry.Kind != event.PageFault
	case event.SyscallEnter, event.PageFault:
		return s.Entry.Kind != event.SyscallEnter && s.Entry.Kind != event.PageFault
	case event.NMI:
		return false
	case event.Signal:
		return raisedByException(e) && isInterrupt(s.Entry.Kind)
	}
	seen := slices.ContainsFunc(s.Inside, func(p Part) bool { return p.Event.Kind != event.NMI })
	return isEntry(e.Kind) && !s.Named() && !seen
}

// raisedByException reports whether e is a signal that the thread's own instruction
// raised: the si_code of a signal that somebody sent is 0 or less (SI_USER,
// SI_TKILL ... in include/uapi/asm-generic/siginfo.h).
func raisedByException(e event.Event) bool {
	if int32(e.B) <= 0 {
		return false
	}
	switch syscall.Signal(e.A) {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGILL, syscall.SIGTRAP:
		return true
	}
	return false
}

func isInterrupt(k event.Kind) bool { return k == event.IRQEnter || k.IsVectorEnter() }

// Senders returns the sends that caused the stay from elsewhere, with the events that
// show their arrival: of the interrupt that began it, of the functions called in
// that interrupt, and of the task and work that the thread had to give way to.
// An interrupt that arrived later in the stay caused no break.
func (s *Stay) Senders() iter.Seq2[event.Event, event.Event] {
	return func(yield func(sent, arrived event.Event) bool) {
		for _, p := range s.entered() {
			for _, from := range p.Senders {
				if s.isCausedBy(from.Kind) && !yield(from, p.Event) {
					return
				}
			}
		}
		for _, p := range s.OfEntry() {
			for _, from := range p.Senders {
				if (p.Event.Kind == event.HRTimer || p.Event.Kind == event.Timer) && !yield(from, p.Event) {
					return
				}
			}
		}
		for p := range s.yieldedTo() {
			for _, from := range p.Senders {
				if !yield(from, p.Event) {
					return
				}
			}
		}
	}
}

// entered returns the parts from the entry to its end, or to that of the stay
// if it is not known.
func (s *Stay) entered() []Part {
	first := slices.IndexFunc(s.Inside, func(p Part) bool { return p.Event.Kind == s.Entry.Kind })
	parts := s.Inside[max(0, first):]
	if len(parts) == 0 || parts[0].Duration == 0 {
		return parts
	}
	end := parts[0].Event.Time + parts[0].Duration
	for i, p := range parts {
		if p.Event.Time > end {
			return parts[:i]
		}
	}
	return parts
}

// OfEntry returns the parts that belong to the entry: up to the next interrupt or
// task. An NMI comes at any time and ends nothing.
func (s *Stay) OfEntry() []Part {
	first := -1
	for i, p := range s.Inside {
		switch k := p.Event.Kind; {
		case first < 0 && k == s.Entry.Kind && p.Event.Time == s.Entry.Time:
			first = i
		case first >= 0 && (k == event.Switch || isInterrupt(k)):
			return s.Inside[first:i]
		}
	}
	if first < 0 {
		return nil
	}
	return s.Inside[first:]
}

// isCausedBy reports whether what was sent by an event of kind k can be what
// entered the kernel. Where no event named the entry, a function call is it.
func (s *Stay) isCausedBy(k event.Kind) bool {
	switch s.Entry.Kind {
	case event.RescheduleEnter:
		return k == event.SendReschedule
	case event.CallFunctionEnter, event.CallFunctionSingleEnter:
		return k == event.SendCall
	case event.IPIEnter:
		return k == event.SendIPI
	case event.IRQEnter:
		return k == event.SendIRQ
	}
	return !s.Named() && k == event.SendCall
}

// yieldedTo returns what the thread had to give way to: the task that got its CPU
// first, and the work that kworkers did before the thread had its turn again.
func (s *Stay) yieldedTo() iter.Seq[Part] {
	return func(yield func(Part) bool) {
		switched := false
		for _, p := range s.Inside {
			reason := p.Event.Kind == event.Work || p.Event.Kind == event.Switch && !switched
			switched = switched || p.Event.Kind == event.Switch
			if reason && !yield(p) {
				return
			}
		}
	}
}

// Away returns how long other tasks ran in the stay while the thread could have, and
// the last of them. Tasks that ran while it was stopped or slept took nothing from it.
func (s *Stay) Away() (time.Duration, string) {
	var d time.Duration
	var name string
	couldRun := true
	for _, p := range s.Inside {
		if p.Event.Kind != event.Switch {
			continue
		}
		if p.Event.TID == s.TID {
			couldRun = p.Event.B == taskRunning
		}
		if couldRun && p.Event.Task.TID != idle {
			d += p.Duration
			name = p.Event.Task.Name
		}
	}
	return d, name
}

// idle is the thread number of every CPU's idle task.
const idle = 0

// isEntry reports whether an event of kind k shows what entered the kernel.
func isEntry(k event.Kind) bool {
	switch k {
	case event.SyscallEnter, event.PageFault, event.IRQEnter, event.NMI, event.VectorFreed:
		return true
	}
	return k.IsVectorEnter()
}

// ends returns the kind that ends what k begins, or 0.
func ends(k event.Kind) event.Kind {
	switch k {
	case event.SyscallEnter, event.IRQEnter, event.SoftirqEnter, event.CSDEnter:
		return k + 1
	}
	if k.IsVectorEnter() {
		return k + 1
	}
	return 0
}

// part takes in e, as a part of the stay or as the end of one.
func (s *Stay) part(e event.Event, senders []event.Event) {
	if isPart(e.Kind) {
		s.add(e, senders)
	} else if p := s.finish(e); p != nil {
		for _, from := range senders {
			if from.Time <= p.Event.Time { // else an end between was missed
				p.Senders = append(p.Senders, from)
			}
		}
	}
}

// isPart reports whether an event of kind k is kept under its stay; the others
// end a part.
func isPart(k event.Kind) bool {
	switch k {
	case event.SyscallExit, event.IRQExit, event.SoftirqExit, event.CSDExit, event.UserExit, event.UserEnter:
		return false
	}
	return !k.IsVector() || k.IsVectorEnter()
}

func (s *Stay) add(e event.Event, senders []event.Event) {
	if len(s.Inside) == maxParts {
		s.Omitted++
		return
	}
	p := Part{Event: e, Senders: senders}
	if e.Kind == event.NMI {
		p.Duration = time.Duration(e.B)
	}
	s.Inside = append(s.Inside, p)
}

// finish gives the youngest open part that e ends its duration, and returns it.
func (s *Stay) finish(e event.Event) *Part {
	for i := len(s.Inside) - 1; i >= 0; i-- {
		p := &s.Inside[i]
		if p.Duration == 0 && ends(p.Event.Kind) == e.Kind {
			p.Duration = e.Time - p.Event.Time
			return p
		}
	}
	return nil
}
