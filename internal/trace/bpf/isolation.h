/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The task side. A thread that called prctl(PR_TASK_ISOLATION) is isolated from
 * the return of that call to the first thing that interrupts it. Both ends are
 * decided here, on the thread's own CPU, in the stay that they belong to, so
 * that nothing comes in between. The meaning of a state word, and why no event
 * slips through: docs/design/03-task-interface.md.
 */
#pragma once

#include "core.h"

#define PR_TASK_ISOLATION 48
#define PR_GET_TASK_ISOLATION 49
#define ISOLATION_ENABLE 1

#define SIGKILL 9
#define JOBCTL_STOP_SIGMASK 0xffff /* include/linux/sched/jobctl.h */
#define JOBCTL_STOP_PENDING (1UL << 17)

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
 * include/taskiso/taskiso.h. Fields after seq are written while seq is odd. User
 * space freezes the map before it hands it out, so nobody else writes it: a
 * map that is opened for reading only cannot be mapped at all.
 */
struct status {
	__u32 version;
	__u32 isolated;
	__u32 seq;
	__u32 tid;
	__u64 entered; /* how often isolation began */
	__u64 since;   /* ... last; CLOCK_MONOTONIC as the thread reads it, ns */
	__u64 breaks;
	__u64 time; /* of the last break, likewise */
	__u64 detail;
	__u32 cause; /* enum break_cause */
	__u32 cpu;
	__u8 pad[STATUS_SIZE - 64];
};

/* What is known of a thread beside its page, by the same number, and goes with it from CPU to CPU. */
struct isolated {
	__u32 signal; /* to be sent at a break */
	__u32 state;  /* enum isolated_state */
	__u32 owed;   /* signal that could not be sent yet */
	__u32 away;   /* it gave its CPU away in a state other than SETTLED, or owed a signal */
	__s64 ahead;  /* of the kernel's CLOCK_MONOTONIC is the one that the thread reads, ns */
};

enum isolated_state {
	SETTLED,  /* what became of its last wish is recorded */
	ASKING,   /* it is isolated but asleep in prctl(49) */
	OPEN,     /* it is in the stay of a break, and may get a signal of others, which then is the break */
	FAULTING, /* ... so it may if its page fault is not resolved */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STATUS_SLOTS);
	__type(key, __u32);
	__type(value, struct isolated);
} threads SEC(".maps");

/* How many threads are away so. */
__u32 away = 0;
/* Whether resolved page faults show on the watched CPUs. */
__u32 fault_events = 0;

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

