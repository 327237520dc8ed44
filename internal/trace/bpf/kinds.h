/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kinds of events and what their fields mean. One program writes one kind:
 * the counters in struct cpu_state rely on it. An _EXIT follows its _ENTER.
 */
#pragma once

enum kind {
	KIND_NONE,

	/* the task itself */
	KIND_SYSCALL_ENTER, /* a: number */
	KIND_SYSCALL_EXIT,  /* a: number, b: result */
	KIND_PAGE_FAULT,    /* a: address, b: error code of the architecture, or one of FAULT_* */
	KIND_SIGNAL,        /* a: signal, b: si_code, c: si_pid, 0 if it is unknown; it is about to be handled, or has ended the process */
	KIND_USER_EXIT,     /* context tracking: user mode was left ... */
	KIND_USER_ENTER,    /* ... and will be entered */

	/* interrupts; a: vector, on arm64 the irq number of a timer and 0 of an IPI */
	KIND_LOCAL_TIMER_ENTER,
	KIND_LOCAL_TIMER_EXIT,
	KIND_RESCHEDULE_ENTER,
	KIND_RESCHEDULE_EXIT,
	KIND_CALL_FUNCTION_ENTER,
	KIND_CALL_FUNCTION_EXIT,
	KIND_CALL_FUNCTION_SINGLE_ENTER,
	KIND_CALL_FUNCTION_SINGLE_EXIT,
	KIND_IRQ_WORK_ENTER,
	KIND_IRQ_WORK_EXIT,
	KIND_THERMAL_ENTER,
	KIND_THERMAL_EXIT,
	KIND_THRESHOLD_ENTER,
	KIND_THRESHOLD_EXIT,
	KIND_DEFERRED_ERROR_ENTER,
	KIND_DEFERRED_ERROR_EXIT,
	KIND_ERROR_APIC_ENTER,
	KIND_ERROR_APIC_EXIT,
	KIND_SPURIOUS_ENTER,
	KIND_SPURIOUS_EXIT,
	KIND_PLATFORM_IPI_ENTER,
	KIND_PLATFORM_IPI_EXIT,
	KIND_IPI_ENTER, /* of another reason than those above; b, c: the first bytes of its text */
	KIND_IPI_EXIT,

	KIND_IRQ_ENTER, /* a: irq number, b: handler */
	KIND_IRQ_EXIT,  /* a: irq number, b: handled */
	KIND_NMI,       /* a: handler, b: its duration in ns, c: NMIs handled; time is its end */
	KIND_VECTOR_FREED, /* a: irq number, which was moved to another CPU, b: the vector that it had here */

	/* what is done inside a stay */
	KIND_SOFTIRQ_ENTER, /* a: vector */
	KIND_SOFTIRQ_EXIT,
	KIND_CSD_ENTER, /* a function called by another CPU; a: function, b: csd */
	KIND_CSD_EXIT,
	KIND_HRTIMER, /* a: function, b: timer */
	KIND_TIMER,   /* a: function, b: timer, c: 1 + CPU it was armed for */
	KIND_TICK,    /* the kernel would like to stop the tick; a: whether it can, b: what needs it */
	KIND_WORK,    /* a: function, b: work item */
	KIND_SWITCH,  /* struct task_event of the next task; b: why the previous one gives way: its state, or 0 if it would go on */

	/* life of tasks */
	KIND_FORK, /* a: child thread, b: its process */
	KIND_EXEC, /* struct task_event; a: thread, b: thread before the exec */
	KIND_EXIT,    /* a: 1 if nothing more of it will be recorded, not even that it is switched away */
	KIND_MIGRATE, /* a: CPU that is not watched, to which goes b: watched thread, from a CPU that is */

	/* the task side: isolation.h; a: slot of the status page */
	KIND_ISOLATED, /* isolation begins; b: signal at a break */
	KIND_BROKEN,   /* ... and ends with a break; a: and 1 << 32 if it sends no signal, b: enum break_cause, c: detail */
	KIND_LEFT,     /* ... or because the thread wants it */
	KIND_TOLD,     /* as KIND_SIGNAL, of a thread with a status page on a CPU that is not watched */

	/* senders, on their own CPU: struct send_event; a: target CPU */
	KIND_SEND_CALL,       /* b: function, c: csd */
	KIND_SEND_SINGLE,     /* the same; seen in another place */
	KIND_SEND_CALLS,      /* the same, to many CPUs; c: any unique number */
	KIND_SEND_RESCHEDULE,
	KIND_SEND_WAKE,       /* b: thread that is woken, c: how often it was switched away; target: where it ran last */
	KIND_SEND_WORK,       /* b: function, c: work item */
	KIND_SEND_IRQ,        /* b: irq number, whose interrupts will go to the target */
	KIND_SEND_HRTIMER,    /* b: function, c: timer */
	KIND_SEND_TIMER,      /* b: function, c: timer */
	KIND_SEND_AFFINITY,   /* b: thread that may run on the target from now on */
	KIND_SEND_CGROUP,     /* b: thread that is moved to another cgroup; the target is where it ran */
	KIND_SEND_IPI,        /* b, c: as of KIND_IPI_ENTER */

	KINDS,
};

/*
 * b of KIND_PAGE_FAULT where a fault shows only once it is resolved. No architecture has these bits in an error code.
 * Major: it was waited for what is behind the page.
 */
#define FAULT_MINOR (1ULL << 62)
#define FAULT_MAJOR (1ULL << 63)
