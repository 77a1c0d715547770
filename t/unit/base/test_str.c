/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/arena.h"
#include "base/clock.h"

START_TEST(compare)
{
	ck_assert(str_eq(STR("a\0b"), STR("a\0b")));
	ck_assert(!str_eq(STR("a\0b"), STR("a\0c")));
	ck_assert(str_eq((struct str){NULL, 0}, STR("")));
	ck_assert(str_eq_nocase(STR("INBOX"), STR("inBox")));
	/* '[' and '{' differ by the case bit but are no letters. */
	ck_assert(!str_eq_nocase(STR("["), STR("{")));
	ck_assert_int_lt(str_cmp(STR("a"), STR("ab")), 0);
	ck_assert_int_gt(str_cmp(STR("\xff"), STR("a")), 0);
	ck_assert(str_ends(STR("x.eml"), STR(".eml")));
	ck_assert(str_is_ascii(STR("")) && str_is_ascii(STR("a\0\x7f")));
	ck_assert(!str_is_ascii(STR("a\x80")));
	ck_assert(!str_starts(STR("ab"), STR("abc")));
	ck_assert(str_eq_secret(STR("key"), STR("key")));
	ck_assert(!str_eq_secret(STR("key"), STR("kez")));
	ck_assert(!str_eq_secret(STR("key"), STR("ke")));
}
END_TEST

START_TEST(find)
{
	ck_assert_uint_eq(str_find(STR("abcb"), 'b'), 1);
	ck_assert_uint_eq(str_find_last(STR("abcb"), 'b'), 3);
	ck_assert_uint_eq(str_find(STR("abc"), 'x'), 3);
	ck_assert_uint_eq(str_search(STR("hello"), STR("llo")), 2);
	ck_assert_uint_eq(str_search(STR("hello"), STR("")), 0);
	ck_assert_uint_eq(str_search(STR(""), STR("x")), 0);
	ck_assert(str_has(STR("a\0"), 0));
}
END_TEST

START_TEST(cut_yields_every_piece)
{
	struct str s = STR("a,,b,"), piece;
	const char *want[] = {"a", "", "b", ""};
	size_t n = 0;
	while (str_cut(&s, ',', &piece)) {
		ck_assert_uint_lt(n, 4);
		ck_assert(str_eq(piece, str_from(want[n++])));
	}
	ck_assert_uint_eq(n, 4);
}
END_TEST

START_TEST(words)
{
	struct str s = STR("  MAIL\t FROM:<a> "), w;
	ck_assert(str_word(&s, &w));
	ck_assert_view(w, "MAIL");
	ck_assert(str_word(&s, &w));
	ck_assert_view(w, "FROM:<a>");
	ck_assert(!str_word(&s, &w));
	ck_assert_view(str_trim(STR(" \r\n x \t")), "x");
	ck_assert_view(str_trim(STR(" ")), "");
}
END_TEST

START_TEST(numbers)
{
	uint64_t n = 7;
	ck_assert(!str_number(STR(""), 10, &n));
	ck_assert(!str_number(STR("-1"), 10, &n));
	ck_assert(!str_number(STR("1 "), 10, &n));
	ck_assert(!str_number(STR("11"), 10, &n));
	ck_assert(!str_number(STR("18446744073709551616"), UINT64_MAX, &n));
	ck_assert_uint_eq(n, 7);
	ck_assert(str_number(STR("18446744073709551615"), UINT64_MAX, &n));
	ck_assert_uint_eq(n, UINT64_MAX);
}
END_TEST

START_TEST(copies)
{
	struct arena *a = arena_new("test");
	struct str v[] = {STR("a"), STR(""), STR("b")};
	struct str_list list = {v, 3};
	ck_assert_view(str_join(a, list, STR(", ")), "a, , b");
	ck_assert_view(str_lower(a, STR("ÀBc")), "Àbc");
	ck_assert_str_eq(str_cstr(a, str_head(STR("abcd"), 2)), "ab");
	ck_assert_view(str_printf(a, "%d-%s", 3, "x"), "3-x");
	arena_free(a);
}
END_TEST

START_TEST(durations)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} rows[] = {{"90", 90}, {"90s", 90}, {"5m", 300}, {"4h", 14400},
		{"5d", 432000}, {"2w", 1209600}, {"", -1}, {"m", -1},
		{"5x", -1}, {"-5m", -1}, {"5 m", -1}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t got = -1;
		clock_parse_duration(str_from(rows[i].text), &got);
		ck_assert_int_eq(got, rows[i].seconds);
	}
}
END_TEST

START_TEST(deadlines)
{
	ck_assert_int_eq(clock_left(CLOCK_FOREVER), -1);
	ck_assert_int_eq(clock_left(0), 0);
	int left = clock_left(clock_in(5000));
	ck_assert_int_gt(left, 4000);
	ck_assert_int_le(left, 5000);
}
END_TEST

Suite *
suite_str(void)
{
	return SUITE("str", compare, find, cut_yields_every_piece, words,
		numbers, copies, durations, deadlines);
}
