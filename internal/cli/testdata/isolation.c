/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The task side's semantics, case by case, for a command under "taskiso run".
 * Each case is a process of its own on an isolated CPU; the parent provokes
 * breaks from a housekeeping CPU. Prints a line for each case: "ok NAME" or
 * "FAIL NAME: what". isolation ISOLATED_CPU OTHER_ISOLATED_CPU HOUSEKEEPING_CPU
 * [CASE | until-unwatched | armed TIMES | hog | storm CYCLES]
 */
#define _GNU_SOURCE
#include <taskiso/taskiso.h>

#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "relax.h"

static int cpu, other_cpu, home;
static int answered = 1; /* started by taskiso run */

/* What a task tells its parent; shared and faulted in. */
static struct shared {
	volatile int stage;    /* 1 isolated, 2 after the break */
	volatile int hits;     /* of the chosen signal */
	volatile int others;   /* signals that are not the chosen one */
	volatile int go;       /* the parent lets the task go on */
	volatile int in_handler; /* isolated there? */
	volatile int error;
	volatile int result;
	int slot; /* of the task's status page */
	struct taskiso_status status;
	volatile char complaint[200];
} *shared;

static char complaint[300];

static int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
	return 1;
}

static void pin(pid_t tid, int to)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(to, &set);
	if (sched_setaffinity(tid, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(2);
	}
}

static void count(int sig)
{
	if (sig == SIGUSR1) {
		shared->in_handler |= taskiso_isolated();
		shared->hits++;
	} else {
		shared->in_handler |= taskiso_isolated();
		shared->others++;
	}
}

static jmp_buf back;

static void count_and_go_on(int sig)
{
	count(sig);
	siglongjmp(back, 1);
}

static void on(int sig, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = handler == count_and_go_on ? SA_NODEFER : 0 };

	sigaction(sig, &action, NULL);
}

/* enter, however long the CPU takes to become quiet */
static int enter(int sig)
{
	int r = -EAGAIN;

	for (int i = 0; i < 30 && (r == -EAGAIN || r == -EINTR); i++)
		r = taskiso_enter(sig);
	return r;
}

static void prepare(void)
{
	pin(0, cpu);
	on(SIGUSR1, count);
	on(SIGUSR2, count);
	on(SIGALRM, count);
	if (mlockall(MCL_CURRENT | MCL_FUTURE) || (taskiso_map() && answered))
		_exit(100);
	count(0);
	shared->others = 0;
}

static void spin(void)
{
	while (taskiso_isolated())
		relax();
}

/* ---- what breaks isolation ---- */

static char *fresh; /* a page that was never touched */
static char *victim; /* pages that a sibling unmaps */
static volatile int act; /* tells the sibling to act */

static void do_syscall(void) { syscall(SYS_getppid); }

static void do_fault(void) { fresh[0] = 1; }

/* ---- instructions that raise a signal ---- */

static volatile char *volatile nowhere = (char *)8;
static volatile char *volatile weird = (char *)0x800000000000beef; /* not an address: no page fault on x86 */
static volatile char *readonly;
static volatile char *beyond; /* the end of its file */
static volatile int zero;

static void do_bad_address(void) { *nowhere = 1; }

static void do_no_address(void) { *weird = 1; }

static void do_bad_access(void) { *readonly = 1; }

static void do_beyond(void) { *beyond = 1; }

static void do_undefined(void) { __builtin_trap(); }

static void do_breakpoint(void) { __asm__ volatile("int3"); }

static void do_division(void) { __asm__ volatile("xor %%edx, %%edx; divl %0" ::"m"(zero) : "eax", "edx"); }

static void prepare_exceptions(void)
{
	int fd = memfd_create("short", 0);

	readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	beyond = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) + 4096;
	if (ftruncate(fd, 4096))
		_exit(107);
	for (const int *s = (const int[]){ SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, 0 }; *s; s++)
		on(*s, count_and_go_on);
}

/* ---- a page fault that waits for another thread ---- */

static int faults = -1;
static pid_t isolated_thread;

