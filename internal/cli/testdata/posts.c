// SPDX-License-Identifier: BSD-2-Clause
/*
 * A thread on one CPU that is posted work by a sibling on another, and then
 * interrupted by it with membarrier. Prints the times of the two phases, in ns
 * of CLOCK_MONOTONIC, and how often the thread did its work.
 *
 *	posts OWNER_CPU POSTER_CPU POSTS BARRIERS, with a domain as fd 3
 */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <taskiso/deferral.h>

#include "relax.h"

static struct tiso_domain domain;
static _Atomic(int) stop, ready;
static _Atomic(long) served;

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		exit(2);
}

static void work(void *arg, unsigned kind)
{
	(void)arg;
	(void)kind;
	atomic_fetch_add(&served, 1);
}

static void *own(void *cpu)
{
	struct tiso_slot slot;
	struct tiso_handlers handlers = { .kind = work };
	pin(atoi(cpu));
	if (tiso_attach(&domain, 0, &handlers, &slot))
		exit(3);
	tiso_enter(&slot);
	atomic_store(&ready, 1);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		if (tiso_poll(&slot))
			tiso_catch_up(&slot);
		relax();
	}
	tiso_exit(&slot);
	return NULL;
}

static void rest(void)
{
	struct timespec t = { .tv_nsec = 300000000 };
	nanosleep(&t, NULL);
}

int main(int argc, char **argv)
{
	pthread_t owner;
	int64_t start;
	if (argc < 5 || tiso_open(3, &domain))
		return 1;
	pin(atoi(argv[2]));
	if (mlockall(MCL_CURRENT | MCL_FUTURE) ||
	    syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
		return 4;
	pthread_create(&owner, NULL, own, argv[1]);
	while (!atomic_load(&ready))
		sched_yield();
	rest();

	start = tiso_now();
	for (long n = atol(argv[3]); n; n--)
		tiso_post(&domain, 0, 0, NULL);
	rest();
	printf("post %ld %ld\n", (long)start, (long)tiso_now());

	start = tiso_now();
	for (long n = atol(argv[4]); n; n--)
		if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0))
			return 5;
	rest();
	printf("membarrier %ld %ld\n", (long)start, (long)tiso_now());

	atomic_store(&stop, 1);
	pthread_join(owner, NULL);
	printf("served %ld 0\n", atomic_load(&served));
	return 0;
}
