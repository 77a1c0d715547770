/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/arena.h"
#include "base/status.h"

#include <errno.h>

START_TEST(reply_codes)
{
	static const struct {
		int class, subject, detail, want;
	} rows[] = {{2, 0, 0, 250}, {2, 1, 5, 250}, {4, 3, 0, 451},
		{4, 3, 1, 452}, {4, 2, 1, 450}, {4, 5, 3, 452},
		{5, 1, 1, 550}, {5, 3, 4, 552}, {5, 7, 1, 550},
		{5, 4, 6, 554}, {5, 5, 2, 500}, {5, 7, 8, 535},
		{5, 1, 10, 556}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct status s = {.class = (enum status_class)rows[i].class,
			.subject = (uint16_t)rows[i].subject,
			.detail = (uint16_t)rows[i].detail};
		ck_assert_int_eq(status_reply_code(s), rows[i].want);
	}
	ck_assert_int_eq(status_reply_code(status_reply(
		STATUS(STATUS_NEVER, 7, 0, ""), 530)), 530);
}
END_TEST

START_TEST(text_form_round_trip)
{
	struct arena *a = arena_new("test");
	struct status s = status_reply(
		status_never(1, 1, STR("no such\nuser here")), 550), back;
	ck_assert(status_parse(status_format(a, s), &back));
	ck_assert_int_eq(back.class, STATUS_NEVER);
	ck_assert_int_eq(back.detail, 1);
	ck_assert_int_eq(back.reply, 550);
	ck_assert(str_eq(back.text, s.text));
	ck_assert_view(status_enhanced(a, s), "5.1.1");
	arena_free(a);
}
END_TEST

START_TEST(what_is_no_status)
{
	static const char *const bad[] = {"", "5.1.1", "5.1.1 -", "5.1 - x",
		"5.1.1.1 - x", "3.0.0 - x", "5.1000.0 - x", "5.1.1 600 x",
		"5.1.1 x y", "a.b.c - x"};
	struct status s;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!status_parse(str_from(bad[i]), &s) ||
			s.text.n == 0, "%s", bad[i]);
}
END_TEST

START_TEST(errno_is_later)
{
	struct arena *a = arena_new("test");
	struct status s = status_errno(a, "write", ENOSPC);
	ck_assert(status_is_later(s));
	ck_assert_int_eq(status_reply_code(s), 452);
	ck_assert_int_eq(status_reply_code(status_errno(a, "write", EIO)), 451);
	arena_free(a);
}
END_TEST

Suite *
suite_status(void)
{
	return SUITE("status", reply_codes, text_form_round_trip,
		what_is_no_status, errno_is_later);
}
