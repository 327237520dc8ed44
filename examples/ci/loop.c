/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A loop for a CPU of its own, as in the workflows beside this file: it starts up, and then computes until SIGTERM.
 * Built with -DCHATTY it has the change that they are to find: every now and then it writes a line to its log.
 *
 *	gcc -O2 -o loop loop.c
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

static volatile sig_atomic_t ended;

static void on_term(int sig)
{
	(void)sig;
	ended = 1;
}

/* What a loop that polls does between two looks. */
static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_term };
	unsigned long rounds = 0;
	FILE *log = fopen("/dev/null", "w");

	sigaction(SIGTERM, &action, NULL);
	if (!log || mlockall(MCL_CURRENT | MCL_FUTURE)) {
		perror("starting up");
		return 1;
	}
	while (!ended) {
		relax();
		rounds++;
#ifdef CHATTY
		if (rounds % 100000 == 0) {
			fprintf(log, "%lu rounds\n", rounds);
			fflush(log);
		}
#endif
	}
	return 0;
}
