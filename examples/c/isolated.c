/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A busy loop that is isolated, is signalled when something interrupts it, says
 * what it was, and enters again.
 *
 *	gcc -O2 -I../../include -o isolated isolated.c
 *	taskiso run -c 3 -- ./isolated 3
 */
#define _GNU_SOURCE
#include <taskiso/taskiso.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t broken;

static void on_break(int sig)
{
	(void)sig;
	broken = 1; /* not isolated here; printing is for later */
}

static int enter(void)
{
	int r;

	broken = 0;
	while ((r = taskiso_enter(SIGUSR1)) == -EAGAIN)
		; /* taskiso has waited for the CPU to become quiet, in vain */
	return r;
}

static void tell(unsigned long rounds)
{
	struct timespec ms = { 0, 1000000 };
	struct taskiso_status status;
	struct taskiso_story story;

	taskiso_status(&status);
	printf("broken after %lu rounds by %s (%#llx)\n", rounds, taskiso_cause_name(status.cause), (unsigned long long)status.detail);
	for (int i = 0; i < 1000 && !taskiso_story(&story); i++)
		nanosleep(&ms, NULL);
	if (taskiso_story(&story))
		printf("  %s: %s\n", story.id, story.text);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_break };
	int breaks = argc > 1 ? atoi(argv[1]) : 3, r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGUSR1, &action, NULL);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		perror("mlockall: page faults will break isolation");
	for (int i = 0; i < breaks; i++) {
		unsigned long rounds = 0;

		r = enter();
		if (r) {
			fprintf(stderr, "entering: %s; is this started by taskiso run, and pinned to one isolated CPU?\n", strerror(-r));
			return 1;
		}
		while (!broken) {
			rounds++; /* work */
			if (rounds == 1000000)
				sched_yield(); /* a mistake */
		}
		tell(rounds);
	}
	return 0;
}
