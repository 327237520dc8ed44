/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The task side. A thread that called prctl(PR_TASK_ISOLATION) is isolated from
 * the return of that call to the first thing that interrupts it. Both ends are
 * decided here, on the thread's own CPU, in the stay that they belong to, so
 * that nothing comes in between. What a state word means, and why no event
 * slips through: docs/design/03-task-interface.md.
 */
#pragma once

#include "core.h"

#define PR_TASK_ISOLATION 48
#define PR_GET_TASK_ISOLATION 49
#define ISOLATION_ENABLE 1

#if defined(__TARGET_ARCH_x86)
#define NR_PRCTL 157
#define NR_EXIT 60
#define NR_EXIT_GROUP 231
#define NR_EXECVE 59
#define NR_EXECVEAT 322
#elif defined(__TARGET_ARCH_arm64)
#define NR_PRCTL 167
#define NR_EXIT 93
#define NR_EXIT_GROUP 94
#define NR_EXECVE 221
#define NR_EXECVEAT 281
#endif

#define SIGKILL 9

/* Whether any of this is in use; without it no program pays for it. */
volatile const bool isolation = false;
/* Whether csd_function_entry is attached. */
volatile const bool csd_events = false;
/* The process behind the watch. When it is gone, nobody is isolated. */
volatile const __u32 supervisor = 0;
__u32 supervisor_gone = 0;

/* Why isolation ended: taskiso_cause in include/taskiso/taskiso.h. A contract. */
enum break_cause {
	BREAK_SYSCALL = 1,    /* detail: number */
	BREAK_PAGE_FAULT = 2, /* detail: address */
	BREAK_TIMER = 3,      /* detail of all vectors: vector */
	BREAK_RESCHEDULE = 4,
	BREAK_CALL = 5,
	BREAK_IRQ_WORK = 6,
	BREAK_VECTOR = 7,
	BREAK_IRQ = 8,     /* detail: irq number */
	BREAK_NMI = 9,
	BREAK_TASK = 10,   /* detail: thread that ran instead */
	BREAK_SIGNAL = 11, /* detail: signal */
	BREAK_MOVED = 12,  /* not where it was to be isolated; detail: CPU */
	BREAK_UNNAMED = 13,
	BREAK_UNWATCHED = 14, /* taskiso has ended */
};

/* Keeps it in the object's BTF, where a test compares it with the Go side. */
const enum break_cause *break_causes __attribute__((unused));

#define STATUS_VERSION 1
#define STATUS_SIZE 4096
#define STATUS_SLOTS 256

/*
 * The status page of a thread, which it maps read-only: struct taskiso_page in
 * include/taskiso/taskiso.h. What is after seq is written while seq is odd. User
 * space freezes the map before it hands it out, so nobody else writes it: a
 * map that is opened for reading only cannot be mapped at all.
 */
struct status {
	__u32 version;
	__u32 isolated;
	__u32 seq;
	__u32 tid;
	__u64 entered; /* how often isolation began */
	__u64 since;   /* ... last; CLOCK_MONOTONIC, ns */
	__u64 breaks;
	__u64 time; /* of the last break */
	__u64 detail;
	__u32 cause; /* enum break_cause */
	__u32 cpu;
	__u8 pad[STATUS_SIZE - 64];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* STATUS_SLOTS if in use, set at load */
	__type(key, __u32);
	__type(value, struct status);
} pages SEC(".maps");

/* Where the status page of a thread is. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STATUS_SLOTS);
	__type(key, __u32); /* thread */
	__type(value, __u32);
} slots SEC(".maps");

static __always_inline struct status *status_of(__u32 slot)
{
	return bpf_map_lookup_elem(&pages, &slot);
}

