/* SPDX-License-Identifier: ISC */
/*
 * Rows into memory.  Three cursors walk over the rows that are due, each in
 * the order of (next, message, number): new ones, to be routed; local and
 * remote ones, into their lanes.  A row for which there is no room stays a
 * row, in one of two ways.
 *
 *  - New and local rows: the cursor waits.  Auth and mailboxes are quick; a
 *    local lane that does not move at all is stepped over, and the place
 *    remembered.
 *  - Remote rows: the cursor goes on and the lane reads its own rows when it
 *    has worked off half of what it has.  A million rows for a dead host are
 *    stepped over once.  It waits only where a lane would have to be made.
 *
 * What is due later is left alone until its time, for which one timer is set.
 * Whatever writes a row says so (load_row), and cursor or timer are set back.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	ROWS_PER_TURN = 500,
	SLEEP_MOST_MS = 600 * 1000,
	STUCK_MS = 10 * 1000,
	BODIES_PER_TURN = 100,
};

static void load_turn(void *ctx);

static void
load_by(struct queue *q, int64_t wall_ms)
{
	int64_t now = clock_wall_us() / 1000;
	if (wall_ms < now)
		wall_ms = now;
	if (q->load_timer != NULL && q->load_at <= wall_ms)
		return;
	loop_untimer(q->load_timer);
	q->load_at = wall_ms;
	q->load_timer = loop_timer(
		q->loop, clock_in(wall_ms - now), load_turn, q);
}

void
load_soon(struct queue *q)
{
	load_by(q, 0);
}

static bool
is_before(const struct cursor *c, int64_t next, int64_t message,
	int64_t number)
{
	if (c->next != next)
		return c->next < next;
	if (c->message != message)
		return c->message < message;
	return c->number < number;
}

/* The row is to be met again. */
static void
set_back(struct cursor *c, int64_t next, int64_t message, int64_t number)
{
	if (is_before(c, next, message, number))
		return;
	c->next = next;
	c->message = message;
	c->number = number - 1;
}

void
load_row(struct queue *q, const struct op *o)
{
	bool in_lane = o->kind == OP_ROUTE || o->kind == OP_RCPT;
	bool changed = o->kind == OP_DEFER || o->kind == OP_STATE ||
		o->kind == OP_REDIRECT;
	if (in_lane ? o->forget == NULL : !changed || o->state == ROW_HELD)
		return;
	/* Also for what is due later: the clock may have been set back. */
	if (o->state == ROW_NEW && !in_lane) {
		set_back(&q->fresh, o->next, o->message, o->number);
	} else {
		set_back(&q->local, o->next, o->message, o->number);
		set_back(&q->remote, o->next, o->message, o->number);
	}
	load_by(q, o->next * 1000);
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
	m->message_id = str_copy(a, n->message_id);
	m->utf8 = n->utf8;
	m->requiretls = n->requiretls;
	m->arrival = n->arrival;
	m->size = n->size;
}

