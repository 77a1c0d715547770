/* SPDX-License-Identifier: ISC */
/*
 * epoll and a binary heap of timers.  Watches and timers are malloc'ed one by
 * one because their lifetimes are their peers'; a removed watch is kept until
 * the end of the turn, since its event may already have been fetched.
 */
#include "sys/loop.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64 };

struct loop_watch {
	struct loop *loop;
	struct loop_watch *next_dead;
	int fd;
	loop_fd_fn fn;
	void *ctx;
};

struct loop_timer {
	struct loop *loop;
	int64_t at;
	size_t slot;
	loop_timer_fn fn;
	void *ctx;
};

struct loop {
	int epoll;
	bool stopping;
	struct loop_watch *dead;
	struct loop_timer **heap;
	size_t timers;
	size_t cap;
	loop_timer_fn after;
	void *after_ctx;
};

static void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory", 0);
	return p;
}

static void
bury(struct loop *l)
{
	while (l->dead != NULL) {
		struct loop_watch *w = l->dead;
		l->dead = w->next_dead;
		free(w);
	}
}

static void
loop_release(void *ctx)
{
	struct loop *l = ctx;
	bury(l);
	for (size_t i = 0; i < l->timers; i++)
		free(l->heap[i]);
	free(l->heap);
	close(l->epoll);
}

struct loop *
loop_new(struct arena *a)
{
	struct loop *l = arena_one(a, struct loop);
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll < 0)
		fatal("epoll_create1", NULL);
	arena_hook(a, loop_release, l);
	return l;
}

static uint32_t
to_epoll(unsigned events)
{
	return (events & LOOP_READ ? EPOLLIN : 0) |
		(events & LOOP_WRITE ? EPOLLOUT : 0);
}

struct loop_watch *
loop_watch(struct loop *l, int fd, unsigned events, loop_fd_fn fn, void *ctx)
{
	struct loop_watch *w = must(calloc(1, sizeof *w));
	*w = (struct loop_watch){.loop = l, .fd = fd, .fn = fn, .ctx = ctx};
	struct epoll_event e = {.events = to_epoll(events), .data.ptr = w};
	if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
		fatal("epoll_ctl add", NULL);
	return w;
}

void
loop_watch_set(struct loop_watch *w, unsigned events)
{
	struct epoll_event e = {.events = to_epoll(events), .data.ptr = w};
	if (epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, w->fd, &e) != 0)
		fatal("epoll_ctl mod", NULL);
}

void
loop_unwatch(struct loop_watch *w)
{
	if (w->fn == NULL)
		return;
	epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->fn = NULL;
	w->next_dead = w->loop->dead;
	w->loop->dead = w;
}

static void
place(struct loop *l, size_t slot, struct loop_timer *t)
{
	l->heap[slot] = t;
	t->slot = slot;
}

static void
sift_up(struct loop *l, size_t slot, struct loop_timer *t)
{
	while (slot > 0 && l->heap[(slot - 1) / 2]->at > t->at) {
		place(l, slot, l->heap[(slot - 1) / 2]);
		slot = (slot - 1) / 2;
	}
	place(l, slot, t);
}

static void
sift_down(struct loop *l, size_t slot, struct loop_timer *t)
{
	for (;;) {
		size_t child = slot * 2 + 1;
		if (child >= l->timers)
			break;
		if (child + 1 < l->timers &&
			l->heap[child + 1]->at < l->heap[child]->at)
			child++;
		if (l->heap[child]->at >= t->at)
			break;
		place(l, slot, l->heap[child]);
		slot = child;
	}
	place(l, slot, t);
}

struct loop_timer *
loop_timer(struct loop *l, int64_t deadline, loop_timer_fn fn, void *ctx)
{
	struct loop_timer *t = must(calloc(1, sizeof *t));
	*t = (struct loop_timer){
		.loop = l, .at = deadline, .fn = fn, .ctx = ctx};
	if (l->timers == l->cap) {
		l->cap = l->cap == 0 ? 64 : l->cap * 2;
		l->heap = must(realloc(l->heap, l->cap * sizeof *l->heap));
	}
	sift_up(l, l->timers++, t);
	return t;
}

static void
unheap(struct loop_timer *t)
{
	struct loop *l = t->loop;
	size_t slot = t->slot;
	struct loop_timer *last = l->heap[--l->timers];
	if (last == t)
		return;
	if (slot > 0 && l->heap[(slot - 1) / 2]->at > last->at)
		sift_up(l, slot, last);
	else
		sift_down(l, slot, last);
}

void
loop_untimer(struct loop_timer *t)
{
	if (t == NULL)
		return;
	unheap(t);
	free(t);
}

void
loop_after(struct loop *l, loop_timer_fn fn, void *ctx)
{
	l->after = fn;
	l->after_ctx = ctx;
}

static bool
run_timers(struct loop *l)
{
	bool any = false;
	int64_t now = clock_ms();
	while (l->timers > 0 && l->heap[0]->at <= now) {
		struct loop_timer *t = l->heap[0];
		struct loop_timer due = *t;
		unheap(t);
		free(t);
		due.fn(due.ctx);
		any = true;
	}
	return any;
}

static unsigned
from_epoll(uint32_t events)
{
	unsigned out = 0;
	if (events & EPOLLIN)
		out |= LOOP_READ;
	if (events & EPOLLOUT)
		out |= LOOP_WRITE;
	if (events & (EPOLLHUP | EPOLLERR))
		out |= LOOP_HANGUP;
	return out;
}

static int
patience(const struct loop *l, int ms)
{
	if (l->timers == 0)
		return ms;
	int left = clock_left(l->heap[0]->at);
	return ms >= 0 && (left < 0 || ms < left) ? ms : left;
}

void
loop_turn(struct loop *l, int ms)
{
	struct epoll_event e[BATCH];
	int n = epoll_wait(l->epoll, e, BATCH, patience(l, ms));
	if (n < 0 && errno != EINTR)
		fatal("epoll_wait", NULL);
	for (int i = 0; i < n; i++) {
		struct loop_watch *w = e[i].data.ptr;
		if (w->fn != NULL)
			w->fn(w->ctx, w->fd, from_epoll(e[i].events));
	}
	bool timed = run_timers(l);
	if ((n > 0 || timed) && l->after != NULL)
		l->after(l->after_ctx);
	bury(l);
}

void
loop_run(struct loop *l)
{
	l->stopping = false;
	while (!l->stopping)
		loop_turn(l, -1);
}

void
loop_stop(struct loop *l)
{
	l->stopping = true;
}
