/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page faults: be notified of them, record them, prevent them.
 *
 * Header only, for C99 and C++ with gcc or clang on Linux; define _GNU_SOURCE
 * before the first #include. It needs no library and no privileges where the sysctl
 * kernel.perf_event_paranoid is 2 or less (see taskiso_pagefault_explain).
 *
 * All functions return 0 or a negative errno. Those on a watch or recorder may be
 * called by one thread at a time, and by its handler; only open and close
 * allocate anything, and none calls malloc.
 *
 * Three ways to learn of faults:
 *
 *   taskiso_pagefault_watch      a handler runs in the thread that faulted, at the
 *                                instruction that faulted (SIGTRAP, Linux 5.13)
 *   taskiso_pagefault_notify_on  a signal of one's choice, once for each time that
 *                                taskiso_pagefault_expect_none was called
 *   taskiso_pagefault_record     records in a buffer, read when it suits, or just numbers
 *
 * taskiso_pagefault_find_mapping finds what an address belongs to, and
 * taskiso_prefault is the way to have no faults.
 *
 * SIGTRAP: the first watch installs a handler and keeps the one before it, which
 * gets every SIGTRAP that is not of a watch. Code that installs a handler later
 * has to do the same. A debugger sees the signals first and has to pass them on. In gdb
 * 13 that is "start", "handle SIGTRAP nostop pass", "signal 0", and no breakpoints after
 * that, for gdb would pass on theirs as well. While SIGTRAP is blocked faults are reported
 * when it is unblocked, one at most, with async set; handlers block all signals.
 *
 * A forked child has no watches: they belong to the process that opened them.
 */
#ifndef TASKISO_PAGEFAULT_H
#define TASKISO_PAGEFAULT_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first #include"
#endif

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "prefault.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One page fault that the kernel has resolved. */
struct taskiso_pagefault {
	uint64_t address; /* that was accessed */
	uint64_t ip;      /* instruction that accessed it; 0 if unknown */
	uint64_t time;    /* ns of CLOCK_MONOTONIC */
	int tid;
	int major; /* something had to be read or waited for */
	int async; /* reported late: SIGTRAP was blocked; ip is not the instruction */
};

struct taskiso_pagefault_range {
	const void *start;
	size_t length; /* not 0 */
};

enum {
	TASKISO_PAGEFAULT_MAJOR_ONLY = 1 << 0,
	TASKISO_PAGEFAULT_THREADS = 1 << 1, /* also threads created later, by this one or those */
	TASKISO_PAGEFAULT_ONCE = 1 << 2,    /* pause after each fault that was reported; resume rearms */
	TASKISO_PAGEFAULT_PAUSED = 1 << 3,  /* begin with taskiso_pagefault_resume */
	TASKISO_PAGEFAULT_STACK = 1 << 4,   /* of a record: with the user stack */
	TASKISO_PAGEFAULT_COUNT = 1 << 5,   /* of a record: no buffer, see taskiso_pagefault_counted */
};

struct taskiso_pagefault_options {
	/* Called in the thread that faulted; must be async-signal-safe. context is
	 * that of the signal: ucontext_t. */
	void (*handler)(const struct taskiso_pagefault *fault, void *context, void *data);
	void *data;
	unsigned flags;
	unsigned max_per_second; /* 0: no limit. Above it faults are only counted. */
	const struct taskiso_pagefault_range *ranges; /* must live as long as the watch */
	size_t range_count;                           /* 0: all addresses */
};

struct taskiso_pagefault_watch {
	int fd[2]; /* minor or -1, major */
	struct taskiso_pagefault_options options;
	int signal;          /* of notify_on */
	int paused;
	time_t second;       /* that in_second counts in */
	unsigned in_second;
	volatile uint64_t reported;
	volatile uint64_t suppressed; /* above max_per_second */
	volatile uint64_t filtered;   /* outside of ranges */
};

/* ---- below the surface ---- */

#define TASKISO_PAGEFAULT_WATCHES 64 /* at a time in one process */

/* Weak, so that all files of a program share them. */
__attribute__((weak)) struct taskiso_pagefault_watch *taskiso_pagefault_watches_[TASKISO_PAGEFAULT_WATCHES];
__attribute__((weak)) struct sigaction taskiso_pagefault_previous_;
__attribute__((weak)) int taskiso_pagefault_installed_;