/* The registers of the current task, which is not a kernel thread, in user mode. */
static __always_inline struct pt_regs *user_regs(void)
{
	return (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
}

/*
 * Whether the isolated thread is in a call to leave, to enter again or to ask. The
 * registers show it exactly: any other entry from user mode sets the system
 * call's number to -1. Only the end of the call that began isolation looks the
 * same; entering distinguishes the two.
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
static __always_inline void send_signal(struct isolated *th, __u32 sig)
{
	th->owed = sig && bpf_send_signal_thread(sig) ? sig : 0;
}

/* Whether the current thread will be delivered a signal before it returns to user mode, unless another thread takes it. */
static __always_inline bool signal_pends(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return (BPF_CORE_READ(task, pending.signal.sig[0]) | BPF_CORE_READ(task, signal, shared_pending.signal.sig[0])) &
	       ~BPF_CORE_READ(task, blocked.sig[0]);
}

/* The signal that stops the current thread because another thread of its process was delivered it, or 0. */
static __always_inline __u32 stopped_by(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 jobctl = BPF_CORE_READ(task, jobctl);

	return jobctl & JOBCTL_STOP_PENDING ? jobctl & JOBCTL_STOP_SIGMASK : 0;
}

/* By how much CLOCK_MONOTONIC is ahead of the kernel's in the time namespace of the current thread. */
static __always_inline __s64 clock_ahead(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct time_namespace *ns;

	if (!bpf_core_field_exists(struct time_namespace, offsets))
		return 0;
	ns = BPF_CORE_READ(task, nsproxy, time_ns);
	return ns ? BPF_CORE_READ(ns, offsets.monotonic.tv_sec) * 1000000000 + BPF_CORE_READ(ns, offsets.monotonic.tv_nsec) : 0;
}

/* Nobody else changes these pages but unwatch(), once, when supervisor_gone is set. */
static __always_inline void set_isolated(struct status *p, struct isolated *th, __u32 cpu)
{
	__sync_fetch_and_add(&p->seq, 1); /* full barriers */
	p->isolated = 1;
	p->since = bpf_ktime_get_ns() + th->ahead;
	p->entered++;
	p->cpu = cpu;
	__sync_fetch_and_add(&p->seq, 1);
}

static __always_inline void set_left(struct status *p)
{
	__sync_fetch_and_add(&p->seq, 1);
	p->isolated = 0;
	__sync_fetch_and_add(&p->seq, 1);
}

static __always_inline void set_broken(struct status *p, struct isolated *th, __u32 cause, __u64 detail)
{
	__sync_fetch_and_add(&p->seq, 1);
	p->isolated = 0;
	p->breaks++;
	p->time = bpf_ktime_get_ns() + th->ahead;
	p->detail = detail;
	p->cause = cause;
	__sync_fetch_and_add(&p->seq, 1);
}

/* The state of the current thread if this stay is that of its break, or NULL. */
static __always_inline struct isolated *own_state(struct cpu_state *s)
{
	__u32 slot = s->named - 1;
	struct status *p = s->named ? status_of(slot) : NULL;

	if (!p || p->tid != current_number(s))
		return NULL;
	return bpf_map_lookup_elem(&threads, &slot);
}

/*
 * Records the break that the page has, and sends its signal. Not static, and with
 * numbers for arguments: then the verifier goes through it once in each program, not on
 * each path that calls it. The same holds for leave().
 */
__noinline int conclude(__u32 slot, __u32 sig)
{
	struct cpu_state *s = cpu_state(bpf_get_smp_processor_id());
	struct isolated *th = bpf_map_lookup_elem(&threads, &slot);
	struct status *p = status_of(slot);

	if (!s || !th || !p)
		return 0;
	th->state = SETTLED;
	if (sig)
		s->ours = 1;
	send_signal(th, sig);
	record(s, KIND_BROKEN, slot | (__u64)!sig << 32, p->cause, p->detail);
	return 0;
}

static __always_inline void name(struct status *p, __u32 cause, __u64 detail)
{
	__sync_fetch_and_add(&p->seq, 1);
	p->cause = cause;
	p->detail = detail;
	__sync_fetch_and_add(&p->seq, 1);
}

/*
 * Isolation ends with a break. Where the stay has more to come, what follows decides
 * what the break is: a signal of others is the break, and nothing else is sent.
 */
static __always_inline void end(struct cpu_state *s, __u32 cause, __u64 detail, __u32 state)
{
	/* An NMI may end it in the middle of this; only one of the two does. */
	__u32 named = __sync_lock_test_and_set(&s->isolated, 0), slot = named - 1, stop;
	struct isolated *th = bpf_map_lookup_elem(&threads, &slot);
	struct status *p = status_of(slot);

	if (!named || !th || !p)
		return;
	if (p->tid != current_number(s)) { /* see arm(): user space sends the signal */
		set_broken(p, th, cause, detail);
		conclude(slot, 0);
		return;
	}
	s->named = named;
	stop = cause == BREAK_SYSCALL ? 0 : stopped_by();
	if (stop) {
		set_broken(p, th, BREAK_SIGNAL, stop);
		conclude(slot, 0);
		return;
	}
	set_broken(p, th, cause, detail);
	if (state == SETTLED && cause != BREAK_SYSCALL && signal_pends())
		state = OPEN;
	th->state = state;
	if (state == SETTLED)
		conclude(slot, th->signal);
}

static __always_inline void broken(struct cpu_state *s, __u32 cause, __u64 detail, __u32 state)
{
	if (isolation && s->isolated && !in_own_call(s))
		end(s, cause, detail, state);
}

/* No signal came from others, and none is about to: the break is what it was taken for. */
static __always_inline void settle(struct cpu_state *s, __u32 state)
{
	struct isolated *th = own_state(s);

	if (!th)
		return;
	if (th->owed)
		send_signal(th, th->owed);
	if (th->state == state && !signal_pends())
		conclude(s->named - 1, th->signal);
}

/* An interrupt is over; where context tracking shows the end of the stay, that decides. */
static __always_inline void interrupt_over(struct cpu_state *s)
{
	if (isolation && !s->left)
		settle(s, OPEN);
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
	broken(s, cause, detail, cause == BREAK_NMI ? SETTLED : OPEN); /* the end of an NMI has no event */
}

/* The addresses of functions that we distinguish from others; 0 if the kernel hides an address, or lacks the function. */
volatile const __u64 sched_ttwu_pending = 0;
volatile const __u64 tick_function = 0; /* of the tick's own timer */
volatile const bool hidden_symbols = false;

static __always_inline void isolation_csd(struct cpu_state *s, __u64 func)
{
	if (isolation && s->idle && func != sched_ttwu_pending)
		disturbed(s, BREAK_CALL);
}

/* What interrupted may have done so only to let another task run. */
static __always_inline void name_task(struct cpu_state *s, __u32 next)
{
	__u32 slot = s->named - 1;
	struct status *p = status_of(slot);

	if (p && own_state(s) && p->cause >= BREAK_TIMER && p->cause <= BREAK_IRQ)
		name(p, BREAK_TASK, next);
}

/*
 * A signal is delivered: it is the break, if that is not decided yet. A thread that
 * is ended by a signal without a handler is delivered SIGKILL in its place.
 */
static __always_inline void isolation_signal(struct cpu_state *s, __u32 sig)
{
	struct isolated *th;
	struct status *p;
	__u32 slot;

	if (!isolation)
		return;
	if (s->isolated && !in_own_call(s))
		end(s, BREAK_SIGNAL, sig, OPEN);
	slot = s->named - 1;
	th = own_state(s);
	p = status_of(slot);
	if (!th || !p || th->state < OPEN)
		return;
	name(p, BREAK_SIGNAL, sig);
	conclude(slot, 0);
}

/* A page fault of user mode was resolved; on arm64 nothing shows it before. */
static __always_inline void isolation_fault_resolved(struct cpu_state *s, __u64 address)
{
	if (!isolation)
		return;
	broken(s, BREAK_PAGE_FAULT, address, FAULTING);
	settle(s, FAULTING);
}

/* Ends isolation without a break: the thread wanted it. */
__noinline int leave(void)
{
	struct cpu_state *s = cpu_state(bpf_get_smp_processor_id());
	__u32 slot = s ? __sync_lock_test_and_set(&s->isolated, 0) : 0;
	struct status *p;

	if (!s || !slot)
		return 0;
	p = status_of(slot - 1);
	if (p)
		set_left(p);
	record(s, KIND_LEFT, slot - 1, 0, 0);
	return 0;
}

/* The stay of the last break is over, though nothing has shown its end. */
static __always_inline void stay_is_over(struct cpu_state *s)
{
	struct isolated *th = own_state(s);

	if (th && th->state >= OPEN)
		conclude(s->named - 1, th->signal);
	s->named = 0;
}

static __always_inline void isolation_sys_enter(struct cpu_state *s, __u32 nr)
{
	__u32 slot = s->isolated - 1;
	struct isolated *th;

	if (!isolation)
		return;
	stay_is_over(s);
	if (!s->isolated)
		return;
	th = bpf_map_lookup_elem(&threads, &slot);
	if (nr == NR_EXIT || nr == NR_EXIT_GROUP) {
		leave();
		return;
	}
	/* The handler of a signal is gone after exec: it would kill the new program. */
	if (th && (nr == NR_EXECVE || nr == NR_EXECVEAT) && th->signal != SIGKILL)
		th->signal = 0;
	end(s, BREAK_SYSCALL, nr, SETTLED);
}

/*
 * Isolation begins. The watch may end at this moment on another CPU: either
 * unwatch() finds this page isolated, or this finds supervisor_gone set.
 */
static __always_inline void enter(struct cpu_state *s, struct isolated *th, __u32 slot, struct status *p)
{
	s->named = 0;
	s->ours = 0;
	s->left = 0;
	s->entering = 1;
	set_isolated(p, th, bpf_get_smp_processor_id());
	record(s, KIND_ISOLATED, slot, th->signal, 0); /* an interrupt may come right after the next line */
	__sync_lock_test_and_set(&s->isolated, slot + 1);
	if (supervisor_gone)
		end(s, BREAK_UNWATCHED, 0, SETTLED);
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
static __always_inline void give_page(struct status *p, struct isolated *th, __u32 tid)
{
	th->state = SETTLED;
	th->owed = 0;
	__sync_fetch_and_add(&p->seq, 1);
	p->tid = tid;
	p->isolated = 0;
	p->entered = p->since = p->breaks = p->time = p->detail = 0;
	p->cause = p->cpu = 0;
	__sync_fetch_and_add(&p->seq, 1);
}

/* A thread whose call returned that it is isolated is not on the CPU on which it was to be. */
static __always_inline void is_moved(struct cpu_state *s, struct isolated *th, __u32 slot, struct status *p)
{
	set_broken(p, th, BREAK_MOVED, bpf_get_smp_processor_id());
	conclude(slot, th->signal);
}

static __always_inline void isolation_prctl(struct cpu_state *s, struct pt_regs *regs, __s64 result)
{
	__u32 tid = current_number(s), *slot = bpf_map_lookup_elem(&slots, &tid);
	__u32 option = READ_ARG1(regs);
	__u64 flags = READ_ARG2(regs);
	struct isolated *th;
	struct status *p;
	bool here;

	here = is_where_answered(s, tid);
	if (s->answered == tid)
		s->answered = 0;
	if (!slot || (option != PR_TASK_ISOLATION && option != PR_GET_TASK_ISOLATION))
		return;
	p = status_of(*slot);
	th = bpf_map_lookup_elem(&threads, slot);
	if (!p || !th)
		return;
	if (p->tid != tid)
		give_page(p, th, tid);
	if (option == PR_GET_TASK_ISOLATION) {
		if (th->state == ASKING) /* it was put aside, and did not come back to its CPU */
			is_moved(s, th, *slot, p);
		return;
	}
	leave();
	if (th->state >= OPEN) /* its stay ended where nothing shows that */
		conclude(*slot, th->signal);
	if (result != 0 || !(flags & ISOLATION_ENABLE))
		return;
	th->signal = signal_of(flags);
	th->ahead = clock_ahead();
	if (here) {
		enter(s, th, *slot, p);
		return;
	}
	set_isolated(p, th, bpf_get_smp_processor_id()); /* as the call said, and no longer than this */
	record(s, KIND_ISOLATED, *slot, th->signal, 0);
	is_moved(s, th, *slot, p);
}

static __always_inline void isolation_sys_exit(struct cpu_state *s, struct pt_regs *regs, __s64 result)
{
	__s32 nr = READ_SYSCALL_NR(regs);

	if (!isolation)
		return;
	if (nr == NR_PRCTL)
		isolation_prctl(s, regs, result);
	else /* sys_enter does not see what another filter or a tracer answers */
		broken(s, BREAK_SYSCALL, nr, SETTLED);
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
	struct isolated *th;

	if (!isolation)
		return;
	if (s->left)
		broken(s, BREAK_UNNAMED, 0, SETTLED);
	s->left = 0;
	s->entering = 0;
	settle(s, OPEN);
	settle(s, FAULTING);
	th = own_state(s);
	if (!th || (th->state < OPEN && !th->owed)) /* else its stay goes on: a signal has come that it could not see yet */
		s->named = 0;
}

/* The thread gives its CPU away in the middle of something, and may have its next turn elsewhere. */
static __always_inline void switched_out(struct cpu_state *s, __u32 next)
{
	struct isolated *th;

	if (s->isolated && in_own_call(s)) {
		if ((__u32)READ_ARG1(user_regs()) == PR_TASK_ISOLATION) {
			leave(); /* whatever becomes of this call, it ends isolation */
			return;
		}
		s->named = __sync_lock_test_and_set(&s->isolated, 0);
		th = own_state(s);
		if (th)
			th->state = ASKING;
	} else if (s->isolated) {
		end(s, BREAK_TASK, next, SETTLED);
	} else {
		name_task(s, next);
		settle(s, OPEN);
	}
	th = own_state(s);
	if (th && (th->state != SETTLED || th->owed)) {
		th->away = 1;
		__sync_fetch_and_add(&away, 1);
	}
	s->named = 0;
}

/* It goes on where it was, or ends there: isolation_prctl() or what follows in its stay. */
static __always_inline void switched_in(struct cpu_state *s, struct task_struct *task)
{
	__u32 next = number_of(task), *slot = bpf_map_lookup_elem(&slots, &next);
	struct isolated *th = slot ? bpf_map_lookup_elem(&threads, slot) : NULL;
	struct status *p = slot ? status_of(*slot) : NULL;

	if (!th || !p || p->tid != next || !th->away)
		return;
	th->away = 0;
	__sync_fetch_and_sub(&away, 1);
	if (th->state != ASKING) {
		s->named = *slot + 1;
	} else if (p->cpu == bpf_get_smp_processor_id()) {
		th->state = SETTLED;
		s->isolated = *slot + 1;
	}
}

/* On CPUs that are not watched as well. state: of prev, 0 if it would go on. */
static __always_inline void isolation_switch(struct cpu_state *s, struct task_struct *next, __u32 state)
{
	if (!isolation)
		return;
	/* Where no event shows that user mode was entered, going to sleep does: the end of a call never sleeps. */
	if (state)
		s->entering = 0;
	if (s->isolated || s->named)
		switched_out(s, number_of(next));
	if (away)
		switched_in(s, next);
}

static __always_inline void isolation_turn(struct cpu_state *s, __u32 next, bool noise)
{
	if (!isolation)
		return;
	s->idle = !next;
	if (noise)
		disturbed(s, BREAK_TASK);
}

/* Whether the current thread may have been isolated. */
static __always_inline bool has_page(struct cpu_state *s)
{
	__u32 number = current_number(s);

	return isolation && bpf_map_lookup_elem(&slots, &number);
}

/* A thread that has this number from now on gets a page, and is given it anew. */
static __always_inline void isolation_forget(__u32 number)
{
	__u32 *slot = isolation ? bpf_map_lookup_elem(&slots, &number) : NULL;
	struct status *p = slot ? status_of(*slot) : NULL;

	if (p)
		p->tid = 0;
	if (slot)
		bpf_map_delete_elem(&slots, &number);
}

/* A thread that ends. Its number may be used again before user space has taken its page. */
static __always_inline void isolation_exit(struct cpu_state *s, __u32 tid)
{
	__u32 *slot = isolation ? bpf_map_lookup_elem(&slots, &tid) : NULL;
	struct isolated *th = slot ? bpf_map_lookup_elem(&threads, slot) : NULL;
	struct status *p = slot ? status_of(*slot) : NULL;

	if (!th || !p || p->tid != tid)
		return;
	if (th->state == ASKING)
		s->isolated = *slot + 1;
	leave();
	if (th->state >= OPEN)
		conclude(*slot, 0);
	s->named = 0;
	th->state = SETTLED;
	th->owed = 0;
	p->tid = 0;
}

/* Not static for the verifier's sake: see conclude(). */
__noinline int unwatch_page(__u32 slot)
{
	struct status *p = status_of(slot);

	if (p && __sync_lock_test_and_set(&p->isolated, 0))
		p->cause = BREAK_UNWATCHED;
	return 0;
}

/*
 * Nothing watches any more. Any page that has "isolated" after this is corrected by
 * enter(), see there.
 */
static __always_inline void unwatch_all(void)
{
	__u32 i;

	__sync_lock_test_and_set(&supervisor_gone, 1);
	for (i = 0; i < STATUS_SLOTS; i++)
		unwatch_page(i);
}

/* The supervisor dies: this runs before its files are closed and its programs detached. */
static __always_inline void isolation_supervisor(struct task_struct *task)
{
	if (isolation && process_of(task) == supervisor && BPF_CORE_READ(task, signal, live.counter) <= 0)
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
	__u32 slot = a->slot;
	struct isolated *th = bpf_map_lookup_elem(&threads, &slot);
	struct status *p = status_of(slot);
	struct event *e;

	if (!s || !own || !p || !th || s->isolated || (s->cached_number != a->tid && s->cached_tid != NO_TID))
		return 1;
	if (p->tid != a->tid)
		give_page(p, th, a->tid);
	th->signal = a->signal;
	th->ahead = 0; /* it reads no page */
	s->named = 0;
	s->ours = 0;
	s->left = 0;
	s->entering = 0;
	set_isolated(p, th, a->cpu);
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
