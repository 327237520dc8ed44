// SPDX-License-Identifier: Apache-2.0

package event

import "iter"

// Kind is the kind of an event. The numbers are those of enum kind in
// internal/trace/bpf/kinds.h; a test compares the two.
type Kind uint8

// Kinds of events. An Exit follows its Enter.
const (
	_ Kind = iota

	SyscallEnter // A: number
	SyscallExit  // A: number, B: result
	PageFault    // A: address, B: error code of the architecture, or FaultMinor or FaultMajor
	Signal       // A: signal, B: si_code, C: sender's process; about to be handled, or it has ended the process
	UserExit     // context tracking: user mode was left
	UserEnter    // context tracking: user mode will be entered

	LocalTimerEnter // A of all interrupt vectors: vector; on arm64 the irq number of the timer, 0 of an IPI
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
	IPIEnter // an IPI for another reason than those above; see [Event.Reason]
	IPIExit

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
	SendIPI        // Sender; A: target CPU; the sender of an IPIEnter

	kinds
)

// names are those of the tracepoints behind the kinds, without their subsystem, or of kernel functions where no tracepoint
// is behind one. Those about isolation have names of their own.
var names = [...]string{
	SyscallEnter:            "sys_enter",
	SyscallExit:             "sys_exit",
	PageFault:               "page_fault_user",
	Signal:                  "signal_deliver",
	UserExit:                "user_exit",
	UserEnter:               "user_enter",
	LocalTimerEnter:         "local_timer_entry",
	LocalTimerExit:          "local_timer_exit",
	RescheduleEnter:         "reschedule_entry",
	RescheduleExit:          "reschedule_exit",
	CallFunctionEnter:       "call_function_entry",
	CallFunctionExit:        "call_function_exit",
	CallFunctionSingleEnter: "call_function_single_entry",
	CallFunctionSingleExit:  "call_function_single_exit",
	IRQWorkEnter:            "irq_work_entry",
	IRQWorkExit:             "irq_work_exit",
	ThermalEnter:            "thermal_apic_entry",
	ThermalExit:             "thermal_apic_exit",
	ThresholdEnter:          "threshold_apic_entry",
	ThresholdExit:           "threshold_apic_exit",
	DeferredErrorEnter:      "deferred_error_apic_entry",
	DeferredErrorExit:       "deferred_error_apic_exit",
	ErrorAPICEnter:          "error_apic_entry",
	ErrorAPICExit:           "error_apic_exit",
	SpuriousEnter:           "spurious_apic_entry",
	SpuriousExit:            "spurious_apic_exit",
	PlatformIPIEnter:        "x86_platform_ipi_entry",
	PlatformIPIExit:         "x86_platform_ipi_exit",
	IPIEnter:                "ipi_entry",
	IPIExit:                 "ipi_exit",
	IRQEnter:                "irq_handler_entry",
	IRQExit:                 "irq_handler_exit",
	NMI:                     "nmi_handler",
	VectorFreed:             "vector_free_moved",
	SoftirqEnter:            "softirq_entry",
	SoftirqExit:             "softirq_exit",
	CSDEnter:                "csd_function_entry",
	CSDExit:                 "csd_function_exit",
	HRTimer:                 "hrtimer_expire_entry",
	Timer:                   "timer_expire_entry",
	Tick:                    "tick_stop",
	Work:                    "workqueue_execute_start",
	Switch:                  "sched_switch",
	Fork:                    "sched_process_fork",
	Exec:                    "sched_process_exec",
	Exit:                    "sched_process_exit",
	Migrate:                 "sched_migrate_task",
	Isolated:                "isolated",
	Broken:                  "broken",
	Left:                    "left",
	Told:                    "told",
	SendCall:                "csd_queue_cpu",
	SendSingle:              "generic_exec_single",
	SendCalls:               "smp_call_function_many_cond",
	SendReschedule:          "ipi_send_cpu",
	SendWake:                "sched_waking",
	SendWork:                "workqueue_queue_work",
	SendIRQ:                 "vector_config",
	SendHRTimer:             "hrtimer_start",
	SendTimer:               "timer_start",
	SendAffinity:            "set_cpus_allowed_common",
	SendCgroup:              "cgroup_attach_task",
	SendIPI:                 "ipi_raise",
}

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
func (k Kind) IsVector() bool { return k >= LocalTimerEnter && k <= IPIExit }

// IsVectorEnter reports whether k is the entry of such a vector.
func (k Kind) IsVectorEnter() bool { return k.IsVector() && (k-LocalTimerEnter)%2 == 0 }

// IsSend reports whether k is recorded on the sender's CPU, not on the target.
func (k Kind) IsSend() bool { return k >= SendCall && k < kinds }

// HasTask reports whether events of kind k have a Task.
func (k Kind) HasTask() bool { return k == Switch || k == Exec }

// IsIsolation reports whether k concerns isolation: its beginning or end, which the
// programs themselves decide and no tracepoint shows.
func (k Kind) IsIsolation() bool { return k >= Isolated && k <= Told }

// IsKnown reports whether there is a kind of that number.
func (k Kind) IsKnown() bool { return k > 0 && k < kinds }

// String returns the name of the tracepoint or function behind k.
func (k Kind) String() string {
	if !k.IsKnown() {
		return "unknown"
	}
	return names[k]
}

// MarshalText writes the name of k. Numbers change from one version of taskiso to the next; names do not.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what [Kind.MarshalText] wrote. A name that is not known gives 0, which is no kind.
func (k *Kind) UnmarshalText(name []byte) error {
	*k = 0
	for known := range Kinds() {
		if names[known] == string(name) {
			*k = known
		}
	}
	return nil
}
