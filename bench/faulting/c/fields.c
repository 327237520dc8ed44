// SPDX-License-Identifier: BSD-2-Clause
// Measures what each field of a sample, and each way to count, costs the thread that has
// page faults: argv[1] rounds, in each of which all ways take a turn of 1024 faults. Prints
// the median of each, in ns; the first is without events.
// Buffers are emptied outside of what is measured, and nobody reads them meanwhile.
#define _GNU_SOURCE
#include <linux/perf_event.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGES = 1024, PAGE = 4096, ROUNDS = 2000, BUFFER = 64 * PAGE, STACK_POINTER = 1 << 7 /* amd64 */ };
enum { ID = PERF_SAMPLE_IDENTIFIER, IP = PERF_SAMPLE_IP, TID = PERF_SAMPLE_TID, TIME = PERF_SAMPLE_TIME, ADDR = PERF_SAMPLE_ADDR,
       SP = PERF_SAMPLE_REGS_USER, WEIGHT = PERF_SAMPLE_WEIGHT };
enum { MIN = 1, MAJ = 2, ALL = 4 };                            /* events */
enum { MONOTONIC = 1, PROCESS = 2, WAKE = 4, RECORD = 8 };     /* how */

struct way {
	const char *name;
	int events;
	uint64_t fields;
	int how;
	int fd[16], fds;
	struct perf_event_mmap_page *ring[8];
	double took[ROUNDS];
};

static struct way ways[] = {
	{.name = "no event in use by this thread"},
	{.name = "count: page-faults", .events = ALL},
	{.name = "count: minor-faults and major-faults", .events = MIN | MAJ},
	{.name = "sample without a field that says anything", .events = ALL, .fields = WEIGHT, .how = RECORD},
	{.name = "only the instruction", .events = ALL, .fields = IP, .how = RECORD},
	{.name = "only the address", .events = ALL, .fields = ADDR, .how = RECORD},
	{.name = "only the number of the event", .events = ALL, .fields = ID, .how = RECORD},
	{.name = "only the time", .events = ALL, .fields = TIME, .how = RECORD},
	{.name = "only the thread", .events = ALL, .fields = TID, .how = RECORD},
	{.name = "only the stack pointer", .events = ALL, .fields = SP, .how = RECORD},
	{.name = "instruction, thread, time (perf record)", .events = ALL, .fields = IP | TID | TIME, .how = RECORD | PROCESS},
	{.name = "instruction, thread, time, address (perf record -d)", .events = ALL, .fields = IP | TID | TIME | ADDR, .how = RECORD | PROCESS},
	{.name = "instruction, time, address (Watch of a thread)", .events = MIN | MAJ, .fields = IP | TIME | ADDR, .how = RECORD | MONOTONIC},
	{.name = "instruction, thread, time, address (Watch of a process that has one thread)", .events = MIN | MAJ, .fields = IP | TID | TIME | ADDR, .how = RECORD | MONOTONIC | PROCESS},
	{.name = "and the number of the event (Watch of a process that has more)", .events = MIN | MAJ, .fields = ID | IP | TID | TIME | ADDR, .how = RECORD | MONOTONIC | PROCESS},
	{.name = "and the stack pointer (ThreadStacks)", .events = MIN | MAJ, .fields = ID | IP | TID | TIME | ADDR | SP, .how = RECORD | MONOTONIC | PROCESS},
	{.name = "and a wake-up of the reader for each, which Watch never asks for", .events = MIN | MAJ, .fields = ID | IP | TID | TIME | ADDR | SP, .how = RECORD | MONOTONIC | PROCESS | WAKE},
};

enum { WAYS = sizeof ways / sizeof *ways };

static void fail(const char *doing)
{
	perror(doing);
	exit(1);
}

static int open_event(const struct way *w, uint64_t config, int cpu, int group)
{
	struct perf_event_attr attr;
	int fd;
	memset(&attr, 0, sizeof attr);
	attr.type = PERF_TYPE_SOFTWARE;
	attr.size = sizeof attr;
	attr.config = config;
	attr.disabled = attr.exclude_kernel = attr.exclude_hv = 1;
	attr.inherit = attr.sample_id_all = (w->how & PROCESS) != 0;
	attr.use_clockid = (w->how & MONOTONIC) != 0;
	attr.clockid = attr.use_clockid ? CLOCK_MONOTONIC : 0;
	if (w->how & RECORD) {
		attr.sample_period = 1;
		attr.sample_type = w->fields;
		attr.sample_regs_user = w->fields & SP ? STACK_POINTER : 0;
		attr.watermark = !(w->how & WAKE);
		attr.wakeup_watermark = w->how & WAKE ? 1 : 1u << 31; /* in the first case a number of samples */
	}
	fd = (int)syscall(SYS_perf_event_open, &attr, 0, cpu, group, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		fail(w->name);
	return fd;
}

static void open_on(struct way *w, int cpu, int ring)
{
	static const uint64_t configs[] = {PERF_COUNT_SW_PAGE_FAULTS_MIN, PERF_COUNT_SW_PAGE_FAULTS_MAJ, PERF_COUNT_SW_PAGE_FAULTS};
	int leader = -1, i, fd;
	for (i = 0; i < 3; i++) {
		if (!(w->events & 1 << i))
			continue;
		w->fd[w->fds++] = fd = open_event(w, configs[i], cpu, leader);
		if (leader < 0) {
			leader = fd;
			if ((w->how & RECORD) && (w->ring[ring] = mmap(NULL, PAGE + BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
				fail("mapping a buffer");
		} else if ((w->how & RECORD) && ioctl(fd, PERF_EVENT_IOC_SET_OUTPUT, leader) < 0) {
			fail("sharing a buffer");
		}
	}
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double turn(struct way *w, volatile char *m)
{
	double begin, took;
	for (int i = 0; i < w->fds; i++)
		ioctl(w->fd[i], PERF_EVENT_IOC_ENABLE, 0);
	begin = now();
	for (int i = 0; i < PAGES; i++)
		m[i * PAGE] = 1;
	took = now() - begin;
	for (int i = 0; i < w->fds; i++)
		ioctl(w->fd[i], PERF_EVENT_IOC_DISABLE, 0);
	for (int i = 0; i < 8 && w->ring[i]; i++)
		__atomic_store_n(&w->ring[i]->data_tail, __atomic_load_n(&w->ring[i]->data_head, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
	madvise((void *)m, PAGES * PAGE, MADV_DONTNEED);
	return took / PAGES;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 100, cpus = sysconf(_SC_NPROCESSORS_ONLN);
	char *m = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rounds > ROUNDS || m == MAP_FAILED)
		return 1;
	cpus = cpus > 8 ? 8 : cpus;
	madvise(m, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (int i = 0; i < WAYS; i++)
		for (int cpu = 0; cpu < (ways[i].how & PROCESS ? cpus : 1); cpu++)
			open_on(&ways[i], ways[i].how & PROCESS ? cpu : -1, cpu);
	for (long round = -2; round < rounds; round++) /* the first two do not count */
		for (int i = 0; i < WAYS; i++) {
			double took = turn(&ways[i], m);
			if (round >= 0)
				ways[i].took[round] = took;
		}
	for (int i = 0; i < WAYS; i++)
		qsort(ways[i].took, (size_t)rounds, sizeof(double), compare);
	for (int i = 0; i < WAYS; i++)
		printf("%.1f\t%s\n", ways[i].took[rounds / 2], ways[i].name);
	return 0;
}
