/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/conf.h"

#include <unistd.h>

static struct buf *errors;

static struct conf *
read_text(struct arena *a, const char *text, struct str_list overrides)
{
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(write(pipes[1], text, strlen(text)),
		(ssize_t)strlen(text));
	close(pipes[1]);
	errors = buf_new(a);
	struct conf *c = conf_read(a, pipes[0], "t.conf", overrides, errors);
	close(pipes[0]);
	return c;
}

static const struct str_list none;

START_TEST(defaults_stand_alone)
{
	struct arena *a = arena_new("test");
	struct conf *c = read_text(a, "", none);
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	ck_assert_int_eq(c->smtp.max_size, 50 << 20);
	ck_assert_int_eq(c->queue.max_age, 5 * 86400);
	ck_assert_uint_eq(c->queue.retry.n, 5);
	ck_assert_view(c->queue.retry.v[4], "30m");
	ck_assert(!c->smtp.plaintext_auth);
	arena_free(a);
}
END_TEST

/* Edge cases 58 and 59 (RFC 5321 4.5.3.2): nobody is given less time than
 * the standard asks for unless the administrator says so. */
START_TEST(row59_no_default_is_too_short)
{
	struct arena *a = arena_new("test");
	const struct conf *c = read_text(a, "", none);
	const struct {
		int64_t have, least;
	} rows[] = {
		{c->remote.greeting_timeout, 300},
		{c->remote.command_timeout, 300},
		{c->remote.data_timeout, 120},
		{c->remote.block_timeout, 180},
		{c->remote.final_timeout, 600},
		{c->smtp.timeout, 300},
		{c->queue.max_age, 4 * 86400},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(rows[i].have >= rows[i].least, "row %zu", i);
	arena_free(a);
}
END_TEST

START_TEST(values_of_every_kind)
{
	struct arena *a = arena_new("test");
	struct conf *c = read_text(a,
		"general {\n hostname = mx.example.org\n"
		" domains = {example.org, \"example.net\"}\n}\n"
		"# a comment\nsmtp { max_size = 1m\n timeout = 90s\n"
		" plaintext_auth = yes\n max_recipients = 500 }\n",
		none);
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	ck_assert_view(c->general.hostname, "mx.example.org");
	ck_assert_uint_eq(c->general.domains.n, 2);
	ck_assert(conf_is_local_domain(c, STR("EXAMPLE.NET")));
	ck_assert(!conf_is_local_domain(c, STR("example.com")));
	ck_assert_int_eq(c->smtp.max_size, 1 << 20);
	ck_assert_int_eq(c->smtp.timeout, 90);
	ck_assert_int_eq(c->smtp.max_recipients, 500);
	ck_assert(c->smtp.plaintext_auth);
	arena_free(a);
}
END_TEST

START_TEST(lists)
{
	static const struct {
		const char *text;
		size_t smtp, domains;
	} rows[] = {
		{"", 1, 0},
		{"listen { smtp = {} }", 0, 0},
		{"listen { smtp = {\"*:25\", \"*:26\"}\nsmtp += {\"*:27\"} }", 3,
			0},
		{"listen { smtp = \"\" }", 0, 0},
		{"general { domains = {a, b}\ndomains += {c, d} }", 1, 4},
		{"general { domains = {a, b} }\ngeneral { plus = x }", 1, 2},
		{"general { domains = {a, b} }\ngeneral { domains = {} }", 1, 0},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct conf *c = read_text(a, rows[i].text, none);
		ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
		ck_assert_msg(c->listen.smtp.n == rows[i].smtp &&
			c->general.domains.n == rows[i].domains, "%s",
			rows[i].text);
		arena_free(a);
	}
}
END_TEST

START_TEST(every_mistake_is_named_with_its_line)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"\nsmtp { max_sise = 5 }", "t.conf:2: "},
		{"smtp {\n\nmax_size = big\n}", "t.conf:3: smtp.max_size is "
			"\"big\""},
		{"smtp {\nmax_recipients = 5\n}", "t.conf:2: smtp.max_recip"},
		{"smtp { plaintext_auth = perhaps }", "must be yes or no"},
		{"smtp { bare_newline = allow }", "one of: refuse normalise"},
		{"\ntls { certificate = /x }", "t.conf:2: tls.certificate and"},
		{"tls { certificate = x }", "must be an absolute path"},
		{"\n\nqueue { retry = {1m, soon} }", "t.conf:3: queue.retry is "
			"\"soon\""},
		{"listen { smtp = {\"*:25\", \"mail:25\"} }", "\"mail:25\", but"},
		{"listen { imap = 143 }", "must be IP:PORT"},
		{"smtp {\nrelay_networks = 10.0.0.0/33 }", "t.conf:2: smtp.rel"},
		{"remote { smarthost = \"a:b\" }", "HOST or HOST:PORT"},
		{"remote { transports = {\"a b\"} }", "DOMAIN HOP"},
		{"remote { sender_smarthosts = {\"a smtp:b c\"} }",
			"SENDER HOP"},
		{"remote { tls_policies = {\"a maybe\"} }", "DOMAIN none"},
		{"remote { source = {\"a\"} }", "an address"},
		{"remote { prefer = ipx }", "only-ipv6"},
		{"remote { smarthost_user = a }", "remote.smarthost is not"},
		{"resolve { forward = ns1 }", "ADDRESS or ADDRESS@PORT"},
		{"imap { hide = {\"IDLE\"} }", "NETWORK NAME"},
		{"imap { hide = {\"10.0.0.0/8\"} }", "NETWORK NAME"},
		{"nonsense {\n}", "t.conf:1: "},
		{"smtp {", "t.conf:"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		ck_assert_msg(read_text(a, rows[i].text, none) == NULL,
			"taken: %s", rows[i].text);
		struct str got = buf_str(errors);
		ck_assert_msg(str_search(got, str_from(rows[i].want)) < got.n,
			"%s: %.*s", rows[i].want, STR_ARG(got));
		arena_free(a);
	}
}
END_TEST

