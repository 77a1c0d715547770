/* SPDX-License-Identifier: ISC */
/* The operator's questions and orders, and what each does to a message. */
#include "queue_suites.h"
#include "stand.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
defer_all(struct stand *s, struct stand_job *j)
{
	stand_result(s, j, j->local ? "4.2.2 452 mailbox full"
				    : "4.7.1 450 greylisted", "recipient");
}

static bool
has(struct stand_rows r, struct str id)
{
	for (size_t i = 0; i < r.n; i++)
		if (str_eq(r.v[i].id, id))
			return true;
	return false;
}

#define LIST(...) stand_list(s, &(struct msg_queue_list){__VA_ARGS__})
#define ORDER(...) stand_change(s, (struct msg_queue_change){__VA_ARGS__})

START_TEST(every_filter_finds_its_rows)
{
	struct stand *s = stand_new("");
	s->agent = defer_all;
	struct str one = stand_submit(
		s, "Ann@a.test", "x@far.test y@near.test", "x\r\n");
	struct str two = stand_submit(
		s, "bob+tag@b.test", "alice@local.test", "a longer one\r\n");
	stand_until(s, stand_sql(s,
		"SELECT count(*) FROM recipient WHERE attempts = 1") == 3);
	ck_assert_uint_eq(LIST(.id = STR("")).n, 3);
	ck_assert_uint_eq(LIST(.id = one).n, 2);
	struct stand_rows r = LIST(.sender = STR("ann@A.test"));
	ck_assert(r.n == 2 && has(r, one) && !has(r, two));
	ck_assert_uint_eq(LIST(.sender = STR("*@b.test")).n, 1);
	ck_assert_uint_eq(LIST(.sender = STR("bob*")).n, 1);
	ck_assert_uint_eq(LIST(.sender = STR("*b*@*.test")).n, 1);
	ck_assert_uint_eq(LIST(.sender = STR("*+tag@*")).n, 1);
	ck_assert_uint_eq(LIST(.sender = STR("*x")).n, 0);
	ck_assert_uint_eq(LIST(.sender = STR("bob")).n, 0);
	ck_assert_uint_eq(LIST(.rcpt = STR("x@far.test")).n, 1);
	ck_assert_uint_eq(LIST(.rcpt = STR("*@*")).n, 3);
	ck_assert_uint_eq(LIST(.domain = STR("NEAR.test")).n, 1);
	ck_assert_uint_eq(LIST(.domain = STR("ear.test")).n, 0);
	ck_assert_uint_eq(LIST(.domain = STR("%")).n, 0);
	ck_assert_uint_eq(LIST(.reply = STR("greylisted")).n, 2);
	ck_assert_uint_eq(LIST(.reply = STR("452")).n, 1);
	ck_assert_uint_eq(LIST(.state = STR("deferred")).n, 3);
	ck_assert_uint_eq(LIST(.state = STR("held")).n, 0);
	ck_assert_uint_eq(LIST(.larger = 10).n, 1);
	ck_assert_uint_eq(LIST(.older = 3600).n, 0);
	ck_assert_uint_eq(LIST(.about = STR("x@far.test")).n, 1);
	ck_assert_uint_eq(LIST(.about = STR("ann@a.test")).n, 2);
	ck_assert_uint_eq(LIST(.sender = STR("ann@a.test"),
		.rcpt = STR("x@far.test")).n, 1);
	r = LIST(.id = STR("nonsense"));
	ck_assert(r.n == 0 && r.status.class == STATUS_NEVER);
	r = LIST(.after = STR("1/2/3; DROP TABLE recipient"));
	ck_assert(r.n == 0 && r.status.class == STATUS_NEVER);
	stand_free(s);
}
END_TEST

/* More than a page holds: every row once, and the mail goes on meanwhile. */
START_TEST(pages_are_whole)
{
	struct stand *s = stand_new("");
	struct buf *b = buf_new(s->arena);
	enum { MANY = 7000 };
	for (int i = 0; i < MANY; i++)
		buf_printf(b, "u%d@far.test ", i);
	s->agent = NULL;
	stand_submit(s, "a@b.test", str_cstr(s->arena, buf_str(b)), "x\r\n");
	struct stand_rows r = LIST(.id = STR(""));
	ck_assert_uint_eq(r.n, MANY);
	ck_assert_uint_ge(r.pages, 7);
	for (size_t i = 0; i < r.n; i++)
		ck_assert_int_eq(r.v[i].number, (int64_t)i);
	/* A page looks at so many rows and tells of those that fit. */
	r = LIST(.rcpt = STR("u6999@far.test"));
	ck_assert(r.n == 1 && r.pages == 2);
	stand_free(s);
}
END_TEST

