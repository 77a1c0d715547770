/* SPDX-License-Identifier: ISC */
/*
 * The thread that writes.  It owns a connection of its own; one batch is one
 * transaction.  It neither logs nor touches anything of the loop's but the
 * batch in hand.
 *
 * A failed commit is final: the kernel reports a failed sync once and may drop
 * the data, so the connection is closed, what it left in the log is made
 * unreadable, and the next batch begins with a row that must be written, synced
 * and read back.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/frames.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
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

enum {
	TOKENS_KEPT = 600,
	DESTINATIONS_KEPT = 30 * 86400,
	PRUNED_AT_ONCE = 2000,
};

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
	table_bind_text(s, 13, o->reply);
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
insert_content(struct table *t, const struct new_message *m)
{
	sqlite3_stmt *s = table_get(t, INSERT_CONTENT);
	sqlite3_bind_int64(s, 1, m->id);
	table_bind_blob(s, 2, m->content);
	return table_run(s);
}

static bool
insert_message(struct table *t, struct arena *a, struct op *o)
{
	struct new_message *m = o->fresh;
	(void)a;
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
	table_bind_text(s, 15, m->message_id);
	table_bind_text(s, 16, m->trace);
	bool ok = table_run(s) && (m->body.n > 0 || insert_content(t, m));
	for (size_t i = 0; ok && i < m->count; i++) {
		struct op r = {.next = m->arrival,
			.address = m->rcpts[i].address,
			.orcpt = m->rcpts[i].orcpt,
			.notify = m->rcpts[i].notify, .reply = m->hold};
		ok = insert_rcpt(t, m->id, (int64_t)i,
			m->hold.n > 0 ? ROW_HELD : ROW_NEW, &r);
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
add_rcpt(struct table *t, struct arena *a, struct op *o)
{
	(void)a;
	return insert_rcpt(t, o->message, o->number,
		o->agent.n == 0 ? ROW_NEW : ROW_DUE, o);
}

static bool
route(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = of_row(t, ROUTE_RCPT, o);
	const struct str texts[] = {o->address, o->agent, o->user, o->home,
		o->ids, o->destination, o->orcpt};
	(void)a;
	for (int i = 0; i < 7; i++)
		table_bind_text(s, 3 + i, texts[i]);
	return table_run(s);
}

static bool
add_attempt(struct table *t, const struct op *o)
{
	sqlite3_stmt *s = of_row(t, INSERT_ATTEMPT, o);
	sqlite3_bind_int64(s, 3, o->started);
	sqlite3_bind_int64(s, 4, o->took);
	table_bind_text(s, 5, o->reply);
	table_bind_text(s, 6, o->remote);
	table_bind_text(s, 7, o->detail);
	return table_run(s);
}

static bool
redirect(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = of_row(t, REDIRECT_RCPT, o);
	(void)a;
	sqlite3_bind_int64(s, 3, o->next);
	table_bind_text(s, 4, o->address);
	table_bind_text(s, 5, o->orcpt);
	sqlite3_bind_int64(s, 6, o->new_number);
	if (!table_run(s))
		return false;
	s = of_row(t, REDIRECT_ATTEMPTS, o);
	sqlite3_bind_int64(s, 3, o->new_number);
	return table_run(s);
}

static bool
defer(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = of_row(t, DEFER_RCPT, o);
	const int64_t numbers[] = {o->state, o->next, o->attempts, o->parked,
		o->attempted, o->notified};
	(void)a;
	for (int i = 0; i < 6; i++)
		sqlite3_bind_int64(s, 3 + i, numbers[i]);
	table_bind_text(s, 9, o->reply);
	table_bind_text(s, 10, o->remote);
	return table_run(s) && (o->started == 0 || add_attempt(t, o));
}

static bool
set_state(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = of_row(t, SET_STATE, o);
	(void)a;
	sqlite3_bind_int(s, 3, o->state);
	sqlite3_bind_int64(s, 4, o->next);
	table_bind_text(s, 5, o->reply);
	return table_run(s);
}

/* The message goes with its last recipient; its file's name is kept, to be
 * removed when this is committed. */
