/* SPDX-License-Identifier: ISC */
/*
 * Where a destination's mail goes (RFC 5321 5.1): what the administrator's
 * rules say, else the mail exchangers of the domain, else the domain itself.
 *
 * Rules by destination come first, then those by sender, then the smarthost.
 * Only what the administrator named himself may be on a private address.
 */
#include "remote.h"
#include "base/arena.h"
#include "mail/address.h"

#include <stdlib.h>

enum { SMARTHOST_TLS_PORT = 465 };

/* ------------------------------------------------------------ MX records */

static struct str
without_dot(struct str name)
{
	return name.n > 1 && str_ends(name, STR(".")) ? str_head(name, name.n - 1)
						      : name;
}

bool
route_parse_mx(struct arena *a, struct str record, struct host *out)
{
	struct str preference;
	uint64_t n;
	if (!str_word(&record, &preference) ||
		!str_number(preference, 65535, &n))
		return false;
	*out = (struct host){.preference = (unsigned)n,
		.name = str_lower(a, without_dot(str_trim(record)))};
	return out->name.n > 0;
}

static int
by_preference(const void *x, const void *y)
{
	const struct host *a = x, *b = y;
	return (a->preference > b->preference) -
		(a->preference < b->preference);
}

void
route_sort(struct host *hosts, size_t n)
{
	/* Shuffled first: a stable order among equals is of chance then. */
	for (size_t i = n; i > 1; i--) {
		size_t k = (size_t)random() % i;
		struct host h = hosts[i - 1];
		hosts[i - 1] = hosts[k];
		hosts[k] = h;
	}
	if (n > 1)
		qsort(hosts, n, sizeof *hosts, by_preference);
}

/* RFC 7505: a single record with the root as its host. */
static bool
is_null_mx(const struct host *hosts, size_t n)
{
	return n == 1 && str_eq(hosts[0].name, STR("."));
}

static struct status
no_such(struct arena *a, int subject, int detail, const char *fmt,
	struct str domain)
{
	return status_never(subject, detail,
		str_printf(a, fmt, STR_ARG(domain)));
}

static void
one_host(struct route *r, struct str name)
{
	r->hosts = arena_one(r->arena, struct host);
	r->hosts[0].name = name;
	r->count = 1;
}

static struct status
take_mx(struct route *r, const struct msg_dns_answer *m)
{
	struct arena *a = r->arena;
	r->hosts = arena_array(a, m->records.n, sizeof *r->hosts);
	for (size_t i = 0; i < m->records.n; i++)
		r->count += route_parse_mx(
			a, m->records.v[i], &r->hosts[r->count]);
	if (is_null_mx(r->hosts, r->count))
		return status_reply(no_such(a, 1, 10,
			"%.*s does not take mail (null MX)", r->domain), 556);
	route_sort(r->hosts, r->count);
	if (r->count > HOSTS_MOST)
		r->count = HOSTS_MOST;
	return r->count > 0 ? status_fine() : status_later(4, 3,
		str_printf(a, "the MX records of %.*s are malformed",
			STR_ARG(r->domain)));
}

static struct status
find_mx(struct remote *g, struct route *r)
{
	struct arena *a = r->arena;
	struct msg_dns_answer m;
	struct question q = {r->domain, "MX"};
	lookup(g, a, &q, 1, &m);
	r->secure = m.secure != 0;
	if (lookup_failed(&m))
		return status_later(4, 3, str_printf(a, "DNS: %.*s for the MX "
			"records of %.*s", STR_ARG(m.rcode),
			STR_ARG(r->domain)));
	if (str_eq(m.rcode, STR("nxdomain")))
		return no_such(a, 1, 2, "the domain %.*s does not exist",
			r->domain);
	if (m.records.n > 0)
		return take_mx(r, &m);
	/* RFC 5321 5.1: only when there is no MX record at all. */
	one_host(r, r->domain);
	return status_fine();
}

/* ----------------------------------------------------------------- rules */

