/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * taskiso/deferral.h - reach a busy thread without interrupting it.
 *
 * The C side of the Go package github.com/taskiso/taskiso/deferral, in the same
 * shared memory. C11 with atomics, or C++17 and later, gcc or clang,
 * Linux, 64 bit, nothing to link. Define _GNU_SOURCE before the
 * first include of the program.
 *
 * One thread owns a slot. Its loop polls one word:
 *
 *	struct tiso_slot s;
 *	if (tiso_attach(&domain, 0, &handlers, &s) < 0) ...
 *	tiso_enter(&s);
 *	while (!stop) {
 *		if (tiso_poll(&s))
 *			tiso_catch_up(&s);
 *		work();
 *	}
 *	tiso_exit(&s);
 *
 * poll, catch_up, enter and exit allocate nothing, take no lock and make no
 * system call. They are for the owning thread only, not for signal handlers.
 * Everybody else may post, publish, send and synchronise at any time.
 *
 * Functions return 0 or more, or a negative errno:
 *	-EBADMSG   not a domain of this layout version, or corrupted
 *	-EBADF     the file is not sealed against shrinking
 *	-ERANGE    no such slot, kind or cell
 *	-EMSGSIZE  larger than a cell or message
 *	-EAGAIN    queue full
 *	-EBUSY     the slot has an owner; a lock is held for long; the slot is online
 *	-EUSERS    64 processes have joined already
 *	-ETIMEDOUT the slots did not catch up in time
 *
 * Layout and protocol: package deferral, layout.go and steps.go. E1..D1, P1..P3
 * and W1, W2 below are the steps that the explorer proves there.
 */
#ifndef TASKISO_DEFERRAL_H
#define TASKISO_DEFERRAL_H

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The same words in both languages: C++ finds std::atomic_load() and the like by their arguments. */
#ifdef __cplusplus
#include <atomic>
#define TISO_ATOMIC(type) std::atomic<type>
#define TISO_ORDER(order) std::memory_order_##order
#else
#include <stdatomic.h>
#define TISO_ATOMIC(type) _Atomic(type)
#define TISO_ORDER(order) memory_order_##order
#endif

#ifndef F_OFD_SETLK
#error "define _GNU_SOURCE before the first include"
#endif

#define TISO_MAGIC 0x4c41525245464544ULL /* "DEFERRAL" */
#define TISO_VERSION 1
#define TISO_MAX_KINDS 24
#define TISO_MAX_CELLS 16
#define TISO_MAX_PEERS 64

/* the state word */
#define TISO_STATE 3ULL
#define TISO_DETACHED 0ULL
#define TISO_OFFLINE 1ULL
#define TISO_ONLINE 2ULL
#define TISO_PIN 4ULL
#define TISO_SYNC 8ULL
#define TISO_CELLS 16ULL
#define TISO_QUEUE 32ULL
#define TISO_WORK 0xffffff38ULL

#define TISO_FRESH 64ULL /* in a cell's control word */

struct tiso_header {
	TISO_ATOMIC(uint64_t) magic;
	uint32_t version, slots, cells, cell_size, queue, message;
	uint64_t stride, size;
};

struct tiso_record {
	TISO_ATOMIC(uint64_t) state;
	char pad0[120];
	TISO_ATOMIC(uint64_t) done, head;
	char pad1[112];
	TISO_ATOMIC(uint64_t) post, tail;
	char pad2[112];
	TISO_ATOMIC(uint64_t) pin;
	char pad3[120];
};

static_assert(sizeof(struct tiso_header) == 48, "layout of the header");
static_assert(sizeof(struct tiso_record) == 512, "layout of a slot");

struct tiso_domain {
	unsigned char *base;
	int fd, peer;
	uint32_t slots, cells, cell_size, queue, message;
	uint64_t stride, size, mapped, cell_stride, cell_box, message_box;
};

/* What the owner does; any may be NULL. Each may be called once too often. */
struct tiso_handlers {
	void *arg;
	void (*kind)(void *arg, unsigned kind);
	void (*cell)(void *arg, unsigned key, const void *value, size_t len);
	void (*message)(void *arg, const void *message, size_t len);
};

struct tiso_slot {
	struct tiso_record *rec;
	uint64_t round, head, corrupt;
	struct tiso_domain *domain;
	struct tiso_handlers handlers;
	unsigned index;
	int fd, online;
};

