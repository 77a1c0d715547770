/* SPDX-License-Identifier: ISC */
/*
 * Who is next.  Lanes that could use an agent take turns; within a lane
 * messages take turns, a job's worth of recipients each, so that one recipient
 * is never stuck behind ten thousand.
 *
 * A remote lane begins with a few connections and adds one per round of
 * successes.  When the other side refuses one while it serves others, that
 * number is its ceiling: it is tried again after a minute, and after twice as
 * long each time that it still is one.  When nobody is served the host is
 * down: everything in the lane goes back to its row until one message probes.
 * What was learned is a row of its own and survives a restart.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIRST_LIMIT = 5, SHARED_FROM = 5, HOLD_FIRST = 60, HOLD_MOST = 3600,
	KEY_MOST = 700, REPLY_MOST = 500 };

static struct str
destination_of(const struct lane *l)
{
	return str_skip(l->key, sizeof "remote");
}

/* --------------------------------------------------------------- memory */

static void
remember_reply(struct lane *l, struct status s)
{
	s.text = str_head(s.text, REPLY_MOST);
	char *copy = malloc(s.text.n + 1);
	if (copy == NULL)
		fatal("out of memory", 0);
	memcpy(copy, s.text.p, s.text.n);
	free(l->reply_text);
	l->reply_text = copy;
	s.text.p = copy;
	l->reply = s;
}

static void
recall(struct queue *q, struct lane *l)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_DESTINATION);
	struct status reply;
	table_bind_text(s, 1, destination_of(l));
	if (table_step(q->reader, s)) {
		l->limit = sqlite3_column_double(s, 0);
		l->ceiling = sqlite3_column_double(s, 1);
		l->ceiling_until = sqlite3_column_int64(s, 2);
		l->ceiling_hold = sqlite3_column_int64(s, 3);
		l->failures = sqlite3_column_int(s, 4);
		l->parked_until = sqlite3_column_int64(s, 5);
		l->horizon = sqlite3_column_int64(s, 6);
		struct arena *a = arena_new("reply");
		if (status_parse(table_text(a, s, 7), &reply))
			remember_reply(l, reply);
		arena_free(a);
	}
	sqlite3_reset(s);
	if (!(l->limit >= 1 && l->limit <= 1000))
		l->limit = FIRST_LIMIT;
	/* Set back, the clock would keep it parked for a year. */
	if (l->parked_until > clock_wall() + q->conf->queue.retry_max * 2)
		l->parked_until = 0;
}

/* The administrator's word on how fast, not what was learned. */
static int64_t
rate_of(const struct queue *q, struct str destination)
{
	const struct str_list *rates = &q->conf->queue.rates;
	int64_t others = 0;
	for (size_t i = 0; i < rates->n; i++) {
		struct str rest = rates->v[i], domain;
		uint64_t n = 0;
		str_word(&rest, &domain);
		str_number(str_trim(rest), INT64_MAX, &n);
		if (str_eq_nocase(domain, destination))
			return (int64_t)n;
		if (str_eq(domain, STR("*")))
			others = (int64_t)n;
	}
	return others;
}

/* One block: there may be ten thousand of them. */
static struct lane *
lane_new(struct queue *q, struct str key, bool local)
{
	struct lane *l = calloc(1, sizeof *l + key.n);
	if (l == NULL)
		fatal("out of memory", 0);
	memcpy(l->key_text, key.p, key.n);
	l->key = str_of(l->key_text, key.n);
	l->queue = q;
	l->local = local;
	l->moved = clock_ms();
	l->reply = STATUS(STATUS_LATER, 4, 1, "the host does not answer");
	list_init(&l->works);
	list_init(&l->of_provider);
	list_init(&l->of_blocked);
	list_add(&q->lane_list, &l->of_queue);
	map_set(q->lanes, l->key, l);
	if (!local) {
		recall(q, l);
		l->rate = rate_of(q, destination_of(l));
	}
	return l;
}

static void
lane_free(struct queue *q, struct lane *l)
{
	list_remove(&l->of_queue);
	list_remove(&l->of_ready);
	list_remove(&l->of_hungry);
	provider_leave(q, l);
	loop_untimer(l->pause);
	list_each(&q->agent_list, at, save) {
		struct agent *g = list_entry(at, struct agent, of_queue);
		if (g->lane == l)
			g->lane = NULL; /* idle, and once connected there */
	}
	map_remove(q->lanes, l->key);
	arena_free(l->arena);
	free(l->reply_text);
	free(l);
}

