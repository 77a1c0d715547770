/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "base/arena.h"
#include "base/buf.h"

bool
script_line(void *ctx, struct str *line)
{
	struct script *s = ctx;
	size_t end = str_search(s->rest, STR("\r\n"));
	if (end == s->rest.n)
		return false;
	*line = str_head(s->rest, end);
	s->rest = str_skip(s->rest, end + 2);
	return true;
}

static bool
script_literal(void *ctx, const struct literal *l, char *to)
{
	struct script *s = ctx;
	s->continuations += l->sync;
	if (l->size > s->rest.n)
		return false;
	memcpy(to, s->rest.p, l->size);
	s->rest = str_skip(s->rest, l->size);
	return true;
}

static bool
script_skip(void *ctx, uint64_t n)
{
	struct script *s = ctx;
	s->skipped += n;
	if (n > s->rest.n)
		return false;
	s->rest = str_skip(s->rest, n);
	return true;
}

struct parse_source
script_source(struct script *s)
{
	return (struct parse_source){
		script_line, script_literal, script_skip, s};
}

static const struct parse_limits limits = {
	.args = 100, .depth = 5, .octets = 50, .swallow = 1000};

/* a: atom, q: quoted, l: literal, b: literal8; + marks glued. */
static void
print(const struct arg *arg, struct buf *out)
{
	for (; arg != NULL; arg = arg->next) {
		if (arg->glued)
			buf_addc(out, '+');
		if (arg->kind == ARG_LIST) {
			buf_addc(out, '(');
			print(arg->first, out);
			buf_addc(out, ')');
		} else {
			buf_addc(out, "aqlb"[arg->kind]);
			buf_addc(out, '<');
			buf_add(out, arg->text);
			buf_addc(out, '>');
		}
	}
}

/* text: the whole command after its name; rest: what is left unread. */
struct row {
	struct str text;
	const char *tree; /* NULL: refused */
	const char *error;
	const char *rest; /* after draining */
};

static const struct row rows[] = {
	{STR_INIT("\r\n"), ""},
	{STR_INIT(" a b\r\nnext\r\n"), "a<a>a<b>", NULL, "next\r\n"},
	{STR_INIT(" 1:*  (\\Seen $x)  \r\n"), "a<1:*>(a<\\Seen>a<$x>)"},
	{STR_INIT(" \"a \\\"b\\\\\" \"\"\r\n"), "q<a \"b\\>q<>"},
	{STR_INIT(" {3}\r\na\r\n {0+}\r\n x\r\n"), "l<a\r\n>l<>a<x>"},
	{STR_INIT(" ~{2}\r\n\0z\r\n"), "b<\0z>"},
	{STR_INIT(" ~foo a]b %x*\r\n"), "a<~foo>a<a]b>a<%x*>"},
	{STR_INIT(" BODY[HEADER.FIELDS (A {1}\r\nB)]<0.9>\r\n"),
		"a<BODY[HEADER.FIELDS>(a<A>l<B>)+a<]<0.9>>"},
	{STR_INIT(" (((((a)))))\r\n"), "(((((a<a>)))))"},
	{STR_INIT(" ()(a)\r\n"), "()+(a<a>)"},
	{STR_INIT(" ((((((a))))))\r\n"), NULL, "Too many parentheses"},
	{STR_INIT(" (a\r\n"), NULL, "Missing )"},
	{STR_INIT(" a)\r\n"), NULL, "Unexpected )"},
	{STR_INIT(" \"a\r\n"), NULL, "String without closing quote"},
	{STR_INIT(" \"a\\\"\r\n"), NULL, "String without closing quote"},
	{STR_INIT(" \"\\a\"\r\n"), NULL, "Unknown escape in string"},
	{STR_INIT(" \"a\"b\r\n"), NULL, "Space expected"},
	{STR_INIT(" a\"b\"\r\n"), NULL, "Space expected"},
	{STR_INIT(" \"a\0\"\r\n"), NULL, "Control character in string"},
	{STR_INIT(" a\1\r\n"), NULL, "Control character in command"},
	{STR_INIT(" {1+}\r\n\0\r\nx\r\n"), NULL, "NUL in literal", "x\r\n"},
	{STR_INIT(" {a}\r\n"), NULL, "Malformed literal"},
	{STR_INIT(" a{3}\r\nx\r\n"), NULL, "Malformed literal", "x\r\n"},
	/* The octets of a refused literal are no commands. */
	{STR_INIT(" {60+}\r\n"
		  "a "
		  "LOGOUT\r\n23456789012345678901234567890123456789012345678901"
		  "\r\nnext\r\n"),
		NULL, "Literal too large", "next\r\n"},
	{STR_INIT(" a) {2+}\r\nxx {3+}\r\nabc y\r\nnext\r\n"), NULL,
		"Unexpected )", "next\r\n"},
	{STR_INIT(" {60}\r\nnext\r\n"), NULL, "Literal too large", "next\r\n"},
	{STR_INIT(" a{4+}\r\na NO\r\nnext\r\n"), NULL, "Malformed literal",
		"next\r\n"},
	{STR_INIT(" \"a {4+}\r\na NO\r\nnext\r\n"), NULL,
		"String without closing quote", "next\r\n"},
	{STR_INIT(" {5}\r\nab"), NULL, "connection lost"},
};

