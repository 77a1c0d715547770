/* SPDX-License-Identifier: ISC */
/*
 * The operator's orders.  Rows are found as questions find them, a page at a
 * time, and changed one by one: in memory too, where they are there.  What an
 * agent has in hand cannot be had; it is noted, and obeyed when the attempt
 * was not the last one anyway.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/encode.h"

/* A row that was found. */
struct target {
	struct list link;
	int64_t id, number;
	struct str state, agent, destination;
};

/* r: the recipient in memory; NULL when it is a row only. */
typedef bool (*change_fn)(struct queue *q, const struct target *t,
	struct rcpt *r, struct str text);

struct order {
	struct str verb;
	change_fn fn;
	bool may_wait; /* for an agent */
};

/* -------------------------------------------------------------- changes */

/* Its row's change, which follows, is its last. */
static void
take_out(struct queue *q, struct rcpt *r)
{
	if (r->where == RCPT_QUEUED)
		lane_remove(q, r);
	rcpt_move(q, r, RCPT_LEAVING);
	outcome_settled(q, r->msg);
}

static void
set_row(struct queue *q, const struct target *t, struct rcpt *r,
	enum row_state state, struct str reply)
{
	struct op o = {.kind = OP_STATE, .message = t->id,
		.number = t->number, .state = state, .next = clock_wall(),
		.reply = reply, .forget = r};
	if (r != NULL) {
		outcome_way(q, r);
		take_out(q, r);
	}
	batch_add(q, &o);
}

static enum row_state
state_for(const struct target *t)
{
	return t->agent.n > 0 ? ROW_DUE : ROW_NEW;
}

/* One in memory is being tried, or about to. */
static bool
change_retry(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	(void)text;
	if (r != NULL || str_eq(t->state, STR("held")))
		return false;
	set_row(q, t, NULL, state_for(t), STR(""));
	/* Its host may be down: then it is what probes, now. */
	if (str_eq(t->agent, STR("remote")))
		lane_wake(q, t->destination);
	return true;
}

static bool
change_release(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	(void)text;
	if (r != NULL || !str_eq(t->state, STR("held")))
		return false;
	struct op o = {.kind = OP_CRASHES, .message = t->id};
	struct msg *m = msg_find(q, t->id);
	if (m != NULL)
		m->crashes = 0;
	batch_add(q, &o);
	set_row(q, t, NULL, state_for(t), STR(""));
	return true;
}

static bool
change_hold(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	(void)text;
	if (str_eq(t->state, STR("held")))
		return false;
	set_row(q, t, r, ROW_HELD, STR("held by the operator"));
	return true;
}

static bool
change_delete(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	struct op o = {.kind = OP_FINISH, .message = t->id,
		.number = t->number, .outcome = STR("deleted"),
		.attempted = clock_wall(), .forget = r};
	(void)text;
	if (r != NULL)
		take_out(q, r);
	batch_add(q, &o);
	return true;
}

/* The sender is told, by the same way as when it had become too old. */
static bool
change_expire(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	struct result x = {.status = STATUS(STATUS_NEVER, 4, 7,
		"the operator has given up on delivering this message")};
	(void)text;
	if (r == NULL)
		r = load_rcpt(q, t->id, t->number);
	if (r == NULL)
		return false;
	if (r->where == RCPT_QUEUED)
		lane_remove(q, r);
	r->started = 0;
	outcome(q, r, NULL, &x);
	return true;
}

static int64_t
free_number(struct queue *q, struct msg *m)
{
	if (m->free_number != 0)
		return m->free_number++;
	sqlite3_stmt *s = table_get(q->reader, SELECT_LAST_NUMBER);
	sqlite3_bind_int64(s, 1, m->id);
	if (table_step(q->reader, s))
		m->free_number = sqlite3_column_int64(s, 0) + 1;
	sqlite3_reset(s);
	return m->free_number++;
}

/* It begins anew as a recipient that was not expanded yet: its number too. */
static bool
change_redirect(struct queue *q, const struct target *t, struct rcpt *r,
	struct str text)
{
	if (r == NULL)
		r = load_rcpt(q, t->id, t->number);
	if (r == NULL)
		return false;
	struct op o = op_of(OP_REDIRECT, r);
	struct buf *orcpt = buf_new(r->msg->arena);
	if (r->orcpt.n == 0) {
		orcpt_encode(orcpt, r->address);
		o.orcpt = buf_str(orcpt);
	}
	o.new_number = free_number(q, r->msg);
	if (o.new_number >> NUMBER_BITS != 0) {
		/* Redirected a million times. */
		if (r->where == RCPT_ROUTING)
			rcpt_forget(q, r);
		return false;
	}
	log_info(str_from(r->msg->qid), "redirected",
		LOG_STR("from", r->address), LOG_STR("to", text));
	o.address = text;
	o.next = clock_wall();
	o.state = ROW_NEW;
	o.forget = r;
	take_out(q, r);
	batch_add(q, &o);
	return true;
}

