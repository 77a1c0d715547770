/* SPDX-License-Identifier: ISC */
/*
 * iconv and utf8proc behind three questions.  ASCII, by far the most of mail,
 * goes through neither.
 */
#include "mail/charset.h"
#include "base/arena.h"

#include <errno.h>
#include <iconv.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { NAME_MOST = 40 };

static const struct str replacement = STR_INIT("\xef\xbf\xbd");

/* How many octets at the front are ASCII; one at least is. */
static size_t
ascii_run(const char *p, size_t n)
{
	size_t i = 1;
	uint64_t eight;
	for (; n - i >= sizeof eight; i += sizeof eight) {
		memcpy(&eight, p + i, sizeof eight);
		if (eight & 0x8080808080808080)
			break;
	}
	while (i < n && (unsigned char)p[i] < 0x80)
		i++;
	return i;
}

bool
charset_is_utf8(struct str s)
{
	utf8proc_int32_t c;
	for (size_t i = 0; i < s.n;) {
		if ((unsigned char)s.p[i] < 0x80) {
			i += ascii_run(s.p + i, s.n - i);
			continue;
		}
		utf8proc_ssize_t n = utf8proc_iterate(
			(const utf8proc_uint8_t *)s.p + i,
			(utf8proc_ssize_t)(s.n - i), &c);
		if (n < 1)
			return false;
		i += (size_t)n;
	}
	return true;
}

/* Letters and digits of a charset's name, so that hostile ones never reach
 * iconv's file look-up. */
static bool
clean_name(struct str charset, char name[NAME_MOST + 1])
{
	size_t n = 0;
	if (charset.n == 0 || charset.n > NAME_MOST)
		return false;
	for (; n < charset.n; n++) {
		char c = charset.p[n];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '-' || c == '_' ||
			c == '.' || c == ':';
		if (!ok)
			return false;
		name[n] = c;
	}
	name[n] = 0;
	return true;
}

/* Names for what needs no conversion, or which mailers get wrong. */
static const char *
known_name(const char *name)
{
	static const char *const aliases[][2] = {
		{"us-ascii", "WINDOWS-1252"}, {"ascii", "WINDOWS-1252"},
		{"iso-8859-1", "WINDOWS-1252"}, {"latin1", "WINDOWS-1252"},
		{"ks_c_5601-1987", "CP949"}, {"gb2312", "GB18030"},
		{"x-sjis", "SHIFT_JIS"}, {"unicode-1-1-utf-7", "UTF-7"},
		{"utf8", "UTF-8"},
	};
	for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
		if (str_eq_nocase(str_from(name), str_from(aliases[i][0])))
			return aliases[i][1];
	return name;
}

static iconv_t
open_charset(struct str charset)
{
	char name[NAME_MOST + 1];
	if (!clean_name(charset, name))
		return (iconv_t)-1;
	return iconv_open("UTF-8", known_name(name));
}

bool
charset_is_known(struct arena *a, struct str charset)
{
	(void)a;
	iconv_t cd = open_charset(charset);
	if (cd == (iconv_t)-1)
		return false;
	iconv_close(cd);
	return true;
}

/* Up to an unfinished character at the end, which is left in *text. */
static void
convert(iconv_t cd, struct str *text, struct buf *out)
{
	char *in = (char *)(uintptr_t)text->p;
	size_t in_left = text->n;
	while (in_left > 0) {
		size_t room = in_left * 2 + 16;
		char *to = buf_room(out, room), *start = to;
		size_t r = iconv(cd, &in, &in_left, &to, &room);
		buf_grew(out, (size_t)(to - start));
		if (r != (size_t)-1 || errno == E2BIG)
			continue;
		if (errno == EINVAL)
			break;
		buf_add(out, replacement);
		in++;
		in_left--;
		iconv(cd, NULL, NULL, NULL, NULL);
	}
	*text = str_of(in, in_left);
}

/* Some charsets keep a character back in case an accent follows. */
static void
convert_end(iconv_t cd, struct str rest, struct buf *out)
{
	size_t room = 16;
	char *to = buf_room(out, room), *start = to;
	iconv(cd, NULL, NULL, &to, &room);
	buf_grew(out, (size_t)(to - start));
	if (rest.n > 0)
		buf_add(out, replacement);
}

