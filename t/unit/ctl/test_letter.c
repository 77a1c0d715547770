/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "ctl_suites.h"
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/header.h"

static struct letter
mould(struct arena *a)
{
	return (struct letter){.arena = a, .hostname = STR("mx.example.org"),
		.domain = STR("example.org"),
		.sender = STR("me@example.org")};
}

static struct str
rcpts(struct arena *a, const struct letter *l)
{
	return str_join(a, l->rcpts, STR(" "));
}

START_TEST(addresses)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} rows[] = {
		{"root", "root@example.org"},
		{"a@B.net", "a@b.net"},
		{"a@b.net, c@d.net", "a@b.net c@d.net"},
		{"a@b.net,a@b.net", "a@b.net"},
		{"Bob <bob@b.net>", "bob@b.net"},
		{"\"Doe, Jane\" <j@b.net>, x", "j@b.net x@example.org"},
		{"friends: a@b.net, root;, c@d.net",
			"a@b.net root@example.org c@d.net"},
		{"undisclosed-recipients:;", ""},
		{"\"a b\"@c.net", "\"a b\"@c.net"},
		{"", ""},
		{"a@b..c", NULL},
		{"a@b_\x01", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct letter l = mould(a);
		bool ok = letter_rcpts(&l, str_from(rows[i].text));
		struct str got = rcpts(a, &l);
		ck_assert_msg(ok == (rows[i].want != NULL), "%s: %.*s",
			rows[i].text, STR_ARG(got));
		if (ok)
			ck_assert_msg(str_eq(got, str_from(rows[i].want)),
				"%s: %.*s", rows[i].text, STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

/* Fields that change with time stand before what was given. */
START_TEST(messages)
{
	static const char full[] = "From: x@y\nDate: now\nMessage-ID: <1>\n";
	static const struct {
		const char *raw, *want; /* after the three fields */
	} rows[] = {
		{"\nhello\n", "\r\nhello\r\n"},
		{"\nhello", "\r\nhello\r\n"},
		{"Subject: x\n\nhello\n.\n", "Subject: x\r\n\r\nhello\r\n.\r\n"},
		{"Subject: x\r\n\r\nhello\r\n", "Subject: x\r\n\r\nhello\r\n"},
		{"Bcc: a@b\n c@d\nSubject: x\n\nhello\n",
			"Subject: x\r\n\r\nhello\r\n"},
		{"bcc : a@b\nSubject: x\n", "Subject: x\r\n\r\n"},
		{"Return-Path: <a@b>\nResent-Bcc: c@d\nTo: e\n\n",
			"To: e\r\n\r\n"},
		{"X: 1\nnot a field\n\nrest\n",
			"X: 1\r\n\r\nnot a field\r\n\r\nrest\r\n"},
		{"\none\rtwo\r\r\nthree\n", "\r\none\r\ntwo\r\n\r\nthree\r\n"},
		{"", "\r\n"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct letter l = mould(a);
		struct str raw = str_printf(a, "%s%s", full, rows[i].raw);
		ck_assert(letter_compose(&l, raw, false));
		struct str got = buf_str(l.content);
		size_t at = str_search(got, STR("<1>\r\n"));
		got = str_skip(got, at + 5);
		ck_assert_msg(str_eq(got, str_from(rows[i].want)),
			"row %zu: %.*s", i, STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

START_TEST(missing_fields_are_added)
{
	static const struct {
		const char *author, *from;
	} rows[] = {
		{"", "<me@example.org>"},
		{"Me Myself", "Me Myself <me@example.org>"},
		{"M. E.", "\"M. E.\" <me@example.org>"},
		{"a\"b\\", "\"a\\\"b\\\\\" <me@example.org>"},
		{"J\xc3\xb6rg", "=?UTF-8?B?SsO2cmc=?= <me@example.org>"},
		{"x\nBcc: y", NULL},
	};
	static const char *const names[] = {"From", "Date", "Message-ID"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct letter l = mould(a);
		struct str value;
		l.author = str_from(rows[i].author);
		ck_assert(letter_compose(&l, STR("hello\nyou\n"), false));
		struct str got = buf_str(l.content);
		for (size_t j = 0; j < 3; j++)
			ck_assert(header_find(got, str_from(names[j]),
				&value));
		ck_assert(!header_find(got, STR("Bcc"), &value));
		ck_assert(header_find(got, STR("From"), &value));
		if (rows[i].from != NULL)
			ck_assert_msg(str_eq_nocase(value,
				str_from(rows[i].from)), "%.*s",
				STR_ARG(value));
		ck_assert(str_ends(got, STR("\r\n\r\nhello\r\nyou\r\n")));
		arena_free(a);
	}
}
END_TEST

START_TEST(recipients_from_the_header)
{
	static const struct {
		const char *raw, *want; /* NULL: refused */
	} rows[] = {
		{"To: a@b\nCc: c@d,\n e\nBcc: f@g\n\nTo: no@no\n",
			"a@b c@d e@example.org f@g"},
		{"To: a@b\nTo: c@d\n", "a@b c@d"},
		{"To: a@b\nResent-To: c@d\nResent-Bcc: e@f\n", "c@d e@f"},
		{"Subject: x\n\n", ""},
		{"To: a@b..c\n", NULL},
		{"From me Mon Nov 23 2026\nTo: a@b\n\n", "a@b"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct letter l = mould(a);
		bool ok = letter_compose(&l, str_from(rows[i].raw), true);
		ck_assert_msg(ok == (rows[i].want != NULL), "%s", rows[i].raw);
		if (ok)
			ck_assert_msg(str_eq(rcpts(a, &l),
				str_from(rows[i].want)), "%.*s",
				STR_ARG(rcpts(a, &l)));
		arena_free(a);
	}
}
END_TEST

/* NUL inside, and a header without end, cost nothing but themselves. */
START_TEST(hostile_input)
{
	struct arena *a = arena_new("test");
	struct letter l = mould(a);
	struct buf *raw = buf_new(a);
	buf_add(raw, STR("Subject: a\0b\n\nx\0y\n"));
	ck_assert(letter_compose(&l, buf_str(raw), true));
	ck_assert(str_ends(buf_str(l.content), STR("a" "b\r\n\r\nxy\r\n")));
	buf_clear(raw);
	for (int i = 0; i < 200000; i++)
		buf_adds(raw, "To: \"(<a@b>\n ,,;\n");
	letter_compose(&l, buf_str(raw), true);
	arena_free(a);
}
END_TEST

Suite *
suite_letter(void)
{
	return SUITE("letter", addresses, messages, missing_fields_are_added,
		recipients_from_the_header, hostile_input);
}
