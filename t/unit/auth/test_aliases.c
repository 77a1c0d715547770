/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

static struct buf *errors;

static struct aliases *
parse(struct arena *a, const char *text)
{
	errors = buf_new(a);
	return aliases_parse(a, str_from(text), "aliases", errors);
}

static struct str
targets(struct arena *a, const struct aliases *x, const char *name)
{
	const struct str_list *l = aliases_find(x, str_from(name));
	return l == NULL ? STR("-") : str_join(a, *l, STR("|"));
}

START_TEST(aliases_5)
{
	struct arena *a = arena_new("test");
	struct aliases *x = parse(a, "# comment\n"
		"root: alice\n"
		"Sales : alice, bob@elsewhere.test,,\n"
		"\tcarol\n"
		"\n"
		"\"two words\": \"a, b\"@example.org, dave\n"
		"@example.org: \\alice\n"
		"x@example.net:y\n");
	ck_assert_msg(x != NULL, "%.*s", STR_ARG(buf_str(errors)));
	ck_assert_view(targets(a, x, "root"), "alice");
	ck_assert_view(targets(a, x, "SALES"),
		"alice|bob@elsewhere.test|carol");
	ck_assert_view(targets(a, x, "two words"), "\"a, b\"@example.org|dave");
	ck_assert_view(targets(a, x, "@example.org"), "\\alice");
	ck_assert_view(targets(a, x, "x@example.net"), "y");
	ck_assert_view(targets(a, x, "nobody"), "-");
	arena_free(a);
}
END_TEST

START_TEST(every_mistake_with_its_line)
{
	static const struct {
		const char *text, *complaint;
	} rows[] = {
		{"root alice\n", "aliases:1: a line is name:"},
		{"#\n: alice\n", "aliases:2: a line is name:"},
		{"\"open: alice\n", "aliases:1: a line is name:"},
		{"a: b\nroot:\n", "aliases:2: the alias has no target"},
		{"root: , ,\n", "aliases:1: the alias has no target"},
		{"root: |cat\n", "aliases:1: a command cannot"},
		{"root: \"|cat /etc/passwd\"\n", "aliases:1: a command cannot"},
		{"root: /var/mail/root\n", "aliases:1: a file cannot"},
		{"a: b\n\n\nA: c\n", "aliases:4: the alias stands here twice"},
		{"a: b,\n c,\n |d\nx\n", "aliases:1: a command cannot"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		ck_assert_msg(parse(a, rows[i].text) == NULL, "row %zu", i);
		ck_assert_msg(str_starts(buf_str(errors),
			str_from(rows[i].complaint)), "row %zu: %.*s", i,
			STR_ARG(buf_str(errors)));
		arena_free(a);
	}
	struct arena *a = arena_new("test");
	ck_assert_ptr_null(parse(a, "a: b,\n c,\n |d\nx\n"));
	ck_assert_msg(str_search(buf_str(errors), STR("\naliases:4: ")) <
		errors->n, "a line after a folded one keeps its number");
	arena_free(a);
}
END_TEST

Suite *
suite_aliases(void)
{
	return SUITE("aliases", aliases_5, every_mistake_with_its_line);
}
