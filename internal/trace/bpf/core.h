/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What every program shares: the wire format, the per-CPU state and the ring
 * buffers. Everything on a watched CPU must work without waking anybody: a
 * waking ring buffer sends an irq_work to the very CPU that is observed.
 */
#pragma once

#include <stdbool.h>
#include "number.h"

#define MAX_STACK 32
#define NO_TID ((__u32)-1)

/* Wire format, little endian on all supported architectures. a, b, c: kinds.h. */
struct event {
	__u64 time; /* CLOCK_MONOTONIC, ns */
	__u8 kind;
	__u8 flags; /* enum task_flag, of the current task */
	__u16 cpu;
	__u32 tid; /* the current thread: number.h */
	__u64 ip;  /* where user mode was left; 0 in kernel threads */
	__u64 a;
	__u64 b;
	__u64 c;
};

/* KIND_SWITCH, KIND_EXEC: event.a is the thread, this its name. */
struct task_event {
	struct event e;
	__u32 tgid;
	__u32 flags; /* enum task_flag */
	char comm[16];
	__u64 born;     /* CLOCK_MONOTONIC: distinguishes threads with the same number */
	__u64 switches; /* how often it was switched away before */
};

enum task_flag {
	TASK_KERNEL = 1,  /* has no user mode: a kernel thread, or a worker of a process */
	TASK_WATCHED = 2,
	SEND_CONDITIONAL = 4, /* of KIND_SEND_CALLS: a function decides whether the target is called */
	SEND_SHOWN = 8, /* of KIND_SEND_CALL: KIND_CSD_ENTER shows when it arrives */
	SWITCH_THROTTLED = 16, /* of KIND_SWITCH: kept.h of the current task */
	SWITCH_FROZEN = 32,
};

/* KIND_SEND_*: a sender, and its effect on a watched CPU. */
struct send_event {
	struct event e;
	__u32 tgid;
	__u32 frames;
	__u64 cgroup;
	char comm[16];
	__u64 stack[MAX_STACK];
};

/* Keeps these types in the object's BTF, where a test compares them with the Go side. */
struct wire_format {
	enum kind kind;
	enum task_flag flags;
	struct event event;
	struct task_event task;
	struct send_event send;
};
const struct wire_format *wire_format __attribute__((unused));

/*
 * One entry a CPU, shared with user space by mmap: reading counters costs no
 * system call and no interrupt. Each slot of seen and lost is written by one
 * program only, and a program does not nest in itself on one CPU, so plain
 * additions do not lose counts.
 */
struct cpu_state {
	__u32 watched;     /* set by user space: everything on this CPU is recorded */
	__u32 cached_tid;  /* the answer for this thread, as the kernel calls it (NO_TID at first) ... */
	__u32 cached_number; /* ... as we call it ... */
	__u32 cached_flags; /* ... as looked up ... */
	__u32 cached_at;    /* ... at this value of task_changes */
	__u32 running;      /* programs that run now, interrupted ones included */
	__u32 preempted;    /* how often the CPU switched while one ran */
	__u32 shown;        /* any_cpu: the last switch that was recorded here was to a watched task */
	__u32 ipi;          /* arm64.h: an IPI is handled whose reason has not shown yet */
	__u32 pad[7];
	/* isolation.h; answered and granted are user space's */
	__u32 answered;     /* thread that user space is waking with the answer to its call */
	__u32 granted;      /* ... which allows it to be isolated on this CPU */
	__u32 isolated;     /* slot + 1 of the thread that is isolated, or 0 */
	__u32 entering;     /* it has not left user mode since its call */
	__u32 left;         /* context tracking: it has left user mode */
	__u32 named;        /* slot + 1 of the thread here whose break this stay is */
	__u32 ours;         /* the next irq_work may be that of our signal */
	__u32 disturbed_by; /* enum break_cause */
	__u64 disturbed;    /* when the CPU was last interrupted; CLOCK_MONOTONIC, ns */
	__u32 idle;         /* no task runs */
	__u64 elsewhere;    /* elsewhere.h: how long watched tasks ran here, ns, if this CPU is not watched */
	__u64 there;        /* ... and since when one runs here, or 0 */
	__u64 seen[KINDS];
	__u64 lost[KINDS];
} __attribute__((aligned(64)));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* number of possible CPUs, set at load */
	__type(key, __u32);
	__type(value, struct cpu_state);
} cpus SEC(".maps");

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16); /* set at load */
};

/*
 * A watched CPU has a ring of its own: with a shared one it could spin on the
 * ring's lock while a sender elsewhere holds it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1); /* number of possible CPUs, set at load */
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32); /* thread */
	__type(value, __u8);
} tasks SEC(".maps");

/* Raised by user space whenever it adds to the map of tasks. */
__u32 task_changes = 0;

/* Children that could not be watched because the map of tasks was full. */
__u64 unwatched_children = 0;

/* Watch every user task, not only those in the map. */
volatile const bool all_tasks = false;
/* A watched task makes the CPU it runs on watched while it runs. */
volatile const bool any_cpu = false;
/* Children of watched tasks are watched too: 1 threads only, 2 processes as well. */
volatile const __u32 follow = 2;

/* The CPUs that can be watched: those of the observation, or if any_cpu all. */
#define MAX_TARGETS 1024
volatile const __u32 target[MAX_TARGETS];
volatile const __u32 targets = 0;

