/* SPDX-License-Identifier: ISC */
/*
 * The loop: reads one command, finds its row, lets its function do the work,
 * sends the news of the mailbox and exactly one tagged reply, and moves to
 * the state the row names.  RFC 3501 2.2 (commands and responses), 5.5
 * (several commands in progress: answered in order), 7.4.1 (when EXPUNGE may
 * be sent).
 *
 * Replies leave when no further input waits, so a pipelined batch costs one
 * write.
 */
#include "imapd.h"
#include "fetch.h"
#include "progress.h"
#include "view.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/notify.h"
#include "store/store.h"

struct imap_session *
session_new(struct program *p, int in, int out)
{
	struct arena *a = arena_new("session");
	struct imap_session *s = arena_one(a, struct imap_session);
	s->program = p;
	s->conf = p->conf;
	s->arena = a;
	s->transaction = arena_new("transaction");
	guest_init(&s->guest, p, a, STR("imap"), in, out);
	s->conn = s->guest.conn;
	s->id = s->guest.id;
	s->state = IMAP_GREETED;
	progress_end(s);
	return s;
}

void
session_free(struct imap_session *s)
{
	enum { PATIENCE_MS = 5000 };
	conn_close(s->conn);
	view_close(s);
	if (s->store != NULL) {
		store_settle(s->store, clock_in(PATIENCE_MS));
		notify_end(s->store);
		store_progress(s->store, NULL, NULL);
	}
	arena_free(s->transaction);
	arena_free(s->arena);
}

/* --------------------------------------------------------------- source */

static size_t
line_limit(const struct imap_session *s)
{
	return s->state == IMAP_GREETED ? IMAP_LINE_LOGIN : IMAP_LINE;
}

static bool
source_line(void *ctx, struct str *line)
{
	struct imap_session *s = ctx;
	enum conn_line r = conn_line(s->conn, line_limit(s), line);
	return r == LINE_OK || r == LINE_BARE;
}

static bool
source_literal(void *ctx, const struct literal *l, char *to)
{
	struct imap_session *s = ctx;
	if (l->sync)
		conn_puts(s->conn, "+ OK\r\n");
	return conn_read(s->conn, to, l->size);
}

static bool
source_skip(void *ctx, uint64_t n)
{
	struct imap_session *s = ctx;
	struct str have;
	while (n > 0) {
		if (!conn_peek(s->conn, &have))
			return false;
		have = str_head(have, n);
		conn_consume(s->conn, have.n);
		n -= have.n;
	}
	return true;
}

static struct parse_source
source(struct imap_session *s)
{
	return (struct parse_source){
		source_line, source_literal, source_skip, s};
}

static struct parse_limits
limits(const struct imap_session *s)
{
	bool login = s->state == IMAP_GREETED;
	return (struct parse_limits){
		.args = IMAP_ARGS,
		.depth = IMAP_DEPTH,
		.octets = login ? IMAP_LITERALS_LOGIN : IMAP_LITERALS,
		.swallow = login ? IMAP_LITERALS_LOGIN
				 : (uint64_t)s->conf->imap.max_message * 2,
	};
}

/* -------------------------------------------------------------- command */

/* tag = 1*<any ASTRING-CHAR except "+"> */
static bool
is_tag(struct str tag)
{
	if (tag.n == 0 || tag.n > IMAP_TAG)
		return false;
	for (size_t i = 0; i < tag.n; i++)
		if (tag.p[i] <= 0x20 || tag.p[i] >= 0x7f ||
			str_has(STR("(){%*\"\\+"), tag.p[i]))
			return false;
	return true;
}

static struct str
cut_word(struct str *line)
{
	struct str word = str_head(*line, str_find(*line, ' '));
	*line = str_skip(*line, word.n);
	return word;
}

/* Cuts tag and name off the line. */
static const struct imap_command *
take_name(struct imap_session *s, struct str *line)
{
	struct str rest = str_skip(*line, 1);
	struct str verb = cut_word(&rest);
	s->uid = str_eq_nocase(verb, STR("UID"));
	if (s->uid) {
		rest = str_skip(rest, 1);
		verb = cut_word(&rest);
	}
	*line = rest;
	const struct imap_command *row = command_find(
		imap_commands, imap_command_count, sizeof *imap_commands, verb);
	return s->uid && row != NULL && !(row->command.flags & CMD_UID) ? NULL
									: row;
}