static struct str
key_of(const struct queue *q, const struct way *w, char key[KEY_MOST])
{
	int n;
	if (str_eq(w->agent, STR("pipe"))) {
		/* A command's mail goes one after the other. */
		char way[3 * sizeof(uint64_t)];
		const uint64_t parts[] = {map_hash(w->user),
			map_hash(w->home), map_hash(w->destination)};
		memcpy(way, parts, sizeof way);
		n = snprintf(key, KEY_MOST, "pipe %.*s %016llx",
			STR_ARG(w->ids), (unsigned long long)map_hash(
				str_of(way, sizeof way)));
	} else if (str_eq(w->agent, STR("local"))) {
		/* Ids of their own mean an agent of their own. */
		uint64_t slots = str_eq(w->ids, STR("-"))
			? (uint64_t)q->conf->queue.local_agents : 1;
		n = snprintf(key, KEY_MOST, "local %.*s %llu",
			STR_ARG(w->ids),
			(unsigned long long)(map_hash(w->user) % slots));
	} else {
		n = snprintf(key, KEY_MOST, "remote %.*s",
			STR_ARG(w->destination));
	}
	return str_of(key, (size_t)n < KEY_MOST ? (size_t)n : KEY_MOST - 1);
}

struct lane *
lane_find(const struct queue *q, const struct way *w)
{
	char key[KEY_MOST];
	return map_get(q->lanes, key_of(q, w, key));
}

struct lane *
lane_for(struct queue *q, const struct way *w)
{
	char key[KEY_MOST];
	struct str name = key_of(q, w, key);
	struct lane *l = map_get(q->lanes, name);
	if (l != NULL)
		return l;
	l = lane_new(q, name, !str_eq(w->agent, STR("remote")));
	l->pipe = str_eq(w->agent, STR("pipe"));
	if (l->local) {
		l->arena = arena_new("lane");
		l->ids = str_copy(l->arena, w->ids);
		l->user = str_copy(l->arena, w->user);
		l->home = str_copy(l->arena, w->home);
	}
	return l;
}

struct lane *
lane_of(struct queue *q, const struct rcpt *r)
{
	struct way w = {r->agent, r->user, r->home, r->ids, r->destination};
	return lane_for(q, &w);
}

/* ---------------------------------------------------------------- works */

static struct str
lane_key(struct lane *const *l)
{
	return str_of(l, sizeof *l);
}

static struct work *
find_work(const struct lane *lane, const struct msg *m)
{
	struct lane *l = (struct lane *)(uintptr_t)lane;
	if (m == NULL)
		return NULL;
	if (m->work != NULL && m->work->lane == l)
		return m->work;
	return m->works == NULL ? NULL : map_get(m->works, lane_key(&l));
}

static struct work *
work_of(struct lane *l, struct msg *m)
{
	struct work *w = find_work(l, m);
	if (w != NULL)
		return w;
	w = arena_one(m->arena, struct work);
	w->lane = l;
	w->msg = m;
	list_init(&w->rcpts);
	if (m->work == NULL) {
		m->work = w;
		return w;
	}
	if (m->works == NULL)
		m->works = map_new(m->arena);
	map_set(m->works, lane_key(&l), w);
	return w;
}

static void
shrink(struct work *w)
{
	w->lane->waiting--;
	if (--w->count == 0)
		list_remove(&w->of_lane);
}

bool
lane_has_room(struct queue *q, const struct lane *l, const struct msg *m)
{
	const struct work *w = find_work(l, m);
	size_t waiting = queue_waiting(q);
	if ((w != NULL && w->count >= WORK_MOST) ||
		q->in[RCPT_LEAVING] >= WINDOW)
		return false;
	return waiting < WINDOW ? l->waiting < LANE_MOST
				: l->waiting < LANE_LEAST &&
			waiting < 2 * WINDOW;
}

bool
lane_fits(struct queue *q, const struct lane *l, const struct msg *m)
{
	const struct work *w = find_work(l, m);
	return (w == NULL || w->count < WORK_MOST) &&
		l->waiting < 2 * LANE_MOST && queue_waiting(q) < 2 * WINDOW;
}

static void
is_hungry(struct queue *q, struct lane *l)
{
	if (!l->local) {
		list_remove(&l->of_hungry);
		list_add(&q->hungry, &l->of_hungry);
		load_soon(q);
		return;
	}
	l->more = false;
	if (l->stepped_over)
		load_again(q);
	l->stepped_over = false;
	load_soon(q);
}