static __always_inline struct cpu_state *cpu_state(__u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

/*
 * Workers that io_uring and vhost make of a process are threads of it, but never
 * leave the kernel.
 */
static __always_inline bool has_user_mode(struct task_struct *task)
{
	__u32 kernel = PF_KTHREAD | PF_IO_WORKER;

	if (bpf_core_field_exists(((struct kernel_clone_args *)0)->user_worker))
		kernel |= PF_USER_WORKER;
	return !(BPF_CORE_READ(task, flags) & kernel);
}

static __always_inline __u32 task_flags(struct task_struct *task, __u32 number)
{
	if (number == 0 /* idle */ || !has_user_mode(task))
		return TASK_KERNEL;
	if (all_tasks || bpf_map_lookup_elem(&tasks, &number))
		return TASK_WATCHED;
	return 0;
}

/* Remembers what a thread is called until another one runs. */
static __always_inline void keep_current(struct cpu_state *s, struct task_struct *task, __u32 number, __u32 flags)
{
	s->cached_number = number;
	s->cached_flags = flags;
	s->cached_tid = BPF_CORE_READ(task, pid);
	if (flags & TASK_WATCHED)
		note_number(task, number);
}

/*
 * Whether the current task is watched. The answer is kept until another
 * thread asks or the CPU switches, because a hash look-up in each system call
 * would be the larger part of its cost.
 */
static __always_inline __u32 current_flags(struct cpu_state *s)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 tid = bpf_get_current_pid_tgid(), number;

	if (s->cached_tid != tid || s->cached_at != task_changes) {
		/* A thread that has ended may have its number no more. */
		number = s->cached_tid == tid ? s->cached_number : number_of(task);
		s->cached_at = task_changes;
		keep_current(s, task, number, task_flags(task, number));
	}
	return s->cached_flags;
}

static __always_inline __u32 current_number(struct cpu_state *s)
{
	current_flags(s);
	return s->cached_number;
}

/* Whether an event that is not a task's own is recorded on this CPU. */
static __always_inline bool watched_cpu(struct cpu_state *s)
{
	return s->watched || (any_cpu && current_flags(s) & TASK_WATCHED);
}

/* Whether the current task's own events are recorded on this CPU. */
static __always_inline bool watched_task(struct cpu_state *s)
{
	return (s->watched || any_cpu) && current_flags(s) & TASK_WATCHED;
}

/*
 * A program on a raw tracepoint, or a kprobe on a function, of its name. While it runs on a CPU the kernel
 * does not run it there again: such an event is missed, and counted for all
 * CPUs together. Interrupts do not nest, so that takes a program that is
 * preempted, where tracepoints leave preemption enabled, by a task that comes to
 * the same tracepoint. sched_switch notes this: on a CPU where it noted nothing,
 * nothing was missed.
 */
#define PROGRAM(name) PROGRAM_OF("raw_tp/" #name, name, struct bpf_raw_tracepoint_args)
#define PROBE(name) PROGRAM_OF("kprobe/" #name, name, struct pt_regs)

#define PROGRAM_OF(section, name, context)                                        \
	static __always_inline void do_##name(context *ctx, struct cpu_state *s); \
	SEC(section)                                                              \
	int name(context *ctx)                                                    \
	{                                                                         \
		struct cpu_state *s = cpu_state(bpf_get_smp_processor_id());      \
                                                                                  \
		if (!s)                                                           \
			return 0;                                                 \
		s->running++;                                                     \
		do_##name(ctx, s);                                                \
		s->running--;                                                     \
		return 0;                                                         \
	}                                                                         \
	static __always_inline void do_##name(context *ctx, struct cpu_state *s)

static __always_inline __u64 user_ip(struct cpu_state *s)
{
	struct pt_regs *regs;

	if (current_flags(s) & TASK_KERNEL)
		return 0;
	regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return READ_USER_IP(regs);
}

static __always_inline void *reserve(struct cpu_state *s, __u8 kind, __u64 size)
{
	__u32 cpu = bpf_get_smp_processor_id();
	void *ring = bpf_map_lookup_elem(&rings, &cpu);
	struct event *e = NULL;
	__u64 now = bpf_ktime_get_ns();

	s->seen[kind]++;
	if (ring)
		e = bpf_ringbuf_reserve(ring, size, 0);
	if (!e) {
		s->lost[kind]++;
		return NULL;
	}
	e->time = now;
	e->kind = kind;
	e->flags = current_flags(s);
	e->cpu = cpu;
	e->tid = s->cached_number;
	return e;
}

static __always_inline void submit(void *e)
{
	bpf_ringbuf_submit(e, BPF_RB_NO_WAKEUP);
}

static __always_inline void record_at(struct cpu_state *s, __u8 kind, __u64 ip, __u64 a, __u64 b, __u64 c)
{
	struct event *e = reserve(s, kind, sizeof(*e));

	if (!e)
		return;
	e->ip = ip;
	e->a = a;
	e->b = b;
	e->c = c;
	submit(e);
}

static __always_inline void record(struct cpu_state *s, __u8 kind, __u64 a, __u64 b, __u64 c)
{
	record_at(s, kind, user_ip(s), a, b, c);
}
