/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The task side's semantics, case by case, for a command below "taskiso run".
 * Each case is a process of its own on an isolated CPU; the parent provokes
 * breaks from a housekeeping CPU. Prints a line for each case: "ok NAME" or
 * "FAIL NAME: what". isolation ISOLATED_CPU OTHER_ISOLATED_CPU HOUSEKEEPING_CPU
 * [CASE | until-unwatched | armed TIMES | storm CYCLES]
 */
#define _GNU_SOURCE
#include <taskiso/taskiso.h>

#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

static int cpu, other_cpu, home;
static int answered = 1; /* below taskiso run */

/* What a task tells its parent; shared and faulted in. */
static struct shared {
	volatile int stage;    /* 1 isolated, 2 after the break */
	volatile int hits;     /* of the chosen signal */
	volatile int others;   /* of SIGUSR2 and SIGALRM */
	volatile int in_handler; /* isolated there? */
	volatile int error;
	volatile int result;
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
		shared->others++;
	}
}

static void on(int sig, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

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
		;
}

/* ---- what breaks isolation ---- */

static char *fresh; /* a page that was never touched */
static char *victim; /* pages that a sibling unmaps */
static volatile int act; /* tells the sibling to act */

static void do_syscall(void) { syscall(SYS_getppid); }

static void do_fault(void) { fresh[0] = 1; }

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
 * A kernel disturbs a nohz_full CPU now and then without our doing: then a case
 * says so, and is made again.
 */
#define DISTURBED 99
#define FOREIGN (C(TIMER) | C(RESCHEDULE) | C(CALL) | C(IRQ_WORK) | C(TASK) | C(NMI))

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
} breaks[] = {
	{ "system call", .self = do_syscall, .causes = C(SYSCALL) },
	{ "page fault", .self = do_fault, .causes = C(PAGE_FAULT) },
	{ "munmap by a sibling", .sibling = unmaps, .causes = C(CALL) },
	{ "membarrier by a sibling", .sibling = barriers, .causes = C(CALL) },
	{ "another task", .parent = runs_hog, .causes = C(TASK) | C(RESCHEDULE) | C(CALL) | C(TIMER) },
	{ "signal", .parent = signals, .causes = C(SIGNAL) | C(RESCHEDULE) },
	{ "timer", .before = arm_timer, .causes = C(TIMER) | C(SIGNAL) | C(RESCHEDULE) },
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
	if (b->before)
		b->before();
	r = enter(sig);
	if (r) {
		shared->error = -r;
		_exit(102);
	}
	shared->stage = 1;
	act = 1;
	if (b->self)
		b->self();
	else
		spin();
	shared->stage = 2; /* the signal has come before this, or never */
	shared->result = shared->hits;
	taskiso_status(&shared->status);
	usleep(100000);
	_exit(shared->hits == shared->result ? 0 : 103);
}

/* Starts a task and waits for its end; 20 s are forever. */
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
	for (int i = 0; i < 2000; i++) {
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

static int is_broken(const struct breaks *b, int sig)
{
	struct broken arg = { b, sig };
	int status = run(broken_task, &arg, b->parent);

	for (int i = 0; i < 5 && !status && FOREIGN & ~b->causes & 1u << shared->status.cause; i++) {
		printf("disturbed: %s: %s\n", b->name, taskiso_cause_name(shared->status.cause));
		status = run(broken_task, &arg, b->parent);
	}
	if (status == -1)
		return fail("nothing within 20 s, at stage %d", shared->stage);
	if (shared->error)
		return fail("entering: %s", strerror(shared->error));
	if (sig == SIGKILL)
		return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && shared->stage == 1 ?
		       0 : fail("status %#x at stage %d, not killed while isolated", status, shared->stage);
	if (status)
		return fail("status %#x", status);
	if (shared->result != (sig != 0) || shared->in_handler)
		return fail("%d signals, isolated in the handler: %d", shared->result, shared->in_handler);
	if (shared->status.isolated || shared->status.breaks != 1 || shared->status.entered != 1)
		return fail("page: isolated %u, %llu breaks, entered %llu", shared->status.isolated,
			    (unsigned long long)shared->status.breaks, (unsigned long long)shared->status.entered);
	if (!(b->causes & 1u << shared->status.cause))
		return fail("cause %s (detail %#llx)", taskiso_cause_name(shared->status.cause), (unsigned long long)shared->status.detail);
	if (b->self == do_syscall && shared->status.detail != SYS_getppid)
		return fail("system call %llu", (unsigned long long)shared->status.detail);
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
			;
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
} tests[] = {
	{ "arguments and other options", arguments, 0 },
	{ "affinity", affinity, 0 },
	{ "a busy CPU", busy, 0 },
	{ "the first version: prctl(49), USERSIG", first_version, 0 },
	{ "leaving", leaves, 0 },
	{ "no signal", no_signal, 0 },
	{ "a handler that enters again", again, 0 },
	{ "a handler with another program counter", other_counter, 0 },
	{ "fork", forks, 0 },
	{ "exec, signal", executes, 0 },
	{ "exec, kill", executes_or_dies, SIGKILL },
	{ "exit of the process", exits, 0 },
	{ "exit of the thread", thread_exits, 0 },
	{ "the story", tells, 0 },
	{ "16 threads on 2 CPUs", many, 0 },
};

static int is_as(const struct test *t)
{
	int status = run(t->task, NULL, NULL);

	for (int i = 0; i < 5 && is_disturbed(status); i++) {
		printf("disturbed: %s: %s\n", t->name, (const char *)shared->complaint);
		status = run(t->task, NULL, NULL);
	}
	if (status == t->status)
		return 0;
	if (status == -1)
		return fail("nothing within 20 s");
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
	printf("isolated\n"); /* which breaks */
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

/* Asks for nothing; from the first SIGUSR2 on it spins,
 * and says how often it was signalled when SIGUSR2 has come as often. */
static int be_armed(int times)
{
	answered = 0;
	prepare();
	printf("%d\n", getpid());
	while (!shared->others)
		usleep(10000); /* attaching to what spins takes an emulated machine a minute */
	shared->others = 0;
	while (shared->others < times || shared->hits < times)
		;
	printf("signals %d\n", shared->hits);
	return 0;
}

/* ---- a storm ---- */

static volatile int over;

/* One disturbance every 15 to 40 ms: a CPU that has no 12 ms of quiet lets nobody in. */
static void *provokes(void *arg)
{
	unsigned seed = 1;

	pin(0, home);
	while (!over) {
		usleep(15000 + rand_r(&seed) % 25000);
		switch (rand_r(&seed) % 4) {
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
	victim = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	if (pthread_create(&t, NULL, provokes, NULL))
		return 1;
	for (int i = 0; i < cycles; i++) {
		if (taskiso_enter(SIGUSR1)) {
			refused++;
			continue;
		}
		granted++;
		for (volatile int k = rand_r(&seed) % 100000; k > 0 && taskiso_isolated(); k--)
			;
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
	if (argc == 6 && !strcmp(argv[4], "armed"))
		return be_armed(atoi(argv[5]));
	if (argc == 6 && !strcmp(argv[4], "storm"))
		return storm(atoi(argv[5]));
	pin(0, home);
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
