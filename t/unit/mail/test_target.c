/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/target.h"

START_TEST(targets)
{
	struct str rest = STR(" a , \"b, c\"@x , |d \"e, f\" g,\"|h \\\", i\",,");
	ck_assert_view(target_take(&rest), "a");
	ck_assert_view(target_take(&rest), "\"b, c\"@x");
	ck_assert_view(target_take(&rest), "|d \"e, f\" g");
	ck_assert_view(target_take(&rest), "\"|h \\\", i\"");
	ck_assert_view(target_take(&rest), "");
	ck_assert_uint_eq(rest.n, 0);
}
END_TEST

START_TEST(commands)
{
	static const struct {
		const char *text, *want; /* NULL: none */
	} rows[] = {
		{"|cat", "|cat"}, {"| cat  -n ", "|cat  -n"},
		{"\"|cat -n\"", "|cat -n"}, {"\"| cat\"", "|cat"},
		{"\"|sh -c \\\"a; b\\\"\"", "|sh -c \"a; b\""},
		{"\"|a\\\\b\"", "|a\\b"},
		{"|", NULL}, {"|  ", NULL}, {"\"|\"", NULL}, {"\"|a", NULL},
		{"\"|a\" b", NULL}, {"\"|a\\\"", NULL}, {"|a\tb", NULL},
		{"|a\x7f", NULL}, {"cat", NULL}, {"\"cat\"", NULL}, {"", NULL},
		{"\"\\|cat\"", NULL},
	};
	struct arena *a = arena_new("test");
	struct str out;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str text = str_from(rows[i].text);
		bool ok = target_command(a, text, &out);
		ck_assert_msg(ok == (rows[i].want != NULL), "row %zu", i);
		if (ok)
			ck_assert_msg(target_is_command(text) && str_eq(out,
				str_from(rows[i].want)), "row %zu: %.*s", i,
				STR_ARG(out));
	}
	char *longest = arena_alloc(a, TARGET_COMMAND_MOST + 2);
	memset(longest, 'x', TARGET_COMMAND_MOST + 2);
	longest[0] = '|';
	ck_assert(target_command(
		a, str_of(longest, TARGET_COMMAND_MOST + 1), &out));
	ck_assert(!target_command(
		a, str_of(longest, TARGET_COMMAND_MOST + 2), &out));
	arena_free(a);
}
END_TEST

START_TEST(entries)
{
	struct arena *a = arena_new("test");
	struct str text = STR("# no\na: b,\n c\n\n\"D e\" : f\n\tg\nbad\n"), e,
		name;
	int line, next = 1;
	ck_assert(target_entry(a, &text, &e, &line, &next));
	ck_assert_int_eq(line, 2);
	ck_assert(target_name(a, &e, &name));
	ck_assert_view(name, "a");
	ck_assert_view(e, " b, c");
	ck_assert(target_entry(a, &text, &e, &line, &next));
	ck_assert_int_eq(line, 5);
	ck_assert(target_name(a, &e, &name));
	ck_assert_view(name, "d e");
	ck_assert(target_entry(a, &text, &e, &line, &next));
	ck_assert_int_eq(line, 7);
	ck_assert(!target_name(a, &e, &name));
	ck_assert(!target_entry(a, &text, &e, &line, &next));
	arena_free(a);
}
END_TEST

Suite *
suite_target(void)
{
	return SUITE("target", targets, commands, entries);
}
