/* SPDX-License-Identifier: ISC */
/*
 * From a route to a connection: hosts of equal preference together, all their
 * addresses in one race; then the next preference.  A host that is us ends
 * the list (RFC 5321 5.1): whoever is as good or worse would send it back.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum {
	STAGGER_MS = 250, /* RFC 8305 5 */
	BUDGET_MS = 5 * 60 * 1000,
	WHY_LINES = 10,
};

struct trip *
trip_new(struct remote *g, struct route *r)
{
	struct trip *t = arena_one(r->arena, struct trip);
	t->remote = g;
	t->route = r;
	t->cap = r->count * ADDRESSES_MOST;
	t->v = arena_array(r->arena, t->cap, sizeof *t->v);
	t->until = clock_in(BUDGET_MS);
	return t;
}

static bool
is_same(const struct net_address *x, const struct net_address *y)
{
	return x->n == y->n && memcmp(&x->sa, &y->sa, x->n) == 0;
}

void
trip_avoid(struct trip *t, const struct net_address *at)
{
	if (t == NULL)
		return;
	t->avoid = *at;
	for (size_t i = 0; i < t->count; i++)
		if (is_same(&t->v[i].at, at))
			t->v[i].used = true;
}

static void
end_trip(struct trip *t)
{
	t->self = true;
	for (size_t i = 0; i < t->count; i++)
		t->v[i].used = true;
}

void
trip_note(struct trip *t, struct job *j, const struct host *h,
	const struct net_address *at, struct status s)
{
	struct arena *a = j->arena;
	struct str ip = at == NULL ? STR("") : net_ip(a, at);
	log_info(j->m.id, "host-failed", LOG_STR("host", h->name),
		LOG_STR("ip", ip), LOG_STR("why", s.text));
	t->last = s;
	/* It greeted us by our own name: whoever comes after it is worse. */
	if (s.class == STATUS_NEVER && s.subject == 4 && s.detail == 6)
		end_trip(t);
	if (s.class != STATUS_NEVER)
		t->later = true;
	if (j->why_lines++ >= WHY_LINES)
		return;
	bool named = str_search(s.text, h->name) < s.text.n;
	struct str line = s.text;
	if (at != NULL)
		line = str_printf(a, "%.*s[%.*s]: %.*s", STR_ARG(h->name),
			STR_ARG(ip), STR_ARG(s.text));
	else if (!named)
		line = str_printf(a, "%.*s: %.*s", STR_ARG(h->name),
			STR_ARG(s.text));
	j->why = j->why.n == 0 ? line : str_printf(a, "%.*s\n%.*s",
		STR_ARG(j->why), STR_ARG(line));
}

/* ---------------------------------------------------------------- hosts */

static bool
is_us(const struct trip *t, const struct host *h)
{
	const struct program *p = t->remote->program;
	if (t->route->fixed)
		return false;
	if (str_eq_nocase(h->name, p->hostname))
		return true;
	for (size_t i = 0; i < h->count; i++)
		if (route_is_self(t->remote->conf, &h->addresses[i]))
			return true;
	return false;
}

/* The hosts from `from` on that are as good as it. */
static size_t
group_end(const struct route *r, size_t from)
{
	size_t to = from;
	while (to < r->count &&
		r->hosts[to].preference == r->hosts[from].preference)
		to++;
	return to;
}

static void
add_host(struct trip *t, struct job *j, struct host *h)
{
	if (h->count == 0)
		trip_note(t, j, h, NULL, h->status);
	for (size_t i = 0; i < h->count && t->count < t->cap; i++)
		t->v[t->count++] = (struct candidate){h, h->addresses[i],
			is_same(&h->addresses[i], &t->avoid)};
}

bool
trip_look(struct trip *t, struct job *j)
{
	struct route *r = t->route;
	size_t from = t->next_host, to = group_end(r, from);
	if (from == r->count || t->self)
		return false;
	route_addresses(t->remote, r, from, to);
	job_passed(j, PHASE_LOOKUP);
	t->next_host = to;
	for (size_t i = from; i < to; i++)
		t->self = t->self || is_us(t, &r->hosts[i]);
	for (size_t i = from; i < to && !t->self; i++)
		add_host(t, j, &r->hosts[i]);
	return true;
}

/* ----------------------------------------------------------------- race */

struct race {
	struct net_dial dial;
	struct net_address to[NET_DIAL_MOST];
	int errors[NET_DIAL_MOST];
	struct candidate *who[NET_DIAL_MOST];
};

static void
race_prepare(struct race *race, const struct trip *t)
{
	const struct route *r = t->route;
	race->dial = (struct net_dial){.to = race->to,
		.errors = race->errors, .stagger = STAGGER_MS,
		.patience = t->remote->conf->remote.connect_timeout * 1000,
		.source4 = r->source4, .source6 = r->source6};
}

static int
race_run(struct race *race, struct trip *t, struct job *j)
{
	int fd = net_dial(&race->dial);
	job_passed(j, PHASE_CONNECT);
	for (size_t i = 0; i < race->dial.n; i++) {
		if (race->errors[i] == 0)
			continue;
		race->who[i]->used = true;
		trip_note(t, j, race->who[i]->host, &race->to[i],
			status_later(4, 1, str_copy(j->arena,
				str_from(strerror(race->errors[i])))));
	}
	if (fd < 0)
		return -1;
	t->current = race->who[race->dial.winner];
	t->current->used = true;
	return fd;
}

/* All that are known and were not tried. */
static int
dial_known(struct trip *t, struct job *j)
{
	struct race race;
	race_prepare(&race, t);
	for (size_t i = 0; i < t->count; i++) {
		if (t->v[i].used || race.dial.n == NET_DIAL_MOST)
			continue;
		race.who[race.dial.n] = &t->v[i];
		race.to[race.dial.n++] = t->v[i].at;
	}
	return race.dial.n == 0 ? -1 : race_run(&race, t, j);
}

int
trip_next(struct trip *t, struct job *j)
{
	if (t->sessions == SESSIONS_MOST)
		return -1;
	while (clock_ms() < t->until) {
		int fd = dial_known(t, j);
		if (fd >= 0) {
			t->sessions++;
			return fd;
		}
		bool left = false;
		for (size_t i = 0; i < t->count; i++)
			left = left || !t->v[i].used;
		if (!left && !trip_look(t, j))
			return -1;
	}
	return -1;
}

int
trip_again(struct trip *t, struct job *j)
{
	struct race race;
	race_prepare(&race, t);
	race.who[0] = t->current;
	race.to[0] = t->current->at;
	race.dial.n = 1;
	return race_run(&race, t, j);
}

/* --------------------------------------------------------------- status */

struct status
trip_status(struct trip *t, struct job *j, struct str *host)
{
	struct arena *a = j->arena;
	struct status s = t->last;
	*host = STR("");
	/* A better one whose addresses could not be had may take it yet. */
	if (t->self && t->count == 0 && !t->later)
		return status_never(4, 6, str_printf(a, "mail for %.*s loops: "
			"its best mail exchanger is this host",
			STR_ARG(t->route->destination)));
	if (s.class == 0)
		return STATUS(STATUS_LATER, 4, 1, "no server was reached");
	if (j->why_lines == 1 && s.reply != 0) {
		*host = t->current->host->name;
	} else {
		s.reply = 0;
		s.text = j->why;
	}
	if (t->later && s.class == STATUS_NEVER) {
		s.class = STATUS_LATER;
		s.reply = 0;
	}
	return s;
}