static enum tls_policy
policy_named(struct str word)
{
	static const struct str words[] = {[TLS_NONE] = STR_INIT("none"),
		[TLS_OPPORTUNISTIC] = STR_INIT("opportunistic"),
		[TLS_REQUIRED] = STR_INIT("required"),
		[TLS_VERIFIED] = STR_INIT("verified"),
		[TLS_DANE] = STR_INIT("dane")};
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (str_eq(word, words[i]))
			return (enum tls_policy)i;
	return TLS_OPPORTUNISTIC;
}

static void
set_source(struct route *r, struct str ip)
{
	struct net_address at;
	if (!net_parse_ip(ip, 0, &at))
		return;
	if (at.sa.ss_family == AF_INET)
		r->source4 = at;
	else
		r->source6 = at;
}

static void
choose_source(const struct conf_remote *c, const struct job *j,
	struct route *r)
{
	struct str rule, word;
	for (size_t i = 0; i < c->source.n; i++)
		set_source(r, c->source.v[i]);
	if (j->m.sender.n > 0 &&
		rule_find(c->sender_sources, j->m.sender, &rule))
		while (str_word(&rule, &word))
			set_source(r, word);
}

static void
choose_smarthost(const struct conf_remote *c, struct route *r, struct hop *h)
{
	*h = (struct hop){.kind = HOP_HOST};
	hop_parse_host(c->smarthost, &h->host, &h->port);
	h->tls = h->port == SMARTHOST_TLS_PORT;
	r->tls = policy_named(c->smarthost_tls);
	r->user = c->smarthost_user;
	r->password = c->smarthost_password;
}

/* The next hop by the rules, and what belongs to it. */
static void
choose_hop(const struct conf_remote *c, const struct job *j, struct route *r,
	struct hop *h)
{
	struct str rule, word = STR("");
	r->tls = policy_named(c->tls);
	*h = (struct hop){.kind = HOP_MX};
	if (rule_find(c->transports, j->m.destination, &rule)) {
		hop_parse(rule, h);
	} else if (j->m.sender.n > 0 &&
		rule_find(c->sender_smarthosts, j->m.sender, &rule)) {
		str_word(&rule, &word);
		hop_parse(word, h);
		r->tls = policy_named(c->smarthost_tls);
		str_word(&rule, &r->user);
		r->password = str_trim(rule);
	} else if (c->smarthost.n > 0) {
		choose_smarthost(c, r, h);
	}
}

/* ---------------------------------------------------------------- ports */

struct ports {
	uint16_t *v;
	size_t n;
};

static void
add_port(struct ports *p, const struct conf *c, const struct hop *h)
{
	p->v[p->n++] = (uint16_t)(h->port > 0 ? h->port : c->remote.port);
}

/* The hop stands after the pattern. */
static void
add_rules(struct ports *p, const struct conf *c, struct str_list rules)
{
	for (size_t i = 0; i < rules.n; i++) {
		struct str rest = rules.v[i], word;
		struct hop h;
		if (str_word(&rest, &word) && str_word(&rest, &word) &&
			hop_parse(word, &h) && h.kind != HOP_UNIX &&
			h.kind != HOP_PIPE)
			add_port(p, c, &h);
	}
}

const uint16_t *
route_ports(struct program *program)
{
	const struct conf *c = program->conf;
	const struct conf_remote *r = &c->remote;
	struct hop smarthost = {.port = 0};
	struct ports p = {arena_array(program->arena, r->transports.n +
		r->sender_smarthosts.n + 3, sizeof *p.v), 0};
	p.v[p.n++] = (uint16_t)r->port;
	if (hop_parse_host(r->smarthost, &smarthost.host, &smarthost.port))
		add_port(&p, c, &smarthost);
	add_rules(&p, c, r->sender_smarthosts);
	add_rules(&p, c, r->transports);
	return p.v;
}

/* ----------------------------------------------------------------- hops */

