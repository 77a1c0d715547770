/* SPDX-License-Identifier: ISC */
/*
 * Recipients become final recipients: auth knows aliases, users and domains,
 * the queue only remembers what it said.  Asked once per recipient, at its
 * first attempt; a recipient auth cannot judge now is tried again later.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/encode.h"

enum {
	AWAY_MS = 500,
	SHIFT_STEP = 10, /* auth gives at most 1000 */
	SHIFT_MOST = 50,
	FORWARDS_MOST = 100,
};

struct routing {
	struct queue *queue;
	struct rcpt *rcpt;
};

static void ask(struct routing *t);

static void
ask_again(void *ctx)
{
	ask(ctx);
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
				!str_eq(m->agent.v[i], STR("remote")))
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
	buf_adds(b, r->msg->utf8 ? "utf-8;" : "rfc822;");
	xtext_encode(b, r->address);
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

/* Where a message that was not just taken goes already. */
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
 * memory until it has not. */
static void
go(struct queue *q, struct rcpt *r, enum op_kind kind)
{
	struct op o = op_of(kind, r);
	struct msg *m = r->msg;
	o.next = m->arrival;
	o.state = ROW_DUE;
	bool twice = is_double(q, r);
	struct lane *l = lane_of(q, r);
	bool fits = lane_fits(q, l, m);
	o.lazy = fits && !twice;
	if (!twice && !fits) {
		rcpt_move(q, r, RCPT_LEAVING);
		o.forget = r;
		lane_skip(q, l);
	}
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

/* Numbers follow from the one that was expanded, so that a route that is asked
 * for again after a crash names the same files. */
static void
expand(struct queue *q, struct rcpt *r, const struct msg_route_result *m)
{
	struct msg *msg = r->msg;
	int shift = shift_for(r->number);
	keep_original(r, m->agent.n > 1 ? STR("") : m->address.v[0]);
	set_final(r, m, 0);
	for (size_t i = 1; i < m->agent.n; i++) {
		int64_t number = ((int64_t)i << shift) + r->number;
		struct rcpt *more = rcpt_new(q, msg, number);
		more->orcpt = r->orcpt;
		more->notify = r->notify;
		more->verify = r->verify;
		set_final(more, m, i);
		go(q, more, OP_RCPT);
	}
	go(q, r, OP_ROUTE);
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
	go(q, more, OP_RCPT);
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
	go(q, more, OP_RCPT);
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

static void
answered(void *ctx, struct arena *a, struct message *m)
{
	struct routing *t = ctx;
	struct queue *q = t->queue;
	struct rcpt *r = t->rcpt;
	(void)a;
	if (m == NULL || m->kind != MSG_route_result) {
		loop_timer(q->loop, clock_in(AWAY_MS), ask_again, t);
		return;
	}
	struct result x = {.status = m->route_result.status};
	bool sound = is_route(&m->route_result) && (m->route_result.agent.n ==
		1 || shift_for(r->number) <= SHIFT_MOST);
	if (status_is_fine(x.status) && sound) {
		expand(q, r, &m->route_result);
		return;
	}
	if (status_is_fine(x.status))
		x.status = STATUS(STATUS_LATER, 3, 5,
			"auth gave a malformed route");
	outcome(q, r, NULL, &x);
}

static void
ask(struct routing *t)
{
	struct message m = MESSAGE(route);
	m.route.address = t->rcpt->address;
	asker_ask(t->queue->auth, &m, answered, t);
}

void
route_rcpt(struct queue *q, struct rcpt *r)
{
	struct routing *t = arena_one(r->msg->arena, struct routing);
	*t = (struct routing){q, r};
	ask(t);
}
