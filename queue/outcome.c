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
outcome_next(struct queue *q, int attempts)
{
	const struct conf_queue *c = &q->conf->queue;
	int64_t delay = 60;
	for (int i = 0; i <= attempts; i++) {
		if ((size_t)i < c->retry.n)
			clock_parse_duration(c->retry.v[i], &delay);
		else
			delay += delay / 2;
		if (delay > c->retry_max)
			delay = c->retry_max;
	}
	return with_jitter(delay);
}

void
outcome_settled(struct queue *q, struct msg *m)
{
	if (--m->pending == 0 && !list_is_empty(&m->failures))
		report_failures(q, m);
}

void
outcome_finished(struct queue *q, struct rcpt *r, const char *outcome,
	struct str reply, struct str remote)
{
	struct op o = op_of(OP_FINISH, r);
	o.outcome = str_from(outcome);
	o.attempted = clock_wall();
	o.reply = reply;
	o.remote = remote;
	o.forget = r;
	batch_add(q, &o);
}

void
outcome_held(struct queue *q, struct rcpt *r, struct str reason)
{
	struct op o = op_of(OP_STATE, r);
	log_warn(str_from(r->msg->qid), "held", LOG_STR("rcpt", r->address),
		LOG_STR("why", reason));
	o.state = ROW_HELD;
	o.next = clock_wall();
	o.reply = reason;
	o.forget = r;
	batch_add(q, &o);
}

static void
add_failure(struct rcpt *r, struct status s, struct str remote, bool delay)
{
	struct arena *a = r->msg->arena;
	struct failure *f = arena_one(a, struct failure);
	f->rcpt = r;
	f->status = s;
	f->status.text = str_copy(a, s.text);
	f->remote = str_copy(a, remote);
	f->delay = delay;
	list_add(&r->msg->failures, &f->link);
}

static void
write_defer(struct queue *q, struct rcpt *r, struct status s,
	struct str remote, int64_t next)
{
	struct arena *a = arena_new("reply");
	struct op o = op_of(OP_DEFER, r);
	o.state = r->agent.n == 0 ? ROW_NEW : ROW_DUE;
	o.next = next;
	o.reply = status_format(a, s);
	o.remote = remote;
	o.forget = r;
	batch_add(q, &o);
	arena_free(a);
	/* The timer may be set for later than this. */
	load_soon(q);
}

static bool
wants(const struct rcpt *r, struct str keyword)
{
	return r->notify.n == 0 ||
		str_search(r->notify, keyword) < r->notify.n;
}

static bool
is_delay_due(struct queue *q, const struct rcpt *r, int64_t now)
{
	int64_t after = q->conf->queue.delay_notice;
	return after > 0 && !r->notified && now - r->msg->arrival >= after &&
		r->msg->sender.n > 0 && wants(r, STR("DELAY"));
}

static void
defer(struct queue *q, struct rcpt *r, struct status s, struct str remote)
{
	int64_t now = clock_wall(), next = now + outcome_next(q, r->attempts);
	r->attempts++;
	r->attempted = now;
	log_info(str_from(r->msg->qid), "deferred",
		LOG_STR("rcpt", r->address), LOG_STR("remote", remote),
		LOG_STR("why", s.text), LOG_NUM("next", next - now),
		LOG_NUM("attempts", r->attempts));
	if (is_delay_due(q, r, now)) {
		r->notified = true;
		add_failure(r, s, remote, true);
	}
	write_defer(q, r, s, remote, next);
}

static void
fail(struct rcpt *r, struct status s, struct str remote)
{
	log_info(str_from(r->msg->qid), "failed", LOG_STR("rcpt", r->address),
		LOG_STR("remote", remote), LOG_STR("why", s.text));
	add_failure(r, s, remote, false);
}

static void
succeed(struct queue *q, struct rcpt *r, struct status s, struct str remote)
{
	log_info(str_from(r->msg->qid), "delivered",
		LOG_STR("rcpt", r->address), LOG_STR("agent", r->agent),
		LOG_STR("remote", remote), LOG_STR("reply", s.text));
	if (str_eq(r->agent, STR("local")) &&
		str_eq(q->conf->queue.durability, STR("batch")))
		checkpoint_add(q, r);
	else
		outcome_finished(q, r, "delivered", s.text, remote);
}

/* Old by the wall clock and tried a few times: a clock that jumped a year
 * ahead must not return the whole queue. */
static bool
is_too_old(struct queue *q, const struct rcpt *r)
{
	return clock_wall() - r->msg->arrival > q->conf->queue.max_age &&
		r->attempts + 1 >= FAIR_ATTEMPTS;
}

void
outcome(struct queue *q, struct rcpt *r, struct status s, struct str remote)
{
	if (status_is_fine(s)) {
		succeed(q, r, s, remote);
	} else if (status_is_later(s) && !is_too_old(q, r)) {
		defer(q, r, s, remote);
	} else {
		if (status_is_later(s)) {
			s.class = STATUS_NEVER;
			s.subject = 4;
			s.detail = 7;
			s.reply = 0;
		}
		fail(r, s, remote);
	}
	outcome_settled(q, r->msg);
}

void
outcome_parked(struct queue *q, struct rcpt *r, struct status s,
	int64_t next)
{
	list_remove(&r->of_work);
	if (is_too_old(q, r)) {
		outcome(q, r, s, STR(""));
		return;
	}
	/* Counted as tried, or a success could not release it by its
	 * destination; the age decides when it is given up. */
	r->attempts++;
	write_defer(q, r, s, STR(""), next);
	outcome_settled(q, r->msg);
}