/* One post; kept by the poster. */
struct tiso_ticket {
	struct tiso_record *rec;
	uint64_t mark, round;
};

/* ---------- memory ---------- */

static inline uint64_t tiso_pad(uint64_t n, uint64_t to) { return (n + to - 1) & ~(to - 1); }

static inline struct tiso_record *tiso_record(const struct tiso_domain *d, unsigned slot)
{
	return (struct tiso_record *)(d->base + 256 + slot * d->stride);
}

/* tiso_geometry accepts only a header that version 1 writes for its numbers. */
static inline int tiso_geometry(struct tiso_domain *d, const struct tiso_header *h)
{
	if (atomic_load(&h->magic) != TISO_MAGIC || h->version != TISO_VERSION)
		return -EBADMSG;
	d->slots = h->slots;
	d->cells = h->cells;
	d->cell_size = h->cell_size;
	d->queue = h->queue;
	d->message = h->message;
	if (d->slots < 1 || d->slots > 4096 || d->cells > TISO_MAX_CELLS || d->cell_size > 1 << 20 ||
	    d->queue > 1 << 16 || (d->queue & (d->queue - 1)) || d->message > 1 << 16)
		return -EBADMSG;
	d->cell_box = tiso_pad(16 + (uint64_t)d->cell_size, 64);
	d->cell_stride = 128 + tiso_pad(3 * d->cell_box, 128);
	d->message_box = tiso_pad(16 + (uint64_t)d->message, 64);
	d->stride = tiso_pad(512 + d->cells * d->cell_stride + d->queue * d->message_box, 128) | 128;
	d->size = 256 + d->slots * d->stride;
	if (d->stride != h->stride || d->size != h->size || d->size > d->mapped)
		return -EBADMSG;
	return 0;
}

/* Locks of one open file never conflict with each other: everybody has an own one. */
static inline int tiso_reopen(int fd)
{
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* tiso_byte is a lock, or the end of one, of one byte. C++17 has no designated initialisers. */
static inline struct flock tiso_byte(short type, off_t byte)
{
	struct flock l;

	memset(&l, 0, sizeof(l));
	l.l_type = type;
	l.l_whence = SEEK_SET;
	l.l_start = byte;
	l.l_len = 1;
	return l;
}

/* tiso_try_lock returns 1 if the byte is ours now, 0 if another living process has it. */
static inline int tiso_try_lock(int fd, off_t byte)
{
	struct flock l = tiso_byte(F_WRLCK, byte);
	if (!fcntl(fd, F_OFD_SETLK, &l))
		return 1;
	return errno == EAGAIN || errno == EACCES ? 0 : -errno;
}

static inline void tiso_unlock(int fd, off_t byte)
{
	struct flock l = tiso_byte(F_UNLCK, byte);
	fcntl(fd, F_OFD_SETLK, &l);
}

#define TISO_PEER_BYTE(peer) (65536 + (off_t)(peer))

/* What a dead peer held. The caller has its lock. */
static inline void tiso_release_peer(struct tiso_domain *d, int peer)
{
	uint64_t mine = (uint64_t)peer + 1;
	for (unsigned i = 0; i < d->slots; i++) {
		struct tiso_record *r = tiso_record(d, i);
		if (atomic_load(&r->post) == mine) {
			atomic_fetch_or(&r->state, TISO_CELLS | TISO_QUEUE);
			atomic_store(&r->post, 0);
		}
		if (atomic_load(&r->pin) == mine) {
			atomic_fetch_and(&r->state, ~TISO_PIN);
			atomic_store(&r->pin, 0);
		}
	}
}

/* Releases what the peer behind a lock word holds, if it is dead. */
static inline int tiso_release_dead(struct tiso_domain *d, uint64_t lock)
{
	if (lock > TISO_MAX_PEERS)
		return -EBADMSG;
	if (!lock || (int)lock - 1 == d->peer)
		return 0;
	int got = tiso_try_lock(d->fd, TISO_PEER_BYTE(lock - 1));
	if (got > 0) {
		tiso_release_peer(d, (int)lock - 1);
		tiso_unlock(d->fd, TISO_PEER_BYTE(lock - 1));
	}
	return got < 0 ? got : 0;
}

static inline int tiso_join(struct tiso_domain *d)
{
	for (int peer = 0; peer < TISO_MAX_PEERS; peer++) {
		int got = tiso_try_lock(d->fd, TISO_PEER_BYTE(peer));
		if (got < 0)
			return got;
		if (got) {
			d->peer = peer;
			tiso_release_peer(d, peer);
			return 0;
		}
	}
	return -EUSERS;
}

static inline void tiso_close(struct tiso_domain *d)
{
	munmap(d->base, d->mapped);
	close(d->fd);
}

/*
 * tiso_open joins the domain in a file that was inherited or received. The
 * caller keeps fd. One tiso_domain must not post from two threads at a time to
 * the same slot with publish, send or run_pinned; open one for each thread.
 */
static inline int tiso_open(int fd, struct tiso_domain *d)
{
	struct stat st;
	int need = F_SEAL_SHRINK | F_SEAL_GROW, err;
	if ((fcntl(fd, F_GET_SEALS) & need) != need || fcntl(fd, F_GET_SEALS) < 0)
		return -EBADF;
	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < 256)
		return -EBADMSG;
	memset(d, 0, sizeof(*d));
	d->mapped = (uint64_t)st.st_size;
	d->fd = tiso_reopen(fd);
	if (d->fd < 0)
		return d->fd;
	d->base = (unsigned char *)mmap(NULL, d->mapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, d->fd, 0);
	if (d->base == MAP_FAILED) {
		err = -errno;
		close(d->fd);
		return err;
	}
	err = tiso_geometry(d, (const struct tiso_header *)d->base);
	if (!err)
		err = tiso_join(d);
	if (err)
		tiso_close(d);
	return err;
}

