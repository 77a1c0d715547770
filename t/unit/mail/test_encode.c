/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/command.h"
#include "mail/encode.h"

START_TEST(base64_of_rfc_4648)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "Zg=="},
		{"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct buf *out = buf_new(a), *back = buf_new(a);
		base64_encode(out, str_from(rows[i][0]));
		ck_assert(str_eq(buf_str(out), str_from(rows[i][1])));
		ck_assert(base64_decode(back, buf_str(out)));
		ck_assert(str_eq(buf_str(back), str_from(rows[i][0])));
		arena_free(a);
	}
}
END_TEST

START_TEST(base64_strict_refuses)
{
	static const char *const rows[] = {"Z", "Zg", "Zg=", "Z===", "Zg==Zg==",
		"Zh==", "Zm9=", "Zm9v\n", " Zm9v", "Zm9-", "====", "Zg=A"};
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		ck_assert_msg(!base64_decode(out, str_from(rows[i])), "%s",
			rows[i]);
		ck_assert_uint_eq(out->n, 0);
	}
	arena_free(a);
}
END_TEST

START_TEST(every_octet_survives_every_coding)
{
	struct arena *a = arena_new("test");
	char all[512];
	for (int i = 0; i < 512; i++)
		all[i] = (char)(i * 37);
	for (size_t n = 0; n < sizeof all; n += 13) {
		struct buf *out = buf_new(a), *back = buf_new(a);
		struct base64_stream b = {0};
		struct str in = str_of(all, n);
		base64_encode_lines(out, in);
		for (size_t i = 0; i < out->n; i++)
			base64_feed(&b, str_of(out->p + i, 1), back);
		ck_assert(str_eq(buf_str(back), in));
		buf_clear(out);
		buf_clear(back);
		xtext_encode(out, in);
		ck_assert(xtext_decode(back, buf_str(out)));
		ck_assert(str_eq(buf_str(back), in));
		buf_clear(out);
		buf_clear(back);
		hex_encode(out, in);
		ck_assert(hex_decode(back, buf_str(out)));
		ck_assert(str_eq(buf_str(back), in));
		buf_clear(out);
		buf_clear(back);
		qp_encode(out, in, false);
		struct qp_stream q = {0};
		for (size_t i = 0; i < out->n; i++)
			qp_feed(&q, str_of(out->p + i, 1), back);
		qp_end(&q, back);
		ck_assert(str_eq(buf_str(back), in));
	}
	arena_free(a);
}
END_TEST

START_TEST(quoted_printable_text)
{
	static const char *const rows[][2] = {
		{"a=3Db\r\n", "a=b\r\n"},
		{"soft=\r\nbreak", "softbreak"},
		{"soft= \t\r\nbreak", "softbreak"},
		{"soft=\nbreak", "softbreak"},
		{"trailing   \r\nx", "trailing\r\nx"},
		{"lower=c3=a9", "lower\xc3\xa9"},
		{"bad=ZZ=", "bad=ZZ"},
		{"a = b", "a = b"},
		{"a = \t =41\r\n", "a = \t A\r\n"},
		{"a =\rb", "a =\rb"},
		{"a =  \r\n  b", "a   b"},
		{"=E2=82=AC", "\xe2\x82\xac"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct buf *out = buf_new(a);
		struct qp_stream q = {0};
		qp_feed(&q, str_from(rows[i][0]), out);
		qp_end(&q, out);
		ck_assert_msg(str_eq(buf_str(out), str_from(rows[i][1])),
			"%s: %.*s", rows[i][0], STR_ARG(buf_str(out)));
		arena_free(a);
	}
}
END_TEST

START_TEST(quoted_printable_lines_are_short_and_keep_text)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a), *back = buf_new(a);
	struct str text = STR("From here\r\n.\r\n trailing \r\n"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9\r\nlast");
	struct str rest, line;
	struct qp_stream q = {0};
	qp_encode(out, text, true);
	rest = buf_str(out);
	while (str_cut(&rest, '\n', &line)) {
		ck_assert_uint_le(line.n, 77);
		ck_assert(!str_starts(line, STR("From")));
		ck_assert(!str_starts(line, STR(".")));
	}
	qp_feed(&q, buf_str(out), back);
	qp_end(&q, back);
	ck_assert(str_eq(buf_str(back), text));
	arena_free(a);
}
END_TEST

/* RFC 3461 4.2, RFC 6533 3. */
START_TEST(original_recipients)
{
	static const struct {
		const char *address, *coded;
	} rows[] = {{"a+b=c@d.test", "rfc822;a+2Bb+3Dc@d.test"},
		{"j\xc3\xb6rg@d.test", "utf-8;j\\x{F6}rg@d.test"},
		{"j\xc3\xb6+\\=@d.test",
			"utf-8;j\\x{F6}\\x{2B}\\x{5C}\\x{3D}@d.test"},
		{"\xf0\x9f\x93\xa7@\xe4\xbe\x8b.test",
			"utf-8;\\x{1F4E7}@\\x{4F8B}.test"}};
	static const char *const bad[] = {"\\x{}", "\\x{F6", "\\x{D800}",
		"\\x{110000}", "\\x{GG}", "\\x{00000F6}"};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf *out = buf_new(a), *back = buf_new(a);
		struct str address = str_from(rows[i].address), type;
		orcpt_encode(out, address);
		ck_assert(str_eq(buf_str(out), str_from(rows[i].coded)));
		struct str rest = buf_str(out);
		ck_assert(str_cut(&rest, ';', &type));
		ck_assert(orcpt_decode(back, type, rest));
		ck_assert(str_eq(buf_str(back), address));
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!orcpt_decode(buf_new(a), STR("utf-8"),
			str_from(bad[i])), "%s", bad[i]);
	struct buf *ascii = buf_new(a);
	orcpt_to_ascii(ascii, STR("utf-8;j\xc3\xb6\\x{2B}rg@d.test"));
	ck_assert_view(buf_str(ascii), "utf-8;j\\x{F6}\\x{2B}rg@d.test");
	arena_free(a);
}
END_TEST

START_TEST(xtext_refuses)
{
	static const char *const rows[] = {"a=b", "a+", "a+4", "a+4G", "a b",
		"a\x80"};
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert(!xtext_decode(out, str_from(rows[i])));
	arena_free(a);
}
END_TEST

struct row {
	struct command command;
	int own;
};

START_TEST(commands)
{
	static const struct row rows[] = {
		{{STR_INIT("MAIL"), 1, 2, 0, 1, 0, ""}, 10},
		{{STR_INIT("RCPT"), 2, 2, 0, 0, 0, ""}, 20},
	};
	const struct row *r =
		command_find(rows, 2, sizeof *rows, STR("rcpt"));
	struct str rest;
	ck_assert_int_eq(r->own, 20);
	ck_assert_ptr_null(command_find(rows, 2, sizeof *rows, STR("RCP")));
	ck_assert_view(command_verb(STR("MAIL  FROM:<> "), &rest), "MAIL");
	ck_assert_view(rest, "FROM:<>");
	ck_assert_uint_eq(command_next(&rows[0].command, 1, COMMAND_DONE), 2);
	ck_assert_uint_eq(command_next(&rows[1].command, 2, COMMAND_FAILED), 2);
}
END_TEST

Suite *
suite_encode(void)
{
	return SUITE("encode", base64_of_rfc_4648, base64_strict_refuses,
		every_octet_survives_every_coding, quoted_printable_text,
		quoted_printable_lines_are_short_and_keep_text, xtext_refuses,
		original_recipients,
		commands);
}
