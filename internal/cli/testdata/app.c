// SPDX-License-Identifier: BSD-2-Clause

// app: computes for two seconds without a system call, as a program that has a CPU of its own.

#define _GNU_SOURCE
#include <sys/mman.h>
#include <time.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(void)
{
	mlockall(MCL_CURRENT | MCL_FUTURE);
	for (double end = now() + 2; now() < end;) { // an emulator's one thread goes on to another CPU at this instruction
#if defined(__x86_64__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ volatile("yield");
#endif
	}
}
