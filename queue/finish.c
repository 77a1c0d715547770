/* SPDX-License-Identifier: ISC */
/*
 * The end of this process, asked for by the starter: no job is begun, those
 * that agents have in hand come to theirs (a remote delivery cut off between
 * the last octet and its answer would be made twice; who has handed nothing
 * over after a moment gives his job back), then submissions under
 * way are answered, then what was gathered is written.
 *
 * All of it has its time; what is not over by then is found again by the next
 * start.
 */
#include "queue.h"
#include "base/clock.h"

enum { JOBS_MS = 10 * 1000, GRACE_MS = 1000, INTAKE_MS = 4 * 1000,
	WRITES_MS = 4 * 1000, LOOK_MS = 20 };

static void
writes_over(void *ctx)
{
	struct queue *q = ctx;
	loop_stop(q->loop);
}

static void
intake_over(void *ctx)
{
	struct queue *q = ctx;
	q->finishing = FINISH_WRITES;
	loop_timer(q->loop, clock_in(WRITES_MS), writes_over, q);
	batch_flush(q);
	finish_look(q);
}

static void
look_for_jobs(void *ctx)
{
	struct queue *q = ctx;
	if (dispatch_jobs_out(q) > 0 && clock_left(q->finish_deadline) > 0) {
		loop_timer(q->loop, clock_in(LOOK_MS), look_for_jobs, q);
		return;
	}
	q->finishing = FINISH_INTAKE;
	peers_retire(&q->intake, INTAKE_MS, intake_over);
}

/* Most were over by now: who still waits for a server that has been given
 * nothing need not. */
static void
grace_over(void *ctx)
{
	dispatch_hang_up(ctx);
}

void
finish_start(struct queue *q)
{
	q->finishing = FINISH_JOBS;
	q->finish_deadline = clock_in(JOBS_MS);
	loop_timer(q->loop, clock_in(GRACE_MS), grace_over, q);
	look_for_jobs(q);
}

void
finish_look(struct queue *q)
{
	if (q->finishing == FINISH_WRITES && q->gathering == NULL &&
		writer_is_idle(q->writer))
		loop_stop(q->loop);
}
