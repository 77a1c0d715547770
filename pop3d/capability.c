/* SPDX-License-Identifier: ISC */
/*
 * CAPA (RFC 2449 5).  What is offered before a login is announced after it as
 * well (RFC 2449 3), so the rows ask about the connection, not the state.
 */
#include "pop3d.h"
#include "mail/sasl.h"

static void
sasl_names(const struct pop3_session *s, struct buf *out)
{
	enum sasl_mechanism m;
	for (size_t i = 0;
		(m = sasl_offered(i, s->guest.binding)) != SASL_NONE; i++) {
		buf_addc(out, ' ');
		buf_add(out, sasl_name(m));
	}
}

static void
login_delay(const struct pop3_session *s, struct buf *out)
{
	buf_printf(out, " %lld", (long long)s->conf->pop3.login_delay);
}

/* Offered when the condition, if there is one, holds; arguments are added by
 * the function. */
static const struct capability {
	const char *name;
	bool (*condition)(const struct guest *g);
	void (*arguments)(const struct pop3_session *s, struct buf *out);
} capabilities[] = {
	{"TOP"},
	{"UIDL"},
	{"PIPELINING"},
	{"RESP-CODES"},
	{"AUTH-RESP-CODE"},
	{"STLS", guest_may_start_tls},
	{"USER", guest_may_login},
	{"SASL", guest_may_login, sasl_names},
	{"UTF8 USER"},
	{"LANG"},
	{"EXPIRE NEVER"},
	{"LOGIN-DELAY", NULL, login_delay},
	{"IMPLEMENTATION surat"},
};

struct pop3_reply
pop3_capa(struct pop3_session *s, struct str args)
{
	struct buf *out = conn_out(s->conn);
	(void)args;
	session_reply(s, OK(SAY_CAPABILITIES));
	for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities;
		i++) {
		const struct capability *c = &capabilities[i];
		if (c->condition != NULL && !c->condition(&s->guest))
			continue;
		buf_adds(out, c->name);
		if (c->arguments != NULL)
			c->arguments(s, out);
		buf_adds(out, "\r\n");
	}
	buf_adds(out, ".\r\n");
	return SAID;
}