/* The registers of the current task, which is no kernel thread, in user mode. */
static __always_inline struct pt_regs *user_regs(void)
{
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

/*
 * Whether the isolated thread is in a call to leave, to enter again or to ask. The
 * registers say so exactly: whatever else enters from user mode sets the system
 * call's number to -1. Only the end of the call that began isolation looks the
 * same; entering tells the two apart.
 */
static __always_inline bool in_own_call(struct cpu_state *s)
{
	struct pt_regs *regs = user_regs();

	if (s->entering || (__s32)READ_SYSCALL_NR(regs) != NR_PRCTL)
		return false;
	return (__u32)READ_ARG1(regs) == PR_TASK_ISOLATION || (__u32)READ_ARG1(regs) == PR_GET_TASK_ISOLATION;
}

/*
 * The helper sends from an irq_work where it must not take locks, and has one on
 * each CPU: if that is still under way, user_enter or the next event tries again.
 */
static __always_inline void send_signal(struct cpu_state *s, __u32 sig)
{
	s->owed = sig && bpf_send_signal_thread(sig) ? sig : 0;
	s->owed_to = bpf_get_current_pid_tgid();
}

/* Nobody else changes these pages but unwatch(), once, when supervisor_gone is set. */
static __always_inline void set_isolated(struct status *p, __u32 isolated, __u32 cpu)
{
	__sync_fetch_and_add(&p->seq, 1); /* full barriers */
	p->isolated = isolated;
	if (isolated) {
		p->since = bpf_ktime_get_ns();
		p->entered++;
		p->cpu = cpu;
	}
	__sync_fetch_and_add(&p->seq, 1);
}

static __always_inline void set_broken(struct status *p, __u32 cause, __u64 detail)
{
	__sync_fetch_and_add(&p->seq, 1);
	p->isolated = 0;
	p->breaks++;
	p->time = bpf_ktime_get_ns();
	p->detail = detail;
	p->cause = cause;
	__sync_fetch_and_add(&p->seq, 1);
}

static __always_inline void end(struct cpu_state *s, __u32 cause, __u64 detail, __u32 sig)
{
	/* An NMI may end it in the middle of this; only one of the two does. */
	__u32 slot = __sync_lock_test_and_set(&s->isolated, 0);
	struct status *p;

	if (!slot)
		return;
	p = status_of(slot - 1);
	if (p)
		set_broken(p, cause, detail);
	if (p && p->tid != (__u32)bpf_get_current_pid_tgid())
		sig = 0; /* see arm(): user space sends it */
	s->named = slot;
	s->ours = 1;
	send_signal(s, sig);
	record(s, KIND_BROKEN, slot - 1, cause, detail);
}

static __always_inline void broken(struct cpu_state *s, __u32 cause, __u64 detail)
{
	if (isolation && s->isolated && !in_own_call(s))
		end(s, cause, detail, s->signal);
}

static __always_inline void disturbed(struct cpu_state *s, __u32 cause)
{
	if (s->answered) /* the interrupt that wakes an answered thread is ours */
		return;
	s->disturbed = bpf_ktime_get_ns();
	s->disturbed_by = cause;
}

/*
 * Whether an interrupt of an idle CPU most likely wakes a task there. If that is
 * no watched one, its turn is the disturbance. A function other than the waking one
 * shows itself, where there is an event for it: isolation_csd().
 */
static __always_inline bool wakes(struct cpu_state *s, __u32 cause)
{
	return s->idle && (cause == BREAK_RESCHEDULE || (cause == BREAK_CALL && csd_events));
}

/* Something that is not the doing of the task at hand happened to the CPU. */
static __always_inline void interrupted(struct cpu_state *s, __u32 cause, __u64 detail)
{
	if (!isolation)
		return;
	if (!wakes(s, cause))
		disturbed(s, cause);
	broken(s, cause, detail);
}

extern void sched_ttwu_pending __ksym __weak;

static __always_inline void isolation_csd(struct cpu_state *s, __u64 func)
{
	if (isolation && s->idle && func != (__u64)&sched_ttwu_pending)
		disturbed(s, BREAK_CALL);
}

/* What comes later in the stay can be nearer to the cause than what came first. */
static __always_inline void name_better(struct cpu_state *s, __u32 cause, __u64 detail)
{
	struct status *p;

	if (!isolation || !s->named)
		return;
	p = status_of(s->named - 1);
	if (p && p->tid == (__u32)bpf_get_current_pid_tgid()) {
		__sync_fetch_and_add(&p->seq, 1);
		p->cause = cause;
		p->detail = detail;
		__sync_fetch_and_add(&p->seq, 1);
	}
	s->named = 0;
}

#define SI_KERNEL 0x80

/* Ours, which has that code, comes when isolation has ended, and is no cause. */
static __always_inline void isolation_signal(struct cpu_state *s, __u32 sig, __s32 code)
{
	if (!isolation)
		return;
	if (s->isolated)
		end(s, BREAK_SIGNAL, sig, s->signal);
	else if (code != SI_KERNEL)
		name_better(s, BREAK_SIGNAL, sig);
}

/* Ends isolation without a break: the thread wanted it. */
static __always_inline void leave(struct cpu_state *s)
{
	__u32 slot = __sync_lock_test_and_set(&s->isolated, 0);
	struct status *p;

	if (!slot)
		return;
	p = status_of(slot - 1);
	if (p)
		set_isolated(p, 0, 0);
	record(s, KIND_LEFT, slot - 1, 0, 0);
}

static __always_inline void isolation_sys_enter(struct cpu_state *s, __u32 nr)
{
	if (!isolation)
		return;
	s->named = 0;
	if (!s->isolated)
		return;
	if (nr == NR_EXIT || nr == NR_EXIT_GROUP)
		leave(s);
	/* The handler of a signal is gone after exec: it would kill the new program. */
	else if ((nr == NR_EXECVE || nr == NR_EXECVEAT) && s->signal != SIGKILL)
		end(s, BREAK_SYSCALL, nr, 0);
	else
		end(s, BREAK_SYSCALL, nr, s->signal);
}

/*
 * Isolation begins. The watch may end at this moment on another CPU: either
 * unwatch() finds this page isolated, or this finds supervisor_gone set.
 */
static __always_inline void enter(struct cpu_state *s, __u32 slot, struct status *p, __u32 sig)
{
	s->signal = sig;
	s->named = 0;
	s->ours = 0;
	s->left = 0;
	s->entering = 1;
	set_isolated(p, 1, bpf_get_smp_processor_id());
	record(s, KIND_ISOLATED, slot, sig, 0); /* an interrupt may come right after the next line */
	__sync_lock_test_and_set(&s->isolated, slot + 1);
	if (supervisor_gone)
		end(s, BREAK_UNWATCHED, 0, sig);
}

/* The signal that a call asks for, as both versions of the interface have it. */
static __always_inline __u32 signal_of(__u64 flags)
{
	__u32 sig = flags >> 8 & 0x7f;

	return sig || flags & 2 /* USERSIG: 0 is none */ ? sig : SIGKILL;
}

/*
 * The thread is where it can be isolated, and nowhere else: affinity may have
 * changed after user space looked at it.
 */
static __always_inline bool is_where_answered(struct cpu_state *s, __u32 tid)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return s->answered == tid && s->granted && BPF_CORE_READ(task, nr_cpus_allowed) == 1;
}

