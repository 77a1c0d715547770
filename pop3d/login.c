/* SPDX-License-Identifier: ISC */
/*
 * STLS (RFC 2595 4), USER and PASS (RFC 1939 7), AUTH (RFC 5034).  APOP is not
 * offered: it needs passwords kept in the clear.
 *
 * The +OK of a login that succeeded is said by the session the client was
 * handed to (start.c); ask/guest asks for it.  Refusals carry the codes of
 * RFC 3206.
 */
#include "pop3d.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/encode.h"

/* ------------------------------------------------------------------ TLS */

struct pop3_reply
pop3_stls(struct pop3_session *s, struct str args)
{
	(void)args;
	if (s->guest.tls)
		return ERR(NULL, SAY_TLS_ACTIVE);
	if (!guest_may_start_tls(&s->guest))
		return ERR(NULL, SAY_NO_TLS);
	return OK(SAY_BEGIN_TLS);
}

/* What was learnt in the clear is forgotten. */
void
login_start_tls(struct pop3_session *s)
{
	s->name = STR("");
	s->language = language_nth(0);
	if (!guest_start_tls(&s->guest))
		s->state = POP3_CLOSED;
}

/* ------------------------------------------------------------ passwords */

static struct pop3_reply
refused(struct pop3_session *s)
{
	if (!guest_is_trying(&s->guest))
		return ERR("AUTH", SAY_REFUSED);
	session_reply(s, ERR("AUTH", SAY_TOO_MANY_FAILURES));
	return SILENT;
}

/* What the session is to know: the language the client has chosen, and the
 * mechanisms it was told, if it asked. */
static struct str
tag_of(const struct pop3_session *s)
{
	const struct str_list *names = &s->guest.mechanisms;
	struct buf *tag = buf_new(s->transaction);
	buf_adds(tag, s->language->tag);
	for (size_t i = 0; i < names->n; i++) {
		buf_addc(tag, ' ');
		buf_add(tag, names->v[i]);
	}
	return buf_str(tag);
}

static struct pop3_reply
try_login(struct pop3_session *s, const struct guest_login *how,
	const struct pop3_reply *cancelled)
{
	struct guest_login h = *how;
	struct status why;
	h.tag = tag_of(s);
	switch (guest_login(&s->guest, s->transaction, &h, &why)) {
	case GUEST_HANDED:
		return SILENT;
	case GUEST_REFUSED:
		return refused(s);
	case GUEST_LATER:
		log_warn(s->id, "no-login", LOG_STR("why", why.text));
		return ERR("SYS/TEMP", SAY_NOT_NOW);
	case GUEST_CANCELLED:
		break;
	}
	return *cancelled;
}

struct pop3_reply
pop3_user(struct pop3_session *s, struct str args)
{
	args = str_trim(args);
	if (!guest_may_login(&s->guest))
		return ERR(NULL, SAY_TLS_FIRST);
	if (args.n == 0)
		return BAD(SAY_ARGUMENTS);
	s->name = str_copy(s->arena, args);
	return OK(SAY_PASSWORD);
}

/* As a response of RFC 4616, whose parts cannot hold NUL either: what has
 * one is refused there. */
struct pop3_reply
pop3_pass(struct pop3_session *s, struct str args)
{
	struct buf *response = buf_new(s->transaction);
	buf_addc(response, 0);
	buf_add(response, s->name);
	buf_addc(response, 0);
	buf_add(response, args);
	return try_login(s, &(struct guest_login){
		.mechanism = STR("PLAIN"), .response = buf_str(response)},
		NULL);
}

/* ----------------------------------------------------------------- AUTH */

struct exchange {
	struct pop3_session *session;
	struct pop3_reply failed;
};

