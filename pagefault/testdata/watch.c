// SPDX-License-Identifier: BSD-2-Clause
// Tests of taskiso/pagefault.h: prints one line for each, "ok NAME" or "not ok NAME: ...".
#define _GNU_SOURCE
#include <taskiso/pagefault.h>

#include <pthread.h>
#include <setjmp.h>
#include <sys/wait.h>

#define PAGES 64
static long page;

static struct taskiso_pagefault seen[4096];
static int count;

static void note(const struct taskiso_pagefault *f, void *context, void *data)
{
	(void)context;
	(void)data;
	int i = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
	if (i < 4096)
		seen[i] = *f;
}

static char *map(int pages)
{
	char *m = mmap(NULL, (size_t)pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		exit(9);
	madvise(m, (size_t)pages * page, MADV_NOHUGEPAGE);
	return m;
}

static void touch(char *m, int n) { *(volatile char *)(m + n * page + 8 * n) = 1; }

static void check(const char *name, int ok, const char *text, long got, long want)
{
	if (ok)
		printf("ok %s\n", name);
	else
		printf("not ok %s: %s %ld, want %ld\n", name, text, got, want);
	fflush(stdout);
}

static int watch_range(struct taskiso_pagefault_watch *w, struct taskiso_pagefault_range *r, char *m, int pages, unsigned flags)
{
	struct taskiso_pagefault_options o = {.handler = note, .flags = flags, .ranges = r, .range_count = 1};
	r->start = m;
	r->length = (size_t)pages * page;
	count = 0;
	return taskiso_pagefault_watch(w, &o);
}

static void test_addresses(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	char *m = map(PAGES);
	int err = watch_range(&w, &r, m, PAGES, 0), i, wrong = 0;
	for (i = 0; i < PAGES; i++) {
		touch(m, i);
		if (count != i + 1) /* the handler has run already: it is synchronous */
			wrong++;
		touch(m, i);
	}
	for (i = 0; i < count && i < PAGES; i++)
		wrong += seen[i].address != (uintptr_t)(m + i * page + 8 * i) || seen[i].tid != gettid() || seen[i].major || seen[i].async || seen[i].ip != seen[0].ip;
	check("addresses", err == 0 && count == PAGES && wrong == 0, taskiso_pagefault_explain(err), count * 1000 + wrong, PAGES * 1000);
	taskiso_pagefault_pause(&w);
	char *n = map(1);
	r.start = n;
	touch(n, 0);
	check("pause", count == PAGES, "faults", count, PAGES);
	taskiso_pagefault_resume(&w);
	n = map(1);
	r.start = n;
	touch(n, 0);
	check("resume", count == PAGES + 1, "faults", count, PAGES + 1);
	taskiso_pagefault_close(&w);
}

static void test_once(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	char *m = map(PAGES);
	watch_range(&w, &r, m, PAGES, TASKISO_PAGEFAULT_ONCE);
	for (int i = 0; i < 10; i++)
		touch(m, i);
	check("once", count == 1, "faults", count, 1);
	taskiso_pagefault_resume(&w);
	for (int i = 10; i < 20; i++)
		touch(m, i);
	check("once more", count == 2, "faults", count, 2);
	taskiso_pagefault_close(&w);
}

static void test_limit(void)
{
	char *m = map(PAGES);
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r = {m, (size_t)PAGES * page};
	struct taskiso_pagefault_options o = {.handler = note, .max_per_second = 5, .ranges = &r, .range_count = 1};
	struct timespec t;
	do /* not across the end of a second */
		clock_gettime(CLOCK_MONOTONIC, &t);
	while (t.tv_nsec > 800000000);
	count = 0;
	taskiso_pagefault_watch(&w, &o);
	for (int i = 0; i < PAGES; i++)
		touch(m, i);
	check("limit", count == 5 && w.suppressed == PAGES - 5, "faults", count, 5);
	taskiso_pagefault_close(&w);
}

static char *thread_memory;
static void *thread(void *arg)
{
	long n = (long)arg;
	for (int i = 0; i < 16; i++)
		touch(thread_memory, (int)n * 16 + i);
	return NULL;
}

static void test_threads(unsigned flags, int want)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	pthread_t t[4];
	thread_memory = map(PAGES);
	watch_range(&w, &r, thread_memory, PAGES, flags);
	for (long i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, thread, (void *)i);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	check(flags ? "threads" : "no threads", count == want, "faults", count, want);
	taskiso_pagefault_close(&w);
}

