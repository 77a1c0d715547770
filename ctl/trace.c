/* SPDX-License-Identifier: ISC */
/*
 * `surat trace`: the life of a message, from its client's connection to the
 * last answer on its last recipient, with the time each step took.  It is put
 * together from the queue's rows: what waits, what is finished, and the
 * attempts between.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MESSAGES = 10, EVENTS_MOST = 20000 };

/* One row that came, kept. */
struct event {
	struct list link;
	struct msg_queue_row row;
};

struct life {
	struct list link;
	struct str id;
	struct list rows, attempts;
};

struct tracing {
	struct ctl *ctl;
	struct arena *arena;
	struct list lives;
	struct list *into; /* where rows of one message go */
	int64_t found, limit, events;
};

static struct msg_queue_row
keep(struct arena *a, const struct msg_queue_row *r)
{
	struct msg_queue_row k = *r;
	struct str *const texts[] = {&k.id, &k.sender, &k.origin, &k.client,
		&k.user, &k.session, &k.message_id, &k.trace, &k.rcpt,
		&k.orcpt, &k.agent, &k.destination, &k.state, &k.reply,
		&k.remote, &k.detail};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		*texts[i] = str_copy(a, *texts[i]);
	return k;
}

/* -------------------------------------------------------------- finding */

/* Which messages are meant; rows of one come one after the other. */
static bool
note_message(void *ctx, const struct message *m)
{
	struct tracing *x = ctx;
	list_each(&x->lives, at, save)
		if (str_eq(list_entry(at, struct life, link)->id,
			m->queue_row.id))
			return true;
	if (x->found == x->limit)
		return false;
	struct life *l = arena_one(x->arena, struct life);
	l->id = str_copy(x->arena, m->queue_row.id);
	list_init(&l->rows);
	list_init(&l->attempts);
	list_add(&x->lives, &l->link);
	x->found++;
	return true;
}

static bool
note_row(void *ctx, const struct message *m)
{
	struct tracing *x = ctx;
	struct event *e = arena_one(x->arena, struct event);
	e->row = keep(x->arena, &m->queue_row);
	list_add(x->into, &e->link);
	return ++x->events < EVENTS_MOST;
}

static int
find(struct tracing *x, struct str what)
{
	struct msg_queue_list ask = {.about = what};
	bool is_id = str_starts(what, STR("<")) && str_ends(what, STR(">"));
	if (is_id)
		ask.about = str_head(str_skip(what, 1), what.n - 2);
	if (!str_has(what, '@') && !is_id)
		ask = (struct msg_queue_list){.id = what};
	int status = queue_pages(x->ctl, &ask, note_message, x);
	ask.history = 1;
	if (status == EX_OK)
		status = queue_pages(x->ctl, &ask, note_message, x);
	return status;
}

static int
read_life(struct tracing *x, struct life *l)
{
	struct msg_queue_list ask = {.id = l->id};
	x->into = &l->rows;
	x->events = 0;
	int status = queue_pages(x->ctl, &ask, note_row, x);
	ask.history = 1;
	if (status == EX_OK)
		status = queue_pages(x->ctl, &ask, note_row, x);
	ask.history = 0;
	ask.attempts = 1;
	x->into = &l->attempts;
	if (status == EX_OK)
		status = queue_pages(x->ctl, &ask, note_row, x);
	return status;
}

/* ------------------------------------------------------------- printing */

static void
print_moment(int64_t us)
{
	time_t t = (time_t)(us / 1000000);
	struct tm tm;
	char text[40];
	localtime_r(&t, &tm);
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	printf("  %s.%03d", text, (int)(us / 1000 % 1000));
}

/* What came after a wait of so long. */
static void
print_step(int64_t us, int64_t since)
{
	print_moment(us);
	if (since > 0 && us >= since)
		printf(" %+10.3f s  ", (double)(us - since) / 1e6);
	else
		printf(" %12s  ", "");
}

/* "began=1795791228123456" among the words of a trace. */
static int64_t
began(struct str trace)
{
	struct str word;
	uint64_t n;
	while (str_word(&trace, &word))
		if (str_starts(word, STR("began=")) &&
			str_number(str_skip(word, 6), INT64_MAX, &n))
			return (int64_t)n;
	return 0;
}

