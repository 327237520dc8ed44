// SPDX-License-Identifier: BSD-2-Clause
/*
 * The C side of the tests of package deferral: fd 3 is the domain.
 *
 *	owner SLOT    echoes what it gets until kind 23, then prints a summary
 *	poster SLOT N sends N numbers and publishes N values
 *	hang SLOT     enters and never catches up
 *	grab SLOT     takes the poster lock, half writes a cell, and never lets go
 *	sync N        synchronises N times
 *	pin SLOT      runs pinned
 *	nail SLOT     runs pinned, and never ends
 *	use SLOT      calls everything once, whatever it gives
 *	bad           tries arguments and memory that must be refused
 *	size          prints sizes and offsets
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <taskiso/deferral.h>

struct seen {
	int stop;
	unsigned long kinds, values, messages, torn, disorder;
	uint64_t last_value, last_message;
};

static int whole(const void *p, size_t len)
{
	const uint64_t *v = (const uint64_t *)p;
	if (len != 14 * sizeof(*v))
		return 0;
	for (int i = 1; i < 14; i++)
		if (v[i] != v[0])
			return 0;
	return 1;
}

static void on_kind(void *arg, unsigned kind)
{
	struct seen *s = (struct seen *)arg;
	s->kinds++;
	if (kind == 23)
		s->stop = 1;
}

static void on_cell(void *arg, unsigned key, const void *v, size_t len)
{
	struct seen *s = (struct seen *)arg;
	uint64_t id = *(const uint64_t *)v;
	(void)key;
	s->values++;
	s->torn += !whole(v, len);
	s->disorder += id < s->last_value;
	s->last_value = id;
}

static void on_message(void *arg, const void *m, size_t len)
{
	struct seen *s = (struct seen *)arg;
	uint64_t id = *(const uint64_t *)m;
	s->torn += !whole(m, len);
	s->disorder += id != s->messages;
	s->messages++;
	s->last_message = id;
}

static void die(const char *what, int err)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-err));
	exit(1);
}

static void say(const char *s)
{
	puts(s);
	fflush(stdout);
}

static void owner(struct tiso_domain *d, unsigned slot)
{
	struct seen seen = { 0 };
	struct tiso_handlers h = { &seen, on_kind, on_cell, on_message };
	struct tiso_slot s;
	int err = tiso_attach(d, slot, &h, &s);
	if (err)
		die("attach", err);
	tiso_enter(&s);
	say("ready");
	for (unsigned long n = 0; !seen.stop; n++) {
		if (tiso_poll(&s))
			tiso_catch_up(&s);
		if (n % 4096 == 0) {
			tiso_exit(&s);
			sched_yield(); /* the tests have few CPUs */
			tiso_enter(&s);
		}
	}
	tiso_exit(&s);
	tiso_detach(&s);
	printf("%lu %lu %lu %lu %lu %lu %lu\n", seen.values, seen.messages, seen.torn, seen.disorder,
	       (unsigned long)seen.last_value, (unsigned long)seen.last_message, (unsigned long)s.corrupt);
}

static void poster(struct tiso_domain *d, unsigned slot, uint64_t n)
{
	uint64_t v[14];
	struct tiso_ticket t;
	for (uint64_t id = 0; id < n; id++) {
		int err;
		for (int i = 0; i < 14; i++)
			v[i] = id;
		while ((err = tiso_send(d, slot, v, sizeof(v), &t)) == -EAGAIN)
			sched_yield();
		if (err)
			die("send", err);
		err = tiso_publish(d, slot, 0, v, sizeof(v), &t);
		if (err)
			die("publish", err);
	}
	int err = tiso_wait(d, &t, 5000000000);
	if (err)
		die("wait", err);
	err = tiso_post(d, slot, 23, &t);
	if (err)
		die("post", err);
}

static void hang(struct tiso_domain *d, unsigned slot)
{
	struct tiso_handlers none = { 0 };
	struct tiso_slot s;
	int err = tiso_attach(d, slot, &none, &s);
	if (err)
		die("attach", err);
	tiso_enter(&s);
	say("ready");
	pause();
}

static void grab(struct tiso_domain *d, unsigned slot)
{
	unsigned front, middle, back;
	unsigned char *cell = tiso_cell(d, slot, 0);
	int err = tiso_lock(d, &tiso_record(d, slot)->post);
	if (err)
		die("lock", err);
	tiso_roles(atomic_load((TISO_ATOMIC(uint64_t) *)cell), &front, &middle, &back);
	memset(cell + 128 + back * d->cell_box, 0xee, d->cell_box / 2);
	say("ready");
	pause();
}

