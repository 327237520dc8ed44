/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The few kernel types the programs read. Only the members named here are used;
 * CO-RE relocates them to wherever the running kernel keeps them.
 */
#pragma once

#define PF_IO_WORKER 0x00000010
#define PF_USER_WORKER 0x00004000
#define PF_KTHREAD 0x00200000

/* Compressed modules had the number of others before they got one of their own. */
enum kernel_read_file_id {
	READING_MODULE,
	READING_MODULE_COMPRESSED,
};

enum kernel_load_data_id {
	LOADING_MODULE,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	unsigned int val;
} kuid_t;

typedef struct {
	unsigned long sig[1];
} sigset_t;

struct sigpending {
	sigset_t signal;
};

struct signal_struct {
	struct sigpending shared_pending;
};

struct thread_info {
	unsigned long flags;
	__u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	unsigned int ptrace;
	unsigned long jobctl;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct signal_struct *signal;
	struct sigpending pending;
};

struct rq {
	struct task_struct *curr;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	__u32 i_rdev;
	struct super_block *i_sb;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct inode *f_inode;
	unsigned int f_flags;
	struct path f_path;
};

struct sock {
	__u16 sk_protocol;
};

struct sk_buff {
	unsigned char *data;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long di, si, dx, r10, r8, r9;
	unsigned long orig_ax;
};
#define SYSCALL_NR(regs) BPF_CORE_READ(regs, orig_ax)
#define SYSCALL_ARGS(regs, a)                 \
	do {                                  \
		a[0] = BPF_CORE_READ(regs, di); \
		a[1] = BPF_CORE_READ(regs, si); \
		a[2] = BPF_CORE_READ(regs, dx); \
		a[3] = BPF_CORE_READ(regs, r10); \
		a[4] = BPF_CORE_READ(regs, r8); \
		a[5] = BPF_CORE_READ(regs, r9); \
	} while (0)
/* arch/x86/include/asm/thread_info.h: a system call of a 32-bit program. */
#define TS_COMPAT 0x0002
#define IS_COMPAT(task) \
	(bpf_core_field_exists(task->thread_info.status) && BPF_CORE_READ(task, thread_info.status) & TS_COMPAT)
#define NR_SWAPON 167
#define NR_SCHED_SETAFFINITY 203
#define NR_SWAPOFF 168
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long regs[31];
	unsigned long orig_x0; /* x0 of a system call, in whose place its result is at the end */
	int syscallno;
};
#define SYSCALL_NR(regs) BPF_CORE_READ(regs, syscallno)
#define SYSCALL_ARGS(regs, a)                      \
	do {                                       \
		a[0] = BPF_CORE_READ(regs, orig_x0); \
		a[1] = BPF_CORE_READ(regs, regs[1]); \
		a[2] = BPF_CORE_READ(regs, regs[2]); \
		a[3] = BPF_CORE_READ(regs, regs[3]); \
		a[4] = BPF_CORE_READ(regs, regs[4]); \
		a[5] = BPF_CORE_READ(regs, regs[5]); \
	} while (0)
/* arch/arm64/include/asm/thread_info.h: TIF_32BIT, in flags. */
#define IS_COMPAT(task) (BPF_CORE_READ(task, thread_info.flags) & 1UL << 22)
#define NR_SWAPON 224
#define NR_SCHED_SETAFFINITY 122
#define NR_SWAPOFF 225
#else
#error "name the registers of a system call of this architecture"
#endif

#pragma clang attribute pop
