// SPDX-License-Identifier: BSD-2-Clause
// Has memory on the NUMA node of CPU argv[1] and uses it on CPU argv[2], for at most
// argv[4] seconds or until that has made a page fault in each of argv[3] pages. Only
// that memory can have such faults. Prints where it is, waits for a
// byte, and prints how many faults the kernel has accounted for meanwhile.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PREFERRED = 1, BIND = 2, NUMA_BALANCING = 1 << 13 }; /* include/uapi/linux/mempolicy.h */

static int run_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof set, &set);
}

static long faults(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

int main(int argc, char **argv)
{
	long pages = argc > 4 ? atol(argv[3]) : 0, made = 0, before;
	unsigned long first = 1, both = 3;
	time_t end;
	char c, *m = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED || madvise(m, pages * PAGE, MADV_NOHUGEPAGE) < 0 || run_on(atoi(argv[1])) < 0)
		return 1;
	/* A policy of one's own without the flag: nothing else is moved between nodes. */
	if (syscall(SYS_set_mempolicy, PREFERRED, &first, 64) < 0)
		return 2;
	if (syscall(SYS_mbind, m, pages * PAGE, BIND | NUMA_BALANCING, &both, 64, 0) < 0)
		return 3;
	for (long i = 0; i < pages; i++)
		m[i * PAGE] = 1;
	if (run_on(atoi(argv[2])) < 0)
		return 4;
	printf("%p\n", (void *)m);
	fflush(stdout);
	if (read(0, &c, 1) != 1)
		return 5;
	end = time(NULL) + atoi(argv[4]);
	before = faults();
	while (made < pages && time(NULL) < end) {
		for (long i = 0; i < pages; i++)
			((volatile char *)m)[i * PAGE + (i * 24 + 8) % PAGE] = 1;
		made = faults() - before;
	}
	printf("%ld\n", made);
	return 0;
}
