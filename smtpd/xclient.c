/* SPDX-License-Identifier: ISC */
/*
 * XCLIENT: a host we trust (a filter, a proxy, a test) says for whom it
 * speaks.  Postfix invented it and describes it; every attribute is
 * NAME=xtext, a value in brackets means that it is not known.  After it the
 * session begins anew with that client, greeting included.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/encode.h"

typedef bool (*attribute_fn)(struct session *s, struct str value);

static bool
is_unknown(struct str value)
{
	return str_eq_nocase(value, STR("[UNAVAILABLE]")) ||
		str_eq_nocase(value, STR("[TEMPUNAVAIL]"));
}

/* Whose address is not known is nobody's whom we know, least of all the host's
 * that says so. */
static bool
set_address(struct net_address *to, struct str value)
{
	if (is_unknown(value))
		value = STR("0.0.0.0");
	if (str_starts_nocase(value, STR("IPV6:")))
		value = str_skip(value, 5);
	return net_parse_ip(value, net_port(to), to);
}

static bool
set_addr(struct session *s, struct str value)
{
	return set_address(&s->client->peer, value);
}

static bool
set_destaddr(struct session *s, struct str value)
{
	return set_address(&s->client->local, value);
}

static bool
set_port(struct session *s, struct str value)
{
	uint64_t port;
	(void)s;
	return is_unknown(value) || str_number(value, 65535, &port);
}

static bool
set_name(struct session *s, struct str value)
{
	s->reverse = is_unknown(value) ? STR("") : str_copy(s->arena, value);
	s->reverse_known = true;
	return value.n <= 255;
}

/* What the address's name server says without being confirmed is believed by
 * nobody here. */
static bool
set_reverse(struct session *s, struct str value)
{
	(void)s;
	return value.n <= 255;
}

static bool
set_helo(struct session *s, struct str value)
{
	s->helo = is_unknown(value) ? STR("") : str_copy(s->arena, value);
	return value.n <= 255;
}

static bool
set_proto(struct session *s, struct str value)
{
	s->esmtp = str_eq_nocase(value, STR("ESMTP"));
	return s->esmtp || str_eq_nocase(value, STR("SMTP"));
}

/* Whose login it was, and so what may be sent from, was the other's to see
 * to. */
static bool
set_login(struct session *s, struct str value)
{
	static struct str any[] = {STR_INIT("*")};
	s->user = is_unknown(value) ? STR("") : str_copy(s->arena, value);
	s->senders = (struct str_list){any, s->user.n > 0};
	return value.n <= 255;
}

static const struct {
	struct str name;
	attribute_fn fn;
} attributes[] = {
	{STR_INIT("NAME"), set_name}, {STR_INIT("REVERSE_NAME"), set_reverse},
	{STR_INIT("ADDR"), set_addr}, {STR_INIT("PORT"), set_port},
	{STR_INIT("DESTADDR"), set_destaddr}, {STR_INIT("DESTPORT"), set_port},
	{STR_INIT("HELO"), set_helo}, {STR_INIT("PROTO"), set_proto},
	{STR_INIT("LOGIN"), set_login},
};

enum { ATTRIBUTES = sizeof attributes / sizeof *attributes };

void
xclient_keyword(const struct session *s, struct buf *out)
{
	if (!s->xclient)
		return;
	buf_adds(out, "\nXCLIENT");
	for (size_t i = 0; i < ATTRIBUTES; i++)
		buf_printf(out, " %.*s", STR_ARG(attributes[i].name));
}

static bool
set_one(struct session *s, struct str word)
{
	struct str name;
	struct buf *octets = buf_new(s->transaction_arena);
	if (!str_cut(&word, '=', &name) || word.n == 0 ||
		!xtext_decode(octets, word))
		return false;
	struct str value = buf_str(octets);
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
			return false;
	for (size_t i = 0; i < ATTRIBUTES; i++)
		if (str_eq_nocase(name, attributes[i].name))
			return attributes[i].fn(s, value);
	return false;
}

struct status
smtp_xclient(struct session *s, struct str args)
{
	struct str word;
	bool any = false, good = true;
	if (!s->xclient)
		return status_reply(STATUS(STATUS_NEVER, 7, 0,
			"You are not trusted to say that"), 550);
	client_leave(s);
	session_reset(s);
	while (good && str_word(&args, &word))
		any = good = set_one(s, word);
	s->ip = net_ip(s->arena, &s->client->peer);
	s->trusted = session_is_trusted(s);
	s->facts_known = false;
	s->listed = 0;
	s->listed_by = STR("");
	struct status st = client_enter(s);
	if (!status_is_fine(st)) {
		session_close(s, st);
		return st;
	}
	/* Nothing is half believed. */
	if (!any || !good) {
		session_close(s, STATUS(STATUS_NEVER, 5, 4,
			"XCLIENT NAME=value ...; good bye"));
		return st;
	}
	log_info(s->id, "xclient", LOG_STR("client", s->ip),
		LOG_STR("helo", s->helo), LOG_STR("user", s->user));
	return status_reply((struct status){STATUS_FINE, 0, 0, 220,
		str_printf(s->transaction_arena, "%.*s %s surat",
			STR_ARG(s->program->hostname),
			s->lmtp ? "LMTP" : "ESMTP")}, 220);
}
