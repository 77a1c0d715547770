/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/flags.h"
#include "base/arena.h"
#include "base/buf.h"

struct row {
	const char *text;    /* arguments */
	const char *printed; /* NULL: refused */
};

static const struct row rows[] = {
	{"", ""},
	{"\\Seen \\ANSWERED", "\\Answered \\Seen"},
	{"\\flagged \\Deleted \\Draft", "\\Flagged \\Deleted \\Draft"},
	{"$forwarded", "$Forwarded"},
	{"$Junk \\Seen work", "\\Seen $Junk work"},
	{"\\Recent", ""},
	{"\\Foo", NULL},
	{"\\*", NULL},
	{"a]b", NULL},
	{"a%", NULL},
	{"\"quoted\"", NULL},
	{"(\\Seen)", NULL},
};

static bool
parse(struct arena *a, const char *text, bool recent, struct flags *f,
	const char **why)
{
	static const struct parse_limits limits = {
		.args = 1000, .depth = 5, .octets = 50, .swallow = 1000};
	struct script script = {0};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	parse_begin(&p, a, &source, &limits, str_from(text));
	ck_assert_msg(parse_args(&p, &args), "%s", text);
	return flags_parse(a, args, recent, f, why);
}

START_TEST(there_and_back)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct flags f;
		const char *why;
		bool ok = parse(a, rows[i].text, true, &f, &why);
		ck_assert_msg(ok == (rows[i].printed != NULL), "%s",
			rows[i].text);
		if (!ok)
			continue;
		struct buf *out = buf_new(a);
		flags_print(out, f.bits, str_join(a, f.keywords, STR(" ")),
			false);
		ck_assert_str_eq(str_cstr(a, buf_str(out)), rows[i].printed);
	}
	arena_free(a);
}
END_TEST

START_TEST(recent_is_nobodys_to_set)
{
	struct arena *a = arena_new("test");
	struct flags f;
	const char *why;
	ck_assert(!parse(a, "\\Recent", false, &f, &why));
	struct buf *out = buf_new(a);
	flags_print(out, FLAG_SEEN, STR("x"), true);
	ck_assert_str_eq(str_cstr(a, buf_str(out)), "\\Seen \\Recent x");
	arena_free(a);
}
END_TEST

START_TEST(keywords_are_bounded)
{
	struct arena *a = arena_new("test");
	struct buf *text = buf_new(a);
	struct flags f;
	const char *why;
	for (int i = 0; i < FLAGS_KEYWORDS_MOST; i++)
		buf_printf(text, "k%d ", i);
	ck_assert(parse(a, str_cstr(a, buf_str(text)), false, &f, &why));
	ck_assert_uint_eq(f.keywords.n, FLAGS_KEYWORDS_MOST);
	buf_adds(text, "more");
	ck_assert(!parse(a, str_cstr(a, buf_str(text)), false, &f, &why));
	buf_clear(text);
	for (int i = 0; i <= FLAGS_KEYWORD_MOST; i++)
		buf_addc(text, 'x');
	ck_assert(!parse(a, str_cstr(a, buf_str(text)), false, &f, &why));
	arena_free(a);
}
END_TEST

Suite *
suite_flags(void)
{
	return SUITE("flags", there_and_back, recent_is_nobodys_to_set,
		keywords_are_bounded);
}
