// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

// aspect is something that a rule can ask of a stay. Every aspect has at most
// one value, so that rules which ask for different values exclude each other.
type aspect int

const (
	syscallName aspect = iota // of the entry
	irqName                   // device of the entry's interrupt, as the kernel calls it
	faultKind                 // "absent" or "protected", with what the access was
	tick                      // what keeps the tick
	function                  // what the entry was for; see subject.call
	sender                    // operation that sent it; see subject.sender
	signalName                // first signal that was delivered
	next                      // first task that ran instead: "kernel kworker/3:1", "user bash"
	work                      // function of the first work item that ran
	aspects
)

// subject is a stay that rules are applied to. What they ask is looked up once.
type subject struct {
	*stay.Stay
	catalogue *Catalogue
	names     Names
	known     [aspects]bool
	values    [aspects]string
}

func (s *subject) get(a aspect) string {
	if !s.known[a] {
		s.known[a], s.values[a] = true, s.lookUp(a)
	}
	return s.values[a]
}

func (s *subject) lookUp(a aspect) string {
	switch a {
	case syscallName:
		return s.names.Syscall(int(s.Entry.A))
	case irqName:
		number, device, _ := strings.Cut(s.names.IRQ(int(s.Entry.A)), " ")
		if device == "" {
			return number
		}
		return device
	case faultKind:
		return faultName(s.Entry.B)
	case tick:
		return tickDependency(s.Stay)
	case function:
		name, _ := s.call()
		return name
	case sender:
		return s.sender()
	case signalName:
		return firstOf(s.Stay, trace.Signal, func(e trace.Event) string { return SignalName(e.A) })
	case next:
		return firstOf(s.Stay, trace.Switch, taskName)
	case work:
		return firstOf(s.Stay, trace.Work, func(e trace.Event) string { return s.symbol(e.A) })
	}
	return ""
}

// call returns the function that the entry was for: the first that is more than
// a carrier. A carrier only leads to what is to be done, as the tick does to
// timers that expire with it, and a timer to the task that it wakes.
func (s *subject) call() (name string, addr uint64) {
	for a := range functions(s.Stay) {
		n := s.symbol(a)
		if name == "" || s.catalogue.carriers[name] && !s.catalogue.carriers[n] {
			name, addr = n, a
		}
	}
	return name, addr
}

// sender returns the operation that sent the call, or what led to another task:
// the outermost function on the sender's stack that any rule knows. It says more
// than the inner ones: a module is loaded, therefore a static key changes,
// therefore text is patched.
func (s *subject) sender() string {
	_, addr := s.call()
	for sent := range s.Senders() {
		if sent.Kind == trace.SendCall && sent.B != addr {
			continue
		}
		if name := s.operation(sent.Sender.Stack); name != "" {
			return name
		}
	}
	return ""
}

// operation returns the outermost function that any rule knows on a stack, which
// is innermost first. What an interrupt came over has nothing to do with it.
func (s *subject) operation(stack []uint64) string {
	known := ""
	for _, addr := range stack {
		name := s.symbol(addr)
		if s.catalogue.senders[name] {
			known = name
		}
		if slices.ContainsFunc(interruptEntries[:], func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			break
		}
	}
	return known
}

// interruptEntries begin the names of the functions by which interrupts enter
// the kernel, on x86 and arm64.
var interruptEntries = [...]string{"asm_sysvec_", "sysvec_", "asm_common_interrupt", "common_interrupt", "el1h_64_irq", "el1_interrupt"}

// symbol returns the function at addr without the suffixes by which compilers
// mark clones of it, such as ".isra.0".
func (s *subject) symbol(addr uint64) string {
	name, _, _ := strings.Cut(s.names.Function(addr), ".")
	return name
}

// functions are those that the entry of a stay was for, in order. What else ran
// in the stay, such as a timer that expired while another task ran, is not its
// cause.
func functions(s *stay.Stay) iter.Seq[uint64] {
	return func(yield func(addr uint64) bool) {
		for _, p := range s.OfEntry() {
			if runsFor(s.Entry.Kind, p.Event.Kind) && !yield(p.Event.A) {
				return
			}
		}
		for sent := range s.Senders() { // an irq_work shows only in who sent it
			if sent.Kind == trace.SendCall && !yield(sent.B) {
				return
			}
		}
	}
}

// runsFor tells whether an event of kind k shows a function that an entry of
// that kind is made for. Where timers and inter-processor interrupts have no
// tracepoints of their own, as on arm64, they are interrupts like a device's.
func runsFor(entry, k trace.Kind) bool {
	switch entry {
	case trace.LocalTimerEnter:
		return k == trace.HRTimer || k == trace.Timer
	case trace.CallFunctionEnter, trace.CallFunctionSingleEnter:
		return k == trace.CSDEnter
	case trace.IRQEnter:
		return k == trace.CSDEnter || k == trace.HRTimer || k == trace.Timer
	case trace.NMI:
		return k == trace.NMI
	}
	return false
}

func firstOf(s *stay.Stay, k trace.Kind, say func(trace.Event) string) string {
	for _, p := range s.Inside {
		if p.Event.Kind == k && !isIdle(p.Event) {
			return say(p.Event)
		}
	}
	return ""
}

// isIdle tells whether e is a switch to the idle task.
func isIdle(e trace.Event) bool { return e.Kind == trace.Switch && e.Task.TID == 0 }

func taskName(e trace.Event) string {
	if e.Task.Kernel {
		return "kernel " + e.Task.Name
	}
	return "user " + e.Task.Name
}

// tickDependencies are what the tick can be kept for, by the names that
// timer:tick_stop prints: TICK_DEP_MASK_* in include/linux/tick.h.
var tickDependencies = map[uint64]string{
	1: "POSIX_TIMER", 2: "PERF_EVENTS", 4: "SCHED", 8: "CLOCK_UNSTABLE", 16: "RCU", 32: "RCU_EXP",
}

// tickDependency returns what the kernel says it cannot stop the tick for.
func tickDependency(s *stay.Stay) string {
	for _, p := range s.Inside {
		if p.Event.Kind == trace.Tick && p.Event.A == 0 {
			return tickDependencies[p.Event.B]
		}
	}
	return ""
}

// SignalName returns the name of a signal: "SIGURG".
func SignalName(number uint64) string {
	if name := unix.SignalName(syscall.Signal(number)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", number)
}

// Bits of the page-fault error code: enum x86_pf_error_code in
// arch/x86/include/asm/trap_pf.h.
const (
	faultProtection = 1 << 0
	faultWrite      = 1 << 1
	faultFetch      = 1 << 4
)

// faultName says what the page table made of an access.
func faultName(code uint64) string {
	if runtime.GOARCH != "amd64" {
		return "" // no other architecture has the event in the form we read
	}
	state, access := "absent", "read"
	if code&faultProtection != 0 {
		state = "protected"
	}
	switch {
	case code&faultWrite != 0:
		access = "write"
	case code&faultFetch != 0:
		access = "execute"
	}
	return state + " " + access
}