static bool
drop_message(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = table_get(t, SELECT_DONE);
	sqlite3_bind_int64(s, 1, o->message);
	int r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		o->body = table_text(a, s, 0);
	sqlite3_reset(s);
	if (r != SQLITE_ROW)
		return r == SQLITE_DONE;
	s = table_get(t, DELETE_MESSAGE);
	sqlite3_bind_int64(s, 1, o->message);
	if (!table_run(s))
		return false;
	if (o->body.n > 0)
		return true;
	s = table_get(t, DELETE_CONTENT);
	sqlite3_bind_int64(s, 1, o->message);
	return table_run(s);
}

static bool
finish(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = of_row(t, INSERT_HISTORY, o);
	sqlite3_bind_int64(s, 3, o->attempted);
	table_bind_text(s, 4, o->outcome);
	table_bind_text(s, 5, o->reply);
	table_bind_text(s, 6, o->remote);
	sqlite3_bind_int64(s, 7, o->started);
	sqlite3_bind_int64(s, 8, o->took);
	table_bind_text(s, 9, o->detail);
	/* Where it went its row may not say: unwritten. */
	const struct str texts[] = {o->address, o->orcpt, o->agent, o->user,
		o->destination};
	for (int i = 0; o->address.n > 0 && i < 5; i++)
		table_bind_text(s, 10 + i, texts[i]);
	return table_run(s) && table_run(of_row(t, DELETE_RCPT, o)) &&
		drop_message(t, a, o);
}

static bool
set_crashes(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = table_get(t, SET_CRASHES);
	(void)a;
	sqlite3_bind_int64(s, 1, o->message);
	sqlite3_bind_int64(s, 2, o->attempts);
	return table_run(s);
}

static bool
save_lane(struct table *t, struct arena *a, struct op *o)
{
	sqlite3_stmt *s = table_get(t, SAVE_DESTINATION);
	(void)a;
	table_bind_text(s, 1, o->destination);
	sqlite3_bind_double(s, 2, o->limit);
	sqlite3_bind_double(s, 3, o->ceiling);
	sqlite3_bind_int64(s, 4, o->ceiling_until);
	sqlite3_bind_int64(s, 5, o->ceiling_hold);
	sqlite3_bind_int64(s, 6, o->attempts);
	sqlite3_bind_int64(s, 7, o->parked);
	sqlite3_bind_int64(s, 8, o->next);
	table_bind_text(s, 9, o->reply);
	sqlite3_bind_int64(s, 10, o->attempted);
	return table_run(s);
}

static bool
prune_before(struct table *t, enum statement which, int64_t before,
	int64_t most)
{
	sqlite3_stmt *s = table_get(t, which);
	sqlite3_bind_int64(s, 1, before);
	if (sqlite3_bind_parameter_count(s) > 1)
		sqlite3_bind_int64(s, 2, most);
	return table_run(s);
}

/* A wall clock that was set back leaves rows that are due next year. */
static bool
undo_future(struct table *t, struct op *o)
{
	for (int state = ROW_NEW; state <= ROW_DUE; state++) {
		sqlite3_stmt *s = table_get(t, UNDO_FUTURE);
		sqlite3_bind_int64(s, 1, o->attempted);
		sqlite3_bind_int64(s, 2, o->attempted + o->parked);
		sqlite3_bind_int(s, 3, state);
		if (!table_run(s))
			return false;
		o->undone += sqlite3_changes(t->db);
	}
	return true;
}

static bool
prune(struct table *t, struct arena *a, struct op *o)
{
	(void)a;
	if (!prune_before(t, PRUNE_ATTEMPTS, o->next, PRUNED_AT_ONCE) ||
		!prune_before(t, PRUNE_TOKENS, o->attempted - TOKENS_KEPT, 0) ||
		!prune_before(t, PRUNE_DESTINATIONS,
			o->attempted - DESTINATIONS_KEPT, 0) ||
		!prune_before(t, PRUNE_HISTORY, o->next, PRUNED_AT_ONCE))
		return false;
	o->more = sqlite3_changes(t->db) >= PRUNED_AT_ONCE;
	return undo_future(t, o);
}