static inline int taskiso_pagefault_open_(struct perf_event_attr *attr, int group)
{
	long fd = syscall(SYS_perf_event_open, attr, 0, -1, group, PERF_FLAG_FD_CLOEXEC);
	return fd < 0 ? -errno : (int)fd;
}

static inline int taskiso_pagefault_ioctl_(int fd, unsigned long request)
{
	/* Either event may lead the group; the flag switches both. */
	return ioctl(fd, request, PERF_IOC_FLAG_GROUP) < 0 ? -errno : 0;
}

static inline void taskiso_pagefault_attr_(struct perf_event_attr *attr, int major)
{
	memset(attr, 0, sizeof *attr);
	attr->type = PERF_TYPE_SOFTWARE;
	attr->size = sizeof *attr;
	attr->config = major ? PERF_COUNT_SW_PAGE_FAULTS_MAJ : PERF_COUNT_SW_PAGE_FAULTS_MIN;
	attr->disabled = 1;
	attr->exclude_kernel = 1;
	attr->exclude_hv = 1;
	attr->sample_period = 1;
}

/* Offsets in siginfo_t of fields that <signal.h> does not name everywhere: after
 * si_addr comes a union that is aligned like a pointer (asm-generic/siginfo.h). */
static inline uint64_t taskiso_pagefault_sig_data_(const siginfo_t *info)
{
	unsigned long data;
	memcpy(&data, (const char *)&info->si_addr + sizeof(void *), sizeof data);
	return data;
}

static inline int taskiso_pagefault_sig_async_(const siginfo_t *info)
{
	uint32_t flags;
	memcpy(&flags, (const char *)&info->si_addr + sizeof(void *) + sizeof(unsigned long) + 4, sizeof flags);
	return (flags & 1) != 0; /* TRAP_PERF_FLAG_ASYNC */
}

static inline uint64_t taskiso_pagefault_ip_(const void *context)
{
	const ucontext_t *c = (const ucontext_t *)context;
#if defined(__x86_64__)
	return (uint64_t)c->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return c->uc_mcontext.pc;
#else
	(void)c;
	return 0;
#endif
}

static inline int taskiso_pagefault_pause(struct taskiso_pagefault_watch *w);