START_TEST(groups_are_counted)
{
	struct stand *s = stand_new("");
	struct message m = MESSAGE(queue_list);
	int64_t far = 0, near = 0, lanes = 0, total = -1;
	s->agent = NULL;
	stand_submit(s, "a@b.test", "a@far.test b@far.test c@near.test",
		"x\r\n");
	stand_until(s, stand_job_for(s, "c@near.test") != NULL);
	struct peer *p = stand_connect(s, "surat");
	m.queue_list.group = STR("domain");
	stand_send(p, &m);
	while (stand_answer(s, p, &m) && m.kind == MSG_queue_count) {
		if (str_eq(m.queue_count.key, STR("far.test")))
			far = m.queue_count.count;
		if (str_eq(m.queue_count.key, STR("near.test")))
			near = m.queue_count.count;
		ck_assert_uint_eq(m.queue_count.ages.n, 6);
	}
	ck_assert_int_eq(far, 2);
	ck_assert_int_eq(near, 1);
	m = MESSAGE(queue_list);
	m.queue_list.group = STR("lanes");
	stand_send(p, &m);
	while (stand_answer(s, p, &m) && m.kind == MSG_queue_count) {
		if (m.queue_count.key.n == 0)
			total = m.queue_count.active;
		else
			lanes += m.queue_count.active;
	}
	ck_assert_int_eq(total, 3);
	ck_assert_int_eq(lanes, 2);
	stand_free(s);
}
END_TEST

START_TEST(hold_and_release)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n");
	s->agent = defer_all;
	struct str id = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	stand_until(s, ORDER(.verb = STR("hold"), .id = id) == 1);
	stand_until(s, str_eq(stand_state(s, id), STR("held")));
	size_t seen = s->jobs_seen;
	ck_assert_int_eq(ORDER(.verb = STR("retry"), .id = id), 0);
	ck_assert_int_eq(ORDER(.verb = STR("hold"), .id = id), 0);
	stand_again(s);
	for (int i = 0; i < 150; i++)
		stand_turn(s, 20);
	ck_assert_uint_eq(s->jobs_seen, seen);
	s->agent = stand_fine;
	ck_assert_int_eq(ORDER(.verb = STR("release"), .id = id), 1);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* It goes where it would have gone, though the rest of its message is still in
 * memory: it is no duplicate of itself. */
START_TEST(what_is_released_is_delivered)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "x@far.test y@other.test", "x\r\n");
	stand_until(s, stand_job_for(s, "x@far.test") != NULL);
	stand_until(s, stand_job_for(s, "y@other.test") != NULL);
	ck_assert_int_eq(ORDER(.verb = STR("hold"), .rcpt = STR("x@far.test")),
		1);
	stand_result(s, stand_job_for(s, "x@far.test"), "4.2.0 - busy",
		"recipient");
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE state = 2") == 1);
	ck_assert_int_eq(ORDER(.verb = STR("release"), .id = id), 1);
	stand_until(s, stand_job_for(s, "x@far.test") != NULL);
	stand_free(s);
}
END_TEST

/* Waiting in memory for its turn: out of the lane at once, and twice is no
 * more than once. */
START_TEST(orders_reach_what_is_in_memory)
{
	struct stand *s = stand_new("remote_agents = 1\n");
	struct str id[6];
	s->agent = NULL;
	for (int i = 0; i < 6; i++)
		id[i] = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
	stand_job(s);
	struct peer *p = stand_connect(s, "surat");
	struct message m, answer;
	for (int k = 0; k < 2; k++)
		for (int i = 1; i < 4; i++) {
			m = MESSAGE(queue_change);
			m.queue_change.verb = i == 1 ? STR("delete")
				: i == 2	     ? STR("hold")
						     : STR("expire");
			m.queue_change.id = id[i];
			stand_send(p, &m);
		}
	int64_t changed = 0;
	for (int i = 0; i < 6; i++) {
		ck_assert(stand_answer(s, p, &answer));
		changed += answer.done.count;
	}
	ck_assert_int_eq(changed, 3);
	stand_until(s, stand_state(s, id[1]).n == 0);
	stand_until(s, stand_state(s, id[3]).n == 0);
	ck_assert(str_eq(stand_state(s, id[2]), STR("held")));
	s->agent = stand_fine;
	stand_fine(s, stand_job(s));
	stand_until(s, stand_state(s, id[4]).n == 0 &&
		stand_state(s, id[5]).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'deleted'"), 1);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'expired'"), 1);
	stand_free(s);
}
END_TEST

