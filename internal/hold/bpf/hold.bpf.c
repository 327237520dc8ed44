/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel side of package hold. A program at a security hook stands before the
 * first effect of a guarded operation. It tells user space and lets the system
 * call be restarted, again and again, until user space has stopped the thread
 * or given an answer. Why this is invisible to the thread, and safe for each
 * operation: docs/design/06-hold.md.
 *
 * The programs are those of a security module. Where the kernel does not ask BPF
 * for one, hooks.go makes them programs at the functions that ask the modules.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

#include "kernel.h"

#define ERESTARTNOINTR 513 /* include/linux/errno.h */
#define EBUSY 16
#define SIGCONT 18
#define SIGSTOP 19

#define MAX_CPUS 1024

/* The guarded operations. A contract with operation.go. */
enum operation {
	OP_NONE,
	OP_BPF,
	OP_PERF,
	OP_TRACING,
	OP_MODULE,
	OP_SYSCTL,
	OP_HOTPLUG,
	OP_MICROCODE,
	OP_AFFINITY,
	OP_CPUSET,
	OP_SOCKET_OPTION,
	OP_NETLINK,
	OP_DEVICE,
	OP_IRQ,
	OP_KVM,
	OP_MEMORY,
	OP_SWAP,
	OP_SYSRQ,
	OPERATIONS,
};

enum policy {
	POLICY_IGNORE,
	POLICY_HOLD, /* user space is asked */
	POLICY_REPORT,
};

enum answer {
	ANSWER_WAIT,
	ANSWER_PASS,
	ANSWER_DENY,
};

enum mode {
	MODE_OPEN,   /* nothing is held */
	MODE_CLOSED,
	MODE_BUSY,   /* closed while a user task runs on one of the CPUs */
};

/* Why an operation that would be held was not. A contract with record.go. */
enum exemption {
	EXEMPT_NOT,
	EXEMPT_REPORT, /* the policy */
	EXEMPT_INIT,
	EXEMPT_HELPER, /* started by the kernel, which waits for it */
	EXEMPT_WORKER, /* a worker of io_uring or another kernel service */
	EXEMPT_TRACED,
	EXEMPT_CALL,   /* comes by a system call whose restart is not argued */
	EXEMPT_COMPAT, /* a 32-bit program */
	EXEMPT_SIGNAL, /* cannot be stopped */
	EXEMPT_FULL,   /* too many at a time */
	EXEMPT_SILENCE, /* user space did not answer */
	EXEMPT_CHILD,   /* of user space, which waits for it and would take its stop for its end */
};

struct event {
	__u64 time;  /* CLOCK_MONOTONIC, ns */
	__u64 since; /* struct waiting, which it tells of; the two together are one visit */
	__u64 args[6]; /* of the system call */
	__u32 nr;
	__u32 operation;
	__u32 exempt; /* enum exemption; if not 0 it goes on */
	__u32 tgid;
	__u32 tid;
	__u32 uid;
	__u64 detail[2]; /* what the hook knows: see the programs */
	char comm[16];
};

struct waiting {
	__u64 since;
	__u64 told;
	__u32 operation;
	__u32 answer;
};

/* Keeps these types in the object's BTF, where a test compares them with the Go side. */
struct wire_format {
	enum operation operation;
	enum policy policy;
	enum answer answer;
	enum mode mode;
	enum exemption exemption;
	struct event event;
	struct waiting waiting;
};
const struct wire_format *wire_format __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

/* Threads whose operation is kept back. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, __u32); /* thread */
	__type(value, struct waiting);
} threads SEC(".maps");

/* Files whose use is a guarded operation. An empty name stands for all of the file system. */
struct file_key {
	__u64 magic;
	char name[32];
};

struct file_rule {
	__u32 operation;
	__u32 mask; /* MAY_READ, MAY_WRITE */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct file_key);
	__type(value, struct file_rule);
} files SEC(".maps");

