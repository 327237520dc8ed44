/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which task a CPU runs, and which tasks are watched. */
#pragma once

#include "elsewhere.h"
#include "kept.h"
#include "send.h"

static __always_inline void fill_task(struct task_event *t, struct task_struct *task, __u32 number, __u32 flags)
{
	t->e.a = number;
	t->tgid = process_of(task);
	t->flags = flags;
	BPF_CORE_READ_STR_INTO(&t->comm, task, comm);
	t->born = BPF_CORE_READ(task, start_time);
	t->switches = switches_of(task);
}

/*
 * Current is still the previous task here, so the answer kept for
 * current_flags() is set to the next one's.
 *
 * Where watched tasks are followed, the switches from and to one are recorded. The kernel reports some to
 * nobody: if such a task was there according to the last one and it is not the task that leaves, this switch, between
 * two others, is recorded too. Else the task would be taken to run until the CPU has another event.
 */
PROGRAM(sched_switch)
{
	struct task_struct *prev = (void *)ctx->args[1], *next = (void *)ctx->args[2];
	/* A task that is preempted on its way to sleep has that state already, and yet would go on. */
	__u32 number, flags, prev_flags, state = ctx->args[0] ? 0 : ctx->args[3];
	struct task_event *t;

	isolation_switch(s, next, state);
	if (!(s->watched || any_cpu)) {
		if (!all_tasks)
			elsewhere_switch(s, next);
		return;
	}
	if (s->running > 1)
		s->preempted++;
	prev_flags = current_flags(s);
	number = number_of(next);
	flags = task_flags(next, number);
	isolation_turn(s, number, number && !(flags & TASK_WATCHED));
	if (s->watched || s->shown || (prev_flags | flags) & TASK_WATCHED) {
		s->shown = any_cpu && flags & TASK_WATCHED;
		t = reserve(s, KIND_SWITCH, sizeof(*t));
		if (t) {
			t->e.ip = prev_flags & TASK_WATCHED ? user_ip(s) : 0;
			t->e.b = state;
			t->e.c = process_of(prev);
			if (prev_flags & TASK_WATCHED)
				t->e.flags |= kept_by(prev, state);
			fill_task(t, next, number, flags);
			submit(t);
		}
	}
	keep_current(s, next, number, flags);
}

/* Runs in the parent before the child can run: no event of a child is missed. */
PROGRAM(sched_process_fork)
{
	struct task_struct *parent = (void *)ctx->args[0], *child = (void *)ctx->args[1];
	__u32 parent_number = number_of(parent), number = number_of(child);
	__u8 one = 1;

	if (!follow || !bpf_map_lookup_elem(&tasks, &parent_number))
		return;
	if (follow == 1 && BPF_CORE_READ(child, tgid) != BPF_CORE_READ(parent, tgid))
		return;
	if (bpf_map_update_elem(&tasks, &number, &one, BPF_ANY))
		__sync_fetch_and_add(&unwatched_children, 1);
	note_number(child, number);
	record(s, KIND_FORK, number, process_of(child), 0);
}

/* A number that no thread has any more will be another's. */
static __always_inline void forget(__u32 number)
{
	bpf_map_delete_elem(&tasks, &number);
	isolation_forget(number);
}

/*
 * A thread other than the leader that calls execve() takes over the leader's
 * number, which was removed when the leader ended a moment before; its own is
 * given up without an event.
 */
PROGRAM(sched_process_exec)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 old = former_number(task, ctx->args[1]), number = number_of(task);
	struct task_event *t;
	__u8 one = 1;

	if (!(bpf_map_lookup_elem(&tasks, &number) || bpf_map_lookup_elem(&tasks, &old)))
		return;
	if (old != number)
		forget(old);
	forget_number(ctx->args[1]);
	bpf_map_update_elem(&tasks, &number, &one, BPF_ANY);
	s->cached_tid = NO_TID;
	t = reserve(s, KIND_EXEC, sizeof(*t));
	if (t) {
		t->e.ip = 0;
		t->e.b = old;
		t->e.c = 0;
		fill_task(t, task, number, TASK_WATCHED);
		submit(t);
	}
}

PROGRAM(sched_process_exit)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 number = current_number(s);

	isolation_exit(s, number);
	isolation_supervisor(task);
	/* On any CPU: user space keeps account of the thread. */
	if (!(all_tasks && has_user_mode(task)) && !bpf_map_lookup_elem(&tasks, &number))
		return;
	forget(number);
	forget_number(BPF_CORE_READ(task, pid));
	record(s, KIND_EXIT, !(s->watched || any_cpu), 0, 0);
}

/* A thread that moves to a CPU on which it is not recorded may be in user mode there. */
PROGRAM(sched_migrate_task)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct cpu_state *from = cpu_state(BPF_CORE_READ(task, thread_info.cpu)), *to = cpu_state(ctx->args[1]);
	__u32 number;

	if (any_cpu || !from || !from->watched || (to && to->watched))
		return;
	number = number_of(task);
	if (task_flags(task, number) & TASK_WATCHED)
		record(s, KIND_MIGRATE, (__u32)ctx->args[1], number, 0);
}
