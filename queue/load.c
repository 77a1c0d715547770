/* SPDX-License-Identifier: ISC */
/*
 * Rows into memory.  Only a window of what is due is there; the cursor walks
 * over the due rows in their order and starts again when it has come to the
 * end, skipping what is in memory already.  What is due later is left alone
 * until its time, for which one timer is set.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { ROWS_PER_LOAD = 1000, SLEEP_MOST = 600, CONTENT_MOST = 64 << 20 };

/* --------------------------------------------------------------- memory */

static struct msg *
msg_new(struct queue *q, int64_t id)
{
	struct arena *a = arena_new("message");
	struct msg *m = arena_one(a, struct msg);
	m->arena = a;
	m->id = id;
	qid_format(id, m->qid);
	list_init(&m->rcpts);
	list_init(&m->failures);
	m->loaded = map_new(a);
	map_set(q->messages, str_from(m->qid), m);
	return m;
}

static struct str
number_key(const int64_t *number)
{
	return str_of(number, sizeof *number);
}

struct rcpt *
rcpt_new(struct queue *q, struct msg *m, int64_t number)
{
	struct rcpt *r = arena_one(m->arena, struct rcpt);
	r->msg = m;
	r->number = number;
	map_set(m->loaded, number_key(&number), r);
	list_add(&m->rcpts, &r->of_message);
	q->recipients++;
	return r;
}

static void
msg_free(struct queue *q, struct msg *m)
{
	map_remove(q->messages, str_from(m->qid));
	q->content -= m->content.n;
	arena_free(m->arena);
}

static void
unlink_body(struct queue *q, struct msg *m)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_BODY);
	table_bind_text(s, 1, m->body);
	bool used = sqlite3_step(s) == SQLITE_ROW;
	sqlite3_reset(s);
	if (!used)
		unlinkat(q->bodies, str_cstr(m->arena, m->body), 0);
}

void
rcpt_forget(struct queue *q, struct rcpt *r)
{
	struct msg *m = r->msg;
	list_remove(&r->of_message);
	list_remove(&r->of_work);
	map_remove(m->loaded, number_key(&r->number));
	q->recipients--;
	if (!list_is_empty(&m->rcpts))
		return;
	if (m->body.n > 0)
		unlink_body(q, m);
	msg_free(q, m);
}

/* ------------------------------------------------------------- messages */

static void
copy_fields(struct msg *m, const struct new_message *n)
{
	struct arena *a = m->arena;
	m->sender = str_copy(a, n->sender);
	m->origin = str_copy(a, n->origin);
	m->session = str_copy(a, n->session);
	m->client = str_copy(a, n->client);
	m->user = str_copy(a, n->user);
	m->ret = str_copy(a, n->ret);
	m->envid = str_copy(a, n->envid);
	m->body_type = str_copy(a, n->body_type);
	m->body = str_copy(a, n->body);
	m->utf8 = n->utf8;
	m->requiretls = n->requiretls;
	m->arrival = n->arrival;
	m->size = n->size;
}

static struct msg *
find_message(struct queue *q, int64_t id)
{
	char qid[QID_LENGTH + 1];
	qid_format(id, qid);
	return map_get(q->messages, str_from(qid));
}

struct msg *
load_message(struct queue *q, int64_t id)
{
	struct msg *m = find_message(q, id);
	if (m != NULL)
		return m;
	sqlite3_stmt *s = table_get(q->reader, SELECT_MESSAGE);
	sqlite3_bind_int64(s, 1, id);
	if (sqlite3_step(s) != SQLITE_ROW) {
		sqlite3_reset(s);
		return NULL;
	}
	m = msg_new(q, id);
	struct str *texts[] = {[3] = &m->origin, &m->session, &m->client,
		&m->user, &m->ret, &m->envid, &m->body_type};
	m->sender = table_text(m->arena, s, 0);
	m->arrival = sqlite3_column_int64(s, 1);
	m->size = sqlite3_column_int64(s, 2);
	for (int i = 3; i <= 9; i++)
		*texts[i] = table_text(m->arena, s, i);
	m->utf8 = sqlite3_column_int(s, 10) != 0;
	m->requiretls = sqlite3_column_int(s, 11) != 0;
	m->crashes = sqlite3_column_int(s, 12);
	m->body = table_text(m->arena, s, 13);
	sqlite3_reset(s);
	return m;
}

