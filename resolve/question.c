/* SPDX-License-Identifier: ISC */
/*
 * One question, from its asker to libunbound and back.  Answers come in any
 * order and leave in the order of the questions, for askers match them by
 * order alone.  What is late is answered servfail; the search may go on and
 * fill the cache.
 */
#include "resolve.h"
#include "record.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

enum {
	QUESTIONS_MOST = 64, /* of one peer under way */
	RECORDS_MOST = 1000,
	CLASS_IN = 1,
	RCODE_NXDOMAIN = 3,
};

struct asker_state {
	struct arena *arena;
	struct list questions; /* in the order asked */
	size_t count;
};

struct question {
	struct list link;
	struct arena *arena;
	struct resolve *resolve;
	struct peer *peer;
	struct loop_timer *timer;
	struct str name;
	int type, id;
	bool done;
	struct message answer;
};

static struct asker_state *
state_of(struct peer *p)
{
	if (p->data == NULL) {
		struct arena *a = arena_new("asker");
		struct asker_state *s = arena_one(a, struct asker_state);
		s->arena = a;
		list_init(&s->questions);
		p->data = s;
	}
	return p->data;
}

static void
release(struct question *q)
{
	if (q->timer != NULL)
		loop_untimer(q->timer);
	list_remove(&q->link);
	arena_free(q->arena);
}

static void
send_answers(struct peer *p)
{
	struct asker_state *s = p->data;
	list_each(&s->questions, at, save) {
		struct question *q = list_entry(at, struct question, link);
		if (!q->done)
			break;
		peer_send(p, &q->answer);
		s->count--;
		release(q);
	}
}

static void
finish(struct question *q, const struct ub_result *res)
{
	question_answer(q->arena, &q->answer, q->name, q->type, res);
	if (q->timer != NULL)
		loop_untimer(q->timer);
	q->timer = NULL;
	q->done = true;
	send_answers(q->peer);
}

/* -------------------------------------------------------------- answers */

static struct str
rcode_of(const struct ub_result *res)
{
	if (res == NULL)
		return STR("servfail");
	if (res->bogus)
		return STR("bogus");
	if (res->nxdomain || res->rcode == RCODE_NXDOMAIN)
		return STR("nxdomain");
	return res->rcode == 0 ? STR("noerror") : STR("servfail");
}

static void
add_records(struct arena *a, struct msg_dns_answer *m, int type,
	const struct ub_result *res)
{
	size_t count = 0, n = 0;
	while (count < RECORDS_MOST && res->data[count] != NULL)
		count++;
	m->records.v = arena_array(a, count, sizeof *m->records.v);
	for (size_t i = 0; i < count; i++) {
		struct str rdata = {res->data[i],
			res->len[i] < 0 ? 0 : (size_t)res->len[i]};
		n += record_text(a, type, rdata, &m->records.v[n]);
	}
	m->records.n = n;
	/* Garbage only: nothing was learned, least of all that there is no
	 * such record. */
	if (count > 0 && n == 0)
		m->rcode = STR("servfail");
}

void
question_answer(struct arena *a, struct message *answer, struct str name,
	int type, const struct ub_result *res)
{
	*answer = MESSAGE(dns_answer);
	struct msg_dns_answer *m = &answer->dns_answer;
	m->rcode = rcode_of(res);
	m->canonical = name;
	if (res == NULL || res->bogus)
		return;
	m->secure = res->secure != 0;
	m->ttl = res->ttl < 0 ? 0 : res->ttl;
	struct str canonical = str_from(res->canonname);
	if (canonical.n > 1 && str_ends(canonical, STR(".")))
		canonical.n--;
	if (record_is_name(canonical))
		m->canonical = str_copy(a, canonical);
	if (res->havedata && res->data != NULL)
		add_records(a, m, type, res);
}

/* ------------------------------------------------------------ questions */

static void
on_result(void *ctx, int err, struct ub_result *res)
{
	struct question *q = ctx;
	if (err == 0 && res != NULL && res->bogus)
		log_warn(LOG_NO_ID, "bogus", LOG_STR("name", q->name),
			LOG_CSTR("why", res->why_bogus));
	finish(q, err == 0 ? res : NULL);
	ub_resolve_free(res);
}

static void
on_late(void *ctx)
{
	struct question *q = ctx;
	q->timer = NULL;
	ub_cancel(q->resolve->unbound, q->id);
	log_info(LOG_NO_ID, "no-answer", LOG_STR("name", q->name));
	finish(q, NULL);
}

static void
start(struct question *q)
{
	struct resolve *r = q->resolve;
	int64_t ms = r->program->conf->resolve.timeout * 1000;
	int err = ub_resolve_async(r->unbound, str_cstr(q->arena, q->name),
		q->type, CLASS_IN, q, on_result, &q->id);
	if (err != 0) {
		log_error(LOG_NO_ID, "libunbound",
			LOG_CSTR("why", ub_strerror(err)));
		finish(q, NULL);
		return;
	}
	q->timer = loop_timer(r->loop, clock_in(ms), on_late, q);
}

void
question_ask(struct resolve *r, struct peer *p, struct message *m)
{
	struct asker_state *s = state_of(p);
	int type = record_type(m->dns_ask.type);
	if (s->count == QUESTIONS_MOST || type == 0) {
		peer_close(p);
		return;
	}
	struct arena *a = arena_new("question");
	struct question *q = arena_one(a, struct question);
	q->arena = a;
	q->resolve = r;
	q->peer = p;
	q->type = type;
	q->name = str_copy(a, m->dns_ask.name);
	list_add(&s->questions, &q->link);
	s->count++;
	if (record_is_name(q->name)) {
		start(q);
		return;
	}
	/* No such name can be; no name server needs to hear of it. */
	struct ub_result none = {.nxdomain = 1};
	finish(q, &none);
}

void
question_forget(struct peer *p)
{
	struct asker_state *s = p->data;
	if (s == NULL)
		return;
	list_each(&s->questions, at, save) {
		struct question *q = list_entry(at, struct question, link);
		if (!q->done)
			ub_cancel(q->resolve->unbound, q->id);
		release(q);
	}
	arena_free(s->arena);
	p->data = NULL;
}
