/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "grammar.h"
#include "mail/facts.h"
#include "mail/header.h"
#include "mail/mime.h"
#include "mail/structure.h"
#include "mail/text.h"

#include <time.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

/* "mixed(plain:5 html:3)": minor types with body sizes on the wire. */
static void
shown(struct buf *out, const struct mime_part *p)
{
	buf_add(out, p->minor);
	if (p->child == NULL) {
		buf_addc(out, ':');
		buf_addn(out, p->end.wire - p->body.wire);
		return;
	}
	buf_addc(out, p->message ? '<' : '(');
	for (const struct mime_part *c = p->child; c != NULL; c = c->next) {
		if (c != p->child)
			buf_addc(out, ' ');
		shown(out, c);
	}
	buf_addc(out, p->message ? '>' : ')');
}

#define MULTI(b) "Content-Type: multipart/mixed; boundary=" b "\n\n"

static const struct {
	const char *text, *tree;
} trees[] = {
	{"", "plain:0"},
	{"A: b\n\nhello\n", "plain:7"},
	{"A: b\r\n\r\nhello\r\n", "plain:7"},
	{"\nbody", "plain:4"},
	{"not a field\nbody\n", "plain:19"},
	{MULTI("x") "pre\n--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n"
		"--x--\nepilogue\n", "mixed(plain:3 html:3)"},
	{MULTI("x") "--x\r\n\r\na\r\n\r\n--x--\r\n", "mixed(plain:3)"},
	{MULTI("\"x y\"") "--x y  \n\na\n--x y--", "mixed(plain:1)"},
	{MULTI("x") "no part at all\n", "mixed:16"},
	{MULTI("x") "--x--\n", "mixed:7"},
	{MULTI("x") "--x\n", "mixed(plain:0)"},
	{MULTI("x") "--x\n\nopen to the end\n", "mixed(plain:17)"},
	{"Content-Type: multipart/mixed\n\n--\n\nx", "mixed:7"},
	{MULTI("x") "--xy\n\na\n--x\n\nb\n--x--\n", "mixed(plain:1)"},
	/* a boundary in the middle of a part's header */
	{MULTI("x") "--x\nA: b\n--x\n\nc\n--x--\n", "mixed(plain:0 plain:1)"},
	/* the outer boundary ends what the inner left open */
	{MULTI("o") "--o\n" MULTI("i") "--i\n\nin\n--o\n\nout\n--o--\n",
		"mixed(mixed(plain:2) plain:3)"},
	/* the same boundary twice */
	{MULTI("x") "--x\n" MULTI("x") "--x\n\na\n--x--\n--x\n\nb\n--x--\n",
		"mixed(mixed(plain:1) plain:1)"},
	{"Content-Type: message/rfc822\n\nA: b\n\nin\n", "rfc822<plain:4>"},
	{"Content-Type: message/rfc822\n\n", "rfc822<plain:0>"},
	{"Content-Type: message/rfc822\n\nno field\n", "rfc822<plain:10>"},
	{"Content-Type: message/rfc822\n"
		"Content-Transfer-Encoding: base64\n\nQTogYg==\n",
		"rfc822:10"},
	{"Content-Type: message/rfc822\n\n" MULTI("x")
		"--x\n\nin\n--x--\n", "rfc822<mixed(plain:2)>"},
	{"Content-Type: multipart/digest; boundary=x\n\n--x\n\nS: t\n\nm\n"
		"--x--\n", "digest(rfc822<plain:1>)"},
	{"Content-Type: junk\n\nx", "plain:1"},
	{"Content-Type: /\n\nx", "plain:1"},
	{"Content-Type: text/html, charset=x\n\nx", "html:1"},
	{"Content-Type: \"text\"/html\n\nx", "plain:1"},
	{"Content-Type: t\xe9xt/html\n\nx", "plain:1"},
	{"Content-Type: (c) Text / Html ; charset=x\n\nx", "plain:1"},
	{"Content-Type:\n TEXT/HTML;\n charset=x\n\nx", "html:1"},
};

START_TEST(trees_of_parts)
{
	for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
		struct arena *a = arena_new("test");
		struct buf *out = buf_new(a);
		struct mime_part *root =
			mime_parse(a, str_from(trees[i].text));
		shown(out, root);
		ck_assert_msg(str_eq(buf_str(out), str_from(trees[i].tree)),
			"%s\nis %.*s", trees[i].text, STR_ARG(buf_str(out)));
		arena_free(a);
	}
}
END_TEST

