// SPDX-License-Identifier: BSD-2-Clause
/*
 * The C half of the benchmarks: prints "name nanoseconds" lines. The owner
 * runs on the second CPU given, posters on the first. Every number is the
 * least of several runs, because the machine may have other work.
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <taskiso/deferral.h>
#include <urcu/urcu-qsbr.h>

enum { RUNS = 25, PAIRS = 15 };

static struct tiso_domain domain;
static int cpus[2];
static _Atomic(int) stop, ready;

struct line {
	_Atomic(uint64_t) v;
	char pad[120];
} __attribute__((aligned(128)));
static struct line ball;

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static double measure(void (*f)(long), long n)
{
	double least = 1e18;
	f(n / 10 + 1);
	for (int i = 0; i < RUNS; i++) {
		int64_t start = tiso_now();
		f(n);
		double t = (double)(tiso_now() - start) / (double)n;
		if (t < least)
			least = t;
	}
	return least;
}

static void report(const char *name, void (*f)(long), long n)
{
	printf("%s %.3f\n", name, measure(f, n));
	fflush(stdout);
}

/* function call interrupts that a CPU has received */
static long calls(int cpu)
{
	char row[8192];
	long n = -1;
	FILE *f = fopen("/proc/interrupts", "r");
	if (!f)
		return -1;
	while (fgets(row, sizeof(row), f)) {
		char *p = strstr(row, "CAL:");
		if (!p)
			continue;
		p += 4;
		for (int i = 0; i <= cpu; i++)
			n = strtol(p, &p, 10);
	}
	fclose(f);
	return n;
}

static void interruptions(const char *name, void (*f)(long), long n)
{
	long before = calls(cpus[1]);
	f(n);
	printf("%s %ld %ld\n", name, calls(cpus[1]) - before, n);
	fflush(stdout);
}

/* ---- owners and their equivalents, on the second CPU ---- */

static void *run(void *(*f)(void *), pthread_t *t)
{
	atomic_store(&stop, 0);
	atomic_store(&ready, 0);
	pthread_create(t, NULL, f, NULL);
	while (!atomic_load(&ready))
		sched_yield();
	return NULL;
}

static void halt(pthread_t t)
{
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
}

static struct tiso_slot slot;

