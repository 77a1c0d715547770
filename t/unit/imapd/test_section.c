/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/section.h"
#include "base/arena.h"
#include "base/buf.h"

struct row {
	struct str text;
	const char *label; /* NULL: refused */
	size_t left;       /* arguments that follow */
};

static const struct row rows[] = {
	{STR_INIT(" BODY[]\r\n"), "BODY[]"},
	{STR_INIT(" body.peek[text]<0.100> FLAGS\r\n"), "BODY[TEXT]<0>", 1},
	{STR_INIT(" BODY[1.2.3]<4294967295.1>\r\n"), "BODY[1.2.3]<4294967295>"},
	{STR_INIT(" BODY[1.MIME] UID FLAGS\r\n"), "BODY[1.MIME]", 2},
	{STR_INIT(" BODY[2.1.HEADER.FIELDS.NOT (A {2}\r\nB ) ]<10.20>\r\n"),
		NULL},
	{STR_INIT(" BODY[2.1.HEADER.FIELDS.NOT (A {2}\r\nB )]<10.20> UID\r\n"),
		"BODY[2.1.HEADER.FIELDS.NOT (A \"B \")]<10>", 1},
	{STR_INIT(" BODY[HEADER.FIELDS (from \"NIL\")]\r\n"),
		"BODY[HEADER.FIELDS (from \"NIL\")]"},
	{STR_INIT(" BODY[HEADER]\r\n"), "BODY[HEADER]"},
	{STR_INIT(" BINARY[]\r\n"), "BINARY[]"},
	{STR_INIT(" binary.peek[1.2]<3.4> UID\r\n"), "BINARY[1.2]<3>", 1},
	{STR_INIT(" BINARY.SIZE[2]\r\n"), "BINARY.SIZE[2]"},
	{STR_INIT(" BINARY.SIZE[2]<0.1>\r\n"), NULL},
	{STR_INIT(" BINARY[1.MIME]\r\n"), NULL},
	{STR_INIT(" BINARY[TEXT]\r\n"), NULL},
	{STR_INIT(" BODY[MIME]\r\n"), NULL},
	{STR_INIT(" BODY[0]\r\n"), NULL},
	{STR_INIT(" BODY[1.0.MIME]\r\n"), NULL},
	{STR_INIT(" BODY[1.FOO]\r\n"), NULL},
	{STR_INIT(" BODY[4294967296]\r\n"), NULL},
	{STR_INIT(" BODY[TEXT\r\n"), NULL},
	{STR_INIT(" BODY[TEXT]x\r\n"), NULL},
	{STR_INIT(" BODY[TEXT]<1>\r\n"), NULL},
	{STR_INIT(" BODY[TEXT]<1.0>\r\n"), NULL},
	{STR_INIT(" BODY[TEXT]<1.2\r\n"), NULL},
	{STR_INIT(" BODY[TEXT]<\r\n"), NULL},
	{STR_INIT(" BODY[HEADER.FIELDS ()]\r\n"), NULL},
	{STR_INIT(" BODY[HEADER.FIELDS (A)\r\n"), NULL},
	{STR_INIT(" BODY[HEADER.FIELDS]\r\n"), NULL},
	{STR_INIT(" BODY[HEADER.FIELDS ((A))]\r\n"), NULL},
};

static void
check_row(struct arena *a, const struct row *row)
{
	static const struct parse_limits limits = {
		.args = 100, .depth = 5, .octets = 50};
	struct script script = {.rest = row->text};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	struct str line;
	struct section s;
	const char *why;
	ck_assert(script_line(&script, &line));
	parse_begin(&p, a, &source, &limits, line);
	ck_assert(parse_args(&p, &args));
	const struct arg *at = args;
	bool fine = section_parse(a, &at, &s, &why);
	ck_assert_msg(
		fine == (row->label != NULL), "\"%.*s\"", STR_ARG(row->text));
	ck_assert(fine == (why == NULL));
	if (!fine)
		return;
	struct buf *out = buf_new(a);
	section_print(&s, out);
	ck_assert_str_eq(str_cstr(a, buf_str(out)), row->label);
	ck_assert_uint_eq(arg_count(at), row->left);
}

START_TEST(sections)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_row(a, &rows[i]);
	arena_free(a);
}
END_TEST

START_TEST(depth_is_bounded)
{
	struct arena *a = arena_new("test");
	struct buf *text = buf_new(a);
	struct section s;
	const char *why;
	buf_adds(text, "BODY[1");
	for (size_t i = 1; i < SECTION_DEPTH + 1; i++)
		buf_adds(text, ".1");
	buf_adds(text, "]");
	struct arg arg = {.kind = ARG_ATOM, .text = buf_str(text)};
	const struct arg *at = &arg;
	ck_assert(!section_parse(a, &at, &s, &why) && why != NULL);
	arena_free(a);
}
END_TEST

START_TEST(other_items_are_left_alone)
{
	struct arena *a = arena_new("test");
	struct arg arg = {.kind = ARG_ATOM, .text = STR("BODYSTRUCTURE")};
	const struct arg *at = &arg;
	struct section s;
	const char *why;
	ck_assert(!section_parse(a, &at, &s, &why));
	ck_assert(why == NULL && at == &arg);
	arena_free(a);
}
END_TEST

Suite *
suite_section(void)
{
	return SUITE("section", sections, depth_is_bounded,
		other_items_are_left_alone);
}