/* With an agent: it cannot be had, but need not be tried again. */
START_TEST(orders_wait_for_the_agent)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n");
	struct str id[4];
	s->agent = NULL;
	static const char *const to[] = {"a@one.test", "b@two.test",
		"c@three.test", "d@four.test"};
	for (int i = 0; i < 4; i++)
		id[i] = stand_submit(s, "alice@local.test", to[i], "x\r\n");
	for (int i = 0; i < 4; i++)
		stand_until(s, stand_job_for(s, to[i]) != NULL);
	ck_assert_int_eq(ORDER(.verb = STR("hold"), .id = id[0]), 1);
	ck_assert_int_eq(ORDER(.verb = STR("delete"), .id = id[1]), 1);
	ck_assert_int_eq(ORDER(.verb = STR("expire"), .id = id[2]), 1);
	ck_assert_int_eq(ORDER(.verb = STR("hold"), .id = id[3]), 1);
	for (int i = 0; i < 3; i++)
		stand_result(s, stand_job_for(s, to[i]), "4.2.0 450 later",
			"recipient");
	/* What was the last attempt anyway is that. */
	stand_fine(s, stand_job_for(s, to[3]));
	stand_until(s, str_eq(stand_state(s, id[0]), STR("held")));
	stand_until(s, stand_state(s, id[1]).n == 0);
	stand_until(s, stand_state(s, id[2]).n == 0);
	stand_until(s, stand_state(s, id[3]).n == 0);
	ck_assert(stand_job_for(s, "alice@local.test") != NULL ||
		stand_job(s) != NULL);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'relayed'"), 1);
	stand_free(s);
}
END_TEST

START_TEST(an_expired_message_is_returned)
{
	struct stand *s = stand_new("");
	s->agent = defer_all;
	struct str id = stand_submit(
		s, "alice@local.test", "x@far.test", "S: x\r\n\r\nx\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	s->agent = NULL;
	ck_assert_int_eq(ORDER(.verb = STR("expire"), .id = id), 1);
	struct stand_job *j = stand_job(s);
	ck_assert_view(j->job.rcpt.v[0], "alice@local.test");
	ck_assert(str_search(j->content, STR("Status: 5.4.7\r\n")) <
		j->content.n);
	ck_assert_uint_eq(stand_state(s, id).n, 0);
	stand_free(s);
}
END_TEST

START_TEST(a_redirected_message_goes_elsewhere)
{
	struct stand *s = stand_new("");
	stand_alias(s, "team@local.test", "bob@local.test carol@local.test");
	s->agent = defer_all;
	struct str id = stand_submit(
		s, "alice@local.test", "x@far.test y@far.test", "x\r\n");
	stand_until(s, stand_sql(s,
		"SELECT count(*) FROM recipient WHERE attempts = 1") == 2);
	ck_assert_int_eq(ORDER(.verb = STR("redirect"), .id = id,
		.text = STR("no address")), -1);
	s->agent = NULL;
	ck_assert_int_eq(ORDER(.verb = STR("redirect"), .id = id,
		.rcpt = STR("x@far.test"), .text = STR("team@local.test")), 1);
	stand_until(s, stand_job_for(s, "bob@local.test") != NULL);
	stand_until(s, stand_job_for(s, "carol@local.test") != NULL);
	struct stand_rows r;
	stand_until(s, (r = LIST(.id = id,
		.rcpt = STR("bob@local.test"))).n == 1);
	ck_assert_view(r.v[0].orcpt, "rfc822;x@far.test");
	ck_assert_uint_eq(LIST(.id = id).n, 3);
	/* Once more, all of them: those of one expansion meet no others. */
	stand_result(s, stand_job_for(s, "bob@local.test"), "4.2.0 450 x", "");
	struct stand_job *j = stand_job_for(s, "carol@local.test");
	if (j != NULL)
		stand_result(s, j, "4.2.0 450 x", "");
	stand_until(s, LIST(.id = id, .state = STR("deferred")).n == 3);
	stand_alias(s, "all@local.test", "d@local.test e@local.test "
		"f@local.test");
	s->agent = stand_fine;
	ck_assert_int_eq(ORDER(.verb = STR("redirect"), .id = id,
		.text = STR("all@local.test")), 3);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'delivered'"), 3);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'duplicate'"), 6);
	stand_free(s);
}
END_TEST

