/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Kernel side of package hold. A program at a security hook stands before the
 * first effect of a guarded operation. It notifies user space, and waits until user
 * space has an answer or has seized the thread as a debugger does; then it restarts
 * the system call, and the thread stops on its way out. Why this is
 * invisible to the thread, and safe for each operation: docs/design/06-hold.md.
 *
 * The programs are those of a security module. Where the kernel does not ask BPF
 * for one, hooks.go makes them programs at the functions that ask the modules.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

#include "../../bpf/kernel.h"

#define ERESTARTNOINTR 513 /* include/linux/errno.h */
#define EBUSY 16
#define SIGCHLD 17
#define SIGCONT 18
#define SIGSTOP 19
#define SIGURG 23
#define SIGWINCH 28

#define MAX_CPUS 1024
#define MS 1000000ULL
#define MEMORY 256 /* bytes of the caller's memory in an event */

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
	ANSWER_TAKEN, /* by the thread, which goes on, or given up by user space */
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
	EXEMPT_SIGNAL, /* could not be stopped unseen */
	EXEMPT_FULL,   /* too many at a time */
	EXEMPT_SILENCE, /* user space did not answer */
	EXEMPT_CHILD,   /* of user space, which waits for it and would take its stop for its end */
	EXEMPT_INIT_CHILD, /* process 1 waits for it, and does nothing else */
};

struct event {
	__u64 time;  /* CLOCK_MONOTONIC, ns */
	__u64 since; /* of the struct waiting that it is about: one visit. 0: of none */
	__u64 args[6]; /* of the system call */
	__u32 nr;
	__u32 operation;
	__u32 exempt; /* enum exemption; if not 0 it goes on */
	__u32 tgid;
	__u32 tid;
	__u32 uid;
	__u64 detail[2]; /* what the hook knows: see the programs */
	__u32 size; /* of the memory that was read */
	char comm[16];
	__u8 memory[MEMORY]; /* of the caller, with arguments of the operation: see memory_of() */
};

/* A contract with guard.go. */
struct waiting {
	__u64 visit;    /* since when it waits, and the answer in the bits ANSWER: one word, so that an answer is to one visit */
	__u64 started;  /* task_struct.start_time: numbers of threads are used again */
	__u64 until;    /* when the answer is none any more: a thread that comes back so late did something else meanwhile */
	__u32 operation;
	__u32 looks; /* how often it looked at signals by SIGSTOP and SIGCONT */
};

#define ANSWER 3ULL

static __always_inline __u64 since_of(__u64 visit) { return visit & ~ANSWER; }
static __always_inline __u32 answer_of(__u64 visit) { return visit & ANSWER; }

/* What user space changes of a thread. A contract with guard.go. */
struct change {
	__u64 since; /* of the visit */
	__u64 until; /* of struct waiting */
	__u32 tid;
	__u32 from; /* enum answer */
	__u32 to;
	__u32 unused;
};

/* What a test has a thread do. */
struct look_context {
	__u32 must;
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
	struct change change;
};
const struct wire_format *wire_format __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
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
__u64 seen_operations = 0; /* whose program could see that it was held */
__u64 max_wait = 0; /* ns; after that much more user space is taken for dead */

/*
 * What is held, for which CPUs, and who is asked. No constants, so that programs which are loaded can be given
 * other ones: loading them is most of what opening takes.
 */
__u32 supervisor = 0;
__u64 patience = 0; /* ns: see PATIENCE_BESIDE_OTHERS */
__u32 policies[OPERATIONS];
__u64 bpf_commands = 0; /* a bit each */
__u32 cpus = 0;
__u32 cpu[MAX_CPUS];

#define SILENCE (2000 * MS) /* beyond max_wait */
/*
 * How long the program waits for user space, in time of its CPU. The shorter time is for
 * a CPU that other tasks want, user space perhaps among them, if leaving is not seen.
 */
#define PATIENCE_BESIDE_OTHERS (5 * MS)
#define AWAY (MS / 10) /* a longer time between two looks does not count as time of this CPU */

extern void runqueues __ksym __weak;
extern void __per_cpu_offset __ksym __weak;

static __always_inline struct rq *queue_of(__u32 n)
{
	unsigned long offset = 0;

	bpf_probe_read_kernel(&offset, sizeof(offset), (void *)&__per_cpu_offset + n * sizeof(offset));
	return (void *)&runqueues + offset;
}

