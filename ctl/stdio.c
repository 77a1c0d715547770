/* SPDX-License-Identifier: ISC */
/*
 * sendmail -bs: enough SMTP (RFC 5321) for a program that talks to us on its
 * own pipe.  It is the caller and has the caller's rights, so there is no
 * login, no TLS and no question who may relay; the queue decides what it
 * takes.  The rules of smtpd's submission hold: fields that miss are added.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/command.h"
#include "mail/smtp.h"
#include "sys/conn.h"

#include <stdio.h>
#include <unistd.h>

enum { STATE_HELLO = 1, STATE_READY = 2, STATE_MAIL = 4, STATE_RCPT = 8,
	STATE_CLOSED = 16, STATE_ANY = 15, STATE_GREETED = 14 };

enum { IDLE = 5 * 60 * 1000 };

struct dialogue {
	struct arena *arena; /* of the transaction */
	struct arena_mark mark;
	struct conn *conn;
	const struct letter *mould;
	struct letter letter;
	struct str sockets;
	int64_t max_size;
	unsigned state;
	bool esmtp;
};

typedef struct status (*verb_fn)(struct dialogue *d, struct str args);

struct verb {
	struct command command;
	verb_fn fn;
};

static struct status
reply(int class, int code, const char *text)
{
	struct status s = {.class = class, .text = str_from(text)};
	return status_reply(s, code);
}

static void
start_over(struct dialogue *d)
{
	arena_rewind(d->arena, d->mark);
	d->letter = *d->mould;
	d->letter.arena = d->arena;
}

static struct status
do_hello(struct dialogue *d, struct str args)
{
	start_over(d);
	if (args.n == 0)
		return reply(STATUS_NEVER, 501, "Your name is needed");
	if (!d->esmtp)
		return status_reply((struct status){.class = STATUS_FINE,
			.text = d->mould->hostname}, 250);
	return status_reply((struct status){.class = STATUS_FINE,
		.text = str_printf(d->arena, "%.*s\nPIPELINING\nSIZE %lld\n"
			"8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES",
			STR_ARG(d->mould->hostname),
			(long long)d->max_size)}, 250);
}

static struct status
do_helo(struct dialogue *d, struct str args)
{
	d->esmtp = false;
	return do_hello(d, args);
}

static struct status
do_ehlo(struct dialogue *d, struct str args)
{
	d->esmtp = true;
	return do_hello(d, args);
}

static struct status
size_param(const struct dialogue *d, struct str value)
{
	uint64_t size;
	if (!str_number(value, INT64_MAX, &size))
		return reply(STATUS_NEVER, 501, "SIZE is a number");
	return (int64_t)size <= d->max_size ? status_fine()
		: status_reply(STATUS(STATUS_NEVER, 3, 4,
			"The message is too large"), 552);
}

static struct status
body_param(const struct dialogue *d, struct str value)
{
	(void)d;
	return str_eq_nocase(value, STR("7BIT")) ||
			str_eq_nocase(value, STR("8BITMIME"))
		? status_fine()
		: reply(STATUS_NEVER, 501, "BODY is 7BIT or 8BITMIME");
}

static struct status
utf8_param(const struct dialogue *d, struct str value)
{
	(void)d;
	return value.n == 0 ? status_fine()
		: reply(STATUS_NEVER, 501, "SMTPUTF8 has no value");
}

static const struct param_row {
	struct str key;
	struct status (*fn)(const struct dialogue *d, struct str value);
} mail_params[] = {
	{STR_INIT("SIZE"), size_param},
	{STR_INIT("BODY"), body_param},
	{STR_INIT("SMTPUTF8"), utf8_param},
};

enum { MAIL_PARAMS = sizeof mail_params / sizeof *mail_params };

/* RFC 5321 4.1.1.11: what is not known is refused, not passed over. */
static struct status
check_params(const struct dialogue *d, const struct smtp_path *p,
	const struct param_row *rows, size_t count)
{
	for (size_t i = 0; i < p->param_count; i++) {
		size_t k = 0;
		while (k < count && !str_eq_nocase(p->params[i].key, rows[k].key))
			k++;
		if (k == count)
			return status_reply(STATUS(STATUS_NEVER, 5, 4,
				"That parameter is not known here"), 555);
		struct status s = rows[k].fn(d, p->params[i].value);
		if (!status_is_fine(s))
			return s;
	}
	return status_fine();
}

static struct status
do_mail(struct dialogue *d, struct str args)
{
	struct smtp_path path;
	start_over(d);
	struct status s = smtp_parse_path(d->arena, args, STR("FROM:"), true,
		&path);
	if (status_is_fine(s))
		s = check_params(d, &path, mail_params,
			d->esmtp ? MAIL_PARAMS : 0);
	if (!status_is_fine(s))
		return s;
	d->letter.sender = address_text(d->arena, &path.address);
	return STATUS(STATUS_FINE, 1, 0, "Sender taken");
}

static struct status
do_rcpt(struct dialogue *d, struct str args)
{
	struct smtp_path path;
	struct status s = smtp_parse_path(d->arena, args, STR("TO:"), true,
		&path);
	if (status_is_fine(s))
		s = check_params(d, &path, NULL, 0);
	if (!status_is_fine(s))
		return s;
	if (path.address.domain.n == 0)
		path.address.domain = d->mould->domain;
	if (!letter_rcpts(&d->letter, address_text(d->arena, &path.address)))
		return STATUS(STATUS_LATER, 5, 3, "Too many recipients");
	return STATUS(STATUS_FINE, 1, 5, "Recipient taken");
}

