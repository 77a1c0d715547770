/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/date.h"

static const struct {
	const char *text, *normal; /* NULL: not a date */
} dates[] = {
	{"Mon, 23 Nov 2026 17:00:00 +0000", "Mon, 23 Nov 2026 17:00:00 +0000"},
	{"23 nov 2026 17:00 -0330", "Mon, 23 Nov 2026 17:00:00 -0330"},
	{"Tue, 1 Jan 70 00:00:00 GMT", "Thu, 1 Jan 1970 00:00:00 +0000"},
	{"Fri, 21 Nov 97 09:55:06 -0600", "Fri, 21 Nov 1997 09:55:06 -0600"},
	{"1 Jan 104 00:00:00 EST", "Thu, 1 Jan 2004 00:00:00 -0500"},
	{"Sat(x), 29 (c) Feb 2020 23:59:60 (y) +0700 (WIB)",
		"Sun, 1 Mar 2020 00:00:00 +0700"},
	{"Mon Nov 23 17:00:00 2026", "Mon, 23 Nov 2026 17:00:00 +0000"},
	{"1 Jan 1900 00:00:00 Z", "Mon, 1 Jan 1900 00:00:00 +0000"},
	{"31 Dec 9999 23:59:59 +0000", "Fri, 31 Dec 9999 23:59:59 +0000"},
	{"19 Jan 2038 03:14:08 +0000", "Tue, 19 Jan 2038 03:14:08 +0000"},
	{"29 Feb 2021 00:00:00 +0000", NULL},
	{"32 Jan 2021 00:00:00 +0000", NULL},
	{"1 Foo 2021 00:00:00 +0000", NULL},
	{"1 Jan 2021 25:00:00 +0000", NULL},
	{"1 Jan 99999 00:00:00 +0000", NULL},
	{"", NULL},
	{"yesterday", NULL},
	{"(((((", NULL},
};

START_TEST(dates_of_messages)
{
	for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
		struct arena *a = arena_new("test");
		struct date d;
		bool ok = date_parse(str_from(dates[i].text), &d);
		ck_assert_msg(ok == (dates[i].normal != NULL), "%s",
			dates[i].text);
		if (ok) {
			struct str text = date_format(a, d);
			ck_assert_msg(str_eq(text, str_from(dates[i].normal)),
				"%s: %.*s", dates[i].text, STR_ARG(text));
		}
		arena_free(a);
	}
}
END_TEST

START_TEST(imap_dates)
{
	struct arena *a = arena_new("test");
	struct date d;
	int64_t day;
	ck_assert(date_parse_imap(STR(" 1-Feb-2020 01:02:03 -0530"), &d));
	ck_assert_int_eq(d.seconds, date_from_day(2020, 2, 1) + 3723 + 19800);
	ck_assert_view(date_format_imap(a, d), " 1-Feb-2020 01:02:03 -0530");
	ck_assert(date_parse_imap(STR("01-feb-2020 01:02:03 +0000"), &d));
	ck_assert(!date_parse_imap(STR("1-Feb-2020 01:02:03 +0000"), &d));
	ck_assert(!date_parse_imap(STR("31-Feb-2020 01:02:03 +0000"), &d));
	ck_assert(!date_parse_imap(STR(" 1-Feb-2020 01:02:03  0000"), &d));
	ck_assert(!date_parse_imap(STR(" 1-Feb-2020 01:02:03 +00x0"), &d));
	ck_assert(!date_parse_imap(STR(" 1-Feb-2020 01:02:03 +2400"), &d));
	ck_assert(date_parse_day(STR("1-Jan-1970"), &day));
	ck_assert_int_eq(day, 0);
	ck_assert(!date_parse_day(STR("1-Jan-70"), &day));
	ck_assert(!date_parse_day(STR("1-Jan-1970-"), &day));
	arena_free(a);
}
END_TEST

START_TEST(every_day_there_and_back)
{
	int64_t last = date_from_day(1899, 12, 31);
	for (int64_t t = last + 86400; t < date_from_day(2110, 1, 1);
		t += 86400) {
		struct date_parts p = date_split((struct date){t, 0});
		ck_assert_int_eq(date_from_day(p.year, p.month, p.day), t);
		ck_assert_int_eq(((t / 86400 % 7) + 11) % 7, p.weekday);
	}
}
END_TEST

Suite *
suite_date(void)
{
	return SUITE("date", dates_of_messages, imap_dates,
		every_day_there_and_back);
}