/* Threads that never run in user mode, such as kernel threads and workers of io_uring and vhost. */
#define PF_IN_KERNEL (PF_KTHREAD | PF_IO_WORKER | PF_USER_WORKER)

/* Whether a user task other than the one that asks runs on the CPU that is the nth in the list. */
static long runs_user_task(__u32 n, bool *found)
{
	struct task_struct *task, *self = (void *)bpf_get_current_task();

	if (n >= MAX_CPUS)
		return 1;
	task = BPF_CORE_READ(queue_of(cpu[n]), curr);
	*found = task && task != self && BPF_CORE_READ(task, pid) && !(BPF_CORE_READ(task, flags) & PF_IN_KERNEL);
	return *found;
}

/* Whether one runs on any of the CPUs. The verifier goes once through the body of bpf_loop(), not once for each CPU. */
__noinline int busy(void)
{
	bool found = false;

	bpf_loop(cpus, runs_user_task, &found, 0);
	return found;
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

static struct task_struct *keeper; /* the first thread of user space's process */

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */

/*
 * Whether a keeper can answer. A process that is being killed has the flag from the
 * moment at which the signal is sent, long before it has closed its files, and with
 * them these programs.
 */
static __always_inline bool keeper_lives(void)
{
	return keeper && BPF_CORE_READ(keeper, tgid) == supervisor && !(BPF_CORE_READ(keeper, signal, flags) & SIGNAL_GROUP_EXIT);
}

/* Called by user space before it holds anything. */
SEC("syscall")
int attend(void *ctx)
{
	keeper = BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), group_leader);
	return keeper_lives();
}

/* Called by user space to change the answer to a thread at a visit: 1 if the old answer was c->from. */
SEC("syscall")
int change_answer(struct change *c)
{
	__u64 since = c->since, from = since | (c->from & ANSWER);
	__u32 tid = c->tid;
	struct waiting *w = bpf_map_lookup_elem(&threads, &tid);

	if (!w || since_of(w->visit) != since)
		return 0;
	w->until = c->until; /* before the answer, whose time that is */
	return __sync_val_compare_and_swap(&w->visit, from, since | (c->to & ANSWER)) == from;
}

/*
 * The memory of the caller that has the arguments: the type of a perf event, a mask of
 * CPUs, a path, the data for a file. It is read here, and not by user space later,
 * because memory can be made to answer late or never (userfaultfd, FUSE). A page that
 * is not present is not read: then user space does not know the arguments.
 */
static __always_inline __u64 memory_of(__u32 operation, __u32 nr, __u64 *args, __u64 *size)
{
	switch (operation) {
	case OP_PERF:
		*size = sizeof(__u32);
		return args[0];
	case OP_AFFINITY:
		*size = (__u32)args[1];
		return args[2];
	case OP_SWAP:
		*size = MEMORY; /* a string */
		return args[0];
	case OP_CPUSET:
	case OP_IRQ:
	case OP_SYSRQ:
		*size = args[2];
		return nr == NR_WRITE || nr == NR_PWRITE64 ? args[1] : 0;
	}
	return 0;
}

static __always_inline void read_memory(struct event *e)
{
	__u64 size = 0, address = memory_of(e->operation, e->nr, e->args, &size);

	e->size = 0;
	if (!address || !size)
		return;
	if (e->operation == OP_SWAP) {
		long n = bpf_probe_read_user_str(e->memory, MEMORY, (void *)address);

		e->size = n > 0 ? n : 0;
		return;
	}
	if (size > MEMORY)
		size = MEMORY;
	if (!bpf_probe_read_user(e->memory, size, (void *)address))
		e->size = size;
}

/*
 * This and other functions here are not static, so that the verifier goes through each
 * once in a program, with any arguments, instead of on each path that calls it: it sees a
 * fifth of the instructions (13,900, now 2,800), which is most of what opening takes.
 */