void
lane_skip(struct queue *q, struct lane *l)
{
	if (l->more)
		return;
	l->more = true;
	l->refill_at = l->waiting / 2;
	/* Nothing of it will be taken that could remind us. */
	if (l->waiting == 0) {
		list_remove(&l->of_hungry);
		if (!l->local)
			list_add(&q->hungry, &l->of_hungry);
		q->blocked = true;
	}
}

void
lane_add(struct queue *q, struct rcpt *r)
{
	struct lane *l = lane_of(q, r);
	if (!l->local && l->parked_until > clock_wall()) {
		outcome_parked(q, r, l->reply, l->parked_until);
		return;
	}
	struct work *w = work_of(l, r->msg);
	if (!l->local)
		rcpt_recovered(q, r);
	rcpt_move(q, r, RCPT_QUEUED);
	list_add(&w->rcpts, &r->of_work);
	r->work = w;
	l->waiting++;
	if (w->count++ == 0)
		list_add(&l->works, &w->of_lane);
	lane_look(q, l);
}

void
lane_remove(struct queue *q, struct rcpt *r)
{
	struct lane *l = r->work->lane;
	list_remove(&r->of_work);
	shrink(r->work);
	lane_look(q, l);
}

static size_t
limit_of(const struct lane *l)
{
	return l->failures > 0 ? 1 : (size_t)l->limit;
}

/*
 * No message has a destination for itself: the last connection is for one that
 * has none yet, so that what comes behind a bulk need not wait until one of
 * the bulk's is free.  Of a few that would be too much.
 */
static bool
may_have_another(const struct work *w)
{
	const struct lane *l = w->lane;
	size_t limit = limit_of(l);
	return l->local || w->active == 0 || limit < SHARED_FROM ||
		l->active + 1 < limit;
}

struct work *
lane_next(const struct lane *l)
{
	for (const struct list *at = l->works.next; at != &l->works;
		at = at->next) {
		struct work *w = list_entry(at, struct work, of_lane);
		if (may_have_another(w))
			return w;
	}
	return NULL;
}

size_t
lane_take(struct queue *q, struct work *w, struct list *rcpts, size_t n)
{
	struct lane *l = w->lane;
	size_t taken = 0;
	for (; taken < n && w->count > 0; taken++) {
		struct rcpt *r = list_first(&w->rcpts, struct rcpt, of_work);
		list_remove(&r->of_work);
		list_add(rcpts, &r->of_work);
		shrink(w);
	}
	if (w->count > 0) {
		list_remove(&w->of_lane);
		list_add(&l->works, &w->of_lane);
	}
	l->moved = clock_ms();
	if (l->more && l->waiting <= l->refill_at)
		is_hungry(q, l);
	return taken;
}

/* ------------------------------------------------------------ the limit */

void
lane_look(struct queue *q, struct lane *l)
{
	bool ready = l->waiting > 0 && l->pause == NULL &&
		(l->local || l->active < limit_of(l)) && lane_next(l) != NULL;
	if (ready && !provider_has_room(l)) {
		provider_wait(l);
		ready = false;
	}
	enum ready kind = l->local ? READY_LOCAL
		: l->active == 0   ? READY_FIRST
				   : READY_MORE;
	if (!ready || kind != l->ready_as)
		list_remove(&l->of_ready);
	if (!ready)
		return;
	if (list_is_empty(&l->of_ready))
		list_add(&q->ready[kind], &l->of_ready);
	l->ready_as = kind;
	dispatch_soon(q);
}

/* Up to the ceiling at once, above it only when it has held long enough. */
static void
grow(const struct queue *q, struct lane *l)
{
	double most = (double)q->conf->queue.destination_concurrency;
	bool held = l->ceiling > 0 && clock_wall() < l->ceiling_until;
	if (held && l->ceiling < most)
		most = l->ceiling;
	double next = l->limit + 1 / l->limit;
	l->changed = l->changed || (size_t)next > (size_t)l->limit;
	if (next <= most)
		l->limit = next;
	else if (l->limit < most)
		l->limit = most;
}

