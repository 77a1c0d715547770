/* SPDX-License-Identifier: ISC */
/*
 * Recipients become final recipients: auth knows aliases, users and domains,
 * the queue only remembers what it said.  Asked once about a recipient, at its
 * first attempt, together with all others of that turn; one auth cannot judge
 * now is tried again later.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/encode.h"

#include <stdlib.h>

enum {
	AWAY_MS = 500,
	SHIFT_STEP = 10, /* auth gives at most 1000 */
	SHIFT_MOST = 50,
	FORWARDS_MOST = 100,
	ROUTES_AT_ONCE = 50,
};

/* One question: all that was to be asked in a turn. */
struct routing {
	struct queue *queue;
	size_t n;
	struct rcpt *rcpts[ROUTES_AT_ONCE];
};

static void ask(struct routing *t);

static void
ask_again(void *ctx)
{
	ask(ctx);
}

static bool
is_nobody(const struct msg_route_result *m, size_t i)
{
	return str_eq(m->agent.v[i], STR("nobody"));
}

static bool
is_route(const struct msg_route_result *m)
{
	size_t n = m->agent.n;
	if (n == 0 || m->address.n != n || m->user.n != n || m->home.n != n ||
		m->ids.n != n || m->command.n != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool pipe = str_eq(m->agent.v[i], STR("pipe"));
		if (pipe ? m->command.v[i].n == 0 :
			!str_eq(m->agent.v[i], STR("local")) &&
				!str_eq(m->agent.v[i], STR("remote")) &&
				!(i > 0 && is_nobody(m, i)))
			return false;
	}
	return true;
}

/* Reports and logs name the recipient the sender knows (RFC 3464 2.3.1). */
static void
keep_original(struct rcpt *r, struct str address)
{
	if (r->orcpt.n > 0 || str_eq_nocase(r->address, address))
		return;
	struct buf *b = buf_new(r->msg->arena);
	orcpt_encode(b, r->address);
	r->orcpt = buf_str(b);
}

static void
set_final(struct rcpt *r, const struct msg_route_result *m, size_t i)
{
	struct arena *a = r->msg->arena;
	r->address = str_copy(a, m->address.v[i]);
	r->agent = str_copy(a, m->agent.v[i]);
	r->user = str_copy(a, m->user.v[i]);
	r->home = str_copy(a, m->home.v[i]);
	r->ids = str_copy(a, m->ids.v[i]);
	r->destination = m->command.v[i].n > 0
		? str_copy(a, m->command.v[i])
		: str_skip(r->address, str_find_last(r->address, '@') + 1);
}

/* A command of an alias is one whatever alias led there, a named one is for
 * each address. */
static struct str
final_of(struct arena *a, const struct way *w, struct str address)
{
	bool pipe = str_eq(w->agent, STR("pipe"));
	if (!pipe)
		return w->user.n > 0 ? w->user : address;
	return str_printf(a, "%.*s|%.*s|%.*s", STR_ARG(w->user),
		STR_ARG(w->destination), STR_ARG(str_starts(w->destination,
			STR("|")) ? STR("") : address));
}

/* Where a message that was not just taken goes already.  What a duplicate was of
 * may not be written yet, and is not to be taken for one of it. */
static void
recall(struct queue *q, struct msg *m)
{
	m->seen = seen_new(m->arena);
	if (m->fresh)
		return;
	struct arena *a = arena_new("seen");
	sqlite3_stmt *s = table_get(q->reader, SELECT_ROUTED);
	sqlite3_bind_int64(s, 1, m->id);
	while (table_step(q->reader, s)) {
		struct arena_mark mark = arena_mark(a);
		struct way w = {.user = table_text(a, s, 0),
			.agent = table_text(a, s, 2),
			.destination = table_text(a, s, 3)};
		seen_add(m->seen, final_of(a, &w, table_text(a, s, 1)));
		arena_rewind(a, mark);
	}
	sqlite3_reset(s);
	arena_free(a);
}

/* True when this message already goes to the same place: once is enough
 * (within one transaction, whatever aliases led there). */
static bool
is_double(struct queue *q, struct rcpt *r)
{
	if (r->msg->seen == NULL)
		recall(q, r->msg);
	struct way w = {r->agent, r->user, r->home, r->ids, r->destination};
	return !seen_add(r->msg->seen,
		final_of(r->msg->arena, &w, r->address));
}

/* Into its lane; or, when that has more of this message than its share, off
 * memory until it has not.  only: nobody else was made of it. */
