/* SPDX-License-Identifier: ISC */
/*
 * What becomes of a recipient: the rules of policy.rules in their order, then
 * what always holds.  The relay is closed: for anybody but our own domains
 * mail is taken only from who logged in or stands in a network that was named,
 * and no rule can open it.  Postmaster is reached in spite of rules (RFC 5321
 * 4.5.1).
 */
#include "auth.h"
#include "base/arena.h"
#include "mail/address.h"
#include "sys/net.h"

enum { FOUND_MOST = 8 };

struct decision {
	struct lookup *l;
	const struct msg_rcpt_lookup *q;
	struct msg_rcpt_result *out;
	struct net_address client;
	/* Where the tables of a rule have what fits it. */
	struct str found[FOUND_MOST];
	size_t found_count;
};

/* ----------------------------------------------------------------- facts */

static bool
has(struct decision *d, struct str table, struct str key)
{
	struct table_value v;
	const struct str_list one = {&table, 1};
	if (!lookup_table(d->l, &one, key, &v))
		return false;
	if (d->l->why != NULL && d->found_count < FOUND_MOST)
		d->found[d->found_count++] = str_printf(d->l->arena,
			"%.*s: has %.*s", STR_ARG(v.where), STR_ARG(key));
	return true;
}

/* One value of a condition: a table, a pattern, "@domain". */
static bool
fits(struct decision *d, struct str fact, struct str value)
{
	if (table_ref_is(value)) {
		/* What is said of an address may be said of its domain. */
		size_t at = str_find_last(fact, '@');
		return has(d, value, fact) || (at < fact.n &&
			(has(d, value, str_skip(fact, at)) ||
			has(d, value, str_skip(fact, at + 1))));
	}
	if (str_eq(value, STR("<>")))
		return fact.n == 0;
	if (str_starts(value, STR("@")))
		return str_eq_nocase(str_skip(fact, str_find_last(fact, '@')),
			value);
	return policy_matches(fact, value);
}

static bool
client_fits(struct decision *d, struct str value)
{
	return table_ref_is(value) ? has(d, value, d->q->client)
				   : net_within(&d->client, value);
}

/* The word "unknown" stands for what DNS does not know, not for itself. */
static bool
means_unknown(const struct policy_condition *c, struct str value)
{
	return (c->fact == FACT_REVERSE || c->fact == FACT_SENDER) &&
		str_eq_nocase(value, STR("unknown"));
}

static bool
is_unknown(const struct decision *d, enum policy_fact fact)
{
	return fact == FACT_REVERSE ? d->q->reverse.n == 0
		: str_eq(d->q->sender_domain, STR("unknown"));
}

static struct str
fact_of(const struct decision *d, enum policy_fact fact)
{
	const struct msg_rcpt_lookup *q = d->q;
	const struct str facts[FACT_COUNT] = {
		[FACT_HELO] = q->helo, [FACT_REVERSE] = q->reverse,
		[FACT_SENDER] = q->sender, [FACT_RECIPIENT] = q->address,
		[FACT_AUTHENTICATED] = q->user,
	};
	return facts[fact];
}

static bool
holds(struct decision *d, const struct policy_condition *c)
{
	const struct msg_rcpt_lookup *q = d->q;
	if (c->fact == FACT_TLS)
		return q->tls != 0;
	if (c->fact == FACT_LISTED)
		return q->listed >= c->least;
	if (c->fact == FACT_AUTHENTICATED && (q->user.n == 0 ||
		c->values.n == 0))
		return q->user.n > 0;
	for (size_t i = 0; i < c->values.n; i++) {
		struct str value = c->values.v[i];
		if (means_unknown(c, value) ? is_unknown(d, c->fact)
			: c->fact == FACT_CLIENT ? client_fits(d, value)
			: fits(d, fact_of(d, c->fact), value))
			return true;
	}
	return false;
}

static bool
applies(struct decision *d, const struct policy_rule *r)
{
	d->found_count = 0;
	for (size_t i = 0; i < r->count; i++)
		if (holds(d, &r->conditions[i]) == r->conditions[i].negated)
			return false;
	return true;
}

/* --------------------------------------------------------------- actions */

static struct status
refusal(const struct policy_rule *r)
{
	bool later = r->action == POLICY_DEFER;
	struct str text = r->text.n > 0 ? r->text :
		later ? STR("Not now; try again later")
		      : STR("Refused by the rules of this server");
	return later ? status_later(7, 1, text) : status_never(7, 1, text);
}

/* False when the rule leaves the decision to what always holds. */
static bool
obey(struct decision *d, const struct policy_rule *r)
{
	struct msg_rcpt_result *out = d->out;
	out->rule = r->source;
	switch (r->action) {
	case POLICY_REJECT:
	case POLICY_DEFER:
		out->status = refusal(r);
		return true;
	case POLICY_HOLD:
		out->hold = r->text.n > 0 ? r->text : r->source;
		return false;
	case POLICY_REDIRECT:
		out->address = r->target;
		return false;
	case POLICY_ACCEPT:
		return false;
	}
	return false;
}

