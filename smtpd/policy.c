/* SPDX-License-Identifier: ISC */
/*
 * Who may send what to whom.  A login is held to its own addresses here; what
 * becomes of a recipient auth decides, which knows the rules and the tables:
 * it hears everything we know of the client.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/encode.h"

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

/* Not in the list: it may still be one of theirs by an extension or by a table
 * that cannot be listed. */
static struct status
ask_owner(struct session *s, struct str address)
{
	struct message m = MESSAGE(sender), answer;
	m.sender.user = s->user;
	m.sender.addresses = (struct str_list){&address, 1};
	struct status st = link_call_again(s->auth, s->transaction_arena, &m,
		MSG_sender_result, &answer);
	return status_is_fine(st) ? answer.sender_result.status : st;
}

struct status
policy_sender(struct session *s, const struct address *sender)
{
	struct str text = address_text(s->transaction_arena, sender);
	if (s->submission && s->user.n == 0 && !s->trusted)
		return status_reply(STATUS(STATUS_NEVER, 7, 0,
			"Log in first"), 530);
	if (s->user.n == 0 || address_is_null(sender) || is_own(s, text))
		return status_fine();
	struct status st = ask_owner(s, text);
	if (status_is_fine(st) || status_is_later(st))
		return st;
	log_info(s->id, "sender-refused", LOG_STR("user", s->user),
		LOG_STR("from", text));
	return status_reply(st, 553);
}

static void
apply_result(struct session *s, const struct msg_rcpt_result *r,
	struct recipient *to)
{
	if (r->rule.n > 0)
		log_info(s->id, "rule", LOG_STR("rcpt", to->address),
			LOG_STR("rule", r->rule));
	if (r->hold.n > 0 && s->t.hold.n == 0)
		s->t.hold = str_copy(s->transaction_arena, r->hold);
	if (r->address.n == 0)
		return;
	/* Whom it was for is not forgotten (edge case 78). */
	struct buf *orcpt = buf_new(s->command_arena);
	orcpt_encode(orcpt, to->address);
	if (to->orcpt.n == 0)
		to->orcpt = buf_str(orcpt);
	to->address = r->address;
}

struct status
policy_rcpt(struct session *s, struct recipient *to)
{
	struct arena *a = s->command_arena;
	struct message m = MESSAGE(rcpt_lookup), answer;
	facts_gather(s);
	m.rcpt_lookup.address = to->address;
	m.rcpt_lookup.sender = s->t.sender;
	m.rcpt_lookup.user = s->user;
	m.rcpt_lookup.client = s->ip;
	m.rcpt_lookup.helo = s->helo;
	m.rcpt_lookup.reverse = s->reverse;
	m.rcpt_lookup.tls = s->tls;
	m.rcpt_lookup.listed = s->listed;
	m.rcpt_lookup.listed_by = s->listed_by;
	m.rcpt_lookup.sender_domain = s->t.sender_domain;
	m.rcpt_lookup.size = (int64_t)s->t.declared;
	struct status st = link_call_again(
		s->auth, a, &m, MSG_rcpt_result, &answer);
	if (!status_is_fine(st))
		return st;
	apply_result(s, &answer.rcpt_result, to);
	return answer.rcpt_result.status;
}