/* One line of base64 from the client; "*" cancels (RFC 5034 4). */
static bool
read_response(struct exchange *x, struct str *response)
{
	struct pop3_session *s = x->session;
	struct buf *octets = buf_new(s->transaction);
	struct str line;
	x->failed = SILENT;
	if (!guest_wait(&s->guest, POP3_LINE_LOGIN, POP3_LOGIN_PATIENCE))
		return false;
	enum conn_line r = conn_line(s->conn, POP3_LINE_LOGIN, &line);
	x->failed = r == LINE_NONE ? SILENT : BAD(SAY_ARGUMENTS);
	if (r != LINE_OK && r != LINE_BARE)
		return false;
	if (str_eq(line, STR("*"))) {
		x->failed = ERR("AUTH", SAY_CANCELLED);
		return false;
	}
	if (!base64_decode(octets, line))
		return false;
	*response = octets->n == 0 ? STR("") : buf_str(octets);
	return true;
}

static bool
exchange(void *ctx, struct str challenge, struct str *response)
{
	struct exchange *x = ctx;
	struct buf *out = conn_out(x->session->conn);
	buf_adds(out, "+ ");
	base64_encode(out, challenge);
	buf_adds(out, "\r\n");
	return read_response(x, response);
}

static struct pop3_reply
list_mechanisms(struct pop3_session *s)
{
	struct str_list names = guest_mechanisms(&s->guest);
	session_reply(s, OK(SAY_MECHANISMS));
	for (size_t i = 0; i < names.n; i++) {
		conn_write(s->conn, names.v[i]);
		conn_puts(s->conn, "\r\n");
	}
	conn_puts(s->conn, ".\r\n");
	return SAID;
}

/* As it is offered; empty when it is not. */
static struct str
find_mechanism(struct pop3_session *s, struct str name)
{
	struct str_list names = guest_mechanisms(&s->guest);
	for (size_t i = 0; i < names.n; i++)
		if (str_eq_nocase(name, names.v[i]))
			return names.v[i];
	return STR("");
}

/* Without a mechanism: which there are, as clients of before RFC 5034 ask,
 * some with a blank behind AUTH. */
struct pop3_reply
pop3_auth(struct pop3_session *s, struct str args)
{
	struct str name, initial, response = STR("");
	struct exchange x = {s, BAD(SAY_ARGUMENTS)};
	struct buf *octets = buf_new(s->transaction);
	if (!guest_may_login(&s->guest))
		return ERR(NULL, SAY_TLS_FIRST);
	if (!str_word(&args, &name))
		return list_mechanisms(s);
	name = find_mechanism(s, name);
	if (name.n == 0)
		return ERR(NULL, SAY_NO_MECHANISM);
	if (str_word(&args, &initial)) {
		/* "=" is an empty one. */
		if (str_trim(args).n > 0 || (!str_eq(initial, STR("=")) &&
			!base64_decode(octets, initial)))
			return BAD(SAY_ARGUMENTS);
		response = buf_str(octets);
	}
	return try_login(s, &(struct guest_login){
		.mechanism = name, .response = response,
		.exchange = exchange, .ctx = &x}, &x.failed);
}

/* ---------------------------------------------------------------- client */

/* Who begins with TLS is not told in the clear. */
static void
receive(struct pop3_session *s, bool tls)
{
	struct pop3_reply ready = OK(SAY_READY);
	if (!status_is_fine(guest_enter(&s->guest))) {
		if (!tls)
			session_reply(s, ERR("SYS/TEMP", SAY_NOT_NOW));
		s->state = POP3_CLOSED;
		return;
	}
	if (tls)
		login_start_tls(s);
	ready.before = s->program->hostname;
	if (s->state != POP3_CLOSED)
		session_reply(s, ready);
}

/*
 * The process goes on to the next client after this one, handed over or not:
 * starting a program for each would double the cost of a login.
 */
enum served
login_serve(struct program *p, struct client *c)
{
	struct pop3_session *s = session_new(p, c->in, c->out);
	guest_welcome(&s->guest, p, c);
	receive(s, c->tls);
	session_run(s);
	session_free(s);
	return SERVED_AGAIN;
}
