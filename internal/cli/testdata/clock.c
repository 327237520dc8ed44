// SPDX-License-Identifier: BSD-2-Clause

// clock: the times that an isolated thread reads on its pages are of the clock that it reads itself.

#define _GNU_SOURCE
#include <taskiso/taskiso.h>

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "relax.h"

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int between(const char *what, uint64_t before, uint64_t time, uint64_t after)
{
	if (before <= time && time <= after)
		return 0;
	printf("%s at %llu, not between %llu and %llu\n", what, (unsigned long long)time, (unsigned long long)before, (unsigned long long)after);
	return 1;
}

static volatile sig_atomic_t signals;

static void on_break(int sig)
{
	(void)sig;
	signals++;
}

int main(void)
{
	struct timespec ms = { 0, 1000000 };
	struct taskiso_status status;
	struct taskiso_story story;
	uint64_t before, entered, broken, end;
	int r;

	signal(SIGUSR1, on_break);
	mlockall(MCL_CURRENT | MCL_FUTURE);
	do {
		before = now();
		r = taskiso_enter(SIGUSR1);
	} while (r == -EAGAIN);
	if (r < 0) {
		printf("taskiso_enter: %d\n", r);
		return 1;
	}
	entered = now();
	nanosleep(&ms, NULL);
	while (!signals)
		relax();
	broken = now();
	for (end = broken + 60000000000; !taskiso_story(&story) && now() < end;)
		nanosleep(&ms, NULL);
	taskiso_status(&status);
	r = between("isolated", before, status.since, entered) | between("broken", before, status.time, broken);
	if (!taskiso_story(&story)) {
		printf("no story of the break\n");
		r = 1;
	}
	r |= between("the story", status.time, story.time, broken);
	printf("%s: %s\n", story.id, story.text);
	return r;
}
