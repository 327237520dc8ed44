/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Interrupts and what is done in them. */
#pragma once

#include "isolation.h"

/* FIRST_EXTERNAL_VECTOR of arch/x86/include/asm/irq_vectors.h, as long as there was such an interrupt. */
#define IRQ_MOVE_CLEANUP_VECTOR 0x20

#define EVENT(tracepoint, kind, a, b, c)        \
	PROGRAM(tracepoint)                     \
	{                                       \
		if (watched_cpu(s))             \
			record(s, kind, a, b, c); \
	}

/* Like EVENT, for an event that can enter the kernel: it interrupts an isolated thread. */
#define ENTRY(tracepoint, kind, cause, a, b, c) \
	PROGRAM(tracepoint)                     \
	{                                       \
		if (watched_cpu(s))             \
			record(s, kind, a, b, c); \
		interrupted(s, cause, a);       \
	}

/* Like EVENT, for the end of an interruption. */
#define OVER(tracepoint, kind, a, b, c)         \
	PROGRAM(tracepoint)                     \
	{                                       \
		if (watched_cpu(s))             \
			record(s, kind, a, b, c); \
		interrupt_over(s);              \
	}

#define VECTOR(tracepoint, KIND, cause)                                                     \
	ENTRY(tracepoint##_entry, KIND_##KIND##_ENTER, cause, (__u32)ctx->args[0], 0, 0)    \
	OVER(tracepoint##_exit, KIND_##KIND##_EXIT, (__u32)ctx->args[0], 0, 0)

VECTOR(local_timer, LOCAL_TIMER, BREAK_TIMER)
VECTOR(reschedule, RESCHEDULE, BREAK_RESCHEDULE)
VECTOR(call_function, CALL_FUNCTION, BREAK_CALL)
VECTOR(call_function_single, CALL_FUNCTION_SINGLE, BREAK_CALL)
VECTOR(thermal_apic, THERMAL, BREAK_VECTOR)
VECTOR(threshold_apic, THRESHOLD, BREAK_VECTOR)
VECTOR(deferred_error_apic, DEFERRED_ERROR, BREAK_VECTOR)
VECTOR(error_apic, ERROR_APIC, BREAK_VECTOR)
VECTOR(spurious_apic, SPURIOUS, BREAK_VECTOR)
VECTOR(x86_platform_ipi, PLATFORM_IPI, BREAK_VECTOR)

/* b: it may be the one that sends our signal. */
PROGRAM(irq_work_entry)
{
	__u32 ours = s->ours;

	if (watched_cpu(s))
		record(s, KIND_IRQ_WORK_ENTER, (__u32)ctx->args[0], ours, 0);
	s->ours = 0;
	if (!ours)
		interrupted(s, BREAK_IRQ_WORK, (__u32)ctx->args[0]);
}
OVER(irq_work_exit, KIND_IRQ_WORK_EXIT, (__u32)ctx->args[0], 0, 0)

ENTRY(irq_handler_entry, KIND_IRQ_ENTER, BREAK_IRQ, (__u32)ctx->args[0],
      (__u64)BPF_CORE_READ((struct irqaction *)ctx->args[1], handler), 0)
OVER(irq_handler_exit, KIND_IRQ_EXIT, (__u32)ctx->args[0], (__u32)ctx->args[2], 0)

/*
 * In an interrupt that has no event of its own (IRQ_MOVE_CLEANUP_VECTOR), or where that was replaced in a timer, on the CPU from
 * which a device's interrupt was moved. Of one that goes offline others do it.
 */
PROGRAM(vector_free_moved)
{
	if (ctx->args[1] != bpf_get_smp_processor_id())
		return;
	if (watched_cpu(s))
		record(s, KIND_VECTOR_FREED, (__u32)ctx->args[0], (__u32)ctx->args[2], 0);
	interrupted(s, BREAK_VECTOR, IRQ_MOVE_CLEANUP_VECTOR);
}

EVENT(softirq_entry, KIND_SOFTIRQ_ENTER, (__u32)ctx->args[0], 0, 0)
EVENT(softirq_exit, KIND_SOFTIRQ_EXIT, (__u32)ctx->args[0], 0, 0)

PROGRAM(csd_function_entry)
{
	isolation_csd(s, ctx->args[0]);
	if (watched_cpu(s))
		record(s, KIND_CSD_ENTER, ctx->args[0], ctx->args[1], 0);
}
EVENT(csd_function_exit, KIND_CSD_EXIT, ctx->args[0], ctx->args[1], 0)

EVENT(hrtimer_expire_entry, KIND_HRTIMER,
      (__u64)BPF_CORE_READ((struct hrtimer *)ctx->args[0], function), ctx->args[0], 0)
EVENT(timer_expire_entry, KIND_TIMER,
      (__u64)BPF_CORE_READ((struct timer_list *)ctx->args[0], function), ctx->args[0],
      (BPF_CORE_READ((struct timer_list *)ctx->args[0], flags) & TIMER_CPUMASK) + 1)
EVENT(tick_stop, KIND_TICK, (__u32)ctx->args[0], (__u32)ctx->args[1], 0)
EVENT(workqueue_execute_start, KIND_WORK,
      (__u64)BPF_CORE_READ((struct work_struct *)ctx->args[0], func), ctx->args[0], 0)

/*
 * The kernel asks every registered handler for each NMI; only those that found
 * it to be theirs are recorded.
 */
PROGRAM(nmi_handler)
{
	int handled = ctx->args[2];

	if (handled)
		interrupted(s, BREAK_NMI, 0);
	if (handled && watched_cpu(s))
		record(s, KIND_NMI, ctx->args[0], ctx->args[1], handled);
}
