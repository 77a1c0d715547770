/* SPDX-License-Identifier: ISC */
/*
 * Addresses to recipients.  For an address in one of our domains, in this
 * order: an alias, the user, both again without the extension, the domain's
 * catch-all alias ("@domain"), postmaster.  Expansion is a work list with what
 * was seen, so that aliases that lead in a circle end.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/address.h"

enum { FINAL_MOST = 1000, STEPS_MOST = 10000 };

bool
lookup_is_local(const struct auth *x, struct str domain)
{
	return domain.n == 0 || conf_is_local_domain(x->conf, domain) ||
		str_eq_nocase(domain, x->program->hostname) ||
		str_eq_nocase(domain, STR("localhost"));
}

static struct str
joined(struct arena *a, struct str local, struct str domain)
{
	return str_printf(a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain));
}

/* "name@domain" has its own line, or the name alone stands for every local
 * domain. */
static struct user *
find_user(const struct auth *x, struct arena *a, struct str local,
	struct str domain)
{
	struct user *u = NULL;
	if (domain.n > 0)
		u = users_find(x->users, joined(a, local, domain));
	return u != NULL ? u : users_find(x->users, local);
}

static const struct str_list *
find_alias(const struct auth *x, struct arena *a, struct str local,
	struct str domain)
{
	const struct str_list *l = NULL;
	if (domain.n > 0)
		l = aliases_find(x->aliases, joined(a, local, domain));
	return l != NULL ? l : aliases_find(x->aliases, local);
}

struct user *
lookup_login(const struct auth *x, struct str name)
{
	struct user *u = users_find(x->users, name);
	size_t at = str_find_last(name, '@');
	if (u == NULL && at < name.n &&
		lookup_is_local(x, str_skip(name, at + 1)))
		u = users_find(x->users, str_head(name, at));
	return u;
}

/* ----------------------------------------------------------- resolving */

struct found {
	const struct str_list *targets;
	struct user *user;
};

static bool
find_exact(const struct auth *x, struct arena *a, struct str local,
	struct str domain, bool no_alias, struct found *out)
{
	out->targets = no_alias ? NULL : find_alias(x, a, local, domain);
	if (out->targets == NULL)
		out->user = find_user(x, a, local, domain);
	return out->targets != NULL || out->user != NULL;
}

/* "mary-ann+list" may be mary-ann's or mary's: the longest name that exists
 * wins, whichever of the separators comes first. */
static bool
find_base(const struct auth *x, struct arena *a, const struct address *addr,
	bool no_alias, struct found *out)
{
	struct str separators = x->conf->general.plus;
	for (size_t n = addr->local.n; n-- > 1;)
		if (str_has(separators, addr->local.p[n]) &&
			n + 1 < addr->local.n &&
			find_exact(x, a, str_head(addr->local, n),
				addr->domain, no_alias, out))
			return true;
	return false;
}

static bool
find_any(const struct auth *x, struct arena *a, const struct address *addr,
	bool no_alias, struct found *out)
{
	*out = (struct found){NULL, NULL};
	if (find_exact(x, a, addr->local, addr->domain, no_alias, out) ||
		find_base(x, a, addr, no_alias, out))
		return true;
	if (addr->domain.n > 0 && !no_alias)
		out->targets = aliases_find(
			x->aliases, joined(a, STR(""), addr->domain));
	return out->targets != NULL;
}

static bool
is_postmaster(const struct address *addr)
{
	return str_eq_nocase(addr->local, STR("postmaster")) ||
		str_eq_nocase(addr->local, STR("abuse"));
}

static struct status
unknown(void)
{
	return STATUS(STATUS_NEVER, 1, 1, "There is no such user here");
}

/* Postmaster always has a reader (RFC 5321 4.5.1): whom the configuration
 * names, else the first user there is. */
static bool
find_postmaster(const struct auth *x, struct arena *a, struct found *out)
{
	struct address addr;
	struct str name = x->conf->general.postmaster, key;
	size_t cursor = 0;
	void *first;
	if (!address_parse(a, name, true, &addr))
		addr = (struct address){.local = name};
	if (!str_eq_nocase(addr.local, STR("postmaster")) &&
		find_any(x, a, &addr, false, out))
		return true;
	if (!map_next(x->users->by_name, &cursor, &key, &first))
		return false;
	out->user = first;
	return true;
}

void
lookup_rcpt(struct auth *x, struct arena *a, struct str text,
	struct msg_rcpt_result *out)
{
	struct address addr;
	struct found f;
	out->status = status_fine();
	if (!address_parse(a, text, true, &addr))
		addr = (struct address){.local = text};
	out->local = lookup_is_local(x, addr.domain);
	if (!out->local || find_any(x, a, &addr, false, &f) ||
		(is_postmaster(&addr) && find_postmaster(x, a, &f)))
		return;
	out->status = unknown();
}

/* ----------------------------------------------------------- expansion */

struct expansion {
	struct auth *auth;
	struct arena *arena;
	struct map *seen;
	struct str *queue; /* addresses still to be looked at */
	size_t count, cap, next;
	struct msg_route_result *out;
	struct status worst;
};