static const struct policy_rule *
first_rule(struct decision *d)
{
	const struct auth *x = d->l->auth;
	for (size_t i = 0; i < x->rule_count; i++) {
		const struct policy_rule *r = &x->rules[i];
		if (!applies(d, r))
			continue;
		lookup_why(d->l, "rule %zu: %.*s", i + 1, STR_ARG(r->source));
		for (size_t k = 0; k < d->found_count; k++)
			lookup_why(d->l, "%.*s", STR_ARG(d->found[k]));
		return r;
	}
	if (x->rule_count > 0)
		lookup_why(d->l, "no rule fits");
	return NULL;
}

/* ---------------------------------------------------------- what holds */

static bool
is_trusted(const struct decision *d)
{
	const struct str_list *n = &d->l->auth->conf->smtp.relay_networks;
	for (size_t i = 0; i < n->n; i++)
		if (net_within(&d->client, n->v[i]))
			return true;
	return false;
}

static bool
is_postmaster(struct decision *d)
{
	struct address x;
	if (!address_parse(d->l->arena, d->q->address, true, &x))
		x = (struct address){.local = d->q->address};
	enum domain_class class = lookup_domain(d->l, x.domain);
	return lookup_is_postmaster(x.local) && class != DOMAIN_ELSEWHERE &&
		class != DOMAIN_RELAY;
}

/* DNS lists and a sender's domain say something about strangers only. */
static struct status
judge_stranger(struct decision *d, bool accepted)
{
	const struct msg_rcpt_lookup *q = d->q;
	if (q->user.n > 0 || is_trusted(d))
		return status_fine();
	/* RFC 7505 4.2: who can get no mail sends none. */
	if (str_eq(q->sender_domain, STR("null")))
		return status_reply(STATUS(STATUS_NEVER, 7, 27,
			"The sender's domain takes no mail"), 550);
	if (accepted || q->listed < d->l->auth->conf->smtp.dns_threshold)
		return status_fine();
	lookup_why(d->l, "smtp.dns_lists: %lld", (long long)q->listed);
	return (struct status){STATUS_NEVER, 7, 1, 554, str_printf(
		d->l->arena, "%.*s is listed by %.*s", STR_ARG(q->client),
		STR_ARG(q->listed_by))};
}

/* Only who may open the mailbox knows whether there is room. */
static void
ask_for_room(struct decision *d, const struct user *u)
{
	struct msg_rcpt_result *out = d->out;
	struct str limits = users_limits(d->l->arena, d->l->auth->conf, u);
	bool mbox = d->l->auth->conf->general.mbox.n > 0 &&
		!str_eq(u->ids, STR("-"));
	if (mbox || str_starts(limits, STR("0 0 ")) || out->address.n > 0)
		return;
	lookup_why(d->l, "limits of %.*s: %.*s", STR_ARG(u->name),
		STR_ARG(limits));
	out->ids = u->ids;
	out->home = u->home;
	out->limits = limits;
	out->size = d->q->size;
}

static struct status
judge_recipient(struct decision *d)
{
	enum domain_class class;
	const struct user *u;
	struct status st = lookup_rcpt(d->l, d->q->address, &class, &u);
	if (status_is_fine(st) && u != NULL)
		ask_for_room(d, u);
	d->out->ours = class != DOMAIN_ELSEWHERE;
	if (d->out->ours)
		/* Somebody else's mailbox takes it in any case. */
		return d->out->address.n > 0 && !status_is_later(st)
			? status_fine() : st;
	if (!status_is_fine(st))
		return st;
	if (d->q->user.n > 0 || is_trusted(d)) {
		lookup_why(d->l, d->q->user.n > 0 ? "who logged in may relay"
			: "smtp.relay_networks: this client may relay");
		return st;
	}
	lookup_why(d->l, "the relay is closed");
	return STATUS(STATUS_NEVER, 7, 1, "Relaying is not allowed");
}

void
policy_decide(struct lookup *l, const struct msg_rcpt_lookup *q,
	struct msg_rcpt_result *out)
{
	struct decision d = {.l = l, .q = q, .out = out};
	net_parse_ip(q->client, 0, &d.client);
	out->status = status_fine();
	bool postmaster = is_postmaster(&d);
	const struct policy_rule *r = postmaster ? NULL : first_rule(&d);
	/* A rule that could not be read to its end decides nothing. */
	if (l->later && (r == NULL || r->action != POLICY_REJECT)) {
		out->status = STATUS(STATUS_LATER, 3, 0,
			"A table cannot be asked now");
		return;
	}
	if (r != NULL && obey(&d, r))
		return;
	if (!postmaster)
		out->status = judge_stranger(
			&d, r != NULL && r->action == POLICY_ACCEPT);
	if (status_is_fine(out->status))
		out->status = judge_recipient(&d);
}
