/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that is isolated, opens a window each time it is told to, and says what
 * became of its isolation. Usage: window CPU FILE; FILE tells it: "window" or "end".
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "relax.h"
#include "taskiso/taskiso.h"

static int enter(void)
{
	int r;

	while ((r = taskiso_enter(0)) == -EAGAIN)
		;
	return r;
}

int main(int argc, char **argv)
{
	struct taskiso_status s;
	volatile int *order;
	cpu_set_t set;
	int fd, r;

	if (argc != 3)
		return 2;
	CPU_ZERO(&set);
	CPU_SET(atoi(argv[1]), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return 1;
	fd = open(argv[2], O_RDWR);
	order = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (fd < 0 || order == MAP_FAILED)
		return 1;
	setvbuf(stdout, 0, _IOLBF, 0);
	r = enter();
	order[1] = 1; /* it is isolated */
	for (;;) {
		while (!order[0] && taskiso_isolated())
			relax();
		if (order[0] == 2)
			break;
		if (!order[0]) { /* broken: not by us */
			taskiso_leave();
			r = enter();
			order[2]++; /* and it is isolated again */
			continue;
		}
		order[0] = 0;
		while ((r = taskiso_window(0)) == -EAGAIN)
			;
		order[1]++;
	}
	taskiso_leave();
	taskiso_status(&s);
	printf("entered %d, last result %d, broken %d times\n", (int)s.entered, r, order[2]);
	return 0;
}
