/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Entries that the task itself causes, and the bracket of context tracking. */
#pragma once

#include "isolation.h"

PROGRAM(sys_enter)
{
	struct pt_regs *regs = (void *)ctx->args[0];

	if (watched_task(s))
		record_at(s, KIND_SYSCALL_ENTER, READ_USER_IP(regs), ctx->args[1], 0, 0);
	isolation_sys_enter(s, ctx->args[1]);
}

PROGRAM(sys_exit)
{
	struct pt_regs *regs = (void *)ctx->args[0];

	if (watched_task(s))
		record_at(s, KIND_SYSCALL_EXIT, READ_USER_IP(regs), READ_SYSCALL_NR(regs), ctx->args[1], 0);
	isolation_sys_exit(s, regs, ctx->args[1]);
}

/* Whether no tracepoint shows page faults. */
volatile const bool faults_resolved_only = false;

static __always_inline int fault_resolved(struct bpf_perf_event_data *ctx, __u64 code)
{
	struct cpu_state *s = cpu_state(bpf_get_smp_processor_id());

	if (!s)
		return 0;
	if (faults_resolved_only && watched_task(s))
		record(s, KIND_PAGE_FAULT, ctx->addr, code, 0);
	isolation_fault_resolved(s, ctx->addr);
	return 0;
}

/* perf's software events of faults that were resolved: attached to each watched CPU if something is to be known by them. */
SEC("perf_event")
int page_fault_minor(struct bpf_perf_event_data *ctx)
{
	return fault_resolved(ctx, FAULT_MINOR);
}

SEC("perf_event")
int page_fault_major(struct bpf_perf_event_data *ctx)
{
	return fault_resolved(ctx, FAULT_MAJOR);
}

/*
 * A process that a signal ends is delivered SIGKILL, without a sender, in its
 * place: complete_signal() and get_signal() in kernel/signal.c. The signal is what
 * is recorded.
 */
static __always_inline __u32 signal_behind(__u32 sig, struct kernel_siginfo *info)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 behind = sig == SIGKILL && !info ? BPF_CORE_READ(task, signal, group_exit_code) & 0x7f : 0;

	return behind ? behind : sig;
}

PROGRAM(signal_deliver)
{
	struct kernel_siginfo *info = (void *)ctx->args[1];
	__u32 sig = signal_behind(ctx->args[0], info);
	__u8 kind;

	isolation_signal(s, sig);
	/* The sender has the number that the receiver's namespace knows it by. */
	kind = watched_task(s) ? KIND_SIGNAL : has_page(s) ? KIND_TOLD : KIND_NONE;
	if (kind)
		record(s, kind, sig, (__s64)BPF_CORE_READ(info, si_code),
		       in_our_namespace((void *)bpf_get_current_task()) ? BPF_CORE_READ(info, _sifields._kill._pid) : 0);
}

PROGRAM(user_exit)
{
	isolation_user_exit(s);
	if (watched_cpu(s))
		record(s, KIND_USER_EXIT, 0, 0, 0);
}

PROGRAM(user_enter)
{
	isolation_user_enter(s);
	if (watched_cpu(s))
		record(s, KIND_USER_ENTER, 0, 0, 0);
}
