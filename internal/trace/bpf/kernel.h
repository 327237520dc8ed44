/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types the programs read. Only the members named here are
 * used; CO-RE relocates them to wherever the running kernel keeps them, so
 * nothing else about these structures is assumed.
 */
#pragma once

#define PF_KTHREAD 0x00200000

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct thread_info {
	__u32 cpu;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live; /* threads that have not begun to exit */
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int nr_cpus_allowed;
	struct signal_struct *signal;
	int pid;
	int tgid;
	char comm[16];
};

struct irqaction {
	void *handler;
};

struct hrtimer;

struct hrtimer_cpu_base {
	unsigned int cpu;
};

struct hrtimer_clock_base {
	struct hrtimer_cpu_base *cpu_base;
	struct hrtimer *running; /* whose function is being called */
};

struct hrtimer {
	struct hrtimer_clock_base *base;
	void *function;
};

struct timer_list {
	void *function;
	__u32 flags;
};

#define TIMER_CPUMASK 0x0003FFFF /* include/linux/timer.h: the CPU, in timer_list.flags */

struct __call_single_node {
	unsigned int u_flags;
};

/* struct irq_work begins with the same members. */
struct __call_single_data {
	struct __call_single_node node;
	void *func;
};

/* include/linux/smp_types.h: what a __call_single_node is part of. */
#define CSD_TYPE_TTWU 0x30
#define CSD_FLAG_TYPE_MASK 0xF0

struct work_struct {
	void *func;
};

struct worker_pool {
	int cpu; /* negative: not bound to one */
};

struct pool_workqueue {
	struct worker_pool *pool;
};

union __sifields {
	struct {
		int _pid;
	} _kill;
};

struct kernel_siginfo {
	int si_code;
	union __sifields _sifields;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long ip;
	unsigned long orig_ax;
	unsigned long di, si, r8;
};
#define READ_USER_IP(regs) BPF_CORE_READ(regs, ip)
#define READ_SYSCALL_NR(regs) BPF_CORE_READ(regs, orig_ax)
#define READ_ARG1(regs) BPF_CORE_READ(regs, di)
#define READ_ARG2(regs) BPF_CORE_READ(regs, si)
#define ARG1(c) ((c)->di)
#define ARG2(c) ((c)->si)
#define ARG5(c) ((c)->r8)
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long regs[31];
	unsigned long pc;
	unsigned long orig_x0; /* x0 of a system call, in whose place its result is at the end */
	int syscallno;
};
#define READ_USER_IP(regs) BPF_CORE_READ(regs, pc)
#define READ_SYSCALL_NR(regs) BPF_CORE_READ(regs, syscallno)
#define READ_ARG1(regs) BPF_CORE_READ(regs, orig_x0)
#define READ_ARG2(regs) BPF_CORE_READ(regs, regs[1])
#define ARG1(c) ((c)->regs[0])
#define ARG2(c) ((c)->regs[1])
#define ARG5(c) ((c)->regs[4])
#else
#error "name the program counter and the system call number of this architecture"
#endif

#pragma clang attribute pop