/* ---------- cells and queue ---------- */

static inline unsigned char *tiso_cell(const struct tiso_domain *d, unsigned slot, unsigned key)
{
	return d->base + 256 + slot * d->stride + 512 + key * d->cell_stride;
}

static inline unsigned char *tiso_message(const struct tiso_domain *d, unsigned slot, uint64_t i)
{
	return tiso_cell(d, slot, d->cells) + (i & (d->queue - 1)) * d->message_box;
}

static inline void tiso_put(unsigned char *box, const void *v, size_t len)
{
	uint32_t stored = (uint32_t)len + 1;
	memcpy(box + 16, v, len);
	memcpy(box, &stored, 4);
}

/* tiso_get returns the length, or -1 if there is none or it cannot be true. */
static inline int64_t tiso_get(const unsigned char *box, uint32_t most)
{
	uint32_t stored = *(volatile const uint32_t *)box;
	return stored == 0 || stored - 1 > most ? -1 : (int64_t)stored - 1;
}

/* front, middle and back of a control word are 0, 1 and 2 in some order */
static inline int tiso_roles(uint64_t ctl, unsigned *front, unsigned *middle, unsigned *back)
{
	*front = ctl & 3;
	*middle = ctl >> 2 & 3;
	*back = ctl >> 4 & 3;
	return ctl >> 7 == 0 && (1u << *front | 1u << *middle | 1u << *back) == 7;
}

static inline uint64_t tiso_compose(unsigned front, unsigned middle, unsigned back)
{
	return front | middle << 2 | back << 4;
}

/*
 * tiso_value returns the value of a cell as of the last catch-up, without
 * copying it, or NULL. It is valid until the next catch-up.
 */
static inline const void *tiso_value(struct tiso_slot *s, unsigned key, size_t *len)
{
	unsigned front, middle, back;
	struct tiso_domain *d = s->domain;
	if (key >= d->cells)
		return NULL;
	unsigned char *cell = tiso_cell(d, s->index, key);
	if (!tiso_roles(atomic_load((TISO_ATOMIC(uint64_t) *)cell), &front, &middle, &back)) {
		s->corrupt++;
		return NULL;
	}
	unsigned char *box = cell + 128 + front * d->cell_box;
	int64_t n = tiso_get(box, d->cell_size);
	if (n < 0)
		return NULL;
	*len = (size_t)n;
	return box + 16;
}

static inline int tiso_take(unsigned char *cell)
{
	unsigned front, middle, back;
	TISO_ATOMIC(uint64_t) *ctl = (TISO_ATOMIC(uint64_t) *)cell;
	uint64_t w = atomic_load(ctl);
	do {
		if (!tiso_roles(w, &front, &middle, &back) || !(w & TISO_FRESH))
			return 0;
	} while (!atomic_compare_exchange_weak(ctl, &w, tiso_compose(middle, front, back)));
	return 1;
}

