/* SPDX-License-Identifier: ISC */
/*
 * The loop: one line, one row, one function, one reply.  What goes wrong in
 * the same way for every command (no such verb, wrong order, a line too long
 * or not ended by CRLF, too many errors, silence) is answered here.
 */
#include "smtpd.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum { ARENA_MOST = 16 << 20, RESOLVE_PATIENCE = 15 * 1000 };

void
session_reset(struct session *s)
{
	arena_rewind(s->transaction_arena, (struct arena_mark){0});
	s->t = (struct transaction){.count = 0};
	s->t.last = &s->t.first;
}

static void
write_reply(struct session *s, struct status st, bool enhanced)
{
	smtp_write_reply(conn_out(s->conn), st, enhanced);
	conn_pace(s->conn);
}

/* RFC 2034 3: only after EHLO, and not where no code can be. */
void
session_reply(struct session *s, struct status st)
{
	write_reply(s, st,
		s->esmtp && st.reply != 220 && st.reply != 354);
}

void
session_close(struct session *s, struct status st)
{
	session_reply(s, st);
	s->state = SMTP_CLOSED;
}

/* -------------------------------------------------------------- errors */

static void
count_error(struct session *s, struct status st)
{
	if (status_is_fine(st) || ++s->errors < client_errors_most(s))
		return;
	log_warn(s->id, "too-many-errors", LOG_STR("client", s->ip),
		LOG_NUM("errors", s->errors));
	session_close(s, status_reply(STATUS(STATUS_LATER, 7, 0,
		"Too many errors; good bye"), 421));
}

static void
answer_error(struct session *s, struct status st)
{
	session_reply(s, st);
	count_error(s, st);
}

/* Somebody speaks HTTP, or worse, to us: the first line is enough. */
static bool
is_another_protocol(struct str verb)
{
	static const char *const verbs[] = {"GET", "POST", "PUT", "CONNECT",
		"OPTIONS", "HEAD", "USER-AGENT:", "HOST:"};
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (str_eq_nocase(verb, str_from(verbs[i])))
			return true;
	return false;
}

static void
unknown_verb(struct session *s, struct str verb)
{
	if (is_another_protocol(verb)) {
		log_warn(s->id, "another-protocol", LOG_STR("client", s->ip));
		session_close(s, status_reply(STATUS(STATUS_NEVER, 7, 0,
			"This is a mail server"), 554));
		return;
	}
	answer_error(s, STATUS(STATUS_NEVER, 5, 2, "No such command; try HELP"));
}

/* ------------------------------------------------------------ dispatch */

static const struct smtp_row *
find_row(const struct session *s, struct str verb)
{
	size_t count;
	const struct smtp_row *rows = smtp_rows(&count);
	const struct smtp_row *r =
		command_find(rows, count, sizeof *rows, verb);
	unsigned not_here = s->lmtp ? CMD_NO_LMTP : CMD_ONLY_LMTP;
	return r == NULL || (r->command.flags & not_here) ? NULL : r;
}

static struct status
wrong_order(const struct session *s)
{
	switch (s->state) {
	case SMTP_FRESH:
		return STATUS(STATUS_NEVER, 5, 1, "Say EHLO first");
	case SMTP_READY:
		return STATUS(STATUS_NEVER, 5, 1, "Say MAIL first");
	case SMTP_CHUNKS:
		return STATUS(STATUS_NEVER, 5, 1,
			"Finish the message with BDAT LAST, or say RSET");
	case SMTP_BLOCKED:
		return STATUS(STATUS_NEVER, 5, 1,
			"There is no service for you; say QUIT");
	case SMTP_MAIL:
		return STATUS(STATUS_NEVER, 5, 1,
			"Say RCPT first; no recipient was taken yet");
	default:
		return STATUS(STATUS_NEVER, 5, 1,
			"Finish the transaction first, or say RSET");
	}
}

/* To the next state; where a transaction ends there, it is forgotten. */
static void
move_on(struct session *s, const struct command *c, bool fine)
{
	enum smtp_state before = s->state;
	s->state = command_next(c, before, !fine ? COMMAND_FAILED :
		s->more ? COMMAND_MORE : COMMAND_DONE);
	if (s->state == SMTP_READY &&
		(before != SMTP_READY || (c->flags & CMD_FREE)))
		session_reset(s);
}