struct status
msg_content(struct queue *q, struct arena *a, struct msg *m,
	struct str *content, int *fd)
{
	*content = m->content;
	*fd = -1;
	if (m->body.n > 0) {
		*fd = openat(q->bodies, str_cstr(a, m->body),
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		return *fd >= 0 ? status_fine()
				: status_errno(a, "body file", errno);
	}
	if (content->p != NULL)
		return status_fine();
	sqlite3_stmt *s = table_get(q->reader, SELECT_CONTENT);
	sqlite3_bind_int64(s, 1, m->id);
	if (sqlite3_step(s) != SQLITE_ROW) {
		sqlite3_reset(s);
		return STATUS(STATUS_LATER, 3, 0,
			"The content cannot be read from the queue");
	}
	*content = table_text(a, s, 0);
	sqlite3_reset(s);
	return status_fine();
}

void
load_fresh(struct queue *q, const struct new_message *n)
{
	if (q->recipients >= WINDOW_RECIPIENTS) {
		load_soon(q);
		return;
	}
	struct msg *m = msg_new(q, n->id);
	copy_fields(m, n);
	if (n->body.n == 0 && q->content < CONTENT_MOST) {
		m->content = str_copy(m->arena, n->content);
		q->content += m->content.n;
	}
	for (size_t i = 0; i < n->count; i++) {
		struct rcpt *r = rcpt_new(q, m, (int64_t)i);
		r->address = str_copy(m->arena, n->rcpts[i].address);
		r->orcpt = str_copy(m->arena, n->rcpts[i].orcpt);
		r->notify = str_copy(m->arena, n->rcpts[i].notify);
	}
	list_each(&m->rcpts, at, save)
		route_rcpt(q, list_entry(at, struct rcpt, of_message));
}

/* ----------------------------------------------------------------- rows */

static void
read_rcpt(struct rcpt *r, sqlite3_stmt *s)
{
	struct arena *a = r->msg->arena;
	struct str *texts[] = {&r->address, &r->orcpt, &r->notify, &r->agent,
		&r->user, &r->home, &r->ids, &r->destination};
	for (int i = 0; i < 8; i++)
		*texts[i] = table_text(a, s, 4 + i);
	r->attempts = sqlite3_column_int(s, 12);
	r->attempted = sqlite3_column_int64(s, 13);
	r->notified = sqlite3_column_int(s, 14) != 0;
	r->remote = table_text(a, s, 15);
	/* It may have been delivered before the queue was restarted. */
	r->verify = true;
}

/* A row that makes no sense is set aside with its reason; the rest lives. */
static const char *
what_is_wrong(const struct rcpt *r, enum row_state state)
{
	bool local = str_eq(r->agent, STR("local"));
	if (r->address.n == 0)
		return "the row has no address";
	if (state == ROW_NEW)
		return NULL;
	if (!local && !str_eq(r->agent, STR("remote")))
		return "the row has no such agent";
	if (local && (r->user.n == 0 || r->home.n == 0))
		return "the row has no user or home";
	if (!local && r->destination.n == 0)
		return "the row has no destination";
	return NULL;
}

static void
take_row(struct queue *q, sqlite3_stmt *s, int64_t id, int64_t number)
{
	enum row_state state = (enum row_state)sqlite3_column_int(s, 3);
	struct msg *m = load_message(q, id);
	if (m == NULL) {
		struct op o = {.kind = OP_STATE, .message = id,
			.number = number, .state = ROW_HELD,
			.reply = STR("the message row is missing")};
		batch_add(q, &o);
		log_error(LOG_NO_ID, "row-set-aside", LOG_NUM("message", id),
			LOG_NUM("number", number));
		return;
	}
	if (map_get(m->loaded, number_key(&number)) != NULL)
		return;
	struct rcpt *r = rcpt_new(q, m, number);
	read_rcpt(r, s);
	const char *wrong = what_is_wrong(r, state);
	if (wrong != NULL)
		outcome_held(q, r, str_from(wrong));
	else if (state == ROW_NEW)
		route_rcpt(q, r);
	else
		lane_add(q, r);
}

/* Rows of one state after the cursor; the number read. */
static size_t
load_state(struct queue *q, enum row_state state, int64_t now,
	int64_t cursor[3])
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_DUE);
	size_t count = 0;
	sqlite3_bind_int(s, 1, state);
	sqlite3_bind_int64(s, 2, now);
	for (int i = 0; i < 3; i++)
		sqlite3_bind_int64(s, 3 + i, cursor[i]);
	sqlite3_bind_int(s, 6, ROWS_PER_LOAD);
	while (sqlite3_step(s) == SQLITE_ROW) {
		for (int i = 0; i < 3; i++)
			cursor[i] = sqlite3_column_int64(s, i);
		take_row(q, s, cursor[1], cursor[2]);
		count++;
	}
	sqlite3_reset(s);
	return count;
}