/* taskiso_pagefault_admit_ decides whether a fault is reported. */
static inline int taskiso_pagefault_admit_(struct taskiso_pagefault_watch *w, const struct taskiso_pagefault *f)
{
	size_t i;
	for (i = 0; i < w->options.range_count; i++)
		if (f->address - (uintptr_t)w->options.ranges[i].start < w->options.ranges[i].length)
			break;
	if (w->options.range_count && i == w->options.range_count) {
		__atomic_fetch_add(&w->filtered, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (w->options.max_per_second) {
		time_t second = (time_t)(f->time / 1000000000);
		if (second != w->second) {
			w->second = second;
			w->in_second = 0;
		}
		if (w->in_second++ >= w->options.max_per_second) {
			__atomic_fetch_add(&w->suppressed, 1, __ATOMIC_RELAXED);
			return 0;
		}
	}
	if (w->options.flags & TASKISO_PAGEFAULT_ONCE) {
		if (__atomic_exchange_n(&w->paused, 1, __ATOMIC_ACQ_REL))
			return 0; /* another thread was first */
		taskiso_pagefault_ioctl_(w->fd[1], PERF_EVENT_IOC_DISABLE);
	}
	__atomic_fetch_add(&w->reported, 1, __ATOMIC_RELAXED);
	return 1;
}

static inline void taskiso_pagefault_deliver_(struct taskiso_pagefault_watch *w, const siginfo_t *info, void *context)
{
	struct taskiso_pagefault f;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	memset(&f, 0, sizeof f);
	f.address = (uintptr_t)info->si_addr;
	f.ip = taskiso_pagefault_ip_(context);
	f.time = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	f.tid = (int)syscall(SYS_gettid);
	f.major = (int)(taskiso_pagefault_sig_data_(info) & 1);
	f.async = taskiso_pagefault_sig_async_(info);
	if (taskiso_pagefault_admit_(w, &f))
		w->options.handler(&f, context, w->options.data);
}

/* taskiso_pagefault_chain_ does with a SIGTRAP what would have been done without us. */
static inline void taskiso_pagefault_chain_(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *previous = &taskiso_pagefault_previous_;
	if (previous->sa_flags & SA_SIGINFO) {
		previous->sa_sigaction(sig, info, context);
	} else if (previous->sa_handler == SIG_DFL) {
		signal(sig, SIG_DFL);
		raise(sig); /* ends the program when this handler returns */
	} else if (previous->sa_handler != SIG_IGN) {
		previous->sa_handler(sig);
	}
}

static inline void taskiso_pagefault_on_trap_(int sig, siginfo_t *info, void *context)
{
	int i, saved = errno;
	if (info->si_code == 6 /* TRAP_PERF */) {
		/* The number may be of somebody else's event: compare, do not follow. */
		uint64_t data = taskiso_pagefault_sig_data_(info) & ~(uint64_t)1;
		for (i = 0; data && i < TASKISO_PAGEFAULT_WATCHES; i++) {
			struct taskiso_pagefault_watch *w = __atomic_load_n(&taskiso_pagefault_watches_[i], __ATOMIC_ACQUIRE);
			if ((uintptr_t)w == data) {
				taskiso_pagefault_deliver_(w, info, context);
				errno = saved;
				return;
			}
		}
	}
	taskiso_pagefault_chain_(sig, info, context);
	errno = saved;
}

static inline int taskiso_pagefault_install_(void)
{
	struct sigaction action;
	if (__atomic_exchange_n(&taskiso_pagefault_installed_, 1, __ATOMIC_ACQ_REL))
		return 0;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = taskiso_pagefault_on_trap_;
	/* On the alternate stack where there is one: the fault may be of the stack. */
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigfillset(&action.sa_mask);
	return sigaction(SIGTRAP, &action, &taskiso_pagefault_previous_) < 0 ? -errno : 0;
}

static inline int taskiso_pagefault_enlist_(struct taskiso_pagefault_watch *from, struct taskiso_pagefault_watch *to)
{
	int i;
	for (i = 0; i < TASKISO_PAGEFAULT_WATCHES; i++) {
		struct taskiso_pagefault_watch *expected = from;
		if (__atomic_compare_exchange_n(&taskiso_pagefault_watches_[i], &expected, to, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			return 0;
	}
	return -ENOSPC;
}

static inline int taskiso_pagefault_add_(struct taskiso_pagefault_watch *w, int major)
{
	struct perf_event_attr attr;
	taskiso_pagefault_attr_(&attr, major);
	attr.sample_type = PERF_SAMPLE_ADDR;
	attr.remove_on_exec = 1; /* the kernel wants it with sigtrap */
	attr.sigtrap = 1;
	attr.sig_data = (uintptr_t)w | (unsigned)major;
	attr.inherit = (w->options.flags & TASKISO_PAGEFAULT_THREADS) != 0;
	attr.inherit_thread = attr.inherit;
	return taskiso_pagefault_open_(&attr, major ? -1 : w->fd[1]);
}

/* ---- watch ---- */

/* taskiso_pagefault_resume reports faults from now on (again). One ioctl. */
static inline int taskiso_pagefault_resume(struct taskiso_pagefault_watch *w)
{
	__atomic_store_n(&w->paused, 0, __ATOMIC_RELEASE);
	return taskiso_pagefault_ioctl_(w->fd[1], PERF_EVENT_IOC_ENABLE);
}

/* taskiso_pagefault_pause reports no faults until resume. One ioctl. */
static inline int taskiso_pagefault_pause(struct taskiso_pagefault_watch *w)
{
	__atomic_store_n(&w->paused, 1, __ATOMIC_RELEASE);
	return taskiso_pagefault_ioctl_(w->fd[1], PERF_EVENT_IOC_DISABLE);
}

/* taskiso_pagefault_close ends a watch. With TASKISO_PAGEFAULT_THREADS a handler
 * may still be running in another thread. */
static inline void taskiso_pagefault_close(struct taskiso_pagefault_watch *w)
{
	int i;
	for (i = 0; i < 2; i++)
		if (w->fd[i] >= 0)
			close(w->fd[i]);
	w->fd[0] = w->fd[1] = -1;
	taskiso_pagefault_enlist_(w, NULL);
}

/*
 * taskiso_pagefault_watch calls options->handler with each page fault of the calling
 * thread in user mode. *w must stay where it is until taskiso_pagefault_close: if it is
 * in a function's frame, close it before the function returns, also main.
 *
 * -EINVAL: a range of length 0, no handler, or a kernel without sigtrap (before
 * 5.13), where taskiso_pagefault_record works. -EACCES: see taskiso_pagefault_explain.
 * -ENOSPC: too many watches. -EMFILE: two descriptors are needed.
 */
static inline int taskiso_pagefault_watch(struct taskiso_pagefault_watch *w, const struct taskiso_pagefault_options *options)
{
	int err;
	size_t i;
	memset(w, 0, sizeof *w);
	w->fd[0] = w->fd[1] = -1;
	w->options = *options;
	w->paused = (options->flags & TASKISO_PAGEFAULT_PAUSED) != 0;
	if (!options->handler)
		return -EINVAL;
	for (i = 0; i < options->range_count; i++)
		if (options->ranges[i].length == 0)
			return -EINVAL;
	if ((err = taskiso_pagefault_install_()) < 0 || (err = taskiso_pagefault_enlist_(NULL, w)) < 0)
		return err;
	if ((err = w->fd[1] = taskiso_pagefault_add_(w, 1)) < 0)
		goto fail;
	if (!(options->flags & TASKISO_PAGEFAULT_MAJOR_ONLY) && (err = w->fd[0] = taskiso_pagefault_add_(w, 0)) < 0)
		goto fail;
	if (w->paused || (err = taskiso_pagefault_resume(w)) == 0)
		return 0;
fail:
	taskiso_pagefault_close(w);
	return err;
}

/* ---- a signal of one's choice ---- */

static inline void taskiso_pagefault_requeue_(const struct taskiso_pagefault *fault, void *context, void *data)
{
	struct taskiso_pagefault_watch *w = (struct taskiso_pagefault_watch *)data;
	siginfo_t info;
	(void)context;
	memset(&info, 0, sizeof info);
	info.si_signo = w->signal;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)fault->address;
	syscall(SYS_rt_tgsigqueueinfo, getpid(), fault->tid, w->signal, &info);
}

/*
 * taskiso_pagefault_notify_on arranges that the calling thread gets signal sig with
 * the first page fault after each taskiso_pagefault_expect_none, at the instruction
 * that faulted and with its address in si_value. flags are TASKISO_PAGEFAULT_MAJOR_ONLY
 * and TASKISO_PAGEFAULT_THREADS, with which the signal goes to the thread that
 * faulted and one signal is for all. sig must not be SIGTRAP.
 */
static inline int taskiso_pagefault_notify_on(struct taskiso_pagefault_watch *w, int sig, unsigned flags)
{
	struct taskiso_pagefault_options options;
	int err;
	if (sig == SIGTRAP || sig < 1 || sig > SIGRTMAX)
		return -EINVAL;
	memset(&options, 0, sizeof options);
	options.handler = taskiso_pagefault_requeue_;
	options.data = w;
	options.flags = flags | TASKISO_PAGEFAULT_ONCE | TASKISO_PAGEFAULT_PAUSED;
	err = taskiso_pagefault_watch(w, &options);
	w->signal = sig;
	return err;
}

/* taskiso_pagefault_expect_none: from now on no fault is expected. */
static inline int taskiso_pagefault_expect_none(struct taskiso_pagefault_watch *w) { return taskiso_pagefault_resume(w); }

/* taskiso_pagefault_expect_some: faults are all right again. */
static inline int taskiso_pagefault_expect_some(struct taskiso_pagefault_watch *w) { return taskiso_pagefault_pause(w); }

/* ---- records ---- */

struct taskiso_pagefault_recorder {
	int fd[2]; /* minor or -1, major */
	struct perf_event_mmap_page *page;
	size_t size;   /* of the mapping */
	int tid;       /* that is recorded */
	unsigned flags;
	uint64_t lost; /* faults that found no room, as far as read */
	int64_t ahead; /* ns; of the kernel's clock is CLOCK_MONOTONIC here */
};

/* taskiso_pagefault_ahead_ finds the offset of CLOCK_MONOTONIC in a time namespace: perf's times are without it. The kernel
 * shows that of the namespace that children get. */
static inline int taskiso_pagefault_ahead_(int64_t *ahead)
{
	char own[64] = "", children[64] = "", text[256] = "";
	long long seconds, nanoseconds;
	ssize_t n;
	int fd;
	*ahead = 0;
	if (readlink("/proc/self/ns/time", own, sizeof own - 1) < 0)
		return errno == ENOENT ? 0 : -errno; /* 0: a kernel without such namespaces */
	if (!strcmp(own, "time:[4026531834]"))
		return 0; /* the first one, whose clock is the kernel's */
	if (readlink("/proc/self/ns/time_for_children", children, sizeof children - 1) < 0 || strcmp(own, children))
		return -ENOTSUP;
	if ((fd = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC)) < 0)
		return -errno;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n < 0 || sscanf(text, "monotonic %lld %lld", &seconds, &nanoseconds) != 2)
		return -EIO;
	*ahead = seconds * 1000000000 + nanoseconds;
	return 0;
}

static inline void taskiso_pagefault_record_close(struct taskiso_pagefault_recorder *r)
{
	int i;
	if (r->page)
		munmap(r->page, r->size);
	for (i = 0; i < 2; i++)
		if (r->fd[i] >= 0)
			close(r->fd[i]);
	r->page = NULL;
	r->fd[0] = r->fd[1] = -1;
}

static inline int taskiso_pagefault_record_open_(struct taskiso_pagefault_recorder *r, int major)
{
	struct perf_event_attr attr;
	taskiso_pagefault_attr_(&attr, major);
	if (r->flags & TASKISO_PAGEFAULT_COUNT) {
		attr.sample_period = 0;
		attr.inherit = attr.inherit_thread = (r->flags & TASKISO_PAGEFAULT_THREADS) != 0;
		return taskiso_pagefault_open_(&attr, major ? -1 : r->fd[1]);
	}
	attr.sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TIME | PERF_SAMPLE_ADDR; /* each field costs the thread */
	if (r->flags & TASKISO_PAGEFAULT_STACK) {
		attr.sample_type |= PERF_SAMPLE_CALLCHAIN;
		attr.exclude_callchain_kernel = 1;
	}
	if (major) /* a field more, always 0, shows which of the two it is */
		attr.sample_type |= PERF_SAMPLE_WEIGHT;
	attr.use_clockid = 1;
	attr.clockid = CLOCK_MONOTONIC;
	attr.watermark = 1; /* the buffer is polled: no wake-ups */
	attr.wakeup_watermark = 1u << 31;
	return taskiso_pagefault_open_(&attr, major ? -1 : r->fd[1]);
}

static inline int taskiso_pagefault_record_map_(struct taskiso_pagefault_recorder *r, unsigned order)
{
	void *memory;
	r->size = (size_t)sysconf(_SC_PAGESIZE) * (1 + ((size_t)1 << order));
	memory = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd[1], 0);
	if (memory == MAP_FAILED)
		return -errno;
	r->page = (struct perf_event_mmap_page *)memory;
	if (r->fd[0] >= 0 && ioctl(r->fd[0], PERF_EVENT_IOC_SET_OUTPUT, r->fd[1]) < 0)
		return -errno;
	return 0;
}

