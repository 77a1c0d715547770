/* SPDX-License-Identifier: ISC */
/*
 * Messages from the client: RFC 3501 6.3.11, RFC 3502 (MULTIAPPEND), RFC 3516
 * 4.4, RFC 6855 4, RFC 4466 (the grammar they share), RFC 7889 (the limit).
 */
#include "appending.h"
#include "commands.h"
#include "flags.h"
#include "seqset.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/convert.h"
#include "mail/date.h"
#include "store/quota.h"

bool
appending_refuse(struct appending *p, struct imap_reply why)
{
	p->why = why;
	return false;
}

bool
appending_refuse_words(struct appending *p, const char *words)
{
	return appending_refuse(p,
		(struct imap_reply){IMAP_BAD, STR(""), str_from(words)});
}

static bool
refuse_status(struct appending *p, struct status st)
{
	struct imap_reply r = reply_status(st);
	if (str_eq(r.code, STR("NONEXISTENT")))
		r.code = STR("TRYCREATE");
	return appending_refuse(p, r);
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
		return appending_refuse_words(p, parse->error);
	if (!flags_parse(a, arg->first, true, &flags, &why))
		return appending_refuse_words(p, why);
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
		return appending_refuse_words(p, parse->error);
	if (!date_parse_imap(arg->text, &date))
		return appending_refuse_words(p, "Invalid date");
	m->date = date.seconds;
	m->zone = date.zone;
	return true;
}

/* ------------------------------------------------------------------ octets */

bool
appending_room(struct appending *p, uint64_t more)
{
	struct imap_session *s = p->s;
	uint64_t most = (uint64_t)s->conf->imap.max_message;
	if (more > most || p->size > most - more)
		return appending_refuse(p,
			REPLY_NO("TOOBIG", "The message is too large"));
	p->size += more;
	uint64_t all = p->total + p->size;
	struct status st = quota_room(s->store, s->transaction,
		p->messages - p->leaving, all > p->freed ? all - p->freed : 0);
	return status_is_fine(st) || refuse_status(p, st);
}

void
appending_put(struct appending *p, struct str octets)
{
	if (p->whole != NULL)
		buf_add(p->whole, octets);
	else if (status_is_fine(p->status))
		p->status = append_write(p->append, octets);
}

/* False when the connection is lost. */
static bool
read_octets(struct appending *p, uint64_t left)
{
	struct conn *c = p->s->conn;
	struct str have;
	while (left > 0) {
		conn_deadline(c, clock_in(p->s->conf->imap.timeout * 1000));
		if (!conn_peek(c, &have))
			return false;
		have = str_head(have, left);
		appending_put(p, have);
		conn_consume(c, have.n);
		left -= have.n;
	}
	return true;
}

/* Only a part of a message may be empty. */
bool
appending_literal(struct appending *p, enum appending_form form)
{
	struct parse *parse = &p->s->parse;
	struct literal l;
	if (!parse_literal_head(parse, &l))
		return appending_refuse_words(p, parse->error);
	if (l.binary != (form == LITERAL_UTF8) && form != LITERAL_WHOLE)
		return appending_refuse_words(p, "Literal of another kind");
	if (l.size == 0 && form == LITERAL_WHOLE)
		return appending_refuse(
			p, REPLY_NO("CANNOT", "The message is empty"));
	if (!appending_room(p, l.size))
		return false;
	p->eight |= l.binary;
	if (l.sync)
		conn_puts(p->s->conn, "+ OK\r\n");
	if (!read_octets(p, l.size) || !parse_resume(parse))
		return appending_refuse_words(p, "Connection lost");
	return true;
}

/* ----------------------------------------------------------------- message */

static void
hold_whole(struct appending *p)
{
	p->arena = arena_new("append");
	p->whole = buf_new(p->arena);
}

static void
let_go(struct appending *p)
{
	if (p->arena != NULL)
		arena_free(p->arena);
	p->arena = NULL;
	p->whole = NULL;
}

/* Octets that no line of a Maildir can carry go as base64: FETCH BINARY gives
 * them back (RFC 3516 4.4). */
