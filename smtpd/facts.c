/* SPDX-License-Identifier: ISC */
/*
 * What DNS says of a stranger: the name of its address, confirmed by the name's
 * addresses; lists of good and bad clients; whether the sender's domain can get
 * mail.  Asked when the first recipient is named, all questions at once, and
 * remembered.  Who logged in, stands in a named network or comes from an
 * address no list can know is no stranger.
 *
 * A name server that does not answer is no reason to refuse anybody: then
 * nothing is known.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

enum { LISTS_MOST = LINK_AT_ONCE - 2, NAMES_MOST = 5 };

static bool
is_stranger(const struct session *s)
{
	return s->user.n == 0 && !s->trusted && !s->lmtp &&
		!net_is_private(&s->client->peer) && s->client->peer.n > 0;
}

/* Octets of 192.0.2.1 are "1.2.0.192", of an IPv6 address its nibbles, from
 * the last (RFC 5782 2). */
static struct str
reversed(struct session *s)
{
	struct buf *out = buf_new(s->arena);
	struct str key = net_block(s->arena, &s->client->peer, 32, 128);
	for (size_t i = key.n; i-- > 1;) {
		unsigned char c = (unsigned char)key.p[i];
		if (key.p[0] == '4')
			buf_printf(out, "%s%u", i < key.n - 1 ? "." : "", c);
		else
			buf_printf(out, "%s%x.%x", i < key.n - 1 ? "." : "",
				c & 15, c >> 4);
	}
	return buf_str(out);
}

static struct message
question(struct str name, const char *type)
{
	struct message m = MESSAGE(dns_ask);
	m.dns_ask.name = name;
	m.dns_ask.type = str_from(type);
	return m;
}

static const struct msg_dns_answer *
answer_of(const struct message *m)
{
	return m->kind == MSG_dns_answer ? &m->dns_answer : NULL;
}

/* --------------------------------------------------------------- lists */

struct dns_list {
	struct str zone, address; /* address empty: any */
	int64_t weight;
};

/* "zone=127.0.0.2*3"; the form was checked with the configuration. */
static struct dns_list
parse_list(struct str item)
{
	struct dns_list l = {.weight = 1};
	struct str weight = item;
	uint64_t n;
	str_cut(&weight, '*', &item);
	bool minus = str_starts(weight, STR("-"));
	if (weight.p != NULL &&
		str_number(str_skip(weight, minus), 1000, &n))
		l.weight = minus ? -(int64_t)n : (int64_t)n;
	l.address = item;
	str_cut(&l.address, '=', &l.zone);
	return l;
}

static void
judge_list(struct session *s, const struct dns_list *l,
	const struct msg_dns_answer *answer)
{
	bool on = false;
	if (answer == NULL || !str_eq(answer->rcode, STR("noerror")))
		return;
	/* An address outside 127/8 is a zone that somebody took over. */
	for (size_t i = 0; i < answer->records.n; i++)
		on = on || (str_starts(answer->records.v[i], STR("127.")) &&
			(l->address.n == 0 ||
				str_eq(l->address, answer->records.v[i])));
	if (!on)
		return;
	s->listed += l->weight;
	if (l->weight > 0 && s->listed_by.n == 0)
		s->listed_by = l->zone;
	log_info(s->id, "listed", LOG_STR("client", s->ip),
		LOG_STR("by", l->zone), LOG_NUM("weight", l->weight));
}

/* -------------------------------------------------------- reverse names */

static void
confirm_name(struct session *s, const struct msg_dns_answer *names)
{
	const char *type = s->client->peer.sa.ss_family == AF_INET6 &&
		str_has(s->ip, ':') ? "AAAA" : "A";
	struct message q[NAMES_MOST], r[NAMES_MOST];
	struct net_address ip;
	size_t n = names == NULL ? 0 : names->records.n;
	if (n > NAMES_MOST)
		n = NAMES_MOST;
	for (size_t i = 0; i < n; i++)
		q[i] = question(names->records.v[i], type);
	if (n == 0 || !status_is_fine(link_call_all(
		s->resolve, s->transaction_arena, q, n, r)))
		return;
	for (size_t i = 0; i < n && s->reverse.n == 0; i++) {
		const struct msg_dns_answer *a = answer_of(&r[i]);
		for (size_t k = 0; a != NULL && k < a->records.n; k++)
			if (net_parse_ip(a->records.v[k], 0, &ip) &&
				str_eq(net_ip(s->transaction_arena, &ip),
					s->ip))
				s->reverse = str_lower(
					s->arena, names->records.v[i]);
	}
}

/* --------------------------------------------------------------- asking */

/* A null MX says that the domain wants no mail (RFC 7505). */
static struct str
domain_state(const struct msg_dns_answer *mx)
{
	if (mx == NULL)
		return STR("");
	if (str_eq(mx->rcode, STR("nxdomain")))
		return STR("unknown");
	if (mx->records.n == 1 && (str_eq(mx->records.v[0], STR("0 .")) ||
		str_eq(mx->records.v[0], STR("0 "))))
		return STR("null");
	return STR("");
}

static struct str
sender_domain(const struct session *s)
{
	struct str d = str_skip(s->t.sender,
		str_find_last(s->t.sender, '@') + 1);
	return str_starts(d, STR("[")) ? STR("") : d;
}

static void
ask_all(struct session *s)
{
	const struct str_list *lists = &s->conf->smtp.dns_lists;
	struct message q[LINK_AT_ONCE], r[LINK_AT_ONCE];
	struct dns_list parsed[LISTS_MOST];
	struct str domain = sender_domain(s), name = reversed(s);
	size_t n = 0, count = lists->n < LISTS_MOST ? lists->n : LISTS_MOST;
	bool fresh = !s->facts_known, v6 = str_has(s->ip, ':');
	count = fresh ? count : 0;
	for (; n < count; n++) {
		parsed[n] = parse_list(lists->v[n]);
		q[n] = question(str_printf(s->arena, "%.*s.%.*s",
			STR_ARG(name), STR_ARG(parsed[n].zone)), "A");
	}
	bool reverse = fresh && !s->reverse_known &&
		s->conf->smtp.reverse_names;
	if (reverse)
		q[n++] = question(str_printf(s->arena, "%.*s.%s",
			STR_ARG(name), v6 ? "ip6.arpa" : "in-addr.arpa"),
			"PTR");
	if (domain.n > 0)
		q[n++] = question(domain, "MX");
	if (n == 0 || !status_is_fine(link_call_all(
		s->resolve, s->transaction_arena, q, n, r)))
		return;
	for (size_t i = 0; i < count; i++)
		judge_list(s, &parsed[i], answer_of(&r[i]));
	if (domain.n > 0)
		s->t.sender_domain = domain_state(answer_of(&r[n - 1]));
	if (reverse)
		confirm_name(s, answer_of(&r[count]));
}

void
facts_gather(struct session *s)
{
	if (s->t.facts_asked)
		return;
	s->t.facts_asked = true;
	if (is_stranger(s))
		ask_all(s);
	s->facts_known = true;
}
