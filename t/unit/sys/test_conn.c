/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/conn.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static struct arena *arena;
static struct conn *conn;
static int far_end;

static void
open_pair(void)
{
	int pair[2];
	arena = arena_new("test");
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	conn = conn_new(arena, pair[0], pair[0]);
	conn_deadline(conn, clock_in(5000));
	far_end = pair[1];
}

static void
say(struct str s)
{
	ck_assert_int_eq(write(far_end, s.p, s.n), (ssize_t)s.n);
}

static struct str
hear(void)
{
	static char text[100000];
	ssize_t n = read(far_end, text, sizeof text);
	return str_of(text, n < 0 ? 0 : (size_t)n);
}

static void
close_pair(void)
{
	conn_close(conn);
	close(far_end);
	arena_free(arena);
}

START_TEST(lines_and_their_ends)
{
	struct str line;
	open_pair();
	say(STR("one\r\ntwo\nth\rree\r\n\r\nlast"));
	close(dup(far_end));
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	ck_assert_view(line, "one");
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_BARE);
	ck_assert_view(line, "two");
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_BARE);
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	ck_assert_uint_eq(line.n, 0);
	ck_assert(!conn_has_line(conn));
	ck_assert(conn_has_input(conn));
	shutdown(far_end, SHUT_WR);
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_NONE);
	ck_assert_int_eq(conn_state(conn), CONN_EOF);
	close_pair();
}
END_TEST

START_TEST(endless_lines_are_not)
{
	char x[1000];
	struct str line;
	open_pair();
	conn_swallow(conn, 3000);
	memset(x, 'x', sizeof x);
	for (int i = 0; i < 6; i++)
		say(str_of(x, sizeof x));
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_NONE);
	ck_assert_int_eq(conn_state(conn), CONN_BROKEN);
	close_pair();
}
END_TEST

START_TEST(too_long_lines_are_swallowed)
{
	static char big[70000];
	struct str line;
	memset(big, 'x', sizeof big);
	open_pair();
	say(STR("0123456789\r\n"));
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_OK);
	say(STR("0123456789a\r\n"));
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_TOO_LONG);
	say(str_of(big, sizeof big));
	say(STR("\r\nnext\r\n"));
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_TOO_LONG);
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_OK);
	ck_assert_view(line, "next");
	close_pair();
}
END_TEST

START_TEST(a_deadline_ends_waiting)
{
	struct str line;
	open_pair();
	conn_deadline(conn, clock_in(30));
	ck_assert_int_eq(conn_line(conn, 10, &line), LINE_NONE);
	ck_assert_int_eq(conn_state(conn), CONN_TIMEOUT);
	close_pair();
}
END_TEST

START_TEST(output_waits_for_a_read_that_waits)
{
	struct str line;
	open_pair();
	say(STR("a\r\nb\r\n"));
	conn_line(conn, 10, &line);
	conn_puts(conn, "1");
	conn_line(conn, 10, &line);
	conn_printf(conn, "%d", 2);
	fcntl(far_end, F_SETFL, O_NONBLOCK);
	ck_assert_uint_eq(hear().n, 0);
	shutdown(far_end, SHUT_WR);
	conn_line(conn, 10, &line);
	conn_flush(conn);
	ck_assert_view(hear(), "12");
	close_pair();
}
END_TEST

START_TEST(literals_and_peeking)
{
	char text[5];
	struct str seen;
	open_pair();
	say(STR("hel"));
	ck_assert(conn_peek(conn, &seen));
	ck_assert_view(seen, "hel");
	conn_consume(conn, 1);
	say(STR("lo!x"));
	ck_assert(conn_read(conn, text, 5));
	ck_assert_int_eq(memcmp(text, "ello!", 5), 0);
	ck_assert_view(conn_pending(conn), "x");
	close_pair();
}
END_TEST

START_TEST(a_swap_throws_away_what_was_said_before)
{
	int pair[2];
	struct str line;
	open_pair();
	say(STR("STARTTLS\r\nRSET\r\n"));
	conn_line(conn, 100, &line);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_uint_eq(conn_swap(conn, pair[0], pair[0]), 6);
	close(far_end);
	far_end = pair[1];
	say(STR("EHLO\r\n"));
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	ck_assert_view(line, "EHLO");
	close_pair();
}
END_TEST