/*
 * taskiso_pagefault_record records the page faults of the calling thread in a
 * buffer of 2^order pages, from now on. Records are read with
 * taskiso_pagefault_read, by any one thread. flags: TASKISO_PAGEFAULT_MAJOR_ONLY,
 * TASKISO_PAGEFAULT_STACK, and TASKISO_PAGEFAULT_COUNT, with which there is no buffer
 * and TASKISO_PAGEFAULT_THREADS counts those of threads created later, too.
 * -EPERM: kernel.perf_event_mlock_kb does not allow a buffer of that size. -EINVAL: order
 * is above 16, or TASKISO_PAGEFAULT_THREADS without TASKISO_PAGEFAULT_COUNT: the
 * kernel has a buffer for one thread only, and others call this themselves. -ENOTSUP: in a
 * time namespace that is not that of its children.
 */
static inline int taskiso_pagefault_record(struct taskiso_pagefault_recorder *r, unsigned order, unsigned flags)
{
	int err;
	memset(r, 0, sizeof *r);
	r->fd[0] = r->fd[1] = -1;
	r->tid = (int)syscall(SYS_gettid);
	r->flags = flags;
	if (order > 16 || (flags & (TASKISO_PAGEFAULT_THREADS | TASKISO_PAGEFAULT_COUNT)) == TASKISO_PAGEFAULT_THREADS)
		return -EINVAL;
	if ((err = taskiso_pagefault_ahead_(&r->ahead)) < 0)
		return err;
	if ((err = r->fd[1] = taskiso_pagefault_record_open_(r, 1)) < 0)
		return err;
	if (!(flags & TASKISO_PAGEFAULT_MAJOR_ONLY) && (err = r->fd[0] = taskiso_pagefault_record_open_(r, 0)) < 0)
		goto fail;
	if (!(flags & TASKISO_PAGEFAULT_COUNT) && (err = taskiso_pagefault_record_map_(r, order)) < 0)
		goto fail;
	if ((err = taskiso_pagefault_ioctl_(r->fd[1], PERF_EVENT_IOC_ENABLE)) == 0)
		return 0;
fail:
	taskiso_pagefault_record_close(r);
	return err;
}