void
lane_success(struct queue *q, struct lane *l)
{
	if (l->local)
		return;
	provider_success(l);
	if (l->failures == 0) {
		grow(q, l);
		lane_look(q, l);
		return;
	}
	/* Alive again: what was parked is due now. */
	log_info(LOG_NO_ID, "destination-up",
		LOG_STR("destination", destination_of(l)),
		LOG_NUM("failures", l->failures));
	l->failures = 0;
	l->parked_until = 0;
	l->changed = true;
	l->more = true;
	is_hungry(q, l);
	lane_look(q, l);
}

/* The active one that was refused is one too many. */
static void
lower(struct queue *q, struct lane *l)
{
	double bears = (double)(l->active - 1);
	int64_t now = clock_wall();
	bool again = l->ceiling > 0 && bears <= l->ceiling;
	l->ceiling_hold = !again ? HOLD_FIRST : l->ceiling_hold * 2;
	if (l->ceiling_hold > HOLD_MOST || l->ceiling_hold < HOLD_FIRST)
		l->ceiling_hold = HOLD_MOST;
	l->ceiling = bears;
	l->ceiling_until = now + l->ceiling_hold;
	if (bears < l->limit)
		l->limit = bears;
	l->changed = true;
	log_info(LOG_NO_ID, "destination-limit",
		LOG_STR("destination", destination_of(l)),
		LOG_NUM("limit", bears), LOG_NUM("for", l->ceiling_hold));
	lane_look(q, l);
}

void
lane_began(struct queue *q, struct work *w)
{
	struct lane *l = w->lane;
	w->active++;
	l->active++;
	provider_began(l);
	lane_look(q, l);
}

void
lane_ended(struct queue *q, struct work *w)
{
	struct lane *l = w->lane;
	w->active--;
	l->active--;
	provider_ended(l);
	lane_look(q, l);
}

bool
lane_failure(struct queue *q, struct lane *l, bool said)
{
	if (l->local || l->failures > 0)
		return false;
	if (said && provider_failure(q, l))
		return true;
	if (l->active < 2)
		return false;
	lower(q, l);
	return true;
}

static void
save(struct queue *q, struct lane *l)
{
	struct arena *a = arena_new("lane");
	struct op o = {.kind = OP_LANE, .destination = destination_of(l),
		.limit = l->limit, .ceiling = l->ceiling,
		.ceiling_until = l->ceiling_until,
		.ceiling_hold = l->ceiling_hold, .attempts = l->failures,
		.parked = l->parked_until, .next = l->horizon,
		.reply = status_format(a, l->reply), .attempted = clock_wall()};
	batch_add(q, &o);
	l->changed = false;
	arena_free(a);
}

void
lane_park(struct queue *q, struct lane *l, struct status s)
{
	struct list all;
	int64_t now = clock_wall();
	if (l->parked_until > now)
		return; /* one of several that were under way */
	remember_reply(l, s);
	/* What it refused while it went down says nothing of what it bears. */
	l->ceiling = 0;
	l->limit = FIRST_LIMIT;
	l->parked_until = now + outcome_next(q, l->failures++);
	if (l->parked_until > l->horizon)
		l->horizon = l->parked_until;
	log_info(LOG_NO_ID, "destination-down",
		LOG_STR("destination", destination_of(l)),
		LOG_STR("why", s.text), LOG_NUM("failures", l->failures),
		LOG_NUM("next", l->parked_until - now));
	save(q, l);
	list_init(&all);
	list_each(&l->works, at, next)
		lane_take(q, list_entry(at, struct work, of_lane), &all,
			SIZE_MAX);
	list_each(&all, at, save_) {
		list_remove(at);
		outcome_parked(q, list_entry(at, struct rcpt, of_work),
			l->reply, l->parked_until);
	}
	/* Its other rows are parked as they are read. */
	if (l->more)
		is_hungry(q, l);
	lane_look(q, l);
}

void
lane_wake(struct queue *q, struct str destination)
{
	struct way w = {.agent = STR("remote"), .destination = destination};
	struct lane *l = lane_for(q, &w);
	if (l->parked_until <= clock_wall())
		return;
	l->parked_until = 0;
	l->changed = true;
}

void
lane_sweep(struct queue *q)
{
	list_each(&q->lane_list, at, save_) {
		struct lane *l = list_entry(at, struct lane, of_queue);
		if (l->changed)
			save(q, l); /* and let it be committed first */
		else if (l->waiting == 0 && l->active == 0 && !l->more &&
			l->agent == NULL && !l->agent_asked &&
			l->pause == NULL)
			lane_free(q, l);
	}
}