static volatile sig_atomic_t chained;
static void old_handler(int sig) { (void)sig; chained++; }

static volatile sig_atomic_t notified;
static void *volatile notified_address;
static void on_user_signal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	notified++;
	notified_address = info->si_value.sival_ptr;
}

static void test_notify(int sig)
{
	struct taskiso_pagefault_watch w;
	struct sigaction a = {.sa_sigaction = on_user_signal, .sa_flags = SA_SIGINFO};
	char *m = map(PAGES);
	sigaction(sig, &a, NULL);
	notified = 0;
	int err = taskiso_pagefault_notify_on(&w, sig, 0);
	touch(m, 0);
	check("notify: not armed", err == 0 && notified == 0, "signals", notified, 0);
	taskiso_pagefault_expect_none(&w);
	touch(m, 1);
	int at_once = notified;
	touch(m, 2);
	check("notify: armed", notified == 1 && at_once == 1 && notified_address == m + page + 8, "signals", notified, 1);
	taskiso_pagefault_expect_none(&w);
	taskiso_pagefault_expect_some(&w);
	touch(m, 3);
	check("notify: disarmed", notified == 1, "signals", notified, 1);
	taskiso_pagefault_expect_none(&w);
	touch(m, 4);
	check("notify: armed again", notified == 2 && notified_address == m + 4 * page + 32, "signals", notified, 2);
	taskiso_pagefault_close(&w);
	check("notify: SIGTRAP refused", taskiso_pagefault_notify_on(&w, SIGTRAP, 0) == -EINVAL, "", 0, 0);
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void test_record(void)
{
	struct taskiso_pagefault_recorder r;
	struct taskiso_pagefault f;
	char *m = map(PAGES);
	int err = taskiso_pagefault_record(&r, 4, 0), n = 0, wrong = 0, late = 0;
	uint64_t before = now(), after;
	for (int i = 0; i < PAGES; i++)
		touch(m, i);
	after = now();
	taskiso_pagefault_record_pause(&r);
	while (taskiso_pagefault_read(&r, &f)) {
		if (f.address - (uintptr_t)m >= (uintptr_t)PAGES * page)
			continue;
		wrong += f.address != (uintptr_t)(m + n * page + 8 * n) || f.tid != gettid() || f.major;
		late += f.time < before || f.time > after;
		n++;
	}
	check("record: time", !late, "not when they were", late, 0);
	check("record", err == 0 && n == PAGES && !wrong && !r.lost, taskiso_pagefault_explain(err), n * 1000 + wrong, PAGES * 1000);
	taskiso_pagefault_record_close(&r);

	enum { MANY = 5000 };
	uint64_t read = 0;
	m = map(MANY);
	taskiso_pagefault_record(&r, 0, 0);
	for (int i = 0; i < MANY; i++)
		*(volatile char *)(m + i * page) = 1;
	while (taskiso_pagefault_read(&r, &f))
		read++;
	char *k = map(1);
	touch(k, 0); /* the kernel tells of loss with the next record */
	taskiso_pagefault_record_pause(&r);
	while (taskiso_pagefault_read(&r, &f))
		read++;
	check("record: lost", r.lost > 0 && read + r.lost == taskiso_pagefault_counted(&r) && read + r.lost > MANY, "reported and lost",
	      (long)(read + r.lost), (long)taskiso_pagefault_counted(&r));
	taskiso_pagefault_record_close(&r);
}

static sigjmp_buf back;
static void on_fault(int sig) { (void)sig; siglongjmp(back, 1); }

/* A fault that fails is no page fault here, and a signal of its own. */
__attribute__((noinline)) static void touch_in_depth(char *m, int depth)
{
	if (depth > 0)
		touch_in_depth(m, depth - 1);
	else
		touch(m, 0);
	__asm__ volatile(""); /* no tail call */
}

static void test_record_stack(void)
{
	struct taskiso_pagefault_recorder r;
	struct taskiso_pagefault f;
	uint64_t stack[8], from = (uintptr_t)touch_in_depth, ip_in = 0;
	size_t depth = 8, i;
	int found = 0, in = 0;
	char *m = map(1);
	int err = taskiso_pagefault_record(&r, 4, TASKISO_PAGEFAULT_STACK);
	touch_in_depth(m, 3);
	while (!found && taskiso_pagefault_read_stack(&r, &f, stack, &depth)) {
		found = f.address == (uintptr_t)m;
		if (!found)
			depth = 8;
	}
	for (i = 0; found && i < depth; i++)
		in += stack[i] - from < 200; /* which touch may be inlined into */
	ip_in = found && depth > 0 && stack[0] == f.ip;
	check("record: stack", err == 0 && ip_in && in >= 3 && !f.major, taskiso_pagefault_explain(err), in * 10 + (int)ip_in, 41);
	taskiso_pagefault_record_close(&r);
}

static void *touch_thread(void *m)
{
	for (int i = 0; i < PAGES; i++)
		touch((char *)m, i);
	return NULL;
}

static void test_count(void)
{
	struct taskiso_pagefault_recorder r;
	struct taskiso_pagefault f;
	pthread_t t;
	char *m = map(PAGES);
	int i, err = taskiso_pagefault_record(&r, 0, TASKISO_PAGEFAULT_COUNT);
	uint64_t before = taskiso_pagefault_counted(&r), n;
	for (i = 0; i < PAGES; i++)
		touch(m, i);
	n = taskiso_pagefault_counted(&r) - before;
	check("count", err == 0 && n == PAGES && !taskiso_pagefault_read(&r, &f), taskiso_pagefault_explain(err), (long)n, PAGES);
	taskiso_pagefault_record_close(&r);
	m = map(PAGES);
	err = taskiso_pagefault_record(&r, 0, TASKISO_PAGEFAULT_COUNT | TASKISO_PAGEFAULT_THREADS);
	before = taskiso_pagefault_counted(&r);
	pthread_create(&t, NULL, touch_thread, m);
	pthread_join(t, NULL);
	n = taskiso_pagefault_counted(&r) - before;
	/* Creating a thread makes some as well. */
	check("count: threads", err == 0 && n >= PAGES && n < 2 * PAGES, taskiso_pagefault_explain(err), (long)n, PAGES);
	taskiso_pagefault_record_close(&r);
	check("record: one thread", taskiso_pagefault_record(&r, 0, TASKISO_PAGEFAULT_THREADS) == -EINVAL, "", 0, 0);
}

static void test_mapping(const char *self)
{
	struct taskiso_pagefault_mapping at;
	static int in_data = 1;
	char on_stack = 0, *m = map(3), *on_heap = (char *)sbrk(page);
	int fd = memfd_create("a file", 0), err = ftruncate(fd, 4 * page);
	char *f = (char *)mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, fd, page);
	mprotect(m, page, PROT_READ);
	err |= taskiso_pagefault_find_mapping((uintptr_t)f + page, &at);
	check("mapping: file", err == 0 && at.kind == TASKISO_PAGEFAULT_FILE && strcmp(at.name, "/memfd:a file (deleted)") == 0 &&
	      at.start == (uintptr_t)f && at.end == at.start + 2 * page && at.offset == (uint64_t)page && strcmp(at.protection, "r--s") == 0,
	      at.name, err, 0);
	err = taskiso_pagefault_find_mapping((uintptr_t)m + page - 1, &at);
	check("mapping: anonymous", err == 0 && at.kind == TASKISO_PAGEFAULT_ANONYMOUS && at.end == (uintptr_t)m + page && at.protection[1] == '-', at.name, err, 0);
	err = taskiso_pagefault_find_mapping((uintptr_t)m + page, &at);
	check("mapping: next", err == 0 && at.start == (uintptr_t)m + page && at.protection[1] == 'w', at.name, err, 0);
	err = taskiso_pagefault_find_mapping((uintptr_t)&on_stack, &at);
	check("mapping: stack", err == 0 && at.kind == TASKISO_PAGEFAULT_MAIN_STACK, at.name, err, 0);
	err = taskiso_pagefault_find_mapping((uintptr_t)on_heap, &at);
	check("mapping: heap", err == 0 && at.kind == TASKISO_PAGEFAULT_HEAP, at.name, err, 0);
	err = taskiso_pagefault_find_mapping((uintptr_t)&in_data, &at);
	check("mapping: program", err == 0 && at.kind == TASKISO_PAGEFAULT_FILE && strstr(at.name, strrchr(self, '/')), at.name, err, 0);
	err = taskiso_pagefault_find_mapping(0, &at);
	check("mapping: none", err == -ENOENT && at.kind == TASKISO_PAGEFAULT_UNKNOWN, at.name, err, -ENOENT);
}