struct msg *
load_message(struct queue *q, int64_t id)
{
	struct msg *m = msg_find(q, id);
	if (m != NULL)
		return m;
	sqlite3_stmt *s = table_get(q->reader, SELECT_MESSAGE);
	sqlite3_bind_int64(s, 1, id);
	if (!table_step(q->reader, s)) {
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

static void
keep_content(struct queue *q, struct msg *m, struct str content)
{
	if (m->body.n > 0 || content.n == 0 || q->content > CONTENT_MOST)
		return;
	m->content = malloc(content.n);
	if (m->content == NULL)
		fatal("out of memory", 0);
	memcpy(m->content, content.p, content.n);
	q->content += content.n;
}

void
load_fresh(struct queue *q, const struct new_message *n)
{
	size_t some = n->count < WORK_MOST ? n->count : WORK_MOST;
	/* A cursor that was still before it has met its rows since the commit:
	 * a second one of the same in memory would be delivered too. */
	if (queue_waiting(q) + some > 2 * WINDOW || msg_find(q, n->id) != NULL)
		some = 0;
	if (some < n->count) {
		set_back(&q->fresh, n->arrival, n->id, (int64_t)some);
		load_soon(q);
	}
	if (some == 0)
		return;
	struct msg *m = msg_new(q, n->id);
	m->fresh = true;
	copy_fields(m, n);
	keep_content(q, m, n->content);
	for (size_t i = 0; i < some; i++) {
		struct rcpt *r = rcpt_new(q, m, (int64_t)i);
		r->address = str_copy(m->arena, n->rcpts[i].address);
		r->orcpt = str_copy(m->arena, n->rcpts[i].orcpt);
		r->notify = str_copy(m->arena, n->rcpts[i].notify);
	}
	list_each(&m->rcpts, at, save)
		route_rcpt(q, list_entry(at, struct rcpt, of_message));
}

/* ----------------------------------------------------------------- rows */

/* Columns of SELECT_DUE and SELECT_LANE. */
enum { NEXT, MESSAGE_ID, NUMBER, STATE, TEXTS, ATTEMPTS = 12, PARKED,
	ATTEMPTED, NOTIFIED, REMOTE };

static void
read_rcpt(struct rcpt *r, sqlite3_stmt *s)
{
	struct arena *a = r->msg->arena;
	struct str *texts[] = {&r->address, &r->orcpt, &r->notify, &r->agent,
		&r->user, &r->home, &r->ids, &r->destination};
	for (int i = 0; i < 8; i++)
		*texts[i] = table_text(a, s, TEXTS + i);
	r->attempts = sqlite3_column_int(s, ATTEMPTS);
	r->parked = sqlite3_column_int(s, PARKED);
	r->attempted = sqlite3_column_int64(s, ATTEMPTED);
	r->notified = sqlite3_column_int(s, NOTIFIED) != 0;
	r->remote = table_text(a, s, REMOTE);
	/* It may have been delivered before the queue was restarted. */
	r->verify = true;
}

static bool
is_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool
are_clean(const struct rcpt *r)
{
	const struct str texts[] = {r->address, r->orcpt, r->notify, r->user,
		r->home, r->ids, r->destination, r->msg->sender,
		r->msg->envid, r->msg->ret, r->msg->body_type};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (!is_clean(texts[i]))
			return false;
	return r->number >= 0 && r->attempts >= 0 && r->parked >= 0;
}

/* A row that makes no sense is set aside with its reason; the rest lives. */
static const char *
what_is_wrong(const struct rcpt *r, enum row_state state)
{
	bool local = str_eq(r->agent, STR("local"));
	bool pipe = str_eq(r->agent, STR("pipe"));
	int64_t id;
	if (r->address.n == 0)
		return "the row has no address";
	if (!are_clean(r))
		return "the row has octets that belong into no address";
	if (r->msg->body.n > 0 && !qid_parse(r->msg->body, &id))
		return "the row names a body file that is none";
	if (r->msg->size < 0)
		return "the row has no size";
	if (state == ROW_NEW)
		return NULL;
	if (!local && !pipe && !str_eq(r->agent, STR("remote")))
		return "the row has no such agent";
	if (local && (r->user.n == 0 || r->home.n == 0))
		return "the row has no user or home";
	if (!local && r->destination.n == 0)
		return "the row has no destination";
	return NULL;
}

static void
set_aside(struct queue *q, int64_t id, int64_t number, const char *why)
{
	char qid[QID_LENGTH + 1];
	struct op o = {.kind = OP_STATE, .message = id, .number = number,
		.state = ROW_HELD, .next = clock_wall(),
		.reply = str_from(why)};
	qid_format(id, qid);
	log_error(str_from(qid), "row-set-aside", LOG_NUM("number", number),
		LOG_CSTR("why", why));
	batch_add(q, &o);
}

/* Sessions wait for what may be half done. */
static void
note_recovery(struct queue *q, struct rcpt *r)
{
	if (q->recovered || str_eq(r->agent, STR("remote")))
		return;
	r->recovers = true;
	q->recovering++;
}

static void
take_row(struct queue *q, sqlite3_stmt *s)
{
	enum row_state state = (enum row_state)sqlite3_column_int(s, STATE);
	int64_t id = sqlite3_column_int64(s, MESSAGE_ID);
	int64_t number = sqlite3_column_int64(s, NUMBER);
	struct msg *m = load_message(q, id);
	if (m == NULL) {
		set_aside(q, id, number, "the message row is missing");
		return;
	}
	struct rcpt *r = rcpt_new(q, m, number);
	read_rcpt(r, s);
	const char *wrong = what_is_wrong(r, state);
	if (wrong != NULL) {
		log_error(str_from(m->qid), "row-set-aside",
			LOG_NUM("number", number), LOG_CSTR("why", wrong));
		outcome_held(q, r, str_from(wrong));
		return;
	}
	note_recovery(q, r);
	if (state == ROW_NEW)
		route_rcpt(q, r);
	else
		lane_add(q, r);
}

struct rcpt *
load_rcpt(struct queue *q, int64_t message, int64_t number)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_ROW);
	struct msg *m = load_message(q, message);
	struct rcpt *r = NULL;
	sqlite3_bind_int64(s, 1, message);
	sqlite3_bind_int64(s, 2, number);
	if (m != NULL && table_step(q->reader, s)) {
		r = rcpt_new(q, m, number);
		read_rcpt(r, s);
	}
	sqlite3_reset(s);
	if (m != NULL && r == NULL)
		msg_release(q, m);
	return r;
}

