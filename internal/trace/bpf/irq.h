/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Interrupts and what is done in them. */
#pragma once

#include "isolation.h"

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

/* An irq_work may be the one that sends our signal: b of its event. */
static __always_inline void irq_work_begins(struct cpu_state *s, __u64 vector)
{
	__u32 ours = s->ours;

	if (watched_cpu(s))
		record(s, KIND_IRQ_WORK_ENTER, vector, ours, 0);
	s->ours = 0;
	if (!ours)
		interrupted(s, BREAK_IRQ_WORK, vector);
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
