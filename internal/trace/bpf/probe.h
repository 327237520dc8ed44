/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The senders that no tracepoint shows: kprobes on functions whose
 * signature the loader has checked. Those of function calls stand in for
 * csd_queue_cpu, which kernels before 6.5 lack, and run, like it, before the
 * call is queued: what is queued when its interrupt comes has been recorded.
 */
#pragma once

#include "send.h"

static __always_inline void record_single(struct pt_regs *ctx, struct cpu_state *s, __u8 kind)
{
	struct __call_single_data *csd = (void *)ARG2(ctx);
	__u32 cpu = ARG1(ctx);
	/* What wakes tasks stands in the queue without a function. */
	__u32 type = BPF_CORE_READ(csd, node.u_flags) & CSD_FLAG_TYPE_MASK;
	__u64 func = type == CSD_TYPE_TTWU ? sched_ttwu_pending : (__u64)BPF_CORE_READ(csd, func);

	if (cpu != bpf_get_smp_processor_id()) /* else it is called at once */
		record_send(ctx, s, kind, cpu, 0, func, (__u64)csd);
}

PROBE(__smp_call_single_queue)
{
	record_single(ctx, s, KIND_SEND_CALL);
}

PROBE(generic_exec_single)
{
	record_single(ctx, s, KIND_SEND_SINGLE);
}

PROBE(smp_call_function_many_cond)
{
	void *mask = (void *)ARG1(ctx);
	__u64 func = ARG2(ctx), now = bpf_ktime_get_ns();
	__u8 flags = ARG5(ctx) ? SEND_CONDITIONAL : 0;
	__u32 i, cpu;

	for (i = 0; i < targets && i < MAX_TARGETS; i++) {
		cpu = target[i];
		if (cpu != bpf_get_smp_processor_id() && has_cpu(mask, cpu) && watched_target(cpu))
			send(ctx, s, KIND_SEND_CALLS, cpu, 0, func, now, flags);
	}
}

/* SCA_CHECK of kernel/sched/sched.h: what sched_setaffinity() asks for, and nobody else. Its checks are behind us. */
#define SCA_CHECK 1

PROBE(set_cpus_allowed_common)
{
	void *mask = (void *)ARG2(ctx);
	struct affinity_context *wish = mask;
	__u32 i, flags = ARG3(ctx);

	if (bpf_core_type_exists(struct affinity_context)) {
		flags = BPF_CORE_READ(wish, flags);
		mask = BPF_CORE_READ(wish, new_mask);
	}
	if (!(flags & SCA_CHECK))
		return;
	for (i = 0; i < targets && i < MAX_TARGETS; i++) {
		if (has_cpu(mask, target[i]) && (any_cpu || watched_target(target[i]))) {
			send(ctx, s, KIND_SEND_AFFINITY, target[i], 0, number_of((void *)ARG1(ctx)), 0, 0);
			return;
		}
	}
}
