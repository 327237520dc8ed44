/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The senders that caused something on a watched CPU, in their own context. Function calls
 * are taken from csd_queue_cpu: it names each target of a cpumask call and the
 * function, and its csd is the very pointer that csd_function_entry shows
 * on the target. ipi_send_cpu adds only what has no csd: rescheduling. Wake-ups, work
 * items and interrupts that are moved show why a CPU ran something else.
 */
#pragma once

#include "isolation.h"

/* smp_send_reschedule() passes no callback; everything else has a csd. */
#define RESCHEDULE_CALLBACK 0

/* Whether anybody wants to know what is done to a CPU. */
static __always_inline bool watched_target(__u32 target)
{
	struct cpu_state *t = cpu_state(target);

	return t && (t->watched || (any_cpu && t->cached_flags & TASK_WATCHED));
}

static __always_inline void send(void *ctx, struct cpu_state *s, __u8 kind, __u32 target, __u64 callsite, __u64 func,
				 __u64 csd, __u8 flags)
{
	struct send_event *e = reserve(s, kind, sizeof(*e));
	long size;

	if (!e)
		return;
	e->e.flags |= flags;
	e->e.ip = callsite;
	e->e.a = target;
	e->e.b = func;
	e->e.c = csd;
	e->tgid = process_of((void *)bpf_get_current_task());
	e->cgroup = bpf_get_current_cgroup_id();
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	size = bpf_get_stack(ctx, e->stack, sizeof(e->stack), 0);
	e->frames = size > 0 ? size / sizeof(e->stack[0]) : 0;
	submit(e);
}

/* Whether a struct cpumask contains a CPU. */
static __always_inline bool has_cpu(void *mask, __u32 cpu)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), mask + cpu / 64 * sizeof(word));
	return word >> (cpu % 64) & 1;
}

/* Changes whenever it is switched away, and so shows whether it has run since. */
static __always_inline __u64 switches_of(struct task_struct *task)
{
	return BPF_CORE_READ(task, nvcsw) + BPF_CORE_READ(task, nivcsw);
}

static __always_inline void record_send(void *ctx, struct cpu_state *s, __u8 kind, __u32 target, __u64 callsite,
					__u64 func, __u64 csd)
{
	if (watched_target(target))
		send(ctx, s, kind, target, callsite, func, csd, 0);
}

PROGRAM(csd_queue_cpu)
{
	struct __call_single_data *csd = (void *)ctx->args[3];
	/* Entries that are not function calls share the queue; of several that wake tasks only the first shows. */
	__u32 type = BPF_CORE_READ(csd, node.u_flags) & CSD_FLAG_TYPE_MASK;
	bool shown = csd_events && type != CSD_TYPE_IRQ_WORK && type != CSD_TYPE_TTWU;

	if (watched_target(ctx->args[0]))
		send(ctx, s, KIND_SEND_CALL, ctx->args[0], ctx->args[1], ctx->args[2], (__u64)csd, shown ? SEND_SHOWN : 0);
}

PROGRAM(ipi_send_cpu)
{
	if (ctx->args[2] == RESCHEDULE_CALLBACK)
		record_send(ctx, s, KIND_SEND_RESCHEDULE, ctx->args[0], ctx->args[1], 0, 0);
}

/* The woken task may still be moved; where it runs is shown by sched_switch. */
PROGRAM(sched_waking)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 cpu = BPF_CORE_READ(task, thread_info.cpu), number = number_of(task);

	/* Of a thread that is followed everywhere also the wakes from idle CPUs: they end its waiting. */
	if (watched_target(cpu) || (any_cpu && bpf_map_lookup_elem(&tasks, &number)))
		send(ctx, s, KIND_SEND_WAKE, cpu, 0, number, switches_of(task), 0);
}

PROGRAM(workqueue_queue_work)
{
	struct pool_workqueue *pwq = (void *)ctx->args[1];
	struct work_struct *work = (void *)ctx->args[2];

	record_send(ctx, s, KIND_SEND_WORK, BPF_CORE_READ(pwq, pool, cpu), 0, (__u64)BPF_CORE_READ(work, func),
		    (__u64)work);
}

/*
 * The tick is armed by any task that happens to run when it is needed again;
 * tick_stop shows what needs it. Where the tick cannot be distinguished from other
 * timers, no timer gets a sender.
 */
static __always_inline bool may_be_tick(__u64 func)
{
	return hidden_symbols || func == tick_function;
}

/* A timer that its own function sets again is attributed to the task that set it first. */
PROGRAM(hrtimer_start)
{
	struct hrtimer *timer = (void *)ctx->args[0];
	__u64 func = (__u64)BPF_CORE_READ(timer, function);

	if (!may_be_tick(func) && BPF_CORE_READ(timer, base, running) != timer)
		record_send(ctx, s, KIND_SEND_HRTIMER, BPF_CORE_READ(timer, base, cpu_base, cpu), 0, func, (__u64)timer);
}

PROGRAM(timer_start)
{
	struct timer_list *timer = (void *)ctx->args[0];

	record_send(ctx, s, KIND_SEND_TIMER, BPF_CORE_READ(timer, flags) & TIMER_CPUMASK, 0,
		    (__u64)BPF_CORE_READ(timer, function), (__u64)timer);
}

/* A task can come to a watched CPU through its cgroup's cpuset; which CPUs that has is not asked. */
PROGRAM(cgroup_attach_task)
{
	struct task_struct *task = (void *)ctx->args[2];

	if (targets > 0 || any_cpu)
		send(ctx, s, KIND_SEND_CGROUP, BPF_CORE_READ(task, thread_info.cpu), 0, number_of(task), 0, 0);
}