/* Character devices whose use interrupts a CPU: their major number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u32);
} devices SEC(".maps");

struct option_key {
	__u32 level, option;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct option_key);
	__type(value, __u8);
} options SEC(".maps");

struct call_key {
	__u32 operation, nr;
};

/* System calls that may be restarted at the hook of an operation. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, struct call_key);
	__type(value, __u8);
} calls SEC(".maps");

__u32 mode = MODE_OPEN;
__u64 lost_events = 0;
__u64 max_wait = 0; /* ns; after that much more user space is taken for dead */

volatile const __u32 supervisor = 0;
volatile const __u32 policies[OPERATIONS];
volatile const __u64 bpf_commands = 0; /* a bit each */
volatile const __u32 cpus = 0;
volatile const __u32 cpu[MAX_CPUS];

#define SILENCE (2 * 1000000000ULL) /* beyond max_wait */
#define TELL_AGAIN (100 * 1000000ULL)

extern void runqueues __ksym __weak;
extern void __per_cpu_offset __ksym __weak;

static __always_inline struct task_struct *running_on(__u32 n)
{
	unsigned long offset = 0;
	struct rq *rq;

	bpf_probe_read_kernel(&offset, sizeof(offset), (void *)&__per_cpu_offset + n * sizeof(offset));
	rq = (void *)&runqueues + offset;
	return BPF_CORE_READ(rq, curr);
}

/* Whether a user task other than the one that asks runs on one of the CPUs. */
static __noinline bool busy(void)
{
	struct task_struct *task, *self = (void *)bpf_get_current_task();
	__u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < cpus && i < MAX_CPUS; i++) {
		task = running_on(cpu[i]);
		if (task && task != self && BPF_CORE_READ(task, pid) && !(BPF_CORE_READ(task, flags) & PF_KTHREAD))
			return true;
	}
	return false;
}

static __always_inline bool closed(void)
{
	return mode == MODE_CLOSED || (mode == MODE_BUSY && busy());
}

/* For user space: 1 if nothing would be let through now. */
SEC("syscall")
int is_closed(void *ctx)
{
	return closed();
}

static __always_inline bool exempted(__u32 exempt, __u32 operation, __u64 since, __u64 detail0, __u64 detail1, struct pt_regs *regs)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__sync_fetch_and_add(&lost_events, 1);
		return false;
	}
	e->time = bpf_ktime_get_ns();
	e->since = since;
	SYSCALL_ARGS(regs, e->args);
	e->nr = SYSCALL_NR(regs);
	e->operation = operation;
	e->exempt = exempt;
	e->tgid = id >> 32;
	e->tid = id;
	e->uid = bpf_get_current_uid_gid();
	e->detail[0] = detail0;
	e->detail[1] = detail1;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_ringbuf_submit(e, 0);
	return true;
}

#define tell(operation, since, d0, d1, regs) exempted(EXEMPT_NOT, operation, since, d0, d1, regs)

static __always_inline __u32 exemption(struct task_struct *task, __u32 operation, struct pt_regs *regs)
{
	struct call_key call = { .operation = operation, .nr = SYSCALL_NR(regs) };
	struct task_struct *parent = BPF_CORE_READ(task, real_parent);

	if (policies[operation] == POLICY_REPORT)
		return EXEMPT_REPORT;
	if (BPF_CORE_READ(task, flags) & (PF_IO_WORKER | PF_USER_WORKER))
		return EXEMPT_WORKER;
	if (BPF_CORE_READ(task, tgid) == 1)
		return EXEMPT_INIT;
	if (BPF_CORE_READ(parent, flags) & PF_KTHREAD)
		return EXEMPT_HELPER;
	if (BPF_CORE_READ(parent, tgid) == supervisor)
		return EXEMPT_CHILD;
	if (BPF_CORE_READ(task, ptrace))
		return EXEMPT_TRACED;
	if (IS_COMPAT(task))
		return EXEMPT_COMPAT;
	if (!bpf_map_lookup_elem(&calls, &call))
		return EXEMPT_CALL;
	return EXEMPT_NOT;
}

