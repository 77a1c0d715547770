/* SPDX-License-Identifier: ISC */
/*
 * TLS with a server (RFC 3207).  tls puts it under the stream; what is decided
 * here is whether it must be, and what is done when it fails.
 *
 * Nothing the server said before TLS is believed afterwards: unread input at
 * the hand-over is an attack, and EHLO is said again.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/log.h"

static const char *const policy_names[] = {
	[TLS_OPPORTUNISTIC] = "opportunistic",
	[TLS_REQUIRED] = "required",
	[TLS_VERIFIED] = "verified",
	[TLS_DANE] = "dane",
};

enum tls_policy
secure_policy(const struct route *r, const struct host *h,
	const struct job *j)
{
	/* The sender gives up the recipient's wishes (RFC 8689 5), not those
	 * of this host's administrator. */
	if (h->dane && !(j->tls_optional && r->tls != TLS_DANE))
		return TLS_DANE;
	if (job_requires_tls(j) && r->tls < TLS_VERIFIED)
		return TLS_VERIFIED;
	if (r->implicit_tls && r->tls < TLS_REQUIRED)
		return TLS_REQUIRED;
	return r->tls;
}

struct status
secure_stream(struct session *s, const struct host *h, enum tls_policy policy)
{
	struct message m = MESSAGE(tls_start), answer;
	m.fd = conn_fd(s->conn);
	m.tls_start.role = STR("client");
	m.tls_start.service = s->lmtp ? STR("lmtp") : STR("smtp");
	m.tls_start.name = policy == TLS_DANE ? h->base : h->name;
	m.tls_start.policy = str_from(policy_names[policy]);
	if (policy == TLS_DANE)
		m.tls_start.tlsa = h->tlsa;
	struct status st = link_call(s->remote->tls, s->arena, &m,
		MSG_tls_ready, &answer);
	if (status_is_fine(st))
		st = answer.tls_ready.status;
	if (!status_is_fine(st)) {
		s->broken = true;
		s->fault = st;
		return st;
	}
	int fd = message_take_fd(&answer);
	/* What was read before is gone, and there was nothing. */
	conn_swap(s->conn, fd, fd);
	s->tls = true;
	s->verified = !str_eq(answer.tls_ready.verified, STR("none"));
	s->tls_text = str_printf(s->arena, "%.*s%s",
		STR_ARG(answer.tls_ready.version), s->verified
			? " verified" : "");
	s->binding = answer.tls_ready.binding;
	return st;
}

static struct status
demand(enum tls_policy policy, const char *what)
{
	return policy >= TLS_REQUIRED
		? status_later(7, 4, str_from(what)) : status_fine();
}

struct status
secure_start(struct session *s, const struct host *h, enum tls_policy policy,
	bool *failed)
{
	struct smtp_reply r;
	if (policy == TLS_NONE)
		return status_fine();
	if (!s->can.starttls)
		return demand(policy, "TLS is required but not offered");
	if (!session_command(s, s->arena, EXPECT_REPLY, &r, "STARTTLS"))
		return s->fault;
	if (s->broken)
		return s->fault;
	if (r.code != 220)
		return demand(policy, "STARTTLS was refused");
	if (conn_has_input(s->conn)) {
		session_break(s, 7, 0, "it said more after its reply to "
			"STARTTLS: somebody is between us");
		*failed = true;
		return s->fault;
	}
	struct status st = secure_stream(s, h, policy);
	if (!status_is_fine(st)) {
		/* Later 4.7.x is a handshake that failed, anything else our
		 * own trouble, which must not lead to plain text. */
		*failed = st.subject == 7;
		return st;
	}
	return session_hello(s);
}
