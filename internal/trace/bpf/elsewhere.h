/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How long watched tasks ran on CPUs that are not watched, where nothing else of them is seen. */
#pragma once

#include "core.h"

/* At a switch on such a CPU: one look-up, by the CPU that switches. */
static __always_inline void elsewhere_switch(struct cpu_state *s, struct task_struct *next)
{
	__u32 number = number_of(next);
	__u64 now;

	if (s->there) {
		now = bpf_ktime_get_ns();
		s->elsewhere += now - s->there;
		s->there = 0;
	}
	if (number && bpf_map_lookup_elem(&tasks, &number))
		s->there = bpf_ktime_get_ns();
}