#define STOP_SIGNALS (1UL << (SIGSTOP - 1) | 1UL << (20 - 1) | 1UL << (21 - 1) | 1UL << (22 - 1)) /* and TSTP, TTIN, TTOU */
#define JOBCTL_WORK (1UL << 17 | 1UL << 19 | 1UL << 20 | 1UL << 23) /* include/linux/sched/jobctl.h: a stop or trap is due */

/* Whether a stop that somebody else wants is due before user mode. */
static __always_inline bool stop_is_due(struct task_struct *task)
{
	unsigned long pending = BPF_CORE_READ(task, pending.signal.sig[0]) | BPF_CORE_READ(task, signal, shared_pending.signal.sig[0]);

	return pending & STOP_SIGNALS || BPF_CORE_READ(task, jobctl) & JOBCTL_WORK;
}

/*
 * Lets the system call end with a look at signals, without one. SIGCONT takes
 * back SIGSTOP before anybody sees it, and what remains is the flag that there is
 * something to look at. A stop that is due has set the flag, and must not be
 * taken back. To a thread that user space has seized SIGCONT is an event at which
 * it stops: here, where it has done nothing, and not in whatever it did otherwise.
 */
static __always_inline bool look_at_signals(struct task_struct *task)
{
	if (stop_is_due(task))
		return true;
	if (bpf_send_signal_thread(SIGSTOP))
		return false;
	bpf_send_signal_thread(SIGCONT);
	return true;
}

static __always_inline int wait_on(struct waiting *w, __u32 tid, struct task_struct *task, struct pt_regs *regs, __u64 d0, __u64 d1)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 answer = w->answer, operation = w->operation;

	if (answer != ANSWER_WAIT) {
		bpf_map_delete_elem(&threads, &tid);
		return answer == ANSWER_DENY ? -EBUSY : 0;
	}
	if (now - w->since > max_wait + SILENCE) {
		bpf_map_delete_elem(&threads, &tid);
		exempted(EXEMPT_SILENCE, operation, 0, d0, d1, regs);
		return 0;
	}
	if (now - w->told > TELL_AGAIN && tell(operation, w->since, d0, d1, regs))
		w->told = now;
	if (!look_at_signals(task)) {
		bpf_map_delete_elem(&threads, &tid);
		exempted(EXEMPT_SIGNAL, operation, 0, d0, d1, regs);
		return 0;
	}
	return -ERESTARTNOINTR;
}

/* The result of the hook: 0 to go on. */
static __noinline int guard(__u32 operation, __u64 d0, __u64 d1)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct waiting new = { .operation = operation }, *w;
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id, exempt;
	struct pt_regs *regs;

	if (operation >= OPERATIONS || policies[operation] == POLICY_IGNORE)
		return 0;
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD || id >> 32 == supervisor)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	w = bpf_map_lookup_elem(&threads, &tid);
	if (w && w->operation == operation)
		return wait_on(w, tid, task, regs, d0, d1);
	if (!closed())
		return 0;
	exempt = exemption(task, operation, regs);
	if (exempt) {
		exempted(exempt, operation, 0, d0, d1, regs);
		return 0;
	}
	new.since = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&threads, &tid, &new, BPF_ANY)) {
		exempted(EXEMPT_FULL, operation, 0, d0, d1, regs);
		return 0;
	}
	w = bpf_map_lookup_elem(&threads, &tid);
	return w ? wait_on(w, tid, task, regs, d0, d1) : 0;
}

__u32 probed = 0;

/* Tells whether the kernel asks programs of this type at all. */
SEC("lsm/bpf")
int BPF_PROG(probe)
{
	probed = 1;
	return 0;
}