static bool
store_whole(struct appending *p)
{
	struct str text = buf_str(p->whole);
	struct buf *coded = buf_new(p->arena);
	struct status st = status_fine();
	if (p->eight)
		st = convert_message(p->arena, text, CONVERT_BINARY, coded);
	if (!status_is_fine(st))
		return appending_refuse(p, REPLY_NO("UNKNOWN-CTE",
			"A part is binary and cannot be encoded"));
	p->status = append_write(
		p->append, p->eight ? buf_str(coded) : text);
	return true;
}

/* The octets need no word for what they are: UTF-8 may be in any header. */
bool
appending_utf8(struct appending *p)
{
	struct parse *parse = &p->s->parse;
	if (!parse_take(parse, '('))
		return appending_refuse_words(p, parse->error);
	return appending_literal(p, LITERAL_UTF8) &&
	       (parse_take(parse, ')') ||
		       appending_refuse_words(p, parse->error));
}

/* The words that may stand before the octets. */
static bool
take_marked(struct appending *p)
{
	struct parse *parse = &p->s->parse;
	struct arg *word;
	if (!parse_arg(parse, &word))
		return appending_refuse_words(p, parse->error);
	if (arg_is(word, "CATENATE"))
		return catenate_parts(p);
	return arg_is(word, "UTF8")
		? appending_utf8(p)
		: appending_refuse_words(p, "Literal expected");
}

static bool
take_octets(struct appending *p)
{
	struct parse *parse = &p->s->parse;
	bool marked =
		!parse_is_next(parse, '{') && !parse_is_next(parse, '~');
	if (!(marked ? take_marked(p) : appending_literal(p, LITERAL_WHOLE)))
		return false;
	if (p->size == 0)
		return appending_refuse(
			p, REPLY_NO("CANNOT", "The message is empty"));
	if (p->whole != NULL && !store_whole(p))
		return false;
	if (status_is_fine(p->status))
		p->status = append_end(p->append);
	return status_is_fine(p->status) || refuse_status(p, p->status);
}

bool
appending_message(struct appending *p)
{
	struct append_message m = {.date = clock_wall()};
	if (!take_flags(p, &m) || !take_date(p, &m))
		return false;
	if (++p->messages > APPENDING_MESSAGES)
		return appending_refuse(
			p, REPLY_NO("LIMIT", "Too many messages at once"));
	p->size = 0;
	p->eight = false;
	p->status = append_message(p->append, &m);
	if (!status_is_fine(p->status))
		return refuse_status(p, p->status);
	/* any but a plain literal may hold anything, or have a piece that may
	 */
	if (!parse_is_next(&p->s->parse, '{'))
		hold_whole(p);
	bool taken = take_octets(p);
	p->total += p->size;
	let_go(p);
	return taken;
}

/* ------------------------------------------------------------------ command */

bool
appending_begin(struct appending *p, struct imap_session *s)
{
	struct arg *arg;
	struct str name;
	*p = (struct appending){.s = s};
	if (!parse_arg(&s->parse, &arg))
		return appending_refuse_words(p, s->parse.error);
	if (arg == NULL || arg->kind == ARG_LIST)
		return appending_refuse_words(p, "Mailbox name expected");
	if (!view_take_name(s, arg, &name))
		return appending_refuse(
			p, REPLY_NO("CANNOT", "No such mailbox name"));
	struct status st =
		append_begin(s->store, s->transaction, name, &p->append);
	return status_is_fine(st) || refuse_status(p, st);
}

bool
appending_commit(struct appending *p)
{
	struct status st = append_commit(p->append, &p->result);
	if (!status_is_fine(st))
		return refuse_status(p, st);
	quota_warn(p->s);
	return true;
}

struct str
appending_code(const struct appending *p)
{
	struct buf *code = buf_new(p->s->transaction);
	buf_printf(code, "APPENDUID %u ", p->result.uidvalidity);
	seqset_print(&p->result.uids, code);
	return buf_str(code);
}
