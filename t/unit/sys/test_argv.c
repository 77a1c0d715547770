/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "sys/argv.h"

START_TEST(lines)
{
	static const struct {
		const char *text;
		size_t count; /* 0: refused */
		bool together;
	} rows[] = {
		{"a b /c", 1, false}, {"a b /c d e", 3, false},
		{"a b /c 'd e'", 2, false}, {"a b /c ''", 2, false},
		{"a b /c {sender} x{recipient}y{domain}", 3, false},
		{"a b /c -r {recipients}", 3, true},
		{"", 0, false}, {"a", 0, false}, {"a b", 0, false},
		{"a b c", 0, false}, {"a/b c /d", 0, false},
		{"a b {sender}", 0, false}, {"a b /c{sender}", 0, false},
		{"a b /c {", 0, false}, {"a b /c }", 0, false},
		{"a b /c {}", 0, false}, {"a b /c {nobody}", 0, false},
		{"a b /c x{recipients}", 0, false}, {"a b /c 'd", 0, false},
		{"a b /c d'e'", 0, false}, {"a b /c 'd'e", 0, false},
		{"a b /c \x01", 0, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct argv c;
		bool ok = argv_parse(str_from(rows[i].text), &c);
		ck_assert_msg(ok == (rows[i].count > 0), "row %zu", i);
		ck_assert(argv_is_good(str_from(rows[i].text)) == ok);
		if (ok)
			ck_assert_msg(c.count == rows[i].count &&
				c.together == rows[i].together, "row %zu", i);
	}
}
END_TEST

START_TEST(too_many_words)
{
	char text[512] = "a b /c";
	struct argv c;
	for (int i = 1; i < ARGV_MOST; i++)
		strcat(text, " d");
	ck_assert(argv_parse(str_from(text), &c));
	strcat(text, " d");
	ck_assert(!argv_parse(str_from(text), &c));
}
END_TEST

static struct str
filled(struct arena *a, const char *line, const struct argv_values *v)
{
	struct argv c;
	ck_assert(argv_parse(str_from(line), &c));
	char **argv = argv_fill(a, &c, v);
	struct str all = STR("");
	if (argv == NULL)
		return STR("refused");
	for (; *argv != NULL; argv++)
		all = str_printf(a, "%.*s[%s]", STR_ARG(all), *argv);
	return all;
}

START_TEST(values)
{
	struct arena *a = arena_new("test");
	struct str to[] = {STR_INIT("x@y"), STR_INIT("z@y")};
	struct argv_values v = {.sender = STR("s@t"), .recipient = to[0],
		.user = STR("x"), .recipients = {to, 2}};
	ck_assert_view(filled(a, "n u /p {sender} '{user} b' -o{user}", &v),
		"[/p][s@t][x b][-ox]");
	ck_assert_view(filled(a, "n u /p {recipients} .", &v),
		"[/p][x@y][z@y][.]");
	ck_assert_view(filled(a, "n u /p {extension}", &v), "[/p][]");
	/* nothing in a value is looked at again */
	v.user = STR("{sender} '; id");
	ck_assert_view(filled(a, "n u /p {user}", &v), "[/p][{sender} '; id]");
	/* and none becomes an option */
	v.user = STR("-rf");
	ck_assert_view(filled(a, "n u /p {user}", &v), "refused");
	ck_assert_view(filled(a, "n u /p {extension}{user}", &v), "refused");
	ck_assert_view(filled(a, "n u /p x{user}", &v), "[/p][x-rf]");
	v.user = STR("a\nb");
	ck_assert_view(filled(a, "n u /p x{user}", &v), "refused");
	to[1] = STR("-z@y");
	ck_assert_view(filled(a, "n u /p {recipients}", &v), "refused");
	to[1] = STR("a\0b");
	ck_assert_view(filled(a, "n u /p {recipients}", &v), "refused");
	arena_free(a);
}
END_TEST

START_TEST(by_name)
{
	struct str both[] = {STR_INIT("a u /1"), STR_INIT("b u /2")};
	struct argv c;
	ck_assert(argv_find((struct str_list){both, 2}, STR("b"), &c));
	ck_assert_view(c.words[0], "/2");
	ck_assert(!argv_find((struct str_list){both, 2}, STR("c"), &c));
}
END_TEST

Suite *
suite_argv(void)
{
	return SUITE("argv", lines, too_many_words, values, by_name);
}