__noinline int exempted(__u32 exempt, __u32 operation, __u64 since, __u64 detail0, __u64 detail1)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 id = bpf_get_current_pid_tgid();
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e) {
		__sync_fetch_and_add(&lost_events, 1);
		return 0;
	}
	e->time = bpf_ktime_get_ns();
	e->since = since;
	READ_ARGS(regs, e->args);
	e->nr = READ_SYSCALL_NR(regs);
	e->operation = operation;
	e->exempt = exempt;
	e->tgid = id >> 32;
	e->tid = id;
	e->uid = bpf_get_current_uid_gid();
	e->detail[0] = detail0;
	e->detail[1] = detail1;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	read_memory(e);
	bpf_ringbuf_submit(e, 0);
	return 1;
}

#define tell(operation, since, d0, d1) exempted(EXEMPT_NOT, operation, since, d0, d1)

/* Not the process 1 of a namespace. Another number only in a test. */
__u32 first_process = 1;

#define ANCESTORS 4096

struct ancestry {
	struct task_struct *task;
	__u32 exempt;
};

/*
 * Whether process 1 can do nothing else until this child of it ends. One with several
 * threads can; one that waits for any child does so because it has nothing else to do.
 */
static __always_inline bool first_process_waits_for(struct task_struct *first, struct task_struct *child)
{
	struct signal_struct *signal = BPF_CORE_READ(first, signal);
	struct list_head *entry = BPF_CORE_READ(signal, wait_chldexit.head.next);
	struct wait_opts *wait;

	if (entry == (void *)signal + bpf_core_field_offset(struct signal_struct, wait_chldexit.head) || BPF_CORE_READ(signal, nr_threads) != 1)
		return false;
	wait = (void *)entry - bpf_core_field_offset(struct wait_opts, child_wait.entry);
	return BPF_CORE_READ(wait, wo_pid) && BPF_CORE_READ(wait, wo_pid) == BPF_CORE_READ(child, group_leader, thread_pid);
}

static long look_at_parent(__u32 n, struct ancestry *a)
{
	struct task_struct *task = a->task, *parent = BPF_CORE_READ(task, real_parent);

	if (!parent || BPF_CORE_READ(task, tgid) <= 1)
		return 1;
	if (BPF_CORE_READ(parent, tgid) == first_process) {
		if (first_process_waits_for(parent, task))
			a->exempt = EXEMPT_INIT_CHILD;
		return 1;
	}
	if (BPF_CORE_READ(parent, flags) & PF_KTHREAD) {
		a->exempt = EXEMPT_HELPER;
		return 1;
	}
	a->task = parent;
	return 0;
}

/* Whether a task that must not wait waits for a process: one that it descends from, at any depth. */
static __always_inline __u32 awaited(struct task_struct *task)
{
	struct ancestry a = { .task = task };

	bpf_loop(ANCESTORS, look_at_parent, &a, 0);
	return a.exempt;
}

__noinline int exemption(__u32 operation)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct call_key call = { .operation = operation, .nr = READ_SYSCALL_NR(regs) };
	__u32 exempt;

	if (operation >= OPERATIONS)
		return EXEMPT_NOT;
	if (policies[operation] == POLICY_REPORT)
		return EXEMPT_REPORT;
	if (BPF_CORE_READ(task, flags) & (PF_IO_WORKER | PF_USER_WORKER))
		return EXEMPT_WORKER;
	if (BPF_CORE_READ(task, tgid) == 1)
		return EXEMPT_INIT;
	if (BPF_CORE_READ(task, real_parent, tgid) == supervisor)
		return EXEMPT_CHILD;
	exempt = awaited(task);
	if (exempt)
		return exempt;
	if (BPF_CORE_READ(task, ptrace))
		return EXEMPT_TRACED;
	if (IS_COMPAT(task))
		return EXEMPT_COMPAT;
	if (!bpf_map_lookup_elem(&calls, &call))
		return EXEMPT_CALL;
	return EXEMPT_NOT;
}

#define BIT(signal) (1UL << ((signal) - 1))
#define STOP_SIGNALS (BIT(SIGSTOP) | BIT(20) | BIT(21) | BIT(22)) /* and TSTP, TTIN, TTOU */
#define JOBCTL_WORK (1UL << 17 | 1UL << 19 | 1UL << 20 | 1UL << 23) /* include/linux/sched/jobctl.h: a stop or trap is due */

static __always_inline bool is_seized(struct task_struct *task)
{
	return BPF_CORE_READ(task, ptrace) && BPF_CORE_READ(task, parent, tgid) == supervisor;
}

