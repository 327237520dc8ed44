/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is declared of the kernel, for all programs of this module: the few types
 * they read. Only the members named here are used; CO-RE relocates them to wherever
 * the running kernel keeps them, so nothing else about these structures is assumed,
 * and a program that does not use a member does not need it to be there.
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

struct thread_info {
	unsigned long flags;
	__u32 status; /* x86 */
	__u32 cpu;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	unsigned int val;
} kuid_t;

enum vtime_state {
	VTIME_USER = 3,
};

/* Only where time in user mode is accounted by context tracking. */
struct vtime {
	enum vtime_state state; /* an int would not match it */
	unsigned int cpu;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct task_struct;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

typedef struct {
	unsigned long sig[1]; /* every 64-bit kernel has 64 signals */
} sigset_t;

struct sigpending {
	sigset_t signal;
};

struct list_head {
	struct list_head *next;
};

typedef struct wait_queue_head {
	struct list_head head;
} wait_queue_head_t;

typedef struct wait_queue_entry {
	struct list_head entry;
} wait_queue_entry_t;

struct pid;

/* A wait for children: kernel/exit.h, before that kernel/exit.c. */
struct wait_opts {
	struct pid *wo_pid; /* for one only */
	wait_queue_entry_t child_wait;
};

struct signal_struct {
	struct list_head thread_head;
	atomic_t live; /* threads that have not begun to exit */
	struct sigpending shared_pending;
	int group_exit_code; /* of a process that a signal ends: its number */
	unsigned int flags;
	int nr_threads;
	wait_queue_head_t wait_chldexit;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[64];
};

struct seccomp {
	int mode;
};

/* With this member, since commit 54e6842d0775 (6.4), came PF_USER_WORKER; before, its bit had other uses. */
struct kernel_clone_args {
	__u32 user_worker : 1;
};

struct ns_common {
	unsigned int inum;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level; /* of the innermost of the namespaces it has a number in */
	struct upid numbers[1];
};

/* The members of these are there as far as the kernel has quotas of the kind. */
struct rt_rq {
	int rt_throttled;
};

struct rq {
	unsigned int nr_running;
	struct task_struct *curr;
	struct rt_rq rt;
};

struct cfs_rq {
	struct rq *rq;
	int throttle_count; /* groups from this one up that have used up their quota here */
};

struct sched_entity {
	unsigned char on_rq; /* its lowest byte, whatever its type */
	struct cfs_rq *cfs_rq;
};

struct sched_rt_entity {
	unsigned char on_rq;
};

struct sched_dl_entity {
	unsigned int dl_throttled : 1;
	unsigned int dl_yielded : 1;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct timens_offsets {
	struct timespec64 monotonic;
};

struct time_namespace {
	struct timens_offsets offsets; /* not there without CONFIG_TIME_NS */
};

struct nsproxy {
	struct time_namespace *time_ns;
};

struct task_struct {
	struct thread_info thread_info;
	struct seccomp seccomp;
	unsigned int flags;
	unsigned int ptrace;
	int nr_cpus_allowed;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	int on_cpu;
	struct sched_entity se;
	struct sched_rt_entity rt;
	struct sched_dl_entity dl;
	unsigned int frozen : 1; /* by its cgroup, in version 2 */
	__u8 throttled;		 /* since 6.18, where a quota keeps each task by itself, not its group */
	struct pid *thread_pid;
	struct list_head thread_node; /* in thread_head of its process */
	struct nsproxy *nsproxy;
	struct task_struct *real_parent;
	struct task_struct *parent; /* the tracer, if there is one */
	struct task_struct *group_leader;
	sigset_t blocked;
	struct sigpending pending;
	unsigned long jobctl;
	int pid;
	int tgid;
	unsigned long nvcsw, nivcsw; /* how often it was switched away */
	__u64 start_time;            /* CLOCK_MONOTONIC */
	char comm[16];
	struct vtime vtime;
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

/* Since commit 713a2e21a513 (6.2) set_cpus_allowed_common() has what it is asked for in this. */
struct affinity_context {
	void *new_mask;
	unsigned int flags;
};

struct irqaction {
	void *handler;
	void *percpu_dev_id; /* of an interrupt that each CPU has for itself */
	const char *name;
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
#define CSD_TYPE_IRQ_WORK 0x20
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

/* The registers of a system call, and the arguments of a function at a probe. */
#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long ip;
	unsigned long di, si, dx, r10, r8, r9;
	unsigned long orig_ax;
};
#define READ_USER_IP(regs) BPF_CORE_READ(regs, ip)
#define READ_SYSCALL_NR(regs) BPF_CORE_READ(regs, orig_ax)
#define READ_ARG1(regs) BPF_CORE_READ(regs, di)
#define READ_ARG2(regs) BPF_CORE_READ(regs, si)
#define READ_ARG3(regs) BPF_CORE_READ(regs, dx)
#define READ_ARG4(regs) BPF_CORE_READ(regs, r10)
#define READ_ARG5(regs) BPF_CORE_READ(regs, r8)
#define READ_ARG6(regs) BPF_CORE_READ(regs, r9)
#define ARG1(c) ((c)->di)
#define ARG2(c) ((c)->si)
#define ARG3(c) ((c)->dx)
#define ARG5(c) ((c)->r8)

/* arch/x86/include/asm/thread_info.h: a system call of a 32-bit program. */
#define TS_COMPAT 0x0002
#define IS_COMPAT(task) \
	(bpf_core_field_exists(task->thread_info.status) && BPF_CORE_READ(task, thread_info.status) & TS_COMPAT)

#define NR_WRITE 1
#define NR_PWRITE64 18
#define NR_EXECVE 59
#define NR_EXIT 60
#define NR_PRCTL 157
#define NR_SWAPON 167
#define NR_SWAPOFF 168
#define NR_SCHED_SETAFFINITY 203
#define NR_EXIT_GROUP 231
#define NR_EXECVEAT 322
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	unsigned long regs[31];
	unsigned long pc;
	unsigned long orig_x0; /* x0 of a system call, in whose place its result is at the end */
	int syscallno;
};
#define READ_USER_IP(regs) BPF_CORE_READ(regs, pc)
#define READ_SYSCALL_NR(regs) BPF_CORE_READ(regs, syscallno)
#define READ_ARG1(r) BPF_CORE_READ(r, orig_x0)
#define READ_ARG2(r) BPF_CORE_READ(r, regs[1])
#define READ_ARG3(r) BPF_CORE_READ(r, regs[2])
#define READ_ARG4(r) BPF_CORE_READ(r, regs[3])
#define READ_ARG5(r) BPF_CORE_READ(r, regs[4])
#define READ_ARG6(r) BPF_CORE_READ(r, regs[5])
#define ARG1(c) ((c)->regs[0])
#define ARG2(c) ((c)->regs[1])
#define ARG3(c) ((c)->regs[2])
#define ARG5(c) ((c)->regs[4])

/* arch/arm64/include/asm/thread_info.h: TIF_32BIT, in flags. */
#define IS_COMPAT(task) (BPF_CORE_READ(task, thread_info.flags) & 1UL << 22)

#define NR_WRITE 64
#define NR_PWRITE64 68
#define NR_EXIT 93
#define NR_EXIT_GROUP 94
#define NR_SCHED_SETAFFINITY 122
#define NR_PRCTL 167
#define NR_EXECVE 221
#define NR_SWAPON 224
#define NR_SWAPOFF 225
#define NR_EXECVEAT 281
#else
#error "name the registers and the numbers of system calls of this architecture"
#endif

#define READ_ARGS(regs, a)                \
	do {                              \
		a[0] = READ_ARG1(regs);   \
		a[1] = READ_ARG2(regs);   \
		a[2] = READ_ARG3(regs);   \
		a[3] = READ_ARG4(regs);   \
		a[4] = READ_ARG5(regs);   \
		a[5] = READ_ARG6(regs);   \
	} while (0)

#define HAS_SECCOMP(task) (bpf_core_field_exists(task->seccomp.mode) ? BPF_CORE_READ(task, seccomp.mode) : 0)

#pragma clang attribute pop

/* The context of a program on a perf event, as user space has it: include/uapi/linux/bpf_perf_event.h. */
struct bpf_perf_event_data {
#if defined(__TARGET_ARCH_x86)
	__u64 regs[21];
#else
	__u64 regs[34];
#endif
	__u64 sample_period;
	__u64 addr;
};