static inline void tiso_take_cells(struct tiso_slot *s)
{
	for (unsigned key = 0; key < s->domain->cells; key++) {
		size_t len;
		const void *v;
		if (!tiso_take(tiso_cell(s->domain, s->index, key)) || !s->handlers.cell)
			continue;
		v = tiso_value(s, key, &len);
		if (v)
			s->handlers.cell(s->handlers.arg, key, v, len);
	}
}

static inline void tiso_receive(struct tiso_slot *s)
{
	struct tiso_domain *d = s->domain;
	uint64_t tail = atomic_load(&s->rec->tail);
	if (tail - s->head > d->queue) {
		s->corrupt++;
		s->head = tail;
	}
	for (; s->head != tail; s->head++) {
		unsigned char *box = tiso_message(d, s->index, s->head);
		int64_t n = tiso_get(box, d->message);
		if (n < 0)
			s->corrupt++;
		else if (s->handlers.message)
			s->handlers.message(s->handlers.arg, box + 16, (size_t)n);
	}
	atomic_store(&s->rec->head, s->head);
}

/* ---------- the owner ---------- */

static inline uint64_t tiso_round(uint64_t word, uint64_t recorded)
{
	return recorded + (uint32_t)((uint32_t)(word >> 32) - (uint32_t)recorded);
}

/* Changes the state of a slot whose lock the caller holds. */
static inline void tiso_take_over(struct tiso_record *r, uint64_t state)
{
	uint64_t w = atomic_load(&r->state), next;
	do {
		next = (w & ~TISO_STATE) | state;
		if ((uint32_t)(w >> 32) != (uint32_t)atomic_load(&r->done))
			next |= TISO_WORK;
	} while (!atomic_compare_exchange_weak(&r->state, &w, next));
}

/* tiso_attach makes the calling thread the owner of a slot, offline at first. */
static inline int tiso_attach(struct tiso_domain *d, unsigned slot, const struct tiso_handlers *h, struct tiso_slot *s)
{
	int got = 0;
	struct timespec ms = { 0, 1000000 };
	if (slot >= d->slots)
		return -ERANGE;
	memset(s, 0, sizeof(*s));
	s->fd = tiso_reopen(d->fd);
	if (s->fd < 0)
		return s->fd;
	for (int i = 0; i < 20 && !(got = tiso_try_lock(s->fd, slot)); i++)
		nanosleep(&ms, NULL); /* somebody may be looking whether the last owner lives */
	if (got <= 0) {
		close(s->fd);
		return got ? got : -EBUSY;
	}
	s->rec = tiso_record(d, slot);
	s->domain = d;
	s->index = slot;
	s->handlers = *h;
	tiso_take_over(s->rec, TISO_OFFLINE);
	s->round = tiso_round(atomic_load(&s->rec->state), atomic_load(&s->rec->done));
	s->head = atomic_load(&s->rec->head);
	return 0;
}

static inline void tiso_serve(struct tiso_slot *s, uint64_t work)
{
	for (uint32_t kinds = (uint32_t)work >> 8; kinds && s->handlers.kind; kinds &= kinds - 1)
		s->handlers.kind(s->handlers.arg, (unsigned)__builtin_ctz(kinds));
	if (work & TISO_CELLS)
		tiso_take_cells(s);
	if (work & TISO_QUEUE)
		tiso_receive(s);
	atomic_store_explicit(&s->rec->done, s->round, TISO_ORDER(release)); /* C3 */
}

/* tiso_poll is one load. Ordering comes with the exchange in tiso_catch_up. */
static inline int tiso_poll(const struct tiso_slot *s)
{
	return (atomic_load_explicit(&s->rec->state, TISO_ORDER(relaxed)) & TISO_WORK) != 0;
}

/* tiso_catch_up does what was posted, then records it; nothing while offline. */
static inline void tiso_catch_up(struct tiso_slot *s)
{
	if (!s->online)
		return;
	s->round++;
	tiso_serve(s, atomic_exchange(&s->rec->state, TISO_ONLINE | s->round << 32) & TISO_WORK); /* C1, C2 */
}

/*
 * tiso_enter waits only while somebody acts for the slot (run_pinned), and makes
 * a system call only when that takes long, to see whether that thread is dead.
 */