START_TEST(all_has_to_be_said)
{
	struct stand *s = stand_new("");
	s->agent = defer_all;
	stand_submit(s, "a@b.test", "x@far.test y@far.test", "x\r\n");
	stand_until(s, stand_sql(s,
		"SELECT count(*) FROM recipient WHERE attempts = 1") == 2);
	ck_assert_int_eq(ORDER(.verb = STR("delete")), -1);
	ck_assert_int_eq(ORDER(.verb = STR("eat"), .text = STR("all")), -1);
	ck_assert_int_eq(ORDER(.verb = STR("delete"), .text = STR("all")), 2);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 0);
	stand_free(s);
}
END_TEST

/* What happened, and how long each step took. */
START_TEST(history_tells_the_attempts)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n");
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(s, "a@b.test", "x@far.test",
		"Subject: x\r\nMessage-ID: <one.two@three.test>\r\n\r\nx\r\n");
	m.trace = STR("began=123 helo=x");
	s->agent = defer_all;
	struct str id = stand_submit_as(s, p, &m);
	stand_until(s, s->jobs_seen == 2);
	s->agent = stand_fine;
	stand_until(s, stand_state(s, id).n == 0);
	struct stand_rows r = LIST(.id = id, .history = 1);
	ck_assert_uint_eq(r.n, 1);
	ck_assert_view(r.v[0].state, "relayed");
	ck_assert_view(r.v[0].message_id, "one.two@three.test");
	ck_assert_view(r.v[0].trace, "began=123 helo=x");
	ck_assert_int_eq(r.v[0].attempts, (int64_t)s->jobs_seen);
	ck_assert_int_gt(r.v[0].started, r.v[0].accepted);
	ck_assert_int_gt(r.v[0].took, 0);
	struct stand_rows t = LIST(.id = id, .attempts = 1);
	ck_assert_uint_eq(t.n, s->jobs_seen - 1);
	ck_assert_view(t.v[0].reply, "4.7.1 450 greylisted");
	ck_assert_view(t.v[0].remote, "mx.remote.test");
	ck_assert_int_gt(t.v[1].started, t.v[0].started);
	ck_assert_uint_eq(LIST(.about = STR("one.two@three.test"),
		.history = 1).n, 1);
	stand_free(s);
}
END_TEST

/* Ids never fall: those of a clock that was ahead for a while stay ahead. */
START_TEST(history_of_a_future_clock_is_pruned)
{
	struct stand *s = stand_new("");
	stand_kill(s);
	stand_exec(s, "CREATE TEMP TABLE f AS SELECT"
		" (strftime('%s') + 366 * 86400) * 1000000 AS id;"
		"INSERT INTO history (message, number, finished) SELECT id, 0,"
		" 1 FROM f UNION ALL SELECT id + 1, 0, strftime('%s') FROM f"
		" UNION ALL SELECT 1000000, 0, 1;"
		"INSERT INTO attempt (message, number, started) SELECT id, 0,"
		" 1 FROM f UNION ALL SELECT id + 1, 0, strftime('%s') *"
		" 1000000 FROM f UNION ALL SELECT 1000000, 0, 1");
	stand_start(s);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM history") == 1);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM attempt") == 1);
	ck_assert_int_eq(stand_sql(s, "SELECT message % 2 FROM history"), 1);
	ck_assert_int_eq(stand_sql(s, "SELECT message % 2 FROM attempt"), 1);
	stand_free(s);
}
END_TEST

START_TEST(content_can_be_read)
{
	struct stand *s = stand_new("");
	s->agent = defer_all;
	struct str id = stand_submit(s, "a@b.test", "x@far.test",
		"Subject: x\r\n\r\nthe content\r\n");
	struct peer *p = stand_connect(s, "surat");
	struct message m = MESSAGE(queue_list), answer;
	char text[100];
	m.queue_list.id = id;
	m.queue_list.content = 1;
	stand_send(p, &m);
	ck_assert(stand_answer(s, p, &answer) && answer.fd >= 0);
	ssize_t n = read(answer.fd, text, sizeof text);
	ck_assert_view(str_of(text, (size_t)n),
		"Subject: x\r\n\r\nthe content\r\n");
	m.queue_list.id = STR("0000000000Z");
	stand_send(p, &m);
	ck_assert(stand_answer(s, p, &answer) && answer.fd < 0);
	ck_assert_int_eq(answer.opened.status.class, STATUS_NEVER);
	stand_free(s);
}
END_TEST

Suite *
suite_control(void)
{
	return SUITE("control", every_filter_finds_its_rows, pages_are_whole,
		groups_are_counted, hold_and_release, what_is_released_is_delivered,
		orders_reach_what_is_in_memory, orders_wait_for_the_agent,
		an_expired_message_is_returned,
		a_redirected_message_goes_elsewhere, all_has_to_be_said,
		history_tells_the_attempts,
		history_of_a_future_clock_is_pruned, content_can_be_read);
}