/* Whether a signal would mean nothing to a thread: it does nothing by default, and the program does not want it. */
#define means_nothing(task, signal) \
	(!(BPF_CORE_READ(task, blocked.sig[0]) & BIT(signal)) && (unsigned long)BPF_CORE_READ(task, sighand, action[(signal) - 1].sa.sa_handler) <= 1)

struct stopping {
	struct task_struct *task;
	int signal;
	bool pending;
};

static long is_pending(__u32 n, struct stopping *s)
{
	struct task_struct *task = s->task;

	s->pending = BPF_CORE_READ(task, pending.signal.sig[0]) & BIT(s->signal);
	return s->pending || !is_seized(task);
}

/*
 * Lets a seized thread stop on the way out. The kernel ignores no signal to a traced
 * thread: one that means nothing to the thread goes to the tracer, which drops it. If
 * the tracer ends after that, it is ignored after all; if it ended just before, nothing
 * is pending, and the thread would not look. A program with handlers for all, such as
 * every Go program, gets SIGWINCH: if the tracer dies at that moment, the handler finds
 * a terminal of the size that it had.
 */
__noinline int stop_seized(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct stopping s = { .task = task, .signal = SIGWINCH };

	if (means_nothing(task, SIGWINCH))
		s.signal = SIGWINCH;
	else if (means_nothing(task, SIGURG))
		s.signal = SIGURG;
	else if (means_nothing(task, SIGCHLD))
		s.signal = SIGCHLD;
	else if (BPF_CORE_READ(task, blocked.sig[0]) & BIT(SIGWINCH))
		return false;
	if (bpf_send_signal_thread(s.signal))
		return false;
	bpf_loop(1 << 16, is_pending, &s, 0);
	return s.pending;
}

/*
 * What becomes of stop signals to a process while a thread of it sends itself the pair
 * below. Processes share an element, but not at the same time; none is ever freed.
 */
struct stops {
	__u64 owner; /* the thread that sends the pair, as of bpf_get_current_pid_tgid(); 0: none */
	/* Bits of stop signals, and the process in the upper half: who comes late finds another there, and changes nothing. */
	__u64 came; /* from others than the pair */
	__u64 lost; /* of these: taken back by SIGCONT of the pair */
	__u32 sent; /* PAIR_... */
	__u32 continued; /* how often others sent SIGCONT */
	__u32 again;     /* not 0: owner sends what was lost */
	__u32 last_tgid;
	__u64 last;  /* when a stop signal without a handler came for last_tgid, which no SIGCONT followed; 0: none */
	__u64 mixed; /* when one came while last was recent and of another process */
};

#define PAIR_CONT 1
#define PAIR_STOP 2

/* Stop signals of a set, as bits of struct stops: for the process, and for owner alone. */
#define FOR_PROCESS(set) ((set) >> (SIGSTOP - 1) & 0xf)
#define FOR_THREAD(set) (FOR_PROCESS(set) << 4)
#define ALL_STOPS 0xff

#define RECENT (1000 * MS) /* a thread takes less from taking a stop signal to stopping its process */

#define PROCESSES 4096
struct stops stops[PROCESSES];

static __always_inline struct stops *stops_of(__u32 tgid) { return &stops[tgid & (PROCESSES - 1)]; }

/* Changes a word of struct stops, unless another process has the element. */
static __always_inline void change(__u64 *word, __u32 tgid, __u64 clear, __u64 set)
{
	__u64 old = *(volatile __u64 *)word;

	if (old >> 32 == tgid)
		__sync_val_compare_and_swap(word, old, (old & ~clear) | set);
}

#define SEND_SIG_PRIV 1 /* include/linux/sched/signal.h: from the kernel, as all that a program here sends */
#define TRACE_SIGNAL_IGNORED 1 /* include/trace/events/signal.h */

static __always_inline void stop_came(struct stops *s, struct task_struct *task, __u32 tgid, int signal, bool to_process)
{
	bool to_owner = !to_process && (__u32)s->owner == BPF_CORE_READ(task, pid);
	__u64 now = bpf_ktime_get_ns();

	change(&s->came, tgid, 0, to_owner ? FOR_THREAD(BIT(signal)) : FOR_PROCESS(BIT(signal)));
	if (BPF_CORE_READ(task, sighand, action[(signal - 1) & 63].sa.sa_handler))
		return;
	if (s->last_tgid != tgid && s->last && now - s->last < RECENT)
		s->mixed = now;
	s->last_tgid = tgid;
	s->last = now;
}