/* Reads on past what is too large: the dialogue must stay in step. */
static bool
read_data(struct dialogue *d, struct buf *content, bool *too_large)
{
	struct smtp_data data;
	struct str have;
	smtp_data_start(&data, SMTP_NORMALISE_BARE);
	while (!data.done) {
		conn_deadline(d->conn, clock_in(IDLE));
		if (!conn_peek(d->conn, &have))
			return false;
		conn_consume(d->conn, smtp_data_feed(&data, have, content));
		if ((int64_t)content->n <= d->max_size)
			continue;
		*too_large = true;
		buf_clear(content);
	}
	return true;
}

static struct status
do_data(struct dialogue *d, struct str args)
{
	struct buf *content = buf_new(d->arena);
	bool too_large = false;
	struct str id;
	(void)args;
	conn_puts(d->conn, "354 End with a line that is a dot\r\n");
	if (!read_data(d, content, &too_large)) {
		d->state = STATE_CLOSED;
		return reply(STATUS_LATER, 421, "No end of the message");
	}
	if (too_large)
		return STATUS(STATUS_NEVER, 3, 4, "The message is too large");
	letter_compose(&d->letter, buf_str(content), false);
	struct status s = letter_submit(&d->letter, d->sockets, &id);
	if (!status_is_fine(s))
		return s;
	return (struct status){.class = STATUS_FINE, .subject = 6,
		.text = str_printf(d->arena, "Queued as %.*s", STR_ARG(id))};
}

static struct status
do_rset(struct dialogue *d, struct str args)
{
	(void)args;
	start_over(d);
	return STATUS(STATUS_FINE, 0, 0, "Forgotten");
}

static struct status
do_noop(struct dialogue *d, struct str args)
{
	(void)d;
	(void)args;
	return STATUS(STATUS_FINE, 0, 0, "Nothing done");
}

static struct status
do_vrfy(struct dialogue *d, struct str args)
{
	(void)d;
	(void)args;
	return reply(STATUS_FINE, 252, "Send it and see");
}

static struct status
do_help(struct dialogue *d, struct str args)
{
	(void)d;
	(void)args;
	return reply(STATUS_FINE, 214, "See sendmail(8)");
}

static struct status
do_quit(struct dialogue *d, struct str args)
{
	(void)d;
	(void)args;
	return reply(STATUS_FINE, 221, "Bye");
}

#define VERB(verb, states, done, failed, fn) \
	{{STR_INIT(verb), states, done, 0, failed, 0, NULL}, fn}

static const struct verb verbs[] = {
	VERB("HELO", STATE_ANY, STATE_READY, 0, do_helo),
	VERB("EHLO", STATE_ANY, STATE_READY, 0, do_ehlo),
	/* Programs that talk to a pipe often do not greet. */
	VERB("MAIL", STATE_HELLO | STATE_READY, STATE_MAIL, 0, do_mail),
	VERB("RCPT", STATE_MAIL | STATE_RCPT, STATE_RCPT, 0, do_rcpt),
	VERB("DATA", STATE_RCPT, STATE_READY, STATE_READY, do_data),
	VERB("RSET", STATE_ANY, STATE_READY, 0, do_rset),
	VERB("NOOP", STATE_ANY, 0, 0, do_noop),
	VERB("VRFY", STATE_ANY, 0, 0, do_vrfy),
	VERB("HELP", STATE_ANY, 0, 0, do_help),
	VERB("QUIT", STATE_ANY, STATE_CLOSED, 0, do_quit),
};

static struct status
run_line(struct dialogue *d, struct str line)
{
	struct str args, verb = command_verb(line, &args);
	const struct verb *row = command_find(verbs,
		sizeof verbs / sizeof *verbs, sizeof *verbs, verb);
	if (row == NULL)
		return status_reply(STATUS(STATUS_NEVER, 5, 1,
			"Unknown command"), 500);
	if ((row->command.states & d->state) == 0)
		return status_reply(STATUS(STATUS_NEVER, 5, 1, "Not now"),
			503);
	struct status s = row->fn(d, args);
	if (d->state != STATE_CLOSED)
		d->state = command_next(&row->command, d->state,
			status_is_fine(s) ? COMMAND_DONE : COMMAND_FAILED);
	return s;
}

static void
say(struct dialogue *d, struct status s)
{
	struct arena *a = arena_new("reply");
	struct buf *out = buf_new(a);
	smtp_write_reply(out, s, d->esmtp && s.reply == 0);
	conn_write(d->conn, buf_str(out));
	arena_free(a);
}

int
stdio_smtp(const struct letter *l, struct str sockets, int64_t max_size)
{
	struct dialogue d = {.arena = arena_new("transaction"), .mould = l,
		.sockets = sockets, .max_size = max_size,
		.state = STATE_HELLO};
	struct str line;
	d.conn = conn_new(l->arena, STDIN_FILENO, STDOUT_FILENO);
	d.mark = arena_mark(d.arena);
	start_over(&d);
	say(&d, status_reply((struct status){.class = STATUS_FINE,
		.text = str_printf(l->arena, "%.*s ESMTP",
			STR_ARG(l->hostname))}, 220));
	while (d.state != STATE_CLOSED) {
		conn_deadline(d.conn, clock_in(IDLE));
		enum conn_line r = conn_line(d.conn, SMTP_COMMAND_MOST, &line);
		if (r == LINE_NONE)
			break;
		say(&d, r == LINE_TOO_LONG ?
			reply(STATUS_NEVER, 500, "The line is too long") :
			run_line(&d, line));
	}
	conn_close(d.conn);
	return EX_OK;
}
