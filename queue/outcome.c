/* SPDX-License-Identifier: ISC */
/*
 * What a result means for its recipient: finished, tried again, or failed.
 * Failures of a message wait for the answers of its other recipients, so that
 * its sender gets one report and not ten.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>

enum { FAIR_ATTEMPTS = 3 };

/* Ten to twenty percent more, so that what failed together does not come back
 * together. */
static int64_t
with_jitter(int64_t seconds)
{
	return seconds + seconds / 10 + random() % (seconds / 10 + 1);
}

int64_t
outcome_next(const struct queue *q, int attempts)
{
	const struct conf_queue *c = &q->conf->queue;
	int64_t delay = 60;
	for (int i = 0; i <= attempts && delay < c->retry_max; i++) {
		if ((size_t)i < c->retry.n)
			clock_parse_duration(c->retry.v[i], &delay);
		else
			delay += delay / 2;
	}
	return with_jitter(delay < c->retry_max ? delay : c->retry_max);
}

/* When to report though others of the message are still under way. */
enum { FAILURES_MOST = WORK_MOST };

static bool
is_settled(const struct msg *m)
{
	return m->failed > 0 &&
		(m->pending == 0 || m->failed >= FAILURES_MOST);
}

/* Not at once: the next row that is read, or the next that an operator gives
 * up, may be of the same message. */
void
outcome_settled(struct queue *q, struct msg *m)
{
	if (is_settled(m) && list_is_empty(&m->of_settled))
		list_add(&q->settled, &m->of_settled);
}

void
outcome_report(struct queue *q)
{
	list_each(&q->settled, at, save) {
		struct msg *m = list_entry(at, struct msg, of_settled);
		if (batch_is_full(q))
			return;
		list_remove(at);
		if (is_settled(m))
			report_failures(q, m);
	}
}

/* Where it is waits for this change of its row, which is its last. */
static void
leave(struct queue *q, struct rcpt *r, struct op *o)
{
	list_remove(&r->of_work);
	rcpt_move(q, r, RCPT_LEAVING);
	o->forget = r;
	batch_add(q, o);
}

void
outcome_finished(struct queue *q, struct rcpt *r, const char *outcome_,
	const struct result *x)
{
	struct arena *a = arena_new("reply");
	struct op o = op_of(OP_FINISH, r);
	o.lazy = r->where == RCPT_DELIVERED;
	o.outcome = str_from(outcome_);
	o.attempted = clock_wall();
	o.reply = x->status.class == 0 ? STR("")
				       : status_format(a, x->status);
	o.remote = x->remote;
	o.took = x->took;
	o.detail = x->detail;
	leave(q, r, &o);
	arena_free(a);
}

/* Whom it was for, when it is not as it was written; the last of the fields,
 * for it may be none. */
static struct log_field
first_for(const struct rcpt *r)
{
	struct str type, first = r->orcpt;
	str_cut(&first, ';', &type);
	return LOG_STR(first.n > 0 && !str_eq(first, r->address) ? "orig"
			: NULL, first);
}

void
outcome_way(struct queue *q, struct rcpt *r)
{
	struct op o = op_of(OP_ROUTE, r);
	if (r->unwritten)
		batch_add(q, &o);
	r->unwritten = false;
}

void
outcome_held(struct queue *q, struct rcpt *r, struct str reason)
{
	struct op o = op_of(OP_STATE, r);
	log_warn(str_from(r->msg->qid), "held", LOG_STR("rcpt", r->address),
		LOG_STR("why", reason), first_for(r));
	outcome_way(q, r);
	o.state = ROW_HELD;
	o.next = clock_wall();
	o.reply = reason;
	leave(q, r, &o);
}

static void
add_failure(struct rcpt *r, const struct result *x, bool delay)
{
	struct msg *m = r->msg;
	struct failure *f = arena_one(m->arena, struct failure);
	f->rcpt = r;
	f->result = *x;
	f->result.status.text = str_copy(m->arena, x->status.text);
	f->result.remote = str_copy(m->arena, x->remote);
	f->result.detail = str_copy(m->arena, x->detail);
	f->delay = delay;
	list_add(&m->failures, &f->link);
	if (m->failed++ == 0)
		m->failed_since = clock_ms();
}

static bool
wants(const struct rcpt *r, struct str keyword)
{
	return r->notify.n == 0 ||
		str_search(r->notify, keyword) < r->notify.n;
}

static bool
is_delay_due(const struct queue *q, const struct rcpt *r, int64_t now)
{
	int64_t after = q->conf->queue.delay_notice;
	return after > 0 && !r->notified && now - r->msg->arrival >= after &&
		r->msg->sender.n > 0 && wants(r, STR("DELAY"));
}

static void
write_defer(struct queue *q, struct rcpt *r, const struct result *x,
	int64_t next)
{
	struct arena *a = arena_new("reply");
	struct op o = op_of(OP_DEFER, r);
	outcome_way(q, r);
	o.state = r->agent.n == 0 ? ROW_NEW : ROW_DUE;
	o.next = next;
	o.reply = status_format(a, x->status);
	o.remote = x->remote;
	o.took = x->took;
	o.detail = x->detail;
	leave(q, r, &o);
	arena_free(a);
}

