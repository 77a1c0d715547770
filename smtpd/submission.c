/* SPDX-License-Identifier: ISC */
/*
 * Header repair, on submission only (RFC 6409 8, RFC 5321 6.4): a relay must
 * not touch what passes through it.
 *
 * An address is rewritten where it stands in a field as it is usually written;
 * one with comments or blanks inside stays as it is.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "mail/date.h"
#include "mail/header.h"

enum { REWRITTEN_MOST = 100 };

static bool
is_secret(struct str name)
{
	return str_eq_nocase(name, STR("Bcc")) ||
		str_eq_nocase(name, STR("Resent-Bcc"));
}

static bool
is_senders(struct str name)
{
	static const char *const names[] = {"From", "Sender", "Reply-To",
		"Resent-From", "Resent-Sender", "Resent-Reply-To"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(name, str_from(names[i])))
			return true;
	return false;
}

/* ------------------------------------------------------------- rewriting */

/* Addresses as they stand and as they shall; the first is the envelope's. */
struct rewriting {
	struct str_list from, to;
};

static bool
is_wanted(const struct session *s)
{
	const struct conf_address *c = &s->conf->address;
	return c->senders.n > 0 || c->masquerade.n > 0;
}

static void
add_address(struct rewriting *r, struct str address)
{
	for (size_t i = 0; i < r->from.n; i++)
		if (str_eq_nocase(r->from.v[i], address))
			return;
	if (r->from.n < REWRITTEN_MOST && address.n > 0)
		r->from.v[r->from.n++] = address;
}

static void
add_field(struct rewriting *r, struct arena *a, struct str value)
{
	struct header_addresses l = header_parse_addresses(a, value);
	for (size_t i = 0; i < l.n; i++)
		if (!l.v[i].group && l.v[i].host.n > 0)
			add_address(r, str_printf(a, "%.*s@%.*s",
				STR_ARG(l.v[i].mailbox),
				STR_ARG(l.v[i].host)));
}

static struct status
ask(struct session *s, struct arena *a, struct str header,
	struct rewriting *r)
{
	struct message m = MESSAGE(sender), answer;
	struct header_field f;
	r->from.v = arena_array(a, REWRITTEN_MOST, sizeof *r->from.v);
	add_address(r, s->t.sender);
	while (header_next(&header, &f))
		if (is_senders(f.name))
			add_field(r, a, f.value);
	m.sender.addresses = r->from;
	struct status st = link_call_again(
		s->auth, a, &m, MSG_sender_result, &answer);
	if (!status_is_fine(st))
		return st;
	if (answer.sender_result.addresses.n != r->from.n)
		return status_later(3, 0, STR("auth gave a malformed answer"));
	r->to = answer.sender_result.addresses;
	return answer.sender_result.status;
}

static bool
is_edge(struct str s, size_t at)
{
	return at >= s.n || str_has(STR("<>,;: \t\r\n()\""), s.p[at]);
}

/* Which of the addresses stands there by itself; r->to.n: none. */
static size_t
address_at(const struct rewriting *r, struct str field, size_t at)
{
	size_t i = 0;
	if (at > 0 && !is_edge(field, at - 1))
		return r->to.n;
	while (i < r->to.n &&
		!(str_starts_nocase(str_skip(field, at), r->from.v[i]) &&
			is_edge(field, at + r->from.v[i].n)))
		i++;
	return i;
}

/* The field with each address replaced once: what one becomes may be another
 * that is replaced. */
static struct str
rewritten(struct arena *a, const struct rewriting *r, struct str field)
{
	struct buf *out = buf_new(a);
	for (size_t i = 0; i < field.n;) {
		size_t which = address_at(r, field, i);
		if (which < r->to.n) {
			buf_add(out, r->to.v[which]);
			i += r->from.v[which].n;
		} else {
			buf_addc(out, field.p[i++]);
		}
	}
	return buf_str(out);
}

/* ---------------------------------------------------------------- repair */

/* Does From name somebody else than the envelope? */
static bool
is_for_another(struct arena *a, struct str header, struct str sender)
{
	struct str value;
	if (sender.n == 0 || header_find(header, STR("Sender"), &value) ||
		!header_find(header, STR("From"), &value))
		return false;
	struct header_addresses l = header_parse_addresses(a, value);
	for (size_t i = 0; i < l.n; i++) {
		const struct header_address *x = &l.v[i];
		if (!x->group && str_eq_nocase(str_printf(a, "%.*s@%.*s",
			STR_ARG(x->mailbox), STR_ARG(x->host)), sender))
			return false;
	}
	return l.n > 0;
}

static void
add_missing(struct session *s, struct arena *a, struct str header,
	struct buf *out)
{
	struct str value;
	if (!header_find(header, STR("Date"), &value))
		buf_printf(out, "Date: %.*s\r\n", STR_ARG(date_format(a,
			(struct date){clock_wall(), 0})));
	if (!header_find(header, STR("Message-ID"), &value))
		buf_printf(out, "Message-ID: <%.*s.%u@%.*s>\r\n",
			STR_ARG(s->id), s->transactions,
			STR_ARG(s->program->hostname));
	if (!header_find(header, STR("From"), &value) && s->t.sender.n > 0)
		buf_printf(out, "From: <%.*s>\r\n", STR_ARG(s->t.sender));
}

struct status
submission_repair(struct session *s, struct arena *a, struct str header,
	struct buf *out)
{
	struct str rest = header;
	struct header_field f;
	struct rewriting r = {.from = {NULL, 0}};
	bool another = is_for_another(a, header, s->t.sender);
	if (is_wanted(s)) {
		struct status st = ask(s, a, header, &r);
		if (!status_is_fine(st))
			return st;
		if (s->t.sender.n > 0)
			s->t.sender = r.to.v[0];
	}
	add_missing(s, a, header, out);
	/* RFC 5322 3.6.2: who really sent it. */
	if (another)
		buf_printf(out, "Sender: <%.*s>\r\n", STR_ARG(s->t.sender));
	while (header_next(&rest, &f))
		if (!is_secret(f.name))
			buf_add(out, is_senders(f.name)
				? rewritten(a, &r, f.whole) : f.whole);
	/* Also where body text followed the last field without an empty line:
	 * it must not be taken for header further on. */
	buf_adds(out, "\r\n");
	return status_fine();
}