static void prepare_late(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .range = { (unsigned long)fresh, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	isolated_thread = getpid();
	faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (ioctl(faults, UFFDIO_API, &api) || ioctl(faults, UFFDIO_REGISTER, &area))
		_exit(108);
}

static void resolve(int moved)
{
	struct uffdio_zeropage zero = { .range = { (unsigned long)fresh, 4096 } };
	struct uffd_msg m;

	pin(0, home);
	while (!act) /* the faults are not to be waited for before that */
		usleep(1000);
	if (read(faults, &m, sizeof(m)) != sizeof(m))
		_exit(109);
	usleep(20000);
	if (moved)
		pin(isolated_thread, other_cpu);
	if (ioctl(faults, UFFDIO_ZEROPAGE, &zero))
		_exit(110);
}

static void *resolves(void *arg)
{
	resolve(0);
	return arg;
}

static void *resolves_elsewhere(void *arg)
{
	resolve(1);
	return arg;
}

static volatile pid_t sibling_thread;

static void *waits(void *arg)
{
	sibling_thread = gettid();
	pin(0, home);
	pause();
	return arg;
}

static void *unmaps(void *arg)
{
	pin(0, home);
	while (!act)
		usleep(1000);
	usleep(20000);
	munmap(victim, 1 << 16);
	return arg;
}

static void *barriers(void *arg)
{
	pin(0, home);
	while (!act)
		usleep(1000);
	usleep(20000);
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	return arg;
}

static void arm_timer(void)
{
	struct itimerval t = { .it_value = { .tv_usec = 900000 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

/* What the parent does to a task. */
static void runs_hog(pid_t task)
{
	pid_t hog = fork();

	(void)task;
	if (!hog) {
		pin(0, cpu);
		for (volatile int i = 0; i < 1000; i++)
			;
		_exit(0);
	}
	waitpid(hog, NULL, 0);
}

static void signals(pid_t task) { kill(task, SIGUSR2); }

static void queues(pid_t task) { sigqueue(task, SIGRTMIN, (union sigval){ 0 }); }

static char state_of(pid_t task)
{
	char path[64], text[256] = "", *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", task);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	close(fd);
	end = strrchr(text, ')');
	return end ? end[2] : 0;
}

static void await_state(pid_t task, char state)
{
	for (int i = 0; i < 5000 && state_of(task) != state; i++)
		usleep(1000);
}

static void stops(pid_t task)
{
	kill(task, SIGSTOP);
	await_state(task, 'T');
	kill(task, SIGCONT);
}

/* The other thread is delivered the signal. */
static void stops_sibling(pid_t task)
{
	syscall(SYS_tgkill, task, shared->go, SIGSTOP);
	await_state(task, 'T');
	kill(task, SIGCONT);
}

static void moves(pid_t task) { pin(task, other_cpu); }

static void interrupts(pid_t task)
{
	(void)task;
	int fd = open("/proc/irq/4/smp_affinity_list", O_WRONLY), tty = open("/dev/ttyS0", O_WRONLY | O_NOCTTY);
	char text[8];

	snprintf(text, sizeof(text), "%d", cpu);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		perror("moving interrupt 4");
	for (int i = 0; i < 50 && shared->stage == 1; i++) {
		if (write(tty, ".", 1) < 0)
			perror("writing to the serial line");
		usleep(10000);
	}
	snprintf(text, sizeof(text), "%d", home);
	if (write(fd, text, strlen(text)) < 0)
		perror("moving interrupt 4 back");
	close(fd);
	close(tty);
}

#define C(cause) (1u << TASKISO_##cause)

/*
 * A kernel disturbs a nohz_full CPU now and then without our doing, also after
 * interrupt 4 was moved back (a vector, or a timer): then a case says so, and is
 * made again.
 */
#define DISTURBED 99
#define FOREIGN (C(TIMER) | C(RESCHEDULE) | C(CALL) | C(IRQ_WORK) | C(TASK) | C(NMI) | C(VECTOR))

static int is_disturbed(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == DISTURBED;
}

static const struct breaks {
	const char *name;
	void (*before)(void);       /* the task, before it enters */
	void *(*sibling)(void *);   /* a thread of the task */
	void (*self)(void);         /* the task, isolated */
	void (*parent)(pid_t task); /* the parent, once it is isolated */
	unsigned causes;            /* of the status page */
	int signal;                 /* it is a signal of others: the chosen one does not come */
} breaks[] = {
	{ "system call", .self = do_syscall, .causes = C(SYSCALL) },
	{ "page fault", .self = do_fault, .causes = C(PAGE_FAULT) },
	{ "munmap by a sibling", .sibling = unmaps, .causes = C(CALL) },
	{ "membarrier by a sibling", .sibling = barriers, .causes = C(CALL) },
	{ "another task", .parent = runs_hog, .causes = C(TASK) | C(RESCHEDULE) | C(CALL) | C(TIMER) },
	{ "page fault that waits", .before = prepare_late, .sibling = resolves, .self = do_fault, .causes = C(PAGE_FAULT) },
	{ "page fault that ends on another CPU", .before = prepare_late, .sibling = resolves_elsewhere, .self = do_fault, .causes = C(PAGE_FAULT) },
	{ "signal", .parent = signals, .causes = C(SIGNAL), .signal = SIGUSR2 },
	{ "queued signal", .parent = queues, .causes = C(SIGNAL), .signal = -1 /* SIGRTMIN is no constant */ },
	{ "timer", .before = arm_timer, .causes = C(SIGNAL), .signal = SIGALRM },
	{ "stop", .parent = stops, .causes = C(SIGNAL), .signal = SIGSTOP },
	{ "stop of a sibling", .sibling = waits, .parent = stops_sibling, .causes = C(SIGNAL), .signal = SIGSTOP },
	{ "bad address", .before = prepare_exceptions, .self = do_bad_address, .causes = C(SIGNAL), .signal = SIGSEGV },
	{ "no address", .before = prepare_exceptions, .self = do_no_address, .causes = C(SIGNAL), .signal = SIGSEGV },
	{ "bad access in a mapping", .before = prepare_exceptions, .self = do_bad_access, .causes = C(SIGNAL), .signal = SIGSEGV },
	{ "beyond the end of a file", .before = prepare_exceptions, .self = do_beyond, .causes = C(SIGNAL), .signal = SIGBUS },
	{ "undefined instruction", .before = prepare_exceptions, .self = do_undefined, .causes = C(SIGNAL), .signal = SIGILL },
	{ "breakpoint", .before = prepare_exceptions, .self = do_breakpoint, .causes = C(SIGNAL), .signal = SIGTRAP },
	{ "division by zero", .before = prepare_exceptions, .self = do_division, .causes = C(SIGNAL), .signal = SIGFPE },
	{ "device interrupt", .parent = interrupts, .causes = C(IRQ) },
	{ "moved away", .parent = moves, .causes = C(TASK) | C(CALL) | C(RESCHEDULE) },
};

static void be_broken(const struct breaks *b, int sig)
{
	pthread_t sibling;
	int r;

	prepare();
	fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munlockall();
	madvise(fresh, 4096, MADV_DONTNEED);
	victim = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	memset(victim, 1, 1 << 16);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (b->sibling && pthread_create(&sibling, NULL, b->sibling, NULL))
		_exit(101);
	on(SIGRTMIN, count);
	if (b->before)
		b->before();
	while (b->sibling == waits && !sibling_thread)
		usleep(1000);
	shared->go = sibling_thread;
	shared->slot = taskiso_request(TASKISO_SLOT);
	r = enter(sig);
	if (r) {
		shared->error = -r;
		_exit(102);
	}
	shared->stage = 1;
	act = 1;
	if (!b->self)
		spin();
	else if (!sigsetjmp(back, 0))
		b->self();
	shared->stage = 2; /* the signal has come before this, or never */
	shared->result = shared->hits;
	taskiso_status(&shared->status);
	usleep(100000);
	_exit(shared->hits == shared->result ? 0 : 103);
}

/* Starts a task and waits for its end; 2 min are forever. */
static int run(void (*task)(const void *), const void *arg, void (*meanwhile)(pid_t))
{
	int status, acted = 0;
	pid_t pid;

	memset((void *)shared, 0, sizeof(*shared));
	pid = fork();
	if (!pid) {
		task(arg);
		_exit(104);
	}
	for (int i = 0; i < 12000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (shared->stage == 1 && meanwhile && !acted++) {
			usleep(20000);
			meanwhile(pid);
		}
		usleep(10000);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -1;
}

struct broken {
	const struct breaks *b;
	int sig;
};

static void broken_task(const void *arg)
{
	const struct broken *b = arg;

	be_broken(b->b, b->sig);
}

/* Reads the page of a task that was killed, which could not do so itself. */
static void read_page(void)
{
	struct taskiso_status *page = taskiso_map_file(TASKISO_PAGES, shared->slot, PROT_READ);

	if (page == MAP_FAILED)
		return;
	shared->status = *page;
	munmap(page, TASKISO_PAGE_SIZE);
}

static int break_once(struct broken *arg)
{
	int status = run(broken_task, arg, arg->b->parent);

	if (status == SIGKILL)
		read_page();
	return status;
}

/*
 * What else can come in a case. An interrupt that has just been moved can come while its handler still runs
 * on the CPU from which it was moved: handle_edge_irq() then masks it and calls no handler, without an event
 * (irq_may_run(), kernel/irq/chip.c). That break has no name, and no case but this one has it.
 */
static unsigned foreign(const struct breaks *b)
{
	return (FOREIGN | (b->parent == interrupts ? C(UNNAMED) : 0)) & ~b->causes;
}

static int is_broken(const struct breaks *b, int sig)
{
	struct broken arg = { b, sig };
	int status = break_once(&arg);

	for (int i = 0; i < 5 && (!status || status == SIGKILL) && foreign(b) & 1u << shared->status.cause; i++) {
		printf("disturbed: %s: %s\n", b->name, taskiso_cause_name(shared->status.cause));
		status = break_once(&arg);
	}
	if (status == -1)
		return fail("nothing within 2 min, at stage %d", shared->stage);
	if (shared->error)
		return fail("entering: %s", strerror(shared->error));
	if (sig == SIGKILL && !b->signal)
		return status == SIGKILL && shared->stage == 1 && b->causes & 1u << shared->status.cause ?
		       0 : fail("status %#x at stage %d, cause %s, not killed while isolated", status, shared->stage, taskiso_cause_name(shared->status.cause));
	if (status)
		return fail("status %#x, cause %s", status, taskiso_cause_name(shared->status.cause));
	if (shared->result != (sig != 0 && !b->signal) || shared->others != (b->signal && b->signal != SIGSTOP) || shared->in_handler)
		return fail("%d signals, %d of others, isolated in the handler: %d", shared->result, shared->others, shared->in_handler);
	if (shared->status.isolated || shared->status.breaks != 1 || shared->status.entered != 1)
		return fail("page: isolated %u, %llu breaks, entered %llu", shared->status.isolated,
			    (unsigned long long)shared->status.breaks, (unsigned long long)shared->status.entered);
	if (!(b->causes & 1u << shared->status.cause))
		return fail("cause %s (detail %#llx)", taskiso_cause_name(shared->status.cause), (unsigned long long)shared->status.detail);
	if (b->self == do_syscall && shared->status.detail != SYS_getppid)
		return fail("system call %llu", (unsigned long long)shared->status.detail);
	if (b->signal && shared->status.detail != (unsigned)(b->signal > 0 ? b->signal : SIGRTMIN))
		return fail("signal %llu", (unsigned long long)shared->status.detail);
	if (b->self == do_fault && (shared->status.detail & ~4095ull) == 0)
		return fail("address %#llx", (unsigned long long)shared->status.detail);
	return 0;
}

/* ---- the other cases: each a task that exits with 0 or a line's number ---- */

#define CHECK(condition)                                                                      \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			snprintf((char *)shared->complaint, sizeof(shared->complaint), "%s (line %d)", #condition, __LINE__); \
			_exit(taskiso_page->breaks && FOREIGN & 1u << taskiso_page->cause ? DISTURBED : 105); \
		}                                                                             \
	} while (0)

static int call(unsigned long option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	errno = 0;
	return (int)syscall(SYS_prctl, option, a, b, c, d);
}

static void arguments(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(call(48, 1, 1, 0, 0) == -1 && errno == EINVAL);
	CHECK(call(48, 1, 0, 1, 0) == -1 && errno == EINVAL);
	CHECK(call(48, 1, 0, 0, 1) == -1 && errno == EINVAL);
	CHECK(call(48, 0, 0, 0, 1) == -1 && errno == EINVAL);
	CHECK(call(48, PR_TASK_ISOLATION_SET_SIG(65) | 1, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(call(48, 0, 0, 0, 0) == 0);
	CHECK(call(49, 0, 0, 0, 0) == 0);
	CHECK(call(9999, 0, 0, 0, 0) == -1 && errno == EINVAL);
	CHECK(call(PR_SET_NAME, (unsigned long)"renamed", 0, 0, 0) == 0);
	char name[16] = "";
	CHECK(call(PR_GET_NAME, (unsigned long)name, 0, 0, 0) == 0 && !strcmp(name, "renamed"));
	_exit(0);
}

static void affinity(const void *arg)
{
	cpu_set_t two;

	(void)arg;
	prepare();
	CPU_ZERO(&two);
	CPU_SET(cpu, &two);
	CPU_SET(other_cpu, &two);
	sched_setaffinity(0, sizeof(two), &two);
	CHECK(taskiso_enter(SIGUSR1) == -EINVAL);
	pin(0, home);
	CHECK(taskiso_enter(SIGUSR1) == -EINVAL);
	_exit(0);
}

static void busy(const void *arg)
{
	pid_t hog;

	(void)arg;
	prepare();
	hog = fork();
	if (!hog)
		for (;;) /* without a tick: nothing interrupts it */
			relax();
	usleep(50000);
	int r = taskiso_enter(SIGUSR1);
	kill(hog, SIGKILL);
	CHECK(r == -EAGAIN);
	CHECK(shared->hits == 0);
	_exit(0);
}

static void first_version(const void *arg)
{
	int r = -1;

	(void)arg;
	prepare();
	for (int i = 0; i < 30 && r; i++)
		r = call(48, 1 | 1 << 1 | SIGUSR1 << 8, 0, 0, 0);
	CHECK(r == 0);
	CHECK(call(49, 0, 0, 0, 0) == (1 | 1 << 1 | SIGUSR1 << 8)); /* asking changes nothing */
	CHECK(taskiso_isolated() && shared->hits == 0);
	syscall(SYS_getppid);
	CHECK(!taskiso_isolated() && shared->hits == 1);
	_exit(0);
}

static void leaves(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGKILL) == 0);
	CHECK(taskiso_leave() == 0);
	CHECK(!taskiso_isolated());
	syscall(SYS_getppid);
	CHECK(enter(SIGUSR1) == 0);
	CHECK(enter(SIGUSR1) == 0); /* once more, from within */
	CHECK(taskiso_isolated());
	CHECK(taskiso_leave() == 0);
	CHECK(shared->hits == 0 && taskiso_page->breaks == 0 && taskiso_page->entered == 3);
	_exit(0);
}

static void no_signal(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(0) == 0);
	syscall(SYS_getppid);
	CHECK(!taskiso_isolated() && taskiso_page->breaks == 1 && taskiso_page->cause == TASKISO_SYSCALL);
	_exit(0);
}

/* The kernel ends the process in its place. */
static void no_handler(const void *arg)
{
	(void)arg;
	prepare();
	on(SIGUSR1, SIG_DFL);
	CHECK(enter(SIGUSR1) == 0);
	syscall(SYS_getppid);
	_exit(106);
}

/* As no_handler, of a signal that others send. */
static void ended_by_another(const void *arg)
{
	(void)arg;
	prepare();
	on(SIGTERM, SIG_DFL);
	CHECK(enter(SIGUSR1) == 0);
	shared->stage = 1;
	for (;;)
		relax();
}

static void terminates(pid_t task) { kill(task, SIGTERM); }

/* ---- asleep in its own call: the parent stops taskiso, so that nobody answers ---- */

static void sleep_in(unsigned long option, unsigned long flags)
{
	shared->stage = 1;
	while (!shared->go)
		relax();
	shared->error = call(option, flags, 0, 0, 0) ? errno : 0;
}

static void stop_answers(pid_t task)
{
	kill(getppid(), SIGSTOP);
	await_state(getppid(), 'T');
	shared->go = 1;
	await_state(task, 'S');
}

/* Whatever task does in its call, it is moved there. */
static void moves_asleep(pid_t task)
{
	stop_answers(task);
	pin(task, home);
	kill(getppid(), SIGCONT);
}

static void moves_asleep_and_back(pid_t task)
{
	stop_answers(task);
	pin(task, home);
	pin(task, cpu);
	kill(getppid(), SIGCONT);
}

static const unsigned long once_more = PR_TASK_ISOLATION_ENABLE | PR_TASK_ISOLATION_SET_SIG(SIGUSR1);

static void is_moved_asleep(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	sleep_in(48, once_more);
	CHECK(shared->error == EINVAL && !taskiso_isolated());
	pin(0, cpu);
	syscall(SYS_getppid);
	CHECK(taskiso_page->breaks == 0 && taskiso_page->entered == 1 && shared->hits == 0);
	CHECK(enter(SIGUSR1) == 0);
	syscall(SYS_getppid);
	CHECK(taskiso_page->breaks == 1 && taskiso_page->entered == 2 && shared->hits == 1);
	_exit(0);
}

/* It leaves its CPU to another. */
static void leaves_its_cpu(const void *arg)
{
	int status;
	pid_t other;

	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	sleep_in(48, once_more);
	CHECK(shared->error == EINVAL);
	other = fork();
	if (!other) {
		pin(0, cpu);
		_exit(taskiso_map() || enter(0) ? 111 : 0);
	}
	CHECK(waitpid(other, &status, 0) == other && status == 0);
	CHECK(taskiso_page->breaks == 0 && shared->hits == 0);
	_exit(0);
}

static void asks_and_is_moved(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	sleep_in(49, 0);
	CHECK(!taskiso_isolated() && shared->hits == 1);
	CHECK(taskiso_page->breaks == 1 && taskiso_page->cause == TASKISO_MOVED);
	_exit(0);
}

static void asks_and_comes_back(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	sleep_in(49, 0);
	CHECK(taskiso_isolated() && taskiso_page->breaks == 0);
	syscall(SYS_getppid);
	CHECK(!taskiso_isolated() && shared->hits == 1 && taskiso_page->cause == TASKISO_SYSCALL);
	_exit(0);
}

static void sleeps_until_killed(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGKILL) == 0);
	sleep_in(49, 0);
	_exit(106);
}

