/* SPDX-License-Identifier: ISC */
/*
 * The operator's questions and orders.  Questions are answered from indexed
 * rows, with what only memory knows (active, delivered) laid over them; orders
 * find their rows the same way and change them one by one, in memory too where
 * they are there.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <sys/mman.h>
#include <unistd.h>

enum { ROWS_MOST = 100000 };

struct filter {
	struct str id, sender, rcpt, domain, state, reply;
	int64_t older, larger, limit;
};

static const char *const states[] = {
	[ROW_NEW] = "new", [ROW_DUE] = "due", [ROW_HELD] = "held"};

/* -1: any; the two that are both ROW_DUE are told apart row by row. */
static int
state_number(struct str s)
{
	if (str_eq(s, STR("deferred")))
		return ROW_DUE;
	for (int i = 0; i < 3; i++)
		if (str_eq(s, str_from(states[i])))
			return i;
	return -1;
}

static sqlite3_stmt *
select_rows(struct queue *q, enum statement which, const struct filter *f)
{
	sqlite3_stmt *s = table_get(q->reader, which);
	int64_t id = 0;
	if (f->id.n > 0 && !qid_parse(f->id, &id))
		id = -1;
	sqlite3_bind_int64(s, 1, id);
	table_bind_text(s, 2, f->sender);
	table_bind_text(s, 3, f->rcpt);
	table_bind_text(s, 4, f->domain);
	sqlite3_bind_int(s, 5, state_number(f->state));
	table_bind_text(s, 6, f->reply);
	sqlite3_bind_int64(s, 7, f->older > 0 ? clock_wall() - f->older : 0);
	sqlite3_bind_int64(s, 8, f->larger);
	sqlite3_bind_int64(s, 9, f->limit > 0 && f->limit < ROWS_MOST
			? f->limit : ROWS_MOST);
	return s;
}

static struct rcpt *
in_memory(struct queue *q, int64_t id, int64_t number)
{
	struct msg *m = msg_find(q, id);
	return m == NULL ? NULL : rcpt_find(m, number);
}

static struct str
state_of(struct queue *q, const struct msg_queue_row *r, int64_t id,
	int state)
{
	struct rcpt *loaded = in_memory(q, id, r->number);
	if (loaded != NULL && loaded->where == RCPT_ACTIVE)
		return STR("active");
	if (loaded != NULL && loaded->where == RCPT_DELIVERED)
		return STR("delivered");
	if (state != ROW_HELD && (r->attempts > 0 || r->next > clock_wall()))
		return STR("deferred");
	if (state >= 0 && state < 3)
		return str_from(states[state]);
	return STR("unknown");
}

static int64_t
read_row(struct queue *q, struct arena *a, sqlite3_stmt *s,
	struct msg_queue_row *r)
{
	char qid[QID_LENGTH + 1];
	int64_t id = sqlite3_column_int64(s, 0);
	int state = sqlite3_column_int(s, 12);
	struct str *texts[] = {[1] = &r->sender, [4] = &r->origin,
		[5] = &r->client, [6] = &r->user, [8] = &r->rcpt,
		[9] = &r->orcpt, [10] = &r->agent, [11] = &r->destination,
		[16] = &r->reply, [17] = &r->remote};
	int64_t *numbers[] = {[2] = &r->size, [3] = &r->arrival,
		[7] = &r->number, [13] = &r->attempts, [14] = &r->last,
		[15] = &r->next, [18] = &r->finished};
	qid_format(id, qid);
	r->id = str_copy(a, str_from(qid));
	for (int i = 0; i < (int)(sizeof texts / sizeof *texts); i++)
		if (texts[i] != NULL)
			*texts[i] = table_text(a, s, i);
	for (int i = 0; i < (int)(sizeof numbers / sizeof *numbers); i++)
		if (numbers[i] != NULL)
			*numbers[i] = sqlite3_column_int64(s, i);
	r->state = r->finished > 0 ? table_text(a, s, 19)
				   : state_of(q, r, id, state);
	return id;
}

static void
send_done(struct peer *p, struct status s, int64_t count)
{
	struct message m = MESSAGE(done);
	m.done.status = s;
	m.done.count = count;
	peer_send(p, &m);
}

/* ------------------------------------------------------------- content */

