/* SPDX-License-Identifier: ISC */
/*
 * One message to some recipients: MAIL, RCPT, DATA or BDAT.  With PIPELINING
 * all commands go out at once (RFC 2920); with CHUNKING besides, a small
 * message along with them.
 *
 * What the first digit of a reply says holds (RFC 5321 4.2.1).  Up to the end
 * of the message a broken connection is another server's chance; after it the
 * message may have been taken, and only this message waits (RFC 1047).
 */
#include "remote.h"
#include "base/arena.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/convert.h"
#include "mail/encode.h"

enum {
	LINE_MOST = 998, /* RFC 5321 4.5.3.1.6 */
	PIECE = 32 * 1024,
	ONE_GO = 32 * 1024, /* content sent along with its envelope */
};

struct transaction {
	struct session *s;
	struct job *j;
	struct arena *a;
	struct target **v;
	struct str *paths; /* of v, as they go on the wire */
	size_t n, accepted;
	struct str sender, content;
	const char *body; /* BODY= */
	bool utf8, requiretls, reset, bdat, one_go;
	bool mail_ok; /* MAIL was accepted: RSET is due if nothing follows */
	bool asked; /* DATA (or BDAT with all of it) was sent */
	bool go; /* 354 */
	enum phase phase;
};

/* ---------------------------------------------------------- statuses */

static struct str
detail_of(const struct transaction *t, bool taken)
{
	const struct session *s = t->s;
	return str_printf(t->a, "ip=%.*s tls=%.*s dsn=%d%.*s", STR_ARG(s->ip),
		STR_ARG(s->tls ? s->tls_text : STR("no")),
		taken && s->can.dsn, STR_ARG(job_phases(t->a, t->j)));
}

static void
settle(struct transaction *t, struct target *x, enum target_state state,
	struct status s, enum scope scope)
{
	x->state = state;
	x->tried = true;
	x->status = s;
	x->scope = scope;
	x->host = str_copy(t->a, t->s->name);
	x->detail = detail_of(t, status_is_fine(s));
}

/* Those that are still on their way. */
static void
settle_all(struct transaction *t, enum target_state state, struct status s,
	enum scope scope)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i]->state == TARGET_SENT)
			settle(t, t->v[i], state, s, scope);
}

/* The connection is gone before the message was whole. */
static void
lost(struct transaction *t, enum scope scope)
{
	struct status s = t->s->fault;
	s.text = str_copy(t->a, s.text);
	settle_all(t, TARGET_WAITING, s, scope);
}

/* Those of whom nothing is known wait again. */
static void
drop(struct transaction *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i]->state == TARGET_SENT)
			t->v[i]->state = TARGET_WAITING;
}

/* --------------------------------------------------- what is to be sent */

/* As it goes between < and >.  False when this server cannot be told it
 * (RFC 6531 3.2): the domain has an ASCII form, the local part has none. */
static bool
wire_path(struct transaction *t, struct str address, struct str *out)
{
	size_t at = str_find_last(address, '@');
	struct str local = str_head(address, at);
	*out = address;
	if (str_is_ascii(address) || (t->j->m.utf8 && t->s->can.smtputf8))
		return true;
	struct str domain = address_to_ascii(t->a, str_skip(address, at + 1));
	if (!str_is_ascii(local) || domain.n == 0)
		return false;
	*out = str_printf(t->a, "%.*s@%.*s", STR_ARG(local), STR_ARG(domain));
	return true;
}

/* What would end the command early is no address. */
static bool
is_sendable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return s.n < 1000;
}

static struct status
not_utf8(void)
{
	return status_reply(STATUS(STATUS_NEVER, 6, 7, "the address or the "
		"message needs SMTPUTF8, which that server does not know"),
		550);
}

