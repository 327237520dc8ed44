/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * taskiso/taskiso.h - be isolated, be notified of a break with its cause, enter again.
 *
 * For threads of a command that "taskiso run" started. C99 or C++11 and later, gcc or
 * clang, Linux, little endian, nothing to define and nothing to link. A thread has one
 * page for all files of the program that include this, shared libraries as well.
 *
 *	sigaction(SIGUSR1, ...);
 *	mlockall(MCL_CURRENT | MCL_FUTURE);
 *	pin_to_one_isolated_cpu();
 *	while (taskiso_enter(SIGUSR1) == -EAGAIN)
 *		;                       // the CPU was not quiet within --settle
 *	while (taskiso_isolated())
 *		work();                 // no system call, no page fault
 *
 * Isolation begins when taskiso_enter() returns 0 and ends with the first thing
 * that interrupts the thread (a break), with taskiso_leave(), or with the thread.
 * A break sends the signal once, before the thread runs another instruction of
 * its own; the thread is not isolated in the handler, which may enter again. Another
 * signal that the thread is delivered, from outside or of an instruction of its own, is
 * the break itself: its handler runs, and nothing else is sent.
 *
 * All functions concern the calling thread. taskiso_isolated(), taskiso_status()
 * and taskiso_story() make no system call. All may be called in signal handlers,
 * taskiso_enter() and taskiso_map() if the thread has called taskiso_map() before.
 * The child of a fork sees the page of its parent until it calls taskiso_map().
 * Without taskiso, entering fails with EINVAL, as on any kernel, and nothing is
 * ever isolated.
 */
#ifndef TASKISO_H
#define TASKISO_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The interface of the task isolation patches, 2015 to 2020. */
#ifndef PR_TASK_ISOLATION
#define PR_TASK_ISOLATION 48
#define PR_TASK_ISOLATION_ENABLE (1 << 0)
#define PR_TASK_ISOLATION_USERSIG (1 << 1) /* of their first version: 0 means no signal, not SIGKILL */
#define PR_TASK_ISOLATION_SET_SIG(sig) (((sig) & 0x7f) << 8)
#endif

/* Further requests, of taskiso alone: they return a descriptor, a number, a descriptor. */
#define TASKISO_PAGES (1 << 16)
#define TASKISO_SLOT (1 << 17)
#define TASKISO_STORIES (1 << 18)
#define TASKISO_WINDOW (1 << 19)
#define TASKISO_ASKS (1 << 20) /* a descriptor */

#define TASKISO_VERSION 1
#define TASKISO_PAGE_SIZE 4096

/* Why isolation ended. Numbers keep their meaning; others may come. */
enum taskiso_cause {
	TASKISO_NONE = 0,
	TASKISO_SYSCALL = 1,    /* detail: its number */
	TASKISO_PAGE_FAULT = 2, /* one that was resolved; detail: the address */
	TASKISO_TIMER = 3,      /* detail, of all interrupts of the CPU itself: the vector */
	TASKISO_RESCHEDULE = 4,
	TASKISO_CALL = 5,       /* a function called by another CPU */
	TASKISO_IRQ_WORK = 6,
	TASKISO_VECTOR = 7,
	TASKISO_IRQ = 8,        /* a device; detail: number in /proc/interrupts */
	TASKISO_NMI = 9,
	TASKISO_TASK = 10,      /* detail: thread that ran instead */
	TASKISO_SIGNAL = 11,    /* of others, or of an exception; no other was sent. detail: the signal */
	TASKISO_MOVED = 12,     /* the affinity changed while the thread was entering, or asking; detail: the CPU */
	TASKISO_UNNAMED = 13,   /* something that no event of this kernel names */
	TASKISO_UNWATCHED = 14, /* taskiso has ended; no signal was sent */
};

/* The status page of a thread, version 1: the first 64 bytes. */
struct taskiso_status {
	uint32_t version;
	uint32_t isolated; /* 1, or 0 */
	uint32_t seq;      /* odd while the rest is written */
	uint32_t tid;
	uint64_t entered; /* how often isolation began */
	uint64_t since;   /* ... last; CLOCK_MONOTONIC, ns */
	uint64_t breaks;  /* how often it was broken */
	uint64_t time;    /* of the last break; CLOCK_MONOTONIC, ns */
	uint64_t detail;
	uint32_t cause; /* enum taskiso_cause */
	uint32_t cpu;   /* on which it was isolated */
};