static void
go(struct queue *q, struct rcpt *r, enum op_kind kind, bool only)
{
	struct op o = op_of(kind, r);
	struct msg *m = r->msg;
	o.next = m->arrival;
	o.state = ROW_DUE;
	bool twice = is_double(q, r);
	struct lane *l = lane_of(q, r);
	bool fits = lane_fits(q, l, m);
	o.lazy = fits && !twice;
	/* Most are delivered at once, and what becomes of one says where it
	 * went: only a row that stays has to (outcome.c). */
	r->unwritten = only && m->fresh && (fits || twice);
	if (!twice && !fits) {
		rcpt_move(q, r, RCPT_LEAVING);
		o.forget = r;
		lane_skip(q, l);
	}
	if (!r->unwritten)
		batch_add(q, &o);
	if (twice) {
		log_info(str_from(m->qid), "duplicate",
			LOG_STR("rcpt", r->address));
		outcome_finished(q, r, "duplicate", &(struct result){0});
	} else if (fits) {
		lane_add(q, r);
	}
	outcome_settled(q, m);
}

/* Numbers of expanded and forwarded ones lie apart by level, so that those of
 * an expansion of something forwarded meet no others. */
static int
shift_for(int64_t number)
{
	int shift = NUMBER_BITS;
	while (shift <= SHIFT_MOST && number >> shift != 0)
		shift += SHIFT_STEP;
	return shift;
}

/* A target of an alias that is nobody: the sender hears of it, as of a name of
 * his own.  After a crash auth says so again. */
static void
go_nowhere(struct queue *q, struct rcpt *r, struct str address)
{
	struct result x = {.status = STATUS(STATUS_NEVER, 1, 1,
		"There is no such user here")};
	r->address = str_copy(r->msg->arena, address);
	struct op o = op_of(OP_RCPT, r);
	o.next = r->msg->arrival;
	batch_add(q, &o);
	outcome(q, r, NULL, &x);
}

/* Numbers follow from the one that was expanded, so that a route that is asked
 * for again after a crash names the same files. */
static void
expand(struct queue *q, struct rcpt *r, const struct msg_route_result *m)
{
	struct msg *msg = r->msg;
	int shift = shift_for(r->number);
	keep_original(r, m->agent.n > 1 ? STR("") : m->address.v[0]);
	set_final(r, m, 0);
	size_t i = 1;
	for (; i < m->agent.n; i++) {
		int64_t number = ((int64_t)i << shift) + r->number;
		struct rcpt *more = rcpt_new(q, msg, number);
		more->orcpt = r->orcpt;
		more->notify = r->notify;
		more->verify = r->verify;
		if (is_nobody(m, i)) {
			go_nowhere(q, more, m->address.v[i]);
			continue;
		}
		set_final(more, m, i);
		go(q, more, OP_RCPT, false);
	}
	go(q, r, OP_ROUTE, i == 1);
}

/* ------------------------------------------------------------ forwarding */

/* The user's own mailbox, whose agent does not look for a .forward again. */
static void
keep_copy(struct queue *q, const struct rcpt *r, struct rcpt *more)
{
	more->agent = r->agent;
	more->user = str_printf(
		r->msg->arena, "\\%.*s", STR_ARG(r->user));
	more->home = r->home;
	more->ids = r->ids;
	more->destination = r->destination;
	go(q, more, OP_RCPT, false);
}

/* Run as the user whose .forward has it. */
static void
give_command(struct queue *q, const struct rcpt *r, struct rcpt *more,
	struct str command)
{
	more->agent = STR("pipe");
	more->user = r->user;
	more->home = r->home;
	more->ids = r->ids;
	more->destination = str_copy(r->msg->arena, command);
	go(q, more, OP_RCPT, false);
}

static void
forward_one(struct queue *q, const struct rcpt *r, int64_t number,
	struct str target)
{
	struct msg *m = r->msg;
	struct rcpt *more = rcpt_new(q, m, number);
	more->notify = r->notify;
	more->orcpt = r->orcpt;
	more->verify = r->verify;
	more->address = r->address;
	keep_original(more, STR(""));
	if (str_eq(target, STR("\\"))) {
		keep_copy(q, r, more);
		return;
	}
	if (str_starts(target, STR("|"))) {
		give_command(q, r, more, target);
		return;
	}
	more->address = str_copy(m->arena, target);
	struct op o = op_of(OP_RCPT, more);
	o.next = m->arrival;
	batch_add(q, &o);
	route_rcpt(q, more);
}

