/* SPDX-License-Identifier: ISC */
/*
 * A session from greeting to QUIT.  A reply is read with one deadline for all
 * of its lines; one that is no reply, too long or too late ends the session.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdarg.h>
#include <unistd.h>

/* ---------------------------------------------------------------- replies */

static int64_t
patience(const struct session *s, enum expect e)
{
	const struct conf_remote *c = &s->remote->conf->remote;
	const int64_t seconds[] = {[EXPECT_GREETING] = c->greeting_timeout,
		[EXPECT_REPLY] = c->command_timeout,
		[EXPECT_START] = c->data_timeout,
		[EXPECT_FINAL] = c->final_timeout};
	return seconds[e] * 1000;
}

void
session_break(struct session *s, int subject, int detail, const char *what)
{
	if (s->broken)
		return;
	s->broken = true;
	s->fault = status_later(subject, detail, str_from(what));
}

/* Why no line came. */
static const char *
silence(const struct session *s)
{
	switch (conn_state(s->conn)) {
	case CONN_TIMEOUT:
		return "it does not answer";
	case CONN_EOF:
		return "it closed the connection";
	case CONN_BROKEN:
	case CONN_STOPPED:
	case CONN_OPEN:
		break;
	}
	return "the connection was lost";
}

bool
session_reply(struct session *s, struct arena *a, enum expect e,
	struct smtp_reply *r)
{
	struct str line;
	smtp_reply_start(a, r);
	if (s->broken)
		return false;
	conn_deadline(s->conn, clock_in(patience(s, e)));
	while (!r->done && !r->bad) {
		/* An LF alone is taken for a line end: what follows from a
		 * reply does not depend on where it ends. */
		enum conn_line got =
			conn_line(s->conn, SMTP_REPLY_MOST, &line);
		if (got == LINE_NONE) {
			session_break(s, 4, 2, silence(s));
			return false;
		}
		if (got == LINE_TOO_LONG)
			break;
		smtp_reply_line(r, line);
	}
	if (!r->done) {
		session_break(s, 5, 0, "what it says is no reply of SMTP");
		return false;
	}
	if (r->code == 421) {
		s->broken = true;
		s->fault = smtp_reply_status(s->arena, r, 3, 2);
	}
	return true;
}

bool
session_command(struct session *s, struct arena *a, enum expect e,
	struct smtp_reply *r, const char *fmt, ...)
{
	va_list ap;
	if (!s->broken) {
		va_start(ap, fmt);
		struct str line = str_vprintf(a, fmt, ap);
		va_end(ap);
		conn_write(s->conn, line);
		conn_puts(s->conn, "\r\n");
	}
	return session_reply(s, a, e, r);
}

/* ------------------------------------------------------------------ hello */

static struct str
our_name(const struct session *s)
{
	struct str helo = s->remote->conf->remote.helo;
	return helo.n > 0 ? helo : s->remote->program->hostname;
}

/* A refusal of the whole host: always worth another try. */
static struct status
refusal(struct session *s, const struct smtp_reply *r)
{
	struct status st = smtp_reply_status(s->arena, r, 3, 0);
	if (st.class == STATUS_NEVER || st.class == STATUS_FINE)
		st.class = STATUS_LATER;
	return st;
}

static struct status
greet(struct session *s)
{
	struct smtp_reply r;
	if (!session_reply(s, s->arena, EXPECT_GREETING, &r))
		return s->fault;
	if (r.code == 220)
		return status_fine();
	/* RFC 7504: this host takes no mail at all. */
	if (r.code == 521)
		return smtp_reply_status(s->arena, &r, 3, 2);
	return refusal(s, &r);
}

/* Are we talking to ourselves?  Who is where the administrator says may have
 * our name. */
static bool
is_own_name(const struct session *s)
{
	struct str text = s->greeted, word;
	return !s->lmtp && !s->fixed && str_word(&text, &word) &&
		str_eq_nocase(word, s->remote->program->hostname);
}