/* The first call of a thread makes the page its own. */
static __always_inline void give_page(struct status *p, __u32 tid)
{
	__sync_fetch_and_add(&p->seq, 1);
	p->tid = tid;
	p->isolated = 0;
	p->entered = p->since = p->breaks = p->time = p->detail = 0;
	p->cause = p->cpu = 0;
	__sync_fetch_and_add(&p->seq, 1);
}

static __always_inline void isolation_prctl(struct cpu_state *s, struct pt_regs *regs, __s64 result)
{
	__u32 tid = bpf_get_current_pid_tgid(), *slot = bpf_map_lookup_elem(&slots, &tid);
	__u64 flags = READ_ARG2(regs);
	struct status *p;
	bool here;

	if (!slot || (__u32)READ_ARG1(regs) != PR_TASK_ISOLATION)
		return;
	p = status_of(*slot);
	if (!p)
		return;
	if (p->tid != tid)
		give_page(p, tid);
	here = is_where_answered(s, tid);
	if (s->answered == tid)
		s->answered = 0;
	leave(s);
	if (p->isolated) /* it went to sleep in the call on another CPU */
		set_isolated(p, 0, 0);
	if (result != 0 || !(flags & ISOLATION_ENABLE))
		return;
	if (here) {
		enter(s, *slot, p, signal_of(flags));
		return;
	}
	set_broken(p, BREAK_MOVED, bpf_get_smp_processor_id());
	send_signal(s, signal_of(flags));
	record(s, KIND_BROKEN, *slot, BREAK_MOVED, bpf_get_smp_processor_id());
}

