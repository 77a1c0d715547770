/* SPDX-License-Identifier: ISC */
/*
 * CATENATE, RFC 4469: a message put together of new text and of pieces of
 * messages that are here already, named by URLs (url.h).
 *
 * Pieces are copied as they would be fetched.  What they come to is bounded
 * as every message is; how many they are, by APPENDING_PARTS.
 */
#include "appending.h"
#include "fetch.h"
#include "url.h"
#include "view.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"

enum { PIECE = 64 * 1024 };

void
catenate_close(struct appending *p)
{
	if (p->source != NULL)
		mailbox_close(p->source);
	p->source = NULL;
	if (p->source_arena != NULL)
		arena_free(p->source_arena);
	p->source_arena = NULL;
}

/* The mailbox a URL is about: the selected one, the one before, or another
 * that is opened. */
static struct mailbox *
find_mailbox(struct appending *p, struct str wanted)
{
	struct imap_session *s = p->s;
	struct str name;
	if (wanted.n == 0)
		return s->mailbox;
	if (!folders_name(s->transaction, charset_nfc(s->transaction, wanted),
		    &name))
		return NULL;
	if (s->mailbox != NULL &&
		str_eq(mailbox_folder(s->mailbox)->name, name))
		return s->mailbox;
	if (p->source != NULL && str_eq(p->source_name, name))
		return p->source;
	catenate_close(p);
	p->source_arena = arena_new("catenate");
	p->source_name = str_copy(p->source_arena, name);
	if (!status_is_fine(mailbox_open(
		    s->store, p->source_arena, name, true, &p->source)))
		p->source = NULL;
	return p->source;
}

/* The stretch the section leaves of it, on the wire. */
static bool
copy_wire(struct appending *p, struct str raw, const struct section *section)
{
	struct message_wire w = {.raw = raw};
	uint64_t size = message_wire_size(raw), from = 0;
	char piece[PIECE];
	if (section->partial) {
		from = section->from < size ? section->from : size;
		size = size - from < section->most ? size - from
						   : section->most;
	}
	if (!appending_room(p, size))
		return false;
	message_wire_skip(&w, from);
	while (size > 0) {
		size_t n = message_wire_fill(
			&w, piece, size < PIECE ? (size_t)size : PIECE);
		if (n == 0)
			break;
		appending_put(p, str_of(piece, n));
		size -= n;
	}
	return true;
}

/* Every URL that names nothing is answered alike, and named (RFC 4469 4). */
static bool
bad_url(struct appending *p, struct str url)
{
	enum { SHOWN = 200 };
	struct buf *code = buf_new(p->s->transaction);
	buf_adds(code, "BADURL ");
	reply_quoted(code, str_head(url, SHOWN));
	return appending_refuse(p, (struct imap_reply){
		IMAP_NO, buf_str(code), STR("That URL names nothing here")});
}

static bool
copy_message(struct appending *p, struct arena *a, struct mailbox *m,
	const struct url *u, struct str text)
{
	struct body b = {.arena = a, .uid = u->uid};
	struct str raw;
	if (!status_is_fine(mailbox_read(m, a, u->uid, &b.file)) ||
		!body_section(a, &b, &u->section, &raw))
		return bad_url(p, text);
	return copy_wire(p, raw, &u->section);
}

static bool
take_url(struct appending *p)
{
	struct imap_session *s = p->s;
	struct arg *arg;
	struct url u;
	struct str text;
	if (!parse_arg(&s->parse, &arg))
		return appending_refuse_words(p, s->parse.error);
	if (!arg_astring(arg, &text))
		return appending_refuse_words(p, "URL expected");
	if (!url_parse(s->transaction, text, &u))
		return bad_url(p, text);
	struct mailbox *m = find_mailbox(p, u.mailbox);
	if (m == NULL || (u.uidvalidity != 0 &&
		u.uidvalidity != mailbox_folder(m)->uidvalidity))
		return bad_url(p, text);
	struct arena *a = arena_new("piece");
	bool copied = copy_message(p, a, m, &u, text);
	arena_free(a);
	return copied;
}

static bool
take_part(struct appending *p)
{
	struct parse *parse = &p->s->parse;
	struct arg *word;
	if (++p->parts > APPENDING_PARTS)
		return appending_refuse(
			p, REPLY_NO("LIMIT", "Too many parts at once"));
	if (!parse_arg(parse, &word))
		return appending_refuse_words(p, parse->error);
	if (arg_is(word, "TEXT"))
		return appending_literal(p, LITERAL_TEXT);
	if (arg_is(word, "UTF8"))
		return appending_utf8(p);
	if (arg_is(word, "URL"))
		return take_url(p);
	return appending_refuse_words(p, "TEXT or URL expected");
}

bool
catenate_parts(struct appending *p)
{
	struct parse *parse = &p->s->parse;
	if (!parse_take(parse, '('))
		return appending_refuse_words(p, parse->error);
	do {
		if (!take_part(p))
			return false;
	} while (!parse_is_next(parse, ')') && !parse_is_end(parse));
	return parse_take(parse, ')') ||
	       appending_refuse_words(p, parse->error);
}