static void ran(void *arg) { *(int *)arg = 1; }

static void stay(void *arg)
{
	(void)arg;
	say("ready");
	pause();
}

static unsigned long sum;

static void touch(const void *p, size_t len)
{
	const unsigned char *b = (const unsigned char *)p;
	for (size_t i = 0; i < len; i++)
		sum += b[i];
}

static void touch_cell(void *arg, unsigned key, const void *v, size_t len)
{
	(void)arg;
	(void)key;
	touch(v, len);
}

static void touch_message(void *arg, const void *m, size_t len)
{
	(void)arg;
	touch(m, len);
}

static void use(struct tiso_domain *d, unsigned slot)
{
	struct tiso_handlers h = { NULL, NULL, touch_cell, touch_message };
	struct tiso_slot s;
	char v[112] = { 0 };
	size_t len;
	int yes;
	if (tiso_attach(d, slot, &h, &s))
		return;
	for (int i = 0; i < 3; i++) {
		tiso_enter(&s);
		tiso_post(d, slot, 0, NULL);
		tiso_publish(d, slot, 0, v, sizeof(v), NULL);
		tiso_send(d, slot, v, sizeof(v), NULL);
		if (tiso_poll(&s))
			tiso_catch_up(&s);
		const void *p = tiso_value(&s, 0, &len);
		if (p)
			touch(p, len);
		tiso_synchronize(d, 100000);
		tiso_exit(&s);
		tiso_run_pinned(d, slot, ran, &yes);
	}
	tiso_detach(&s);
}

static void bad(struct tiso_domain *d)
{
	struct tiso_handlers none = { 0 };
	struct tiso_slot s;
	struct tiso_domain other;
	int pipes[2];
	char big[4096] = { 0 };
	if (pipe(pipes))
		exit(1);
	struct { const char *what; int got, want; } c[] = {
		{ "open a pipe", tiso_open(pipes[0], &other), -EBADF },
		{ "attach", tiso_attach(d, 9, &none, &s), -ERANGE },
		{ "post slot", tiso_post(d, 9, 0, NULL), -ERANGE },
		{ "post kind", tiso_post(d, 0, 24, NULL), -ERANGE },
		{ "publish key", tiso_publish(d, 0, 16, big, 1, NULL), -ERANGE },
		{ "publish size", tiso_publish(d, 0, 0, big, sizeof(big), NULL), -EMSGSIZE },
		{ "send slot", tiso_send(d, 9, big, 1, NULL), -ERANGE },
		{ "send size", tiso_send(d, 0, big, sizeof(big), NULL), -EMSGSIZE },
		{ "pinned slot", tiso_run_pinned(d, 9, ran, NULL), -ERANGE },
	};
	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		if (c[i].got != c[i].want)
			printf("%s: %d instead of %d\n", c[i].what, c[i].got, c[i].want);
}

int main(int argc, char **argv)
{
	struct tiso_domain d;
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "size")) {
		printf("%zu %zu %zu %zu %zu %zu %zu\n", sizeof(struct tiso_header), sizeof(struct tiso_record),
		       offsetof(struct tiso_record, done), offsetof(struct tiso_record, head),
		       offsetof(struct tiso_record, post), offsetof(struct tiso_record, tail), offsetof(struct tiso_record, pin));
		return 0;
	}
	int err = tiso_open(3, &d);
	if (err)
		die("open", err);
	unsigned slot = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
	if (!strcmp(argv[1], "owner"))
		owner(&d, slot);
	else if (!strcmp(argv[1], "poster"))
		poster(&d, slot, strtoull(argv[3], NULL, 10));
	else if (!strcmp(argv[1], "hang"))
		hang(&d, slot);
	else if (!strcmp(argv[1], "grab"))
		grab(&d, slot);
	else if (!strcmp(argv[1], "use"))
		use(&d, slot);
	else if (!strcmp(argv[1], "nail"))
		tiso_run_pinned(&d, slot, stay, NULL);
	else if (!strcmp(argv[1], "bad"))
		bad(&d);
	else if (!strcmp(argv[1], "sync")) {
		for (unsigned i = 0; i < slot; i++)
			if ((err = tiso_synchronize(&d, 5000000000)))
				die("synchronize", err);
	} else if (!strcmp(argv[1], "pin")) {
		int yes = 0;
		err = tiso_run_pinned(&d, slot, ran, &yes);
		printf("%d %d\n", err, yes);
	}
	tiso_close(&d);
	return 0;
}