static void test_segv(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	char *m = map(2);
	mprotect(m, page, PROT_NONE);
	signal(SIGSEGV, on_fault);
	watch_range(&w, &r, m, 2, 0);
	if (sigsetjmp(back, 1) == 0)
		*(volatile char *)m = 1;
	check("SIGSEGV", count == 0, "faults", count, 0);
	taskiso_pagefault_close(&w);
	signal(SIGSEGV, SIG_DFL);
}

static void test_blocked(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	char *m = map(PAGES);
	sigset_t trap, before;
	sigemptyset(&trap);
	sigaddset(&trap, SIGTRAP);
	watch_range(&w, &r, m, PAGES, 0);
	sigprocmask(SIG_BLOCK, &trap, &before);
	touch(m, 0);
	int during = count;
	sigprocmask(SIG_SETMASK, &before, NULL);
	check("blocked", during == 0 && count == 1 && seen[0].async, "faults", during * 1000 + count, 1);
	taskiso_pagefault_close(&w);
}

/* After fork both have the same pages: the first write of each copies. */
static void test_fork(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	char *m = map(PAGES);
	int hold[2];
	for (int i = 0; i < PAGES; i++)
		touch(m, i);
	if (pipe(hold) < 0)
		exit(6);
	pid_t child = fork();
	if (child == 0) {
		char c;
		close(hold[1]);
		_exit((int)read(hold[0], &c, 1));
	}
	close(hold[0]);
	watch_range(&w, &r, m, PAGES, 0);
	for (int i = 0; i < PAGES; i++)
		touch(m, i);
	int wrong = 0;
	for (int i = 0; i < count && i < PAGES; i++)
		wrong += seen[i].address != (uintptr_t)(m + i * page + 8 * i) || seen[i].major;
	check("copy on write after fork", count == PAGES && !wrong, "faults", count * 1000 + wrong, PAGES * 1000);
	taskiso_pagefault_close(&w);
	close(hold[1]);
	waitpid(child, NULL, 0);
}