static void kills_asleep(pid_t task)
{
	stop_answers(task);
	kill(task, SIGKILL);
	await_state(task, 'Z');
	kill(getppid(), SIGCONT);
}

static void enters_again(int sig)
{
	(void)sig;
	if (++shared->hits < 5)
		shared->error = enter(SIGUSR1);
}

static void again(const void *arg)
{
	(void)arg;
	prepare();
	struct sigaction action = { .sa_handler = enters_again, .sa_flags = SA_NODEFER };
	sigaction(SIGUSR1, &action, NULL);
	CHECK(enter(SIGUSR1) == 0);
	for (volatile long i = 0; i < 1000; i++)
		;
	syscall(SYS_getppid); /* broken; the handler's return is a system call too: broken again ... */
	CHECK(shared->error == 0);
	CHECK(shared->hits == 5 && taskiso_page->breaks == 5 && taskiso_page->entered == 5);
	_exit(0);
}

static void elsewhere(void)
{
	CHECK(shared->hits == 1);
	on(SIGUSR1, count);
	CHECK(enter(SIGUSR1) == 0 && taskiso_isolated());
	CHECK(taskiso_leave() == 0);
	_exit(0);
}

static void redirects(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	shared->hits++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)elsewhere;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP] &= ~15ll;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RSP] -= 8;
}

