/* SPDX-License-Identifier: ISC */
/*
 * Delivered mail to disk.  A recipient that an agent delivered stays a row
 * until a syncfs by that agent, begun after its file was written, has come
 * back; only then it goes to history.  A crash before that finds the row and
 * has an agent look whether the file is there and whole.
 *
 * Agents are asked one by one, each for what it wrote itself: one that hangs
 * holds up its own mailboxes alone.
 *
 * When a sync fails, what it should have covered may be gone from the disk
 * while the page cache still shows it: reading it back proves nothing, so
 * those recipients are delivered anew over whatever is there.
 */
#include "queue.h"
#include "base/clock.h"
#include "base/log.h"

static void
ask_all(void *ctx)
{
	struct queue *q = ctx;
	q->checkpoint_timer = NULL;
	list_each(&q->agent_list, at, save)
		checkpoint_begin(
			q, list_entry(at, struct agent, of_queue));
}

static void
arm(struct queue *q)
{
	if (q->checkpoint_timer == NULL)
		q->checkpoint_timer = loop_timer(q->loop,
			clock_in(q->conf->queue.checkpoint * 1000), ask_all,
			q);
}

void
checkpoint_add(struct queue *q, struct agent *g, struct rcpt *r)
{
	rcpt_move(q, r, RCPT_DELIVERED);
	list_add(&g->delivered, &r->of_work);
	if (!g->syncing)
		arm(q);
}

void
checkpoint_begin(struct queue *q, struct agent *g)
{
	struct message m = MESSAGE(checkpoint);
	if (g->syncing || list_is_empty(&g->delivered))
		return;
	list_each(&g->delivered, at, save) {
		list_remove(at);
		list_add(&g->settling, at);
	}
	g->syncing = true;
	m.checkpoint.turn = ++q->turn;
	peer_send(g->peer, &m);
}

static void
put_back(struct queue *q, struct list *rcpts, bool rewrite)
{
	list_each(rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		r->verify = true;
		r->rewrite = r->rewrite || rewrite;
		lane_add(q, r);
	}
}

static void
settle(struct queue *q, struct agent *g)
{
	list_each(&g->settling, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		struct result x = {.status = status_fine(), .took = r->took,
			.detail = r->detail};
		list_remove(at);
		report_success(q, r, &x);
		outcome_finished(q, r, "delivered", &x);
	}
}

void
checkpoint_answered(struct queue *q, struct agent *g, struct status s)
{
	g->syncing = false;
	if (status_is_fine(s)) {
		settle(q, g);
	} else {
		log_error(LOG_NO_ID, "checkpoint-failed",
			LOG_STR("why", s.text));
		put_back(q, &g->settling, true);
	}
	if (!list_is_empty(&g->delivered))
		arm(q);
	dispatch_settled(q, g);
}

void
checkpoint_lost(struct queue *q, struct agent *g)
{
	put_back(q, &g->settling, false);
	put_back(q, &g->delivered, false);
}
