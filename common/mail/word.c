/* SPDX-License-Identifier: ISC */
/* One pass; encoded text of neighbours in the same charset gathers in `raw`
 * until something else comes. */
#include "mail/word.h"
#include "base/arena.h"
#include "mail/charset.h"
#include "mail/encode.h"
#include "mail/header.h"

enum { WORD_MOST = 1000, CHUNK = 42 };

struct decoder {
	struct arena *arena;
	struct buf *out;
	struct buf *raw; /* decoded octets of the run */
	struct str charset; /* of the run */
	bool in_run;
};

struct encoded {
	struct str charset, text;
	bool base64;
	size_t length; /* of the whole word */
};

/* "=?charset*lang?B?text?=" at the front of s. */
static bool
match(struct str s, struct encoded *e)
{
	struct str all = str_head(s, WORD_MOST), rest, piece;
	if (!str_starts(all, STR("=?")))
		return false;
	rest = str_skip(all, 2);
	if (!str_cut(&rest, '?', &piece) || rest.p == NULL || piece.n == 0)
		return false;
	e->charset = str_head(piece, str_find(piece, '*'));
	if (!str_cut(&rest, '?', &piece) || rest.p == NULL || piece.n != 1)
		return false;
	char how = char_lower(piece.p[0]);
	if (how != 'b' && how != 'q')
		return false;
	e->base64 = how == 'b';
	size_t end = str_search(rest, STR("?="));
	e->text = str_head(rest, end);
	/* Blanks end a word that was never closed. */
	if (end == rest.n || str_has(e->text, '\n'))
		return false;
	e->length = (size_t)(rest.p + end + 2 - s.p);
	return true;
}

static void
flush_run(struct decoder *d)
{
	if (d->in_run)
		charset_to_utf8(d->arena, d->charset, buf_str(d->raw), d->out);
	buf_clear(d->raw);
	d->in_run = false;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = char_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 2047 4.2: '_' is a blank. */
static void
decode_q(struct str s, struct buf *out)
{
	for (size_t i = 0; i < s.n; i++) {
		int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
		int low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
		if (s.p[i] == '=' && high >= 0 && low >= 0) {
			buf_addc(out, (char)(high << 4 | low));
			i += 2;
		} else {
			buf_addc(out, s.p[i] == '_' ? ' ' : s.p[i]);
		}
	}
}

static void
take_word(struct decoder *d, const struct encoded *e)
{
	struct base64_stream b = {0};
	if (!d->in_run || !str_eq_nocase(d->charset, e->charset))
		flush_run(d);
	d->in_run = true;
	d->charset = e->charset;
	if (e->base64)
		base64_feed(&b, e->text, d->raw);
	else
		decode_q(e->text, d->raw);
}

static size_t
blanks(struct str s)
{
	size_t n = 0;
	while (n < s.n && str_has(STR(" \t\r\n"), s.p[n]))
		n++;
	return n;
}

void
word_decode(struct arena *a, struct buf *out, struct str value)
{
	struct decoder d = {.arena = a, .out = out, .raw = buf_new(a)};
	struct encoded e;
	struct str s = header_unfold(a, value);
	while (s.n > 0) {
		size_t gap = d.in_run ? blanks(s) : 0;
		if (match(str_skip(s, gap), &e)) {
			take_word(&d, &e);
			s = str_skip(s, gap + e.length);
			continue;
		}
		flush_run(&d);
		size_t n = 1 + str_search(str_skip(s, 1), STR("=?"));
		charset_to_utf8(a, STR(""), str_head(s, n), out);
		s = str_skip(s, n);
	}
	flush_run(&d);
}

/* charset'language'percent-coded */
static struct str
decode_extended(struct arena *a, struct str value)
{
	struct str charset, language, rest = value;
	struct buf *raw = buf_new(a), *out = buf_new(a);
	if (!str_cut(&rest, '\'', &charset) ||
		!str_cut(&rest, '\'', &language) || rest.p == NULL) {
		charset = STR("");
		rest = value;
	}
	for (size_t i = 0; i < rest.n; i++) {
		int high = i + 2 < rest.n ? hex_digit(rest.p[i + 1]) : -1;
		int low = high >= 0 ? hex_digit(rest.p[i + 2]) : -1;
		if (rest.p[i] == '%' && high >= 0 && low >= 0) {
			buf_addc(raw, (char)(high << 4 | low));
			i += 2;
		} else {
			buf_addc(raw, rest.p[i]);
		}
	}
	charset_to_utf8(a, charset, buf_str(raw), out);
	return buf_str(out);
}

struct str
word_param(struct arena *a, const struct mime_value *v, struct str name)
{
	struct str star = str_printf(a, "%.*s*", STR_ARG(name));
	struct str value = mime_param(v, star);
	if (value.n > 0)
		return decode_extended(a, value);
	value = mime_param(v, name);
	if (value.n == 0)
		return value;
	struct buf *out = buf_new(a);
	word_decode(a, out, value);
	return buf_str(out);
}

static bool
needs_encoding(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c < 0x20 || c >= 0x7f)
			return true;
	}
	return str_search(s, STR("=?")) < s.n;
}

void
word_encode(struct buf *out, struct str s)
{
	if (!needs_encoding(s)) {
		buf_add(out, s);
		return;
	}
	bool first = true;
	while (s.n > 0) {
		struct str piece = charset_head(s, CHUNK);
		if (piece.n == 0)
			piece = str_head(s, CHUNK);
		buf_adds(out, first ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
		base64_encode(out, piece);
		buf_adds(out, "?=");
		s = str_skip(s, piece.n);
		first = false;
	}
}