static inline int taskiso_pagefault_record_pause(struct taskiso_pagefault_recorder *r)
{
	return taskiso_pagefault_ioctl_(r->fd[1], PERF_EVENT_IOC_DISABLE);
}

static inline int taskiso_pagefault_record_resume(struct taskiso_pagefault_recorder *r)
{
	return taskiso_pagefault_ioctl_(r->fd[1], PERF_EVENT_IOC_ENABLE);
}

/* taskiso_pagefault_counted returns how many faults the kernel has counted since
 * recording began: those read, those still in the buffer, and those lost. */
static inline uint64_t taskiso_pagefault_counted(struct taskiso_pagefault_recorder *r)
{
	uint64_t sum = 0, n;
	int i;
	for (i = 0; i < 2; i++)
		if (r->fd[i] >= 0 && read(r->fd[i], &n, sizeof n) == (ssize_t)sizeof n)
			sum += n;
	return sum;
}

static inline void taskiso_pagefault_copy_(const struct taskiso_pagefault_recorder *r, uint64_t at, void *to, size_t n)
{
	uint64_t size = r->page->data_size, from = at % size;
	const char *data = (const char *)r->page + r->page->data_offset;
	size_t first = n < size - from ? n : (size_t)(size - from);
	memcpy(to, data + from, first);
	memcpy((char *)to + first, data, n - first);
}

