/* SPDX-License-Identifier: ISC */
/*
 * Group commit.  Everything the loop gathered in a turn goes to the writer in
 * one piece if it is free, else it waits and grows: under load batches become
 * larger by themselves, and an idle queue writes at once.  A batch in which
 * nothing is urgent waits a moment for one that is, and saves its own sync:
 * where a recipient goes (after a crash auth is asked again), and that a
 * delivery is on disk (after a crash the agent finds the file).
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <unistd.h>

enum {
	RETRY_MS = 20, /* doubled each time, up to */
	RETRY_DOUBLINGS = 6,
	LAZY_MS = 200,
	ARENA_MOST = 256 << 20,
	/* Octets: then nothing more is taken over.  What comes of jobs that are
	 * out, and a batch that failed and is one with the next, go on top. */
	FULL_AT = 32 << 20,
	FULL_WITH_WRITING = 2 * FULL_AT,
	LOG_EVERY_MS = 60 * 1000,
};

static struct batch *
gathering(struct queue *q)
{
	if (q->gathering != NULL)
		return q->gathering;
	struct arena *a = arena_new("batch");
	arena_limit(a, ARENA_MOST);
	q->gathering = arena_one(a, struct batch);
	q->gathering->arena = a;
	list_init(&q->gathering->ops);
	return q->gathering;
}

static struct op *
append(struct batch *b, const struct op *op)
{
	struct op *copy = arena_copy(b->arena, op, sizeof *op);
	list_init(&copy->link);
	list_add(&b->ops, &copy->link);
	b->count++;
	b->urgent = b->urgent || !op->lazy;
	return copy;
}

static void
keep(struct arena *a, struct str *text)
{
	*text = str_copy(a, *text);
}

void
batch_add(struct queue *q, const struct op *op)
{
	struct batch *b = gathering(q);
	struct op *o = append(b, op);
	struct str *texts[] = {&o->address, &o->orcpt, &o->notify, &o->agent,
		&o->user, &o->home, &o->ids, &o->destination, &o->reply,
		&o->remote, &o->outcome, &o->detail};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		keep(b->arena, texts[i]);
}

struct op
op_of(enum op_kind kind, const struct rcpt *r)
{
	return (struct op){.kind = kind, .message = r->msg->id,
		.number = r->number, .attempts = r->attempts,
		.parked = r->parked, .attempted = r->attempted,
		.notified = r->notified, .started = r->started,
		.address = r->address, .orcpt = r->orcpt, .notify = r->notify,
		.agent = r->agent, .user = r->user, .home = r->home,
		.ids = r->ids, .destination = r->destination,
		.remote = r->remote};
}

static struct new_message *
copy_message(struct arena *a, const struct new_message *m)
{
	struct new_message *c = arena_copy(a, m, sizeof *m);
	struct new_rcpt *r = arena_copy(a, m->rcpts, m->count * sizeof *r);
	struct str *texts[] = {&c->token, &c->sender, &c->origin, &c->session,
		&c->client, &c->user, &c->ret, &c->envid, &c->body_type,
		&c->body, &c->content, &c->message_id, &c->trace, &c->hold};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		keep(a, texts[i]);
	for (size_t i = 0; i < m->count; i++) {
		keep(a, &r[i].address);
		keep(a, &r[i].orcpt);
		keep(a, &r[i].notify);
	}
	c->rcpts = r;
	return c;
}

void
batch_add_message(struct queue *q, const struct new_message *m,
	batch_stored_fn stored, void *ctx, bool own)
{
	struct batch *b = gathering(q);
	struct op op = {.kind = OP_MESSAGE, .message = m->id,
		.stored = stored, .ctx = ctx, .own = own,
		.fresh = copy_message(b->arena, m)};
	append(b, &op);
}

bool
batch_is_full(const struct queue *q)
{
	size_t n = q->gathering == NULL ? 0
					: arena_used(q->gathering->arena);
	return n > FULL_AT || n + q->writing > FULL_WITH_WRITING;
}