static __always_inline void cont_came(struct stops *s, __u32 tgid)
{
	change(&s->came, tgid, ALL_STOPS, 0);
	change(&s->lost, tgid, ALL_STOPS, 0);
	if (s->owner >> 32 == tgid)
		s->continued++;
	if (s->last_tgid == tgid)
		s->last = 0;
}

/*
 * Called for each signal, under the lock of the signals of the process that it is for:
 * in the order in which stop signals and SIGCONT take each other back.
 */
SEC("raw_tp/signal_generate")
int BPF_PROG(signal_generate, int signal, unsigned long info, struct task_struct *task, int to_process, int result)
{
	bool stop = signal >= SIGSTOP && signal < SIGSTOP + 4, by_owner;
	struct stops *s;
	__u32 tgid;

	if (signal != SIGCONT && !(stop && result != TRACE_SIGNAL_IGNORED))
		return 0;
	tgid = BPF_CORE_READ(task, tgid);
	s = stops_of(tgid);
	by_owner = info == SEND_SIG_PRIV && s->owner >> 32 == tgid;
	if (by_owner && stop && s->again)
		return 0;
	by_owner = by_owner && !to_process && (__u32)s->owner == BPF_CORE_READ(task, pid);
	if (by_owner && signal == SIGCONT) {
		change(&s->lost, tgid, 0, (__u32)s->came);
		change(&s->came, tgid, ALL_STOPS, 0);
		s->sent |= PAIR_CONT;
	} else if (by_owner && signal == SIGSTOP && !(s->sent & PAIR_STOP)) { /* a second one is that of a debugger */
		s->sent |= PAIR_STOP;
	} else if (signal == SIGCONT) {
		cont_came(s, tgid);
	} else {
		stop_came(s, task, tgid, signal, to_process);
	}
	return 0;
}

#define MAX_THREADS 65536

struct thread_walk {
	struct list_head *entry, *head;
	struct task_struct *self;
	__u64 pending; /* stop signals for another thread than self alone */
	bool complete;
};

static long look_at_thread(__u32 n, struct thread_walk *walk)
{
	struct list_head *entry = walk->entry;
	struct task_struct *task;

	if (!entry || entry == walk->head) {
		walk->complete = entry;
		return 1;
	}
	task = (void *)entry - bpf_core_field_offset(struct task_struct, thread_node);
	if (task != walk->self)
		walk->pending |= BPF_CORE_READ(task, pending.signal.sig[0]) & STOP_SIGNALS;
	walk->entry = BPF_CORE_READ(entry, next);
	return 0;
}

/* Stop signals that are pending for other threads of the process alone; if that cannot be found out, all. */
static __always_inline __u64 pending_for_others(struct task_struct *task)
{
	struct signal_struct *signal = BPF_CORE_READ(task, signal);
	struct thread_walk walk = {
		.self = task,
		.head = (void *)signal + bpf_core_field_offset(struct signal_struct, thread_head),
		.entry = BPF_CORE_READ(signal, thread_head.next),
	};

	bpf_loop(MAX_THREADS, look_at_thread, &walk, 0);
	return walk.complete ? walk.pending : STOP_SIGNALS;
}

#define TRIES (1 << 20)

struct sending {
	__u32 signal;
	bool to_process;
	bool failed;
};

static long try_to_send(__u32 n, struct sending *s)
{
	long err = s->to_process ? bpf_send_signal(s->signal) : bpf_send_signal_thread(s->signal);

	s->failed = err;
	return err != -EBUSY; /* where it may not be sent at once, the one before is still on its way */
}

__noinline int send(__u32 signal, bool to_process)
{
	struct sending s = { .signal = signal, .to_process = to_process };

	bpf_loop(TRIES, try_to_send, &s, 0);
	return !s.failed;
}

struct owning {
	struct stops *stops;
	__u64 id;
	bool owns;
};

