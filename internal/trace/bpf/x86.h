/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What enters the kernel, and sends, on x86 alone. */
#pragma once

#include "irq.h"
#include "probe.h"

/* FIRST_EXTERNAL_VECTOR of arch/x86/include/asm/irq_vectors.h, as long as there was such an interrupt. */
#define IRQ_MOVE_CLEANUP_VECTOR 0x20

PROGRAM(page_fault_user)
{
	struct pt_regs *regs = (void *)ctx->args[1];

	if (watched_task(s))
		record_at(s, KIND_PAGE_FAULT, READ_USER_IP(regs), ctx->args[0], ctx->args[2], 0);
	broken(s, BREAK_PAGE_FAULT, ctx->args[0], s->left || fault_events ? FAULTING : SETTLED);
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

PROGRAM(irq_work_entry)
{
	irq_work_begins(s, (__u32)ctx->args[0]);
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

PROGRAM(vector_config)
{
	record_send(ctx, s, KIND_SEND_IRQ, (__u32)ctx->args[2], 0, (__u32)ctx->args[0], 0);
}

PROBE(native_smp_send_reschedule)
{
	record_send(ctx, s, KIND_SEND_RESCHEDULE, ARG1(ctx), 0, 0, 0);
}