/* What taskiso finds out about a break within some milliseconds. */
struct taskiso_story {
	uint32_t seq; /* odd while the rest is written */
	uint32_t pad;
	uint64_t time;   /* not before status.time, and before that of the next break */
	char id[64];     /* in "taskiso explain"; ends with NUL */
	char text[1024]; /* for people: the cause and the sender */
};

/* On which a thread asks for a snapshot. */
struct taskiso_ask {
	uint32_t snapshot; /* what it asks with, or 0; taskiso sets it to 0 when it was seen */
};

/* One of each in the program: the linker keeps the first of all files. */
#define TASKISO_SHARED __attribute__((weak, visibility("default")))

extern struct taskiso_status taskiso_outside;
extern __thread const struct taskiso_status *taskiso_page;
extern __thread const struct taskiso_story *taskiso_told;
extern struct taskiso_ask taskiso_unheard;
extern __thread struct taskiso_ask *taskiso_asks;

TASKISO_SHARED struct taskiso_status taskiso_outside; /* what a thread without a page sees */
TASKISO_SHARED __thread const struct taskiso_status *taskiso_page = &taskiso_outside;
TASKISO_SHARED __thread const struct taskiso_story *taskiso_told;
TASKISO_SHARED struct taskiso_ask taskiso_unheard; /* where a thread without a page asks */
TASKISO_SHARED __thread struct taskiso_ask *taskiso_asks = &taskiso_unheard;

/* Of unistd.h and sys/mman.h, which hide them from strictly standard C. */
#if !defined(__cplusplus) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE)
extern long syscall(long number, ...);
#endif
#ifdef MAP_POPULATE
#define TASKISO_MAP_POPULATE MAP_POPULATE
#else
#define TASKISO_MAP_POPULATE 0x8000 /* asm-generic/mman-common.h, which x86 and arm64 use */
#endif

static inline int taskiso_request(unsigned long flags)
{
	int r = prctl(PR_TASK_ISOLATION, flags, 0UL, 0UL, 0UL);
	return r < 0 ? -errno : r;
}

/* taskiso_map_file maps the calling thread's part of a file, or returns MAP_FAILED. */
static inline void *taskiso_map_file(unsigned long request, int slot, int prot)
{
	void *p;
	int fd = taskiso_request(request);

	if (fd < 0)
		return MAP_FAILED;
	p = mmap(0, TASKISO_PAGE_SIZE, prot, MAP_SHARED | TASKISO_MAP_POPULATE, fd, (off_t)slot * TASKISO_PAGE_SIZE);
	close(fd);
	return p;
}

/* taskiso_map_asks maps the page on which the thread asks. An older taskiso has none, and hears nothing. */
static inline void taskiso_map_asks(int slot)
{
	struct taskiso_ask *ask = (struct taskiso_ask *)taskiso_map_file(TASKISO_ASKS, slot, PROT_READ | PROT_WRITE);

	taskiso_asks = ask == MAP_FAILED ? &taskiso_unheard : ask;
	__atomic_store_n(&taskiso_asks->snapshot, 0, __ATOMIC_RELAXED); /* the page fault of the first store is here */
}

/*
 * taskiso_snapshot asks the flight recorder of "taskiso run --flight" to keep the past, with a number for its report,
 * which is not 0. It is one store: no system call, no break. The recorder sees it within some 10 ms;
 * of several in that time it sees the last.
 */
static inline void taskiso_snapshot(uint32_t id) { __atomic_store_n(&taskiso_asks->snapshot, id, __ATOMIC_RELAXED); }

/*
 * taskiso_map maps the thread's status page and story; taskiso_enter() does so by
 * itself. 0, or -ENOSYS if nobody answers (not started by "taskiso run", or without its
 * privileges), -EUSERS if too many threads have a page already, -ENOMEM, or
 * -EPROTO if the page has another version than this header.
 */