/* taskiso_pagefault_callchain_ copies a call chain at position at, without the marks
 * among its addresses. It returns the bytes of it. */
static inline size_t taskiso_pagefault_callchain_(const struct taskiso_pagefault_recorder *r, uint64_t at, uint64_t *stack, size_t *depth)
{
	uint64_t n, i, ip;
	size_t found = 0;
	taskiso_pagefault_copy_(r, at, &n, sizeof n);
	for (i = 0; i < n && found < *depth; i++) {
		taskiso_pagefault_copy_(r, at + (i + 1) * sizeof ip, &ip, sizeof ip);
		if (ip < (uint64_t)PERF_CONTEXT_MAX)
			stack[found++] = ip;
	}
	*depth = found;
	return (size_t)(n + 1) * sizeof n;
}

/* taskiso_pagefault_read_stack reads the oldest record: 1 if there is one, else 0.
 * With TASKISO_PAGEFAULT_STACK stack gets up to *depth addresses, innermost first, as far as
 * the program keeps frame pointers; *depth is then how many. */
static inline int taskiso_pagefault_read_stack(struct taskiso_pagefault_recorder *r, struct taskiso_pagefault *f, uint64_t *stack, size_t *depth)
{
	struct { uint64_t ip, time, address; } sample;
	struct { uint64_t id, lost; } lost;
	struct perf_event_header h;
	uint64_t tail;
	size_t chain = 0;
	int found = 0;
	if (!r->page)
		return 0; /* TASKISO_PAGEFAULT_COUNT */
	tail = r->page->data_tail;
	while (!found && tail < __atomic_load_n(&r->page->data_head, __ATOMIC_ACQUIRE)) {
		taskiso_pagefault_copy_(r, tail, &h, sizeof h);
		if (h.type == PERF_RECORD_SAMPLE) {
			taskiso_pagefault_copy_(r, tail + sizeof h, &sample, sizeof sample);
			memset(f, 0, sizeof *f);
			f->address = sample.address;
			f->ip = sample.ip;
			f->time = sample.time + (uint64_t)r->ahead;
			f->tid = r->tid;
			if (r->flags & TASKISO_PAGEFAULT_STACK)
				chain = taskiso_pagefault_callchain_(r, tail + sizeof h + sizeof sample, stack, depth);
			f->major = h.size > sizeof h + sizeof sample + chain;
			found = 1;
		} else if (h.type == PERF_RECORD_LOST) {
			taskiso_pagefault_copy_(r, tail + sizeof h, &lost, sizeof lost);
			r->lost += lost.lost;
		}
		tail += h.size;
	}
	__atomic_store_n(&r->page->data_tail, tail, __ATOMIC_RELEASE);
	return found;
}

