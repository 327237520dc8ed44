// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/taskiso/taskiso/internal/event"

const vectorParams = "int"

// entries are the sources of what enters the kernel on x86: bpf/x86.h.
var entries = []source{
	at(event.PageFault, "exceptions", "long unsigned int, struct pt_regs *, long unsigned int", "page faults", false),

	at(event.LocalTimerEnter, "irq_vectors", vectorParams, "the tick and other timers", false),
	at(event.LocalTimerExit, "irq_vectors", vectorParams, "the end of timer interrupts", false),
	at(event.RescheduleEnter, "irq_vectors", vectorParams, "rescheduling interrupts", false),
	at(event.RescheduleExit, "irq_vectors", vectorParams, "the end of rescheduling interrupts", false),
	at(event.CallFunctionEnter, "irq_vectors", vectorParams, "function-call interrupts to many CPUs", false),
	at(event.CallFunctionExit, "irq_vectors", vectorParams, "the end of function-call interrupts to many CPUs", false),
	at(event.CallFunctionSingleEnter, "irq_vectors", vectorParams, "function-call interrupts to one CPU", false),
	at(event.CallFunctionSingleExit, "irq_vectors", vectorParams, "the end of function-call interrupts to one CPU", false),
	at(event.IRQWorkEnter, "irq_vectors", vectorParams, "irq_work interrupts", false),
	at(event.IRQWorkExit, "irq_vectors", vectorParams, "the end of irq_work interrupts", false),
	at(event.ThermalEnter, "irq_vectors", vectorParams, "thermal interrupts", false),
	at(event.ThermalExit, "irq_vectors", vectorParams, "the end of thermal interrupts", false),
	at(event.ThresholdEnter, "irq_vectors", vectorParams, "machine-check threshold interrupts", false),
	at(event.ThresholdExit, "irq_vectors", vectorParams, "the end of machine-check threshold interrupts", false),
	at(event.DeferredErrorEnter, "irq_vectors", vectorParams, "deferred machine-check interrupts", false),
	at(event.DeferredErrorExit, "irq_vectors", vectorParams, "the end of deferred machine-check interrupts", false),
	at(event.ErrorAPICEnter, "irq_vectors", vectorParams, "APIC error interrupts", false),
	at(event.ErrorAPICExit, "irq_vectors", vectorParams, "the end of APIC error interrupts", false),
	at(event.SpuriousEnter, "irq_vectors", vectorParams, "spurious interrupts", false),
	at(event.SpuriousExit, "irq_vectors", vectorParams, "the end of spurious interrupts", false),
	at(event.PlatformIPIEnter, "irq_vectors", vectorParams, "platform interrupts", false),
	at(event.PlatformIPIExit, "irq_vectors", vectorParams, "the end of platform interrupts", false),

	at(event.IRQEnter, "irq", "int, struct irqaction *", "device interrupts", false),
	at(event.IRQExit, "irq", "int, struct irqaction *, int", "the end of device interrupts", false),
	at(event.NMI, "nmi", "void *, s64, int", "non-maskable interrupts", false),
	at(event.VectorFreed, "irq_vectors", "unsigned int, unsigned int, unsigned int", "the interrupt after a device's interrupt was moved away", false),
}

var senders = []source{
	at(event.SendIRQ, "irq_vectors", "unsigned int, unsigned int, unsigned int", "the task that moved an interrupt", false),
}

// rescheduling stands in for ipi_send_cpu.
var rescheduling = []source{
	standIn(event.SendReschedule, "native_smp_send_reschedule", "int", "the sender of a rescheduling interrupt"),
}