/* detail: command */
SEC("lsm/bpf")
int BPF_PROG(security_bpf, int cmd)
{
	return (__u32)cmd < 64 && bpf_commands >> cmd & 1 ? guard(OP_BPF, cmd, 0) : 0;
}

#define PERF_SECURITY_OPEN 0 /* include/linux/perf_event.h: the first of several calls */

SEC("lsm/perf_event_open")
int BPF_PROG(perf_event_open, int type)
{
	return type == PERF_SECURITY_OPEN ? guard(OP_PERF, 0, 0) : 0;
}

/* The hook of kernels that give it the attributes as well. */
SEC("lsm/perf_event_open")
int BPF_PROG(perf_event_open_with_attributes, void *attributes, int type)
{
	return type == PERF_SECURITY_OPEN ? guard(OP_PERF, 0, 0) : 0;
}

#define S_IFMT 0170000
#define S_IFCHR 0020000
#define MAY_WRITE 2
#define MAY_READ 4
#define MINORBITS 20

#define PROC_MAGIC 0x9fa0
#define SYSFS_MAGIC 0x62656572
#define TRACEFS_MAGIC 0x74726163
#define CGROUP2_MAGIC 0x63677270
#define CGROUP_MAGIC 0x27e0eb

static __always_inline bool has_rules(__u64 magic)
{
	return magic == PROC_MAGIC || magic == SYSFS_MAGIC || magic == TRACEFS_MAGIC || magic == CGROUP2_MAGIC || magic == CGROUP_MAGIC;
}

/* Which operation the use of a file is, if any. */
static __always_inline __u32 operation_of(struct file *file, struct inode *inode, int mask)
{
	struct file_key key = { .magic = BPF_CORE_READ(inode, i_sb, s_magic) };
	struct file_rule *rule;

	if (!has_rules(key.magic))
		return OP_NONE;
	bpf_probe_read_kernel_str(key.name, sizeof(key.name), BPF_CORE_READ(file, f_path.dentry, d_name.name));
	rule = bpf_map_lookup_elem(&files, &key);
	if (!rule) {
		__builtin_memset(key.name, 0, sizeof(key.name));
		rule = bpf_map_lookup_elem(&files, &key);
	}
	return rule && rule->mask & mask ? rule->operation : OP_NONE;
}

/* detail of a device: major and minor number */
static __always_inline int use_device(struct inode *inode)
{
	__u32 dev = BPF_CORE_READ(inode, i_rdev), major = dev >> MINORBITS;

	if (!bpf_map_lookup_elem(&devices, &major))
		return 0;
	return guard(OP_DEVICE, major, dev & ((1 << MINORBITS) - 1));
}

SEC("lsm/file_permission")
int BPF_PROG(security_file_permission, struct file *file, int mask)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	__u32 operation;

	if (!(mask & (MAY_READ | MAY_WRITE)))
		return 0;
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFCHR)
		return use_device(inode);
	operation = operation_of(file, inode, mask);
	return operation ? guard(operation, mask, 0) : 0;
}

#define O_ACCMODE 3
#define O_TRUNC 01000

/* Opening can be the operation: swapoff opens what it switches off, and O_TRUNC clears a filter of tracefs. */
SEC("lsm/file_open")
int BPF_PROG(security_file_open, struct file *file)
{
	struct pt_regs *regs;
	struct inode *inode;
	__u32 nr, flags;

	flags = BPF_CORE_READ(file, f_flags);
	if (!(flags & O_ACCMODE)) /* both open for writing */
		return 0;
	if (BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags) & PF_KTHREAD)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	nr = SYSCALL_NR(regs);
	if (nr == NR_SWAPOFF || nr == NR_SWAPON)
		return guard(OP_SWAP, nr, 0);
	if (!(flags & O_TRUNC))
		return 0;
	inode = BPF_CORE_READ(file, f_inode);
	if (BPF_CORE_READ(inode, i_sb, s_magic) != TRACEFS_MAGIC)
		return 0;
	return guard(OP_TRACING, MAY_WRITE, 1);
}

