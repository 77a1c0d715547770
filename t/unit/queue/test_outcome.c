/* SPDX-License-Identifier: ISC */
/* What a result means: the schedule, classes of errors, age. */
#include "queue_suites.h"
#include "stand.h"

#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------- schedule */

static struct queue
queue_with(struct conf *c, struct str_list retry, int64_t most)
{
	*c = (struct conf){0};
	c->queue.retry = retry;
	c->queue.retry_max = most;
	return (struct queue){.conf = c};
}

START_TEST(row60_retries_follow_the_list_and_then_grow_to_the_most)
{
	struct conf c;
	struct str list[] = {STR("1m"), STR("5m"), STR("10m"), STR("15m"),
		STR("30m")};
	struct queue q = queue_with(
		&c, (struct str_list){list, 5}, 4 * 3600);
	const int64_t want[] = {60, 300, 600, 900, 1800, 2700, 4050, 6075,
		9112, 13668, 14400, 14400, 14400};
	for (int i = 0; i < 13; i++)
		for (int k = 0; k < 200; k++) {
			int64_t got = outcome_next(&q, i);
			ck_assert_int_ge(got, want[i] + want[i] / 10);
			ck_assert_int_le(got, want[i] + want[i] / 10 * 2 + 1);
		}
	ck_assert_int_le(outcome_next(&q, 1000000), 14400 * 6 / 5);
}
END_TEST

START_TEST(what_failed_together_does_not_come_back_together)
{
	struct conf c;
	struct str list[] = {STR("1h")};
	struct queue q = queue_with(&c, (struct str_list){list, 1}, 7200);
	int64_t least = INT64_MAX, most = 0;
	for (int i = 0; i < 1000; i++) {
		int64_t n = outcome_next(&q, 0);
		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	ck_assert_int_ge(most - least, 300);
	/* An empty list, a list of nothing: a minute, not a storm. */
	q = queue_with(&c, (struct str_list){NULL, 0}, 7200);
	ck_assert_int_ge(outcome_next(&q, 0), 60);
	list[0] = STR("soon");
	q = queue_with(&c, (struct str_list){list, 1}, 7200);
	ck_assert_int_ge(outcome_next(&q, 0), 60);
}
END_TEST

/* --------------------------------------------------------------- classes */

static const char *answer, *scope;

static void
answers(struct stand *s, struct stand_job *j)
{
	stand_result(s, j, answer, scope);
}

static int64_t
number_of(struct stand *s, const char *column, struct str id)
{
	char sql[160];
	int64_t n;
	ck_assert(qid_parse(id, &n));
	snprintf(sql, sizeof sql, "SELECT %s FROM recipient WHERE message = "
		"%lld AND number = 0", column, (long long)n);
	return stand_sql(s, sql);
}

START_TEST(later_is_tried_later)
{
	struct stand *s = stand_new("retry = {10m}\n");
	s->agent = answers;
	answer = "4.2.2 452 mailbox full\nsecond line";
	scope = "recipient";
	struct str id = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	ck_assert_int_eq(number_of(s, "attempts", id), 1);
	ck_assert_int_ge(number_of(s, "next", id), clock_wall() + 600);
	ck_assert_int_le(number_of(s, "next", id), clock_wall() + 780);
	struct msg_queue_list l = {.id = id};
	struct stand_rows r = stand_list(s, &l);
	ck_assert_view(r.v[0].reply, "4.2.2 452 mailbox full\nsecond line");
	ck_assert_view(r.v[0].remote, "mx.remote.test");
	/* Its destination is fine: others go there at once. */
	s->agent = stand_fine;
	struct str other = stand_submit(s, "a@b.test", "y@far.test", "x\r\n");
	stand_until(s, stand_state(s, other).n == 0);
	ck_assert(str_eq(stand_state(s, id), STR("deferred")));
	stand_free(s);
}
END_TEST

/* The timer was set for much later, the change comes after: the race that
 * cost ten minutes. */
START_TEST(row61_a_retry_is_in_time)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n");
	s->agent = answers;
	answer = "4.2.0 - busy";
	scope = "recipient";
	struct str id[5];
	for (int i = 0; i < 5; i++) {
		id[i] = stand_submit(s, "a@b.test", i % 2 == 0
			? "alice@local.test" : "x@far.test", "x\r\n");
		stand_turn(s, 50);
	}
	stand_until(s, s->jobs_seen >= 15);
	s->agent = stand_fine;
	for (int i = 0; i < 5; i++)
		stand_until(s, stand_state(s, id[i]).n == 0);
	stand_free(s);
}
END_TEST

START_TEST(auth_may_say_later_or_never)
{
	struct stand *s = stand_new("retry = {10m}\n");
	struct str later = stand_submit(
		s, "a@local.test", "later@local.test", "x\r\n");
	struct str never = stand_submit(
		s, "", "unknown@local.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, later), STR("deferred")));
	stand_until(s, stand_state(s, never).n == 0);
	ck_assert_int_eq(number_of(s, "state", later), ROW_NEW);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'failed' AND reply = '5.1.1 - no such user'"),
		1);
	stand_free(s);
}
END_TEST

/* Old by the clock and tried three times; not by one jump of the clock. */
START_TEST(row65_what_is_too_old_is_given_up)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n"
		"max_age = 1s\n");
	s->agent = answers;
	answer = "4.4.1 - no answer";
	scope = "recipient";
	struct str id = stand_submit(s, "", "x@far.test", "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT attempts FROM history"), 3);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'expired' AND reply LIKE '5.4.7 %no answer'"), 1);
	/* A host that is down: rounds count, though nobody tried this one. */
	scope = "host";
	for (int i = 0; i < 3; i++)
		stand_submit(s, "", "x@dead.test", "x\r\n");
	stand_until(s, stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'expired'") == 4);
	stand_free(s);
}
END_TEST

/* A clock that was set back: rows due next year are due when theirs comes. */
START_TEST(row65_rows_of_a_future_clock_are_not_lost)
{
	struct stand *s = stand_new("retry = {10m}\n");
	s->agent = answers;
	answer = "4.2.0 - busy";
	scope = "recipient";
	struct str id = stand_submit(s, "", "x@far.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	stand_kill(s);
	stand_exec(s, "UPDATE recipient SET next = next + 366 * 86400");
	s->agent = stand_fine;
	stand_start(s);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

Suite *
suite_outcome(void)
{
	return SUITE("outcome",
		row60_retries_follow_the_list_and_then_grow_to_the_most,
		what_failed_together_does_not_come_back_together,
		later_is_tried_later, row61_a_retry_is_in_time,
		auth_may_say_later_or_never, row65_what_is_too_old_is_given_up,
		row65_rows_of_a_future_clock_are_not_lost);
}