static inline void tiso_enter(struct tiso_slot *s)
{
	uint64_t w = atomic_load(&s->rec->state), next; /* E1 */
	if (s->online)
		return;
	do {
		for (unsigned wait = 1; w & TISO_PIN; wait++) {
			if (wait % (1u << 20) == 0)
				tiso_release_dead(s->domain, atomic_load(&s->rec->pin));
			w = atomic_load(&s->rec->state);
		}
		next = s->round + ((w & TISO_WORK) != 0);
	} while (!atomic_compare_exchange_weak(&s->rec->state, &w, TISO_ONLINE | next << 32)); /* E2 */
	s->online = 1;
	if (w & TISO_WORK) {
		s->round = next;
		tiso_serve(s, w & TISO_WORK);
	}
}

static inline void tiso_leave(struct tiso_slot *s, uint64_t state)
{
	while (s->online) {
		uint64_t w = TISO_ONLINE | s->round << 32;
		if (atomic_compare_exchange_strong(&s->rec->state, &w, state | s->round << 32)) /* X1, D1 */
			s->online = 0;
		else
			tiso_catch_up(s);
	}
}

/* tiso_exit does what was posted, then promises not to use shared data. */
static inline void tiso_exit(struct tiso_slot *s) { tiso_leave(s, TISO_OFFLINE); }

static inline void tiso_detach(struct tiso_slot *s)
{
	if (s->online)
		tiso_leave(s, TISO_DETACHED);
	else
		atomic_fetch_and(&s->rec->state, ~TISO_STATE);
	close(s->fd);
}

/* ---------- posters ---------- */

static inline struct tiso_ticket tiso_mark(struct tiso_record *r, uint64_t bits)
{
	struct tiso_ticket t = { r, 0, 0 };
	uint64_t before;
	do {
		before = atomic_load(&r->done);             /* P1 */
		t.mark = atomic_fetch_or(&r->state, bits);  /* P2 */
	} while (atomic_load(&r->done) - before >= 1ULL << 31); /* P3 */
	t.round = tiso_round(t.mark, before);
	return t;
}

/* tiso_seen: the owner has done the work. */
static inline int tiso_seen(const struct tiso_ticket *t)
{
	return atomic_load(&t->rec->done) > t->round; /* W1 */
}

/* tiso_done: it has, or it was or is away and will before it uses shared data. */
static inline int tiso_done(const struct tiso_ticket *t)
{
	return (t->mark & TISO_STATE) != TISO_ONLINE || tiso_seen(t) ||
	       (atomic_load(&t->rec->state) & TISO_STATE) != TISO_ONLINE; /* W2 */
}

/* tiso_post asks for work of one kind. ticket may be NULL, here and below. */
static inline int tiso_post(struct tiso_domain *d, unsigned slot, unsigned kind, struct tiso_ticket *ticket)
{
	if (slot >= d->slots || kind >= TISO_MAX_KINDS)
		return -ERANGE;
	struct tiso_ticket t = tiso_mark(tiso_record(d, slot), 256ULL << kind);
	if (ticket)
		*ticket = t;
	return 0;
}

static inline int64_t tiso_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline int tiso_lock(struct tiso_domain *d, TISO_ATOMIC(uint64_t) *word)
{
	int64_t start = 0;
	for (unsigned tries = 1;; tries++) {
		uint64_t none = 0;
		if (atomic_compare_exchange_strong(word, &none, (uint64_t)d->peer + 1))
			return 0;
		sched_yield();
		if (tries % 1024)
			continue;
		int err = tiso_release_dead(d, none);
		if (err)
			return err;
		if (!start)
			start = tiso_now();
		else if (tiso_now() - start > 100000000)
			return -EBUSY;
	}
}

/* tiso_publish gives a slot a new value of a cell. */
static inline int tiso_publish(struct tiso_domain *d, unsigned slot, unsigned key, const void *value, size_t len, struct tiso_ticket *ticket)
{
	unsigned front, middle, back;
	if (slot >= d->slots || key >= d->cells)
		return -ERANGE;
	if (len > d->cell_size)
		return -EMSGSIZE;
	struct tiso_record *r = tiso_record(d, slot);
	int err = tiso_lock(d, &r->post);
	if (err)
		return err;
	unsigned char *cell = tiso_cell(d, slot, key);
	TISO_ATOMIC(uint64_t) *ctl = (TISO_ATOMIC(uint64_t) *)cell;
	uint64_t w = atomic_load(ctl);
	if (!tiso_roles(w, &front, &middle, &back)) {
		atomic_store(&r->post, 0);
		return -EBADMSG;
	}
	tiso_put(cell + 128 + back * d->cell_box, value, len);
	do
		tiso_roles(w, &front, &middle, &back);
	while (!atomic_compare_exchange_weak(ctl, &w, tiso_compose(front, back, middle) | TISO_FRESH));
	struct tiso_ticket t = tiso_mark(r, TISO_CELLS);
	if (ticket)
		*ticket = t;
	atomic_store(&r->post, 0);
	return 0;
}

