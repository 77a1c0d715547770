/* SPDX-License-Identifier: ISC */
/* STARTTLS (RFC 3207) and AUTH (RFC 4954). */
#include "smtpd.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/encode.h"

/* ------------------------------------------------------------------ TLS */

/* TLS needs a socket to hand over; inetd may have given us pipes.  Who has
 * logged in in the clear may be somebody else than who begins TLS, whose mail
 * would then be sent under that login (RFC 3207 4.2). */
bool
login_may_start_tls(const struct session *s)
{
	return !s->tls && s->user.n == 0 && s->conf->tls.certificate.n > 0 &&
		s->client->peer.n > 0;
}

struct status
smtp_starttls(struct session *s, struct str args)
{
	if (args.n > 0)
		return STATUS(STATUS_NEVER, 5, 4, "STARTTLS stands alone");
	if (s->tls)
		return STATUS(STATUS_NEVER, 5, 1, "TLS is already active");
	if (s->user.n > 0)
		return STATUS(STATUS_NEVER, 5, 1, "STARTTLS comes before AUTH");
	if (!login_may_start_tls(s))
		return status_reply(STATUS(STATUS_NEVER, 5, 1,
			"No TLS here"), 502);
	return status_reply(STATUS(STATUS_FINE, 0, 0, "Go ahead"), 220);
}

static struct status
ask_tls(struct session *s, struct message *answer)
{
	struct message m = MESSAGE(tls_start);
	conn_flush(s->conn);
	m.fd = conn_fd(s->conn);
	m.tls_start.session = s->id;
	m.tls_start.role = STR("server");
	m.tls_start.service = s->submission ? STR("submission")
		: s->lmtp ? STR("lmtp") : STR("smtp");
	struct status st = link_call(
		s->to_tls, s->transaction_arena, &m, MSG_tls_ready, answer);
	if (status_is_fine(st))
		st = answer->tls_ready.status;
	if (status_is_fine(st) && answer->fd < 0)
		st = status_later(3, 0, STR("tls gave no stream"));
	return st;
}

bool
login_start_tls(struct session *s)
{
	struct message answer;
	/* Said before TLS was there, so not by the client TLS will be with
	 * (RFC 3207 4.2, and reliability rule S3). */
	if (conn_has_input(s->conn)) {
		log_warn(s->id, "tls-injection", LOG_STR("client", s->ip));
		return false;
	}
	struct status st = ask_tls(s, &answer);
	if (!status_is_fine(st)) {
		log_info(s->id, "tls-failed", LOG_STR("client", s->ip),
			LOG_STR("why", st.text));
		return false;
	}
	int fd = message_take_fd(&answer);
	conn_swap(s->conn, fd, fd);
	s->tls = true;
	s->tls_version = str_copy(s->arena, answer.tls_ready.version);
	s->binding = str_copy(s->arena, answer.tls_ready.binding);
	log_info(s->id, "tls", LOG_STR("version", answer.tls_ready.version),
		LOG_STR("cipher", answer.tls_ready.cipher));
	/* Everything learnt in the clear is forgotten. */
	session_reset(s);
	s->helo = STR("");
	s->esmtp = false;
	s->state = SMTP_FRESH;
	return true;
}

/* ----------------------------------------------------------------- AUTH */

/* Logins are for submission, unless the configuration wants them on port 25
 * too. */
static bool
has_logins(const struct session *s)
{
	return s->submission || (s->conf->smtp.auth && !s->lmtp);
}

bool
login_may_auth(const struct session *s)
{
	return has_logins(s) && s->user.n == 0 && (s->tls ||
		(s->conf->smtp.plaintext_auth &&
			net_is_loopback(&s->client->peer)));
}

/* The strongest first, so that a client which takes the first it knows takes
 * the best. */
void
login_keyword(const struct session *s, struct buf *out)
{
	if (!login_may_auth(s) || s->mechanisms.n == 0)
		return;
	buf_adds(out, "\nAUTH");
	for (size_t i = 0; i < s->mechanisms.n; i++) {
		struct str name = s->mechanisms.v[i];
		if (s->binding.n > 0 && str_starts(name, STR("SCRAM-")))
			buf_printf(out, " %.*s-PLUS", STR_ARG(name));
		buf_printf(out, " %.*s", STR_ARG(name));
	}
}

