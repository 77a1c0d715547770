/* SPDX-License-Identifier: ISC */
/*
 * `surat queue why`, `counts`, `top`: what a message waits for, and where the
 * queue's mail is, in words and figures.  Rows say what was tried; lanes, which
 * only the queue's memory knows, say who is being served.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { AGES = 6, LINES = 20, EVERY = 2 };

/* ------------------------------------------------------------------ why */

struct lane_found {
	struct msg_queue_count count;
	bool found;
};

static bool
note_lane(void *ctx, const struct message *m)
{
	struct lane_found *x = ctx;
	/* The first speaks of the whole. */
	if (m->queue_count.key.n == 0)
		return true;
	x->count = m->queue_count;
	x->found = true;
	return true;
}

static void
say_lane(struct ctl *c, struct arena *a, const struct msg_queue_row *r)
{
	struct msg_queue_list ask = {
		.group = STR("lanes"), .domain = r->destination};
	struct lane_found x = {.found = false};
	if (!str_eq(r->agent, STR("remote")))
		return;
	queue_pages(c, &ask, note_lane, &x);
	if (!x.found)
		return;
	printf("        %.*s: %lld of %lld connections in use, %lld "
		"recipients wait\n", STR_ARG(text_safe(a, r->destination)),
		(long long)x.count.active, (long long)x.count.limit,
		(long long)x.count.count);
	if (x.count.failures > 0)
		printf("        it has not answered %lld times in a row; one "
			"message tries it next, the rest follow\n",
			(long long)x.count.failures);
}

static const struct {
	const char *state, *text;
} meanings[] = {
	{"new", "waits to be told where it goes (auth)"},
	{"due", "waits for its turn"},
	{"active", "is being tried just now"},
	{"deferred", "waits for its next attempt"},
	{"held", "is held until it is released"},
	{"delivered", "is delivered; the disk has yet to be told"},
	{"leaving", "is finished; the row is about to go"},
	{"unknown", "is in a state there is not"},
};

static bool
explain(void *ctx, const struct message *m)
{
	struct ctl *c = ctx;
	const struct msg_queue_row *r = &m->queue_row;
	struct arena *a = arena_new("why");
	int64_t now = clock_wall();
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (str_eq(r->state, str_from(meanings[i].state)))
			printf("<%.*s> %s", STR_ARG(text_safe(a, r->rcpt)),
				meanings[i].text);
	if (r->next > now && str_eq(r->state, STR("deferred")))
		printf(", in %.*s (%.*s)",
			STR_ARG(text_duration(a, r->next - now)),
			STR_ARG(text_time(a, r->next)));
	putchar('\n');
	if (r->attempts > 0)
		printf("        tried %lld times, last %.*s\n",
			(long long)r->attempts, STR_ARG(text_time(a, r->last)));
	if (r->reply.n > 0)
		printf("        %s%.*s%s%.*s\n", r->remote.n > 0 ? "" :
			"the reason: ", STR_ARG(text_safe(a, r->remote)),
			r->remote.n > 0 ? " said: " : "",
			STR_ARG(text_safe(a, r->reply)));
	say_lane(c, a, r);
	arena_free(a);
	return true;
}

struct counted {
	struct ctl *ctl;
	int64_t n;
};

static bool
count_and_explain(void *ctx, const struct message *m)
{
	struct counted *x = ctx;
	x->n++;
	if (!x->ctl->json)
		return explain(x->ctl, m);
	queue_row_json(&m->queue_row);
	return true;
}

int
queue_why(struct ctl *c)
{
	struct msg_queue_list ask = {.limit = 0};
	struct counted x = {.ctl = c};
	queue_filter(c, &ask);
	if (c->argc != 1)
		ctl_fail(EX_USAGE, "why needs a queue id");
	int status = queue_pages(c, &ask, count_and_explain, &x);
	if (x.n > 0 || status != EX_OK)
		return status;
	fprintf(stderr, "surat: nothing in the queue is %s; surat trace "
		"looks among the finished too\n", c->argv[0]);
	return EX_NOTHING;
}

/* --------------------------------------------------------------- counts */

struct group {
	struct list link;
	struct str key;
	int64_t count, oldest, next, ages[AGES];
};

struct adding {
	struct arena *arena;
	struct map *by_key;
	struct list all;
	size_t n;
};

static struct group *
group_of(struct adding *x, struct str key)
{
	struct group *g = map_get(x->by_key, key);
	if (g != NULL)
		return g;
	g = arena_one(x->arena, struct group);
	g->key = str_copy(x->arena, key);
	g->oldest = g->next = INT64_MAX;
	map_set(x->by_key, g->key, g);
	list_add(&x->all, &g->link);
	x->n++;
	return g;
}

