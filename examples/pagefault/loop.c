// SPDX-License-Identifier: BSD-2-Clause
//
// A control loop that is told of its own page faults. Build and run:
//
//	cc -D_GNU_SOURCE -Iinclude examples/pagefault/loop.c -o loop && ./loop
//
// and from outside: taskiso faults --marked --fail-on-fault -- ./loop
#include <taskiso/pagefault.h>

static char table[64][4096];

// on_fault runs in the thread that faulted, at the instruction. It may only call
// what is safe in signal handlers.
static void on_fault(const struct taskiso_pagefault *fault, void *context, void *data)
{
	static const char text[] = "a page fault in the loop\n";
	ssize_t n = write(2, text, sizeof text - 1);
	(void)n;
	(void)fault;
	(void)context;
	*(uint64_t *)data = fault->address;
}

static void missing(const struct taskiso_prefault_missing *m, void *data)
{
	(void)data;
	printf("  %zu KiB of %s: %s\n", m->bytes >> 10, m->mapping, m->why);
}

int main(void)
{
	static struct taskiso_pagefault_watch watch;
	static uint64_t last;
	struct taskiso_pagefault_options options = {.handler = on_fault, .data = &last, .flags = TASKISO_PAGEFAULT_PAUSED};
	struct taskiso_prefault_options prefault = {.flags = TASKISO_PREFAULT_LOCK | TASKISO_PREFAULT_MALLOC, .stack = 1 << 20, .missing = missing};
	struct taskiso_prefault_report report;
	int err = taskiso_pagefault_watch(&watch, &options);
	if (err < 0) {
		fprintf(stderr, "watching page faults: %s\n", taskiso_pagefault_explain(err));
		return 1;
	}
	puts("not in memory after prefaulting:");
	taskiso_prefault(&prefault, &report);
	if (report.lock_error)
		printf("mlockall: %s (RLIMIT_MEMLOCK is %ju)\n", strerror(report.lock_error), (uintmax_t)report.memlock);
	fflush(stdout);

	taskiso_pagefault_mark_none();
	taskiso_pagefault_resume(&watch); // from now on no fault is expected
	for (int i = 0; i < 1000000; i++)
		table[i % 64][i % 4096]++;
	taskiso_pagefault_pause(&watch);
	taskiso_pagefault_mark_some();

	printf("%ju faults in the loop\n", (uintmax_t)watch.reported);
	taskiso_pagefault_close(&watch);
	return watch.reported > 0;
}