static struct status
ask_auth(struct session *s, struct str mechanism, struct str response,
	struct msg_auth_result *out)
{
	struct message m = MESSAGE(auth_step), answer;
	m.auth_step.session = s->id;
	m.auth_step.service = s->submission ? STR("submission") : STR("smtp");
	m.auth_step.mechanism = mechanism;
	m.auth_step.response = response;
	m.auth_step.client = s->ip;
	m.auth_step.tls = s->tls;
	m.auth_step.binding = s->binding;
	struct status st = link_call(s->auth, s->transaction_arena, &m,
		MSG_auth_result, &answer);
	if (!status_is_fine(st))
		return status_reply(status_later(7, 0, st.text), 454);
	*out = answer.auth_result;
	st = out->status;
	/* RFC 4954 6, unless auth has its own word for it. */
	return status_is_later(st) && st.reply == 0 ? status_reply(st, 454)
						    : st;
}

/* One line of base64; "*" cancels (RFC 4954 4). */
static struct status
read_response(struct session *s, struct str *response)
{
	struct str line;
	struct buf *octets = buf_new(s->transaction_arena);
	enum conn_line r = conn_line(s->conn, SMTP_AUTH_MOST, &line);
	if (r == LINE_NONE) {
		s->state = SMTP_CLOSED;
		return STATUS(STATUS_LATER, 4, 2, "Connection lost");
	}
	if (r != LINE_OK)
		return STATUS(STATUS_NEVER, 5, 6, "That line cannot be read");
	if (str_eq(line, STR("*")))
		return status_reply(STATUS(STATUS_NEVER, 7, 0,
			"Authentication cancelled"), 501);
	if (!base64_decode(octets, line))
		return status_reply(STATUS(STATUS_NEVER, 5, 2,
			"That is not base64"), 501);
	*response = octets->n == 0 ? STR("") : buf_str(octets);
	return status_fine();
}

static void
challenge(struct session *s, struct str octets)
{
	struct buf *out = conn_out(s->conn);
	buf_adds(out, "334 ");
	base64_encode(out, octets);
	buf_adds(out, "\r\n");
}

static struct status
dialogue(struct session *s, struct str mechanism, struct str response,
	struct msg_auth_result *out)
{
	struct status st = ask_auth(s, mechanism, response, out);
	while (status_is_fine(st) && out->more) {
		challenge(s, out->challenge);
		st = read_response(s, &response);
		if (!status_is_fine(st)) {
			/* auth still waits for that response. */
			link_close(s->auth);
			return st;
		}
		st = ask_auth(s, STR(""), response, out);
	}
	return st;
}

static void
keep_login(struct session *s, const struct msg_auth_result *r)
{
	struct str *v = arena_array(s->arena, r->senders.n, sizeof *v);
	for (size_t i = 0; i < r->senders.n; i++)
		v[i] = str_copy(s->arena, r->senders.v[i]);
	s->senders = (struct str_list){v, r->senders.n};
	s->user = str_copy(s->arena, r->user);
}

static struct status
failed(struct session *s, struct status st)
{
	/* Guessing is what counts, not typing errors. */
	if (s->state == SMTP_CLOSED || status_is_later(st) ||
		st.subject != 7 || st.detail != 8)
		return st;
	if (++s->login_failures < s->conf->auth.max_failures)
		return st;
	session_close(s, status_reply(STATUS(STATUS_LATER, 7, 0,
		"Too many failed logins; good bye"), 421));
	return st;
}

struct status
smtp_auth(struct session *s, struct str args)
{
	struct str mechanism, initial;
	struct buf *octets = buf_new(s->transaction_arena);
	struct msg_auth_result result = {.more = 0};
	if (s->user.n > 0)
		return STATUS(STATUS_NEVER, 5, 1, "You have logged in already");
	if (!s->esmtp || !has_logins(s))
		return status_reply(STATUS(STATUS_NEVER, 5, 1,
			"No logins here"), 503);
	if (!login_may_auth(s))
		return status_reply(STATUS(STATUS_NEVER, 7, 11,
			"Start TLS first"), 538);
	if (!str_word(&args, &mechanism))
		return STATUS(STATUS_NEVER, 5, 4, "AUTH how?");
	bool given = str_word(&args, &initial);
	if (str_trim(args).n > 0)
		return STATUS(STATUS_NEVER, 5, 4, "AUTH mechanism [response]");
	/* "=" is an empty response (RFC 4954 4). */
	if (given && !str_eq(initial, STR("=")) &&
		!base64_decode(octets, initial))
		return status_reply(STATUS(STATUS_NEVER, 5, 2,
			"That is not base64"), 501);
	struct status st = dialogue(s, mechanism, buf_str(octets), &result);
	if (!status_is_fine(st))
		return failed(s, st);
	keep_login(s, &result);
	return status_reply(STATUS(STATUS_FINE, 7, 0, "Welcome"), 235);
}