static void other_counter(const void *arg)
{
	struct sigaction action = { .sa_sigaction = redirects, .sa_flags = SA_SIGINFO };

	(void)arg;
	prepare();
	sigaction(SIGUSR1, &action, NULL);
	CHECK(enter(SIGUSR1) == 0);
	syscall(SYS_getppid);
	CHECK(!"the handler returned to where it was broken");
}

static void forks(const void *arg)
{
	int status;
	pid_t child;

	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	child = fork();
	if (!child) {
		const void *parents = taskiso_page;
		syscall(SYS_getppid);
		CHECK(taskiso_map() == 0 && taskiso_page != parents && taskiso_page->tid == (uint32_t)getpid() && !taskiso_isolated());
		_exit(shared->hits); /* the parent's one at most, counted in shared memory */
	}
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	CHECK(shared->hits == 1);
	CHECK(taskiso_page->breaks == 1);
	_exit(0);
}

static void executes(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	execl("/proc/self/exe", "isolation", "executed", NULL);
	_exit(106);
}

static void executes_or_dies(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGKILL) == 0);
	execl("/proc/self/exe", "isolation", "executed", NULL);
	_exit(106);
}

static void exits(const void *arg)
{
	(void)arg;
	prepare();
	CHECK(enter(SIGKILL) == 0);
	syscall(SYS_exit_group, 0);
}

