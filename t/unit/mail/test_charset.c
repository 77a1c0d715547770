/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/charset.h"
#include "mail/encode.h"
#include "mail/text.h"

#include <stdlib.h>
#include <utf8proc.h>

#include <iconv.h>

static const char *const charsets[] = {"utf-8", "", "us-ascii", "koi8-r",
	"iso-8859-2", "shift_jis", "euc-jp", "iso-2022-jp", "gb18030", "big5",
	"utf-16", "utf-16be", "utf-7", "nosuch"};

/* "Grüße, 日本語, привет" as far as the charset has it. */
static struct str
in_charset(struct arena *a, const char *charset)
{
	static const char text[] = "Gr\xc3\xbc\xc3\x9f" "e\n"
		"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e "
		"\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 = end";
	char *out = arena_alloc(a, 1000), *to = out, *from = (char *)text;
	size_t left = sizeof text - 1, room = 1000;
	iconv_t cd = iconv_open(charset, "utf-8");
	if (cd == (iconv_t)-1)
		return STR("Gr\xfc\xdf" "e");
	while (left > 0 && iconv(cd, &from, &left, &to, &room) == (size_t)-1) {
		from++;
		left--;
	}
	iconv(cd, NULL, NULL, &to, &room);
	iconv_close(cd);
	return str_of(out, (size_t)(to - out));
}

/* However the text is cut, a stream gives what the whole gives. */
START_TEST(streams_of_any_cut)
{
	for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++) {
		struct arena *a = arena_new("test");
		struct str name = str_from(charsets[i]);
		struct str text = in_charset(a, charsets[i]);
		struct buf *whole = buf_new(a);
		charset_to_utf8(a, name, text, whole);
		for (size_t step = 1; step < 9; step++) {
			struct buf *out = buf_new(a);
			struct charset_stream *s = charset_open(a, name);
			for (size_t at = 0; at < text.n; at += step)
				charset_feed(s,
					str_head(str_skip(text, at), step),
					out);
			charset_end(s, out);
			ck_assert_msg(str_eq(buf_str(out), buf_str(whole)),
				"%s by %zu: %.*s is not %.*s", charsets[i],
				step, STR_ARG(buf_str(out)),
				STR_ARG(buf_str(whole)));
		}
		arena_free(a);
	}
}
END_TEST

START_TEST(what_is_cut_off_is_replaced)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct charset_stream *s = charset_open(a, STR("shift_jis"));
	charset_feed(s, STR("a\x93"), out);
	ck_assert_view(buf_str(out), "a");
	charset_end(s, out);
	ck_assert_view(buf_str(out), "a\xef\xbf\xbd");
	buf_clear(out);
	charset_to_utf8(a, STR("shift_jis"), STR("a\x93"), out);
	ck_assert_view(buf_str(out), "a\xef\xbf\xbd");
	arena_free(a);
}
END_TEST

/* Base64 cuts text anywhere: a character must not be lost between pieces. */
START_TEST(every_word_of_a_long_text_is_found)
{
	struct arena *a = arena_new("test");
	struct buf *text = buf_new(a), *m = buf_new(a);
	for (int i = 0; i < 9000; i++)
		buf_printf(text, "\xe6\x97\xa5%05d ", i);
	buf_adds(m, "Content-Type: text/plain; charset=utf-8\n"
		"Content-Transfer-Encoding: base64\n\n");
	base64_encode_lines(m, buf_str(text));
	struct mime_part *root = mime_parse(a, buf_str(m));
	for (int i = 0; i < 9000; i += 17)
		ck_assert(text_search(a, buf_str(m), root,
			str_printf(a, "\xe6\x97\xa5%05d", i), false));
	arena_free(a);
}
END_TEST

START_TEST(headers_of_messages_within)
{
	static const struct str m = STR_INIT("Subject: outer\n"
		"X-A: one\nX-B: two\n"
		"Content-Type: message/rfc822\n\nSubject: inner\n\nbody\n");
	static const struct {
		const char *needle;
		bool body, text;
	} rows[] = {{"INNER", true, true}, {"OUTER", false, true},
		{"BODY", true, true}, {"ONEX-B", false, false},
		{"X-B: TWO", false, true}};
	struct arena *a = arena_new("test");
	struct mime_part *root = mime_parse(a, m);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int text = 0; text < 2; text++)
			ck_assert_msg(text_search(a, m, root,
				str_from(rows[i].needle), text) ==
				(text ? rows[i].text : rows[i].body),
				"%s", rows[i].needle);
	arena_free(a);
}
END_TEST

