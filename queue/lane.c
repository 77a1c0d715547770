/* SPDX-License-Identifier: ISC */
/*
 * Who is next.  Lanes take turns; within a lane messages take turns, a job's
 * worth of recipients each, so that one recipient is never stuck behind ten
 * thousand.
 *
 * A remote lane starts with a few connections, adds one per round of successes
 * and falls back to what the other side bears when it refuses one while it
 * serves others.  When nobody is served the host is down: everything in the
 * lane is parked, one message probes, and its success releases the rest.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

enum { FIRST_LIMIT = 5, RECENT_MS = 60000 };

static struct lane *
lane_new(struct queue *q, struct str key, const struct rcpt *r)
{
	struct arena *a = arena_new("lane");
	struct lane *l = arena_one(a, struct lane);
	l->arena = a;
	l->key = str_copy(a, key);
	l->local = str_eq(r->agent, STR("local"));
	l->ids = str_copy(a, r->ids);
	l->user = str_copy(a, r->user);
	l->home = str_copy(a, r->home);
	l->limit = FIRST_LIMIT;
	list_init(&l->works);
	list_add(&q->lane_list, &l->of_queue);
	map_set(q->lanes, l->key, l);
	return l;
}

struct lane *
lane_of(struct queue *q, const struct rcpt *r)
{
	char key[700];
	int n;
	if (str_eq(r->agent, STR("local"))) {
		/* Ids of their own mean an agent of their own. */
		uint64_t slots = str_eq(r->ids, STR("-"))
			? (uint64_t)q->conf->queue.local_agents : 1;
		n = snprintf(key, sizeof key, "local %.*s %llu",
			STR_ARG(r->ids), (unsigned long long)(
				map_hash(r->user) % slots));
	} else {
		n = snprintf(key, sizeof key, "remote %.*s",
			STR_ARG(r->destination));
	}
	size_t length = (size_t)n < sizeof key ? (size_t)n : sizeof key - 1;
	struct lane *l = map_get(q->lanes, str_of(key, length));
	return l != NULL ? l : lane_new(q, str_of(key, length), r);
}

static struct work *
work_of(struct lane *l, struct msg *m)
{
	struct work *w = m->work;
	if (w != NULL && w->lane == l && w->count > 0)
		return w;
	w = arena_one(m->arena, struct work);
	w->lane = l;
	list_init(&w->rcpts);
	list_add(&l->works, &w->of_lane);
	m->work = w;
	return w;
}

void
lane_add(struct queue *q, struct rcpt *r)
{
	struct lane *l = lane_of(q, r);
	struct work *w = work_of(l, r->msg);
	r->where = RCPT_QUEUED;
	r->msg->pending++;
	list_add(&w->rcpts, &r->of_work);
	r->work = w;
	w->count++;
	l->waiting++;
}

void
lane_remove(struct rcpt *r)
{
	struct work *w = r->work;
	list_remove(&r->of_work);
	w->lane->waiting--;
	if (--w->count == 0)
		list_remove(&w->of_lane);
}

size_t
lane_take(struct lane *l, struct list *rcpts, size_t n)
{
	struct work *w = list_first(&l->works, struct work, of_lane);
	size_t taken = 0;
	if (w == NULL)
		return 0;
	for (; taken < n && w->count > 0; taken++) {
		struct rcpt *r = list_first(&w->rcpts, struct rcpt, of_work);
		list_remove(&r->of_work);
		list_add(rcpts, &r->of_work);
		w->count--;
		l->waiting--;
	}
	list_remove(&w->of_lane);
	if (w->count > 0)
		list_add(&l->works, &w->of_lane);
	return taken;
}

void
lane_success(struct queue *q, struct lane *l)
{
	if (l->local)
		return;
	double most = (double)q->conf->queue.destination_concurrency;
	l->limit += 1 / l->limit;
	if (l->limit > most)
		l->limit = most;
	l->succeeded = clock_ms();
	if (l->failures == 0)
		return;
	/* Alive again: what was parked is due now. */
	l->failures = 0;
	struct op o = {.kind = OP_RELEASE, .next = clock_wall(),
		.destination = str_skip(l->key, 7)};
	batch_add(q, &o);
	q->load_cursor[0] = INT64_MIN;
	load_soon(q);
}

bool
lane_failure(struct queue *q, struct lane *l)
{
	(void)q;
	bool serves = l->active > 1 ||
		(l->succeeded > 0 && clock_ms() - l->succeeded < RECENT_MS);
	if (l->local || !serves) {
		l->failures++;
		return false;
	}
	double bears = l->active > 1 ? (double)(l->active - 1) : 1;
	if (bears < l->limit)
		l->limit = bears;
	return true;
}

void
lane_park(struct queue *q, struct lane *l, struct status s)
{
	struct list all;
	int64_t next = clock_wall() + outcome_next(q, l->failures - 1);
	list_init(&all);
	while (lane_take(l, &all, SIZE_MAX) > 0)
		;
	list_each(&all, at, save)
		outcome_parked(q, list_entry(at, struct rcpt, of_work), s,
			next);
}

void
lane_sweep(struct queue *q)
{
	list_each(&q->lane_list, at, save) {
		struct lane *l = list_entry(at, struct lane, of_queue);
		if (l->waiting > 0 || l->active > 0 || l->agent != NULL ||
			l->agent_asked || l->failures > 0 || (l->succeeded > 0 &&
				clock_ms() - l->succeeded < RECENT_MS))
			continue;
		list_remove(at);
		map_remove(q->lanes, l->key);
		arena_free(l->arena);
	}
}