static struct status
check_message(struct transaction *t)
{
	const struct job *j = t->j;
	const struct session *s = t->s;
	const struct capability *can = &s->can;
	t->requiretls = j->m.requiretls && s->tls && s->verified &&
		can->requiretls;
	if (job_requires_tls(j) && !t->requiretls)
		return STATUS(STATUS_NEVER, 7, 30, "REQUIRETLS is asked for, "
			"which that server does not support");
	if (can->size_most > 0 && j->content.n > can->size_most)
		return status_reply(status_never(3, 4, str_printf(t->a,
			"the message has %zu octets, that server takes %llu",
			j->content.n, (unsigned long long)can->size_most)),
			552);
	t->utf8 = j->m.utf8 && (j->facts.eightbit_header ||
		!str_is_ascii(j->m.sender));
	if ((t->utf8 && !can->smtputf8 && j->facts.eightbit_header) ||
		!wire_path(t, j->m.sender, &t->sender))
		return not_utf8();
	if (!is_sendable(t->sender))
		return STATUS(STATUS_NEVER, 1, 7, "that is no address");
	return status_fine();
}

/* The form of the content for this server (RFC 6152 3). */
static struct status
choose_body(struct transaction *t)
{
	const struct job *j = t->j;
	const struct content_facts *f = &j->facts;
	const struct capability *can = &t->s->can;
	bool eightbit = f->eightbit_body || f->eightbit_header;
	bool binary = str_eq_nocase(j->m.body_type, STR("BINARYMIME"));
	unsigned avoid = 0;
	t->content = j->content;
	/* BDAT sends octets as they are: where a line end is not CRLF, DATA
	 * and its one writer must put it right. */
	t->bdat = can->chunking && !t->s->lmtp && (binary || !f->bare) &&
		t->s->remote->conf->remote.chunking;
	if (binary && t->bdat && can->binarymime) {
		t->body = " BODY=BINARYMIME";
		return status_fine();
	}
	if (binary && (f->bare || f->nul))
		avoid |= CONVERT_BINARY;
	if (eightbit && !can->eightbit)
		avoid |= CONVERT_8BIT;
	if (f->longest > LINE_MOST)
		avoid |= CONVERT_LONG;
	if (eightbit && can->eightbit)
		t->body = " BODY=8BITMIME";
	if (avoid == 0)
		return status_fine();
	struct buf *out = buf_new(t->a);
	struct status s = convert_message(t->a, j->content, avoid, out);
	t->content = buf_str(out);
	log_info(j->m.id, "converted", LOG_STR("host", t->s->name),
		LOG_NUM("for", avoid), LOG_STR("why", s.text));
	return s;
}

static void
add_target(struct transaction *t, struct target *x)
{
	struct str path;
	if (!wire_path(t, x->address, &path)) {
		settle(t, x, TARGET_WAITING, not_utf8(), SCOPE_RECIPIENT);
		return;
	}
	if (!is_sendable(path)) {
		settle(t, x, TARGET_DONE, STATUS(STATUS_NEVER, 1, 3,
			"that is no address"), SCOPE_RECIPIENT);
		return;
	}
	t->utf8 = t->utf8 || !str_is_ascii(path);
	x->state = TARGET_SENT;
	x->accepted = false;
	t->paths[t->n] = path;
	t->v[t->n++] = x;
}

static void
add_targets(struct transaction *t)
{
	struct job *j = t->j;
	uint64_t most = t->s->can.rcpt_most;
	if (most == 0 || most > RCPTS_AT_ONCE)
		most = RCPTS_AT_ONCE;
	t->v = arena_array(t->a, j->count, sizeof *t->v);
	t->paths = arena_array(t->a, j->count, sizeof *t->paths);
	for (size_t i = 0; i < j->count && t->n < most; i++)
		if (j->targets[i].state == TARGET_WAITING)
			add_target(t, &j->targets[i]);
}

/* ------------------------------------------------------------- commands */

/* A value for xtext parameters, as it was given to us: checked again, for
 * it goes on a line. */