/* "[192.0.2.1]" as a destination. */
static bool
take_literal(struct route *r, struct str domain)
{
	struct str ip;
	if (!address_literal(domain, &ip))
		return false;
	one_host(r, ip);
	return true;
}

static struct status
take_hop(struct remote *g, struct route *r, const struct hop *h)
{
	struct str domain = h->host.n > 0 ? h->host : r->destination;
	r->lmtp = h->lmtp;
	r->implicit_tls = h->tls;
	r->port = h->port > 0 ? h->port : (int)g->conf->remote.port;
	r->fixed = h->kind != HOP_MX;
	r->socket = h->kind == HOP_UNIX;
	if (r->socket) {
		one_host(r, h->host);
		return status_fine();
	}
	if (h->kind == HOP_MX && take_literal(r, domain))
		return status_fine();
	struct str ascii = address_to_ascii(r->arena, domain);
	struct net_address any;
	if (ascii.n == 0 && !net_parse_ip(domain, 0, &any))
		return no_such(r->arena, 1, 2, "%.*s is no domain name",
			domain);
	if (ascii.n > 0)
		domain = ascii;
	if (h->kind == HOP_HOST) {
		one_host(r, domain);
		/* No MX record stands between the name and us. */
		r->secure = true;
		return status_fine();
	}
	r->domain = domain;
	return find_mx(g, r);
}

struct status
route_find(struct remote *g, struct arena *a, struct job *j,
	struct route *out)
{
	const struct conf_remote *c = &g->conf->remote;
	struct hop h;
	struct str rule;
	*out = (struct route){.arena = a,
		.destination = str_copy(a, j->m.destination)};
	if (c->sender_smarthosts.n + c->sender_sources.n > 0)
		out->sender = str_copy(a, j->m.sender);
	choose_source(c, j, out);
	choose_hop(c, j, out, &h);
	/* It became a command's after the queue had asked where it goes. */
	if (h.kind == HOP_PIPE)
		return status_later(3, 5, str_printf(a, "mail for %.*s goes to "
			"a command now: redirect it to its address once more",
			STR_ARG(out->destination)));
	if (h.kind == HOP_UNIX)
		out->tls = TLS_NONE;
	if (rule_find(c->tls_policies,
		    h.host.n > 0 ? h.host : out->destination, &rule))
		out->tls = policy_named(rule);
	return take_hop(g, out, &h);
}

bool
route_serves(const struct route *r, const struct job *j)
{
	return str_eq_nocase(r->destination, j->m.destination) &&
		(r->sender.p == NULL || str_eq(r->sender, j->m.sender));
}

/* ------------------------------------------------------------- addresses */

/* Bound to the very address, or to all of its family and the address is
 * ours. */
static bool
listens_at(struct str spec, const struct net_address *at)
{
	struct net_address list[2];
	size_t n;
	struct arena *a;
	bool same = false;
	if (!net_parse_listen(spec, list, &n))
		return false;
	a = arena_new("self");
	for (size_t i = 0; i < n && !same; i++) {
		if (net_port(&list[i]) != net_port(at) ||
			list[i].sa.ss_family != at->sa.ss_family)
			continue;
		struct str bound = net_ip(a, &list[i]);
		if (str_eq(bound, STR("0.0.0.0")) || str_eq(bound, STR("::")))
			same = net_is_ours(at);
		else
			same = str_eq(bound, net_ip(a, at));
	}
	arena_free(a);
	return same;
}

bool
route_is_self(const struct conf *c, const struct net_address *at)
{
	for (size_t i = 0; i < c->remote.own_addresses.n; i++)
		if (net_within(at, c->remote.own_addresses.v[i]))
			return true;
	for (size_t i = 0; i < c->listen.smtp.n; i++)
		if (listens_at(c->listen.smtp.v[i], at))
			return true;
	return false;
}

static bool
is_welcome(const struct remote *g, const struct route *r,
	const struct net_address *at)
{
	return r->fixed || g->conf->remote.allow_loopback ||
		!net_is_private(at);
}