/* True when the command was done. */
static bool
run(struct session *s, const struct smtp_row *row, struct str args)
{
	const struct command *c = &row->command;
	struct status st = wrong_order(s);
	bool legal = (c->states & s->state) != 0;
	s->more = false;
	if (legal)
		st = row->fn(s, args);
	else if (c->flags & CMD_PAYLOAD)
		st = bdat_refuse(s, args, st);
	if (s->state == SMTP_CLOSED)
		return false;
	if (c->flags & CMD_PLAIN && status_is_fine(st))
		write_reply(s, st, false);
	else
		session_reply(s, st);
	if (legal)
		move_on(s, c, status_is_fine(st));
	if (!status_is_later(st))
		count_error(s, st);
	/* One good bye is enough. */
	if ((c->flags & CMD_FREE) == 0 && s->state != SMTP_CLOSED &&
		++s->idle_commands > SMTP_IDLE_COMMANDS)
		session_close(s, status_reply(STATUS(STATUS_LATER, 7, 0,
			"All talk and no mail; good bye"), 421));
	return legal && status_is_fine(st) && s->state != SMTP_CLOSED;
}

static struct status
too_long(void)
{
	return STATUS(STATUS_NEVER, 5, 2, "Line too long");
}

/* What follows a BDAT is no command, whatever is wrong with its line. */
static void
refuse_line(struct session *s, const struct smtp_row *row, struct str args,
	struct status st)
{
	if (row != NULL && (row->command.flags & CMD_PAYLOAD) != 0)
		st = bdat_refuse(s, args, st);
	if (s->state != SMTP_CLOSED)
		answer_error(s, st);
}

static void
one_line(struct session *s, struct str line)
{
	struct arena_mark mark = arena_mark(s->command_arena);
	struct str args, verb = command_verb(line, &args);
	const struct smtp_row *row = find_row(s, verb);
	/* Only AUTH may be longer (RFC 4954 4). */
	if (line.n > SMTP_COMMAND_MOST &&
		(row == NULL || row->fn != smtp_auth)) {
		refuse_line(s, row, args, too_long());
		return;
	}
	for (size_t i = 0; i < line.n; i++) {
		unsigned char c = (unsigned char)line.p[i];
		if ((c >= 0x20 && c != 0x7f) || c == '\t')
			continue;
		refuse_line(s, row, args, STATUS(STATUS_NEVER, 5, 2,
			"Control characters in a command"));
		return;
	}
	bool done = row != NULL && run(s, row, args);
	if (row == NULL)
		unknown_verb(s, verb);
	/* STARTTLS has answered 220: now the handshake, or never. */
	if (done && row->fn == smtp_starttls && !login_start_tls(s))
		s->state = SMTP_CLOSED;
	arena_rewind(s->command_arena, mark);
}

/* Where a BDAT that long ends, nobody knows. */
static void
long_line(struct session *s, struct str begin)
{
	struct str args;
	const struct smtp_row *row = find_row(s, command_verb(begin, &args));
	if (row != NULL && (row->command.flags & CMD_PAYLOAD) != 0)
		session_close(s, STATUS(STATUS_NEVER, 5, 2,
			"Line too long; good bye"));
	else
		answer_error(s, too_long());
}

static void
say_why(struct session *s)
{
	switch (conn_state(s->conn)) {
	case CONN_TIMEOUT:
		session_close(s, status_reply(STATUS(STATUS_LATER, 4, 2,
			"You were silent too long; good bye"), 421));
		break;
	default:
		s->state = SMTP_CLOSED;
		break;
	}
}