/* tiso_send appends a message to a slot's queue, or returns -EAGAIN. */
static inline int tiso_send(struct tiso_domain *d, unsigned slot, const void *message, size_t len, struct tiso_ticket *ticket)
{
	if (slot >= d->slots || !d->queue)
		return -ERANGE;
	if (len > d->message)
		return -EMSGSIZE;
	struct tiso_record *r = tiso_record(d, slot);
	int err = tiso_lock(d, &r->post);
	if (err)
		return err;
	uint64_t tail = atomic_load(&r->tail), waiting = tail - atomic_load(&r->head);
	if (waiting >= d->queue) {
		atomic_store(&r->post, 0);
		return waiting == d->queue ? -EAGAIN : -EBADMSG;
	}
	tiso_put(tiso_message(d, slot, tail), message, len);
	atomic_store(&r->tail, tail + 1);
	struct tiso_ticket t = tiso_mark(r, TISO_QUEUE);
	if (ticket)
		*ticket = t;
	atomic_store(&r->post, 0);
	return 0;
}

/* tiso_wait waits until a ticket is done; a dead owner's slot is released. */
static inline int tiso_wait(struct tiso_domain *d, const struct tiso_ticket *t, int64_t timeout_ns)
{
	int64_t start = 0, checked = 0;
	unsigned slot = (unsigned)(((unsigned char *)t->rec - d->base - 256) / d->stride);
	for (unsigned tries = 0; !tiso_done(t); tries++) {
		if (tries < 1000)
			continue;
		sched_yield();
		int64_t now = tiso_now();
		if (!start)
			start = checked = now;
		if (now - start > timeout_ns)
			return -ETIMEDOUT;
		if (now - checked < 20000000)
			continue;
		checked = now;
		if (tiso_try_lock(d->fd, slot) > 0) {
			tiso_take_over(t->rec, TISO_DETACHED);
			tiso_unlock(d->fd, slot);
		}
	}
	return 0;
}

/*
 * tiso_synchronize waits until every slot has caught up or is away: what the
 * caller made unreachable before, no slot uses afterwards.
 */
static inline int tiso_synchronize(struct tiso_domain *d, int64_t timeout_ns)
{
	uint64_t online[4096 / 64] = { 0 };
	int64_t start = 0;
	for (unsigned i = 0; i < d->slots; i++) { /* ask all of them first */
		uint64_t w = atomic_fetch_or(&tiso_record(d, i)->state, TISO_SYNC);
		online[i / 64] |= (uint64_t)((w & TISO_STATE) == TISO_ONLINE) << i % 64;
	}
	for (unsigned i = 0; i < d->slots; i++) {
		if (!(online[i / 64] >> i % 64 & 1))
			continue;
		struct tiso_ticket t = tiso_mark(tiso_record(d, i), TISO_SYNC);
		if (!start)
			start = tiso_now();
		int err = tiso_wait(d, &t, timeout_ns - (tiso_now() - start));
		if (err)
			return err;
	}
	return 0;
}

/* tiso_run_pinned calls f for a slot that is away; its owner cannot enter meanwhile. */
static inline int tiso_run_pinned(struct tiso_domain *d, unsigned slot, void (*f)(void *), void *arg)
{
	if (slot >= d->slots)
		return -ERANGE;
	struct tiso_record *r = tiso_record(d, slot);
	int err = tiso_lock(d, &r->pin);
	if (err)
		return err;
	uint64_t w = atomic_load(&r->state); /* N1 */
	do {
		if ((w & TISO_STATE) == TISO_ONLINE || (w & TISO_PIN)) {
			atomic_store(&r->pin, 0);
			return -EBUSY;
		}
	} while (!atomic_compare_exchange_weak(&r->state, &w, w | TISO_PIN)); /* N2 */
	f(arg);
	atomic_fetch_and(&r->state, ~TISO_PIN); /* N3 */
	atomic_store(&r->pin, 0);
	return 0;
}

#endif
