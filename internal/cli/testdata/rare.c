// SPDX-License-Identifier: BSD-2-Clause
// rare SECONDS CPU [RATE]: makes up to RATE calls of getppid a second, 50,000 if it is left out, for SECONDS and 3 more. After SECONDS a thread of it on CPU calls membarrier,
// which interrupts the other one where it is. rare ask NUMBER: asks for a snapshot.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <taskiso/taskiso.h>

#define REGISTER_PRIVATE_EXPEDITED (1 << 4) /* of include/uapi/linux/membarrier.h */
#define PRIVATE_EXPEDITED (1 << 3)

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* An emulator has other CPUs go on. */
static void yield(void)
{
#ifdef __x86_64__
	__builtin_ia32_pause();
#else
	__asm__ volatile("yield");
#endif
}

static int cpu;
static double seconds;

static void *rare(void *arg)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		abort();
	usleep(seconds * 1e6);
	for (int i = 0; i < 200; i++) { /* the other thread may not run just now */
		syscall(SYS_membarrier, PRIVATE_EXPEDITED, 0, 0);
		usleep(1000);
	}
	return arg;
}

static int ask(uint32_t number)
{
	double begin = now();

	taskiso_snapshot(1); /* nobody hears it */
	if (taskiso_map())
		return 1;
	while (now() < begin + 1)
		yield();
	taskiso_snapshot(number);
	while (now() < begin + 2)
		yield();
	return taskiso_asks->snapshot != 0; /* it was seen */
}

int main(int argc, char **argv)
{
	pthread_t t;
	double begin = now();

	if (argc != 3 && argc != 4)
		return 2;
	if (!strcmp(argv[1], "ask"))
		return ask(atoi(argv[2]));
	seconds = atof(argv[1]);
	cpu = atoi(argv[2]);
	int rate = argc == 4 ? atoi(argv[3]) : 50000;
	/* before there is a thread that this would interrupt */
	if (syscall(SYS_membarrier, REGISTER_PRIVATE_EXPEDITED, 0, 0) || pthread_create(&t, 0, rare, 0))
		return 1;
	for (double due = begin; due < begin + seconds + 3; due = now() + 0.001) {
		for (int i = 0; i < rate / 1000; i++)
			syscall(SYS_getppid);
		while (now() < due)
			yield();
	}
	pthread_join(t, 0);
	return 0;
}
