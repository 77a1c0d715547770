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

static bool
is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

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

static void
convert(iconv_t cd, struct str text, struct buf *out)
{
	char *in = (char *)(uintptr_t)text.p;
	size_t in_left = text.n;
	while (in_left > 0) {
		size_t room = in_left * 2 + 16;
		char *to = buf_room(out, room), *start = to;
		size_t r = iconv(cd, &in, &in_left, &to, &room);
		buf_grew(out, (size_t)(to - start));
		if (r != (size_t)-1 || errno == E2BIG)
			continue;
		buf_add(out, replacement);
		in++;
		in_left--;
		iconv(cd, NULL, NULL, NULL, NULL);
	}
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
	convert(cd, text, out);
	iconv_close(cd);
}

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

void
charset_fold(struct buf *out, struct str s)
{
	utf8proc_uint8_t *folded = NULL;
	if (is_ascii(s)) {
		fold_ascii(out, s);
		return;
	}
	utf8proc_ssize_t n = utf8proc_map(
		(const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &folded,
		UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
	fold_ascii(out, n >= 0 ? str_of(folded, (size_t)n) : s);
	free(folded);
}

struct str
charset_nfc(struct arena *a, struct str s)
{
	utf8proc_uint8_t *composed = NULL;
	if (is_ascii(s))
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
