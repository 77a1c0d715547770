/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/smtp.h"

START_TEST(paths_with_parameters)
{
	struct arena *a = arena_new("test");
	struct smtp_path p;
	struct status s = smtp_parse_path(a,
		STR("from: <a@b> SIZE=100 body=8BITMIME SMTPUTF8"),
		STR("FROM:"), false, &p);
	ck_assert(status_is_fine(s));
	ck_assert_uint_eq(p.param_count, 3);
	ck_assert_view(p.params[1].key, "body");
	ck_assert_view(p.params[1].value, "8BITMIME");
	ck_assert_uint_eq(p.params[2].value.n, 0);
	arena_free(a);
}
END_TEST

START_TEST(paths_refused)
{
	static const char *const rows[] = {"", "FROM", "TO:<a@b>",
		"FROM:", "FROM:<a@b>x", "FROM:<a@b> SIZE=1 SIZE=2",
		"FROM:<a@b> SIZE=1=2", "FROM:<a@b> S/ZE=1", "FROM:<a@b> =1",
		"FROM:<a b>", "FROM:a b@c", "FROM:<a@b> X=\x80"};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct smtp_path p;
		struct status s = smtp_parse_path(
			a, str_from(rows[i]), STR("FROM:"), false, &p);
		ck_assert_msg(s.class == STATUS_NEVER, "%s", rows[i]);
		ck_assert_int_eq(status_reply_code(s), 501);
		arena_free(a);
	}
}
END_TEST

static struct status
reply(struct arena *a, struct smtp_reply *r, const char *text)
{
	struct str rest = str_from(text), line;
	smtp_reply_start(a, r);
	while (!r->done && !r->bad && str_cut(&rest, '\n', &line))
		smtp_reply_line(r, line);
	return smtp_reply_status(a, r, 0, 0);
}

START_TEST(replies_as_a_client_reads_them)
{
	struct arena *a = arena_new("test");
	struct smtp_reply r;
	struct status s = reply(a, &r, "550-5.1.1 No such\n550 5.1.1 user");
	ck_assert(r.done && !r.bad);
	ck_assert_int_eq(s.class, STATUS_NEVER);
	ck_assert_int_eq(s.subject, 1);
	ck_assert_view(s.text, "5.1.1 No such\n5.1.1 user");
	/* The first digit wins over an enhanced code that disagrees. */
	s = reply(a, &r, "450 5.7.1 greylisted");
	ck_assert_int_eq(s.class, STATUS_LATER);
	ck_assert_int_eq(s.subject, 0);
	s = reply(a, &r, "250");
	ck_assert(r.done && status_is_fine(s));
	s = reply(a, &r, "421 bye\x01\x7f");
	ck_assert_view(s.text, "bye  ");
	reply(a, &r, "250-a\n251 b");
	ck_assert(r.bad);
	reply(a, &r, "HTTP/1.1 400 Bad");
	ck_assert(r.bad);
	reply(a, &r, "25");
	ck_assert(r.bad);
	reply(a, &r, "999 x");
	ck_assert(r.bad);
	smtp_reply_start(a, &r);
	for (int i = 0; i < SMTP_REPLY_LINES + 1; i++)
		smtp_reply_line(&r, STR("250-more"));
	ck_assert(r.bad);
	arena_free(a);
}
END_TEST

START_TEST(replies_as_a_server_writes_them)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	smtp_write_reply(out, status_never(1, 1, STR("No such\nuser\rx")),
		true);
	ck_assert_view(buf_str(out),
		"550-5.1.1 No such\r\n550 5.1.1 user x\r\n");
	buf_clear(out);
	smtp_write_reply(out, status_fine(), false);
	ck_assert_view(buf_str(out), "250 OK\r\n");
	arena_free(a);
}
END_TEST