static void *exits_thread(void *arg)
{
	pin(0, cpu);
	if (!enter(SIGKILL))
		syscall(SYS_exit, 0);
	return arg;
}

static void thread_exits(const void *arg)
{
	char *stack = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	pthread_attr_t attributes;
	pthread_t t;

	(void)arg;
	prepare();
	pin(0, home);
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, stack, 1 << 20);
	CHECK(!pthread_create(&t, &attributes, exits_thread, NULL));
	CHECK(!pthread_join(t, NULL));
	_exit(0); /* alive: nobody was killed */
}

static void tells(const void *arg)
{
	struct taskiso_story story;
	int known = 0;

	(void)arg;
	prepare();
	CHECK(enter(SIGUSR1) == 0);
	syscall(SYS_getppid);
	for (int i = 0; i < 500 && !known; i++) {
		usleep(10000);
		known = taskiso_story(&story);
	}
	CHECK(known);
	snprintf((char *)shared->complaint, sizeof(shared->complaint), "story %.60s: %.100s", story.id, story.text);
	CHECK(!strcmp(story.id, "syscall") && strstr(story.text, "getppid"));
	_exit(0);
}

/* Many threads on two CPUs get in each other's way; each is told of every break once. */
#define THREADS 16

static __thread volatile sig_atomic_t mine;