static bool
is_value(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
			return false;
	return s.n > 0 && s.n < 600;
}

static void
put_param(struct conn *c, const char *name, struct str value)
{
	if (is_value(value))
		conn_printf(c, " %s=%.*s", name, STR_ARG(value));
}

/* What came by SMTPUTF8 may go on without. */
static void
put_orcpt(struct transaction *t, struct str orcpt)
{
	struct buf *ascii = buf_new(t->a);
	if (address_is_utf8(orcpt))
		orcpt_to_ascii(ascii, orcpt);
	put_param(t->s->conn, "ORCPT", buf_str(ascii));
}

static void
put_mail(struct transaction *t)
{
	struct conn *c = t->s->conn;
	const struct capability *can = &t->s->can;
	conn_printf(c, "MAIL FROM:<%.*s>", STR_ARG(t->sender));
	if (can->size)
		conn_printf(c, " SIZE=%zu", t->content.n);
	if (t->body != NULL)
		conn_puts(c, t->body);
	if (t->utf8 && can->smtputf8)
		conn_puts(c, " SMTPUTF8");
	if (t->requiretls)
		conn_puts(c, " REQUIRETLS");
	if (can->dsn) {
		put_param(c, "RET", t->j->m.ret);
		put_param(c, "ENVID", t->j->m.envid);
	}
	conn_puts(c, "\r\n");
}

static void
put_rcpt(struct transaction *t, size_t i)
{
	struct conn *c = t->s->conn;
	size_t at = (size_t)(t->v[i] - t->j->targets);
	conn_printf(c, "RCPT TO:<%.*s>", STR_ARG(t->paths[i]));
	if (t->s->can.dsn) {
		put_param(c, "NOTIFY", t->j->m.notify.v[at]);
		put_orcpt(t, t->j->m.orcpt.v[at]);
	}
	conn_puts(c, "\r\n");
}

static void
put_pieces(struct conn *c, struct str s)
{
	for (; s.n > 0 && conn_state(c) == CONN_OPEN; s = str_skip(s, PIECE))
		conn_write(c, str_head(s, PIECE));
}

static void
put_bdat(struct transaction *t)
{
	conn_printf(t->s->conn, "BDAT %zu LAST\r\n", t->content.n);
	put_pieces(t->s->conn, t->content);
}

static void
put_stuffed(struct transaction *t)
{
	struct conn *c = t->s->conn;
	struct smtp_stuff w;
	struct str rest = t->content;
	smtp_stuff_start(&w);
	for (; rest.n > 0 && conn_state(c) == CONN_OPEN;
		rest = str_skip(rest, PIECE)) {
		smtp_stuff_feed(&w, str_head(rest, PIECE), conn_out(c));
		conn_pace(c);
	}
	smtp_stuff_end(&w, conn_out(c));
	conn_pace(c);
}

/* -------------------------------------------------------------- replies */

static bool
hear(struct transaction *t, enum expect e, struct smtp_reply *r)
{
	bool heard = session_reply(t->s, t->a, e, r);
	job_passed(t->j, t->phase);
	return heard;
}

static bool
next_reply(struct transaction *t, enum expect e, struct smtp_reply *r)
{
	if (!hear(t, e, r))
		return false;
	if (r->code / 100 == 3 && e != EXPECT_START)
		session_break(t->s, 5, 0, "its replies are out of step");
	return r->code / 100 != 3 || e == EXPECT_START;
}

static void
read_reset(struct transaction *t)
{
	struct smtp_reply r;
	t->s->dirty = false;
	if (!next_reply(t, EXPECT_REPLY, &r) || t->s->broken)
		lost(t, SCOPE_HOST);
}

