/* SPDX-License-Identifier: ISC */
/*
 * Recipients become final recipients: auth knows aliases, users and domains,
 * the queue only remembers what it said.  Asked once per recipient, at its
 * first attempt; a recipient auth cannot judge now is tried again later.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum { AWAY_MS = 500, NUMBER_SHIFT = 20 };

struct routing {
	struct queue *queue;
	struct rcpt *rcpt;
};

static void ask(struct routing *t);

static void
ask_again(void *ctx)
{
	ask(ctx);
}

static bool
is_route(const struct msg_route_result *m)
{
	size_t n = m->agent.n;
	if (n == 0 || m->address.n != n || m->user.n != n || m->home.n != n ||
		m->ids.n != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!str_eq(m->agent.v[i], STR("local")) &&
			!str_eq(m->agent.v[i], STR("remote")))
			return false;
	return true;
}

static void
set_final(struct rcpt *r, const struct msg_route_result *m, size_t i)
{
	struct arena *a = r->msg->arena;
	r->address = str_copy(a, m->address.v[i]);
	r->agent = str_copy(a, m->agent.v[i]);
	r->user = str_copy(a, m->user.v[i]);
	r->home = str_copy(a, m->home.v[i]);
	r->ids = str_copy(a, m->ids.v[i]);
	r->destination = str_skip(
		r->address, str_find_last(r->address, '@') + 1);
}

/* True when this message already goes to the same place: once is enough
 * (within one transaction, whatever aliases led there). */
static bool
is_double(struct rcpt *r)
{
	struct msg *m = r->msg;
	if (m->seen == NULL)
		m->seen = map_new(m->arena);
	struct str key = r->user.n > 0 ? r->user : r->address;
	struct rcpt *other = map_get(m->seen, key);
	map_set(m->seen, key, r);
	return other != NULL && other != r;
}

static void
go(struct queue *q, struct rcpt *r, enum op_kind kind)
{
	struct op o = op_of(kind, r);
	o.next = r->msg->arrival;
	batch_add(q, &o);
	if (is_double(r)) {
		log_info(str_from(r->msg->qid), "duplicate",
			LOG_STR("rcpt", r->address));
		outcome_finished(q, r, "duplicate", STR(""), STR(""));
		outcome_settled(q, r->msg);
		return;
	}
	r->msg->pending--;
	lane_add(q, r);
}

static void
expand(struct queue *q, struct rcpt *r, const struct msg_route_result *m)
{
	struct msg *msg = r->msg;
	set_final(r, m, 0);
	for (size_t i = 1; i < m->agent.n; i++) {
		int64_t number = ((int64_t)i << NUMBER_SHIFT) + r->number;
		struct rcpt *more = rcpt_new(q, msg, number);
		more->orcpt = r->orcpt;
		more->notify = r->notify;
		more->verify = r->verify;
		set_final(more, m, i);
		msg->pending++;
		go(q, more, OP_RCPT);
	}
	go(q, r, OP_ROUTE);
}

static void
answered(void *ctx, struct arena *a, struct message *m)
{
	struct routing *t = ctx;
	struct queue *q = t->queue;
	struct rcpt *r = t->rcpt;
	(void)a;
	if (m == NULL || m->kind != MSG_route_result) {
		loop_timer(q->loop, clock_in(AWAY_MS), ask_again, t);
		return;
	}
	struct status s = m->route_result.status;
	if (status_is_fine(s) && is_route(&m->route_result)) {
		expand(q, r, &m->route_result);
		dispatch(q);
	} else if (status_is_fine(s)) {
		outcome(q, r, STATUS(STATUS_LATER, 3, 5,
			"auth gave a malformed route"), STR(""));
	} else {
		outcome(q, r, s, STR(""));
	}
}

static void
ask(struct routing *t)
{
	struct message m = MESSAGE(route);
	m.route.address = t->rcpt->address;
	asker_ask(t->queue->auth, &m, answered, t);
}

void
route_rcpt(struct queue *q, struct rcpt *r)
{
	struct routing *t = arena_one(r->msg->arena, struct routing);
	*t = (struct routing){q, r};
	r->where = RCPT_ROUTING;
	r->msg->pending++;
	ask(t);
}