/* A keeper that is being killed takes the program away from the tracepoint. */
static long is_continued(__u32 n, struct owning *o)
{
	return *(volatile __u32 *)&o->stops->sent & PAIR_CONT || !keeper_lives();
}

/* Sends SIGCONT of the pair, and waits until it took back what was pending. */
static __always_inline void continue_self(struct owning *o)
{
	struct stops *s = o->stops;

	s->sent &= ~PAIR_CONT;
	send(SIGCONT, false);
	bpf_loop(TRIES, is_continued, o, 0);
	if (!(*(volatile __u32 *)&s->sent & PAIR_CONT))
		change(&s->lost, o->id >> 32, 0, (__u32)s->came);
}

static long send_again(__u32 n, __u64 *lost)
{
	if (*lost >> n & 1)
		send(SIGSTOP + (n & 3), n < 4);
	return 0;
}

/* Sends what was lost again, and takes it back if somebody has sent SIGCONT meanwhile. */
static long restore(__u32 n, struct owning *o)
{
	struct stops *s = o->stops;
	__u32 continued = *(volatile __u32 *)&s->continued;
	__u64 lost = *(volatile __u64 *)&s->lost & ALL_STOPS;

	if (!lost)
		return 1;
	change(&s->lost, s->owner >> 32, ALL_STOPS, 0);
	s->again = 1;
	bpf_loop(8, send_again, &lost, 0);
	s->again = 0;
	if (*(volatile __u32 *)&s->continued == continued)
		return 1;
	continue_self(o);
	return 0;
}

static long try_to_own(__u32 n, struct owning *o)
{
	o->owns = __sync_val_compare_and_swap(&o->stops->owner, 0, o->id) == 0;
	return o->owns;
}

/*
 * Lets the system call end with a look at signals, without one, of a thread that is
 * not seized yet. SIGCONT takes back SIGSTOP before anybody sees it, and what remains
 * is the flag that there is something to look at.
 *
 * SIGCONT takes back every stop signal that is pending in the process. If there is one,
 * the pair is not sent, unless it must be: then what is pending is sent again. What
 * comes between that look and SIGCONT is sent again in any case.
 */
__noinline int look_at_signals(bool must)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 id = bpf_get_current_pid_tgid(), pending, now = bpf_ktime_get_ns();
	struct owning o = { .stops = stops_of(id >> 32), .id = id };
	struct stops *s = o.stops;
	bool looks = false;

	bpf_loop(TRIES, try_to_own, &o, 0);
	if (!o.owns)
		return false;
	s->sent = 0;
	s->lost = s->came = id >> 32 << 32;
	pending = FOR_PROCESS(BPF_CORE_READ(task, signal, shared_pending.signal.sig[0]) | pending_for_others(task)) |
	          FOR_THREAD(BPF_CORE_READ(task, pending.signal.sig[0]));
	if (BPF_CORE_READ(task, jobctl) & JOBCTL_WORK) { /* its process is being stopped: it looks */
		looks = must;
	} else if (must || !(pending || (s->last && s->last_tgid == id >> 32 && now - s->last < RECENT) || now - s->mixed < RECENT)) {
		change(&s->came, id >> 32, 0, pending);
		looks = send(SIGSTOP, false);
		if (looks) {
			continue_self(&o);
			bpf_loop(8, restore, &o, 0);
		}
	}
	*(volatile __u64 *)&s->owner = 0;
	return looks;
}

/* For tests: what look_at_signals() does to the thread that calls it. */
SEC("syscall")
int look(struct look_context *c)
{
	return look_at_signals(c->must);
}

/*
 * Whether the program, or another that watches it, would see that it looks at signals as
 * above: a handler for SIGCONT, SIGCONT blocked, a seccomp filter. Then the value is not
 * 0. It is computed without a branch: each doubles the verifier's work from here on.
 */
static __always_inline __u64 would_be_seen(struct task_struct *task)
{
	return (unsigned long)BPF_CORE_READ(task, sighand, action[SIGCONT - 1].sa.sa_handler) >> 1 |
	       (BPF_CORE_READ(task, blocked.sig[0]) & BIT(SIGCONT)) | HAS_SECCOMP(task);
}

enum end {
	END_LATE, /* user space did not get to it */
	END_ANSWERED,
	END_SEIZED,
	END_FORGOTTEN, /* by user space, which died or gave it up */
};