START_TEST(parameters)
{
	static const char *const rows[][3] = {
		{"text/plain; charset=utf-8", "charset", "utf-8"},
		{"text/plain; charset=\"a\\\"b\"", "charset", "a\"b"},
		{"text/plain (c); (d) CHARSET (e) = (f) x (g)", "charset", "x"},
		{"a/b; name*1=lo; name*0=hel", "name", "hello"},
		{"a/b; name*0*=utf-8''%41; name*1=b", "name*", "utf-8''%41b"},
		{"a/b; name=one two; x=y", "name", "one"},
		{"a/b; junk; x=y", "x", "y"},
		{"a/b; ;; x=y", "x", "y"},
		{"a/b; x=\"unterminated", "x", "unterminated"},
		{"a/b; x=", "x", ""},
		{"a/b", "x", ""},
		{"a/b; name=\"a\r\n b\"", "name", "a b"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct mime_value v = mime_parse_value(a, str_from(rows[i][0]));
		struct str got = mime_param(&v, str_from(rows[i][1]));
		ck_assert_msg(str_eq(got, str_from(rows[i][2])), "%s: %.*s",
			rows[i][0], STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

static struct str
bodystructure(struct arena *a, const char *text, bool extended)
{
	struct buf *out = buf_new(a);
	struct str m = str_from(text);
	structure_body(a, out, m, mime_parse(a, m), extended);
	return buf_str(out);
}

START_TEST(structures)
{
	struct arena *a = arena_new("test");
	ck_assert_view(bodystructure(a, "\nhi\nyou\n", false),
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 9 2)");
	ck_assert_view(bodystructure(a,
		MULTI("x") "--x\n\na\n--x\n"
		"Content-Type: image/png; name=\"x.png\"\n"
		"Content-Disposition: attachment; filename=x\n"
		"Content-Transfer-Encoding: base64\n\nAAAA\n--x--\n", true),
		"((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 0 NIL NIL NIL NIL)"
		"(\"image\" \"png\" (\"name\" \"x.png\") NIL NIL \"base64\" 4 "
		"NIL (\"attachment\" (\"filename\" \"x\")) NIL NIL)"
		" \"mixed\" (\"boundary\" \"x\") NIL NIL NIL)");
	ck_assert_view(bodystructure(a,
		"Content-Type: message/rfc822\n\nSubject: s\n\nb\n", false),
		"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 17 "
		"(NIL \"s\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 3 1) 3)");
	ck_assert_view(bodystructure(a, MULTI("x") "none", false),
		"(\"text\" \"plain\" (\"boundary\" \"x\") NIL NIL \"7bit\" 4 "
		"0)");
	arena_free(a);
}
END_TEST

START_TEST(envelopes)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	structure_envelope(a, out, STR("Date: d\r\nSubject: a \"q\"\r\n\tb\r\n"
		"From: J <j@x>\r\nReply-To:\r\nTo: g: a@b;, root\r\n"
		"Message-ID: <1@x>\r\n\r\n"));
	ck_assert_view(buf_str(out), "(\"d\" {7}\r\na \"q\"\tb "
		"((\"J\" NIL \"j\" \"x\")) ((\"J\" NIL \"j\" \"x\")) "
		"((\"J\" NIL \"j\" \"x\")) "
		"((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL)"
		"(NIL NIL \"root\" NIL)) NIL NIL NIL \"<1@x>\")");
	buf_clear(out);
	structure_envelope(a, out, STR("Subject: caf\xe9\0x\nTo: root\n\n"));
	ck_assert_view(buf_str(out), "(NIL {6}\r\ncaf\xe9\x80x NIL NIL NIL "
		"((NIL NIL \"root\" \"\")) NIL NIL NIL NIL)");
	arena_free(a);
}
END_TEST

static struct str
read_file(struct arena *a, const char *path)
{
	struct buf *out = buf_new(a);
	int fd = open(path, O_RDONLY);
	ssize_t n;
	ck_assert_int_ge(fd, 0);
	while ((n = read(fd, buf_room(out, 65536), 65536)) > 0)
		buf_grew(out, (size_t)n);
	close(fd);
	return buf_str(out);
}

static size_t
check_message(struct arena *a, const char *name, struct str m)
{
	struct arena_mark mark = arena_mark(a);
	struct facts f;
	struct buf *wire = buf_new(a);
	facts_find(a, m, &f);
	ck_assert_msg(grammar_is_envelope(f.envelope), "%s: %.*s", name,
		STR_ARG(f.envelope));
	ck_assert_msg(grammar_is_body(f.body, false), "%s: %.*s", name,
		STR_ARG(f.body));
	ck_assert_msg(grammar_is_body(f.bodystructure, true), "%s: %.*s",
		name, STR_ARG(f.bodystructure));
	text_to_wire(wire, m, 0, SIZE_MAX);
	ck_assert_msg(wire->n == f.wire_size, "%s: wire %zu, said %llu",
		name, wire->n, (unsigned long long)f.wire_size);
	ck_assert_uint_eq(wire->n, mime_wire_size(m));
	for (struct mime_part *p = mime_parse(a, m); p; p = mime_walk(p)) {
		ck_assert_uint_le(p->start.offset, p->body.offset);
		ck_assert_uint_le(p->body.offset, p->end.offset);
		ck_assert_uint_eq(p->end.wire - p->body.wire,
			mime_wire_size(mime_body(m, p)));
	}
	arena_rewind(a, mark);
	return 1;
}

static size_t
check_folder(const char *folder)
{
	struct arena *a = arena_new("test");
	arena_limit(a, (size_t)1 << 30);
	DIR *d = opendir(folder);
	size_t count = 0;
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		if (e->d_name[0] == '.')
			continue;
		struct str path = str_printf(a, "%s/%s", folder, e->d_name);
		struct str m = read_file(a, str_cstr(a, path));
		count += check_message(a, e->d_name, m);
		/* Cut anywhere it must still be a legal tree. */
		for (size_t n = 1; n < m.n; n += m.n / 23 + 1)
			check_message(a, e->d_name, str_head(m, n));
	}
	closedir(d);
	arena_free(a);
	return count;
}

START_TEST(the_whole_corpus_is_answered_in_grammar)
{
	ck_assert_uint_gt(check_folder("t/corpus/mime"), 100);
	ck_assert_uint_ge(check_folder("t/corpus/mbox"), 3);
}
END_TEST

/* Of this process alone: others do not count. */
static int64_t
cpu_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t
cost(const char *head, const char *unit, size_t count)
{
	struct arena *a = arena_new("test");
	arena_limit(a, (size_t)1 << 31);
	struct buf *in = buf_new(a);
	int64_t best = INT64_MAX;
	buf_adds(in, head);
	for (size_t i = 0; i < count; i++)
		buf_adds(in, unit);
	for (int i = 0; i < 3; i++) {
		struct arena_mark m = arena_mark(a);
		struct facts f;
		int64_t start = cpu_us();
		facts_find(a, buf_str(in), &f);
		int64_t took = cpu_us() - start;
		best = took < best ? took : best;
		arena_rewind(a, m);
	}
	arena_free(a);
	return best;
}

START_TEST(hostile_messages_are_linear)
{
	static const char *const rows[][2] = {
		{MULTI("x"), "--x\n"}, {MULTI("x"), "--x\n\n"},
		{MULTI("x"), "--y\n"}, {"", "Content-Type: message/rfc822\n\n"},
		{"", MULTI("x") "--x\n"}, {"Content-Type: a/b; ", "x=y; "},
		{"Content-Type: a/b; ", "x*1=y; "}, {"Content-Type: a/b; ", "("},
		{"Subject: ", "=?utf-8?q?a?= "}, {"Subject: ", "=?"},
		{"Subject: ", "re: "}, {"Subject: ", "[a]"},
		{"Subject: ", "[fwd:"}, {"References: ", "<a@b>"},
		{"To: ", "\"a\" <b@c>, "}, {"", "X: y\n"}, {"", "Content-X: y\n"},
		{"Content-Type: text/html\n\n", "<style>"},
		{"Content-Type: text/html\n\n", "&"},
		{"\n", "\n"}, {"A: b\n", " \n"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t small = cost(rows[i][0], rows[i][1], 8000);
		int64_t large = cost(rows[i][0], rows[i][1], 64000);
		ck_assert_msg(large < 30 * (small + 500),
			"%s%s: %lld us, eight times: %lld us", rows[i][0],
			rows[i][1], (long long)small, (long long)large);
	}
}
END_TEST

/* Within an arena's ordinary limit: growing past it ends the process, and a
 * message must not be able to do that. */
START_TEST(hostile_messages_fit_in_memory)
{
	struct arena *a = arena_new("test");
	struct buf *pieces = buf_new(a), *people = buf_new(a);
	struct facts f;
	for (int i = 0; i < MIME_PARAMS_MOST; i++)
		buf_printf(pieces, ";a%d*0=b", i);
	for (int i = 0; i < HEADER_ADDRESSES_MOST; i++)
		buf_adds(people, "a,");
	const struct str rows[] = {
		STR("--x\nContent-Type: a/b; a=b\n"
		"Content-Disposition: attachment; filename=x\n\n"),
		str_printf(a, "--x\nContent-Type: a/b%.*s\n\n",
			STR_ARG(buf_str(pieces))),
		str_printf(a, "--x\nContent-Type: message/rfc822\n\nFrom: "
			"%.*s\n\n", STR_ARG(buf_str(people)))};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf *m = buf_new(a);
		buf_adds(m, MULTI("x"));
		for (int k = 0; k < MIME_PARTS_MOST / 4; k++)
			buf_add(m, rows[i]);
		struct arena_mark mark = arena_mark(a);
		facts_find(a, buf_str(m), &f);
		ck_assert_uint_lt(arena_used(a) - mark.total, 8 << 20);
		arena_rewind(a, mark);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_mime(void)
{
	return SUITE("mime", trees_of_parts, parameters, structures, envelopes,
		the_whole_corpus_is_answered_in_grammar,
		hostile_messages_are_linear, hostile_messages_fit_in_memory);
}
