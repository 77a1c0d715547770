/* SPDX-License-Identifier: ISC */
/*
 * The thread that writes.  It owns a connection of its own; one batch is one
 * transaction.  It neither logs nor touches anything of the loop's but the
 * batch in hand.
 *
 * A failed commit is final: the kernel reports a failed sync once and may drop
 * the data, so the connection is closed, opened again (which recovers what the
 * log holds) and the next batch begins with a row that must be written, synced
 * and read back.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct writer {
	struct queue *queue;
	char *path;
	struct table table;
	bool probe; /* the last batch failed */
	int event; /* a batch is through */
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct batch *in_hand; /* set by give, cleared when collected */
	bool through;
};

enum { TOKENS_KEPT = 3600 };

static bool
insert_rcpt(struct table *t, int64_t message, int64_t number,
	enum row_state state, const struct op *o)
{
	sqlite3_stmt *s = table_get(t, INSERT_RCPT);
	const struct str texts[] = {o->address, o->orcpt, o->notify, o->agent,
		o->user, o->home, o->ids, o->destination};
	sqlite3_bind_int64(s, 1, message);
	sqlite3_bind_int64(s, 2, number);
	sqlite3_bind_int(s, 3, state);
	sqlite3_bind_int64(s, 4, o->next);
	for (int i = 0; i < 8; i++)
		table_bind_text(s, 5 + i, texts[i]);
	return table_run(s);
}

/* False with SQLite's error; *known when the token was seen before. */
static bool
claim_token(struct table *t, struct new_message *m, bool *known)
{
	sqlite3_stmt *s = table_get(t, INSERT_TOKEN);
	*known = false;
	if (m->token.n == 0)
		return true;
	table_bind_text(s, 1, m->token);
	sqlite3_bind_int64(s, 2, m->id);
	sqlite3_bind_int64(s, 3, m->arrival);
	if (!table_run(s))
		return false;
	if (sqlite3_changes(t->db) > 0)
		return true;
	s = table_get(t, FIND_TOKEN);
	table_bind_text(s, 1, m->token);
	if (sqlite3_step(s) == SQLITE_ROW) {
		m->id = sqlite3_column_int64(s, 0);
		*known = true;
	}
	sqlite3_reset(s);
	return *known;
}

static bool
insert_message(struct table *t, struct op *o)
{
	struct new_message *m = o->fresh;
	if (!claim_token(t, m, &o->before))
		return false;
	if (o->before)
		return true;
	sqlite3_stmt *s = table_get(t, INSERT_MESSAGE);
	sqlite3_bind_int64(s, 1, m->id);
	table_bind_text(s, 2, m->sender);
	sqlite3_bind_int64(s, 3, m->arrival);
	sqlite3_bind_int64(s, 4, m->size);
	const struct str texts[] = {m->origin, m->session, m->client, m->user,
		m->ret, m->envid, m->body_type};
	for (int i = 0; i < 7; i++)
		table_bind_text(s, 5 + i, texts[i]);
	sqlite3_bind_int(s, 12, m->utf8);
	sqlite3_bind_int(s, 13, m->requiretls);
	table_bind_text(s, 14, m->body);
	table_bind_blob(s, 15, m->content);
	bool ok = table_run(s);
	for (size_t i = 0; ok && i < m->count; i++) {
		struct op r = {.next = m->arrival,
			.address = m->rcpts[i].address,
			.orcpt = m->rcpts[i].orcpt,
			.notify = m->rcpts[i].notify};
		ok = insert_rcpt(t, m->id, (int64_t)i, ROW_NEW, &r);
	}
	return ok;
}

static sqlite3_stmt *
of_row(struct table *t, enum statement which, const struct op *o)
{
	sqlite3_stmt *s = table_get(t, which);
	sqlite3_bind_int64(s, 1, o->message);
	sqlite3_bind_int64(s, 2, o->number);
	return s;
}

static bool
route(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = of_row(t, ROUTE_RCPT, o);
	const struct str texts[] = {o->address, o->agent, o->user, o->home,
		o->ids, o->destination};
	for (int i = 0; i < 6; i++)
		table_bind_text(s, 3 + i, texts[i]);
	return table_run(s);
}

static bool
defer(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = of_row(t, DEFER_RCPT, o);
	sqlite3_bind_int(s, 3, o->state);
	sqlite3_bind_int64(s, 4, o->next);
	sqlite3_bind_int64(s, 5, o->attempts);
	sqlite3_bind_int64(s, 6, o->attempted);
	sqlite3_bind_int64(s, 7, o->notified);
	table_bind_text(s, 8, o->reply);
	table_bind_text(s, 9, o->remote);
	return table_run(s);
}

static bool
set_state(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = of_row(t, SET_STATE, o);
	sqlite3_bind_int(s, 3, o->state);
	sqlite3_bind_int64(s, 4, o->next);
	table_bind_text(s, 5, o->reply);
	return table_run(s);
}

static bool
finish(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = of_row(t, INSERT_HISTORY, o);
	sqlite3_bind_int64(s, 3, o->attempted);
	table_bind_text(s, 4, o->outcome);
	table_bind_text(s, 5, o->reply);
	table_bind_text(s, 6, o->remote);
	if (!table_run(s) || !table_run(of_row(t, DELETE_RCPT, o)))
		return false;
	s = table_get(t, DELETE_MESSAGE);
	sqlite3_bind_int64(s, 1, o->message);
	return table_run(s);
}

