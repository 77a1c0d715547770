/* SPDX-License-Identifier: ISC */
/*
 * The end: nothing new is begun, what agents have in hand is waited for, and
 * its results are committed.  A remote server that has taken a message while
 * we were leaving would otherwise be sent it again.
 */
#include "queue.h"
#include "base/clock.h"
#include "base/log.h"

/* Less than master waits before it insists. */
enum { PATIENCE_MS = 3000 };

static size_t
jobs_out(const struct queue *q)
{
	size_t n = 0;
	for (const struct list *at = q->agent_list.next; at != &q->agent_list;
		at = at->next)
		n += list_entry(at, struct agent, of_queue)->count;
	return n;
}

static void
give_up(void *ctx)
{
	struct queue *q = ctx;
	log_warn(LOG_NO_ID, "stopped-early", LOG_NUM("jobs", jobs_out(q)));
	loop_stop(q->loop);
}

void
stop_look(struct queue *q)
{
	if (q->stopping && jobs_out(q) == 0 && q->gathering == NULL &&
		!writer_is_busy(q->writer))
		loop_stop(q->loop);
}

void
stop_begin(struct queue *q)
{
	if (q->stopping)
		return;
	q->stopping = true;
	loop_timer(q->loop, clock_in(PATIENCE_MS), give_up, q);
}
