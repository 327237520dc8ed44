// SPDX-License-Identifier: BSD-2-Clause

// poller CPU: spins on a CPU and never enters the kernel once it has said so.

#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "relax.h"

int main(int argc, char **argv)
{
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[argc - 1]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) || write(1, "\n", 1) != 1)
		return 1;
	for (;;)
		relax();
}
