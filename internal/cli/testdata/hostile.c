/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hostile SECONDS SEED DIRECTORY: a task that does its worst to everything that it
 * can reach of a taskiso that watches it, isolates it and holds its operations: every
 * descriptor, page and path that it gets, its own names and numbers, and the files
 * beside the report. It runs as nobody, and prints what it did.
 *
 * "reached" counts what must never succeed: writing to memory that is taskiso's.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "relax.h"

#define ISOLATE 48
#define FLAG_PAGES (1UL << 16)
#define FLAG_SLOT (1UL << 17)
#define FLAG_STORIES (1UL << 18)
#define FLAG_WINDOW (1UL << 19)

static char *directory;
static pid_t watcher; /* taskiso */
static unsigned long *reached; /* shared with the children */
static unsigned long *done;

static __thread uint64_t state;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void reach(const char *what)
{
	__atomic_add_fetch(reached, 1, __ATOMIC_RELAXED);
	fprintf(stderr, "hostile: reached: %s\n", what);
}

/* What a descriptor of taskiso's memory must not allow, however it is opened. */
static void attack(int fd)
{
	struct stat st;
	char path[64];
	void *p;
	int again;

	if (fstat(fd, &st))
		return;
	if (!ftruncate(fd, 0) || !ftruncate(fd, 1 << 20))
		reach("truncate");
	if (pwrite(fd, "x", 1, 0) > 0)
		reach("write");
	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096))
		reach("punch");
	fchmod(fd, 0777);
	fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE);
	fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC);
	fcntl(fd, F_SETOWN, watcher);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		reach("map for writing");
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED) {
		if (!mprotect(p, 8192, PROT_READ | PROT_WRITE))
			reach("mprotect");
		if (!madvise(p, 8192, MADV_REMOVE))
			reach("remove");
		madvise(p, 8192, MADV_DONTNEED);
		if (rnd() % 2)
			mremap(p, 8192, 4096, 0);
		munmap(p, 8192);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	close(open(path, O_RDWR | O_TRUNC));
	again = open(path, O_RDWR);
	if (again >= 0) {
		if (pwrite(again, "x", 1, 0) > 0)
			reach("write after opening it again");
		if (!ftruncate(again, 0))
			reach("truncate after opening it again");
		close(again);
	}
}

static void attack_map(int fd)
{
	uint32_t key = rnd() % 300;
	char value[4096] = "forged";
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = fd;
	attr.key = (uint64_t)(uintptr_t)&key;
	attr.value = (uint64_t)(uintptr_t)value;
	if (!syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)))
		reach("map update");
	if (!syscall(SYS_bpf, BPF_MAP_DELETE_ELEM, &attr, sizeof(attr)))
		reach("map delete");
}

static void descriptors(void)
{
	long pages = prctl(ISOLATE, FLAG_PAGES, 0, 0, 0), stories = prctl(ISOLATE, FLAG_STORIES, 0, 0, 0);

	if (pages > 2) {
		attack(pages);
		attack_map(pages);
		close(pages);
	}
	if (stories > 2) {
		attack(stories);
		close(stories);
	}
	prctl(ISOLATE, FLAG_SLOT, 0, 0, 0);
}

static void on_signal(int sig) { (void)sig; }

static void calls(void)
{
	unsigned long flags = rnd() & (rnd() % 2 ? 0xffff : 0xfffff);

	switch (rnd() % 4) {
	case 0:
		prctl(ISOLATE, rnd(), rnd() % 2, rnd() % 2, rnd() % 2);
		break;
	case 1:
		prctl(ISOLATE, 1 | 2 | SIGUSR1 << 8, 0, 0, 0);
		break;
	case 2:
		prctl(ISOLATE, FLAG_WINDOW | 1 | SIGUSR1 << 8, 0, 0, 0);
		break;
	default:
		/* Not the default signal, which would kill this process. */
		prctl(ISOLATE, (flags & ~0x7f00UL) | SIGUSR2 << 8, 0, 0, 0);
	}
	prctl(ISOLATE, 0, 0, 0, 0);
}