/* in, what is stored, whether something was bare, what follows the end. */
static const struct {
	const char *in, *refuse, *normalise, *rest;
	bool bare;
} data_rows[] = {
	{"a\r\n.\r\n", "a\r\n", "a\r\n", "", false},
	{".\r\nQUIT\r\n", "", "", "QUIT\r\n", false},
	{"..\r\n.\r\n", ".\r\n", ".\r\n", "", false},
	{".a\r\n..b\r\n.\r\n", "a\r\n.b\r\n", "a\r\n.b\r\n", "", false},
	{"a\n.\n.\r\n\r\n.\r\n", "a\n.\n.\r\n\r\n",
		"a\r\n.\r\n.\r\n\r\n", "", true},
	{"a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "a\r\n.\r\nb\r\n", "", true},
	{"a\r.\r\r\n.\r\n", "a\r.\r\r\n", "a\r\n.\r\n\r\n", "", true},
	{"a\r\n.\n\r\n.\r\n", "a\r\n\n\r\n", "a\r\n\r\n\r\n", "", true},
	{"a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n", "a\r\n\r\n\r\n", "", true},
	{"a\r\n\r.\r\n.\r\n", "a\r\n\r.\r\n", "a\r\n\r\n.\r\n", "", true},
	{"a\r\n.\r.\r\n.\r\n", "a\r\n\r.\r\n", "a\r\n\r\n.\r\n", "", true},
	{"\r\n.\r\n", "\r\n", "\r\n", "", false},
	{"\n\r\n.\r\n", "\n\r\n", "\r\n\r\n", "", true},
};

static void
check_data(size_t i, enum smtp_bare policy, size_t piece)
{
	struct arena *a = arena_new("test");
	struct buf *out = buf_new(a);
	struct str in = str_from(data_rows[i].in);
	struct str want = str_from(policy == SMTP_REFUSE_BARE
			? data_rows[i].refuse : data_rows[i].normalise);
	struct smtp_data d;
	smtp_data_start(&d, policy);
	while (in.n > 0 && !d.done) {
		struct str head = str_head(in, piece);
		in = str_skip(in, smtp_data_feed(&d, head, out));
	}
	ck_assert_msg(d.done, "row %zu", i);
	ck_assert_msg(str_eq(buf_str(out), want), "row %zu piece %zu: %.*s",
		i, piece, STR_ARG(buf_str(out)));
	ck_assert_msg(str_eq(in, str_from(data_rows[i].rest)), "row %zu", i);
	ck_assert_msg(d.bare == data_rows[i].bare, "row %zu", i);
	ck_assert_uint_eq(d.octets, out->n);
	arena_free(a);
}

START_TEST(only_one_thing_ends_a_message)
{
	for (size_t i = 0; i < sizeof data_rows / sizeof *data_rows; i++)
		for (size_t piece = 1; piece < 12; piece++) {
			check_data(i, SMTP_REFUSE_BARE, piece);
			check_data(i, SMTP_NORMALISE_BARE, piece);
		}
}
END_TEST

START_TEST(stuffing_and_back)
{
	static const struct str rows[] = {STR_INIT(""), STR_INIT("."),
		STR_INIT("a"), STR_INIT(".\r\n.\r\n"), STR_INIT("a\r\n"),
		STR_INIT("a\n.\nb"), STR_INIT("a\r.\rb\r"),
		STR_INIT("\r\r\n\n.\0\r\n..x\r\n")};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t piece = 1; piece < 5; piece++) {
			struct arena *a = arena_new("test");
			struct buf *out = buf_new(a), *back = buf_new(a);
			struct smtp_stuff w;
			struct smtp_data d;
			struct str in = rows[i];
			smtp_stuff_start(&w);
			for (; in.n > 0; in = str_skip(in, piece))
				smtp_stuff_feed(&w, str_head(in, piece), out);
			smtp_stuff_end(&w, out);
			smtp_data_start(&d, SMTP_REFUSE_BARE);
			ck_assert_uint_eq(
				smtp_data_feed(&d, buf_str(out), back),
				out->n);
			ck_assert(d.done);
			/* Nothing but CRLF can come out. */
			ck_assert(!d.bare);
			arena_free(a);
		}
	}
}
END_TEST

Suite *
suite_smtp(void)
{
	return SUITE("smtp", paths_with_parameters, paths_refused,
		replies_as_a_client_reads_them, replies_as_a_server_writes_them,
		only_one_thing_ends_a_message, stuffing_and_back);
}