static bool
is_loaded(struct queue *q, sqlite3_stmt *s)
{
	struct msg *m = msg_find(q, sqlite3_column_int64(s, MESSAGE_ID));
	return m != NULL &&
		rcpt_find(m, sqlite3_column_int64(s, NUMBER)) != NULL;
}

static struct str
view(sqlite3_stmt *s, int column)
{
	const void *p = sqlite3_column_blob(s, column);
	return str_of(p, (size_t)sqlite3_column_bytes(s, column));
}

static struct way
way_of_row(sqlite3_stmt *s)
{
	return (struct way){view(s, TEXTS + 3), view(s, TEXTS + 4),
		view(s, TEXTS + 5), view(s, TEXTS + 6), view(s, TEXTS + 7)};
}

static bool
has_room(struct queue *q, struct lane *l, sqlite3_stmt *s)
{
	return lane_has_room(
		q, l, msg_find(q, sqlite3_column_int64(s, MESSAGE_ID)));
}

/* What a cursor does with a row; false: no room, stay before it. */
typedef bool (*take_fn)(struct queue *q, sqlite3_stmt *s);

static bool
take_new(struct queue *q, sqlite3_stmt *s)
{
	if (is_loaded(q, s))
		return true;
	if (queue_waiting(q) >= WINDOW ||
		q->in[RCPT_ROUTING] >= ROUTING_MOST ||
		q->in[RCPT_LEAVING] >= WINDOW) {
		q->blocked = true;
		return false;
	}
	take_row(q, s);
	return true;
}

static bool
take_local(struct queue *q, sqlite3_stmt *s)
{
	if (str_eq(view(s, TEXTS + 3), STR("remote")) || is_loaded(q, s))
		return true;
	struct way w = way_of_row(s);
	struct lane *l = lane_for(q, &w);
	if (has_room(q, l, s)) {
		take_row(q, s);
		return true;
	}
	lane_skip(q, l);
	/* Behind one that hangs others need not wait; the cursor starts over
	 * when it moves again. */
	l->stepped_over = l->stepped_over ||
		(l->waiting > 0 && clock_ms() - l->moved > STUCK_MS);
	return l->stepped_over;
}

/* A lane costs memory too: a million destinations of their own wait as rows,
 * while a few thousand new ones get past a window full of a few. */
static bool
may_make_lane(const struct queue *q)
{
	size_t waiting = queue_waiting(q);
	return waiting < WINDOW ||
		(waiting < 2 * WINDOW && map_count(q->lanes) < LANES_MOST);
}

