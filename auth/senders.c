/* SPDX-License-Identifier: ISC */
/*
 * Addresses as senders: which a login may use, and how one of ours is written
 * to the outside (tables of address.senders, then masquerading).
 */
#include "auth.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/address.h"

enum { SENDERS_MOST = 1000 };

/* ------------------------------------------------------------- ownership */

/* By name: an address, whose domain may be another's, is looked up when it is
 * used (may_use). */
static bool
leads_to(const struct str_list *targets, struct str name)
{
	for (size_t i = 0; i < targets->n; i++) {
		struct str t = targets->v[i];
		if (str_starts(t, STR("\\")))
			t = str_skip(t, 1);
		if (str_eq_nocase(t, name))
			return true;
	}
	return false;
}

static void
add_sender(const struct auth *x, struct arena *a, struct str_list *out,
	struct str name)
{
	const struct str_list *domains = &x->conf->general.domains;
	if (out->n + domains->n + 1 >= SENDERS_MOST)
		return;
	if (str_has(name, '@')) {
		out->v[out->n++] = name;
		return;
	}
	for (size_t i = 0; i < domains->n; i++)
		out->v[out->n++] = str_printf(a, "%.*s@%.*s", STR_ARG(name),
			STR_ARG(domains->v[i]));
	out->v[out->n++] = str_printf(a, "%.*s@%.*s", STR_ARG(name),
		STR_ARG(x->program->hostname));
}

struct str_list
senders_of(const struct auth *x, struct arena *a, const struct user *u)
{
	struct str_list out = {
		arena_array(a, SENDERS_MOST, sizeof(struct str)), 0};
	struct str key;
	void *entry;
	size_t cursor = 0;
	add_sender(x, a, &out, u->name);
	while (map_next(x->aliases->by_name, &cursor, &key, &entry)) {
		const struct alias *alias = entry;
		if (leads_to(&alias->targets, u->name))
			add_sender(x, a, &out, key);
	}
	return out;
}

/* Mail to that address reaches the user, whatever tables lead there. */
static struct status
may_use(struct lookup *l, struct str user, struct str address)
{
	struct msg_route_result r = {.status = status_fine()};
	struct address parsed;
	if (!address_parse(l->arena, address, true, &parsed) ||
		lookup_domain(l, parsed.domain) == DOMAIN_ELSEWHERE)
		return STATUS(STATUS_NEVER, 7, 1,
			"That is not an address of yours");
	lookup_route(l, address, &r);
	if (status_is_later(r.status))
		return r.status;
	for (size_t i = 0; i < r.user.n; i++)
		if (str_eq_nocase(r.user.v[i], user))
			return status_fine();
	return STATUS(STATUS_NEVER, 7, 1, "That is not an address of yours");
}

/* ------------------------------------------------------------- rewriting */

static bool
is_excepted(const struct conf_address *c, struct str local)
{
	for (size_t i = 0; i < c->masquerade_except.n; i++)
		if (str_eq_nocase(c->masquerade_except.v[i], local))
			return true;
	return false;
}

/* host.example.org becomes example.org, when that is listed; the first that
 * fits. */
static struct str
masquerade(struct lookup *l, const struct address *x)
{
	const struct conf_address *c = &l->auth->conf->address;
	struct address shown = *x;
	if (is_excepted(c, x->local))
		return address_text(l->arena, x);
	for (size_t i = 0; i < c->masquerade.n; i++) {
		struct str d = c->masquerade.v[i];
		if (x->domain.n <= d.n + 1 ||
			x->domain.p[x->domain.n - d.n - 1] != '.' ||
			!str_eq_nocase(str_skip(x->domain,
				x->domain.n - d.n), d))
			continue;
		lookup_why(l, "address.masquerade: %.*s hides %.*s",
			STR_ARG(d), STR_ARG(x->domain));
		shown.domain = d;
		break;
	}
	return address_text(l->arena, &shown);
}

struct str
senders_rewrite(struct lookup *l, struct str address)
{
	const struct conf_address *c = &l->auth->conf->address;
	struct address x, again;
	struct table_value v;
	if (!address_parse(l->arena, address, true, &x))
		return address;
	struct str normal = address_text(l->arena, &x);
	struct str domain = str_printf(
		l->arena, "@%.*s", STR_ARG(x.domain));
	if (c->senders.n > 0 && (lookup_table(l, &c->senders, normal, &v) ||
		lookup_table(l, &c->senders, domain, &v))) {
		/* "@domain" keeps who it is. */
		struct str to = str_starts(v.text, STR("@")) ? str_printf(
			l->arena, "%.*s%.*s", STR_ARG(address_local(
				l->arena, &x)), STR_ARG(v.text)) : v.text;
		lookup_why(l, "%.*s: %.*s is written %.*s", STR_ARG(v.where),
			STR_ARG(normal), STR_ARG(to));
		if (address_parse(l->arena, to, true, &again))
			return address_text(l->arena, &again);
		log_error(LOG_NO_ID, "table-broken", LOG_STR("where", v.where),
			LOG_STR("key", normal), LOG_CSTR("why",
				"that is no address"));
	}
	return masquerade(l, &x);
}

void
senders_answer(struct lookup *l, const struct msg_sender *q,
	struct msg_sender_result *out)
{
	struct str *v = arena_array(l->arena, q->addresses.n, sizeof *v);
	out->status = status_fine();
	if (q->user.n > 0 && q->addresses.n > 0)
		out->status = may_use(l, q->user, q->addresses.v[0]);
	for (size_t i = 0; i < q->addresses.n; i++)
		v[i] = senders_rewrite(l, q->addresses.v[i]);
	out->addresses = (struct str_list){v, q->addresses.n};
	if (l->later && status_is_fine(out->status))
		out->status = STATUS(STATUS_LATER, 3, 0,
			"A table cannot be asked now");
}
