/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What keeps a task from its CPU, by the scheduler's own record at the switch away from it. Neither its
 * state nor that the CPU is idle then proves it: a task that is being moved could run too.
 */
#pragma once

#include "core.h"

/* Up to 6.17 throttle_cfs_rq() takes groups off their CPU, and leaves the tasks in them where they are. */
static __always_inline bool throttled_fair(struct task_struct *task, struct cfs_rq *queue)
{
	if (bpf_core_field_exists(task->throttled))
		return BPF_CORE_READ(task, throttled);
	return bpf_core_field_exists(queue->throttle_count) && BPF_CORE_READ(task, se.on_rq) && BPF_CORE_READ(queue, throttle_count) > 0;
}

static __always_inline bool throttled_realtime(struct task_struct *task, struct cfs_rq *queue)
{
	struct rq *rq = BPF_CORE_READ(queue, rq);

	return bpf_core_field_exists(rq->rt.rt_throttled) && BPF_CORE_READ(task, rt.on_rq) && BPF_CORE_READ(rq, rt.rt_throttled);
}

/* A deadline task that yields gives its budget away by itself. */
static __always_inline bool throttled_deadline(struct task_struct *task)
{
	return BPF_CORE_READ_BITFIELD_PROBED(task, dl.dl_throttled) && !BPF_CORE_READ_BITFIELD_PROBED(task, dl.dl_yielded);
}

static __always_inline bool is_throttled(struct task_struct *task)
{
	struct cfs_rq *queue;

	if (throttled_deadline(task))
		return true;
	if (!bpf_core_field_exists(task->se.cfs_rq))
		return false;
	queue = BPF_CORE_READ(task, se.cfs_rq);
	return throttled_fair(task, queue) || throttled_realtime(task, queue);
}

/* state: 0 if the task would go on. */
static __always_inline __u8 kept_by(struct task_struct *task, __u32 state)
{
	if (!state)
		return is_throttled(task) ? SWITCH_THROTTLED : 0;
	return bpf_core_field_exists(task->frozen) && BPF_CORE_READ_BITFIELD_PROBED(task, frozen) ? SWITCH_FROZEN : 0;
}