static inline int taskiso_map(void)
{
	const struct taskiso_status *page;
	const struct taskiso_story *story;
	int slot;

	if (taskiso_page != &taskiso_outside && taskiso_page->tid == (uint32_t)syscall(SYS_gettid))
		return 0; /* and not, after fork, the parent's */
	slot = taskiso_request(TASKISO_SLOT);
	if (slot < 0)
		return slot == -EUSERS ? slot : -ENOSYS;
	page = (const struct taskiso_status *)taskiso_map_file(TASKISO_PAGES, slot, PROT_READ);
	if (page == MAP_FAILED)
		return -ENOMEM;
	story = (const struct taskiso_story *)taskiso_map_file(TASKISO_STORIES, slot, PROT_READ);
	if (story == MAP_FAILED || page->version != TASKISO_VERSION) {
		munmap((void *)page, TASKISO_PAGE_SIZE);
		return story == MAP_FAILED ? -ENOMEM : -EPROTO;
	}
	taskiso_told = story;
	taskiso_page = page;
	taskiso_map_asks(slot);
	return 0;
}

/* taskiso_isolated is one load; never true when nobody watches. */
static inline int taskiso_isolated(void)
{
	return (int)__atomic_load_n(&taskiso_page->isolated, __ATOMIC_RELAXED);
}

/*
 * taskiso_enter isolates the thread: 0, -EINVAL if it is not pinned to exactly one
 * isolated CPU that is watched, -EAGAIN if that did not become quiet, -EINTR if a signal
 * came while it waited. sig is sent at the break, 0 for none; SIGKILL is what the
 * old interface had by default.
 */
static inline int taskiso_enter(int sig)
{
	if (!taskiso_isolated()) /* a system call there would break what is to be entered anew */
		taskiso_map();
	return taskiso_request(PR_TASK_ISOLATION_ENABLE | PR_TASK_ISOLATION_USERSIG | (unsigned long)PR_TASK_ISOLATION_SET_SIG(sig));
}

/* taskiso_leave ends isolation. No signal for an earlier break comes after it. */
static inline int taskiso_leave(void) { return taskiso_request(0); }

/*
 * taskiso_window lets operations of other programs be done that "taskiso run --hold"
 * kept back for the sake of this thread, and isolates it again: as taskiso_leave()
 * and taskiso_enter(sig) in one call, which waits for up to two seconds for them. While
 * another thread of the program is isolated they go on waiting. Without --hold nothing waits.
 */
static inline int taskiso_window(int sig)
{
	return taskiso_request(TASKISO_WINDOW | PR_TASK_ISOLATION_ENABLE | PR_TASK_ISOLATION_USERSIG | (unsigned long)PR_TASK_ISOLATION_SET_SIG(sig));
}

/* taskiso_status copies the status page. It may wait for a few stores of another CPU. */
static inline void taskiso_status(struct taskiso_status *to)
{
	uint32_t seq;

	do {
		seq = __atomic_load_n(&taskiso_page->seq, __ATOMIC_ACQUIRE);
		memcpy(to, taskiso_page, sizeof(*to));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (seq & 1 || seq != __atomic_load_n(&taskiso_page->seq, __ATOMIC_RELAXED));
}

/* taskiso_story copies the story of the last break: 1, or 0 if it is not known yet. */
static inline int taskiso_story(struct taskiso_story *to)
{
	struct taskiso_status now;
	uint32_t seq;

	if (!taskiso_told)
		return 0;
	do {
		seq = __atomic_load_n(&taskiso_told->seq, __ATOMIC_ACQUIRE);
		memcpy(to, taskiso_told, sizeof(*to));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (seq & 1 || seq != __atomic_load_n(&taskiso_told->seq, __ATOMIC_RELAXED));
	taskiso_status(&now);
	return now.breaks > 0 && to->time >= now.time;
}

/* taskiso_cause_name returns a word for a cause. */
static inline const char *taskiso_cause_name(uint32_t cause)
{
	static const char *const names[] = {
		"none", "system call", "page fault", "timer interrupt", "rescheduling interrupt", "function-call interrupt",
		"irq_work", "interrupt vector", "device interrupt", "NMI", "another task", "signal", "moved", "unnamed", "unwatched",
	};
	return cause < sizeof(names) / sizeof(names[0]) ? names[cause] : "unknown";
}

#ifdef __cplusplus
}
#endif

#endif