static void *tiso_owner(void *arg)
{
	pin(cpus[1]);
	tiso_enter(&slot);
	atomic_store(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		if (tiso_poll(&slot))
			tiso_catch_up(&slot);
	tiso_exit(&slot);
	return arg;
}

static void *player(void *arg)
{
	pin(cpus[1]);
	atomic_store(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		uint64_t v = atomic_load_explicit(&ball.v, memory_order_acquire);
		if (v & 1)
			atomic_store_explicit(&ball.v, v + 1, memory_order_release);
	}
	return arg;
}

static void *reader(void *arg)
{
	pin(cpus[1]);
	urcu_qsbr_register_thread();
	atomic_store(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		urcu_qsbr_quiescent_state();
	urcu_qsbr_unregister_thread();
	return arg;
}

static void *spinner(void *arg)
{
	pin(cpus[1]);
	atomic_store(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		;
	return arg;
}

/* ---- what is measured ---- */

static struct line plain;

/* Eight at a time, so that the loop around them does not count. */
static void load(long n)
{
#define LOADED atomic_load_explicit(&plain.v, memory_order_relaxed)
	for (long i = 0; i < n; i += 8)
		if (LOADED || LOADED || LOADED || LOADED || LOADED || LOADED || LOADED || LOADED)
			abort();
}

static void poll_slot(long n)
{
#define POLLED tiso_poll(&slot)
	for (long i = 0; i < n; i += 8)
		if (POLLED || POLLED || POLLED || POLLED || POLLED || POLLED || POLLED || POLLED)
			abort();
}

static void quiescent(long n)
{
	for (long i = 0; i < n; i++)
		urcu_qsbr_quiescent_state();
}

static void enter_exit(long n)
{
	for (long i = 0; i < n; i++) {
		tiso_enter(&slot);
		tiso_exit(&slot);
	}
}

static void on_off(long n)
{
	for (long i = 0; i < n; i++) {
		urcu_qsbr_thread_online();
		urcu_qsbr_thread_offline();
	}
}

static void post(long n)
{
	for (long i = 0; i < n; i++)
		tiso_post(&domain, 1, 0, NULL);
}

static void post_seen(long n)
{
	struct tiso_ticket t;
	for (long i = 0; i < n; i++) {
		tiso_post(&domain, 0, 0, &t);
		while (!tiso_seen(&t))
			;
	}
}

static void ping_pong(long n)
{
	for (long i = 0; i < n; i++) {
		uint64_t v = atomic_load_explicit(&ball.v, memory_order_relaxed) + 1;
		atomic_store_explicit(&ball.v, v, memory_order_release);
		while (atomic_load_explicit(&ball.v, memory_order_acquire) == v)
			;
	}
}

static void synchronize(long n)
{
	for (long i = 0; i < n; i++)
		if (tiso_synchronize(&domain, 10000000000))
			abort();
}

static void urcu_synchronize(long n)
{
	for (long i = 0; i < n; i++)
		urcu_qsbr_synchronize_rcu();
}

static void barrier(long n)
{
	for (long i = 0; i < n; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

static int efd;

static void event_post(long n)
{
	uint64_t one = 1;
	for (long i = 0; i < n; i++)
		if (write(efd, &one, 8) != 8)
			abort();
}

static void event_poll(long n)
{
	uint64_t v;
	for (long i = 0; i < n; i++)
		if (read(efd, &v, 8) == 8)
			abort();
}

struct side {
	const char *name;
	void *(*other)(void *); /* what runs on the other CPU meanwhile */
	void (*f)(long);
};

struct pair {
	double ours, theirs;
};

static int by_ratio(const void *a, const void *b)
{
	const struct pair *p = a, *q = b;
	double d = p->ours / p->theirs - q->ours / q->theirs;
	return (d > 0) - (d < 0);
}

static double beside(struct side s, long n)
{
	pthread_t t;
	run(s.other, &t);
	double ns = measure(s.f, n);
	halt(t);
	return ns;
}

/*
 * How far apart two CPUs are changes when a hypervisor moves them, so what takes
 * two of them is measured in pairs, and the pair with the median ratio is told.
 */
static void in_pairs(struct side ours, struct side theirs, long n)
{
	struct pair pairs[PAIRS];
	for (int i = 0; i < PAIRS; i++) {
		pairs[i].theirs = beside(theirs, n);
		pairs[i].ours = beside(ours, n);
	}
	qsort(pairs, PAIRS, sizeof(pairs[0]), by_ratio);
	printf("%s %.3f\n%s %.3f\n", ours.name, pairs[PAIRS / 2].ours, theirs.name, pairs[PAIRS / 2].theirs);
	fflush(stdout);
}

/* ---- scaling ---- */

static void *absent_reader(void *arg)
{
	urcu_qsbr_register_thread();
	urcu_qsbr_thread_offline();
	atomic_fetch_add(&ready, 1);
	while (!atomic_load(&stop))
		usleep(10000);
	urcu_qsbr_thread_online();
	urcu_qsbr_unregister_thread();
	return arg;
}

static int scale(int slots)
{
	pthread_t online, absent[64];
	char name[64];
	struct tiso_handlers none = { 0 };
	if (tiso_attach(&domain, 0, &none, &slot))
		return 1;
	run(tiso_owner, &online);
	snprintf(name, sizeof(name), "scale-tiso-%d", slots);
	report(name, synchronize, 5000);
	halt(online);
	tiso_detach(&slot);
	run(reader, &online);
	for (int i = 1; i < slots; i++)
		pthread_create(&absent[i], NULL, absent_reader, NULL);
	while (atomic_load(&ready) < slots)
		sched_yield();
	snprintf(name, sizeof(name), "scale-urcu-%d", slots);
	report(name, urcu_synchronize, 5000);
	atomic_store(&stop, 1);
	pthread_join(online, NULL);
	for (int i = 1; i < slots; i++)
		pthread_join(absent[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t;
	struct tiso_handlers none = { 0 };
	if (argc < 4)
		return 2;
	cpus[0] = atoi(argv[1]);
	cpus[1] = atoi(argv[2]);
	pin(cpus[0]);
	if (tiso_open(3, &domain))
		return 1;
	if (!strcmp(argv[3], "scale"))
		return scale((int)domain.slots);
	if (!strcmp(argv[3], "urcu")) { /* beside what is measured in Go */
		run(reader, &t);
		report("urcu-beside-go", urcu_synchronize, 5000);
		halt(t);
		return 0;
	}
	if (tiso_attach(&domain, 0, &none, &slot))
		return 1;
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	efd = eventfd(0, EFD_NONBLOCK);

	report("load", load, 10000000);
	report("poll", poll_slot, 10000000);
	report("enter-exit", enter_exit, 1000000);
	urcu_qsbr_register_thread();
	report("urcu-quiescent", quiescent, 2000000);
	urcu_qsbr_thread_offline();
	report("urcu-on-off", on_off, 200000);
	urcu_qsbr_thread_online();
	urcu_qsbr_unregister_thread();
	report("post", post, 2000000);
	report("eventfd-poll", event_poll, 50000);
	report("eventfd-post", event_post, 50000);
	report("membarrier-alone", barrier, 50000);

	in_pairs((struct side){ "post-seen", tiso_owner, post_seen }, (struct side){ "ping-pong", player, ping_pong }, 5000);
	in_pairs((struct side){ "synchronize", tiso_owner, synchronize }, (struct side){ "urcu-synchronize", reader, urcu_synchronize }, 5000);
	run(tiso_owner, &t);
	interruptions("interruptions-post", post_seen, 10000000);
	halt(t);
	run(spinner, &t);
	report("membarrier-sibling", barrier, 2000);
	interruptions("interruptions-membarrier", barrier, 200000);
	halt(t);
	return 0;
}