static void
read_mail(struct transaction *t)
{
	struct smtp_reply r;
	if (!next_reply(t, EXPECT_REPLY, &r) || t->s->broken) {
		lost(t, SCOPE_HOST);
		return;
	}
	struct status s = smtp_reply_status(t->a, &r, 1, 0);
	t->mail_ok = status_is_fine(s);
	if (t->mail_ok)
		return;
	/* Another server may take what this one will not take now. */
	settle_all(t, status_is_later(s) ? TARGET_WAITING : TARGET_DONE, s,
		SCOPE_MESSAGE);
}

/* "Too many recipients" is said of a transaction, not of the recipient: it
 * gets one of its own (RFC 5321 4.5.3.1.10). */
static bool
is_too_many(const struct smtp_reply *r, struct status s)
{
	return (r->code == 452 || r->code == 552) && s.subject == 5 &&
		s.detail == 3;
}

static void
read_rcpt(struct transaction *t, size_t i)
{
	struct target *x = t->v[i];
	struct smtp_reply r;
	if (!next_reply(t, EXPECT_REPLY, &r) || t->s->broken) {
		lost(t, SCOPE_MESSAGE);
		return;
	}
	if (x->state != TARGET_SENT)
		return; /* MAIL failed: what is said of RCPT follows from it */
	/* 552 without a code of its own is of old "too many" as well. */
	bool bare = r.code == 452 || r.code == 552;
	struct status s = smtp_reply_status(t->a, &r, bare ? 5 : 1,
		bare ? 3 : 0);
	if (status_is_fine(s)) {
		x->accepted = true;
		t->accepted++;
	} else if (is_too_many(&r, s) && t->accepted > 0) {
		x->state = TARGET_WAITING;
		x->status = (struct status){.class = 0};
	} else {
		if (is_too_many(&r, s))
			s.class = STATUS_LATER;
		settle(t, x, status_is_later(s) ? TARGET_WAITING
						: TARGET_DONE, s,
			SCOPE_RECIPIENT);
	}
}

/* 354, or why not; without any recipient it is all the same. */
static void
read_start(struct transaction *t)
{
	struct smtp_reply r;
	if (!hear(t, EXPECT_START, &r) || t->s->broken) {
		lost(t, SCOPE_MESSAGE);
		return;
	}
	if (r.code == 354) {
		t->go = true;
		return;
	}
	struct status s = smtp_reply_status(t->a, &r, 0, 0);
	if (status_is_fine(s) || r.code / 100 == 3) {
		session_break(t->s, 5, 0, "its replies are out of step");
		lost(t, SCOPE_MESSAGE);
		return;
	}
	t->s->dirty = true;
	settle_all(t, TARGET_DONE, s, SCOPE_MESSAGE);
}

/* After the end of the message nobody knows who has it. */
static void
lost_after_end(struct transaction *t)
{
	struct str text = str_printf(t->a, "%.*s after the whole message was "
		"sent, without saying whether it has it; it may come twice",
		STR_ARG(t->s->fault.text));
	settle_all(t, TARGET_DONE, status_later(4, 2, text), SCOPE_MESSAGE);
}

static void
read_final(struct transaction *t)
{
	struct smtp_reply r;
	/* LMTP: one for each that was accepted, in order (RFC 2033 4.2). */
	size_t replies = t->s->lmtp ? t->n : 1;
	for (size_t i = 0; i < replies; i++) {
		if (t->s->lmtp && t->v[i]->state != TARGET_SENT)
			continue;
		if (!next_reply(t, EXPECT_FINAL, &r)) {
			lost_after_end(t);
			return;
		}
		struct status s = smtp_reply_status(t->a, &r, 0, 0);
		if (t->s->lmtp)
			settle(t, t->v[i], TARGET_DONE, s, SCOPE_RECIPIENT);
		else
			settle_all(t, TARGET_DONE, s, SCOPE_MESSAGE);
	}
}

/* ------------------------------------------------------------ the whole */

static bool
is_over(const struct transaction *t)
{
	if (t->s->broken)
		return true;
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i]->state == TARGET_SENT)
			return false;
	return true;
}