static void count_mine(int sig)
{
	(void)sig;
	mine++;
}

static struct taskiso_status results[THREADS];
static int signalled[THREADS];

static void *competes(void *arg)
{
	int n = (int)(long)arg;

	pin(0, n % 2 ? cpu : other_cpu);
	if (taskiso_map())
		return NULL;
	for (int i = 0; i < 20; i++) {
		if (taskiso_enter(SIGUSR1))
			continue;
		for (volatile long k = 0; k < 100000 && taskiso_isolated(); k++)
			;
		if (i % 2)
			taskiso_leave();
		else
			syscall(SYS_getppid);
	}
	taskiso_leave();
	taskiso_status(&results[n]);
	signalled[n] = mine;
	return arg;
}

static void many(const void *arg)
{
	unsigned long long entered = 0;
	pthread_t t[THREADS];

	(void)arg;
	prepare();
	pin(0, home);
	on(SIGUSR1, count_mine);
	for (long i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&t[i], NULL, competes, (void *)i));
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (int i = 0; i < THREADS; i++) {
		entered += results[i].entered;
		CHECK(!results[i].isolated);
		CHECK((unsigned long long)signalled[i] == results[i].breaks);
		CHECK(results[i].breaks <= results[i].entered);
	}
	CHECK(entered > 0);
	snprintf((char *)shared->complaint, sizeof(shared->complaint), "entered %llu times", entered);
	_exit(0);
}