static void
check_row(struct arena *a, const struct row *row)
{
	struct script script = {.rest = row->text};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	struct str line;
	ck_assert(script_line(&script, &line));
	parse_begin(&p, a, &source, &limits, line);
	bool fine = parse_args(&p, &args);
	ck_assert_msg(fine == (row->tree != NULL), "\"%.*s\": %s",
		STR_ARG(row->text), p.error == NULL ? "taken" : p.error);
	if (fine) {
		struct buf *out = buf_new(a);
		print(args, out);
		/* A NUL in the text ends the comparison on both sides. */
		ck_assert_str_eq(str_cstr(a, buf_str(out)), row->tree);
	} else {
		ck_assert_str_eq(p.error, row->error);
		parse_drain(&p);
	}
	if (row->rest != NULL)
		ck_assert_str_eq(str_cstr(a, script.rest), row->rest);
}

START_TEST(trees)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_row(a, &rows[i]);
	arena_free(a);
}
END_TEST

START_TEST(one_by_one)
{
	struct arena *a = arena_new("test");
	struct script script = {
		.rest = STR(" Sent (\\Seen) {5}\r\nhello)\r\n")};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *arg;
	struct str line;
	struct literal l;
	ck_assert(script_line(&script, &line));
	parse_begin(&p, a, &source, &limits, line);
	ck_assert(parse_arg(&p, &arg) && arg_is(arg, "sent"));
	ck_assert(parse_arg(&p, &arg) && arg->kind == ARG_LIST);
	ck_assert_uint_eq(arg_count(arg->first), 1);
	ck_assert(parse_literal_head(&p, &l));
	ck_assert(l.sync && !l.binary && l.size == 5);
	ck_assert(!parse_is_end(&p));
	script.rest = str_skip(script.rest, l.size);
	ck_assert(parse_resume(&p));
	ck_assert(!parse_is_end(&p));
	ck_assert(!parse_arg(&p, &arg));
	ck_assert_str_eq(p.error, "Unexpected )");
	arena_free(a);
}
END_TEST

START_TEST(only_waiting_clients_are_let_go_on)
{
	struct arena *a = arena_new("test");
	struct script script = {
		.rest = STR(" {1}\r\nx {1+}\r\ny {1-}\r\nz\r\n")};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	struct str line;
	ck_assert(script_line(&script, &line));
	parse_begin(&p, a, &source, &limits, line);
	ck_assert(parse_args(&p, &args));
	ck_assert_uint_eq(arg_count(args), 3);
	ck_assert_uint_eq(script.continuations, 1);
	arena_free(a);
}
END_TEST

START_TEST(endless_swallowing_ends_the_connection)
{
	struct arena *a = arena_new("test");
	struct script script = {.rest = STR(" {4294967296+}\r\nxxx")};
	struct parse_source source = script_source(&script);
	struct parse p;
	struct arg *args;
	struct str line;
	ck_assert(script_line(&script, &line));
	parse_begin(&p, a, &source, &limits, line);
	ck_assert(!parse_args(&p, &args));
	ck_assert(!parse_drain(&p));
	ck_assert_uint_eq(script.skipped, 0);
	arena_free(a);
}
END_TEST

START_TEST(words)
{
	struct arg nil = {.kind = ARG_ATOM, .text = STR("nil")};
	struct arg quoted = {.kind = ARG_QUOTED, .text = STR("NIL")};
	struct arg binary = {.kind = ARG_LITERAL8, .text = STR("x")};
	struct arg number = {.kind = ARG_ATOM, .text = STR("4294967295")};
	struct arg large = {.kind = ARG_ATOM, .text = STR("4294967296")};
	struct str s;
	uint32_t n;
	ck_assert(arg_nstring(&nil, &s) && s.p == NULL);
	ck_assert(arg_nstring(&quoted, &s) && s.p != NULL);
	ck_assert(arg_astring(&nil, &s));
	ck_assert_view(s, "nil");
	ck_assert(!arg_astring(&binary, &s));
	ck_assert(!arg_atom(&quoted, &s));
	ck_assert(!arg_is(&quoted, "NIL"));
	ck_assert(arg_number(&number, &n) && n == UINT32_MAX);
	ck_assert(!arg_number(&large, &n));
	ck_assert(!arg_atom(NULL, &s) && !arg_number(NULL, &n));
}
END_TEST

Suite *
suite_parse(void)
{
	return SUITE("parse", trees, one_by_one,
		only_waiting_clients_are_let_go_on,
		endless_swallowing_ends_the_connection, words);
}
