/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/loop.h"

#include <unistd.h>

static struct loop *loop;
static struct loop_watch *watch;
static int pipes[2], calls, turns;
static char order[32];

static void
note(void *ctx)
{
	strcat(order, ctx);
	if (strcmp(ctx, "z") == 0)
		loop_stop(loop);
}

static void
readable(void *ctx, int fd, unsigned events)
{
	char c;
	(void)ctx;
	ck_assert_uint_eq(events & LOOP_READ, LOOP_READ);
	ck_assert_int_eq(read(fd, &c, 1), 1);
	calls++;
	loop_unwatch(watch);
}

static void
count_turn(void *ctx)
{
	(void)ctx;
	turns++;
}

START_TEST(timers_in_order_and_removable)
{
	struct arena *a = arena_new("test");
	loop = loop_new(a);
	order[0] = 0;
	loop_timer(loop, clock_in(30), note, (char[]){"z"});
	struct loop_timer *gone = loop_timer(loop, clock_in(10), note, (char[]){"x"});
	loop_timer(loop, clock_in(20), note, (char[]){"b"});
	loop_timer(loop, clock_in(0), note, (char[]){"a"});
	loop_untimer(gone);
	loop_untimer(NULL);
	loop_run(loop);
	ck_assert_str_eq(order, "abz");
	arena_free(a);
}
END_TEST

START_TEST(a_watch_may_remove_itself)
{
	struct arena *a = arena_new("test");
	loop = loop_new(a);
	ck_assert_int_eq(pipe(pipes), 0);
	watch = loop_watch(loop, pipes[0], LOOP_READ, readable, NULL);
	loop_after(loop, count_turn, NULL);
	loop_turn(loop, 0);
	ck_assert_int_eq(turns, 0);
	ck_assert_int_eq(write(pipes[1], "xy", 2), 2);
	loop_turn(loop, 100);
	loop_turn(loop, 0);
	ck_assert_int_eq(calls, 1);
	ck_assert_int_eq(turns, 1);
	close(pipes[0]);
	close(pipes[1]);
	arena_free(a);
}
END_TEST

START_TEST(a_thousand_timers)
{
	struct arena *a = arena_new("test");
	struct loop_timer *t[1000];
	loop = loop_new(a);
	calls = turns = 0;
	int64_t now = clock_ms();
	for (int i = 0; i < 1000; i++)
		t[i] = loop_timer(loop, now + (i * 7919) % 20, count_turn, 0);
	for (int i = 0; i < 1000; i += 2)
		loop_untimer(t[i]);
	int64_t end = clock_in(1000);
	while (turns < 500 && clock_left(end) > 0)
		loop_turn(loop, 50);
	ck_assert_int_eq(turns, 500);
	arena_free(a);
}
END_TEST

Suite *
suite_loop(void)
{
	return SUITE("loop", timers_in_order_and_removable,
		a_watch_may_remove_itself, a_thousand_timers);
}