static bool
take_remote(struct queue *q, sqlite3_stmt *s)
{
	if (!str_eq(view(s, TEXTS + 3), STR("remote")))
		return true;
	struct way w = way_of_row(s);
	struct lane *l = lane_find(q, &w);
	if (l == NULL && !may_make_lane(q)) {
		q->blocked = true;
		return false;
	}
	if (l == NULL)
		l = lane_for(q, &w);
	if (l->more || is_loaded(q, s))
		return true;
	if (has_room(q, l, s))
		take_row(q, s);
	else
		lane_skip(q, l);
	return true;
}

/* Rows that are too old become failures, and these reports. */
static bool
is_halted(struct queue *q)
{
	q->halted = q->halted || batch_is_full(q) ||
		q->in[RCPT_FAILED] >= 2 * WINDOW;
	return q->halted;
}

void
load_resume(struct queue *q)
{
	if (!q->halted)
		return;
	q->halted = false;
	if (!is_halted(q))
		load_soon(q);
}

static void
bind_place(sqlite3_stmt *s, const struct cursor *c)
{
	sqlite3_bind_int64(s, 3, c->next);
	sqlite3_bind_int64(s, 4, c->message);
	sqlite3_bind_int64(s, 5, c->number);
	sqlite3_bind_int(s, 6, ROWS_PER_TURN);
}

static void
go_past(struct cursor *c, sqlite3_stmt *s)
{
	c->next = sqlite3_column_int64(s, NEXT);
	c->message = sqlite3_column_int64(s, MESSAGE_ID);
	c->number = sqlite3_column_int64(s, NUMBER);
}

/* True when there is more to be read at once. */
static bool
walk(struct queue *q, struct cursor *c, enum row_state state, int64_t now,
	take_fn take)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_DUE);
	bool stopped = false;
	int count = 0;
	sqlite3_bind_int(s, 1, state);
	sqlite3_bind_int64(s, 2, now);
	bind_place(s, c);
	while (!stopped && table_step(q->reader, s)) {
		stopped = is_halted(q) || !take(q, s);
		if (stopped)
			break;
		go_past(c, s);
		count++;
	}
	sqlite3_reset(s);
	if (!stopped && count < ROWS_PER_TURN)
		c->passed = true;
	return !stopped && count == ROWS_PER_TURN;
}

/* -------------------------------------------------------- a lane's rows */

/* True when rows were left because their message has its share already. */
static bool
read_lane(struct queue *q, struct lane *l, struct cursor *c, bool *full,
	size_t *rows)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_LANE);
	int64_t now = clock_wall();
	bool stepped_over = false;
	*rows = 0;
	table_bind_text(s, 1, str_skip(l->key, sizeof "remote"));
	sqlite3_bind_int64(s, 2, now);
	bind_place(s, c);
	sqlite3_bind_int64(s, 7, l->horizon > now && l->failures == 0
			? l->horizon : now);
	while (!*full && !stepped_over && table_step(q->reader, s)) {
		++*rows;
		*full = is_halted(q);
		if (!*full && !is_loaded(q, s)) {
			stepped_over = !has_room(q, l, s) &&
				lane_has_room(q, l, NULL);
			*full = !stepped_over && !has_room(q, l, s);
			if (!*full && !stepped_over)
				take_row(q, s);
		}
		if (!*full)
			go_past(c, s);
	}
	sqlite3_reset(s);
	if (stepped_over)
		c->number = INT64_MAX; /* the rest of that message */
	return stepped_over;
}

static void
refill(struct queue *q, struct lane *l)
{
	struct cursor c = {.next = INT64_MIN};
	bool full = false, left = false, over;
	size_t rows;
	do {
		over = read_lane(q, l, &c, &full, &rows);
		left = left || over;
	} while (!full && (over || rows == ROWS_PER_TURN));
	l->more = full || left;
	l->refill_at = l->waiting / 2;
	if (!full) {
		list_remove(&l->of_hungry);
		return;
	}
	/* Full by itself: it will say when it has room.  Else the window is. */
	if (l->waiting > 0)
		list_remove(&l->of_hungry);
	else
		q->blocked = true;
}