static const struct order orders[] = {
	{STR_INIT("retry"), change_retry, false},
	{STR_INIT("release"), change_release, false},
	{STR_INIT("hold"), change_hold, true},
	{STR_INIT("delete"), change_delete, true},
	{STR_INIT("expire"), change_expire, true},
	{STR_INIT("redirect"), change_redirect, false},
};

static const struct order *
find_order(struct str verb)
{
	for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
		if (str_eq(verb, orders[i].verb))
			return &orders[i];
	return NULL;
}

static bool
obey(struct queue *q, const struct order *o, const struct target *t,
	struct str text)
{
	struct msg *m = msg_find(q, t->id);
	struct rcpt *r = m == NULL ? NULL : rcpt_find(m, t->number);
	if (r == NULL || r->where == RCPT_QUEUED)
		return o->fn(q, t, r, text);
	if (r->where != RCPT_ACTIVE || !o->may_wait)
		return false;
	r->wish = o;
	return true;
}

bool
control_wish(struct queue *q, struct rcpt *r)
{
	const struct order *o = r->wish;
	if (o == NULL)
		return false;
	struct target t = {.id = r->msg->id, .number = r->number,
		.state = STR("active"), .agent = r->agent};
	r->wish = NULL;
	log_info(str_from(r->msg->qid), "operator", LOG_STR("verb", o->verb),
		LOG_STR("rcpt", r->address));
	return o->fn(q, &t, r, STR(""));
}

/* --------------------------------------------------------------- orders */

struct finding {
	struct arena *arena;
	struct list found;
	int64_t count;
};

/* Rows first, changes after: a question must not see what it causes. */
static void
note_target(void *ctx, const struct msg_queue_row *r, int64_t id)
{
	struct finding *x = ctx;
	struct target *t = arena_one(x->arena, struct target);
	t->id = id;
	t->number = r->number;
	t->state = str_copy(x->arena, r->state);
	t->agent = str_copy(x->arena, r->agent);
	t->destination = str_copy(x->arena, r->destination);
	list_add(&x->found, &t->link);
	x->count++;
}

static struct status
check_order(struct arena *a, const struct msg_queue_change *c)
{
	const struct order *o = find_order(c->verb);
	struct address to;
	bool any = c->id.n + c->sender.n + c->rcpt.n + c->domain.n +
		c->state.n + c->reply.n > 0 || c->older > 0 || c->larger > 0;
	if (o == NULL)
		return STATUS(STATUS_NEVER, 5, 4, "There is no such order");
	if (!any && !str_eq(c->text, STR("all")))
		return STATUS(STATUS_NEVER, 5, 4,
			"Say what to change: a filter, or all");
	if (o->fn == change_redirect && !address_parse(a, c->text, true, &to))
		return STATUS(STATUS_NEVER, 1, 3,
			"A redirection needs an address");
	return status_fine();
}

static struct str
place_after(struct arena *a, const struct target *t)
{
	return str_printf(a, "%lld/%lld", (long long)t->id,
		(long long)t->number);
}

void
control_change(struct peer *p, struct arena *a, struct message *m)
{
	struct queue *q = p->peers->ctx;
	const struct msg_queue_change *c = &m->queue_change;
	struct message answer = MESSAGE(done);
	struct filter f = {rows_id(c->id), c->sender, c->rcpt, c->domain,
		c->state, c->reply, STR(""), rows_older(c->older), c->larger};
	struct arena *own = arena_new("change");
	struct finding x = {.arena = own};
	struct str at = c->after;
	list_init(&x.found);
	answer.done.status = check_order(a, c);
	/* Else they would pile up in memory, orders repeated the more. */
	if (q->refusing && status_is_fine(answer.done.status))
		answer.done.status = STATUS(STATUS_LATER, 3, 0,
			"The queue cannot be written; try again later");
	if (status_is_fine(answer.done.status))
		answer.done.status = rows_read(q, a, ROWS_LIVE, &f, &at, 0,
			note_target, &x);
	const struct order *o = find_order(c->verb);
	const struct target *last = NULL;
	list_each(&x.found, link, save) {
		/* The rest is another page. */
		if (last != NULL && batch_is_full(q)) {
			at = place_after(a, last);
			break;
		}
		last = list_entry(link, struct target, link);
		answer.done.count += obey(q, o, last, c->text);
	}
	if (x.count > 0)
		log_info(LOG_NO_ID, "operator", LOG_STR("verb", c->verb),
			LOG_NUM("found", x.count),
			LOG_NUM("changed", answer.done.count));
	answer.done.next = at;
	peer_send(p, &answer);
	arena_free(own);
}