/* taskiso_pagefault_read is the same without a stack. */
static inline int taskiso_pagefault_read(struct taskiso_pagefault_recorder *r, struct taskiso_pagefault *f)
{
	size_t depth = 0;
	return taskiso_pagefault_read_stack(r, f, NULL, &depth);
}

/* ---- what an address belongs to ---- */

enum taskiso_pagefault_kind {
	TASKISO_PAGEFAULT_UNKNOWN, /* in no mapping, or not any more */
	TASKISO_PAGEFAULT_FILE,    /* a file, or a memfd */
	TASKISO_PAGEFAULT_ANONYMOUS,
	TASKISO_PAGEFAULT_HEAP,    /* memory from brk */
	TASKISO_PAGEFAULT_MAIN_STACK,
	TASKISO_PAGEFAULT_SPECIAL, /* vDSO and the like */
};

struct taskiso_pagefault_mapping {
	enum taskiso_pagefault_kind kind;
	uint64_t start, end;
	uint64_t offset;      /* of start in the file */
	char protection[5];   /* as "rw-p" */
	char name[256];       /* cut off if it is longer */
};

static inline int taskiso_pagefault_hex_(char c) { return c >= 'a' ? c - 'a' + 10 : c - '0'; }

/* taskiso_pagefault_maps_ takes in one character of /proc/PID/maps, whose lines are
 * "start-end rwxp offset device inode   name". It returns 1 at the end of a line. */
static inline int taskiso_pagefault_maps_(struct taskiso_pagefault_mapping *m, int *field, size_t *length, char c)
{
	enum { START, END, PROTECTION, OFFSET, DEVICE, INODE, NAME };
	if (c == '\n')
		return 1;
	if (*field < NAME && (c == ' ' || (*field == START && c == '-'))) {
		++*field;
		*length = 0;
		return 0;
	}
	switch (*field) {
	case START: m->start = m->start * 16 + (uint64_t)taskiso_pagefault_hex_(c); break;
	case END: m->end = m->end * 16 + (uint64_t)taskiso_pagefault_hex_(c); break;
	case OFFSET: m->offset = m->offset * 16 + (uint64_t)taskiso_pagefault_hex_(c); break;
	case PROTECTION:
		if (*length < sizeof m->protection - 1)
			m->protection[(*length)++] = c;
		break;
	case NAME:
		if ((*length || c != ' ') && *length < sizeof m->name - 1)
			m->name[(*length)++] = c;
		break;
	}
	return 0;
}