/* The number that this kernel has for a constant, or -1. */
#define KERNEL_ENUM(type, name) (bpf_core_enum_value_exists(type, name) ? (int)bpf_core_enum_value(type, name) : -1)

SEC("lsm/kernel_read_file")
int BPF_PROG(security_kernel_read_file, struct file *file, int id)
{
	if (id != KERNEL_ENUM(enum kernel_read_file_id, READING_MODULE) &&
	    id != KERNEL_ENUM(enum kernel_read_file_id, READING_MODULE_COMPRESSED))
		return 0;
	return guard(OP_MODULE, 0, 0);
}

SEC("lsm/kernel_load_data")
int BPF_PROG(security_kernel_load_data, int id)
{
	return id == KERNEL_ENUM(enum kernel_load_data_id, LOADING_MODULE) ? guard(OP_MODULE, 0, 0) : 0;
}

/*
 * Who loads a file that another thread is loading gets that one's result (commit
 * 9b9879fc0327), with nothing to look at. A result that says restart is restarted.
 */
SEC("fexit/finit_module") /* named as this architecture names it when it is loaded */
int BPF_PROG(finit_module_exit, struct pt_regs *regs, long result)
{
	if (result == -ERESTARTNOINTR)
		look_at_signals((void *)bpf_get_current_task());
	return 0;
}

/* detail: level, option */
SEC("lsm/socket_setsockopt")
int BPF_PROG(security_socket_setsockopt, void *sock, int level, int optname)
{
	struct option_key key = { .level = level, .option = optname };

	return bpf_map_lookup_elem(&options, &key) ? guard(OP_SOCKET_OPTION, level, optname) : 0;
}

struct message { /* struct nlmsghdr */
	__u32 len;
	__u16 type, flags;
};

#define NETLINK_ROUTE 0
#define NETLINK_NETFILTER 12
#define NFNL_MSG_BATCH_BEGIN 16
#define RTM_NEWQDISC 36 /* to RTM_GETTFILTER 46, each four with NEW, DEL, GET */
#define RTM_GETTFILTER 46

/* Changes of nftables come in a batch; so do those of newer iptables. */
static __always_inline bool changes_rules(__u16 protocol, __u16 type)
{
	if (protocol == NETLINK_NETFILTER)
		return type == NFNL_MSG_BATCH_BEGIN;
	return protocol == NETLINK_ROUTE && type >= RTM_NEWQDISC && type <= RTM_GETTFILTER && type % 4 < 2;
}

/* detail: protocol, type */
SEC("lsm/netlink_send")
int BPF_PROG(security_netlink_send, struct sock *sk, struct sk_buff *skb)
{
	__u16 protocol = BPF_CORE_READ(sk, sk_protocol);
	struct message m = {};

	bpf_probe_read_kernel(&m, sizeof(m), BPF_CORE_READ(skb, data));
	return changes_rules(protocol, m.type) ? guard(OP_NETLINK, protocol, m.type) : 0;
}

#define KVM_CREATE_VM 0xAE01

SEC("lsm/file_ioctl")
int BPF_PROG(security_file_ioctl, struct file *file, unsigned int cmd)
{
	return cmd == KVM_CREATE_VM ? guard(OP_KVM, 0, 0) : 0;
}

/* Several system calls, and the move to another cpuset, come by here. detail: thread whose affinity is set */
SEC("lsm/task_setscheduler")
int BPF_PROG(security_task_setscheduler, struct task_struct *task)
{
	if (BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), flags) & PF_KTHREAD)
		return 0;
	if (SYSCALL_NR(((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()))) != NR_SCHED_SETAFFINITY)
		return 0;
	return guard(OP_AFFINITY, BPF_CORE_READ(task, pid), 0);
}

/* The helpers for signals and registers are reserved for GPL programs. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
