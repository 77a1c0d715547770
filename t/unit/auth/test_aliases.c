/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

#include <stdio.h>
#include <unistd.h>

static struct buf *errors;

static struct aliases *
parse(struct arena *a, const char *text)
{
	errors = buf_new(a);
	return aliases_parse(a, str_from(text), "aliases", false, errors);
}

static struct str
targets(struct arena *a, const struct aliases *x, const char *name)
{
	const struct alias *l = aliases_find(x, str_from(name));
	return l == NULL ? STR("-") : str_join(a, l->targets, STR("|"));
}

START_TEST(aliases_5)
{
	struct arena *a = arena_new("test");
	struct aliases *x = parse(a, "# comment\n"
		"root: alice\n"
		"Sales : alice, bob@elsewhere.test,,\n"
		"  # within an entry\n"
		"# at its left edge\n"
		"\n"
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

START_TEST(includes)
{
	struct arena *a = arena_new("test");
	const char *inner = test_file(a, "dave\n");
	const char *list = test_file(a, str_cstr(a, str_printf(a,
		"# members\nbob, carol@elsewhere.test\n\n:include:%s\n",
		inner)));
	struct aliases *x = parse(a, str_cstr(a, str_printf(a,
		"list: alice, :include:%s\nquoted: \":include:%s\"\n", list,
		inner)));
	ck_assert_msg(x != NULL, "%.*s", STR_ARG(buf_str(errors)));
	ck_assert_view(targets(a, x, "list"),
		"alice|bob|carol@elsewhere.test|dave");
	ck_assert_view(targets(a, x, "quoted"), "dave");
	ck_assert(!aliases_changed(x));
	FILE *f = fopen(inner, "a");
	fputs("erin\n", f);
	fclose(f);
	ck_assert(aliases_changed(x));
	unlink(list);
	unlink(inner);
	/* mistakes in it are told with its own line */
	list = test_file(a, "bob\n|cat\n");
	ck_assert_ptr_null(parse(a, str_cstr(a, str_printf(a,
		"list: :include:%s\n", list))));
	ck_assert(str_search(buf_str(errors), str_printf(a, "%s:2: a command",
		list)) < errors->n);
	unlink(list);
	ck_assert_ptr_null(parse(a, "list: :include:/no/such/file\n"));
	ck_assert(str_search(buf_str(errors),
		STR("aliases:1: the included file cannot")) < errors->n);
	ck_assert_ptr_null(parse(a, "list: :fail: no\n"));
	ck_assert_ptr_null(parse(a, "list: :include:relative\n"));
	arena_free(a);
}
END_TEST

/* Where they may be, in the file itself alone. */
START_TEST(commands)
{
	struct arena *a = arena_new("test");
	const char *list = test_file(a, "\"|cat\"\n");
	struct buf *e = buf_new(a);
	struct aliases *x = aliases_parse(a, STR("a: |cat\n"
		"b: bob, \"| /bin/x \\\"1, 2\\\"\"\n"), "aliases", true, e);
	ck_assert_ptr_nonnull(x);
	ck_assert_view(targets(a, x, "a"), "|cat");
	ck_assert_view(targets(a, x, "b"), "bob||/bin/x \"1, 2\"");
	ck_assert_ptr_null(aliases_parse(a, STR("a: \"|\"\n"), "aliases",
		true, e));
	ck_assert_ptr_null(aliases_parse(a, STR("a: \"|x\n"), "aliases",
		true, e));
	ck_assert_ptr_null(aliases_parse(a, str_printf(a, "a: :include:%s\n",
		list), "aliases", true, e));
	struct str_list l;
	ck_assert(!aliases_targets(a, STR("alice, |cat"), &l));
	unlink(list);
	arena_free(a);
}
END_TEST

/* One that includes itself ends. */
START_TEST(include_loop)
{
	struct arena *a = arena_new("test");
	const char *list = test_file(a, "");
	FILE *f = fopen(list, "w");
	fprintf(f, ":include:%s\n", list);
	fclose(f);
	ck_assert_ptr_null(parse(a, str_cstr(a, str_printf(a,
		"list: :include:%s\n", list))));
	unlink(list);
	arena_free(a);
}
END_TEST

Suite *
suite_aliases(void)
{
	return SUITE("aliases", aliases_5, every_mistake_with_its_line,
		includes, include_loop, commands);
}
