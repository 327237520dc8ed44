/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What enters the kernel, and sends, on arm64 alone. There the CPU's own interrupts, its timer and those between processors, are
 * interrupts like a device's, with numbers that differ by machine and kernel. What they are stands in their names. The order of
 * the events of one IPI is irq_handler_entry, ipi_entry, ipi_exit, irq_handler_exit (kernel/irq/chip.c, arch/arm64/kernel/smp.c).
 * Those that can be NMIs, for backtraces and for KGDB, have no ipi_entry: they show at their end, without a reason. They alone
 * can come in the middle of another program here, and both count KIND_IPI_ENTER: as rarely as that it may be counted once for two.
 */
#pragma once

#include "irq.h"
#include "send.h"

#define WORD(a, b, c, d, e, f, g, h)                                                                              \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | \
	 (__u64)(g) << 48 | (__u64)(h) << 56)

/* As much of a text of the kernel as distinguishes it from others. */
struct text {
	__u64 word[2];
};

static __always_inline struct text text_at(const char *where)
{
	struct text t = {};

	bpf_probe_read_kernel_str(&t, sizeof(t), where);
	return t;
}

enum what {
	DEVICE,
	TIMER,
	IPI,
};

/* drivers/clocksource/arm_arch_timer.c and arch/arm64/kernel/smp.c give these names. */
static __always_inline enum what what_is(struct irqaction *action)
{
	struct text name;

	if (!BPF_CORE_READ(action, percpu_dev_id))
		return DEVICE;
	name = text_at(BPF_CORE_READ(action, name));
	if (name.word[0] == WORD('a', 'r', 'c', 'h', '_', 't', 'i', 'm') &&
	    name.word[1] == WORD('e', 'r', 0, 0, 0, 0, 0, 0))
		return TIMER;
	return name.word[0] == WORD('I', 'P', 'I', 0, 0, 0, 0, 0) ? IPI : DEVICE;
}

PROGRAM(irq_handler_entry)
{
	struct irqaction *action = (void *)ctx->args[1];
	enum what what = what_is(action);
	__u32 irq = ctx->args[0];

	if (what == IPI) {
		s->ipi = 1;
		return;
	}
	if (watched_cpu(s)) {
		if (what == TIMER)
			record(s, KIND_LOCAL_TIMER_ENTER, irq, 0, 0);
		else
			record(s, KIND_IRQ_ENTER, irq, (__u64)BPF_CORE_READ(action, handler), 0);
	}
	interrupted(s, what == TIMER ? BREAK_TIMER : BREAK_IRQ, irq);
}

/* An IPI ends, which is one of those that nothing has shown. */
static __always_inline void ipi_without_reason(struct cpu_state *s)
{
	s->ipi = 0;
	if (watched_cpu(s)) {
		record(s, KIND_IPI_ENTER, 0, 0, 0);
		record(s, KIND_IPI_EXIT, 0, 0, 0);
	}
	interrupted(s, BREAK_VECTOR, 0);
	interrupt_over(s);
}

PROGRAM(irq_handler_exit)
{
	enum what what = what_is((void *)ctx->args[1]);
	__u32 irq = ctx->args[0];

	if (what == IPI) {
		if (s->ipi)
			ipi_without_reason(s);
		return;
	}
	if (watched_cpu(s)) {
		if (what == TIMER)
			record(s, KIND_LOCAL_TIMER_EXIT, irq, 0, 0);
		else
			record(s, KIND_IRQ_EXIT, irq, (__u32)ctx->args[2], 0);
	}
	interrupt_over(s);
}

/* What an IPI is for: ipi_types of arch/arm64/kernel/smp.c. All other reasons are rare. */
#define RESCHEDULING WORD('R', 'e', 's', 'c', 'h', 'e', 'd', 'u')
#define FUNCTION_CALL WORD('F', 'u', 'n', 'c', 't', 'i', 'o', 'n')
#define IRQ_WORK WORD('I', 'R', 'Q', ' ', 'w', 'o', 'r', 'k')

PROGRAM(ipi_entry)
{
	struct text reason = text_at((void *)ctx->args[0]);
	bool watched = watched_cpu(s);

	s->ipi = 0;
	switch (reason.word[0]) {
	case RESCHEDULING:
		if (watched)
			record(s, KIND_RESCHEDULE_ENTER, 0, 0, 0);
		interrupted(s, BREAK_RESCHEDULE, 0);
		return;
	case FUNCTION_CALL:
		if (watched)
			record(s, KIND_CALL_FUNCTION_ENTER, 0, 0, 0);
		interrupted(s, BREAK_CALL, 0);
		return;
	case IRQ_WORK:
		irq_work_begins(s, 0);
		return;
	}
	if (watched)
		record(s, KIND_IPI_ENTER, 0, reason.word[0], reason.word[1]);
	interrupted(s, BREAK_VECTOR, 0);
}

PROGRAM(ipi_exit)
{
	struct text reason = text_at((void *)ctx->args[0]);
	__u8 kind = KIND_IPI_EXIT;

	if (reason.word[0] == RESCHEDULING)
		kind = KIND_RESCHEDULE_EXIT;
	else if (reason.word[0] == FUNCTION_CALL)
		kind = KIND_CALL_FUNCTION_EXIT;
	else if (reason.word[0] == IRQ_WORK)
		kind = KIND_IRQ_WORK_EXIT;
	if (watched_cpu(s))
		record(s, kind, 0, 0, 0);
	interrupt_over(s);
}

/* The senders of those reasons that have no other event: csd_queue_cpu and ipi_send_cpu show more of theirs. */
PROGRAM(ipi_raise)
{
	struct text reason = text_at((void *)ctx->args[1]);
	void *mask = (void *)ctx->args[0];
	__u32 i;

	if (reason.word[0] == RESCHEDULING || reason.word[0] == FUNCTION_CALL || reason.word[0] == IRQ_WORK)
		return;
	for (i = 0; i < targets && i < MAX_TARGETS; i++)
		if (has_cpu(mask, target[i]) && watched_target(target[i]))
			send(ctx, s, KIND_SEND_IPI, target[i], 0, reason.word[0], reason.word[1], 0);
}