/* Each page that the stack of the main thread grows by is a fault. */
__attribute__((noinline)) static void test_stack(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r;
	volatile char *low = (volatile char *)(((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)(page - 1)) - 200 * page);
	volatile char frame[201 * 4096];
	if (page != 4096 || low < frame)
		low = (volatile char *)(((uintptr_t)frame + page) & ~(uintptr_t)(page - 1));
	watch_range(&w, &r, (char *)low, 100, 0);
	for (int i = 99; i >= 0; i--)
		low[i * page + 8 * i] = 1;
	int wrong = 0;
	for (int i = 0; i < count && i < 100; i++)
		wrong += seen[i].address != (uintptr_t)(low + (99 - i) * page + 8 * (99 - i));
	check("stack growth", count == 100 && !wrong, "faults", count * 1000 + wrong, 100 * 1000);
	taskiso_pagefault_close(&w);
}

/* A SIGTRAP of nobody's watch ends a program without a handler of its own. */
static void test_default(const char *self)
{
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		execl(self, self, "default", (char *)NULL);
		_exit(8);
	}
	waitpid(child, &status, 0);
	check("default action", WIFSIGNALED(status) && WTERMSIG(status) == SIGTRAP, "status", status, SIGTRAP);
}

static void errors(void)
{
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_range r = {&w, 0};
	struct taskiso_pagefault_options o = {.handler = note, .ranges = &r, .range_count = 1};
	check("empty range", taskiso_pagefault_watch(&w, &o) == -EINVAL, "", 0, 0);
	struct taskiso_pagefault_options none = {0};
	check("no handler", taskiso_pagefault_watch(&w, &none) == -EINVAL, "", 0, 0);
}