START_TEST(all_mistakes_at_once)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_null(read_text(a,
		"smtp {\nmax_size = big\ntimeout = never\n}", none));
	struct str got = buf_str(errors);
	ck_assert_uint_lt(str_search(got, STR("t.conf:2:")), got.n);
	ck_assert_uint_lt(str_search(got, STR("t.conf:3:")), got.n);
	arena_free(a);
}
END_TEST

START_TEST(overrides_win)
{
	struct arena *a = arena_new("test");
	struct str v[] = {STR("smtp.max_size=2m"),
		STR("listen.smtp=127.0.0.1:10025, [::1]:10025")};
	struct conf *c = read_text(
		a, "smtp { max_size = 1m }", (struct str_list){v, 2});
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	ck_assert_int_eq(c->smtp.max_size, 2 << 20);
	ck_assert_uint_eq(c->listen.smtp.n, 2);
	ck_assert_view(c->listen.smtp.v[1], "[::1]:10025");
	struct str bad[] = {STR("smtp.nothing=1")};
	ck_assert_ptr_null(read_text(a, "", (struct str_list){bad, 1}));
	arena_free(a);
}
END_TEST

START_TEST(what_is_written_reads_back_the_same)
{
	struct arena *a = arena_new("test");
	struct conf *c = read_text(a,
		"general { postmaster = \"a \\\"b\\\" \\\\ \\${HOME}\"\n"
		"domains = {x.org, y.org} }\nremote { idle = 0 }", none);
	ck_assert_msg(c != NULL, "%.*s", STR_ARG(buf_str(errors)));
	struct buf *once = buf_new(a), *twice = buf_new(a);
	conf_write(c, once);
	struct conf *back = read_text(a, str_cstr(a, buf_str(once)), none);
	ck_assert_msg(back != NULL, "%.*s", STR_ARG(buf_str(errors)));
	conf_write(back, twice);
	ck_assert(str_eq(buf_str(once), buf_str(twice)));
	ck_assert_view(back->general.postmaster, "a \"b\" \\ ${HOME}");
	arena_free(a);
}
END_TEST

Suite *
suite_conf(void)
{
	return SUITE("conf", defaults_stand_alone,
		row59_no_default_is_too_short, values_of_every_kind, lists,
		every_mistake_is_named_with_its_line, all_mistakes_at_once,
		overrides_win, what_is_written_reads_back_the_same);
}
