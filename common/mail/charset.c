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

bool
charset_is_utf8(struct str s)
{
	utf8proc_int32_t c;
	for (size_t i = 0; i < s.n;) {
		if ((unsigned char)s.p[i] < 0x80) {
			i++;
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

static void
fold_ascii(struct buf *out, struct str s)
{
	char *to = buf_room(out, s.n), *start = to;
	bool blank = out->n == 0 || out->p[out->n - 1] == ' ';
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c <= ' ') {
			if (!blank)
				*to++ = ' ';
			blank = true;
			continue;
		}
		*to++ = char_lower((char)c);
		blank = false;
	}
	buf_grew(out, (size_t)(to - start));
}

/*
 * Folding and composing the general way costs a hundred nanoseconds a
 * character.  Most text needs neither: in these ranges a character begins
 * anew, that is, nothing before it composes with it, so that it can be folded
 * by itself when one that begins anew follows.  Below TABLE what that gives is
 * remembered, above it is the character.
 */
enum { TABLE = 0x3000, FOLDED_MOST = 7 };

static const struct {
	utf8proc_int32_t first, last;
} anew[] = {
	{0x00, 0x2ff},       /* Latin */
	{0x370, 0x482},      /* Greek, Cyrillic */
	{0x48a, 0x52f},
	{0x531, 0x58f},      /* Armenian */
	{0x5d0, 0x5ea},      /* Hebrew */
	{0x620, 0x64a},      /* Arabic */
	{0x1e00, 0x1eff},    /* Latin, with more marks */
	{0x2000, 0x206f},    /* punctuation */
	{0x20a0, 0x20bf},    /* currencies */
	{0x2100, 0x2bff},    /* letterlike, arrows, symbols */
	{0x3000, 0x3029},
	{0x3041, 0x3096},    /* kana */
	{0x30a1, 0x30fe},
	{0x4e00, 0x9fff},    /* Han */
	{0xac00, 0xd7a3},    /* Hangul */
	{0xfe00, 0xfe0f},    /* variants */
	{0x1f300, 0x1faff},  /* emoji */
};

static bool
begins_anew(utf8proc_int32_t c)
{
	size_t i = 0;
	if (c < 0x80)
		return c >= 0;
	while (i < sizeof anew / sizeof *anew && c > anew[i].last)
		i++;
	return i < sizeof anew / sizeof *anew && c >= anew[i].first;
}

static void
fold_generally(struct buf *out, struct str s)
{
	utf8proc_uint8_t *folded = NULL;
	utf8proc_ssize_t n = utf8proc_map(
		(const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &folded,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
	fold_ascii(out, n >= 0 ? str_of(folded, (size_t)n) : s);
	free(folded);
}

/* One character that begins anew, before one that does. */
static void
fold_alone(struct buf *out, utf8proc_int32_t c, struct str s)
{
	static struct {
		unsigned char n;
		char text[FOLDED_MOST];
	} table[TABLE];
	if (c >= TABLE) {
		buf_add(out, s);
		return;
	}
	if (table[c].n == 0) {
		size_t before = out->n;
		fold_generally(out, s);
		if (out->n - before > FOLDED_MOST)
			return;
		table[c].n = (unsigned char)(out->n - before);
		memcpy(table[c].text, out->p + before, table[c].n);
		return;
	}
	buf_add(out, str_of(table[c].text, table[c].n));
}

/* The octets of the next character; what is not UTF-8 is one each, and
 * negative. */
static size_t
next_character(struct str s, size_t at, utf8proc_int32_t *c)
{
	*c = (unsigned char)s.p[at];
	if (*c < 0x80)
		return 1;
	utf8proc_ssize_t n = utf8proc_iterate(
		(const utf8proc_uint8_t *)s.p + at,
		(utf8proc_ssize_t)(s.n - at), c);
	return n < 1 ? 1 : (size_t)n;
}

static size_t
ascii_until(struct str s, size_t at)
{
	while (at < s.n && (unsigned char)s.p[at] < 0x80)
		at++;
	return at;
}

/* From a character on, to the next that begins anew after one that does not. */
static size_t
general_until(struct str s, size_t at)
{
	utf8proc_int32_t c;
	at += next_character(s, at, &c);
	while (at < s.n) {
		size_t n = next_character(s, at, &c);
		if (begins_anew(c))
			break;
		at += n;
	}
	return at;
}

static struct str
stretch(struct str s, size_t from, size_t to)
{
	return str_of(s.p + from, to - from);
}

void
charset_fold(struct buf *out, struct str s)
{
	for (size_t at = 0, end; at < s.n; at = end) {
		utf8proc_int32_t c, after = 0;
		end = ascii_until(s, at);
		/* the last one may have a mark behind it */
		if (end < s.n && end > at + 1)
			end--;
		else if (end == at)
			end = at + next_character(s, at, &c);
		if (end < s.n)
			next_character(s, end, &after);
		next_character(s, at, &c);
		if (!begins_anew(c) || !begins_anew(after)) {
			end = general_until(s, at);
			fold_generally(out, stretch(s, at, end));
		} else if (c < 0x80) {
			fold_ascii(out, stretch(s, at, end));
		} else {
			fold_alone(out, c, stretch(s, at, end));
		}
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