static void
load_again(void *ctx)
{
	struct queue *q = ctx;
	q->load_timer = NULL;
	load_due(q);
	dispatch(q);
	batch_flush(q);
}

static void
sleep_until(struct queue *q, int64_t ms)
{
	loop_untimer(q->load_timer);
	q->load_timer = loop_timer(q->loop, clock_in(ms), load_again, q);
}

static void
sleep_until_due(struct queue *q, int64_t now)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_NEXT_DUE);
	int64_t next = now + SLEEP_MOST;
	sqlite3_bind_int64(s, 1, now);
	if (sqlite3_step(s) == SQLITE_ROW &&
		sqlite3_column_type(s, 0) == SQLITE_INTEGER &&
		sqlite3_column_int64(s, 0) < next)
		next = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	sleep_until(q, (next - now) * 1000 + 20);
}

void
load_due(struct queue *q)
{
	int64_t now = clock_wall(), fresh[3] = {INT64_MIN, 0, 0};
	size_t rows = 0;
	if (q->recipients < WINDOW_RECIPIENTS) {
		rows = load_state(q, ROW_NEW, now, fresh);
		rows += load_state(q, ROW_DUE, now, q->load_cursor);
	}
	q->more_rows = rows >= ROWS_PER_LOAD ||
		q->recipients >= WINDOW_RECIPIENTS;
	if (!q->more_rows) {
		q->load_cursor[0] = INT64_MIN;
		sleep_until_due(q, now);
	} else {
		/* Walk on when what is in memory has been worked off a bit. */
		sleep_until(q, q->recipients < WINDOW_RECIPIENTS ? 1 : 200);
	}
}

void
load_soon(struct queue *q)
{
	if (q->load_timer == NULL || !q->more_rows)
		sleep_until(q, 1);
}

/* Body files nobody's row names were never acknowledged. */
static void
sweep_bodies(struct queue *q)
{
	int fd = openat(q->bodies, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL)
		fatal("bodies", NULL);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		int64_t id;
		if (!qid_parse(str_from(e->d_name), &id))
			continue;
		sqlite3_stmt *s = table_get(q->reader, SELECT_BODY);
		table_bind_text(s, 1, str_from(e->d_name));
		if (sqlite3_step(s) == SQLITE_DONE)
			unlinkat(q->bodies, e->d_name, 0);
		sqlite3_reset(s);
	}
	closedir(d);
}

void
load_start(struct queue *q)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_HIGHEST);
	if (sqlite3_step(s) == SQLITE_ROW)
		q->last_id = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	s = table_get(q->reader, SELECT_LOCAL_DUE);
	sqlite3_bind_int64(s, 1, clock_wall());
	if (sqlite3_step(s) == SQLITE_ROW)
		q->recovering = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	q->load_cursor[0] = INT64_MIN;
	sweep_bodies(q);
}