static long missing_mappings;
static void on_missing(const struct taskiso_prefault_missing *m, void *data)
{
	(void)data;
	if (!m->why || !m->mapping[0])
		exit(7);
	missing_mappings++;
}

static void test_prefault(void)
{
	struct taskiso_prefault_options o = {.flags = TASKISO_PREFAULT_LOCK | TASKISO_PREFAULT_MALLOC, .stack = 256 << 10, .heap = 4 << 20, .missing = on_missing};
	struct taskiso_prefault_report r;
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_options all = {.handler = note};
	int err = taskiso_prefault(&o, &r);
	check("prefault: report", err == 0 && (r.lock_error || r.locked > (4 << 20)), "locked", (long)r.locked, 4 << 20);
	if (r.lock_error)
		printf("# mlockall: %s, %ld mappings missing\n", strerror(r.lock_error), missing_mappings);
	taskiso_pagefault_watch(&w, &all); /* its own first use, before what counts */
	count = 0;
	char *p = malloc(3 << 20);
	memset(p, 1, 3 << 20);
	free(p);
	p = malloc(200 << 10);
	memset(p, 1, 200 << 10);
	free(p);
	taskiso_prefault_stack_(200 << 10);
	int faults = count;
	taskiso_pagefault_pause(&w);
	check("prefault: no faults", faults == 0, "faults", faults, 0);
	taskiso_pagefault_close(&w);
	munlockall();
	char *m = map(PAGES);
	count = 0;
	struct taskiso_pagefault_range range;
	err = taskiso_prefault_range(m, (size_t)PAGES * page, 1, 0);
	watch_range(&w, &range, m, PAGES, 0);
	for (int i = 0; i < PAGES; i++)
		touch(m, i);
	check("prefault: range", err == 0 && count == 0, "faults", count, 0);
	taskiso_pagefault_close(&w);
}

int main(int argc, char **argv)
{
	page = sysconf(_SC_PAGESIZE);
	if (argc > 1 && strcmp(argv[1], "default") == 0) {
		struct taskiso_pagefault_watch w;
		struct taskiso_pagefault_options o = {.handler = note};
		taskiso_pagefault_watch(&w, &o);
		raise(SIGTRAP);
		return 0;
	}
	signal(SIGTRAP, old_handler);
	test_addresses();
	test_stack();
	test_fork();
	raise(SIGTRAP);
	check("chained", chained == 1, "signals", chained, 1);
	test_once();
	test_limit();
	test_threads(TASKISO_PAGEFAULT_THREADS, PAGES);
	test_threads(0, 0);
	test_notify(SIGUSR1);
	test_notify(SIGRTMIN + 3);
	test_record();
	test_record_stack();
	test_count();
	test_mapping(argv[0]);
	test_segv();
	test_blocked();
	errors();
	check("marks", taskiso_pagefault_mark_none() == 0 && taskiso_pagefault_mark_some() == 0, "", 0, 0);
	test_prefault();
	test_default(argv[0]);
	return 0;
}
