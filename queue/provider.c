/* SPDX-License-Identifier: ISC */
/*
 * Whoever serves the mail of many domains counts our connections together,
 * whatever domain they are for.  Lanes whose mail went to hosts of one name but
 * for its first label belong to one provider; when it refuses a connection
 * while it serves others of ours, that many less are the most for all of them
 * together, for a while that doubles each time it is met again.
 *
 * What a lane's provider is its first result tells; the limit is a row in the
 * table of destinations ("@name") and survives a restart.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { HOLD_FIRST = 60, HOLD_MOST = 3600, SERVED_MS = 60 * 1000 };

struct provider {
	struct queue *queue;
	struct loop_timer *opens; /* set while lanes wait: at until */
	struct list lanes;
	struct list blocked; /* lanes that wait for its limit alone */
	size_t active;
	int64_t served; /* boot clock: the last success; 0: none yet */
	int64_t ceiling, until, hold; /* wall; ceiling 0: none is known */
	struct str key; /* "@name" */
	char text[];
};

/* Hosts right below "co.uk" and the like have nothing in common. */
static bool
is_registry(struct str domain)
{
	struct str label;
	str_cut(&domain, '.', &label);
	return domain.n == 2 && label.n <= 3;
}

static struct str
name_of(struct str host)
{
	struct str rest = host, label;
	str_cut(&rest, '.', &label);
	bool address = host.n > 0 &&
		(host.p[0] == '[' || (host.p[0] >= '0' && host.p[0] <= '9'));
	return address || !str_has(rest, '.') || is_registry(rest) ? host
								  : rest;
}

static void
recall(struct queue *q, struct provider *p)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_DESTINATION);
	table_bind_text(s, 1, p->key);
	if (table_step(q->reader, s)) {
		p->ceiling = sqlite3_column_int64(s, 1);
		p->until = sqlite3_column_int64(s, 2);
		p->hold = sqlite3_column_int64(s, 3);
	}
	sqlite3_reset(s);
	/* Set back, the clock would keep the limit for a year. */
	if (p->ceiling < 0 || p->until > clock_wall() + HOLD_MOST)
		p->ceiling = 0;
}

static struct provider *
find(struct queue *q, struct str host)
{
	struct arena *a = arena_new("provider");
	struct str name = name_of(host);
	struct str key = str_printf(a, "@%.*s", STR_ARG(name));
	struct provider *p = map_get(q->providers, key);
	if (p == NULL) {
		p = calloc(1, sizeof *p + key.n);
		if (p == NULL)
			fatal("out of memory", 0);
		memcpy(p->text, key.p, key.n);
		p->key = str_of(p->text, key.n);
		p->queue = q;
		list_init(&p->lanes);
		list_init(&p->blocked);
		recall(q, p);
		map_set(q->providers, p->key, p);
	}
	arena_free(a);
	return p;
}

/* How many jobs more may go out. */
static size_t
room_of(const struct provider *p)
{
	if (p->ceiling == 0 || clock_wall() >= p->until)
		return SIZE_MAX;
	return (int64_t)p->active < p->ceiling
		? (size_t)p->ceiling - p->active : 0;
}

/* A place that is free is the next one's, which may belong to another
 * domain. */
static void
wake(struct provider *p)
{
	size_t room = room_of(p);
	while (room > 0 && !list_is_empty(&p->blocked)) {
		struct lane *next =
			list_first(&p->blocked, struct lane, of_blocked);
		list_remove(&next->of_blocked);
		lane_look(p->queue, next);
		room -= !list_is_empty(&next->of_ready);
	}
}

void
provider_leave(struct queue *q, struct lane *l)
{
	struct provider *p = l->provider;
	if (p == NULL)
		return;
	l->provider = NULL;
	p->active -= l->active;
	list_remove(&l->of_provider);
	list_remove(&l->of_blocked);
	if (!list_is_empty(&p->lanes)) {
		wake(p);
		return;
	}
	map_remove(q->providers, p->key);
	loop_untimer(p->opens);
	free(p);
}

void
provider_meet(struct queue *q, struct lane *l, struct str host)
{
	if (l->local || host.n == 0)
		return;
	struct provider *p = find(q, host);
	if (l->provider == p)
		return;
	provider_leave(q, l);
	list_add(&p->lanes, &l->of_provider);
	l->provider = p;
	p->active += l->active;
}

bool
provider_has_room(const struct lane *l)
{
	return l->provider == NULL || room_of(l->provider) > 0;
}

static void open_later(struct provider *p);

/* The limit may have been renewed meanwhile. */
static void
open_up(void *ctx)
{
	struct provider *p = ctx;
	p->opens = NULL;
	wake(p);
	if (!list_is_empty(&p->blocked))
		open_later(p);
}

static void
open_later(struct provider *p)
{
	int64_t seconds = p->until - clock_wall();
	if (p->opens == NULL)
		p->opens = loop_timer(p->queue->loop,
			clock_in(seconds > 0 ? seconds * 1000 : 0), open_up, p);
}

void
provider_wait(struct lane *l)
{
	if (!list_is_empty(&l->of_blocked))
		return;
	list_add(&l->provider->blocked, &l->of_blocked);
	open_later(l->provider);
}

void
provider_began(struct lane *l)
{
	if (l->provider != NULL)
		l->provider->active++;
}

void
provider_ended(struct lane *l)
{
	if (l->provider == NULL)
		return;
	l->provider->active--;
	wake(l->provider);
}

void
provider_success(struct lane *l)
{
	if (l->provider != NULL)
		l->provider->served = clock_ms();
}

/* Does it serve, as far as we know?  What it has just now may belong to lanes
 * that have no result yet. */
static bool
is_serving(const struct provider *p, const struct lane *l)
{
	if (l->active > 1 && p->active == l->active)
		return false; /* the lane's own matter */
	return p->lanes.next != p->lanes.prev && (p->active > l->active ||
		p->served == 0 || clock_ms() - p->served < SERVED_MS);
}

bool
provider_failure(struct queue *q, struct lane *l)
{
	struct provider *p = l->provider;
	int64_t now = clock_wall();
	if (p == NULL || !is_serving(p, l))
		return false;
	int64_t bears = p->active > 1 ? (int64_t)p->active - 1 : 1;
	bool again = p->ceiling > 0 && bears <= p->ceiling;
	p->hold = !again ? HOLD_FIRST : p->hold * 2;
	if (p->hold > HOLD_MOST || p->hold < HOLD_FIRST)
		p->hold = HOLD_MOST;
	p->ceiling = bears;
	p->until = now + p->hold;
	log_info(LOG_NO_ID, "provider-limit",
		LOG_STR("provider", str_skip(p->key, 1)),
		LOG_NUM("limit", bears), LOG_NUM("for", p->hold));
	struct op o = {.kind = OP_LANE, .destination = p->key,
		.limit = (double)bears, .ceiling = (double)bears,
		.ceiling_until = p->until, .ceiling_hold = p->hold,
		.attempted = now};
	batch_add(q, &o);
	lane_look(q, l);
	return true;
}
