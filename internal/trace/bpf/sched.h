/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which task a CPU runs, and which tasks are watched. */
#pragma once

#include "isolation.h"

static __always_inline void fill_task(struct task_event *t, struct task_struct *task, __u32 flags)
{
	t->e.a = BPF_CORE_READ(task, pid);
	t->tgid = BPF_CORE_READ(task, tgid);
	t->flags = flags;
	BPF_CORE_READ_STR_INTO(&t->comm, task, comm);
}

/*
 * Current is still the previous task here, so the answer kept for
 * current_flags() is set to the next one's.
 */
PROGRAM(sched_switch)
{
	struct task_struct *prev = (void *)ctx->args[1], *next = (void *)ctx->args[2];
	__u32 next_tid, flags, prev_flags;
	struct task_event *t;

	if (!(s->watched || any_cpu))
		return;
	if (s->running > 1)
		s->preempted++;
	prev_flags = current_flags(s);
	next_tid = BPF_CORE_READ(next, pid);
	flags = task_flags(next, next_tid);
	isolation_switch(s, bpf_get_current_pid_tgid(), next_tid, ctx->args[3], next_tid && !(flags & TASK_WATCHED));
	if (s->watched || (prev_flags | flags) & TASK_WATCHED) {
		t = reserve(s, KIND_SWITCH, sizeof(*t));
		if (t) {
			t->e.ip = 0;
			t->e.b = (__u32)ctx->args[3];
			t->e.c = BPF_CORE_READ(prev, tgid);
			fill_task(t, next, flags);
			submit(t);
		}
	}
	s->cached_tid = next_tid;
	s->cached_flags = flags;
}

/* Runs in the parent before the child can run: no event of a child is missed. */
PROGRAM(sched_process_fork)
{
	struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	__u32 parent_tid = BPF_CORE_READ(parent, pid), tid = BPF_CORE_READ(child, pid);
	__u32 tgid = BPF_CORE_READ(child, tgid);
	__u8 one = 1;

	if (!follow || !bpf_map_lookup_elem(&tasks, &parent_tid))
		return;
	if (follow == 1 && tgid != BPF_CORE_READ(parent, tgid))
		return;
	if (bpf_map_update_elem(&tasks, &tid, &one, BPF_ANY))
		__sync_fetch_and_add(&unwatched_children, 1);
	record(s, KIND_FORK, tid, tgid, 0);
}

/*
 * A thread other than the leader that calls execve() takes over the leader's
 * number, which was removed when the leader ended a moment before.
 */
PROGRAM(sched_process_exec)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 old = ctx->args[1], tid = BPF_CORE_READ(task, pid);
	struct task_event *t;
	__u8 one = 1;

	if (!(bpf_map_lookup_elem(&tasks, &tid) || bpf_map_lookup_elem(&tasks, &old)))
		return;
	bpf_map_update_elem(&tasks, &tid, &one, BPF_ANY);
	s->cached_tid = NO_TID;
	t = reserve(s, KIND_EXEC, sizeof(*t));
	if (t) {
		t->e.ip = 0;
		t->e.b = old;
		t->e.c = 0;
		fill_task(t, task, TASK_WATCHED);
		submit(t);
	}
}

PROGRAM(sched_process_exit)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 tid = BPF_CORE_READ(task, pid);

	isolation_exit(s);
	isolation_supervisor(task);
	if ((!(s->watched && all_tasks) && !bpf_map_lookup_elem(&tasks, &tid)))
		return;
	bpf_map_delete_elem(&tasks, &tid);
	record(s, KIND_EXIT, 0, 0, 0);
}
