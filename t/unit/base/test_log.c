/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* What log_write puts on standard error while fn runs. */
static struct str
captured(void (*fn)(void))
{
	static char text[16384];
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

static void
three_lines(void)
{
	int ends[2];
	char text[100];
	ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
	int saved = dup(STDERR_FILENO);
	dup2(ends[1], STDERR_FILENO);
	log_gather(true);
	log_info(STR("1"), "a");
	log_info(STR("2"), "b");
	ck_assert_int_eq(read(ends[0], text, sizeof text), -1);
	if (fork() == 0) {
		log_info(STR("3"), "child");
		_exit(0);
	}
	wait(NULL);
	dup2(saved, STDERR_FILENO);
	ssize_t n = read(ends[0], text, sizeof text);
	ck_assert_int_gt(n, 0);
	ck_assert_int_eq(write(STDERR_FILENO, text, (size_t)n), n);
	log_info(STR("4"), "c");
	log_warn(STR("5"), "d");
	log_info(STR("6"), "e");
	log_gather(false);
	close(ends[0]);
	close(ends[1]);
	close(saved);
}

/* Each line once and in order, with the number of who wrote it. */
START_TEST(lines_wait_for_each_other_and_for_no_warning)
{
	log_open("t", LOG_TO_STDERR, LOG_AS_TEXT);
	struct str all = captured(three_lines), line;
	char own[32];
	snprintf(own, sizeof own, "t[%d]: ", (int)getpid());
	for (int i = 1; i <= 6; i++) {
		ck_assert(str_cut(&all, '\n', &line));
		ck_assert_int_eq(str_starts(line, str_from(own)), i != 3);
		ck_assert_int_eq(line.p[str_find(line, ' ') + 1], '0' + i);
	}
	ck_assert_uint_eq(all.n, 0);
}
END_TEST

static void
many_lines(void)
{
	char text[100];
	memset(text, 'x', sizeof text);
	log_gather(true);
	for (int i = 0; i < 60; i++)
		log_info(STR("id"), "event",
			LOG_STR("x", str_of(text, sizeof text)));
	log_gather(false);
}

START_TEST(many_lines_go_in_pieces_of_whole_ones)
{
	log_open("t", LOG_TO_STDERR, LOG_AS_TEXT);
	struct str all = captured(many_lines), line;
	int n = 0;
	while (str_cut(&all, '\n', &line) && line.n > 0) {
		ck_assert(str_ends(line, STR("xxx")));
		n++;
	}
	ck_assert_int_eq(n, 60);
}
END_TEST

Suite *
suite_log(void)
{
	return SUITE("log", one_line_and_no_octet_unescaped,
		json_has_the_same_fields, long_values_are_cut,
		lines_wait_for_each_other_and_for_no_warning,
		many_lines_go_in_pieces_of_whole_ones);
}