static void
repair(struct str text, struct buf *out)
{
	utf8proc_int32_t c;
	for (size_t i = 0; i < text.n;) {
		utf8proc_ssize_t n = utf8proc_iterate(
			(const utf8proc_uint8_t *)text.p + i,
			(utf8proc_ssize_t)(text.n - i), &c);
		if (n < 1) {
			buf_add(out, replacement);
			i++;
			continue;
		}
		buf_add(out, str_of(text.p + i, (size_t)n));
		i += (size_t)n;
	}
}

void
charset_to_utf8(struct arena *a, struct str charset, struct str text,
	struct buf *out)
{
	(void)a;
	bool utf8_name = str_eq_nocase(charset, STR("utf-8")) ||
		str_eq_nocase(charset, STR("utf8"));
	bool ascii_name = charset.n == 0 ||
		str_eq_nocase(charset, STR("us-ascii"));
	if ((utf8_name || ascii_name) && charset_is_utf8(text)) {
		buf_add(out, text);
		return;
	}
	if (utf8_name) {
		repair(text, out);
		return;
	}
	iconv_t cd = open_charset(charset);
	if (cd == (iconv_t)-1 && charset_is_utf8(text)) {
		buf_add(out, text);
		return;
	}
	if (cd == (iconv_t)-1)
		cd = iconv_open("UTF-8", "WINDOWS-1252");
	if (cd == (iconv_t)-1) {
		repair(text, out);
		return;
	}
	convert(cd, &text, out);
	convert_end(cd, text, out);
	iconv_close(cd);
}

/* -------------------------------------------------------------- streams */

/* No character of any charset, its shifts included, is longer. */
enum { HELD_MOST = 32 };

struct charset_stream {
	struct arena *arena;
	struct str charset;
	iconv_t converter; /* (iconv_t)-1: UTF-8 or a guess */
	char held[HELD_MOST];
	size_t held_count;
	struct buf *joined; /* what was held and the piece after it */
};

static void
close_converter(void *ctx)
{
	iconv_close(ctx);
}

struct charset_stream *
charset_open(struct arena *a, struct str charset)
{
	struct charset_stream *s = arena_one(a, struct charset_stream);
	bool ours = charset.n == 0 || str_eq_nocase(charset, STR("utf-8")) ||
		str_eq_nocase(charset, STR("utf8")) ||
		str_eq_nocase(charset, STR("us-ascii"));
	s->arena = a;
	s->charset = charset;
	s->joined = buf_new(a);
	s->converter = ours ? (iconv_t)-1 : open_charset(charset);
	if (s->converter != (iconv_t)-1)
		arena_hook(a, close_converter, s->converter);
	return s;
}

/* Octets of a UTF-8 character that is not all there. */
static size_t
unfinished(struct str s)
{
	for (size_t n = 1; n <= 3 && n <= s.n; n++) {
		unsigned char c = (unsigned char)s.p[s.n - n];
		if ((c & 0xc0) == 0x80)
			continue;
		size_t whole = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		return n < whole ? n : 0;
	}
	return 0;
}

void
charset_feed(struct charset_stream *s, struct str piece, struct buf *out)
{
	if (s->held_count > 0) {
		buf_clear(s->joined);
		buf_add(s->joined, str_of(s->held, s->held_count));
		buf_add(s->joined, piece);
		piece = buf_str(s->joined);
	}
	if (s->converter != (iconv_t)-1) {
		convert(s->converter, &piece, out);
	} else {
		size_t whole = piece.n - unfinished(piece);
		charset_to_utf8(s->arena, s->charset, str_head(piece, whole),
			out);
		piece = str_skip(piece, whole);
	}
	/* A converter that leaves more than a character is broken. */
	s->held_count = piece.n < HELD_MOST ? piece.n : HELD_MOST;
	if (s->held_count > 0)
		memcpy(s->held, piece.p, s->held_count);
}

void
charset_end(struct charset_stream *s, struct buf *out)
{
	if (s->converter != (iconv_t)-1)
		convert_end(s->converter, str_of(s->held, s->held_count), out);
	else if (s->held_count > 0)
		charset_to_utf8(s->arena, s->charset,
			str_of(s->held, s->held_count), out);
	s->held_count = 0;
}

/* -------------------------------------------------------------- folding */