struct family {
	struct net_address v[ADDRESSES_MOST];
	size_t n, found;
	bool wanted; /* remote.prefer allows it */
};

static void
take_family(const struct remote *g, const struct route *r,
	const struct msg_dns_answer *m, struct family *out)
{
	*out = (struct family){.n = 0};
	out->found = m->records.n;
	for (size_t i = 0; i < m->records.n && out->n < ADDRESSES_MOST; i++) {
		struct net_address *at = &out->v[out->n];
		if (net_parse_ip(m->records.v[i], r->port, at) &&
			is_welcome(g, r, at))
			out->n++;
	}
	for (size_t i = out->n; i > 1; i--) {
		size_t k = (size_t)random() % i;
		struct net_address at = out->v[i - 1];
		out->v[i - 1] = out->v[k];
		out->v[k] = at;
	}
}

/* One of each family in turn (RFC 8305 4). */
static void
interleave(struct host *h, const struct family *first,
	const struct family *second)
{
	for (size_t i = 0; i < ADDRESSES_MOST; i++) {
		if (first->wanted && i < first->n &&
			h->count < ADDRESSES_MOST)
			h->addresses[h->count++] = first->v[i];
		if (second->wanted && i < second->n &&
			h->count < ADDRESSES_MOST)
			h->addresses[h->count++] = second->v[i];
	}
}

/* of: the families that may be used, of A and AAAA.  What could not be learned
 * may be the address that is wanted. */
static struct status
no_address(struct route *r, const struct host *h, const struct family *of,
	const struct msg_dns_answer *m)
{
	struct arena *a = r->arena;
	for (int i = 0; i < 2; i++)
		if (of[i].wanted && lookup_failed(&m[i]))
			return status_later(4, 3, str_printf(a, "DNS: %.*s "
				"for the addresses of %.*s",
				STR_ARG(m[i].rcode), STR_ARG(h->name)));
	if (of[0].found + of[1].found > 0)
		return no_such(a, 4, 4, "%.*s has only addresses that no "
			"mail is sent to (loopback, private)", h->name);
	return no_such(a, 4, 4, "%.*s has no address", h->name);
}

/* m: the answers for A and AAAA. */
static void
take_addresses(const struct remote *g, struct route *r, struct host *h,
	const struct msg_dns_answer *m)
{
	struct str prefer = g->conf->remote.prefer;
	struct family of[2], *v4 = &of[0], *v6 = &of[1];
	take_family(g, r, &m[0], v4);
	take_family(g, r, &m[1], v6);
	v4->wanted = !str_eq(prefer, STR("only-ipv6"));
	v6->wanted = !str_eq(prefer, STR("only-ipv4"));
	if (str_ends(prefer, STR("ipv4")))
		interleave(h, v4, v6);
	else
		interleave(h, v6, v4);
	h->status = h->count > 0 ? status_fine() : no_address(r, h, of, m);
	/* RFC 7672 2.2.2: where CNAMEs led, when each step is proven. */
	h->base = h->name;
	if (v4->found > 0 ? m[0].secure : m[1].secure)
		h->base = v4->found > 0 ? m[0].canonical : m[1].canonical;
	h->dane = r->secure && h->count > 0 &&
		(v4->found == 0 || m[0].secure) &&
		(v6->found == 0 || m[1].secure);
}

/* A host that is an address already, or a socket's name. */
static bool
take_given(const struct remote *g, struct route *r, struct host *h)
{
	struct str path = str_printf(r->arena, "%.*s/%.*s",
		STR_ARG(g->program->sockets), STR_ARG(h->name));
	size_t n;
	h->base = h->name;
	if (r->socket)
		h->count = net_parse_listen(path, h->addresses, &n) ? 1 : 0;
	else if (net_parse_ip(h->name, r->port, &h->addresses[0]))
		h->count = 1;
	else
		return false;
	h->status = status_fine();
	if (h->count == 0 || !is_welcome(g, r, &h->addresses[0])) {
		h->count = 0;
		h->status = no_such(r->arena, 4, 4, "no mail is sent to the "
			"address %.*s", h->name);
	}
	return true;
}

