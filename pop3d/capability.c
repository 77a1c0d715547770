/* SPDX-License-Identifier: ISC */
/*
 * CAPA (RFC 2449 5).  What is offered before a login is announced after it as
 * well (RFC 2449 3), so the rows ask about the connection, not the state.
 */
#include "pop3d.h"

/* A session knows them if the client asked before it logged in. */
static bool
offers_sasl(const struct guest *g)
{
	return guest_may_login(g) && (g->auth != NULL || g->mechanisms.n > 0);
}

static void
sasl_names(struct pop3_session *s, struct buf *out)
{
	struct str_list names = guest_mechanisms(&s->guest);
	for (size_t i = 0; i < names.n; i++) {
		buf_addc(out, ' ');
		buf_add(out, names.v[i]);
	}
}

static void
login_delay(struct pop3_session *s, struct buf *out)
{
	buf_printf(out, " %lld", (long long)s->conf->pop3.login_delay);
}

/* Offered when the condition, if there is one, holds; arguments are added by
 * the function. */
static const struct capability {
	const char *name;
	bool (*condition)(const struct guest *g);
	void (*arguments)(struct pop3_session *s, struct buf *out);
} capabilities[] = {
	{"TOP"},
	{"UIDL"},
	{"PIPELINING"},
	{"RESP-CODES"},
	{"AUTH-RESP-CODE"},
	{"STLS", guest_may_start_tls},
	{"USER", guest_may_login},
	{"SASL", offers_sasl, sasl_names},
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