typedef bool (*apply_fn)(struct table *t, struct arena *a, struct op *o);

static const apply_fn appliers[OP_KINDS] = {
	[OP_MESSAGE] = insert_message,
	[OP_RCPT] = add_rcpt,
	[OP_ROUTE] = route,
	[OP_DEFER] = defer,
	[OP_STATE] = set_state,
	[OP_FINISH] = finish,
	[OP_REDIRECT] = redirect,
	[OP_CRASHES] = set_crashes,
	[OP_LANE] = save_lane,
	[OP_PRUNE] = prune,
};

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
		!prune_before(t, PROBE, clock_wall(), 0))
		return false;
	list_each(&b->ops, at, save) {
		struct op *o = list_entry(at, struct op, link);
		if (!appliers[o->kind](t, b->arena, o))
			return false;
	}
	frames_gather(t->db, true);
	bool ok = execute(w, "COMMIT");
	frames_gather(t->db, false);
	return ok;
}

/*
 * A commit whose sync failed stands whole in the log, and whoever opens the
 * database after a crash would take it for a good one.  The next commit begins
 * where it began, and even one that cannot be synced breaks its checksums: so
 * one is made before anybody hears that the batch was refused.
 */
static void
spoil_failed(struct writer *w, struct batch *b)
{
	struct status s = table_open(b->arena, w->path, &w->table);
	if (status_is_fine(s) && execute(w, "BEGIN IMMEDIATE")) {
		if (prune_before(&w->table, PROBE, clock_wall(), 0))
			execute(w, "COMMIT");
		execute(w, "ROLLBACK");
	}
	table_close(&w->table);
}

static bool
open_again(struct writer *w, struct batch *b)
{
	b->status = status_fine();
	if (w->table.db == NULL)
		b->status = table_open(b->arena, w->path, &w->table);
	b->damaged = w->table.damaged;
	return status_is_fine(b->status);
}

static void
run_batch(struct writer *w, struct batch *b)
{
	if (!open_again(w, b))
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
	b->damaged = table_is_damage(sqlite3_errcode(w->table.db));
	execute(w, "ROLLBACK");
	table_close(&w->table);
	w->probe = true;
	spoil_failed(w, b);
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

bool
writer_is_idle(struct writer *w)
{
	pthread_mutex_lock(&w->lock);
	bool idle = w->in_hand == NULL;
	pthread_mutex_unlock(&w->lock);
	return idle;
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

/*
 * A commit that makes the log longer costs a journal commit of the file system
 * besides its own flush; one that overwrites does not.  SQLite begins again at
 * the front when the log is folded back, so what that takes is written once,
 * here, after what is in the log already.  Without it everything works, slower:
 * a small disk keeps its space for mail.
 */
static bool
has_room_for_log(const struct writer *w, int fd, off_t size)
{
	struct statvfs v;
	return fstatvfs(fd, &v) == 0 &&
		(int64_t)(v.f_bavail * v.f_frsize) - (TABLE_LOG_OCTETS - size) >
			2 * w->queue->conf->smtp.min_free;
}

static void
reserve_log(struct writer *w)
{
	static const char zeros[64 * 1024];
	struct arena *a = arena_new("reserve");
	struct stat st;
	int fd = open(str_cstr(a, str_printf(a, "%s-wal", w->path)),
		O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	bool ok = fd >= 0 && fstat(fd, &st) == 0 &&
		has_room_for_log(w, fd, st.st_size);
	for (off_t at = ok ? st.st_size : 0; ok && at < TABLE_LOG_OCTETS;
		at += (off_t)sizeof zeros)
		ok = pwrite(fd, zeros, sizeof zeros, at) ==
			(ssize_t)sizeof zeros;
	if (fd >= 0) {
		fdatasync(fd);
		close(fd);
	}
	errno = 0;
	arena_free(a);
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
	reserve_log(w);
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
