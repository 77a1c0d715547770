/* SPDX-License-Identifier: ISC */
/*
 * Before a login: STARTTLS, LOGIN, AUTHENTICATE (RFC 3501 6.2, initial
 * responses RFC 4959), and what goes in any state: NOOP, LOGOUT.
 *
 * Passwords are auth's to judge.  The question carries the client's
 * descriptor, the tag and the input already read; when auth answers that the
 * client was handed over, a session speaks with it and this process says
 * nothing more.
 */
#include "commands.h"
#include "ask/link.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "mail/encode.h"

enum { RESPONSE_MOST = 8 * 1024 };

bool
login_is_allowed(const struct imap_session *s)
{
	return s->tls ||
	       (s->conf->smtp.plaintext_auth && net_is_loopback(&s->peer));
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
	if (s->tls)
		return REPLY_BAD("TLS is already active");
	if (s->conf->tls.certificate.n == 0)
		return REPLY_NO("UNAVAILABLE", "No TLS here");
	return REPLY_OK("Begin TLS negotiation now");
}

static struct status
ask_tls(struct imap_session *s, struct message *answer)
{
	struct message m = MESSAGE(tls_start);
	m.fd = conn_fd(s->conn);
	m.tls_start.session = s->id;
	m.tls_start.role = STR("server");
	m.tls_start.service = STR("imap");
	struct status st =
		link_call(s->to_tls, s->transaction, &m, MSG_tls_ready, answer);
	if (!status_is_fine(st))
		return st;
	if (status_is_fine(answer->tls_ready.status) && answer->fd < 0)
		return status_later(3, 0, STR("tls gave no stream"));
	return answer->tls_ready.status;
}

/* What was sent in the clear behind STARTTLS came from somebody in between:
 * it is dropped, and the client with it (RFC 3501 6.2.1). */
void
login_start_tls(struct imap_session *s)
{
	struct message answer;
	struct status st = ask_tls(s, &answer);
	if (!status_is_fine(st)) {
		log_info(s->id, "tls-failed", LOG_STR("why", st.text),
			LOG_STR("client", s->client));
		s->state = IMAP_CLOSED;
		return;
	}
	int fd = message_take_fd(&answer);
	if (conn_swap(s->conn, fd, fd) > 0) {
		log_warn(s->id, "tls-injection", LOG_STR("client", s->client));
		s->state = IMAP_CLOSED;
		return;
	}
	s->tls = true;
	s->binding = str_copy(s->arena, answer.tls_ready.binding);
	log_info(s->id, "tls", LOG_STR("version", answer.tls_ready.version),
		LOG_STR("cipher", answer.tls_ready.cipher));
}

/* ------------------------------------------------------------ passwords */

static struct status
ask_auth(struct imap_session *s, struct str mechanism, struct str response,
	struct msg_auth_result *result)
{
	struct message m = MESSAGE(auth_step), answer;
	conn_flush(s->conn);
	m.fd = conn_fd(s->conn);
	m.auth_step.session = s->id;
	m.auth_step.service = STR("imap");
	m.auth_step.mechanism = mechanism;
	m.auth_step.response = response;
	m.auth_step.client = s->client;
	m.auth_step.tls = s->tls;
	m.auth_step.binding = s->binding;
	m.auth_step.tag = s->tag;
	m.auth_step.pending = conn_pending(s->conn);
	struct status st = link_call(
		s->auth, s->transaction, &m, MSG_auth_result, &answer);
	if (!status_is_fine(st))
		return st;
	*result = answer.auth_result;
	return result->status;
}

static struct imap_reply
refused(struct imap_session *s, struct status st)
{
	if (status_is_later(st))
		return (struct imap_reply){
			IMAP_NO, STR("UNAVAILABLE"), st.text};
	log_info(s->id, "login-failed", LOG_STR("client", s->client));
	if (++s->failures >= s->conf->auth.max_failures) {
		reply_untagged(s->conn, "BYE Too many failed logins");
		s->state = IMAP_CLOSED;
	}
	return REPLY_NO("AUTHENTICATIONFAILED", "Login failed");
}

/* After the last step. */
static struct imap_reply
outcome(struct imap_session *s, struct status st,
	const struct msg_auth_result *result)
{
	if (!status_is_fine(st))
		return refused(s, st);
	if (!result->handed)
		return REPLY_NO("UNAVAILABLE", "No session can be started");
	log_info(s->id, "handed", LOG_STR("user", result->user));
	return (struct imap_reply){.result = IMAP_SILENT};
}

struct imap_reply
imap_login(struct imap_session *s, const struct arg *args)
{
	struct str user, password;
	struct msg_auth_result result;
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
	struct status st =
		ask_auth(s, STR("PLAIN"), buf_str(response), &result);
	return outcome(s, st, &result);
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
	enum conn_line r = conn_line(s->conn, RESPONSE_MOST, &line);
	*why = "Response expected";
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
	if (arg == NULL) {
		conn_puts(s->conn, "+ \r\n");
		return read_response(s, response, why);
	}
	*why = "Response is not base64";
	*response = STR("");
	if (!arg_atom(arg, &text))
		return false;
	return str_eq(text, STR("=")) || decode(s, text, response, why);
}

static struct imap_reply
dialogue(struct imap_session *s, struct str mechanism, struct str response)
{
	struct msg_auth_result result;
	struct status st = ask_auth(s, mechanism, response, &result);
	while (status_is_fine(st) && result.more) {
		const char *why;
		conn_puts(s->conn, "+ ");
		base64_encode(conn_out(s->conn), result.challenge);
		conn_puts(s->conn, "\r\n");
		if (!read_response(s, &response, &why)) {
			link_close(s->auth);
			return (struct imap_reply){
				IMAP_BAD, STR(""), str_from(why)};
		}
		st = ask_auth(s, STR(""), response, &result);
	}
	return outcome(s, st, &result);
}

struct imap_reply
imap_authenticate(struct imap_session *s, const struct arg *args)
{
	struct str mechanism, response;
	const char *why;
	if (!arg_atom(args, &mechanism) || arg_count(args) > 2)
		return REPLY_BAD("AUTHENTICATE mechanism [initial-response]");
	if (!str_eq_nocase(mechanism, STR("PLAIN")))
		return REPLY_NO("CANNOT", "No such mechanism");
	if (!login_is_allowed(s))
		return REPLY_NO("PRIVACYREQUIRED", "Start TLS first");
	if (!first_response(s, args->next, &response, &why))
		return (struct imap_reply){IMAP_BAD, STR(""), str_from(why)};
	return dialogue(s, STR("PLAIN"), response);
}

/* ---------------------------------------------------------------- client */

static void
greet(struct imap_session *s)
{
	struct str text = capability_text(s);
	reply_untagged(s->conn, "OK [CAPABILITY %.*s] %.*s surat ready",
		STR_ARG(text), STR_ARG(s->program->hostname));
}

/*
 * The process goes on to the next client after this one, handed over or not:
 * starting a program for each would double the cost of a login.
 */
enum served
login_serve(struct program *p, struct client *c)
{
	struct imap_session *s = session_new(p, c->in, c->out);
	s->auth = link_new(s->arena, p->sockets, "auth");
	s->to_tls = link_new(s->arena, p->sockets, "tls");
	s->peer = c->peer;
	s->client = net_ip(s->arena, &c->peer);
	log_info(s->id, "connect", LOG_STR("client", s->client),
		LOG_STR("service", c->service));
	if (c->tls)
		login_start_tls(s);
	if (s->state != IMAP_CLOSED)
		greet(s);
	session_run(s);
	session_free(s);
	return SERVED_AGAIN;
}