static __always_inline void isolation_sys_exit(struct cpu_state *s, struct pt_regs *regs, __s64 result)
{
	__s32 nr = READ_SYSCALL_NR(regs);

	if (!isolation)
		return;
	if (nr == NR_PRCTL)
		isolation_prctl(s, regs, result);
	else /* sys_enter does not see what another filter or a tracer answers */
		broken(s, BREAK_SYSCALL, nr);
}

static __always_inline void isolation_user_exit(struct cpu_state *s)
{
	if (!isolation)
		return;
	s->entering = 0;
	s->left = s->isolated;
}

static __always_inline void isolation_user_enter(struct cpu_state *s)
{
	if (!isolation)
		return;
	if (s->owed && s->owed_to == (__u32)bpf_get_current_pid_tgid())
		send_signal(s, s->owed);
	if (s->left)
		broken(s, BREAK_UNNAMED, 0);
	s->left = 0;
	s->entering = 0;
	s->named = 0;
}

/* state: of prev, 0 if it would go on. */
static __always_inline void isolation_switch(struct cpu_state *s, __u32 prev, __u32 next, __u32 state, bool noise)
{
	if (!isolation)
		return;
	/* Where nothing tells that user mode was entered, going to sleep does: the end of a call never sleeps. */
	if (state)
		s->entering = 0;
	if (s->isolated && in_own_call(s)) {
		s->paused = s->isolated;
		s->paused_tid = prev;
		s->isolated = 0;
	} else if (s->isolated) {
		end(s, BREAK_TASK, next, s->signal);
	} else {
		name_better(s, BREAK_TASK, next);
	}
	s->idle = !next;
	if (noise)
		disturbed(s, BREAK_TASK);
	if (s->paused && s->paused_tid == next) {
		s->isolated = s->paused;
		s->paused = 0;
	}
}

/* A thread that is killed where it is isolated. */
static __always_inline void isolation_exit(struct cpu_state *s)
{
	if (isolation && s->isolated)
		leave(s);
}

/*
 * Nobody watches any more. Any page that says isolated after this is corrected by
 * enter(), see there.
 */
static __always_inline void unwatch_all(void)
{
	struct status *p;
	__u32 i;

	__sync_lock_test_and_set(&supervisor_gone, 1);
	for (i = 0; i < STATUS_SLOTS; i++) {
		p = status_of(i);
		if (p && __sync_lock_test_and_set(&p->isolated, 0))
			p->cause = BREAK_UNWATCHED;
	}
}

/* The supervisor dies: this runs before its files are closed and its programs detached. */
static __always_inline void isolation_supervisor(struct task_struct *task)
{
	if (isolation && (__u32)BPF_CORE_READ(task, tgid) == supervisor && BPF_CORE_READ(task, signal, live.counter) <= 0)
		unwatch_all();
}

/* The supervisor detaches itself. */
SEC("syscall")
int unwatch(void *ctx)
{
	unwatch_all();
	return 0;
}

struct arm_args {
	__u32 cpu, tid, slot, signal;
};

/*
 * Isolates a thread that runs on another CPU at the moment and has not asked for
 * it. If the thread is just going away from there, the next event ends isolation
 * in another thread, which must not get its signal.
 */
SEC("syscall")
int arm(struct arm_args *a)
{
	struct cpu_state *s = cpu_state(a->cpu), *own = cpu_state(bpf_get_smp_processor_id());
	struct status *p = status_of(a->slot);
	struct event *e;

	if (!s || !own || !p || s->isolated || (s->cached_tid != a->tid && s->cached_tid != NO_TID))
		return 1;
	if (p->tid != a->tid)
		give_page(p, a->tid);
	s->signal = a->signal;
	s->named = 0;
	s->ours = 0;
	s->left = 0;
	s->entering = 0;
	set_isolated(p, 1, a->cpu);
	e = reserve(own, KIND_ISOLATED, sizeof(*e));
	if (e) {
		e->cpu = a->cpu;
		e->tid = a->tid;
		e->ip = 0;
		e->a = a->slot;
		e->b = a->signal;
		e->c = 0;
		submit(e);
	}
	__sync_lock_test_and_set(&s->isolated, a->slot + 1);
	return 0;
}