START_TEST(files_large_and_small)
{
	char path[] = "/tmp/conn-test-XXXXXX";
	static char big[60000];
	int fd = mkstemp(path);
	unlink(path);
	memset(big, 'y', sizeof big);
	ck_assert_int_eq(write(fd, big, sizeof big), sizeof big);
	open_pair();
	conn_puts(conn, "<");
	ck_assert(conn_sendfile(conn, fd, 10, 100));
	ck_assert(conn_sendfile(conn, fd, 0, sizeof big));
	conn_puts(conn, ">");
	conn_flush(conn);
	size_t n = 0;
	while (n < 100 + sizeof big + 2)
		n += hear().n;
	ck_assert_uint_eq(n, 100 + sizeof big + 2);
	close(fd);
	close_pair();
}
END_TEST

START_TEST(a_peer_that_does_not_read_breaks_the_connection)
{
	static char big[1000000];
	open_pair();
	conn_write_timeout(conn, 50);
	conn_write(conn, str_of(big, sizeof big));
	ck_assert(!conn_flush(conn));
	ck_assert_int_ne(conn_state(conn), CONN_OPEN);
	close_pair();
}
END_TEST

START_TEST(waiting_for_two)
{
	int pipes[2];
	open_pair();
	ck_assert_int_eq(pipe(pipes), 0);
	ck_assert_int_eq(conn_wait(conn, pipes[0], clock_in(20)),
		WAIT_DEADLINE);
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	ck_assert_int_eq(conn_wait(conn, pipes[0], clock_in(1000)),
		WAIT_OTHER);
	say(STR("DONE\r\n"));
	ck_assert_int_eq(conn_wait(conn, -1, clock_in(1000)), WAIT_INPUT);
	close(pipes[0]);
	close(pipes[1]);
	close_pair();
}
END_TEST

START_TEST(who_is_told_to_stop_waits_no_longer)
{
	int pipes[2];
	struct str line;
	open_pair();
	ck_assert_int_eq(pipe(pipes), 0);
	conn_stop_on(conn, pipes[0]);
	say(STR("a\r\nb"));
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	/* what is there is read */
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_NONE);
	ck_assert_int_eq(conn_state(conn), CONN_STOPPED);
	/* and the last words go out */
	conn_puts(conn, "bye\r\n");
	ck_assert(conn_flush(conn));
	ck_assert_view(hear(), "bye\r\n");
	close_pair();
	open_pair();
	conn_stop_on(conn, pipes[0]);
	ck_assert_int_eq(conn_wait(conn, -1, clock_in(5000)), WAIT_CLOSED);
	ck_assert_int_eq(conn_state(conn), CONN_STOPPED);
	close_pair();
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

START_TEST(long_work_hears_of_its_end)
{
	int pipes[2];
	open_pair();
	ck_assert_int_eq(pipe(pipes), 0);
	conn_stop_on(conn, pipes[0]);
	say(STR("a"));
	ck_assert(conn_check(conn));
	/* who has said all may still listen */
	ck_assert_int_eq(shutdown(far_end, SHUT_WR), 0);
	ck_assert(conn_check(conn));
	ck_assert_int_eq(write(pipes[1], "x", 1), 1);
	ck_assert(!conn_check(conn));
	ck_assert_int_eq(conn_state(conn), CONN_STOPPED);
	close_pair();
	open_pair();
	ck_assert(conn_check(conn));
	ck_assert_int_eq(shutdown(far_end, SHUT_RDWR), 0);
	ck_assert(!conn_check(conn));
	ck_assert_int_eq(conn_state(conn), CONN_BROKEN);
	close_pair();
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

START_TEST(silence_gives_memory_back)
{
	struct str line;
	static char text[1000000];
	open_pair();
	memset(text, 'x', sizeof text);
	conn_write(conn, STR("y"));
	buf_add(conn_out(conn), str_of(text, sizeof text));
	conn_rest(conn);
	/* nothing that is still to be said is lost by it */
	ck_assert_uint_eq(conn_out(conn)->n, sizeof text + 1);
	buf_clear(conn_out(conn));
	conn_rest(conn);
	ck_assert_uint_eq(conn_out(conn)->cap, 0);
	say(STR("a\r\nb"));
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	conn_rest(conn);
	say(STR("c\r\n"));
	ck_assert_int_eq(conn_line(conn, 100, &line), LINE_OK);
	ck_assert_view(line, "bc");
	close_pair();
}
END_TEST

Suite *
suite_conn(void)
{
	return SUITE("conn", lines_and_their_ends,
		too_long_lines_are_swallowed, endless_lines_are_not, a_deadline_ends_waiting,
		output_waits_for_a_read_that_waits, literals_and_peeking,
		a_swap_throws_away_what_was_said_before, files_large_and_small,
		a_peer_that_does_not_read_breaks_the_connection,
		waiting_for_two, who_is_told_to_stop_waits_no_longer,
		long_work_hears_of_its_end,
		silence_gives_memory_back);
}
