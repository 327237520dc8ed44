// SPDX-License-Identifier: BSD-2-Clause
// Makes argv[2] page faults and prints how many nanoseconds of
// its own CPU time one took. argv[1] is what
// it does about them itself: nothing, "handler" or "record". It begins when it
// can read a byte from standard input.
#define _GNU_SOURCE
#include <taskiso/pagefault.h>

enum { PAGES = 1024 };
static volatile long handled;

static void handle(const struct taskiso_pagefault *f, void *context, void *data)
{
	(void)f;
	(void)context;
	(void)data;
	handled++;
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

int main(int argc, char **argv)
{
	long n = argc > 2 ? atol(argv[2]) : PAGES, made = 0, read_back = 0;
	double spent = 0;
	struct taskiso_pagefault_watch w;
	struct taskiso_pagefault_recorder r;
	struct taskiso_pagefault f;
	struct taskiso_pagefault_options o = {.handler = handle};
	char c, *m = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int handler = argc > 1 && strcmp(argv[1], "handler") == 0, record = argc > 1 && strcmp(argv[1], "record") == 0;
	madvise(m, PAGES * 4096, MADV_NOHUGEPAGE);
	if (read(0, &c, 1) != 1)
		return 1;
	if (handler && taskiso_pagefault_watch(&w, &o) < 0)
		return 2;
	if (record && taskiso_pagefault_record(&r, 5, 0) < 0)
		return 3;
	while (made < n) {
		double begin = now();
		for (int i = 0; i < PAGES; i++)
			*(volatile char *)(m + i * 4096) = 1;
		while (record && taskiso_pagefault_read(&r, &f))
			read_back++;
		spent += now() - begin;
		made += PAGES;
		madvise(m, PAGES * 4096, MADV_DONTNEED);
	}
	if (handler)
		taskiso_pagefault_close(&w);
	if ((handler && handled < made) || (record && read_back < made))
		return 4;
	printf("%.1f\n", spent / (double)made);
	return 0;
}
