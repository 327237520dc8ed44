/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What isolation costs its task: how soon the handler of a break runs, beside a
 * signal that the thread sends itself; asking whether it is isolated; entering and
 * leaving. For make bench-isolation: runs under taskiso, prints medians in ns.
 * Time is the CPU's own counter, so that the clock is no system call.
 */
#define _GNU_SOURCE
#include <taskiso/taskiso.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

#define ROUNDS 1000
#define LOOPS 100000000L

static volatile uint64_t handled;

static void handler(int sig)
{
	(void)sig;
	handled = __rdtsc();
}

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double ns_per_tick(void)
{
	struct timespec from, to;
	uint64_t ticks;

	clock_gettime(CLOCK_MONOTONIC, &from);
	ticks = __rdtsc();
	do
		clock_gettime(CLOCK_MONOTONIC, &to);
	while ((to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec < 200000000);
	ticks = __rdtsc() - ticks;
	return ((to.tv_sec - from.tv_sec) * 1e9 + to.tv_nsec - from.tv_nsec) / ticks;
}

static double median(double *values, int n)
{
	qsort(values, n, sizeof(*values), by_size);
	return values[n / 2];
}

static double loop(int asks)
{
	uint64_t from = __rdtsc();

	for (long i = 0; i < LOOPS; i++) {
		if (asks && taskiso_isolated())
			abort();
		__asm__ volatile("");
	}
	return (double)(__rdtsc() - from) / LOOPS;
}

int main(void)
{
	static double own[ROUNDS], broken[ROUNDS], enter[ROUNDS], leave[ROUNDS], empty[9], asking[9];
	int breaks = 0, entered = 0, refused = 0;
	pid_t pid = getpid();
	double scale;

	signal(SIGUSR1, handler);
	if (taskiso_map() || mlockall(MCL_CURRENT | MCL_FUTURE)) {
		fprintf(stderr, "start it with taskiso run\n");
		return 1;
	}
	scale = ns_per_tick();
	for (int i = 0; i < 9; i++) {
		empty[i] = loop(0);
		asking[i] = loop(1);
	}
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t from = __rdtsc();
		syscall(SYS_tgkill, pid, pid, SIGUSR1);
		own[i] = handled - from;
	}
	while (entered < ROUNDS && refused < 20) {
		uint64_t from = __rdtsc();
		if (taskiso_enter(SIGUSR1)) {
			refused++;
			continue;
		}
		uint64_t in = __rdtsc();
		uint64_t breaks_before = taskiso_page->breaks;
		if (entered % 2 && taskiso_isolated()) {
			syscall(SYS_getppid);
			if (taskiso_page->cause == TASKISO_SYSCALL && taskiso_page->breaks == breaks_before + 1)
				broken[breaks++] = handled - in;
		} else if (taskiso_isolated()) {
			taskiso_leave();
			leave[entered / 2] = __rdtsc() - in;
		}
		enter[entered++] = in - from;
	}
	if (entered < ROUNDS) {
		fprintf(stderr, "the CPU does not become quiet: entered %d of %d times\n", entered, ROUNDS);
		return 1;
	}
	printf("own %.1f\n", median(own, ROUNDS) * scale);
	printf("broken %.1f\n", median(broken, breaks) * scale);
	printf("enter %.1f\n", median(enter, entered) * scale);
	printf("leave %.1f\n", median(leave, entered / 2) * scale);
	printf("empty %.4f\n", median(empty, 9) * scale);
	printf("asking %.4f\n", median(asking, 9) * scale);
	return 0;
}