static const struct test {
	const char *name;
	void (*task)(const void *);
	int status;
	void (*parent)(pid_t);
} tests[] = {
	{ "arguments and other options", arguments, 0, NULL },
	{ "affinity", affinity, 0, NULL },
	{ "a busy CPU", busy, 0, NULL },
	{ "the first version: prctl(49), USERSIG", first_version, 0, NULL },
	{ "leaving", leaves, 0, NULL },
	{ "no signal", no_signal, 0, NULL },
	{ "no handler", no_handler, SIGUSR1, NULL },
	{ "ended by a signal of others", ended_by_another, SIGTERM, terminates },
	{ "moved, asleep in its call", is_moved_asleep, 0, moves_asleep },
	{ "gone from its CPU, asleep in its call", leaves_its_cpu, 0, moves_asleep },
	{ "moved, asleep as it asks", asks_and_is_moved, 0, moves_asleep },
	{ "moved and back, asleep as it asks", asks_and_comes_back, 0, moves_asleep_and_back },
	{ "killed, asleep as it asks", sleeps_until_killed, SIGKILL, kills_asleep },
	{ "a handler that enters again", again, 0, NULL },
	{ "a handler with another program counter", other_counter, 0, NULL },
	{ "fork", forks, 0, NULL },
	{ "exec, signal", executes, 0, NULL },
	{ "exec, kill", executes_or_dies, SIGKILL, NULL },
	{ "exit of the process", exits, 0, NULL },
	{ "exit of the thread", thread_exits, 0, NULL },
	{ "the story", tells, 0, NULL },
	{ "16 threads on 2 CPUs", many, 0, NULL },
};

static int is_as(const struct test *t)
{
	int status = run(t->task, NULL, t->parent);

	for (int i = 0; i < 5 && is_disturbed(status); i++) {
		printf("disturbed: %s: %s\n", t->name, (const char *)shared->complaint);
		status = run(t->task, NULL, t->parent);
	}
	if (status == t->status)
		return 0;
	if (status == -1)
		return fail("nothing within 2 min");
	return fail("status %#x, want %#x: %s", status, t->status, (const char *)shared->complaint);
}

static int told(const char *name, const char *how, int failed)
{
	if (failed)
		printf("FAIL %s%s: %s\n", name, how, complaint);
	else
		printf("ok %s%s\n", name, how);
	return failed;
}