static void
print_attempt(struct arena *a, const struct msg_queue_row *r, int64_t since)
{
	print_step(r->started, since);
	printf("tried for %.3f s: %.*s", (double)r->took / 1e6,
		STR_ARG(text_safe(a, r->reply)));
	if (r->remote.n > 0)
		printf(", says %.*s", STR_ARG(text_safe(a, r->remote)));
	if (r->detail.n > 0)
		printf(" (%.*s)", STR_ARG(text_safe(a, r->detail)));
	putchar('\n');
}

static void
print_end(struct arena *a, const struct msg_queue_row *r, int64_t since)
{
	if (r->finished == 0) {
		printf("  %-38s  %.*s", "now", STR_ARG(r->state));
		if (r->next > 0 && str_eq(r->state, STR("deferred")))
			printf(" until %.*s", STR_ARG(text_time(a, r->next)));
		printf("%s%.*s\n", r->reply.n > 0 ? ": " : "",
			STR_ARG(text_safe(a, r->reply)));
		return;
	}
	if (r->started > 0) {
		print_attempt(a, r, since);
		since = r->started + r->took;
	}
	/* A row has the second alone. */
	int64_t end = r->finished * 1000000;
	print_step(end < since ? since : end, 0);
	printf("%.*s\n", STR_ARG(r->state));
}

static void
print_rcpt(struct arena *a, const struct life *l,
	const struct msg_queue_row *r)
{
	int64_t since = r->accepted;
	printf("  <%.*s>", STR_ARG(text_safe(a, r->rcpt)));
	if (r->orcpt.n > 0)
		printf(" first %.*s", STR_ARG(text_safe(a, r->orcpt)));
	if (r->destination.n > 0)
		printf(" by %.*s to %.*s", STR_ARG(text_safe(a, r->agent)),
			STR_ARG(text_safe(a, r->destination)));
	putchar('\n');
	list_each(&l->attempts, at, save) {
		const struct msg_queue_row *t =
			&list_entry(at, struct event, link)->row;
		if (t->number != r->number)
			continue;
		print_attempt(a, t, since);
		since = t->started + t->took;
	}
	print_end(a, r, since);
}

static void
print_life(struct arena *a, const struct life *l)
{
	const struct event *first = list_first(&l->rows, struct event, link);
	if (first == NULL)
		return;
	const struct msg_queue_row *r = &first->row;
	int64_t connected = began(r->trace);
	queue_message_long(a, r);
	if (connected > 0) {
		print_step(connected, 0);
		printf("connected: session %.*s\n",
			STR_ARG(text_safe(a, r->session)));
	}
	print_step(r->accepted, connected);
	printf("accepted%s%.*s\n", r->trace.n > 0 ? ": " : "",
		STR_ARG(text_safe(a, r->trace)));
	list_each(&l->rows, at, save)
		print_rcpt(a, l, &list_entry(at, struct event, link)->row);
	putchar('\n');
}

static void
print_json(const struct life *l)
{
	list_each(&l->attempts, at, save)
		queue_row_json(&list_entry(at, struct event, link)->row);
	list_each(&l->rows, at, save)
		queue_row_json(&list_entry(at, struct event, link)->row);
}

int
ctl_trace(struct ctl *c)
{
	int64_t limit = MESSAGES;
	const struct option_row rows[] = {{"--limit", OPTION_NUMBER, &limit, "N",
			"at most so many messages"}};
	ctl_options(c, rows, 1);
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "trace needs an address, a Message-ID or a "
			"queue id");
	struct tracing x = {.ctl = c, .arena = c->arena, .limit = limit};
	list_init(&x.lives);
	int status = find(&x, str_from(c->argv[0]));
	if (status == EX_OK && x.found == 0) {
		fprintf(stderr, "surat: nothing is known of %s\n", c->argv[0]);
		return EX_NOTHING;
	}
	list_each(&x.lives, at, save) {
		struct life *l = list_entry(at, struct life, link);
		if (status == EX_OK)
			status = read_life(&x, l);
		if (status == EX_OK && c->json)
			print_json(l);
		else if (status == EX_OK)
			print_life(x.arena, l);
	}
	return status;
}