static void
defer(struct queue *q, struct rcpt *r, const struct result *x, int64_t next)
{
	int64_t now = clock_wall();
	r->attempts++;
	r->attempted = now;
	figures_delivery(q, r, DELIVERY_DEFERRED);
	log_info(str_from(r->msg->qid), "deferred",
		LOG_STR("rcpt", r->address), LOG_STR("remote", x->remote),
		LOG_STR("why", x->status.text), LOG_NUM("next", next - now),
		LOG_NUM("attempts", r->attempts), first_for(r));
	if (is_delay_due(q, r, now)) {
		r->notified = true;
		add_failure(r, x, true);
	}
	write_defer(q, r, x, next);
}

static void
fail(struct queue *q, struct rcpt *r, const struct result *x,
	enum delivery_result result)
{
	figures_delivery(q, r, result);
	log_info(str_from(r->msg->qid), "failed", LOG_STR("rcpt", r->address),
		LOG_STR("remote", x->remote), LOG_STR("why", x->status.text),
		first_for(r));
	rcpt_move(q, r, RCPT_FAILED);
	add_failure(r, x, false);
}

bool
outcome_is_final(const struct rcpt *r)
{
	return str_eq(r->agent, STR("local")) ||
		(str_eq(r->agent, STR("pipe")) &&
			str_starts(r->destination, STR("|")));
}

static void
succeed(struct queue *q, struct rcpt *r, struct agent *g,
	const struct result *x)
{
	bool local = str_eq(r->agent, STR("local"));
	const char *what = outcome_is_final(r) ? "delivered" : "relayed";
	figures_delivery(q, r, DELIVERY_DONE);
	log_info(str_from(r->msg->qid), what,
		LOG_STR("rcpt", r->address), LOG_STR("remote", x->remote),
		LOG_STR("reply", x->status.text), first_for(r));
	if (g != NULL && local &&
		str_eq(q->conf->queue.durability, STR("batch"))) {
		r->took = x->took;
		r->detail = str_copy(r->msg->arena, x->detail);
		checkpoint_add(q, g, r);
		return;
	}
	report_success(q, r, x);
	outcome_finished(q, r, what, x);
}

/* Old by the wall clock and tried a few times: a clock that jumped a year
 * ahead must not return the whole queue. */
static bool
is_too_old(const struct queue *q, const struct rcpt *r)
{
	return clock_wall() - r->msg->arrival > q->conf->queue.max_age &&
		r->attempts + r->parked + 1 >= FAIR_ATTEMPTS;
}

static void
give_up(struct queue *q, struct rcpt *r, const struct result *x)
{
	struct result last = *x;
	last.status.class = STATUS_NEVER;
	last.status.subject = 4;
	last.status.detail = 7;
	last.status.reply = 0;
	fail(q, r, &last, DELIVERY_EXPIRED);
}

void
outcome(struct queue *q, struct rcpt *r, struct agent *g,
	const struct result *x)
{
	struct result too_often = *x;
	if (status_is_fine(x->status) && x->forward.n > 0) {
		too_often.status = STATUS(STATUS_NEVER, 4, 6,
			"It has been forwarded too often");
		if (route_forward(q, r, x->forward))
			figures_delivery(q, r, DELIVERY_FORWARDED);
		else
			fail(q, r, &too_often, DELIVERY_FAILED);
	} else if (status_is_fine(x->status)) {
		succeed(q, r, g, x);
	} else if (!status_is_later(x->status)) {
		fail(q, r, x, DELIVERY_FAILED);
	} else if (control_wish(q, r)) {
		/* It is not tried again. */
	} else if (is_too_old(q, r)) {
		give_up(q, r, x);
	} else {
		r->parked = 0;
		defer(q, r, x, clock_wall() + outcome_next(q, r->attempts));
	}
	outcome_settled(q, r->msg);
}

void
outcome_down(struct queue *q, struct rcpt *r, const struct result *x,
	int64_t next)
{
	if (control_wish(q, r)) {
		/* It is not tried again. */
	} else if (is_too_old(q, r)) {
		give_up(q, r, x);
	} else {
		r->parked++;
		defer(q, r, x, next);
	}
	outcome_settled(q, r->msg);
}

/* Nobody tried it; the rounds count, for its age. */
void
outcome_parked(struct queue *q, struct rcpt *r, struct status s,
	int64_t next)
{
	struct result x = {.status = s};
	list_remove(&r->of_work);
	r->started = 0;
	if (is_too_old(q, r)) {
		give_up(q, r, &x);
	} else {
		r->parked++;
		if (is_delay_due(q, r, clock_wall())) {
			r->notified = true;
			add_failure(r, &x, true);
		}
		write_defer(q, r, &x, next);
	}
	outcome_settled(q, r->msg);
}