static bool
add_count(void *ctx, const struct message *m)
{
	struct adding *x = ctx;
	const struct msg_queue_count *k = &m->queue_count;
	struct group *g = group_of(x, k->key);
	g->count += k->count;
	if (k->oldest < g->oldest)
		g->oldest = k->oldest;
	if (k->next < g->next)
		g->next = k->next;
	for (size_t i = 0; i < AGES && i < k->ages.n; i++) {
		uint64_t n = 0;
		str_number(k->ages.v[i], INT64_MAX, &n);
		g->ages[i] += (int64_t)n;
	}
	return true;
}

static int
by_count(const void *a, const void *b)
{
	const struct group *x = *(struct group *const *)a;
	const struct group *y = *(struct group *const *)b;
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return str_cmp(x->key, y->key);
}

static struct group **
sorted(struct adding *x)
{
	struct group **v = arena_array(x->arena, x->n, sizeof *v);
	size_t i = 0;
	list_each(&x->all, at, save)
		v[i++] = list_entry(at, struct group, link);
	qsort(v, x->n, sizeof *v, by_count);
	return v;
}

static const char *const age_names[AGES] = {
	"5m", "1h", "6h", "1d", "5d", "older"};

static void
print_group(struct ctl *c, struct arena *a, const struct group *g)
{
	if (!c->json) {
		printf("%8lld", (long long)g->count);
		for (size_t i = 0; i < AGES; i++)
			printf(" %7lld", (long long)g->ages[i]);
		printf("  %.*s\n", STR_ARG(text_safe(a, g->key)));
		return;
	}
	struct json_row *j = json_begin();
	json_text(j, "domain", g->key);
	json_number(j, "count", g->count);
	json_number(j, "oldest", g->oldest);
	json_number(j, "next", g->next);
	for (size_t i = 0; i < AGES; i++)
		json_number(j, age_names[i], g->ages[i]);
	json_end(j);
}

int
queue_counts(struct ctl *c)
{
	struct msg_queue_list ask = {.group = STR("domain")};
	struct arena *a = arena_new("counts");
	struct adding x = {.arena = a, .by_key = map_new(a)};
	arena_limit(a, (size_t)1 << 30);
	list_init(&x.all);
	queue_filter(c, &ask);
	int status = queue_pages(c, &ask, add_count, &x);
	struct group **v = sorted(&x);
	if (!c->json && x.n > 0) {
		printf("%8s", "total");
		for (size_t i = 0; i < AGES; i++)
			printf(" %7s", age_names[i]);
		puts("  domain");
	}
	for (size_t i = 0; i < x.n && status == EX_OK; i++)
		print_group(c, a, v[i]);
	if (x.n == 0 && status == EX_OK && !c->json)
		puts("nothing");
	arena_free(a);
	return status;
}

/* ------------------------------------------------------------------ top */

static bool
print_lane(void *ctx, const struct message *m)
{
	struct counted *x = ctx;
	const struct msg_queue_count *k = &m->queue_count;
	struct arena *a = arena_new("lane");
	if (x->ctl->json) {
		struct json_row *j = json_begin();
		json_text(j, "lane", k->key);
		json_number(j, "waiting", k->count);
		json_number(j, "active", k->active);
		json_number(j, "limit", k->limit);
		json_number(j, "failures", k->failures);
		json_number(j, "parked_until", k->next);
		json_text(j, "reply", k->reply);
		json_end(j);
	} else if (k->key.n == 0) {
		printf("%lld recipients in memory (of %lld at most), %lld "
			"with agents\n\n%8s %8s %8s  %s\n",
			(long long)k->count, (long long)k->limit,
			(long long)k->active, "waiting", "active", "limit",
			"lane");
	} else if (x->n++ < LINES) {
		printf("%8lld %8lld %8lld  %.*s", (long long)k->count,
			(long long)k->active, (long long)k->limit,
			STR_ARG(text_safe(a, k->key)));
		if (k->failures > 0)
			printf("  down, next in %.*s: %.*s",
				STR_ARG(text_duration(a,
					k->next - clock_wall())),
				STR_ARG(text_safe(a, k->reply)));
		putchar('\n');
	}
	arena_free(a);
	return true;
}

int
queue_top(struct ctl *c)
{
	struct msg_queue_list ask = {.group = STR("lanes")};
	bool once = false;
	const struct option_row rows[] = {{"--once", OPTION_FLAG, &once, NULL,
			"one picture, then the end"}};
	ctl_options(c, rows, 1);
	once = once || c->json || !isatty(STDOUT_FILENO);
	for (;;) {
		struct counted x = {.ctl = c};
		if (!once)
			fputs("\033[H\033[2J", stdout);
		int status = queue_pages(c, &ask, print_lane, &x);
		fflush(stdout);
		if (once || status != EX_OK)
			return status;
		sleep(EVERY);
	}
}
