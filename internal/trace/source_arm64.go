// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/taskiso/taskiso/internal/event"

// entries are the sources of what enters the kernel on arm64: bpf/arm64.h.
var entries = []source{
	{kind: event.PageFault, system: perfEvents, name: minorFaults, params: "none", shows: "page faults"},
	{kind: event.PageFault, system: perfEvents, name: majorFaults, params: "none", shows: "page faults that wait for a disk"},

	{kind: event.IRQEnter, system: "irq", name: "irq_handler_entry", params: "int, struct irqaction *", shows: "device interrupts and timers",
		also: []event.Kind{event.LocalTimerEnter}},
	{kind: event.IRQExit, system: "irq", name: "irq_handler_exit", params: "int, struct irqaction *, int", shows: "the end of device interrupts and timers",
		also: []event.Kind{event.LocalTimerExit}},
	{kind: event.IPIEnter, system: "ipi", name: "ipi_entry", params: "const char *", shows: "inter-processor interrupts",
		also: []event.Kind{event.RescheduleEnter, event.CallFunctionEnter, event.IRQWorkEnter}},
	{kind: event.IPIExit, system: "ipi", name: "ipi_exit", params: "const char *", shows: "the end of inter-processor interrupts",
		also: []event.Kind{event.RescheduleExit, event.CallFunctionExit, event.IRQWorkExit}},
}

var senders = []source{
	at(event.SendIPI, "ipi", "const struct cpumask *, const char *", "the sender of an inter-processor interrupt for another reason", false),
}

// rescheduling stands in for ipi_send_cpu: nothing, because what the function is called differs by kernel.
var rescheduling []source
