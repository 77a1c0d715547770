/* SPDX-License-Identifier: ISC */
/*
 * APPEND, RFC 3501 6.3.11, of several messages at once (RFC 3502), with
 * APPENDUID (RFC 4315).
 *
 * A message goes from the connection to its file in pieces, whatever its
 * size.  All that can be refused is refused before a waiting client is told
 * to send; what fails afterwards is read to its end and dropped.
 */
#include "commands.h"
#include "flags.h"
#include "seqset.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/date.h"

enum { MESSAGES_MOST = 1000 };

struct appending {
	struct imap_session *s;
	struct append *append;
	size_t count;
	struct imap_reply why;
};

static bool
refuse(struct appending *p, struct imap_reply why)
{
	p->why = why;
	return false;
}

static bool
refuse_words(struct appending *p, const char *words)
{
	return refuse(p,
		(struct imap_reply){IMAP_BAD, STR(""), str_from(words)});
}

static bool
refuse_status(struct appending *p, struct status st)
{
	struct imap_reply r = reply_status(st);
	if (str_eq(r.code, STR("NONEXISTENT")))
		r.code = STR("TRYCREATE");
	return refuse(p, r);
}

/* -------------------------------------------------------------- arguments */

static bool
take_flags(struct appending *p, struct append_message *m)
{
	struct parse *parse = &p->s->parse;
	struct arena *a = p->s->transaction;
	struct arg *arg;
	struct flags flags;
	const char *why;
	if (!parse_is_next(parse, '('))
		return true;
	if (!parse_arg(parse, &arg))
		return refuse_words(p, parse->error);
	if (!flags_parse(a, arg->first, true, &flags, &why))
		return refuse_words(p, why);
	m->flags = flags.bits;
	m->keywords = flags.keywords;
	return true;
}

static bool
take_date(struct appending *p, struct append_message *m)
{
	struct parse *parse = &p->s->parse;
	struct arg *arg;
	struct date date;
	if (!parse_is_next(parse, '"'))
		return true;
	if (!parse_arg(parse, &arg))
		return refuse_words(p, parse->error);
	if (!date_parse_imap(arg->text, &date))
		return refuse_words(p, "Invalid date");
	m->date = date.seconds;
	m->zone = date.zone;
	return true;
}

static bool
take_head(struct appending *p, struct literal *l)
{
	struct parse *parse = &p->s->parse;
	if (!parse_literal_head(parse, l))
		return refuse_words(p, parse->error);
	if (l->binary)
		return refuse_words(p, "No binary messages here");
	if (l->size == 0)
		return refuse(p, REPLY_NO("CANNOT", "The message is empty"));
	if (l->size > (uint64_t)p->s->conf->imap.max_message)
		return refuse(p, REPLY_NO("TOOBIG", "The message is too large"));
	if (++p->count > MESSAGES_MOST)
		return refuse(p, REPLY_NO("LIMIT", "Too many messages at once"));
	return true;
}

/* ---------------------------------------------------------------- messages */

/* False when the connection is lost; what the store says is in *st. */
static bool
read_octets(struct appending *p, uint64_t left, struct status *st)
{
	struct conn *c = p->s->conn;
	struct str have;
	while (left > 0) {
		conn_deadline(c, clock_in(p->s->conf->imap.timeout * 1000));
		if (!conn_peek(c, &have))
			return false;
		have = str_head(have, left);
		if (status_is_fine(*st))
			*st = append_write(p->append, have);
		conn_consume(c, have.n);
		left -= have.n;
	}
	return true;
}

static bool
read_message(struct appending *p, const struct append_message *m,
	const struct literal *l)
{
	struct status st = append_message(p->append, m);
	if (!status_is_fine(st))
		return refuse_status(p, st);
	if (l->sync)
		conn_puts(p->s->conn, "+ OK\r\n");
	if (!read_octets(p, l->size, &st) || !parse_resume(&p->s->parse))
		return refuse_words(p, "Connection lost");
	if (status_is_fine(st))
		st = append_end(p->append);
	return status_is_fine(st) || refuse_status(p, st);
}

static bool
take_message(struct appending *p)
{
	struct append_message m = {.date = clock_wall()};
	struct literal l;
	return take_flags(p, &m) && take_date(p, &m) && take_head(p, &l) &&
	       read_message(p, &m, &l);
}

static bool
begin(struct appending *p)
{
	struct imap_session *s = p->s;
	struct arg *arg;
	struct str name;
	if (!parse_arg(&s->parse, &arg))
		return refuse_words(p, s->parse.error);
	if (arg == NULL || arg->kind == ARG_LIST)
		return refuse_words(p, "Mailbox name expected");
	if (!view_take_name(s, arg, &name))
		return refuse(p, REPLY_NO("CANNOT", "No such mailbox name"));
	struct status st =
		append_begin(s->store, s->transaction, name, &p->append);
	return status_is_fine(st) || refuse_status(p, st);
}

static struct imap_reply
commit(struct appending *p)
{
	struct append_result result;
	struct buf *code = buf_new(p->s->transaction);
	struct status st = append_commit(p->append, &result);
	if (!status_is_fine(st)) {
		refuse_status(p, st);
		return p->why;
	}
	buf_printf(code, "APPENDUID %u ", result.uidvalidity);
	seqset_print(&result.uids, code);
	return (struct imap_reply){IMAP_OK, buf_str(code), STR("Appended")};
}

struct imap_reply
imap_append(struct imap_session *s, const struct arg *args)
{
	struct appending p = {.s = s};
	(void)args;
	if (!begin(&p))
		return p.why;
	do {
		if (!take_message(&p)) {
			append_abort(p.append);
			return p.why;
		}
	} while (!parse_is_end(&s->parse));
	return commit(&p);
}
