/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/mbox.h"

static struct str
written(struct arena *a, const char *message)
{
	struct buf *b = buf_new(a);
	mbox_message(b, str_from(message));
	return buf_str(b);
}

START_TEST(from_lines)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	mbox_from_line(b, STR("a@b"), 1795818666);
	ck_assert_view(buf_str(b), "From a@b Fri Nov 27 22:31:06 2026\n");
	buf_clear(b);
	mbox_from_line(b, STR(""), 951782400);
	ck_assert_view(buf_str(b),
		"From MAILER-DAEMON Tue Feb 29 00:00:00 2000\n");
	buf_clear(b);
	mbox_from_line(b, STR("\"a b\n\"@c"), 0);
	ck_assert_view(buf_str(b), "From \"a_b_\"@c Thu Jan  1 00:00:00 1970\n");
	arena_free(a);
}
END_TEST

/* Reversible: one > is taken off where one was put. */
START_TEST(quoting)
{
	struct arena *a = arena_new("test");
	ck_assert_view(written(a, "A: b\n\nFrom x\n>From y\n>>From z\n"
		" From w\nfrom v\nFrom: u\nFromx\n"),
		"A: b\n\n>From x\n>>From y\n>>>From z\n From w\nfrom v\n"
		"From: u\nFromx\n\n");
	ck_assert_view(written(a, "A: b\n\nno end"), "A: b\n\nno end\n\n");
	ck_assert_view(written(a, ""), "\n");
	ck_assert_view(written(a, "From here\nA: b\n\nx\n"),
		">From here\nA: b\n\nx\n\n");
	arena_free(a);
}
END_TEST

START_TEST(what_readers_write)
{
	struct arena *a = arena_new("test");
	ck_assert_view(written(a, "A: b\nStatus: RO\nX-STATUS: D\n\tfolded\n"
		"Content-Length : 1000000\nX-IMAPbase: 1 2\nB: c\n d\n\n"
		"Status: in the body\n"),
		"A: b\nB: c\n d\n\nStatus: in the body\n\n");
	arena_free(a);
}
END_TEST

Suite *
suite_mbox(void)
{
	return SUITE("mbox", from_lines, quoting, what_readers_write);
}
