/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Entries that the task itself causes, and the bracket of context tracking. */
#pragma once

#include "core.h"

SEC("raw_tp/sys_enter")
int sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_task();
	struct event *e = s ? reserve(s, KIND_SYSCALL_ENTER, sizeof(*e)) : NULL;
	struct pt_regs *regs = (void *)ctx->args[0];

	if (!e)
		return 0;
	e->ip = READ_USER_IP(regs);
	e->a = ctx->args[1];
	e->b = e->c = 0;
	submit(e);
	return 0;
}

SEC("raw_tp/sys_exit")
int sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_task();
	struct event *e = s ? reserve(s, KIND_SYSCALL_EXIT, sizeof(*e)) : NULL;
	struct pt_regs *regs = (void *)ctx->args[0];

	if (!e)
		return 0;
	e->ip = READ_USER_IP(regs);
	e->a = READ_SYSCALL_NR(regs);
	e->b = ctx->args[1];
	e->c = 0;
	submit(e);
	return 0;
}

SEC("raw_tp/page_fault_user")
int page_fault_user(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_task();
	struct event *e = s ? reserve(s, KIND_PAGE_FAULT, sizeof(*e)) : NULL;
	struct pt_regs *regs = (void *)ctx->args[1];

	if (!e)
		return 0;
	e->ip = READ_USER_IP(regs);
	e->a = ctx->args[0];
	e->b = ctx->args[2];
	e->c = 0;
	submit(e);
	return 0;
}

SEC("raw_tp/signal_deliver")
int signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_task();
	struct kernel_siginfo *info = (void *)ctx->args[1];

	if (s)
		record(s, KIND_SIGNAL, ctx->args[0], (__s64)BPF_CORE_READ(info, si_code),
		       BPF_CORE_READ(info, _sifields._kill._pid));
	return 0;
}

SEC("raw_tp/user_exit")
int user_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_cpu();

	if (s)
		record(s, KIND_USER_EXIT, 0, 0, 0);
	return 0;
}

SEC("raw_tp/user_enter")
int user_enter(struct bpf_raw_tracepoint_args *ctx)
{
	struct cpu_state *s = watched_cpu();

	if (s)
		record(s, KIND_USER_ENTER, 0, 0, 0);
	return 0;
}
