/* SPDX-License-Identifier: ISC */
/*
 * Delivered mail to disk.  A recipient that an agent delivered stays a row
 * until a syncfs that began after its file was written has come back; only
 * then it goes to history.  A crash before that finds the row and has the
 * agent look whether the file is there and whole.
 *
 * When a sync fails, what it should have covered may be gone from the disk
 * while the page cache still shows it: those recipients are delivered anew,
 * with the agent looking first.
 */
#include "queue.h"
#include "base/clock.h"
#include "base/log.h"

static void begin(void *ctx);

static void
arm(struct queue *q)
{
	if (q->checkpoint_timer != NULL || q->checkpoints > 0 ||
		list_is_empty(&q->delivered))
		return;
	q->checkpoint_timer = loop_timer(q->loop,
		clock_in(q->conf->queue.checkpoint * 1000), begin, q);
}

static void
settle(struct queue *q)
{
	list_each(&q->settling, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		outcome_finished(q, r, "delivered", STR(""), STR(""));
	}
}

static void
put_back_one(struct queue *q, struct rcpt *r)
{
	list_remove(&r->of_work);
	r->verify = true;
	lane_add(q, r);
}

static void
put_back(struct queue *q)
{
	list_each(&q->settling, at, save)
		put_back_one(q, list_entry(at, struct rcpt, of_work));
	dispatch(q);
}

void
checkpoint_lost(struct queue *q, const struct lane *l)
{
	list_each(&q->delivered, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		if (lane_of(q, r) == l)
			put_back_one(q, r);
	}
}

static void
end(struct queue *q)
{
	if (q->checkpoint_failed)
		put_back(q);
	else
		settle(q);
	q->checkpoint_failed = false;
	arm(q);
	batch_flush(q);
}

static void
begin(void *ctx)
{
	struct queue *q = ctx;
	q->checkpoint_timer = NULL;
	list_each(&q->delivered, at, save) {
		list_remove(at);
		list_add(&q->settling, at);
	}
	q->checkpoint_failed = false;
	q->checkpoints = dispatch_checkpoint(q);
	if (q->checkpoints == 0) {
		/* Nobody is left who could say that it is on disk. */
		q->checkpoint_failed = true;
		end(q);
	}
}

void
checkpoint_add(struct queue *q, struct rcpt *r)
{
	r->where = RCPT_DELIVERED;
	list_add(&q->delivered, &r->of_work);
	arm(q);
}

void
checkpoint_answered(struct queue *q, struct status s)
{
	if (q->checkpoints == 0)
		return;
	if (!status_is_fine(s)) {
		log_error(LOG_NO_ID, "checkpoint-failed",
			LOG_STR("why", s.text));
		q->checkpoint_failed = true;
	}
	if (--q->checkpoints == 0)
		end(q);
}
