/* SPDX-License-Identifier: ISC */
/*
 * AUTH as a client (RFC 4954), at a smarthost.  The strongest mechanism both
 * sides know is taken; those that send the password itself only under TLS, on
 * loopback, or where the administrator forbade TLS with his own hand.
 */
#include "remote.h"
#include "base/arena.h"
#include "mail/encode.h"
#include "mail/sasl.h"

#include <sys/random.h>

enum { NONCE = 18, STEPS_MOST = 4 };

static const enum sasl_mechanism preferred[] = {
	SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1, SASL_PLAIN, SASL_LOGIN};

static bool
is_allowed(const struct session *s, const struct route *r,
	enum sasl_mechanism m)
{
	return !sasl_is_plaintext(m) || s->tls || r->tls == TLS_NONE ||
		net_is_loopback(&s->at);
}

static enum sasl_mechanism
choose(const struct session *s, const struct route *r, bool *too_weak)
{
	*too_weak = false;
	for (size_t i = 0; i < sizeof preferred / sizeof *preferred; i++) {
		if ((s->can.mechanisms & 1u << preferred[i]) == 0)
			continue;
		if (is_allowed(s, r, preferred[i]))
			return preferred[i];
		*too_weak = true;
	}
	return SASL_NONE;
}

static struct str
fresh_nonce(struct arena *a)
{
	unsigned char noise[NONCE];
	struct buf *text = buf_new(a);
	if (getrandom(noise, sizeof noise, 0) != sizeof noise)
		return STR("");
	base64_encode(text, str_of(noise, sizeof noise));
	return buf_str(text);
}

/* A refusal is never the message's fault: it waits until the password is
 * put right. */
static struct status
refused(struct session *s, const struct smtp_reply *r)
{
	struct status st = smtp_reply_status(s->arena, r, 7, 8);
	st.class = STATUS_LATER;
	return st;
}

static struct status
no_proof(struct session *s)
{
	session_break(s, 7, 0, "it cannot prove that it knows the password");
	return s->fault;
}

/* An empty response is "=" in the command (RFC 4954 4), a bare line later. */
static struct str
coded(struct arena *a, struct str response, bool first)
{
	struct buf *out = buf_new(a);
	base64_encode(out, response);
	return out->n == 0 && first ? STR("=") : buf_str(out);
}

/* The first response goes with the command, but for LOGIN, whose servers
 * want to ask. */
static bool
start(struct session *s, struct sasl_client *c, struct smtp_reply *r)
{
	struct arena *a = s->arena;
	struct str name = sasl_name(c->mechanism);
	if (c->mechanism == SASL_LOGIN)
		return session_command(s, a, EXPECT_REPLY, r, "AUTH LOGIN");
	if (!sasl_client_step(c, STR("")))
		return false;
	return session_command(s, a, EXPECT_REPLY, r, "AUTH %.*s %.*s",
		STR_ARG(name), STR_ARG(coded(a, c->response, true)));
}

static struct status
converse(struct session *s, struct sasl_client *c)
{
	struct arena *a = s->arena;
	struct smtp_reply r;
	if (!start(s, c, &r))
		return s->fault;
	for (int i = 0; r.code == 334 && i < STEPS_MOST; i++) {
		struct buf *challenge = buf_new(a);
		if (!base64_decode(challenge, str_trim(buf_str(r.text))))
			buf_clear(challenge);
		if (!sasl_client_step(c, buf_str(challenge)))
			return no_proof(s);
		if (!session_command(s, a, EXPECT_REPLY, &r, "%.*s",
			STR_ARG(coded(a, c->response, false))))
			return s->fault;
	}
	if (r.code != 235)
		return refused(s, &r);
	/* SCRAM: a success the server did not prove is none. */
	if (!sasl_is_plaintext(c->mechanism) && !c->server_proved)
		return no_proof(s);
	return status_fine();
}

struct status
login(struct session *s, const struct route *r)
{
	struct sasl_client c;
	bool too_weak;
	enum sasl_mechanism m = choose(s, r, &too_weak);
	if (m == SASL_NONE)
		return too_weak
			? STATUS(STATUS_LATER, 7, 4, "without TLS no password "
				"is sent to it")
			: STATUS(STATUS_LATER, 7, 4, "it offers no way to log "
				"in that is known here");
	struct str nonce = fresh_nonce(s->arena);
	if (nonce.n == 0)
		return STATUS(STATUS_LATER, 3, 0, "no random numbers");
	sasl_client_start(&c, s->arena, m, r->user, r->password, nonce);
	return converse(s, &c);
}