static int
memory_file(struct str content)
{
	int fd = memfd_create("content", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	while (content.n > 0) {
		ssize_t n = write(fd, content.p, content.n);
		if (n <= 0) {
			close(fd);
			return -1;
		}
		content = str_skip(content, (size_t)n);
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void
send_content(struct queue *q, struct peer *p, struct arena *a, struct str qid)
{
	struct message answer = MESSAGE(opened);
	struct str content;
	int64_t id;
	struct msg *m = qid_parse(qid, &id) ? load_message(q, id) : NULL;
	if (m == NULL) {
		answer.opened.status = STATUS(STATUS_NEVER, 5, 4,
			"There is no such message in the queue");
		peer_send(p, &answer);
		return;
	}
	struct status s = msg_content(q, a, m, &content, &answer.fd);
	if (status_is_fine(s) && answer.fd < 0)
		answer.fd = memory_file(content);
	if (status_is_fine(s) && answer.fd < 0)
		s = STATUS(STATUS_LATER, 3, 0, "no memory file");
	answer.opened.status = s;
	peer_send(p, &answer);
	message_drop(&answer);
	/* Loaded for this only: nobody else will let go of it. */
	msg_release(q, m);
}

/* ---------------------------------------------------------------- list */

void
control_list(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	const struct msg_queue_list *l = &m->queue_list;
	struct filter f = {l->id, l->sender, l->rcpt, l->domain, l->state,
		l->reply, l->older, l->larger, l->limit};
	int64_t count = 0;
	if (l->content != 0) {
		send_content(q, p, a, l->id);
		return;
	}
	sqlite3_stmt *s = select_rows(
		q, l->history != 0 ? SELECT_HISTORY : SELECT_ROWS, &f);
	while (sqlite3_step(s) == SQLITE_ROW) {
		struct arena_mark mark = arena_mark(a);
		struct message row = MESSAGE(queue_row);
		read_row(q, a, s, &row.queue_row);
		bool wanted = f.state.n == 0 || l->history != 0 ||
			str_eq(f.state, row.queue_row.state);
		if (wanted) {
			peer_send(p, &row);
			count++;
		}
		arena_rewind(a, mark);
	}
	sqlite3_reset(s);
	send_done(p, status_fine(), count);
}

/* -------------------------------------------------------------- change */

struct target {
	int64_t id, number;
	struct msg_queue_row row;
};

typedef bool (*change_fn)(struct queue *q, const struct target *t,
	struct rcpt *loaded, struct str text);

/* A recipient that is being tried or is delivered is not to be had. */
static bool
is_busy(const struct rcpt *r)
{
	return r != NULL && r->where != RCPT_QUEUED;
}

/* Its row's change, which follows, is its last. */
static void
take_out(struct queue *q, struct rcpt *r)
{
	lane_remove(q, r);
	rcpt_move(q, r, RCPT_LEAVING);
	outcome_settled(q, r->msg);
}

static void
set_row(struct queue *q, const struct target *t, struct rcpt *loaded,
	enum row_state state)
{
	struct op o = {.kind = OP_STATE, .message = t->id,
		.number = t->number, .state = state, .next = clock_wall(),
		.forget = loaded};
	batch_add(q, &o);
}

static bool
change_retry(struct queue *q, const struct target *t, struct rcpt *loaded,
	struct str text)
{
	(void)text;
	if (loaded != NULL)
		return false; /* it is being tried, or about to */
	if (str_eq(t->row.state, STR("held")))
		return false;
	set_row(q, t, NULL, t->row.agent.n > 0 ? ROW_DUE : ROW_NEW);
	return true;
}

static bool
change_release(struct queue *q, const struct target *t, struct rcpt *loaded,
	struct str text)
{
	(void)text;
	if (loaded != NULL || !str_eq(t->row.state, STR("held")))
		return false;
	struct op o = {.kind = OP_CRASHES, .message = t->id};
	batch_add(q, &o);
	set_row(q, t, NULL, t->row.agent.n > 0 ? ROW_DUE : ROW_NEW);
	return true;
}

static bool
change_hold(struct queue *q, const struct target *t, struct rcpt *loaded,
	struct str text)
{
	(void)text;
	if (is_busy(loaded) || str_eq(t->row.state, STR("held")))
		return false;
	if (loaded != NULL)
		take_out(q, loaded);
	set_row(q, t, loaded, ROW_HELD);
	return true;
}

static bool
change_delete(struct queue *q, const struct target *t, struct rcpt *loaded,
	struct str text)
{
	(void)text;
	if (is_busy(loaded))
		return false;
	if (loaded != NULL)
		take_out(q, loaded);
	struct op o = {.kind = OP_FINISH, .message = t->id,
		.number = t->number, .outcome = STR("deleted"),
		.attempted = clock_wall(), .forget = loaded};
	batch_add(q, &o);
	return true;
}

static const struct {
	struct str verb;
	change_fn fn;
} verbs[] = {
	{STR_INIT("retry"), change_retry},
	{STR_INIT("release"), change_release},
	{STR_INIT("hold"), change_hold},
	{STR_INIT("delete"), change_delete},
};

/* Rows first, changes after: the statement must not see its own effect. */
static size_t
find_targets(struct queue *q, struct arena *a, const struct filter *f,
	struct target **out)
{
	sqlite3_stmt *s = select_rows(q, SELECT_ROWS, f);
	struct target *t = arena_array(a, 64, sizeof *t);
	size_t n = 0, cap = 64;
	while (sqlite3_step(s) == SQLITE_ROW) {
		if (n == cap) {
			cap *= 2;
			struct target *more = arena_array(a, cap, sizeof *t);
			memcpy(more, t, n * sizeof *t);
			t = more;
		}
		t[n].id = read_row(q, a, s, &t[n].row);
		t[n].number = t[n].row.number;
		if (f->state.n == 0 || str_eq(f->state, t[n].row.state))
			n++;
	}
	sqlite3_reset(s);
	*out = t;
	return n;
}

void
control_change(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	const struct msg_queue_change *c = &m->queue_change;
	struct filter f = {c->id, c->sender, c->rcpt, c->domain, c->state,
		c->reply, c->older, c->larger, 0};
	struct target *t;
	change_fn fn = NULL;
	bool any = f.id.n + f.sender.n + f.rcpt.n + f.domain.n + f.state.n +
		f.reply.n > 0 || f.older > 0 || f.larger > 0;
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (str_eq(c->verb, verbs[i].verb))
			fn = verbs[i].fn;
	if (fn == NULL || (!any && !str_eq(c->text, STR("all")))) {
		send_done(p, STATUS(STATUS_NEVER, 5, 4, "Say what to change: "
			"a filter, or all"), 0);
		return;
	}
	size_t n = find_targets(q, a, &f, &t);
	int64_t changed = 0;
	for (size_t i = 0; i < n; i++)
		changed += fn(q, &t[i], in_memory(q, t[i].id, t[i].number),
			c->text);
	log_info(LOG_NO_ID, "operator", LOG_STR("verb", c->verb),
		LOG_NUM("found", n), LOG_NUM("changed", changed));
	send_done(p, status_fine(), changed);
}
