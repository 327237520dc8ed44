/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Numbers of threads. A process in a PID namespace calls a thread by another
 * number than the kernel does, and user space passes its own numbers to these
 * programs, and expects them back. So every number of a thread is
 * the one in the namespace of taskiso. Threads that have none there, which it
 * could not name in any call, have that of the kernel with a bit that no number has.
 */
#pragma once

#include <stdbool.h>
#include "kinds.h"

#define NUMBER_OUTSIDE 0x80000000U /* PID_MAX_LIMIT is 4 Mi */
#define MAX_PID_NS_LEVEL 32	   /* include/linux/pid_namespace.h */

/* The inode of taskiso's PID namespace, and whether it is not the initial one. */
volatile const __u32 pid_namespace = 0;
volatile const bool in_pid_namespace = false;

static __always_inline struct upid *number_at(struct pid *pid, __u32 level)
{
	return (void *)pid + bpf_core_field_offset(struct pid, numbers) + level * bpf_core_type_size(struct upid);
}

static __always_inline bool is_ours(struct upid *n)
{
	return BPF_CORE_READ(n, ns, ns.inum) == pid_namespace;
}

static __noinline __u32 number_in_namespace(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid); /* none once the thread was reaped */
	__u32 i, level = pid ? BPF_CORE_READ(pid, level) : 0, tid = BPF_CORE_READ(task, pid);

#pragma clang loop unroll(disable)
	for (i = 1; i <= level && i <= MAX_PID_NS_LEVEL; i++)
		if (is_ours(number_at(pid, i)))
			return BPF_CORE_READ(number_at(pid, i), nr);
	return tid ? tid | NUMBER_OUTSIDE : 0;
}

static __always_inline __u32 number_of(struct task_struct *task)
{
	return in_pid_namespace ? number_in_namespace(task) : BPF_CORE_READ(task, pid);
}

static __always_inline __u32 process_of(struct task_struct *task)
{
	return in_pid_namespace ? number_in_namespace(BPF_CORE_READ(task, group_leader)) : BPF_CORE_READ(task, tgid);
}

/* Whether a thread calls others by the same numbers as taskiso. */
static __always_inline bool in_our_namespace(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);

	return pid && is_ours(number_at(pid, BPF_CORE_READ(pid, level)));
}

/*
 * In a namespace: what watched threads other than leaders are called, by the
 * kernel's numbers. execve() takes away their number before its event, which has
 * the kernel's only.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* as many as tasks if it is needed, set at load */
	__type(key, __u32);
	__type(value, __u32);
} numbers SEC(".maps");

static __always_inline void note_number(struct task_struct *task, __u32 number)
{
	__u32 tid = BPF_CORE_READ(task, pid);

	if (in_pid_namespace && tid != (__u32)BPF_CORE_READ(task, tgid) && !bpf_map_lookup_elem(&numbers, &tid))
		bpf_map_update_elem(&numbers, &tid, &number, BPF_ANY);
}

static __always_inline __u32 former_number(struct task_struct *task, __u32 tid)
{
	__u32 *number;

	if (!in_pid_namespace)
		return tid;
	if (tid == (__u32)BPF_CORE_READ(task, pid))
		return number_of(task);
	number = bpf_map_lookup_elem(&numbers, &tid);
	return number ? *number : tid | NUMBER_OUTSIDE;
}

static __always_inline void forget_number(__u32 tid)
{
	if (in_pid_namespace)
		bpf_map_delete_elem(&numbers, &tid);
}
