/* SPDX-License-Identifier: ISC */
/* Decoding in chunks; a search keeps the tail of each chunk so that a match
 * across two is found. */
#include "mail/text.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/encode.h"
#include "mail/header.h"
#include "mail/word.h"

enum { CHUNK = 32 * 1024 };

struct decoder {
	enum mime_encoding encoding;
	struct base64_stream base64;
	struct qp_stream qp;
	struct str rest;
};

static bool
start(struct decoder *d, struct str message, const struct mime_part *p)
{
	*d = (struct decoder){.encoding = mime_encoding(p),
		.rest = mime_body(message, p)};
	return d->encoding != MIME_UNKNOWN;
}

/* The next piece, appended; false when there is none. */
static bool
next(struct decoder *d, struct buf *out)
{
	if (d->rest.n == 0)
		return false;
	struct str piece = str_head(d->rest, CHUNK);
	d->rest = str_skip(d->rest, piece.n);
	switch (d->encoding) {
	case MIME_BASE64:
		base64_feed(&d->base64, piece, out);
		break;
	case MIME_QP:
		qp_feed(&d->qp, piece, out);
		if (d->rest.n == 0)
			qp_end(&d->qp, out);
		break;
	case MIME_IDENTITY:
	case MIME_UNKNOWN:
		buf_add(out, piece);
		break;
	}
	return true;
}

bool
text_decode(struct arena *a, struct str message, const struct mime_part *p,
	struct buf *out)
{
	struct decoder d;
	(void)a;
	if (!start(&d, message, p))
		return false;
	while (next(&d, out))
		;
	return true;
}

void
text_to_wire(struct buf *out, struct str s, size_t skip, size_t most)
{
	size_t at = 0; /* octets of the wire form passed */
	for (size_t i = 0; i < s.n && most > 0;) {
		struct str rest = str_skip(s, i);
		size_t n = str_find(rest, '\n');
		bool bare = n < rest.n &&
			!(i + n > 0 && s.p[i + n - 1] == '\r');
		struct str line = str_head(rest, n < rest.n && !bare ? n + 1
								     : n);
		struct str pieces[2] = {line, bare ? STR("\r\n") : STR("")};
		for (int k = 0; k < 2; k++) {
			struct str p = pieces[k];
			size_t drop = at < skip ? skip - at : 0;
			at += p.n;
			p = str_head(str_skip(p, drop), most);
			buf_add(out, p);
			most -= p.n;
		}
		i += line.n + bare;
	}
}

/* --------------------------------------------------------------- preview */

static bool
is_type(const struct mime_part *p, struct str major, struct str minor)
{
	return str_eq(p->major, major) && str_eq(p->minor, minor) &&
		p->child == NULL;
}

static struct mime_part *
find_text(struct mime_part *root)
{
	struct mime_part *html = NULL;
	for (struct mime_part *p = root; p != NULL; p = mime_walk(p)) {
		if (is_type(p, STR("text"), STR("plain")) &&
			p->end.offset > p->body.offset)
			return p;
		if (html == NULL && is_type(p, STR("text"), STR("html")))
			html = p;
	}
	return html;
}

/* Tags, and the text of style and script, dropped; entities of one letter's
 * worth understood. */
