/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/convert.h"

static struct arena *arena;
static struct status status;

static struct str
convert(struct str message, unsigned avoid)
{
	struct buf *out = buf_new(arena);
	status = convert_message(arena, message, avoid, out);
	return buf_str(out);
}

static void
setup(void)
{
	arena = arena_new("test");
}

START_TEST(untouched)
{
	static const char *const rows[] = {"A: b\r\n\r\nhello\r\n",
		"A: b\r\n", "A: b\r\n\r\n", "\r\nno header\r\n",
		"no header at all\r\n", "A: b\r\nnot a field\r\nbody\r\n",
		"Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble"
		"\r\n--x\r\n\r\na\r\n--x\r\nContent-Type: message/rfc822\r\n"
		"\r\nS: t\r\n\r\nb\r\n--x--\r\nepilogue\r\n"};
	setup();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str got = convert(str_from(rows[i]),
			CONVERT_8BIT | CONVERT_LONG | CONVERT_BINARY);
		ck_assert(status_is_fine(status));
		ck_assert_msg(str_eq(got, str_from(rows[i])), "%.*s",
			STR_ARG(got));
	}
	arena_free(arena);
}
END_TEST

START_TEST(text)
{
	setup();
	struct str got = convert(STR("MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: 8bit\r\nX: y\r\n\r\n"
		"ein sch\xc3\xb6ner langer Tag = ein Fest\r\n"), CONVERT_8BIT);
	ck_assert_view(got, "MIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\nX: y\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		"ein sch=C3=B6ner langer Tag =3D ein Fest\r\n");
	arena_free(arena);
}
END_TEST

START_TEST(without_mime)
{
	setup();
	struct str got = convert(STR("A: b\r\n\r\nein sch\xc3\xb6ner langer "
		"Tag\r\n"), CONVERT_8BIT);
	ck_assert_view(got, "A: b\r\nMIME-Version: 1.0\r\nContent-Type: "
		"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
		"quoted-printable\r\n\r\nein sch=C3=B6ner langer Tag\r\n");
	got = convert(STR("A: b\r\n\r\nein sch\xf6ner langer Tag\r\n"),
		CONVERT_8BIT);
	ck_assert(str_search(got, STR("charset=unknown-8bit")) < got.n);
	arena_free(arena);
}
END_TEST

START_TEST(parts)
{
	setup();
	struct str got = convert(STR("Content-Type: multipart/mixed; "
		"boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
		"pr\xc3\xa4\r\n--x\r\n\r\nplain\r\n--x\r\n"
		"Content-Type: application/x\r\n\r\n\xff\xfe\r\n--x\r\n"
		"Content-Type: message/rfc822\r\n"
		"content-transfer-encoding: 8bit\r\n\r\n"
		"Subject: \xc3\xa4\r\n\r\nd\xc3\xa4mmerung ist es\r\n"
		"--x--\r\n"), CONVERT_8BIT);
	ck_assert_view(got, "Content-Type: multipart/mixed; boundary=x\r\n"
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
		"pr??\r\n--x\r\n\r\nplain\r\n--x\r\n"
		"Content-Type: application/x\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n//4=\r\n\r\n--x\r\n"
		"Content-Type: message/rfc822\r\n"
		"Content-Transfer-Encoding: 7bit\r\n\r\n"
		"Subject: =?utf-8?B?w6Q=?=\r\nMIME-Version: 1.0\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		"d=C3=A4mmerung ist es\r\n--x--\r\n");
	arena_free(arena);
}
END_TEST

/* RFC 6532 3.5: a report on a message in UTF-8, for who knows 7 bits. */
START_TEST(global)
{
	setup();
	struct str got = convert(STR("Content-Type: multipart/report; "
		"boundary=x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--x\r\n"
		"Content-Type: message/global-delivery-status\r\n\r\n"
		"Final-Recipient: utf-8;\xc3\xa4@b.test\r\n--x\r\n"
		"Content-Type: message/global\r\n"
		"Content-Transfer-Encoding: 8bit\r\n\r\n"
		"From: \xc3\xa4@b.test\r\n"
		"Content-Type: multipart/mixed; boundary=y\r\n\r\n"
		"--y\r\n\r\nd\xc3\xa4mmerung\r\n--y--\r\n--x\r\n\r\nend\r\n"
		"--x--\r\n"), CONVERT_8BIT);
	ck_assert(status_is_fine(status));
	ck_assert_view(got, "Content-Type: multipart/report; boundary=x\r\n"
		"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
		"--x\r\nContent-Type: message/global-delivery-status\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		"=46inal-Recipient: utf-8;=C3=A4@b.test\r\n--x\r\n"
		"Content-Type: message/global\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\n"
		"RnJvbTogw6RAYi50ZXN0DQpDb250ZW50LVR5cGU6IG11bHRpcGFydC9taXhl"
		"ZDsgYm91bmRhcnk9\r\n"
		"eQ0KDQotLXkNCg0KZMOkbW1lcnVuZw0KLS15LS0=\r\n\r\n--x\r\n\r\n"
		"end\r\n--x--\r\n");
	/* One that needs nothing stays as it is. */
	got = convert(STR("Content-Type: message/global\r\n\r\n"
		"From: a@b.test\r\n\r\nx\r\n"), CONVERT_8BIT);
	ck_assert_view(got, "Content-Type: message/global\r\n\r\n"
		"From: a@b.test\r\n\r\nx\r\n");
	arena_free(arena);
}
END_TEST

START_TEST(encoded_already_but_badly)
{
	setup();
	struct str got = convert(STR("Content-Type: text/plain\r\n"
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
		"=C3=A4 and raw \xc3\xa4 in a line of some length\r\n"),
		CONVERT_8BIT);
	ck_assert(str_ends(got, STR("Content-Transfer-Encoding: "
		"quoted-printable\r\n\r\n=C3=A4 and raw =C3=A4 in a line of "
		"some length\r\n")));
	arena_free(arena);
}
END_TEST

START_TEST(long_lines)
{
	setup();
	struct buf *in = buf_new(arena);
	buf_adds(in, "A: ");
	for (int i = 0; i < 400; i++)
		buf_adds(in, "word ");
	buf_adds(in, "\r\n\r\n");
	for (int i = 0; i < 999; i++)
		buf_addc(in, 'x');
	buf_adds(in, "\r\n");
	struct str got = convert(buf_str(in), CONVERT_LONG), rest = got, line;
	ck_assert(status_is_fine(status));
	while (str_cut(&rest, '\n', &line))
		ck_assert_uint_le(line.n, 999);
	ck_assert(str_search(got, STR("quoted-printable")) < got.n);
	/* 998 is allowed. */
	buf_clear(in);
	buf_adds(in, "A: b\r\n\r\n");
	for (int i = 0; i < 998; i++)
		buf_addc(in, 'x');
	buf_adds(in, "\r\n");
	ck_assert(str_eq(convert(buf_str(in), CONVERT_LONG), buf_str(in)));
	arena_free(arena);
}
END_TEST

START_TEST(binary)
{
	setup();
	struct str got = convert(STR("Content-Type: text/plain\r\n"
		"Content-Transfer-Encoding: binary\r\n\r\na\nb\0c\r\n"),
		CONVERT_BINARY);
	ck_assert_view(got, "Content-Type: text/plain\r\n"
		"MIME-Version: 1.0\r\n"
		"Content-Transfer-Encoding: base64\r\n\r\nYQpiAGMNCg==\r\n");
	arena_free(arena);
}
END_TEST

START_TEST(what_cannot_be)
{
	static const struct {
		struct str message;
		int detail;
	} rows[] = {
		{STR_INIT("From: \xc3\xa4 <a@b>\r\n\r\nx\r\n"), 3},
		{STR_INIT("Content-Type: multipart/signed; boundary=x\r\n\r\n"
			"--x\r\n\r\n\xc3\xa4\r\n--x--\r\n"), 3},
		{STR_INIT("Content-Type: multipart/signed; boundary=x\r\n\r\n"
			"--x\r\nContent-Description: \xc3\xa4\r\n\r\nx\r\n"
			"--x--\r\n"), 3},
		{STR_INIT("Content-Type: message/partial\r\n\r\n\xc3\xa4\r\n"),
			3},
		{STR_INIT("Content-Type: text/plain\r\n"
			"Content-Transfer-Encoding: x-uuencode\r\n\r\n"
			"\xc3\xa4\r\n"), 3},
	};
	setup();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		convert(rows[i].message, CONVERT_8BIT);
		ck_assert_msg(status.class == STATUS_NEVER, "row %zu", i);
		ck_assert_int_eq(status.subject, 6);
		ck_assert_int_eq(status.detail, rows[i].detail);
	}
	arena_free(arena);
}
END_TEST

Suite *
suite_convert(void)
{
	return SUITE("convert", untouched, text, without_mime, parts, global,
		encoded_already_but_badly, long_lines, binary, what_cannot_be);
}
