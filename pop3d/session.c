/* SPDX-License-Identifier: ISC */
/*
 * The loop: reads one command, finds its row, lets its function do the work,
 * writes exactly one reply, and moves to the state the row names.  Replies
 * leave when no further input waits, so a pipelined batch (RFC 2449 6.6) costs
 * one write.
 */
#include "pop3d.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

struct pop3_session *
session_new(struct program *p, int in, int out)
{
	struct arena *a = arena_new("session");
	struct pop3_session *s = arena_one(a, struct pop3_session);
	s->program = p;
	s->conf = p->conf;
	s->arena = a;
	s->transaction = arena_new("transaction");
	guest_init(&s->guest, p, a, STR("pop3"), in, out);
	s->conn = s->guest.conn;
	s->id = s->guest.id;
	s->state = POP3_GREETED;
	s->language = language_nth(0);
	return s;
}

void
session_free(struct pop3_session *s)
{
	conn_close(s->conn);
	arena_free(s->transaction);
	arena_free(s->arena);
}

/* ---------------------------------------------------------------- reply */

void
session_reply(struct pop3_session *s, struct pop3_reply r)
{
	struct buf *out = conn_out(s->conn);
	if (r.result == POP3_SAID || r.result == POP3_SILENT)
		return;
	buf_adds(out, r.result == POP3_OK ? "+OK" : "-ERR");
	if (r.code != NULL)
		buf_printf(out, " [%s]", r.code);
	if (r.before.n > 0) {
		buf_addc(out, ' ');
		buf_add(out, r.before);
	}
	if (r.text != SAY_NOTHING) {
		buf_addc(out, ' ');
		language_say(s->language, r.text, r.numbers, out);
	}
	buf_adds(out, "\r\n");
	conn_pace(s->conn);
}

static void
close_with(struct pop3_session *s, enum say text)
{
	session_reply(s, ERR(NULL, text));
	s->state = POP3_CLOSED;
}

/* -------------------------------------------------------------- command */

/* The verb, and what follows one blank: a password may begin or end with
 * one (RFC 1939 7, PASS). */
static struct str
cut_verb(struct str line, struct str *args)
{
	size_t at = str_find(line, ' ');
	*args = str_skip(line, at + 1);
	return str_head(line, at);
}

static struct pop3_reply
call(struct pop3_session *s, const struct pop3_command *row, struct str args)
{
	if (row == NULL)
		return BAD(SAY_UNKNOWN);
	if ((row->command.states & s->state) == 0)
		return BAD(SAY_WRONG_STATE);
	if ((row->command.flags & CMD_NO_ARGS) && str_trim(args).n > 0)
		return BAD(SAY_NO_ARGUMENTS);
	return row->fn(s, args);
}

/* What was not understood changes no state. */
static void
move_on(struct pop3_session *s, const struct pop3_command *row,
	enum pop3_result result)
{
	bool done = result == POP3_OK || result == POP3_SAID;
	if (result == POP3_SILENT)
		s->state = POP3_CLOSED;
	if (row == NULL || result == POP3_BAD || s->state == POP3_CLOSED)
		return;
	s->state = command_next(&row->command, s->state,
		done ? COMMAND_DONE : COMMAND_FAILED);
	if (done && row->after != NULL) {
		conn_flush(s->conn);
		row->after(s);
	}
}

/* Who begins with something that is no command speaks another protocol:
 * nothing it sends further is to be answered. */
static void
count_errors(struct pop3_session *s, const struct pop3_command *row,
	enum pop3_result result)
{
	s->commands++;
	if (result != POP3_BAD) {
		s->errors = 0;
		return;
	}
	s->errors++;
	bool stranger = row == NULL && s->commands == 1 &&
		s->state == POP3_GREETED;
	if (stranger || s->errors >= POP3_ERRORS)
		close_with(s, SAY_TOO_MANY_ERRORS);
}

static void
run_command(struct pop3_session *s, struct str line)
{
	struct str args, verb = cut_verb(line, &args);
	const struct pop3_command *row = command_find(pop3_commands,
		pop3_command_count, sizeof *pop3_commands, verb);
	struct pop3_reply r = call(s, row, args);
	session_reply(s, r);
	move_on(s, row, r.result);
	if (s->state != POP3_CLOSED)
		count_errors(s, row, r.result);
}

/* ----------------------------------------------------------------- loop */

static bool
be_patient(struct pop3_session *s, size_t limit)
{
	if (s->state != POP3_TRANSACTION)
		return guest_wait(&s->guest, limit, POP3_LOGIN_PATIENCE);
	conn_deadline(s->conn, clock_in(s->conf->pop3.timeout * 1000));
	return true;
}

/* Lines that end in LF alone are taken: nothing can be smuggled in a command
 * that is one line. */
static bool
turn(struct pop3_session *s)
{
	struct str line;
	size_t limit = s->state == POP3_TRANSACTION ? POP3_LINE
						    : POP3_LINE_LOGIN;
	struct arena_mark mark = arena_mark(s->transaction);
	if (!be_patient(s, limit))
		return false;
	switch (conn_line(s->conn, limit, &line)) {
	case LINE_OK:
	case LINE_BARE:
		run_command(s, str_copy(s->transaction, line));
		break;
	case LINE_TOO_LONG:
		session_reply(s, BAD(SAY_LINE_TOO_LONG));
		count_errors(s, NULL, POP3_BAD);
		break;
	case LINE_NONE:
		/* A silent client hears nothing more (RFC 1939 3). */
		return false;
	}
	arena_rewind(s->transaction, mark);
	return s->state != POP3_CLOSED;
}

void
session_run(struct pop3_session *s)
{
	while (s->state != POP3_CLOSED && turn(s))
		;
}
