/* SPDX-License-Identifier: ISC */
/*
 * Before a login: STARTTLS, LOGIN, AUTHENTICATE (RFC 3501 6.2, initial
 * responses RFC 4959), the way back there, UNAUTHENTICATE (RFC 8437), and what
 * goes in any state: NOOP, LOGOUT.
 *
 * What the tagged OK of a successful login says is said by the session the
 * client was handed to (start.c); ask/guest asks for it.
 */
#include "commands.h"
#include "ask/handover.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/encode.h"
#include "sys/ipc.h"

#include <unistd.h>

enum { RESPONSE_MOST = 8 * 1024, BACK_PATIENCE = 5 * 1000 };

bool
login_is_allowed(const struct imap_session *s)
{
	return guest_may_login(&s->guest);
}

struct imap_reply
imap_noop(struct imap_session *s, const struct arg *args)
{
	(void)s;
	(void)args;
	return REPLY_OK("Done");
}

struct imap_reply
imap_logout(struct imap_session *s, const struct arg *args)
{
	(void)args;
	reply_untagged(s->conn, "BYE Good bye");
	return REPLY_OK("Logged out");
}

/* ------------------------------------------------------------------ TLS */

struct imap_reply
imap_starttls(struct imap_session *s, const struct arg *args)
{
	(void)args;
	if (s->guest.tls)
		return REPLY_BAD("TLS is already active");
	if (s->conf->tls.certificate.n == 0)
		return REPLY_NO("UNAVAILABLE", "No TLS here");
	return REPLY_OK("Begin TLS negotiation now");
}

void
login_start_tls(struct imap_session *s)
{
	if (!guest_start_tls(&s->guest))
		s->state = IMAP_CLOSED;
}

/* ------------------------------------------------------------ passwords */

static struct imap_reply
refused(struct imap_session *s)
{
	if (guest_is_trying(&s->guest)) {
		reply_untagged(s->conn, "BYE Too many failed logins");
		s->state = IMAP_CLOSED;
	}
	return REPLY_NO("AUTHENTICATIONFAILED", "Login failed");
}

/* cancelled: what is said when exchange has failed. */
static struct imap_reply
try_login(struct imap_session *s, const struct guest_login *how,
	const char *const *cancelled)
{
	struct status why;
	switch (guest_login(&s->guest, s->transaction, how, &why)) {
	case GUEST_HANDED:
		return (struct imap_reply){.result = IMAP_SILENT};
	case GUEST_REFUSED:
		return refused(s);
	case GUEST_LATER:
		return (struct imap_reply){
			IMAP_NO, STR("UNAVAILABLE"), why.text};
	case GUEST_CANCELLED:
		break;
	}
	return (struct imap_reply){IMAP_BAD, STR(""), str_from(*cancelled)};
}

struct imap_reply
imap_login(struct imap_session *s, const struct arg *args)
{
	struct str user, password;
	if (arg_count(args) != 2 || !arg_astring(args, &user) ||
		!arg_astring(args->next, &password))
		return REPLY_BAD("LOGIN user password");
	if (!login_is_allowed(s))
		return REPLY_NO("PRIVACYREQUIRED", "Start TLS first");
	/* The response of RFC 4616, whose parts cannot hold NUL either. */
	struct buf *response = buf_new(s->transaction);
	buf_addc(response, 0);
	buf_add(response, user);
	buf_addc(response, 0);
	buf_add(response, password);
	return try_login(s, &(struct guest_login){
		.mechanism = STR("PLAIN"), .response = buf_str(response),
		.tag = s->tag}, &(const char *){"Cancelled"});
}

static bool
decode(struct imap_session *s, struct str text, struct str *response,
	const char **why)
{
	struct buf *octets = buf_new(s->transaction);
	*why = "Response is not base64";
	if (!base64_decode(octets, text))
		return false;
	*response = buf_str(octets);
	return true;
}

/* One line of base64 from the client; "*" cancels. */
static bool
read_response(struct imap_session *s, struct str *response, const char **why)
{
	struct str line;
	*why = "Response expected";
	if (!guest_wait(&s->guest, RESPONSE_MOST, IMAP_LOGIN_PATIENCE))
		return false;
	enum conn_line r = conn_line(s->conn, RESPONSE_MOST, &line);
	if (r != LINE_OK && r != LINE_BARE)
		return false;
	if (!str_eq(line, STR("*")))
		return decode(s, line, response, why);
	*why = "Cancelled";
	return false;
}