static struct imap_reply
bad(const char *why)
{
	return (struct imap_reply){IMAP_BAD, STR(""), str_from(why)};
}

static struct imap_reply
call(struct imap_session *s, const struct imap_command *row)
{
	struct arg *args = NULL;
	if (row == NULL)
		return REPLY_BAD("Unknown command");
	unsigned flags = row->command.flags;
	if ((row->command.states & s->state) == 0)
		return REPLY_BAD("Not now");
	if (flags & CMD_LONG)
		progress_begin(s);
	if ((flags & CMD_NUMBERS) && (s->enabled & IMAP_UIDONLY) && !s->uid)
		return REPLY_UIDREQUIRED;
	if ((flags & CMD_WRITES) && mailbox_is_read_only(s->mailbox))
		return REPLY_NO("CANNOT", "The mailbox is read-only");
	if (!(flags & CMD_READS) && !parse_args(&s->parse, &args))
		return bad(s->parse.error);
	if ((flags & CMD_NO_ARGS) && args != NULL)
		return REPLY_BAD("No arguments expected");
	return row->fn(s, args);
}

/* Whatever of the command the function left on the wire is read now: a
 * literal must not be taken for the next command. */
static struct imap_reply
settle(struct imap_session *s, struct imap_reply r)
{
	struct parse *p = &s->parse;
	bool complete = p->error == NULL && parse_is_end(p);
	if (r.result == IMAP_SILENT || complete)
		return r;
	if (!parse_drain(p)) {
		s->state = IMAP_CLOSED;
		reply_untagged(s->conn, "BYE Cannot go on after that literal");
		return (struct imap_reply){.result = IMAP_SILENT};
	}
	return r.result == IMAP_OK ? REPLY_BAD("Too many arguments") : r;
}

/* RFC 3501 5.2: whatever is new, before the command is complete; EXPUNGE only
 * where no sequence number can be misunderstood by it (7.4.1). */
static void
tell_news(struct imap_session *s, const struct imap_command *row)
{
	if (s->mailbox == NULL || row == NULL || s->state != IMAP_SELECTED)
		return;
	unsigned flags = row->command.flags;
	if (!(flags & CMD_NO_NEWS))
		view_news(s, !(flags & CMD_SEQUENCE) ||
				(s->uid && !s->numbers));
}

/* BAD changes no state: the command was not understood.  A command may close
 * the mailbox besides what it is for. */
static void
move_on(struct imap_session *s, const struct imap_command *row,
	enum imap_result result)
{
	if (result == IMAP_SILENT)
		s->state = IMAP_CLOSED;
	if (row == NULL || result == IMAP_BAD || s->state == IMAP_CLOSED)
		return;
	s->state = command_next(&row->command, s->state,
		result == IMAP_OK ? COMMAND_DONE : COMMAND_FAILED);
	if (s->state == IMAP_SELECTED && s->mailbox == NULL)
		s->state = IMAP_AUTH;
	if (result == IMAP_OK && row->after != NULL) {
		conn_flush(s->conn);
		row->after(s);
	}
}

/* Somebody who speaks HTTP or SMTP to this port, or cannot stop erring, is
 * sent away. */
static void
count_errors(struct imap_session *s, const struct imap_command *row,
	enum imap_result result)
{
	s->commands++;
	if (result != IMAP_BAD) {
		s->errors = 0;
		return;
	}
	s->errors++;
	bool stranger =
		row == NULL && s->commands == 1 && s->state == IMAP_GREETED;
	if (!stranger && s->errors < IMAP_ERRORS)
		return;
	reply_untagged(s->conn, "BYE Too many errors");
	s->state = IMAP_CLOSED;
}