static void
strip_html(struct str s, struct buf *out)
{
	static const struct {
		const char *entity, *text;
	} entities[] = {{"&nbsp;", " "}, {"&amp;", "&"}, {"&lt;", "<"},
		{"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
	while (s.n > 0) {
		size_t n = str_find(s, '<');
		struct str text = str_head(s, n), tag;
		while (text.n > 0) {
			size_t amp = str_find(text, '&');
			buf_add(out, str_head(text, amp));
			text = str_skip(text, amp);
			size_t used = text.n > 0;
			for (size_t i = 0; used == 1 &&
				i < sizeof entities / sizeof *entities; i++) {
				struct str e = str_from(entities[i].entity);
				if (!str_starts(text, e))
					continue;
				buf_adds(out, entities[i].text);
				used = e.n;
			}
			if (used == 1)
				buf_addc(out, '&');
			text = str_skip(text, used);
		}
		s = str_skip(s, n);
		tag = str_head(s, str_find(s, '>') + 1);
		s = str_skip(s, tag.n);
		buf_addc(out, ' ');
		if (str_starts_nocase(tag, STR("<style")))
			s = str_skip(s, str_search(s, STR("</")));
		else if (str_starts_nocase(tag, STR("<script")))
			s = str_skip(s, str_search(s, STR("</")));
	}
}

/* One line: runs of blanks and line ends as one blank; quoted lines are kept,
 * a reader knows them.  Of so many characters: what follows is not looked
 * at. */
static void
one_line(struct buf *out, size_t before, size_t most)
{
	char *p = out->p;
	size_t n = before, count = 0, end = out->n;
	bool blank = true;
	if (end == before)
		return;
	for (size_t i = before; i < end && count <= most; i++) {
		unsigned char c = (unsigned char)p[i];
		bool space = c <= ' ' || c == 0x7f;
		if (space && blank)
			continue;
		p[n++] = space ? ' ' : (char)c;
		count += (c & 0xc0) != 0x80;
		blank = space;
	}
	struct str line = str_of(out->p + before, n - before);
	out->n = before + str_trim(charset_head_chars(line, most)).n;
}

/* From so many octets of the encoded part; true when there were no more. */
static bool
preview_from(struct arena *a, struct str message, struct mime_part *p,
	size_t source, struct buf *out)
{
	struct decoder d;
	if (!start(&d, message, p))
		return true;
	struct buf *raw = buf_new(a), *utf8 = buf_new(a);
	bool whole = d.rest.n <= source;
	d.rest = str_head(d.rest, source);
	while (next(&d, raw))
		;
	charset_to_utf8(a, mime_param(&p->type, STR("charset")), buf_str(raw),
		utf8);
	if (str_eq(p->minor, STR("html")))
		strip_html(buf_str(utf8), out);
	else
		buf_add(out, buf_str(utf8));
	return whole;
}

/*
 * A letter's first lines are enough; what begins with a style sheet or much
 * white space wants a longer look.  One character more than is asked for,
 * since the last one may have been cut in two.
 */
void
text_preview(struct arena *a, struct str message, struct mime_part *root,
	size_t n, struct buf *out)
{
	static const size_t sources[] = {512, 2048, 8 * 1024};
	struct mime_part *p = find_text(root);
	size_t before = out->n;
	bool enough = p == NULL;
	for (size_t i = 0; !enough && i < sizeof sources / sizeof *sources;
		i++) {
		out->n = before;
		enough = preview_from(a, message, p, sources[i], out);
		one_line(out, before, n + 1);
		struct str line = str_skip(buf_str(out), before);
		enough = enough || charset_head_chars(line, n).n < line.n;
	}
	one_line(out, before, n);
}

/* ---------------------------------------------------------------- search */

static bool
has(struct buf *folded, struct str needle)
{
	return str_search(buf_str(folded), needle) < folded->n;
}

static bool
search_part(struct arena *a, struct str message, const struct mime_part *p,
	struct str needle)
{
	struct decoder d;
	struct buf *raw = buf_new(a), *utf8 = buf_new(a), *folded = buf_new(a);
	if (!start(&d, message, p))
		return false;
	struct charset_stream *text = charset_open(
		a, mime_param(&p->type, STR("charset")));
	while (next(&d, raw)) {
		charset_feed(text, buf_str(raw), utf8);
		charset_fold(folded, buf_str(utf8));
		if (has(folded, needle))
			return true;
		buf_clear(raw);
		buf_clear(utf8);
		if (folded->n > needle.n)
			buf_drop(folded, folded->n - needle.n);
	}
	charset_end(text, utf8);
	charset_fold(folded, buf_str(utf8));
	return has(folded, needle);
}

/* Each field is one line, its name included. */
static bool
search_header(struct arena *a, struct str header, struct str needle)
{
	struct buf *decoded = buf_new(a), *folded = buf_new(a);
	struct header_field field;
	header = header_begin(header);
	while (header_next(&header, &field)) {
		struct arena_mark mark = arena_mark(a);
		buf_clear(decoded);
		word_decode(a, decoded, field.whole);
		buf_addc(decoded, '\n');
		charset_fold(folded, buf_str(decoded));
		arena_rewind(a, mark);
	}
	return has(folded, needle);
}

/* What a person would read: a delivery report's part too, and others of
 * message/ that are no message (RFC 3464, 8098, 5965). */
static bool
is_readable(const struct mime_part *p)
{
	return p->child == NULL && (str_eq(p->major, STR("text")) ||
		str_eq(p->major, STR("message")));
}

bool
text_search(struct arena *a, struct str message, struct mime_part *root,
	struct str folded, bool header)
{
	if (folded.n == 0)
		return true;
	for (struct mime_part *p = root; p != NULL; p = mime_walk(p)) {
		struct arena_mark m = arena_mark(a);
		/* The header of a message within belongs to the body. */
		bool inner = p->parent != NULL && p->parent->message;
		bool found = (header || inner) && search_header(
			a, mime_header(message, p), folded);
		if (!found && is_readable(p))
			found = search_part(a, message, p, folded);
		arena_rewind(a, m);
		if (found)
			return true;
	}
	return false;
}