static bool
feed_hungry(struct queue *q)
{
	struct list *first = q->hungry.next;
	if (list_is_empty(&q->hungry) || is_halted(q) ||
		q->in[RCPT_LEAVING] >= WINDOW)
		return false;
	list_remove(first);
	list_add(&q->hungry, first);
	refill(q, list_entry(first, struct lane, of_hungry));
	return !list_is_empty(&q->hungry) && !q->blocked;
}

/* ---------------------------------------------------------------- turns */

static int64_t
next_due(struct queue *q, int64_t now)
{
	int64_t next = INT64_MAX;
	for (int state = ROW_NEW; state <= ROW_DUE; state++) {
		sqlite3_stmt *s = table_get(q->reader, SELECT_NEXT_DUE);
		sqlite3_bind_int(s, 1, state);
		sqlite3_bind_int64(s, 2, now);
		if (table_step(q->reader, s) &&
			sqlite3_column_type(s, 0) == SQLITE_INTEGER &&
			sqlite3_column_int64(s, 0) < next)
			next = sqlite3_column_int64(s, 0);
		sqlite3_reset(s);
	}
	return next;
}

static void
sleep_until_due(struct queue *q, int64_t now)
{
	int64_t next = next_due(q, now);
	int64_t most = clock_wall_us() / 1000 + SLEEP_MOST_MS;
	load_by(q, next < most / 1000 ? next * 1000 : most);
}

void
load_again(struct queue *q)
{
	q->fresh.next = q->local.next = q->remote.next = INT64_MIN;
	load_soon(q);
}

static void
load_turn(void *ctx)
{
	struct queue *q = ctx;
	int64_t now = clock_wall();
	q->load_timer = NULL;
	bool again = walk(q, &q->fresh, ROW_NEW, now, take_new);
	again |= walk(q, &q->local, ROW_DUE, now, take_local);
	again |= walk(q, &q->remote, ROW_DUE, now, take_remote);
	again |= feed_hungry(q);
	if (again)
		load_soon(q);
	else
		sleep_until_due(q, now);
	dispatch_soon(q);
}

/* -------------------------------------------------------------- at start */

struct sweep {
	struct queue *queue;
	DIR *directory;
};

static void
sweep_body(struct queue *q, const char *name)
{
	int64_t id;
	/* This run's are their submitters'. */
	if (!qid_parse(str_from(name), &id) || id >= q->first_id)
		return;
	sqlite3_stmt *s = table_get(q->reader, SELECT_BODY);
	table_bind_text(s, 1, str_from(name));
	if (sqlite3_step(s) == SQLITE_DONE)
		unlinkat(q->bodies, name, 0);
	sqlite3_reset(s);
}

/* Body files no row names were never acknowledged.  There may be a hundred
 * thousand that are: nobody waits for this. */
static void
sweep_bodies(void *ctx)
{
	struct sweep *w = ctx;
	for (int i = 0; i < BODIES_PER_TURN; i++) {
		struct dirent *e = readdir(w->directory);
		if (e == NULL) {
			closedir(w->directory);
			return;
		}
		sweep_body(w->queue, e->d_name);
	}
	loop_timer(w->queue->loop, clock_in(1), sweep_bodies, w);
}

static void
start_sweep(struct queue *q)
{
	struct sweep *w = arena_one(q->arena, struct sweep);
	int fd = openat(q->bodies, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*w = (struct sweep){q, fd < 0 ? NULL : fdopendir(fd)};
	if (w->directory == NULL)
		fatal("bodies", NULL);
	loop_timer(q->loop, clock_ms(), sweep_bodies, w);
}

static void
set_odd_aside(struct queue *q)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_ODD);
	while (table_step(q->reader, s))
		set_aside(q, sqlite3_column_int64(s, 0),
			sqlite3_column_int64(s, 1),
			"the row is in a state there is not");
	sqlite3_reset(s);
}

void
load_start(struct queue *q)
{
	sqlite3_stmt *s = table_get(q->reader, SELECT_HIGHEST);
	if (table_step(q->reader, s))
		q->last_id = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	q->first_id = queue_next_id(q);
	q->fresh.next = q->local.next = q->remote.next = INT64_MIN;
	list_init(&q->hungry);
	set_odd_aside(q);
	start_sweep(q);
	load_soon(q);
}
