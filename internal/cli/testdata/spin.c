// SPDX-License-Identifier: BSD-2-Clause

// spin CPU [CGROUP]: one thread that never enters the kernel by itself, on a CPU and in a cgroup.

#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "relax.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void enter(const char *cgroup)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	FILE *f = fopen(path, "w");
	if (!f || fputs("0", f) < 0 || fclose(f))
		die(path);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fputs("usage: spin CPU [CGROUP]\n", stderr);
		return 2;
	}
	if (argc > 2)
		enter(argv[2]);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	CPU_SET(atoi(argv[1]), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus))
		die("sched_setaffinity");
	for (;;)
		relax();
}
