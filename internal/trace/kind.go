// SPDX-License-Identifier: Apache-2.0

package trace

import "iter"

// Kind is the kind of an event. The numbers are those of enum kind in bpf/kinds.h;
// a test compares the two.
type Kind uint8

// Kinds of events. An Exit follows its Enter.
const (
	_ Kind = iota

	SyscallEnter // A: number
	SyscallExit  // A: number, B: result
	PageFault    // A: address, B: error code of the architecture
	Signal       // A: signal, B: si_code, C: sender's process; about to be handled, or it has ended the process
	UserExit     // context tracking: user mode was left
	UserEnter    // context tracking: user mode will be entered

	LocalTimerEnter // A of all interrupt vectors: vector
	LocalTimerExit
	RescheduleEnter
	RescheduleExit
	CallFunctionEnter
	CallFunctionExit
	CallFunctionSingleEnter
	CallFunctionSingleExit
	IRQWorkEnter // B: 1 if it may be the one that sends an isolated thread its signal
	IRQWorkExit
	ThermalEnter
	ThermalExit
	ThresholdEnter
	ThresholdExit
	DeferredErrorEnter
	DeferredErrorExit
	ErrorAPICEnter
	ErrorAPICExit
	SpuriousEnter
	SpuriousExit
	PlatformIPIEnter
	PlatformIPIExit

	IRQEnter // A: irq number, B: handler
	IRQExit  // A: irq number, B: whether it was handled
	NMI      // A: handler, B: its duration in ns, C: NMIs handled; Time is its end
	// VectorFreed is the interrupt in which the CPU gives up the vector of a device's interrupt that was moved
	// to another one. It has no event that ends it. A: irq number, B: vector
	VectorFreed

	SoftirqEnter // A: vector
	SoftirqExit
	CSDEnter // function called by another CPU; A: function, B: csd
	CSDExit
	HRTimer // A: function, B: timer
	Timer   // A: function, B: timer, C: 1 + CPU it was armed for
	Tick    // whether the tick can stop; A: 0 if not, B: what needs it
	Work    // A: function, B: work item
	Switch  // Task is the next one; B: state of the previous one, 0 if it would go on, C: its process

	Fork    // A: child thread, B: its process
	Exec    // Task; B: its thread number before
	Exit    // A: 1 if nothing more of it is recorded, not even that it is switched away
	Migrate // A: CPU that is not watched, to which goes B: watched thread, from a CPU that is

	Isolated // A of these three: slot of the status page; B: signal at a break
	Broken   // A: and 1 << 32 if it sends no signal, B: taskiso.Cause, C: its detail
	Left     // isolation ends because the thread wants it
	Told     // as Signal, of a thread that may have been isolated, on a CPU that is not watched

	SendCall       // Sender; A: target CPU, B: function, C: csd, UserIP: call site
	SendSingle     // the same, seen in another place
	SendCalls      // the same, to many CPUs at once; C: any unique number
	SendReschedule // Sender; A: target CPU, UserIP: call site
	SendWake       // Sender; A: CPU the thread ran on last, B: thread that is woken, C: its Switches
	SendWork       // Sender; A: target CPU, B: function, C: work item
	SendIRQ        // Sender; A: target CPU, B: irq number whose interrupts will go there
	SendHRTimer    // Sender; A: target CPU, B: function, C: timer
	SendTimer      // Sender; A: target CPU, B: function, C: timer
	SendAffinity   // Sender; A: a watched CPU on which thread B may run from now on
	SendCgroup     // Sender; A: CPU of thread B, which is moved to another cgroup

	kinds
)

// Kinds returns every kind of event.
func Kinds() iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		for k := Kind(1); k < kinds; k++ {
			if !yield(k) {
				return
			}
		}
	}
}

// IsVector reports whether k is the entry or exit of an interrupt vector of the
// CPU itself (timer, inter-processor interrupts ...), not of a device.
func (k Kind) IsVector() bool { return k >= LocalTimerEnter && k <= PlatformIPIExit }

// IsVectorEnter reports whether k is the entry of such a vector.
func (k Kind) IsVectorEnter() bool { return k.IsVector() && (k-LocalTimerEnter)%2 == 0 }

// IsSend reports whether k is recorded on the sender's CPU, not on the target.
func (k Kind) IsSend() bool { return k >= SendCall && k < kinds }

// IsIsolation reports whether k concerns isolation: its beginning or end, which the
// programs themselves decide and no tracepoint shows.
func (k Kind) IsIsolation() bool { return k >= Isolated && k <= Told }

// String returns the name of the tracepoint behind k, without its subsystem.
func (k Kind) String() string {
	if k.IsIsolation() {
		return [...]string{"isolated", "broken", "left", "told"}[k-Isolated]
	}
	for _, s := range allSources() {
		if s.kind == k {
			return s.name
		}
	}
	return "unknown"
}