/* ------------------------------------------------------------------ TLSA */

/* RFC 7672 2.1: what cannot be learned makes the host unusable, what is
 * proven absent or not proven at all makes DANE not apply. */
static void
take_tlsa(struct route *r, struct host *h, const struct msg_dns_answer *m)
{
	if (lookup_failed(m)) {
		h->count = 0;
		h->status = status_later(7, 5, str_printf(r->arena,
			"DNS: %.*s for the TLSA records of %.*s",
			STR_ARG(m->rcode), STR_ARG(h->name)));
	}
	h->dane = m->secure && m->records.n > 0;
	h->tlsa = m->records;
}

/* by_alias: under the name CNAMEs led to, which comes first. */
static void
ask_tlsa(struct remote *g, struct route *r, struct host **hosts, size_t n,
	bool by_alias)
{
	struct arena *a = r->arena;
	struct question *q = arena_array(a, n, sizeof *q);
	struct msg_dns_answer *m = arena_array(a, n, sizeof *m);
	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (!by_alias)
			hosts[i]->base = hosts[i]->name;
		q[i] = (struct question){str_printf(a, "_%d._tcp.%.*s",
			r->port, STR_ARG(hosts[i]->base)), "TLSA"};
	}
	lookup(g, a, q, n, m);
	for (size_t i = 0; i < n; i++)
		take_tlsa(r, hosts[i], &m[i]);
}

static void
find_tlsa(struct remote *g, struct route *r, size_t from, size_t to)
{
	struct host *plain[HOSTS_MOST], *alias[HOSTS_MOST];
	size_t plains = 0, aliases = 0;
	for (size_t i = from; i < to; i++) {
		struct host *h = &r->hosts[i];
		if (!h->dane)
			continue;
		if (str_eq_nocase(h->base, h->name))
			plain[plains++] = h;
		else
			alias[aliases++] = h;
	}
	ask_tlsa(g, r, alias, aliases, true);
	for (size_t i = 0; i < aliases; i++)
		if (!alias[i]->dane && alias[i]->count > 0)
			plain[plains++] = alias[i];
	ask_tlsa(g, r, plain, plains, false);
}

/* A policy of dane is broken by a host that has no proven record. */
static void
demand_dane(struct route *r, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		struct host *h = &r->hosts[i];
		if (h->dane || h->count == 0)
			continue;
		h->count = 0;
		h->status = status_later(7, 5, str_printf(r->arena,
			"%.*s has no TLSA records that DNSSEC proves",
			STR_ARG(h->name)));
	}
}

void
route_addresses(struct remote *g, struct route *r, size_t from, size_t to)
{
	struct question q[HOSTS_MOST * 2];
	struct msg_dns_answer m[HOSTS_MOST * 2];
	struct host *asked[HOSTS_MOST];
	size_t n = 0;
	for (size_t i = from; i < to; i++) {
		struct host *h = &r->hosts[i];
		h->asked = true;
		if (take_given(g, r, h))
			continue;
		q[n * 2] = (struct question){h->name, "A"};
		q[n * 2 + 1] = (struct question){h->name, "AAAA"};
		asked[n++] = h;
	}
	if (n > 0)
		lookup(g, r->arena, q, n * 2, m);
	for (size_t i = 0; i < n; i++)
		take_addresses(g, r, asked[i], &m[i * 2]);
	bool wanted = g->conf->remote.dane && !r->lmtp &&
		r->tls != TLS_NONE && r->tls != TLS_VERIFIED;
	if (wanted || r->tls == TLS_DANE)
		find_tlsa(g, r, from, to);
	else
		for (size_t i = from; i < to; i++)
			r->hosts[i].dane = false;
	if (r->tls == TLS_DANE)
		demand_dane(r, from, to);
}