/* Whether a thread got that answer at that visit. User space may take it back until then. */
static __always_inline bool take(struct waiting *w, __u64 since, __u32 answer)
{
	return __sync_val_compare_and_swap(&w->visit, since | answer, since | ANSWER_TAKEN) == (since | answer);
}

struct awaiting {
	struct task_struct *task;
	__u64 since;
	__u64 from, looked;
	__u64 seen; /* not 0: would_be_seen() */
	__u32 tid;
	__u32 answer;
	__u32 end; /* enum end */
	bool takes; /* the answer */
};

/*
 * One look follows the other at once: if much time passes between them, the CPU was
 * away (a virtual machine's CPU can be), and user space perhaps with it.
 */
static __always_inline __u64 time_of_cpu(struct awaiting *p)
{
	__u64 now = bpf_ktime_get_ns(), passed = now - p->looked;

	p->looked = now;
	if (passed > AWAY)
		p->from += passed - AWAY;
	return now - p->from;
}

static long look_again(__u32 n, struct awaiting *p)
{
	struct waiting *w = bpf_map_lookup_elem(&threads, &p->tid);
	__u64 visit, waited;

	if (!w || !keeper_lives()) {
		p->end = END_FORGOTTEN;
		return 1;
	}
	visit = *(volatile __u64 *)&w->visit;
	p->answer = answer_of(visit);
	if (p->answer != ANSWER_WAIT && (!p->takes || take(w, p->since, p->answer))) {
		p->end = END_ANSWERED;
		return 1;
	}
	if (is_seized(p->task)) {
		p->end = END_SEIZED;
		return 1;
	}
	waited = time_of_cpu(p);
	return waited > patience ||
	       (waited > PATIENCE_BESIDE_OTHERS && !p->seen && BPF_CORE_READ(queue_of(bpf_get_smp_processor_id()), nr_running) > 1);
}

#define END(answered) ((answered) & 0xff)
#define ANSWERED(answered) ((answered) >> 8)

/*
 * Waits here until user space has seized the thread, or has an answer, which it takes if it is to; not for long.
 * Returns enum end, and the answer above it.
 */
__noinline int wait_for_keeper(__u64 since, __u64 seen, bool takes)
{
	struct awaiting p = {
		.task = (void *)bpf_get_current_task(), .tid = bpf_get_current_pid_tgid(), .since = since, .seen = seen,
		.from = bpf_ktime_get_ns(), .takes = takes,
	};

	p.looked = p.from;
	bpf_loop(1 << 23, look_again, &p, 0);
	return p.end | p.answer << 8;
}

static __always_inline int go_on(__u32 tid, __u32 exempt, __u32 operation, __u64 since, __u64 d0, __u64 d1)
{
	if (exempt) /* before it is gone from the map, where user space would look for it in vain */
		exempted(exempt, operation, since, d0, d1);
	bpf_map_delete_elem(&threads, &tid);
	return 0;
}

/*
 * Restarts the call, without anything that stops it on the way: taskiso got no CPU in
 * time, and gets one when the thread leaves the kernel. A program that would see this
 * goes on the second time.
 */
static __always_inline bool leave(struct waiting *w, __u64 seen)
{
	if (w->looks && seen)
		return false;
	if (!look_at_signals(false))
		return false;
	w->looks++;
	if (seen)
		__sync_fetch_and_add(&seen_operations, 1);
	return true;
}

/* The result of a visit of a thread that waits. */
static __always_inline int wait_on(__u32 operation, __u64 since, __u32 tid, struct task_struct *task, __u64 d0, __u64 d1)
{
	__u64 seen = would_be_seen(task);
	struct waiting *w;
	__u32 answered;

	if (bpf_ktime_get_ns() - since > max_wait + SILENCE)
		return go_on(tid, EXEMPT_SILENCE, operation, since, d0, d1);
	tell(operation, since, d0, d1);
	answered = wait_for_keeper(since, seen, true);
	switch (END(answered)) {
	case END_ANSWERED:
		go_on(tid, EXEMPT_NOT, operation, since, d0, d1);
		return ANSWERED(answered) == ANSWER_DENY ? -EBUSY : 0;
	case END_FORGOTTEN:
		return go_on(tid, EXEMPT_NOT, operation, since, d0, d1);
	case END_SEIZED:
		if (stop_seized())
			return -ERESTARTNOINTR;
		if (!keeper_lives())
			return go_on(tid, EXEMPT_NOT, operation, since, d0, d1);
	}
	w = bpf_map_lookup_elem(&threads, &tid);
	if (w && leave(w, seen))
		return -ERESTARTNOINTR;
	return go_on(tid, EXEMPT_SIGNAL, operation, since, d0, d1);
}

