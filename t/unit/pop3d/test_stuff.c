/* SPDX-License-Identifier: ISC */
/* RFC 1939 3 and 7: what a file becomes on the wire, in pieces of any size. */
#include "suites.h"
#include "pop3d/stuff.h"
#include "pop3d_suites.h"
#include "base/arena.h"

static const struct {
	const char *disk, *wire;
} whole[] = {
	{"", ".\r\n"},
	{"a", "a\r\n.\r\n"},
	{"a\n", "a\r\n.\r\n"},
	{"a\r\n", "a\r\n.\r\n"},
	{"\n", "\r\n.\r\n"},
	{"\r\n", "\r\n.\r\n"},
	{"\n\n\n", "\r\n\r\n\r\n.\r\n"},
	{".", "..\r\n.\r\n"},
	{".\n", "..\r\n.\r\n"},
	{".\r\n.\r\n", "..\r\n..\r\n.\r\n"},
	{"\n.\n..\n", "\r\n..\r\n...\r\n.\r\n"},
	{"a.\n.b", "a.\r\n..b\r\n.\r\n"},
	/* A CR of its own ends no line and stays what it is. */
	{"a\r.b\n", "a\r.b\r\n.\r\n"},
	{"a\r", "a\r\r\n.\r\n"},
	{"a\r\r\n.", "a\r\r\n..\r\n.\r\n"},
	{"\r", "\r\r\n.\r\n"},
};

static const struct {
	const char *disk;
	uint64_t lines;
	const char *wire;
} top[] = {
	{"H: 1\n\nb1\nb2\n", 0, "H: 1\r\n\r\n.\r\n"},
	{"H: 1\n\nb1\nb2\n", 1, "H: 1\r\n\r\nb1\r\n.\r\n"},
	{"H: 1\n\nb1\nb2\n", 2, "H: 1\r\n\r\nb1\r\nb2\r\n.\r\n"},
	{"H: 1\n\nb1\nb2\n", UINT64_MAX, "H: 1\r\n\r\nb1\r\nb2\r\n.\r\n"},
	{"H: 1\r\n\r\nb1\r\n", 0, "H: 1\r\n\r\n.\r\n"},
	{"H: 1\r\n\r\n\r\nb2\r\n", 1, "H: 1\r\n\r\n\r\n.\r\n"},
	{"H: 1\n\n.b\n", 1, "H: 1\r\n\r\n..b\r\n.\r\n"},
	{"H: 1\n\nb", 1, "H: 1\r\n\r\nb\r\n.\r\n"},
	{"H: 1\n", 1, "H: 1\r\n\r\n.\r\n"},
	{"H: 1", 1, "H: 1\r\n\r\n.\r\n"},
	{"", 1, "\r\n.\r\n"},
	{"\nb1\nb2", 1, "\r\nb1\r\n.\r\n"},
	/* A CR alone does not end the header. */
	{"\r\r\nH: 1\n\nb", 0, "\r\r\nH: 1\r\n\r\n.\r\n"},
	{"a\r\n\nb", 0, "a\r\n\r\n.\r\n"},
};

static void
feed(struct stuff *w, const char *disk, size_t piece, struct buf *out)
{
	struct str rest = str_from(disk);
	for (; rest.n > 0; rest = str_skip(rest, piece))
		stuff_feed(w, str_head(rest, piece), out);
	stuff_end(w, out);
}

START_TEST(whole_messages)
{
	struct arena *a = arena_new("test");
	for (size_t piece = 1; piece < 20; piece++) {
		struct stuff w;
		struct buf *out = buf_new(a);
		stuff_start(&w);
		feed(&w, whole[_i].disk, piece, out);
		ck_assert_msg(str_eq(buf_str(out), str_from(whole[_i].wire)),
			"%zu: %.*s", piece, STR_ARG(buf_str(out)));
	}
	arena_free(a);
}
END_TEST

START_TEST(tops)
{
	struct arena *a = arena_new("test");
	for (size_t piece = 1; piece < 20; piece++) {
		struct stuff w;
		struct buf *out = buf_new(a);
		stuff_top(&w, top[_i].lines);
		feed(&w, top[_i].disk, piece, out);
		ck_assert_msg(str_eq(buf_str(out), str_from(top[_i].wire)),
			"%zu: %.*s", piece, STR_ARG(buf_str(out)));
	}
	arena_free(a);
}
END_TEST

Suite *
suite_stuff(void)
{
	Suite *s = suite_create("stuff");
	TCase *c = tcase_create("stuff");
	tcase_add_loop_test(
		c, whole_messages, 0, sizeof whole / sizeof *whole);
	tcase_add_loop_test(c, tops, 0, sizeof top / sizeof *top);
	suite_add_tcase(s, c);
	return s;
}