static void names(void)
{
	static const char *const forged[] = { "kworker/3:0", "ksoftirqd/3", "migration/2", "taskiso", "\033[2J\033[H", "a\nCPU 3: quiet", "" };
	char name[16];
	unsigned i;

	for (i = 0; i < sizeof(name) - 1; i++)
		name[i] = 1 + rnd() % 255;
	name[i] = 0;
	prctl(PR_SET_NAME, rnd() % 2 ? name : forged[rnd() % 7]);
	usleep(10);
}

static void processes(void)
{
	volatile int i; /* beside vfork() */
	int status;
	pid_t pid;

	for (i = 0; i < 8; i++) {
		pid = rnd() % 4 ? fork() : vfork();
		if (!pid) {
			switch (rnd() % 3) {
			case 0:
				_exit(0);
			case 1:
				execl("/bin/hostile", "hostile", "exit", NULL);
				_exit(1);
			default:
				raise(SIGSEGV);
				_exit(0);
			}
		}
	}
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* what is stopped here is not left behind */
		names();
		descriptors();
		raise(SIGSTOP);
		_exit(0);
	}
	if (pid > 0) {
		waitpid(pid, &status, WUNTRACED);
		if (!ptrace(PTRACE_SEIZE, pid, 0, 0))
			ptrace(PTRACE_DETACH, pid, 0, rnd() % 2 ? SIGSTOP : 0);
		kill(pid, SIGCONT);
		kill(pid, SIGKILL);
	}
	while (waitpid(-1, &status, 0) > 0)
		;
}

static void *end_at_once(void *arg)
{
	prctl(ISOLATE, FLAG_SLOT, 0, 0, 0);
	return arg;
}

static void threads(void)
{
	pthread_t t[8];
	int i, n = 0;

	for (i = 0; i < 8; i++)
		n += !pthread_create(&t[n], NULL, end_at_once, NULL);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
}

static void move(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(rnd() % 4, &set);
	if (rnd() % 2)
		CPU_SET(rnd() % 4, &set);
	sched_setaffinity(0, sizeof(set), &set);
	setpriority(PRIO_PROCESS, 0, rnd() % 20);
}

/* Everything of taskiso that has a name. */
static void paths(void)
{
	static const char *const of_parent[] = { "mem", "maps", "environ", "fd", "task", "root", "cwd", "clear_refs", "oom_score_adj", "coredump_filter" };
	static const char *const ours[] = { "/run/taskiso", "/run/taskiso/cpus/cpu3.lock", "/run/taskiso/hold.lock", "/run/taskiso/hold.sock", "/sys/fs/bpf" };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	char path[300], *name;
	int fd, i;

	for (i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", watcher, of_parent[i]);
		fd = open(path, rnd() % 2 ? O_RDONLY : O_WRONLY);
		if (fd >= 0) {
			if (!i || i == 2)
				reach(path);
			close(fd);
		}
	}
	for (i = 0; i < 5; i++) {
		fd = open(ours[i], O_RDWR);
		if (fd >= 0) {
			reach(ours[i]);
			close(fd);
		}
		if (!unlink(ours[i]) || !rename(ours[i], "/tmp/taken"))
			reach(ours[i]);
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(to.sun_path, "/run/taskiso/hold.sock");
	if (!connect(fd, (void *)&to, sizeof(to)))
		reach("the socket of hold");
	close(fd);
	snprintf(to.sun_path + 1, sizeof(to.sun_path) - 1, "taskiso/cpu/%d", (int)(rnd() % 4));
	to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bind(fd, (void *)&to, sizeof(to));
	close(fd);
	/* The names beside the report. */
	name = (char *[]){ ".report.json.%d", ".taskiso-%d", ".events.ndjson.%d", "report.json.%d" }[rnd() % 4];
	snprintf(path, sizeof(path), "%s/", directory);
	snprintf(path + strlen(path), sizeof(path) - strlen(path), name, watcher + (int)(rnd() % 3));
	if (rnd() % 2)
		close(open(path, O_CREAT | O_RDWR, 0666));
	else
		symlink("/etc/passwd", path);
}

/* Memory that disappears while somebody looks at it, and arguments of any size. */
static void *vanish(void *page)
{
	int i;

	for (i = 0; i < 200; i++) {
		mprotect(page, 4096, PROT_NONE);
		mprotect(page, 4096, PROT_READ | PROT_WRITE);
	}
	return NULL;
}

static void operations(void)
{
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int one = 1, fd;
	pthread_t t;

	if (p == MAP_FAILED)
		return;
	memset(p, 0xff, 8192);
	if (pthread_create(&t, NULL, vanish, p + 4096))
		return;
	syscall(SYS_perf_event_open, p + 4096 - rnd() % 64, 0, -1, -1, 0);
	syscall(SYS_perf_event_open, p + 8192 - 2, 0, -1, -1, 0);
	syscall(SYS_bpf, rnd() % 40, p + 4096 - rnd() % 64, rnd() % 200);
	syscall(SYS_sched_setaffinity, 0, 0xffffffff00000008UL, p);
	syscall(SYS_sched_setaffinity, 0, rnd(), p + 8192 - 1);
	syscall(SYS_finit_module, -1, p + 8192, 0);
	syscall(SYS_init_module, p + 4096, rnd(), p + 8192 - 1);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, p + 8192 - 1, 4);
	close(fd);
	pthread_join(t, NULL);
	munmap(p, 8192);
}