static void
log_forward(const struct rcpt *r, struct str targets)
{
	struct arena *a = arena_new("log");
	char *text = str_cstr(a, targets);
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\n')
			*p = ',';
	log_info(str_from(r->msg->qid), "forwarded",
		LOG_STR("rcpt", r->address), LOG_CSTR("to", text));
	arena_free(a);
}

/* The new rows and the end of this one are one commit: a crash neither loses
 * nor doubles what was forwarded.  Where it lost them and they were delivered
 * already, this one is expanded again, and their verify is this one's. */
bool
route_forward(struct queue *q, struct rcpt *r, struct str targets)
{
	int shift = shift_for(r->number);
	struct str target;
	int64_t i = 0;
	if (shift > SHIFT_MOST)
		return false;
	log_forward(r, targets);
	while (i < FORWARDS_MOST && str_cut(&targets, '\n', &target))
		if (target.n > 0)
			forward_one(q, r, (++i << shift) + r->number, target);
	outcome_finished(q, r, "forwarded", &(struct result){0});
	outcome_settled(q, r->msg);
	return true;
}

/* --------------------------------------------------------------- routing */

/* What auth said of all, cut into what it said of each. */
struct routes {
	struct msg_routes_result *all;
	size_t at; /* in the lists of final recipients */
};

static struct str_list
part(struct str_list l, size_t at, size_t n)
{
	return (struct str_list){n == 0 ? NULL : l.v + at, n};
}

/* False when it says something else than it was asked. */
static bool
next_route(struct routes *x, size_t i, struct msg_route_result *out)
{
	const struct msg_routes_result *all = x->all;
	uint64_t n;
	if (!status_parse(all->status.v[i], &out->status) ||
		!str_number(all->finals.v[i], all->agent.n - x->at, &n))
		return false;
	out->agent = part(all->agent, x->at, (size_t)n);
	out->address = part(all->address, x->at, (size_t)n);
	out->user = part(all->user, x->at, (size_t)n);
	out->home = part(all->home, x->at, (size_t)n);
	out->ids = part(all->ids, x->at, (size_t)n);
	out->command = part(all->command, x->at, (size_t)n);
	x->at += (size_t)n;
	return true;
}

static bool
are_routes(const struct msg_routes_result *m, size_t asked)
{
	size_t n = m->agent.n;
	return m->status.n == asked && m->finals.n == asked &&
		m->address.n == n && m->user.n == n && m->home.n == n &&
		m->ids.n == n;
}

static void
routed(struct queue *q, struct rcpt *r, const struct msg_route_result *m)
{
	struct result x = {.status = m->status};
	bool sound = is_route(m) &&
		(m->agent.n == 1 || shift_for(r->number) <= SHIFT_MOST);
	if (status_is_fine(x.status) && sound) {
		expand(q, r, m);
		return;
	}
	if (status_is_fine(x.status))
		x.status = STATUS(STATUS_LATER, 3, 5,
			"auth gave a malformed route");
	outcome(q, r, NULL, &x);
}

static void
answered(void *ctx, struct arena *a, struct message *m)
{
	struct routing *t = ctx;
	(void)a;
	if (m == NULL || m->kind != MSG_routes_result) {
		loop_timer(t->queue->loop, clock_in(AWAY_MS), ask_again, t);
		return;
	}
	struct routes x = {.all = &m->routes_result};
	bool sound = are_routes(x.all, t->n);
	for (size_t i = 0; i < t->n; i++) {
		struct msg_route_result one = {.status = status_fine()};
		sound = sound && next_route(&x, i, &one);
		if (!sound)
			one = (struct msg_route_result){
				.status = status_fine()};
		routed(t->queue, t->rcpts[i], &one);
	}
	free(t);
}

static void
ask(struct routing *t)
{
	struct str addresses[ROUTES_AT_ONCE];
	struct message m = MESSAGE(routes);
	for (size_t i = 0; i < t->n; i++)
		addresses[i] = t->rcpts[i]->address;
	m.routes.addresses = (struct str_list){addresses, t->n};
	asker_ask(t->queue->auth, &m, answered, t);
}

void
route_flush(struct queue *q)
{
	struct routing *t = q->to_route;
	q->to_route = NULL;
	if (t != NULL)
		ask(t);
}

void
route_rcpt(struct queue *q, struct rcpt *r)
{
	struct routing *t = q->to_route;
	if (t == NULL) {
		t = q->to_route = malloc(sizeof *t);
		if (t == NULL)
			fatal("out of memory", 0);
		t->queue = q;
		t->n = 0;
	}
	t->rcpts[t->n++] = r;
	if (t->n == ROUTES_AT_ONCE)
		route_flush(q);
}