struct status
session_hello(struct session *s)
{
	struct smtp_reply r;
	struct str name = our_name(s);
	s->can = (struct capability){.esmtp = false};
	if (!session_command(s, s->arena, EXPECT_REPLY, &r, "%s %.*s",
		s->lmtp ? "LHLO" : "EHLO", STR_ARG(name)))
		return s->fault;
	if (r.code / 100 == 2) {
		capability_parse(buf_str(r.text), &s->can);
	} else if (r.code / 100 == 5 && !s->lmtp && !s->tls) {
		/* RFC 5321 3.2 */
		if (!session_command(s, s->arena, EXPECT_REPLY, &r,
			"HELO %.*s", STR_ARG(name)))
			return s->fault;
	}
	if (r.code / 100 != 2)
		return refusal(s, &r);
	s->greeted = str_copy(s->arena, buf_str(r.text));
	if (is_own_name(s))
		return STATUS(STATUS_NEVER, 4, 6,
			"mail loops: that host is this one");
	return status_fine();
}

/* ------------------------------------------------------------------- open */

static struct session *
session_new(struct trip *t, int fd)
{
	const struct candidate *c = t->current;
	struct remote *g = t->remote;
	struct arena *a = arena_new("session");
	struct session *s = arena_one(a, struct session);
	s->arena = a;
	s->remote = g;
	s->at = c->at;
	s->name = str_copy(a, c->host->name);
	s->ip = net_ip(a, &c->at);
	s->host = c->host;
	s->bound = t->route->source4.n > 0 || t->route->source6.n > 0;
	s->user = str_copy(a, t->route->user);
	s->lmtp = t->route->lmtp;
	s->fixed = t->route->fixed;
	s->opened = clock_ms();
	s->conn = conn_new(a, fd, fd);
	conn_write_timeout(s->conn, g->conf->remote.block_timeout * 1000);
	conn_swallow(s->conn, 0);
	return s;
}

static struct status
begin(struct session *s, const struct route *r, const struct host *h,
	enum tls_policy policy, bool *tls_failed)
{
	struct status st = status_fine();
	if (r->implicit_tls)
		st = secure_stream(s, h, policy);
	if (status_is_fine(st))
		st = greet(s);
	if (status_is_fine(st))
		st = session_hello(s);
	if (status_is_fine(st) && !s->tls)
		st = secure_start(s, h, policy, tls_failed);
	if (status_is_fine(st) && r->user.n > 0)
		st = login(s, r);
	return st;
}

struct session *
session_open(struct trip *t, int fd, enum tls_policy policy,
	struct status *st, bool *tls_failed)
{
	struct session *s = session_new(t, fd);
	*tls_failed = false;
	*st = begin(s, t->route, t->current->host, policy, tls_failed);
	if (status_is_fine(*st))
		return s;
	/* The text outlives the session. */
	st->text = str_copy(t->route->arena, st->text);
	session_close(s);
	return NULL;
}

void
session_close(struct session *s)
{
	/* Nothing depends on the reply to QUIT, and a message may wait for
	 * another place; nor is it waited for that it can be said. */
	if (!s->broken && conn_state(s->conn) == CONN_OPEN)
		conn_puts(s->conn, "QUIT\r\n");
	conn_write_timeout(s->conn, 0);
	conn_close(s->conn);
	arena_free(s->arena);
}

bool
session_meets(const struct session *s, enum tls_policy policy)
{
	return !s->broken && (policy < TLS_REQUIRED || s->tls) &&
		(policy < TLS_VERIFIED || s->verified);
}

bool
session_is_with(const struct session *s, const struct route *r,
	const struct host *h)
{
	bool bound = r->source4.n > 0 || r->source6.n > 0;
	if (!str_eq(s->user, r->user) || s->lmtp != r->lmtp || bound ||
		s->bound)
		return false;
	for (size_t i = 0; i < h->count; i++)
		if (h->addresses[i].n == s->at.n &&
			memcmp(&h->addresses[i].sa, &s->at.sa, s->at.n) == 0)
			return true;
	return false;
}