/* Whether what is known of a thread is about this visit, and not about an operation that it gave up, or another thread of its number. */
static __always_inline bool is_about(struct waiting *w, __u32 answer, __u32 operation, __u64 started)
{
	return w->operation == operation && w->started == started && answer != ANSWER_TAKEN &&
	       (answer == ANSWER_WAIT || bpf_ktime_get_ns() < w->until);
}

/* The result of the hook: 0 to go on. */
static __noinline int guard(__u32 operation, __u64 d0, __u64 d1)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct waiting new = { .operation = operation }, *w;
	__u64 id = bpf_get_current_pid_tgid(), visit = 0;
	__u32 tid = id, exempt;

	if (operation >= OPERATIONS || policies[operation] == POLICY_IGNORE)
		return 0;
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD || id >> 32 == supervisor || !keeper_lives())
		return 0;
	new.started = BPF_CORE_READ(task, start_time);
	w = bpf_map_lookup_elem(&threads, &tid);
	if (w)
		visit = *(volatile __u64 *)&w->visit;
	if (!w || !is_about(w, answer_of(visit), operation, new.started)) {
		visit = 0;
	} else if (answer_of(visit) != ANSWER_WAIT && take(w, since_of(visit), answer_of(visit))) {
		go_on(tid, EXEMPT_NOT, operation, since_of(visit), d0, d1);
		return answer_of(visit) == ANSWER_DENY ? -EBUSY : 0;
	}
	if (!visit) {
		if (!closed())
			return 0;
		exempt = exemption(operation);
		if (exempt) {
			exempted(exempt, operation, 0, d0, d1);
			return 0;
		}
		new.visit = visit = since_of(bpf_ktime_get_ns());
		if (bpf_map_update_elem(&threads, &tid, &new, BPF_ANY)) {
			exempted(EXEMPT_FULL, operation, 0, d0, d1);
			return 0;
		}
	}
	return wait_on(operation, since_of(visit), tid, task, d0, d1);
}

__u32 probed = 0;

/* Reports whether the kernel asks programs of this type at all. */
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
	nr = READ_SYSCALL_NR(regs);
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
 * A thread that loads a file which another thread is loading gets that thread's result
 * (commit 9b9879fc0327), and no hook sees it. A restart as the result restarts it too.
 */
SEC("fexit/finit_module") /* named as this architecture names it when it is loaded */
int BPF_PROG(finit_module_exit, struct pt_regs *regs, long result)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct waiting new = { .operation = OP_MODULE }, *w;
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 seen;

	if (result != -ERESTARTNOINTR)
		return 0;
	if (is_seized(task) && stop_seized()) /* by the program at the hook already, or by another copy */
		return 0;
	new.visit = since_of(bpf_ktime_get_ns());
	new.started = BPF_CORE_READ(task, start_time);
	seen = would_be_seen(task);
	w = bpf_map_lookup_elem(&threads, &tid);
	if (keeper_lives() && (!w || answer_of(w->visit) == ANSWER_TAKEN) && !bpf_map_update_elem(&threads, &tid, &new, BPF_ANY)) {
		tell(OP_MODULE, new.visit, 0, 0);
		if (END(wait_for_keeper(new.visit, seen, false)) == END_SEIZED && stop_seized())
			return 0;
		if (seen)
			__sync_fetch_and_add(&seen_operations, 1);
	}
	look_at_signals(true); /* or the number reaches user mode. Several times before that are one to the program */
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
	if (READ_SYSCALL_NR(((struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf()))) != NR_SCHED_SETAFFINITY)
		return 0;
	return guard(OP_AFFINITY, BPF_CORE_READ(task, pid), 0);
}

/* The helpers for signals and registers are reserved for GPL programs. */
char LICENSE[] SEC("license") = "Dual BSD/GPL";