/* Appends; a blank behind a blank is none. */
static void
fold_ascii(struct buf *out, struct str s)
{
	char *to = buf_room(out, s.n), *start = to;
	bool blank = out->n > 0 && out->p[out->n - 1] == ' ';
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ') {
			if (!blank)
				*to++ = ' ';
			blank = true;
			continue;
		}
		*to++ = char_upper((char)c);
		blank = false;
	}
	buf_grew(out, (size_t)(to - start));
}

/* What asking utf8proc gave is remembered of characters below TABLE; from
 * PLAIN to PLAIN_LAST characters are what they are. */
enum {
	TABLE = 0x3000,
	FOLDED_MOST = 7,
	PLAIN = 0x3400,
	PLAIN_LAST = 0x9fff,
	DECOMPOSED_MOST = 32, /* characters that one may become */
};

/* RFC 5051 2, step 2: the titlecase of the character, decomposed as far as it
 * goes. */
static struct str
fold_by_the_book(utf8proc_int32_t c, char to[DECOMPOSED_MOST * 4])
{
	utf8proc_int32_t parts[DECOMPOSED_MOST];
	int boundary = 0;
	size_t n = 0;
	utf8proc_ssize_t count = utf8proc_decompose_char(utf8proc_totitle(c),
		parts, DECOMPOSED_MOST, UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
		&boundary);
	for (utf8proc_ssize_t i = 0; i < count && i < DECOMPOSED_MOST; i++)
		n += (size_t)utf8proc_encode_char(
			parts[i], (utf8proc_uint8_t *)to + n);
	return str_of(to, n);
}

static struct str
fold_character(utf8proc_int32_t c, char to[DECOMPOSED_MOST * 4])
{
	static struct {
		unsigned char n;
		char text[FOLDED_MOST];
	} table[TABLE];
	if (c >= TABLE)
		return fold_by_the_book(c, to);
	if (table[c].n == 0) {
		struct str text = fold_by_the_book(c, to);
		if (text.n > FOLDED_MOST)
			return text;
		memcpy(table[c].text, text.p, text.n);
		table[c].n = (unsigned char)text.n;
	}
	return str_of(table[c].text, table[c].n);
}

/* One character beyond ASCII, or an octet that is none; its length. */
static size_t
fold_next(struct buf *out, struct str s)
{
	utf8proc_int32_t c;
	char to[DECOMPOSED_MOST * 4];
	utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s.p,
		(utf8proc_ssize_t)s.n, &c);
	if (n < 1 || (c >= PLAIN && c <= PLAIN_LAST)) {
		buf_add(out, str_head(s, n < 1 ? 1 : (size_t)n));
		return n < 1 ? 1 : (size_t)n;
	}
	struct str folded = fold_character(c, to);
	if (str_starts(folded, STR(" "))) {
		fold_ascii(out, str_head(folded, 1));
		folded = str_skip(folded, 1);
	}
	buf_add(out, folded);
	return (size_t)n;
}

static size_t
ascii_until(struct str s, size_t at)
{
	while (at < s.n && (unsigned char)s.p[at] < 0x80)
		at++;
	return at;
}

void
charset_fold(struct buf *out, struct str s)
{
	for (size_t at = 0; at < s.n;) {
		size_t end = ascii_until(s, at);
		fold_ascii(out, str_of(s.p + at, end - at));
		at = end;
		if (at < s.n)
			at += fold_next(out, str_skip(s, at));
	}
}

struct str
charset_nfc(struct arena *a, struct str s)
{
	utf8proc_uint8_t *composed = NULL;
	if (str_is_ascii(s))
		return s;
	utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s.p,
		(utf8proc_ssize_t)s.n, &composed,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	struct str out = n >= 0 ? str_copy(a, str_of(composed, (size_t)n)) : s;
	free(composed);
	return out;
}

struct str
charset_head(struct str s, size_t n)
{
	if (n >= s.n)
		return s;
	while (n > 0 && ((unsigned char)s.p[n] & 0xc0) == 0x80)
		n--;
	return str_head(s, n);
}

struct str
charset_head_chars(struct str s, size_t n)
{
	size_t at = 0, count = 0;
	for (; at < s.n; at++) {
		count += ((unsigned char)s.p[at] & 0xc0) != 0x80;
		if (count > n)
			break;
	}
	return str_head(s, at);
}