static void
step(struct session *s)
{
	struct str line;
	size_t most = login_may_auth(s) ? SMTP_AUTH_MOST : SMTP_COMMAND_MOST;
	if (!client_wait(s, most)) {
		session_close(s, status_reply(STATUS(STATUS_LATER, 3, 2,
			"This server is being shut down"), 421));
		return;
	}
	switch (conn_line(s->conn, most, &line)) {
	case LINE_OK:
		one_line(s, line);
		break;
	case LINE_TOO_LONG:
		long_line(s, line);
		break;
	case LINE_BARE:
		/* What one server takes for a line end and another does not
		 * is how mail is smuggled: no second guess. */
		log_warn(s->id, "bare-newline", LOG_STR("client", s->ip));
		session_close(s, status_reply(STATUS(STATUS_NEVER, 5, 2,
			"Lines end in CRLF; good bye"), 500));
		break;
	case LINE_NONE:
		say_why(s);
		break;
	}
}

/* ------------------------------------------------------------- sessions */

static bool
is_within(const struct session *s, const struct str_list *networks)
{
	for (size_t i = 0; i < networks->n; i++)
		if (net_within(&s->client->peer, networks->v[i]))
			return true;
	return false;
}

bool
session_is_trusted(const struct session *s)
{
	return is_within(s, &s->conf->smtp.relay_networks);
}

static struct links *
process_links(struct program *p)
{
	struct links *l = p->ctx;
	if (l != NULL)
		return l;
	l = p->ctx = arena_one(p->arena, struct links);
	l->auth = link_new(p->arena, p->sockets, "auth");
	l->tls = link_new(p->arena, p->sockets, "tls");
	l->queue = link_new(p->arena, p->sockets, "queue");
	l->resolve = link_new(p->arena, p->sockets, "resolve");
	link_patience(l->resolve, RESOLVE_PATIENCE);
	l->spare.fd = -1;
	link_patience(l->tls, 60 * 1000);
	link_patience(l->queue, 120 * 1000);
	return l;
}

static void
start(struct session *s, struct program *p, struct client *c)
{
	struct links *l = process_links(p);
	s->program = p;
	s->conf = p->conf;
	s->client = c;
	s->arena = arena_new("session");
	arena_limit(s->arena, ARENA_MOST);
	s->transaction_arena = arena_new("transaction");
	arena_limit(s->transaction_arena, ARENA_MOST);
	s->command_arena = arena_new("command");
	arena_limit(s->command_arena, ARENA_MOST);
	s->conn = conn_new(s->arena, c->in, c->out);
	s->id = program_session_id(s->arena);
	s->began = clock_wall_us();
	s->ip = net_ip(s->arena, &c->peer);
	s->state = SMTP_FRESH;
	s->lmtp = str_eq(c->service, STR("lmtp"));
	s->submission = str_starts(c->service, STR("submission"));
	s->trusted = session_is_trusted(s);
	s->xclient = is_within(s, &s->conf->smtp.xclient_networks);
	s->auth = l->auth;
	s->to_tls = l->tls;
	s->queue = l->queue;
	s->resolve = l->resolve;
	s->links = l;
	session_reset(s);
}

/* For as long as there is anything to say. */
static void
converse(struct session *s)
{
	struct status st = client_enter(s);
	if (!status_is_fine(st)) {
		log_warn(s->id, "client-refused", LOG_STR("client", s->ip),
			LOG_STR("why", st.text));
		if (!s->client->tls)
			session_reply(s, st);
		return;
	}
	if (!s->client->tls || login_start_tls(s))
		client_greet(s);
	else
		s->state = SMTP_CLOSED;
	while (s->state != SMTP_CLOSED)
		step(s);
	client_leave(s);
}

enum served
smtp_serve(struct program *p, struct client *c)
{
	struct session s = {.state = SMTP_FRESH};
	client_heed_stop(true);
	start(&s, p, c);
	log_info(s.id, "connect", LOG_STR("client", s.ip),
		LOG_NUM("port", net_port(&c->peer)),
		LOG_STR("service", c->service));
	converse(&s);
	conn_close(s.conn);
	log_info(s.id, "disconnect", LOG_NUM("messages", s.transactions),
		LOG_NUM("errors", s.errors));
	client_heed_stop(false);
	bool secrets = s.user.n > 0;
	arena_free(s.command_arena);
	arena_free(s.transaction_arena);
	arena_free(s.arena);
	return secrets ? SERVED_RETIRE : SERVED_AGAIN;
}