/* The kernel marks kinds by names. */
static inline enum taskiso_pagefault_kind taskiso_pagefault_kind_(const char *name)
{
	if (strcmp(name, "[heap]") == 0)
		return TASKISO_PAGEFAULT_HEAP;
	if (strcmp(name, "[stack]") == 0)
		return TASKISO_PAGEFAULT_MAIN_STACK;
	if (!name[0] || strncmp(name, "[anon", 5) == 0 || strcmp(name, "/dev/zero (deleted)") == 0 ||
	    strcmp(name, "/anon_hugepage (deleted)") == 0 || strncmp(name, "/SYSV", 5) == 0)
		return TASKISO_PAGEFAULT_ANONYMOUS;
	return name[0] == '/' ? TASKISO_PAGEFAULT_FILE : TASKISO_PAGEFAULT_SPECIAL;
}

/*
 * taskiso_pagefault_find_mapping finds what an address of this process belongs to
 * now. The place in a file is address - start + offset. It may be called by handlers; it reads
 * /proc/self/maps, which takes tens of microseconds or more. -ENOENT: nothing is
 * mapped there.
 */
static inline int taskiso_pagefault_find_mapping(uint64_t address, struct taskiso_pagefault_mapping *m)
{
	char part[512];
	ssize_t n, i;
	size_t length = 0;
	int field = 0, found = 0, fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	memset(m, 0, sizeof *m);
	if (fd < 0)
		return -errno;
	while (!found && (n = read(fd, part, sizeof part)) > 0) {
		for (i = 0; i < n && !found; i++) {
			if (!taskiso_pagefault_maps_(m, &field, &length, part[i]))
				continue;
			found = m->start <= address && address < m->end;
			if (!found)
				memset(m, 0, sizeof *m);
			field = 0;
			length = 0;
		}
	}
	close(fd);
	if (!found)
		return -ENOENT;
	m->kind = taskiso_pagefault_kind_(m->name);
	return 0;
}

/* ---- for programs that watch from outside ---- */

static inline int taskiso_pagefault_mark_(const char *name)
{
	int err = 0, fd = (int)syscall(SYS_memfd_create, name, 1u /* MFD_CLOEXEC */);
	void *m;
	if (fd < 0)
		return -errno;
	m = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		err = -errno;
	else
		munmap(m, 1);
	close(fd);
	return err;
}

/* The first time is for the faults of the mark itself: lazy binding, its code. */
static inline int taskiso_pagefault_mark_twice_(const char *name)
{
	int err = taskiso_pagefault_mark_("taskiso:mark");
	return err < 0 ? err : taskiso_pagefault_mark_(name);
}

/* taskiso_pagefault_mark_none declares to `taskiso faults --marked` that this thread
 * expects no faults from here on, and taskiso_pagefault_mark_some the contrary. A
 * mapping of a certain name is the mark; nobody has to be watching. */
static inline int taskiso_pagefault_mark_none(void) { return taskiso_pagefault_mark_twice_("taskiso:expect-no-faults"); }
static inline int taskiso_pagefault_mark_some(void) { return taskiso_pagefault_mark_twice_("taskiso:expect-faults"); }

/* taskiso_pagefault_explain returns what is missing for an error of this header. */
static inline const char *taskiso_pagefault_explain(int err)
{
	int level = 0;
	FILE *f;
	switch (err < 0 ? -err : err) {
	case EACCES:
	case EPERM:
		f = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
		if (f) {
			if (fscanf(f, "%d", &level) != 1)
				level = 0;
			fclose(f);
		}
		if (level > 2)
			return "the sysctl kernel.perf_event_paranoid is above 2: lower it, or give the program CAP_PERFMON";
		return "not permitted: a seccomp filter or security module forbids perf_event_open, or the sysctl kernel.perf_event_mlock_kb is used up";
	case EINVAL:
	case E2BIG:
		return "a range of length 0, no handler, a wrong signal, or a kernel without perf_event_attr.sigtrap (before Linux 5.13)";
	case ENOSYS:
		return "this kernel has no perf_event_open, or a seccomp filter forbids it";
	case EMFILE:
		return "too many open files: two descriptors are needed for each watch (ulimit -n)";
	case ENOSPC:
		return "too many watches in this process";
	case ENOTSUP:
		return "the offsets of this time namespace are not known: start the program from a shell in it";
	}
	return strerror(err < 0 ? -err : err);
}

#ifdef __cplusplus
}
#endif

#endif
