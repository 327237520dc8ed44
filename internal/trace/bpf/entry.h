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

PROGRAM(page_fault_user)
{
	struct pt_regs *regs = (void *)ctx->args[1];

	if (watched_task(s))
		record_at(s, KIND_PAGE_FAULT, READ_USER_IP(regs), ctx->args[0], ctx->args[2], 0);
	broken(s, BREAK_PAGE_FAULT, ctx->args[0]);
}

PROGRAM(signal_deliver)
{
	struct kernel_siginfo *info = (void *)ctx->args[1];

	if (watched_task(s))
		record(s, KIND_SIGNAL, ctx->args[0], (__s64)BPF_CORE_READ(info, si_code),
		       BPF_CORE_READ(info, _sifields._kill._pid));
	isolation_signal(s, ctx->args[0], BPF_CORE_READ(info, si_code));
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