/* What is our trouble, not the client's, is for the administrator too. */
static void
log_trouble(const struct imap_session *s, const struct imap_command *row,
	const struct imap_reply *r)
{
	static const struct str codes[] = {STR_INIT("UNAVAILABLE"),
		STR_INIT("INUSE"), STR_INIT("OVERQUOTA")};
	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (row != NULL && r->result == IMAP_NO &&
			s->state != IMAP_GREETED && str_eq(r->code, codes[i]))
			log_warn(s->id, "failed",
				LOG_STR("command", row->command.verb),
				LOG_STR("why", r->text));
}

static void
run_command(struct imap_session *s, struct str line)
{
	struct parse_source from = source(s);
	struct parse_limits most = limits(s);
	s->tag = str_copy(s->transaction, cut_word(&line));
	s->numbers = false;
	const struct imap_command *row = NULL;
	struct imap_reply r;
	if (is_tag(s->tag)) {
		row = take_name(s, &line);
		parse_begin(&s->parse, s->transaction, &from, &most, line);
		r = call(s, row);
	} else {
		s->tag = STR("");
		parse_begin(&s->parse, s->transaction, &from, &most, line);
		r = REPLY_BAD("Invalid tag");
	}
	r = settle(s, r);
	log_trouble(s, row, &r);
	if (r.result != IMAP_BAD && r.result != IMAP_SILENT)
		tell_news(s, row);
	progress_end(s);
	reply_line(s->conn, s->tag, r);
	move_on(s, row, r.result);
	count_errors(s, row, r.result);
}

/* ----------------------------------------------------------------- loop */

static void
say_too_long(struct imap_session *s)
{
	reply_untagged(s->conn, "BYE Idle for too long");
}

static bool
be_patient(struct imap_session *s)
{
	if (s->state != IMAP_GREETED)
		conn_deadline(s->conn, clock_in(s->conf->imap.timeout * 1000));
	else if (!guest_wait(&s->guest, line_limit(s), IMAP_LOGIN_PATIENCE)) {
		say_too_long(s);
		return false;
	}
	return true;
}

void
session_say_why(struct imap_session *s)
{
	enum conn_state state = conn_state(s->conn);
	if (state == CONN_TIMEOUT)
		say_too_long(s);
	else if (state == CONN_STOPPED)
		reply_untagged(s->conn, "BYE The server is shutting down");
}

/* The end of a line that is too long is lost, and with it whether a literal
 * follows: nothing after it can be trusted. */
static void
say_why(struct imap_session *s, enum conn_line result)
{
	if (result == LINE_TOO_LONG)
		reply_untagged(s->conn, "BYE Line too long");
	else
		session_say_why(s);
}

void
session_tidy(struct imap_session *s)
{
	int64_t end = clock_in(IMAP_SLICE);
	s->unsettled = !mailbox_settle(s->mailbox, end) ||
		!mailbox_describe(s->mailbox, end);
}

void
session_rest(struct imap_session *s)
{
	body_close(s);
	store_rest(s->store);
	conn_rest(s->conn);
}

/* A client that pauses gives time to let file names follow flags, and to give
 * back what its last commands needed. */
static void
use_silence(struct imap_session *s)
{
	if (s->store == NULL ||
		conn_wait(s->conn, -1, clock_in(IMAP_QUIET)) != WAIT_DEADLINE)
		return;
	while (s->mailbox != NULL && s->unsettled) {
		session_tidy(s);
		if (conn_wait(s->conn, -1, 0) != WAIT_DEADLINE)
			return;
	}
	session_rest(s);
}

/* Empty lines before a tag come from clients that send one too many. */
static bool
turn(struct imap_session *s)
{
	struct str line;
	use_silence(s);
	if (!be_patient(s))
		return false;
	enum conn_line r = conn_line(s->conn, line_limit(s), &line);
	if (r != LINE_OK && r != LINE_BARE) {
		say_why(s, r);
		return false;
	}
	if (line.n == 0)
		return true;
	struct arena_mark mark = arena_mark(s->transaction);
	run_command(s, str_copy(s->transaction, line));
	arena_rewind(s->transaction, mark);
	return s->state != IMAP_CLOSED;
}

void
session_run(struct imap_session *s)
{
	while (s->state != IMAP_CLOSED && turn(s))
		;
}