static bool
two_numbers(struct table *t, enum statement which, int64_t a, int64_t b)
{
	sqlite3_stmt *s = table_get(t, which);
	sqlite3_bind_int64(s, 1, a);
	if (sqlite3_bind_parameter_count(s) > 1)
		sqlite3_bind_int64(s, 2, b);
	return table_run(s);
}

static bool
release(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = table_get(t, RELEASE_DESTINATION);
	table_bind_text(s, 1, o->destination);
	sqlite3_bind_int64(s, 2, o->next);
	return table_run(s);
}

static bool
apply(struct table *t, struct op *o)
{
	switch (o->kind) {
	case OP_MESSAGE:
		return insert_message(t, o);
	case OP_RCPT:
		return insert_rcpt(t, o->message, o->number, ROW_DUE, o);
	case OP_ROUTE:
		return route(t, o);
	case OP_DEFER:
		return defer(t, o);
	case OP_STATE:
		return set_state(t, o);
	case OP_FINISH:
		return finish(t, o);
	case OP_CRASHES:
		return two_numbers(t, SET_CRASHES, o->message, o->attempts);
	case OP_RELEASE:
		return release(t, o);
	case OP_PRUNE:
		return two_numbers(t, PRUNE_HISTORY, o->next, 0) &&
			two_numbers(t, PRUNE_TOKENS, o->attempted -
				TOKENS_KEPT, 0);
	}
	return false;
}

/* A body file's name must be as durable as the row that names it. */
static bool
sync_bodies(struct writer *w, struct batch *b)
{
	list_each(&b->ops, at, save) {
		struct op *o = list_entry(at, struct op, link);
		if (o->kind == OP_MESSAGE && o->fresh->body.n > 0)
			return fsync(w->queue->bodies) == 0;
	}
	return true;
}

static bool
execute(struct writer *w, const char *sql)
{
	return sqlite3_exec(w->table.db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static bool
write_batch(struct writer *w, struct batch *b)
{
	struct table *t = &w->table;
	if (!execute(w, "BEGIN IMMEDIATE"))
		return false;
	if ((w->probe || b->count == 0) &&
		!two_numbers(t, PROBE, clock_wall(), 0))
		return false;
	list_each(&b->ops, at, save)
		if (!apply(t, list_entry(at, struct op, link)))
			return false;
	return execute(w, "COMMIT");
}

static void
run_batch(struct writer *w, struct batch *b)
{
	if (w->table.db == NULL)
		b->status = table_open(b->arena, w->path, &w->table);
	else
		b->status = status_fine();
	if (!status_is_fine(b->status))
		return;
	if (!sync_bodies(w, b)) {
		b->status = status_errno(b->arena, "syncing bodies/", errno);
		return;
	}
	if (write_batch(w, b)) {
		w->probe = false;
		return;
	}
	b->status = table_failure(b->arena, &w->table, "queue database");
	if (b->status.subject == 0)
		b->status.subject = 3;
	execute(w, "ROLLBACK");
	table_close(&w->table);
	w->probe = true;
}

static void *
work(void *ctx)
{
	struct writer *w = ctx;
	for (;;) {
		pthread_mutex_lock(&w->lock);
		while (w->in_hand == NULL || w->through)
			pthread_cond_wait(&w->given, &w->lock);
		struct batch *b = w->in_hand;
		pthread_mutex_unlock(&w->lock);
		run_batch(w, b);
		pthread_mutex_lock(&w->lock);
		w->through = true;
		pthread_mutex_unlock(&w->lock);
		uint64_t one = 1;
		ssize_t ignored = write(w->event, &one, sizeof one);
		(void)ignored;
	}
	return NULL;
}

bool
writer_give(struct writer *w, struct batch *b)
{
	bool taken = false;
	pthread_mutex_lock(&w->lock);
	if (w->in_hand == NULL) {
		w->in_hand = b;
		w->through = false;
		taken = true;
		pthread_cond_signal(&w->given);
	}
	pthread_mutex_unlock(&w->lock);
	return taken;
}

static void
collect(void *ctx, int fd, unsigned events)
{
	struct writer *w = ctx;
	uint64_t count;
	struct batch *b = NULL;
	(void)events;
	if (read(fd, &count, sizeof count) != sizeof count)
		return;
	pthread_mutex_lock(&w->lock);
	if (w->through) {
		b = w->in_hand;
		w->in_hand = NULL;
		w->through = false;
	}
	pthread_mutex_unlock(&w->lock);
	if (b != NULL)
		batch_done(w->queue, b);
}

struct writer *
writer_start(struct queue *q)
{
	struct writer *w = arena_one(q->arena, struct writer);
	pthread_t thread;
	sigset_t all, before;
	w->queue = q;
	w->path = str_cstr(q->arena,
		str_printf(q->arena, "%.*s/queue.db", STR_ARG(q->directory)));
	struct status s = table_open(q->arena, w->path, &w->table);
	if (!status_is_fine(s))
		fatal("queue database", str_cstr(q->arena, s.text));
	w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->event < 0)
		fatal("eventfd", NULL);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->given, NULL);
	loop_watch(q->loop, w->event, LOOP_READ, collect, w);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if ((errno = pthread_create(&thread, NULL, work, w)) != 0)
		fatal("pthread_create", NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return w;
}
