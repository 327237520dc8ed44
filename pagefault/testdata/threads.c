// SPDX-License-Identifier: BSD-2-Clause
// Creates argv[1] threads, each of which writes to a page of its own, and prints where
// the pages are. Before creating them it wants a byte from standard input, and
// one more before they write.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };
static pthread_barrier_t together;

static void *write_page(void *page)
{
	pthread_barrier_wait(&together);
	*(volatile char *)page = 1;
	pthread_barrier_wait(&together);
	return NULL;
}

static void expect_byte(void)
{
	char c;
	if (read(0, &c, 1) != 1)
		exit(1);
}

int main(int argc, char **argv)
{
	long n = argc > 1 ? atol(argv[1]) : 0;
	char *m = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_attr_t small;
	pthread_t thread;
	if (m == MAP_FAILED || pthread_barrier_init(&together, NULL, n + 1) || pthread_attr_init(&small) ||
	    pthread_attr_setstacksize(&small, 4 * PAGE))
		return 2;
	madvise(m, n * PAGE, MADV_NOHUGEPAGE);
	expect_byte();
	for (long i = 0; i < n; i++)
		if (pthread_create(&thread, &small, write_page, m + i * PAGE))
			return 3;
	printf("%p\n", (void *)m);
	fflush(stdout);
	expect_byte();
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	return 0;
}
