/* SPDX-License-Identifier: ISC */
/*
 * Who may send what to whom.  The relay is closed: mail is taken for our own
 * users from anybody, for anybody else only from who logged in or stands in a
 * network that was named.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"

static bool
may_relay(const struct session *s)
{
	return s->user.n > 0 || s->trusted;
}

/* A login may use the addresses auth named: whole ones, "@domain", "*". */
static bool
is_own(const struct session *s, struct str address)
{
	struct str domain = str_skip(address, str_find_last(address, '@'));
	for (size_t i = 0; i < s->senders.n; i++) {
		struct str own = s->senders.v[i];
		if (str_eq(own, STR("*")) || str_eq_nocase(own, address) ||
			(str_starts(own, STR("@")) &&
				str_eq_nocase(own, domain)))
			return true;
	}
	return false;
}

/* alice+list@ is alice's when alice@ is. */
static struct str
without_extension(struct session *s, const struct address *x)
{
	struct str user, extension;
	struct address base = *x;
	address_split(x->local, s->conf->general.plus, &user, &extension);
	base.local = user;
	return address_text(s->transaction_arena, &base);
}

struct status
policy_sender(struct session *s, const struct address *sender)
{
	struct str text = address_text(s->transaction_arena, sender);
	if (s->submission && !may_relay(s))
		return status_reply(STATUS(STATUS_NEVER, 7, 0,
			"Log in first"), 530);
	if (s->user.n == 0 || address_is_null(sender) || is_own(s, text) ||
		is_own(s, without_extension(s, sender)))
		return status_fine();
	log_info(s->id, "sender-refused", LOG_STR("user", s->user),
		LOG_STR("from", text));
	return status_reply(STATUS(STATUS_NEVER, 7, 1,
		"That is not an address of yours"), 553);
}

struct status
policy_rcpt(struct session *s, const struct address *rcpt)
{
	struct arena *a = s->transaction_arena;
	struct message m = MESSAGE(rcpt_lookup), answer;
	m.rcpt_lookup.address = address_text(a, rcpt);
	m.rcpt_lookup.sender = s->t.sender;
	m.rcpt_lookup.user = s->user;
	struct status st = link_call_again(
		s->auth, a, &m, MSG_rcpt_result, &answer);
	if (!status_is_fine(st))
		return st;
	st = answer.rcpt_result.status;
	if (answer.rcpt_result.local || !status_is_fine(st) || may_relay(s))
		return st;
	return STATUS(STATUS_NEVER, 7, 1, "Relaying is not allowed");
}