static void
want(struct expansion *e, struct str address)
{
	if (e->count == e->cap) {
		size_t cap = e->cap == 0 ? 16 : e->cap * 2;
		struct str *more = arena_array(e->arena, cap, sizeof *more);
		if (e->count > 0)
			memcpy(more, e->queue, e->count * sizeof *more);
		e->queue = more;
		e->cap = cap;
	}
	e->queue[e->count++] = address;
}

static void
add_final(struct expansion *e, struct str agent, struct str address,
	const struct user *u)
{
	struct msg_route_result *o = e->out;
	size_t n = o->agent.n;
	if (n == FINAL_MOST) {
		e->worst = STATUS(STATUS_NEVER, 4, 6,
			"The alias leads to too many recipients");
		return;
	}
	o->agent.v[n] = agent;
	o->address.v[n] = address;
	o->user.v[n] = u == NULL ? STR("") : u->name;
	o->home.v[n] = u == NULL ? STR("") : u->home;
	o->ids.v[n] = u == NULL ? STR("") : u->ids;
	o->agent.n = o->address.n = o->user.n = o->home.n = o->ids.n = n + 1;
}

static void
expand_one(struct expansion *e, struct str text)
{
	struct address addr;
	struct found f;
	/* "\name": that very user, whatever aliases say. */
	bool no_alias = str_starts(text, STR("\\"));
	if (no_alias)
		text = str_skip(text, 1);
	if (!address_parse(e->arena, text, true, &addr))
		addr = (struct address){.local = text};
	struct str normal = address_text(e->arena, &addr);
	struct str key = str_lower(e->arena, normal);
	/* An alias that names itself means the user of that name. */
	bool again = map_get(e->seen, key) != NULL;
	map_set(e->seen, key, e);
	if (!lookup_is_local(e->auth, addr.domain)) {
		if (!again)
			add_final(e, STR("remote"), normal, NULL);
		return;
	}
	bool found = find_any(
		e->auth, e->arena, &addr, no_alias || again, &f);
	if (!found && is_postmaster(&addr))
		found = find_postmaster(e->auth, e->arena, &f);
	if (!found) {
		if (!again)
			e->worst = unknown();
	} else if (f.user != NULL) {
		struct str user = str_printf(
			e->arena, "\\%.*s", STR_ARG(f.user->name));
		if (map_get(e->seen, user) == NULL)
			add_final(e, STR("local"), normal, f.user);
		map_set(e->seen, user, e);
	} else {
		for (size_t i = 0; i < f.targets->n; i++)
			want(e, f.targets->v[i]);
	}
}

void
lookup_route(struct auth *x, struct arena *a, struct str address,
	struct msg_route_result *out)
{
	struct expansion e = {.auth = x, .arena = a, .seen = map_new(a),
		.out = out, .worst = status_fine()};
	struct str_list *lists[] = {&out->agent, &out->address, &out->user,
		&out->home, &out->ids};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		lists[i]->v = arena_array(a, FINAL_MOST, sizeof(struct str));
	want(&e, address);
	while (e.next < e.count && e.next < STEPS_MOST)
		expand_one(&e, e.queue[e.next++]);
	/* One good recipient is worth more than one lost alias target, which
	 * the administrator's log will show. */
	out->status = out->agent.n > 0 ? status_fine() : e.worst;
	if (out->agent.n == 0 && status_is_fine(out->status))
		out->status = STATUS(STATUS_NEVER, 4, 6,
			"The alias leads in a circle");
}

/* ------------------------------------------------------------- senders */

static bool
leads_to(const struct str_list *targets, struct str name)
{
	for (size_t i = 0; i < targets->n; i++) {
		struct str t = targets->v[i];
		if (str_starts(t, STR("\\")))
			t = str_skip(t, 1);
		if (str_eq_nocase(str_head(t, str_find_last(t, '@')), name) ||
			str_eq_nocase(t, name))
			return true;
	}
	return false;
}

static void
add_sender(struct auth *x, struct arena *a, struct str_list *out,
	struct str name)
{
	const struct str_list *domains = &x->conf->general.domains;
	if (out->n + domains->n + 1 >= FINAL_MOST)
		return;
	if (str_has(name, '@')) {
		out->v[out->n++] = name;
		return;
	}
	for (size_t i = 0; i < domains->n; i++)
		out->v[out->n++] = joined(a, name, domains->v[i]);
	out->v[out->n++] = joined(a, name, x->program->hostname);
}

struct str_list
lookup_senders(struct auth *x, struct arena *a, const struct user *u)
{
	struct str_list out = {
		arena_array(a, FINAL_MOST, sizeof(struct str)), 0};
	struct str key;
	void *targets;
	size_t cursor = 0;
	add_sender(x, a, &out, u->name);
	while (map_next(x->aliases->by_name, &cursor, &key, &targets))
		if (leads_to(targets, u->name))
			add_sender(x, a, &out, key);
	return out;
}