/* The initial response, if any; "=" is an empty one (RFC 4959 3). */
static bool
first_response(struct imap_session *s, const struct arg *arg,
	struct str *response, const char **why)
{
	struct str text;
	*why = "Response is not base64";
	*response = STR("");
	if (arg == NULL)
		return true;
	if (!arg_atom(arg, &text))
		return false;
	return str_eq(text, STR("=")) || decode(s, text, response, why);
}

/* As it is offered; empty when it is not. */
static struct str
find_mechanism(struct imap_session *s, struct str name)
{
	struct str_list names = guest_mechanisms(&s->guest);
	if (capability_is_hidden(s, str_printf(s->transaction, "AUTH=%.*s",
		STR_ARG(name))))
		return STR("");
	for (size_t i = 0; i < names.n; i++)
		if (str_eq_nocase(name, names.v[i]))
			return names.v[i];
	return STR("");
}

struct exchange {
	struct imap_session *session;
	const char *why;
};

static bool
exchange(void *ctx, struct str challenge, struct str *response)
{
	struct exchange *x = ctx;
	struct conn *c = x->session->conn;
	conn_puts(c, "+ ");
	base64_encode(conn_out(c), challenge);
	conn_puts(c, "\r\n");
	return read_response(x->session, response, &x->why);
}

struct imap_reply
imap_authenticate(struct imap_session *s, const struct arg *args)
{
	struct str mechanism, response;
	struct exchange x = {s, ""};
	if (!arg_atom(args, &mechanism) || arg_count(args) > 2)
		return REPLY_BAD("AUTHENTICATE mechanism [initial-response]");
	if (!login_is_allowed(s))
		return REPLY_NO("PRIVACYREQUIRED", "Start TLS first");
	mechanism = find_mechanism(s, mechanism);
	if (mechanism.n == 0)
		return REPLY_NO("CANNOT", "No such mechanism");
	if (!first_response(s, args->next, &response, &x.why))
		return (struct imap_reply){IMAP_BAD, STR(""), str_from(x.why)};
	return try_login(s, &(struct guest_login){
		.mechanism = mechanism, .response = response,
		.tag = s->tag, .exchange = exchange, .ctx = &x}, &x.why);
}

/* ---------------------------------------------------------- and its end */

/* RFC 8437.  Where it is not offered it is not known either (section 3). */
struct imap_reply
imap_unauthenticate(struct imap_session *s, const struct arg *args)
{
	(void)args;
	if (!s->guest.back || capability_is_hidden(s, STR("UNAUTHENTICATE")))
		return REPLY_BAD("Unknown command");
	return REPLY_OK("Unauthenticated");
}

void
login_leave(struct imap_session *s)
{
	conn_unfilter(s->conn);
	handover_return(s->conn);
}

/* ---------------------------------------------------------------- client */

static void
greet(struct imap_session *s)
{
	struct str text = capability_text(s);
	reply_untagged(s->conn, "OK [CAPABILITY %.*s] %.*s surat ready",
		STR_ARG(text), STR_ARG(s->program->hostname));
}

/* No greeting: the client may have sent the next command already. */
static enum served
serve_returned(struct program *p, int asker)
{
	struct arena *a = arena_new("back");
	struct message m = {.fd = -1};
	enum ipc_result r = ipc_recv_wait(
		&ask_messages, asker, a, &m, clock_in(BACK_PATIENCE));
	close(asker);
	if (r == IPC_OK && m.fd >= 0) {
		int fd = message_take_fd(&m);
		struct imap_session *s = session_new(p, fd, fd);
		if (guest_come_back(&s->guest, p, &m)) {
			s->id = s->guest.id;
			session_run(s);
		}
		session_free(s);
	}
	message_drop(&m);
	arena_free(a);
	return SERVED_AGAIN;
}

/* Who begins with TLS is not told in the clear. */
static void
receive(struct imap_session *s, bool tls)
{
	struct status st = guest_enter(&s->guest);
	if (!status_is_fine(st)) {
		if (!tls)
			reply_untagged(s->conn, "BYE [UNAVAILABLE] %.*s",
				STR_ARG(st.text));
		s->state = IMAP_CLOSED;
		return;
	}
	if (tls)
		login_start_tls(s);
	if (s->state != IMAP_CLOSED)
		greet(s);
}

/*
 * The process goes on to the next client after this one, handed over or not:
 * starting a program for each would double the cost of a login.
 */
enum served
login_serve(struct program *p, struct client *c)
{
	if (str_eq(c->service, STR("ask.tls")))
		return serve_returned(p, c->in);
	struct imap_session *s = session_new(p, c->in, c->out);
	guest_welcome(&s->guest, p, c);
	receive(s, c->tls);
	session_run(s);
	session_free(s);
	return SERVED_AGAIN;
}
