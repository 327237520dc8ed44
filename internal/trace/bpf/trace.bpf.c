/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Kernel side of package trace: see core.h for the shape, kinds.h for the events. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "../../bpf/kernel.h"
#include "isolation.h"
#include "entry.h"
#include "irq.h"
#include "sched.h"
#include "send.h"
#include "probe.h"
#include "running.h"
#if defined(__TARGET_ARCH_x86)
#include "x86.h"
#elif defined(__TARGET_ARCH_arm64)
#include "arm64.h"
#endif

/* The helpers for stacks, tasks and registers are reserved for GPL programs. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
