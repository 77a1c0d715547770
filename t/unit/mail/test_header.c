/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/header.h"

#include <time.h>

START_TEST(fields_with_any_line_end)
{
	struct str m = STR("A: 1\r\nB : 2\n\tfolded\r\n more\nC:\r\n\r\nbody");
	struct header_field f;
	struct arena *a = arena_new("test");
	ck_assert(header_next(&m, &f));
	ck_assert_view(f.name, "A");
	ck_assert(header_next(&m, &f));
	ck_assert_view(f.name, "B");
	ck_assert_view(header_unfold(a, f.value), "2\tfolded more");
	ck_assert(header_next(&m, &f));
	ck_assert_view(f.value, "");
	ck_assert(!header_next(&m, &f));
	ck_assert_view(m, "body");
	arena_free(a);
}
END_TEST

START_TEST(where_the_header_ends)
{
	static const struct {
		const char *text;
		size_t length;
	} rows[] = {{"", 0}, {"\r\nbody", 2}, {"\nbody", 1}, {"A: b", 4},
		{"A: b\r\n", 6}, {"A: b\r\n\r\nx", 8}, {"no header\r\n", 0},
		{"A: b\nnot a field\nC: d\n", 5}, {" begins blank\n", 0},
		{": no name\n", 0}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(header_length(str_from(rows[i].text)) ==
			rows[i].length, "%s", rows[i].text);
}
END_TEST

/* Of an mbox's line nothing remains, of another everything. */
START_TEST(where_the_fields_begin)
{
	static const struct {
		const char *text;
		size_t passed;
	} rows[] = {{"From a Thu\nA: b\n", 11}, {">From a\r\nA : b", 9},
		{"From a: b\nA: b\n", 10}, {"From a\n\nA: b\n", 0},
		{"From a\nno field\n", 0}, {"From a", 0}, {"From: a\nA: b\n", 0},
		{"A: b\nFrom c\nD: e\n", 0}, {"", 0},
		{"From a\nFrom b\nC: d\n", 0}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str text = str_from(rows[i].text);
		ck_assert_msg(text.n - header_begin(text).n == rows[i].passed,
			"%s", rows[i].text);
	}
}
END_TEST

/* name|route|mailbox|host, - for NIL, ; between */
static struct str
shown(struct arena *a, struct header_addresses list)
{
	struct buf *out = buf_new(a);
	for (size_t i = 0; i < list.n; i++) {
		struct str parts[] = {list.v[i].name, list.v[i].route,
			list.v[i].mailbox, list.v[i].host};
		if (i > 0)
			buf_addc(out, ';');
		for (int k = 0; k < 4; k++) {
			if (k > 0)
				buf_addc(out, '|');
			buf_add(out, parts[k].p == NULL ? STR("-") : parts[k]);
		}
	}
	return buf_str(out);
}

START_TEST(address_lists)
{
	static const char *const rows[][2] = {
		{"a@b", "-|-|a|b"},
		{"Jane Doe <jane@x.org>", "Jane Doe|-|jane|x.org"},
		{"\"Doe, Jane\" <jane@x>, b@y", "Doe, Jane|-|jane|x;-|-|b|y"},
		{"jane@x (Jane Doe)", "Jane Doe|-|jane|x"},
		{"<jane@x>", "-|-|jane|x"},
		{"=?utf-8?q?J?= <j@x>", "=?utf-8?q?J?=|-|j|x"},
		{"<@a,@b:j@x>", "-|@a,@b|j|x"},
		{"friends: a@b, c@d;, e@f",
			"-|-|friends|-;-|-|a|b;-|-|c|d;-|-|-|-;-|-|e|f"},
		{"undisclosed-recipients:;",
			"-|-|undisclosed-recipients|-;-|-|-|-"},
		{"John . Doe @ x . org", "-|-|John.Doe|x.org"},
		{"\"a b\"@x", "-|-|a b|x"},
		{"a@[192.0.2.1]", "-|-|a|[192.0.2.1]"},
		{"root", "-|-|root|-"},
		{"", ""},
		{",,,", ""},
		{"<>", ""},
		{"\"unterminated <a@b>", "-|-|unterminated <a@b>|-"},
		{"(unterminated", ""},
		{"a@b, (comment) , c@d", "-|-|a|b;-|-|c|d"},
		{"J. R. Doe <j@x>", "J. R. Doe|-|j|x"},
		{"a (x (nested) \\) y) @b", "x (nested) ) y|-|a|b"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct str got = shown(
			a, header_parse_addresses(a, str_from(rows[i][0])));
		if (got.p == NULL)
			got = STR("");
		ck_assert_msg(str_eq(got, str_from(rows[i][1])), "%s: %.*s",
			rows[i][0], STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

START_TEST(message_ids)
{
	struct arena *a = arena_new("test");
	struct str_list l = header_message_ids(
		a, STR("<a@b> junk <c\r\n @d><> <unclosed"));
	ck_assert_uint_eq(l.n, 2);
	ck_assert_view(l.v[0], "a@b");
	ck_assert_view(l.v[1], "c@d");
	arena_free(a);
}
END_TEST

/* Our own, however many others want the machine. */
static int64_t
cpu_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Twice the input may cost at most a little more than twice the time. */
static int64_t
cost(const char *unit, size_t count)
{
	struct arena *a = arena_new("test");
	arena_limit(a, (size_t)1 << 30);
	struct buf *in = buf_new(a);
	for (size_t i = 0; i < count; i++)
		buf_adds(in, unit);
	int64_t best = INT64_MAX;
	for (int i = 0; i < 3; i++) {
		struct arena_mark m = arena_mark(a);
		int64_t start = cpu_us();
		header_parse_addresses(a, buf_str(in));
		int64_t took = cpu_us() - start;
		best = took < best ? took : best;
		arena_rewind(a, m);
	}
	arena_free(a);
	return best;
}

START_TEST(hostile_lists_are_linear)
{
	static const char *const units[] = {"(", "()", "\"\"", "\"", "a.", "a@b.",
		"<@", "a:", ";", "a@b,", "\\", "((a)", "[", "[]"};
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		int64_t small = cost(units[i], 20000);
		int64_t large = cost(units[i], 160000);
		ck_assert_msg(large < 30 * (small + 500), "%s: %lld us, "
			"eight times: %lld us", units[i], (long long)small,
			(long long)large);
	}
}
END_TEST

Suite *
suite_header(void)
{
	return SUITE("header", fields_with_any_line_end, where_the_header_ends,
		where_the_fields_begin,
		address_lists, message_ids, hostile_lists_are_linear);
}