static void
end_laziness(void *ctx)
{
	struct queue *q = ctx;
	q->lazy_timer = NULL;
	if (q->gathering != NULL)
		q->gathering->urgent = true;
}

void
batch_flush(struct queue *q)
{
	struct batch *b = q->gathering;
	/* What follows from rows that could not be read is not written. */
	if (q->reader->damaged)
		repair_later(q);
	if (b == NULL || (q->refusing && !q->retrying))
		return;
	if (b->urgent) {
		size_t octets = arena_used(b->arena);
		if (writer_give(q->writer, b)) {
			q->writing = octets;
			q->gathering = NULL;
			q->retrying = false;
		}
	} else if (q->lazy_timer == NULL) {
		q->lazy_timer = loop_timer(
			q->loop, clock_in(LAZY_MS), end_laziness, q);
	}
}

static void
add_again(struct queue *q, const struct op *o)
{
	if (o->kind == OP_MESSAGE)
		batch_add_message(q, o->fresh, o->stored, o->ctx, o->own);
	else
		batch_add(q, o);
}

/* Changes of a failed batch go before those gathered since. */
static void
try_again(struct queue *q, struct batch *b)
{
	struct batch *newer = q->gathering;
	q->gathering = NULL;
	list_each(&b->ops, at, save) {
		struct op *o = list_entry(at, struct op, link);
		if (o->kind != OP_MESSAGE || o->own)
			add_again(q, o);
	}
	if (newer == NULL)
		return;
	list_each(&newer->ops, at, save)
		add_again(q, list_entry(at, struct op, link));
	arena_free(newer->arena);
}

static void
flush_later(void *ctx)
{
	struct queue *q = ctx;
	/* A batch with nothing in it is the probe that ends the refusal. */
	gathering(q)->urgent = true;
	q->retrying = true;
	batch_flush(q);
}

static void
commit_failed(struct queue *q, struct batch *b)
{
	/* Once, and then now and then: a full disk stays full for hours. */
	if (!q->refusing || clock_ms() - q->refusal_logged > LOG_EVERY_MS) {
		q->refusal_logged = clock_ms();
		log_error(LOG_NO_ID, "commit-failed",
			LOG_STR("why", b->status.text),
			LOG_NUM("changes", b->count));
	}
	q->refusing = true;
	loop_timer(q->loop, clock_in(RETRY_MS << q->commits_failed),
		flush_later, q);
	if (q->commits_failed < RETRY_DOUBLINGS)
		q->commits_failed++;
}

/* Own messages are not told of a failure: they will be stored. */
static void
tell(struct queue *q, struct batch *b, struct op *o, bool fine)
{
	if (o->kind == OP_MESSAGE && (fine || !o->own))
		o->stored(q, o->ctx, b->status, o->fresh, o->before);
	if (!fine || o->kind == OP_MESSAGE)
		return;
	if (o->body.n > 0)
		unlinkat(q->bodies, str_cstr(b->arena, o->body), 0);
	if (o->forget != NULL)
		rcpt_forget(q, o->forget);
	load_row(q, o);
	if (o->undone > 0)
		load_again(q);
	if (o->more)
		queue_prune(q);
}

void
batch_done(struct queue *q, struct batch *b)
{
	bool fine = status_is_fine(b->status);
	q->writing = 0;
	if (b->damaged)
		q->reader->damaged = true;
	if (fine && q->refusing) {
		q->refusing = false;
		q->commits_failed = 0;
		log_info(LOG_NO_ID, "intake-open");
	}
	if (!fine) {
		commit_failed(q, b);
		try_again(q, b);
	}
	list_each(&b->ops, at, save)
		tell(q, b, list_entry(at, struct op, link), fine);
	arena_free(b->arena);
	load_resume(q);
	if (fine)
		dispatch_soon(q);
}
