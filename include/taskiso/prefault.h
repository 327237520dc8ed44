/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Prefault: have all pages in memory before the time that matters, with a report of
 * those that could not be had and why. Header only; define _GNU_SOURCE before the first #include.
 */
#ifndef TASKISO_PREFAULT_H
#define TASKISO_PREFAULT_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first #include"
#endif

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum {
	/* Lock all memory, also what is mapped later: mlockall(MCL_CURRENT|MCL_FUTURE). */
	TASKISO_PREFAULT_LOCK = 1 << 0,
	/* Let malloc neither give memory back nor map large blocks one by one, for the
	 * rest of the program's life. Only glibc knows how. */
	TASKISO_PREFAULT_MALLOC = 1 << 1,
};

/* taskiso_prefault_missing is a part of the program that is not in memory. */
struct taskiso_prefault_missing {
	char mapping[256]; /* as in /proc/self/maps: "7f00-7f08 rw-p ... /lib/x" */
	size_t bytes;      /* not in memory, or not locked */
	const char *why;
};

struct taskiso_prefault_options {
	unsigned flags;
	size_t stack; /* bytes of this thread's stack to use beforehand */
	size_t heap;  /* bytes that malloc shall have in stock */
	/* Called for each mapping that is not in memory as a whole; may be NULL. */
	void (*missing)(const struct taskiso_prefault_missing *missing, void *data);
	void *data;
};

/* What was done. An error does not keep the rest from being done. */
struct taskiso_prefault_report {
	int lock_error;      /* errno of mlockall; 0 if it worked or was not asked for */
	size_t locked;       /* bytes that are locked in memory */
	size_t missing;      /* bytes that are not in memory */
	rlim_t memlock;      /* RLIMIT_MEMLOCK, which explains lock_error ENOMEM and EPERM */
};

/*
 * taskiso_prefault_range brings length bytes from start into memory; with write
 * as if they were written to, which ends sharing after fork and of the zero page, and
 * leaves their contents. Huge pages are used where the kernel has them if huge is set.
 */
static inline int taskiso_prefault_range(void *start, size_t length, int write, int huge)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)start & ~(page - 1), a;
	size_t span = (uintptr_t)start + length - from;
	if (length == 0)
		return -EINVAL;
	if (huge)
		madvise((void *)from, span, MADV_HUGEPAGE); /* advice: may be refused */
	if (madvise((void *)from, span, write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	for (a = from; a < from + span; a += page) { /* before Linux 5.14: by hand */
		volatile char *p = (volatile char *)a;
		if (write)
			__atomic_fetch_or((char *)p, 0, __ATOMIC_RELAXED);
		else
			(void)*p;
	}
	return 0;
}

__attribute__((noinline)) static void taskiso_prefault_stack_(size_t bytes)
{
	volatile char frame[4096];
	frame[0] = 0;
	if (bytes > sizeof frame)
		taskiso_prefault_stack_(bytes - sizeof frame);
	frame[sizeof frame - 1] = 0; /* after the call, which therefore keeps its frame */
}

static inline void taskiso_prefault_malloc_(const struct taskiso_prefault_options *o)
{
	void *stock;
#ifdef __GLIBC__
	if (o->flags & TASKISO_PREFAULT_MALLOC) {
		mallopt(M_TRIM_THRESHOLD, -1);
		mallopt(M_MMAP_MAX, 0);
		mallopt(M_TOP_PAD, 1 << 20);
	}
#endif
	if (o->heap && (stock = malloc(o->heap)) != NULL) {
		taskiso_prefault_range(stock, o->heap, 1, 0);
		free(stock);
	}
}

/* taskiso_prefault_why guesses from a line of flags in smaps what is in the way. */
static inline const char *taskiso_prefault_why_(const char *mapping, const char *flags, const struct taskiso_prefault_report *r)
{
	if (strstr(mapping, " ---"))
		return "no access is allowed: it cannot be faulted in, and has no memory yet";
	if (strstr(mapping, "[v"))
		return "belongs to the kernel";
	if (strstr(flags, " io") || strstr(flags, " pf"))
		return "device memory: it is mapped by its driver";
	if (r->lock_error == EPERM || r->lock_error == ENOMEM)
		return "mlockall was refused: raise RLIMIT_MEMLOCK (ulimit -l), or use CAP_IPC_LOCK";
	if (!strstr(flags, " lo"))
		return "nobody has asked for it: TASKISO_PREFAULT_LOCK or taskiso_prefault_range";
	return "beyond the end of its file, or memory is short";
}

/* taskiso_prefault_copy_ leaves out the spaces that the kernel aligns names with. */
static inline void taskiso_prefault_copy_(char *to, const char *line, size_t size)
{
	size_t n = 0;
	for (; *line && n < size - 1; line++)
		if (*line != ' ' || line[1] != ' ')
			to[n++] = *line;
	to[n] = 0;
}

/* taskiso_prefault_survey fills in what is in memory now, from /proc/self/smaps. */
static inline int taskiso_prefault_survey(const struct taskiso_prefault_options *o, struct taskiso_prefault_report *r)
{
	struct taskiso_prefault_missing m;
	unsigned long size = 0, rss = 0, locked = 0, kb;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");
	if (!f)
		return -errno;
	r->locked = r->missing = 0;
	memset(&m, 0, sizeof m);
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "Size: %lu", &kb) == 1) {
			size = kb;
		} else if (sscanf(line, "Rss: %lu", &kb) == 1) {
			rss = kb;
		} else if (sscanf(line, "Locked: %lu", &kb) == 1) {
			locked = kb;
		} else if (strncmp(line, "VmFlags:", 8) == 0) {
			r->locked += locked << 10;
			m.bytes = size > rss ? (size - rss) << 10 : 0;
			m.why = taskiso_prefault_why_(m.mapping, line, r);
			if (m.bytes && !strstr(m.mapping, " ---"))
				r->missing += m.bytes;
			if (m.bytes && o->missing)
				o->missing(&m, o->data);
			size = rss = locked = 0;
		} else if (strchr("0123456789abcdef", line[0]) && strchr(line, '-')) {
			taskiso_prefault_copy_(m.mapping, line, sizeof m.mapping);
		}
	}
	fclose(f);
	return 0;
}

/*
 * taskiso_prefault does what options ask for and reports what is missing afterwards.
 * Call it when all libraries are loaded and threads created, for stack in each thread.
 * 0, or a negative errno if there is no report; see report->lock_error besides.
 */
static inline int taskiso_prefault(const struct taskiso_prefault_options *options, struct taskiso_prefault_report *report)
{
	struct rlimit limit;
	memset(report, 0, sizeof *report);
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		report->memlock = limit.rlim_cur;
	if ((options->flags & TASKISO_PREFAULT_LOCK) && mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		report->lock_error = errno;
	taskiso_prefault_malloc_(options);
	if (options->stack)
		taskiso_prefault_stack_(options->stack);
	return taskiso_prefault_survey(options, report);
}

#ifdef __cplusplus
}
#endif

#endif
