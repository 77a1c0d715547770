/* SPDX-License-Identifier: ISC */
/*
 * Messages and recipients in memory.  A message is there as long as one of its
 * recipients is; content only from its arrival until it is first sent, since
 * what is deferred may wait for days and is read again then.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FEW = 16 }; /* recipients, looked through one by one */

struct msg *
msg_new(struct queue *q, int64_t id)
{
	struct arena *a = arena_new("message");
	struct msg *m = arena_one(a, struct msg);
	m->arena = a;
	m->id = id;
	qid_format(id, m->qid);
	list_init(&m->rcpts);
	list_init(&m->failures);
	list_init(&m->of_settled);
	map_set(q->messages, str_from(m->qid), m);
	return m;
}

struct msg *
msg_find(struct queue *q, int64_t id)
{
	char qid[QID_LENGTH + 1];
	qid_format(id, qid);
	return map_get(q->messages, str_from(qid));
}

void
msg_drop_content(struct queue *q, struct msg *m)
{
	if (m->content == NULL)
		return;
	q->content -= (size_t)m->size;
	free(m->content);
	m->content = NULL;
}

void
msg_release(struct queue *q, struct msg *m)
{
	if (!list_is_empty(&m->rcpts))
		return;
	/* Notices of delays, whose rows are written already. */
	if (m->failed > 0)
		report_failures(q, m);
	list_remove(&m->of_settled);
	map_remove(q->messages, str_from(m->qid));
	msg_drop_content(q, m);
	arena_free(m->arena);
}

/* ------------------------------------------------------------ recipients */

static struct str
number_key(const int64_t *number)
{
	return str_of(number, sizeof *number);
}

static void
index_rcpts(struct msg *m)
{
	m->loaded = map_new(m->arena);
	list_each(&m->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_message);
		map_set(m->loaded, number_key(&r->number), r);
	}
}

static bool
is_pending(enum rcpt_where where)
{
	return where == RCPT_ROUTING || where == RCPT_QUEUED ||
		where == RCPT_ACTIVE;
}

static bool
is_unsent(enum rcpt_where where)
{
	return where == RCPT_ROUTING || where == RCPT_QUEUED;
}

struct rcpt *
rcpt_new(struct queue *q, struct msg *m, int64_t number)
{
	struct rcpt *r = arena_one(m->arena, struct rcpt);
	r->msg = m;
	r->number = number;
	list_add(&m->rcpts, &r->of_message);
	m->count++;
	if (m->loaded != NULL)
		map_set(m->loaded, number_key(&number), r);
	else if (m->count > FEW)
		index_rcpts(m);
	r->where = RCPT_ROUTING;
	q->in[r->where]++;
	m->pending++;
	m->unsent++;
	return r;
}

struct rcpt *
rcpt_find(const struct msg *m, int64_t number)
{
	if (m->loaded != NULL)
		return map_get(m->loaded, number_key(&number));
	list_each(&m->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_message);
		if (r->number == number)
			return r;
	}
	return NULL;
}

/* Some way below the mark, so that rows are read by the hundred. */
static void
unblock(struct queue *q)
{
	if (!q->blocked || queue_waiting(q) >= WINDOW / 4 * 3 ||
		q->in[RCPT_ROUTING] >= ROUTING_MOST / 2 ||
		q->in[RCPT_LEAVING] >= WINDOW / 2)
		return;
	q->blocked = false;
	load_soon(q);
}

void
rcpt_move(struct queue *q, struct rcpt *r, enum rcpt_where where)
{
	r->msg->pending -= is_pending(r->where);
	r->msg->unsent -= is_unsent(r->where);
	q->in[r->where]--;
	r->where = where;
	q->in[where]++;
	r->msg->pending += is_pending(where);
	r->msg->unsent += is_unsent(where);
	unblock(q);
}

void
rcpt_recovered(struct queue *q, struct rcpt *r)
{
	if (!r->recovers)
		return;
	r->recovers = false;
	q->recovering--;
}

void
rcpt_forget(struct queue *q, struct rcpt *r)
{
	struct msg *m = r->msg;
	rcpt_recovered(q, r);
	list_remove(&r->of_message);
	list_remove(&r->of_work);
	if (m->loaded != NULL)
		map_remove(m->loaded, number_key(&r->number));
	m->count--;
	m->pending -= is_pending(r->where);
	m->unsent -= is_unsent(r->where);
	q->in[r->where]--;
	msg_release(q, m);
	unblock(q);
}

/* --------------------------------------------------------------- content */

/* What is not there, or not what was acknowledged, is nothing an agent can
 * mend: never.  Other trouble passes. */
static struct status
open_body(struct queue *q, struct arena *a, struct msg *m, int *fd)
{
	struct stat st;
	*fd = openat(q->bodies, str_cstr(a, m->body),
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*fd < 0 && (errno == ENOENT || errno == ELOOP))
		return status_never(3, 0, str_printf(a,
			"the body file bodies/%.*s is missing",
			STR_ARG(m->body)));
	if (*fd < 0 || fstat(*fd, &st) != 0)
		return status_errno(a, "body file", errno);
	if (S_ISREG(st.st_mode) && st.st_size == m->size)
		return status_fine();
	close(*fd);
	*fd = -1;
	return status_never(3, 0, str_printf(a, "the body file bodies/%.*s has "
		"%lld octets and should have %lld", STR_ARG(m->body),
		(long long)st.st_size, (long long)m->size));
}

struct status
msg_content(struct queue *q, struct arena *a, struct msg *m,
	struct str *content, int *fd)
{
	*content = STR("");
	*fd = -1;
	if (m->body.n > 0)
		return open_body(q, a, m, fd);
	if (m->content != NULL) {
		*content = str_of(m->content, (size_t)m->size);
		return status_fine();
	}
	sqlite3_stmt *s = table_get(q->reader, SELECT_CONTENT);
	sqlite3_bind_int64(s, 1, m->id);
	int r = sqlite3_step(s);
	if (r == SQLITE_ROW)
		*content = table_text(a, s, 0);
	sqlite3_reset(s);
	if (r == SQLITE_ROW && content->n == (size_t)m->size)
		return status_fine();
	if (r == SQLITE_ROW || r == SQLITE_DONE)
		return STATUS(STATUS_NEVER, 3, 0, "the content row is missing "
			"or not of the size it had");
	q->reader->damaged |= table_is_damage(r);
	return STATUS(STATUS_LATER, 3, 0,
		"the content cannot be read from the queue");
}