/* Stays isolated until nobody watches any more, and says what the page says then. */
static int until_unwatched(void)
{
	struct taskiso_status s;

	prepare();
	if (enter(SIGUSR1))
		return 1;
	printf("isolated %d\n", gettid()); /* which breaks */
	fflush(stdout);
	if (enter(SIGUSR1))
		return 1;
	spin();
	taskiso_status(&s);
	printf("unwatched: isolated %u cause %s signals %d\n", s.isolated, taskiso_cause_name(s.cause), shared->hits);
	fflush(stdout);
	printf("then: %d\n", taskiso_enter(SIGUSR1));
	return 0;
}

/* Asks for nothing; from SIGUSR2 on it spins, and says that it was signalled so often. */
static int be_armed(int times)
{
	answered = 0;
	prepare();
	printf("%d\n", getpid());
	while (!shared->others)
		usleep(10000); /* attaching to what spins takes an emulated machine a minute */
	while (shared->hits < times)
		relax();
	printf("signals %d\n", shared->hits);
	return 0;
}

/* ---- a storm ---- */

static volatile int over;
static pid_t stormy;

/* One disturbance every 15 to 40 ms: a CPU that has no 12 ms of quiet lets nobody in. */
static void *provokes(void *arg)
{
	unsigned seed = 1;

	pin(0, home);
	while (!over) {
		usleep(15000 + rand_r(&seed) % 25000);
		switch (rand_r(&seed) % 6) {
		case 0:
			syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
			break;
		case 1: {
			char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			munmap(p, 4096);
			break;
		}
		case 2:
			pin(0, cpu);
			pin(0, home);
			break;
		case 3: /* wherever it is: isolated, asleep in its call, or on its way */
			pin(stormy, other_cpu);
			break;
		case 4:
			pin(stormy, other_cpu);
			pin(stormy, cpu);
			break;
		default:
			over |= mprotect(victim, 4096, PROT_READ) || mprotect(victim, 4096, PROT_READ | PROT_WRITE);
		}
	}
	return arg;
}

/* After leave has returned, no signal of an earlier break comes. */
static int storm(int cycles)
{
	int refused = 0, late = 0, granted = 0;
	unsigned seed = 2;
	pthread_t t;

	prepare();
	stormy = getpid();
	victim = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (pthread_create(&t, NULL, provokes, NULL))
		return 1;
	for (int i = 0; i < cycles; i++) {
		int r = taskiso_enter(SIGUSR1);
		if (r == -EINVAL)
			pin(0, cpu);
		if (r) {
			refused++;
			continue;
		}
		granted++;
		for (volatile int k = rand_r(&seed) % 100000; k > 0 && taskiso_isolated(); k--)
			relax();
		if (i % 16 == 0)
			syscall(SYS_getppid);
		taskiso_leave();
		int hits = shared->hits;
		for (volatile int k = 0; k < 200; k++)
			;
		late += shared->hits != hits;
	}
	struct taskiso_status s;
	taskiso_status(&s);
	over = 1;
	pthread_join(t, NULL);
	printf("granted %d refused %d entered %llu breaks %llu signals %d late %d\n", granted, refused,
	       (unsigned long long)s.entered, (unsigned long long)s.breaks, shared->hits, late);
	return 0;
}

int main(int argc, char **argv)
{
	int failures = 0;

	if (argc == 2 && !strcmp(argv[1], "executed"))
		return taskiso_isolated() || getppid() < 0;
	if (argc < 4)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	cpu = atoi(argv[1]);
	other_cpu = atoi(argv[2]);
	home = atoi(argv[3]);
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (argc == 5 && !strcmp(argv[4], "until-unwatched"))
		return until_unwatched();
	if (argc == 5 && !strcmp(argv[4], "hog"))
		return runs_hog(0), 0;
	if (argc == 6 && !strcmp(argv[4], "armed"))
		return be_armed(atoi(argv[5]));
	if (argc == 6 && !strcmp(argv[4], "storm"))
		return storm(atoi(argv[5]));
	pin(0, home);
	taskiso_request(TASKISO_SLOT); /* read_page() then gets no page that a task just had */
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (argc < 5 || strstr(tests[i].name, argv[4]))
			failures += told(tests[i].name, "", is_as(&tests[i]));
	for (unsigned i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		if (argc == 5 && !strstr(breaks[i].name, argv[4]))
			continue;
		failures += told(breaks[i].name, ", SIGUSR1", is_broken(&breaks[i], SIGUSR1));
		failures += told(breaks[i].name, ", SIGKILL", is_broken(&breaks[i], SIGKILL));
	}
	return failures > 0;
}