/* A command, its reply, the next command. */
static void
lockstep(struct transaction *t)
{
	struct conn *c = t->s->conn;
	if (t->reset) {
		conn_puts(c, "RSET\r\n");
		read_reset(t);
	}
	if (is_over(t))
		return;
	put_mail(t);
	read_mail(t);
	for (size_t i = 0; i < t->n && !is_over(t); i++) {
		put_rcpt(t, i);
		read_rcpt(t, i);
	}
	if (is_over(t) || t->bdat)
		return;
	conn_puts(c, "DATA\r\n");
	t->asked = true;
	read_start(t);
}

static void
read_all(struct transaction *t)
{
	if (t->reset)
		read_reset(t);
	if (!t->s->broken)
		read_mail(t);
	for (size_t i = 0; i < t->n && !t->s->broken; i++)
		read_rcpt(t, i);
	if (t->asked && !t->bdat && !t->s->broken)
		read_start(t);
}

/* The server waits for a message and there is none (RFC 2920 3.1). */
static void
send_nothing(struct transaction *t)
{
	struct smtp_reply r;
	if (!t->bdat)
		conn_puts(t->s->conn, ".\r\n");
	/* RFC 3030 2: a failed BDAT leaves a transaction to be reset. */
	t->s->dirty = t->bdat;
	next_reply(t, EXPECT_FINAL, &r);
}

static void
send_content(struct transaction *t)
{
	remote_may_leave(false);
	if (!t->one_go && remote_is_alone(t->s->remote)) {
		session_break(t->s, 3, 2, "this host is shutting down");
		return;
	}
	if (t->bdat && !t->one_go)
		put_bdat(t);
	else if (!t->bdat)
		put_stuffed(t);
	if (conn_state(t->s->conn) != CONN_OPEN) {
		session_break(t->s, 4, 2, "the connection was lost in the "
			"middle of the message");
		lost(t, SCOPE_MESSAGE);
		return;
	}
	job_passed(t->j, PHASE_CONTENT);
	t->phase = PHASE_ANSWER;
	read_final(t);
}

struct transaction *
transaction_begin(struct session *s, struct job *j)
{
	struct transaction *t = arena_one(j->arena, struct transaction);
	*t = (struct transaction){.s = s, .j = j, .a = j->arena,
		.phase = PHASE_ENVELOPE};
	job_look(j);
	struct status st = check_message(t);
	if (status_is_fine(st))
		st = choose_body(t);
	add_targets(t);
	if (!status_is_fine(st)) {
		settle_all(t, st.subject == 3 ? TARGET_DONE : TARGET_WAITING,
			st, SCOPE_MESSAGE);
		return NULL;
	}
	if (t->n == 0)
		return NULL;
	s->transactions++;
	t->reset = s->dirty;
	if (!s->can.pipelining)
		return t;
	if (t->reset)
		conn_puts(s->conn, "RSET\r\n");
	put_mail(t);
	for (size_t i = 0; i < t->n; i++)
		put_rcpt(t, i);
	if (!t->bdat) {
		conn_puts(s->conn, "DATA\r\n");
		t->asked = true;
	}
	return t;
}

/* A small message goes along with its envelope: one round trip. */
static void
try_one_go(struct transaction *t)
{
	if (!t->bdat || !t->s->can.pipelining || t->content.n > ONE_GO ||
		remote_is_alone(t->s->remote))
		return;
	remote_may_leave(false);
	put_bdat(t);
	t->asked = t->one_go = true;
}

void
transaction_run(struct transaction *t)
{
	struct session *s = t->s;
	try_one_go(t);
	if (s->can.pipelining)
		read_all(t);
	else
		lockstep(t);
	bool begun = t->go || t->one_go;
	if (s->broken)
		drop(t);
	else if (!is_over(t))
		send_content(t);
	else if (begun)
		send_nothing(t);
	else if (t->mail_ok)
		s->dirty = true;
}
