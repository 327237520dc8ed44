/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tasks in user mode now. A task that never enters the kernel makes no event,
 * so it must be looked for once; the look disturbs nobody.
 */
#pragma once

#include "core.h"

struct in_user_mode {
	__u32 cpu;
	__u32 tid;
};

SEC("iter/task")
int in_user_mode(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct in_user_mode r = {};

	if (!task || !bpf_core_field_exists(task->vtime.state) || !BPF_CORE_READ(task, on_cpu) ||
	    BPF_CORE_READ(task, vtime.state) != bpf_core_enum_value(enum vtime_state, VTIME_USER))
		return 0;
	r.cpu = BPF_CORE_READ(task, vtime.cpu);
	r.tid = number_of(task);
	bpf_seq_write(ctx->meta->seq, &r, sizeof(r));
	return 0;
}
