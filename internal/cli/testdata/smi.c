// SPDX-License-Identifier: BSD-2-Clause
// Makes argv[2] system management interrupts on CPU argv[1], one each 10 ms: writing to port 0xb2
// (APM_CNT) makes one on PCs.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 1;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(argc > 1 ? atoi(argv[1]) : 0, &set);
	if (sched_setaffinity(0, sizeof set, &set) < 0 || ioperm(0xb2, 1, 1) < 0) {
		perror("smi");
		return 1;
	}
	while (n--) {
		outb(0, 0xb2);
		usleep(10000);
	}
	return 0;
}
