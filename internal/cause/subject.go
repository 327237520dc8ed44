// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"cmp"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/stay"
)

// aspect is something that a rule can ask of a stay. Every aspect but the sender
// has at most one value, so that rules which ask for different values exclude each
// other. Of the senders' operations several may be known; the earlier rule wins.
type aspect int

const (
	absence     aspect = iota // why the thread was kept from its CPU; see subject.absence
	syscallName               // of the entry
	irqName                   // device of the entry's interrupt, as the kernel calls it
	faultKind                 // "absent" or "protected", with what the access was; or "minor" or "major"
	tick                      // what keeps the tick
	function                  // what the entry was for; see subject.call
	sender                    // operation that sent it; see subject.operations
	signalName                // first signal that was delivered
	next                      // first task that ran instead: "kernel kworker/3:1", "worker iou-wrk-7", "user bash"
	work                      // function of the first work item that ran
	aspects
)

// subject is a stay that rules are applied to. Each aspect that they ask for is looked up once.
type subject struct {
	*stay.Stay
	catalogue *Catalogue
	names     Names
	known     [aspects]bool
	values    [aspects]string
	sentBy    []string // operations, once they were looked up
}

func (s *subject) get(a aspect) string {
	if !s.known[a] {
		s.known[a], s.values[a] = true, s.lookUp(a)
	}
	return s.values[a]
}

func (s *subject) lookUp(a aspect) string {
	switch a {
	case absence:
		return absenceOf(s.Stay)
	case syscallName:
		return s.names.Syscall(int(s.Entry.A))
	case irqName:
		irq := int(s.Entry.A)
		return cmp.Or(s.names.Device(irq), strconv.Itoa(irq))
	case faultKind:
		return faultName(s.Entry.B)
	case tick:
		return tickDependency(s.Stay)
	case function:
		name, _ := s.call()
		return name
	case sender:
		s.sentBy = s.operations()
		return strings.Join(s.sentBy[:min(1, len(s.sentBy))], "")
	case signalName:
		if s.IsException() { // it may have come after more than is kept
			return signame.Of(syscall.Signal(s.Entry.A))
		}
		return firstOf(s.Stay, event.Signal, func(e event.Event) string { return signame.Of(syscall.Signal(e.A)) })
	case next:
		return firstOf(s.Stay, event.Switch, taskName)
	case work:
		return firstOf(s.Stay, event.Work, func(e event.Event) string { return s.symbol(e.A) })
	}
	return ""
}

// call returns the function that the entry was for: the first that is more than
// a carrier. A carrier only leads to other functions, as the tick leads to
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

// operations returns what sent the call, or led to another task: the functions on
// the stacks of its senders that any rule asks for. Of one stack the outermost comes
// first, because it explains the others: a module is loaded, therefore a static key
// changes, therefore text is patched.
func (s *subject) operations() []string {
	var known []string
	_, addr := s.call()
	for sent := range s.Senders() {
		if sent.Kind == event.SendCall && sent.B != addr {
			continue
		}
		known = append(known, s.knownOn(sent.Sender.Stack)...)
	}
	return known
}

// knownOn returns the functions on a stack that any rule asks for, outermost first.
// A stack is innermost first; the code that an interrupt came in has nothing to do with the call.
func (s *subject) knownOn(stack []uint64) []string {
	var known []string
	for _, addr := range stack {
		name := s.symbol(addr)
		if s.catalogue.senders[name] {
			known = append(known, name)
		}
		if EntersByInterrupt(name) {
			break
		}
	}
	slices.Reverse(known)
	return known
}

// EntersByInterrupt reports whether a function on a stack is one by which interrupts
// enter the kernel, on x86 or arm64: the task did not call what is above it, but was
// interrupted by it.
func EntersByInterrupt(function string) bool {
	return slices.ContainsFunc(interruptEntries[:], func(prefix string) bool { return strings.HasPrefix(function, prefix) })
}

// interruptEntries begin the names of those functions.
var interruptEntries = [...]string{
	"asm_sysvec_", "sysvec_", "asm_common_interrupt", "common_interrupt", "fred_sysvec_", "fred_extint",
	"el1h_64_irq", "el1_interrupt", "el0t_64_irq", "el0_interrupt",
}

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
		for sent := range s.Senders() { // an irq_work shows only in its sender
			if sent.Kind == event.SendCall && !yield(sent.B) {
				return
			}
		}
	}
}

// runsFor reports whether an event of kind k shows a function that an entry of
// that kind is made for. A timer that is not the CPU's own interrupts like a device.
func runsFor(entry, k event.Kind) bool {
	switch entry {
	case event.LocalTimerEnter:
		return k == event.HRTimer || k == event.Timer
	case event.CallFunctionEnter, event.CallFunctionSingleEnter:
		return k == event.CSDEnter
	case event.IRQEnter:
		return k == event.CSDEnter || k == event.HRTimer || k == event.Timer
	case event.NMI:
		return k == event.NMI
	}
	return false
}

func firstOf(s *stay.Stay, k event.Kind, say func(event.Event) string) string {
	for _, p := range s.Inside {
		if p.Event.Kind == k && !isIdle(p.Event) && !blocked(s, p.Event) {
			return say(p.Event)
		}
	}
	return ""
}

// isIdle reports whether e is a switch to the idle task.
func isIdle(e event.Event) bool { return e.Kind == event.Switch && e.Task.TID == 0 }

// leaves reports whether e is a switch by which the thread of a stay gives its CPU away.
func leaves(s *stay.Stay, e event.Event) bool { return e.Kind == event.Switch && e.TID == s.TID }

// blocked reports whether the thread of a stay gave its CPU away because it could not
// go on. What runs then has nothing to do with it.
func blocked(s *stay.Stay, e event.Event) bool { return leaves(s, e) && e.B != 0 }

func taskName(e event.Event) string {
	switch {
	case !e.Task.Kernel:
		return "user " + e.Task.Name
	case e.Task.TID != e.Task.PID: // a thread of a process that never leaves the kernel
		return "worker " + e.Task.Name
	default:
		return "kernel " + e.Task.Name
	}
}

// tickDependencies are the reasons to keep the tick, by the names that
// timer:tick_stop prints: TICK_DEP_MASK_* in include/linux/tick.h.
var tickDependencies = map[uint64]string{
	1: "POSIX_TIMER", 2: "PERF_EVENTS", 4: "SCHED", 8: "CLOCK_UNSTABLE", 16: "RCU", 32: "RCU_EXP",
}

// tickDependency returns the kernel's reason not to stop the tick.
func tickDependency(s *stay.Stay) string {
	for _, p := range s.Inside {
		if p.Event.Kind == event.Tick && p.Event.A == 0 {
			return tickDependencies[p.Event.B]
		}
	}
	return ""
}

// Bits of the page-fault error code: enum x86_pf_error_code in
// arch/x86/include/asm/trap_pf.h.
const (
	faultProtection = 1 << 0
	faultWrite      = 1 << 1
	faultFetch      = 1 << 4
)

// faultName describes an access and what the page table has at its address.
func faultName(code uint64) string {
	switch code { // all that is known of one that shows when it was resolved
	case event.FaultMinor:
		return "minor"
	case event.FaultMajor:
		return "major"
	}
	if runtime.GOARCH != "amd64" {
		return "" // no other architecture has a code of the form we read
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