static void memory(void)
{
	char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int i;

	if (p == MAP_FAILED)
		return;
	for (i = 0; i < 64; i++)
		p[i * 4096] = 1;
	mprotect(p, 64 * 4096, PROT_READ);
	syscall(SYS_membarrier, 1 << 4, 0, 0); /* register; then expedited */
	syscall(SYS_membarrier, 1 << 3, 0, 0);
	munmap(p, 64 * 4096);
}

static void signals(void)
{
	int sig = 1 + rnd() % 64;

	if (sig != SIGKILL && sig != SIGSTOP && signal(sig, on_signal) != SIG_ERR)
		raise(sig);
	if (!kill(watcher, sig) && sig != SIGCONT) /* which anybody of the session may send */
		reach("a signal to taskiso");
	signal(SIGCONT, on_signal);
}

static void (*const actions[])(void) = { descriptors, calls, calls, names, names, processes, threads, move, paths, operations, memory, signals };

static void worst(long long until, uint64_t seed)
{
	state = seed | 1;
	signal(SIGUSR1, on_signal);
	signal(SIGUSR2, on_signal);
	signal(SIGIO, on_signal);
	while (now() < until) {
		actions[rnd() % (sizeof(actions) / sizeof(*actions))]();
		__atomic_add_fetch(done, 1, __ATOMIC_RELAXED);
		relax();
	}
}

int main(int argc, char **argv)
{
	struct rlimit files = { 64, 64 }, processes = { 200, 200 }, none = { 0, 0 };
	unsigned long *shared;
	long long until;
	int i, status;

	if (argc != 4)
		return 0; /* executed by processes() */
	directory = argv[3];
	watcher = getppid();
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_NPROC, &processes);
	setrlimit(RLIMIT_CORE, &none);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	reached = &shared[0];
	done = &shared[1];
	until = now() + atoll(argv[1]);
	for (i = 0; i < 3; i++) {
		if (!fork()) {
			worst(until, strtoull(argv[2], NULL, 0) * 8191 + i);
			_exit(0);
		}
	}
	/* Whoever was killed by what it did to itself is replaced, for as long as it lasts. */
	signal(SIGUSR1, on_signal);
	for (i = 3; wait(&status) > 0; i++) {
		if (now() < until && !fork()) {
			worst(until, strtoull(argv[2], NULL, 0) * 8191 + i);
			_exit(0);
		}
	}
	printf("done %lu reached %lu\n", *done, *reached);
	return *reached != 0;
}
