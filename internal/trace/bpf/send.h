/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Senders of inter-processor interrupts, in their own context. Function calls
 * are taken from csd_queue_cpu: it names each target of a cpumask call, tells
 * the function, and its csd is the very pointer that csd_function_entry shows
 * on the target. ipi_send_cpu adds only what has no csd: rescheduling.
 */
#pragma once

#include "core.h"

/* smp_send_reschedule() passes no callback; everything else has a csd. */
#define RESCHEDULE_CALLBACK 0

static __always_inline void record_send(struct bpf_raw_tracepoint_args *ctx, struct cpu_state *s, __u8 kind, __u32 target,
					__u64 callsite, __u64 func, __u64 csd)
{
	struct cpu_state *t = cpu_state(target);
	struct send_event *e;
	long size;

	if (!t || !(t->watched || (any_cpu && t->cached_flags & TASK_WATCHED)))
		return;
	e = reserve(s, kind, sizeof(*e));
	if (!e)
		return;
	e->e.ip = callsite;
	e->e.a = target;
	e->e.b = func;
	e->e.c = csd;
	e->tgid = bpf_get_current_pid_tgid() >> 32;
	e->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	size = bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
	e->frames = size > 0 ? size / sizeof(e->stack[0]) : 0;
	submit(e);
}

PROGRAM(csd_queue_cpu)
{
	record_send(ctx, s, KIND_SEND_CALL, ctx->args[0], ctx->args[1], ctx->args[2], ctx->args[3]);
}

PROGRAM(ipi_send_cpu)
{
	if (ctx->args[2] == RESCHEDULE_CALLBACK)
		record_send(ctx, s, KIND_SEND_RESCHEDULE, ctx->args[0], ctx->args[1], 0, 0);
}