START_TEST(heads)
{
	static const struct str s = STR_INIT("a\xc3\xa9\xe6\x97\xa5z");
	ck_assert_view(charset_head(s, 2), "a");
	ck_assert_view(charset_head(s, 3), "a\xc3\xa9");
	ck_assert_view(charset_head_chars(s, 0), "");
	ck_assert_view(charset_head_chars(s, 2), "a\xc3\xa9");
	ck_assert_view(charset_head_chars(s, 3), "a\xc3\xa9\xe6\x97\xa5");
	ck_assert_view(charset_head_chars(s, 9), "a\xc3\xa9\xe6\x97\xa5z");
}
END_TEST

/* What folding is: of each character its titlecase in normal form KD, which
 * has no order of its marks to think of. */
static void
fold_plainly(struct buf *out, struct str s)
{
	for (size_t at = 0; at < s.n;) {
		utf8proc_uint8_t title[4], *parts = NULL;
		utf8proc_int32_t c;
		utf8proc_ssize_t n = utf8proc_iterate(
			(const utf8proc_uint8_t *)s.p + at,
			(utf8proc_ssize_t)(s.n - at), &c);
		ck_assert_int_ge(n, 1);
		at += (size_t)n;
		n = utf8proc_encode_char(utf8proc_totitle(c), title);
		n = utf8proc_map(title, n, &parts, UTF8PROC_STABLE |
			UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
		ck_assert_int_ge(n, 0);
		for (utf8proc_ssize_t i = 0; i < n; i++)
			if (parts[i] > ' ' || out->n == 0 ||
				out->p[out->n - 1] != ' ')
				buf_addc(out, parts[i] <= ' '
					? ' ' : (char)parts[i]);
		free(parts);
	}
}

static unsigned
draw(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % below;
}

/* Characters of all kinds, many with marks behind them. */
static int32_t
draw_character(unsigned *seed)
{
	static const struct {
		int32_t first, count;
	} kinds[] = {{0x20, 0x5f}, {0x80, 0x280}, {0x300, 0x70},
		{0x370, 0x1c0}, {0x5d0, 0x100}, {0x900, 0x600},
		{0x1100, 0x100}, {0x1e00, 0x200}, {0x2000, 0xc00},
		{0x3000, 0x100}, {0xac00, 0x2ba4}, {0xf900, 0x700},
		{0x1f300, 0x800}, {0x300, 0x70}, {0x20, 0x5f}};
	unsigned k = draw(seed, sizeof kinds / sizeof *kinds);
	return kinds[k].first + (int32_t)draw(seed, (unsigned)kinds[k].count);
}

START_TEST(folding_in_pieces_is_folding)
{
	struct arena *a = arena_new("test");
	unsigned seed = 1;
	for (int i = 0; i < 60000; i++) {
		struct arena_mark m = arena_mark(a);
		struct buf *in = buf_new(a), *want = buf_new(a),
			   *got = buf_new(a);
		for (unsigned n = 1 + draw(&seed, 8); n > 0; n--)
			buf_grew(in, (size_t)utf8proc_encode_char(
				draw_character(&seed),
				(utf8proc_uint8_t *)buf_room(in, 4)));
		fold_plainly(want, buf_str(in));
		charset_fold(got, buf_str(in));
		ck_assert_msg(str_eq(buf_str(got), buf_str(want)), "%.*s",
			STR_ARG(buf_str(in)));
		arena_rewind(a, m);
	}
	arena_free(a);
}
END_TEST

START_TEST(every_character_is_folded_alone)
{
	struct arena *a = arena_new("test");
	for (int32_t c = 0x21; c < 0x20000; c++) {
		struct arena_mark m = arena_mark(a);
		char text[8];
		if (c >= 0xd800 && c < 0xe000)
			continue;
		size_t n = (size_t)utf8proc_encode_char(
			c, (utf8proc_uint8_t *)text);
		struct buf *want = buf_new(a), *got = buf_new(a);
		fold_plainly(want, str_of(text, n));
		charset_fold(got, str_of(text, n));
		ck_assert_msg(str_eq(buf_str(got), buf_str(want)), "%x",
			(unsigned)c);
		arena_rewind(a, m);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_charset(void)
{
	return SUITE("charset", folding_in_pieces_is_folding,
		every_character_is_folded_alone, streams_of_any_cut,
		what_is_cut_off_is_replaced,
		every_word_of_a_long_text_is_found, headers_of_messages_within,
		heads);
}
