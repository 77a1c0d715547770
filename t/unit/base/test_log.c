/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

/* What log_write puts on standard error while fn runs. */
static struct str
captured(void (*fn)(void))
{
	static char text[8192];
	int pipes[2], saved = dup(STDERR_FILENO);
	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	fn();
	dup2(saved, STDERR_FILENO);
	close(pipes[1]);
	ssize_t n = read(pipes[0], text, sizeof text);
	close(pipes[0]);
	close(saved);
	return str_of(text, n < 0 ? 0 : (size_t)n);
}

static void
hostile(void)
{
	log_info(STR("id1"), "event", LOG_STR("from", STR("a\nb\x80\"")),
		LOG_NUM("n", -5), LOG_CSTR("plain", "x@y"));
}

START_TEST(one_line_and_no_octet_unescaped)
{
	log_open("t", LOG_TO_STDERR, LOG_AS_TEXT);
	struct str line = captured(hostile);
	size_t at = str_find(line, ' ');
	ck_assert_view(str_skip(line, at),
		" id1 event from=\"a\\x0ab\\x80\\\"\" n=-5 plain=x@y\n");
}
END_TEST

START_TEST(json_has_the_same_fields)
{
	log_open("t", LOG_TO_STDERR, LOG_AS_JSON);
	struct str line = captured(hostile);
	struct str want = STR("\"id\":\"id1\",\"event\":\"event\","
		"\"from\":\"a\\u000ab\\u0080\\\"\",\"n\":-5,"
		"\"plain\":\"x@y\"}\n");
	ck_assert_uint_lt(str_search(line, want), line.n);
}
END_TEST

static void
endless(void)
{
	static char big[100000];
	memset(big, 'x', sizeof big);
	log_info(STR("id"), "event", LOG_STR("a", str_of(big, sizeof big)),
		LOG_STR("b", str_of(big, sizeof big)),
		LOG_STR("c", str_of(big, sizeof big)),
		LOG_STR("d", str_of(big, sizeof big)),
		LOG_STR("e", str_of(big, sizeof big)));
}

START_TEST(long_values_are_cut)
{
	log_open("t", LOG_TO_STDERR, LOG_AS_TEXT);
	struct str line = captured(endless);
	ck_assert_uint_le(line.n, 4096);
	ck_assert_uint_eq(str_find(line, '\n'), line.n - 1);
}
END_TEST

Suite *
suite_log(void)
{
	return SUITE("log", one_line_and_no_octet_unescaped,
		json_has_the_same_fields, long_values_are_cut);
}
