/* SPDX-License-Identifier: ISC */
/* Agents, jobs, turns, limits, and what an agent's death means. */
#include "queue_suites.h"
#include "stand.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct str
many(struct stand *s, size_t n, const char *domain)
{
	struct buf *b = buf_new(s->arena);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "u%zu@%s ", i, domain);
	return str_from(str_cstr(s->arena, buf_str(b)));
}

static size_t
jobs_held(struct stand *s)
{
	size_t n = 0;
	list_each(&s->jobs, at, save)
		n++;
	return n;
}

/* ------------------------------------------------------------- fairness */

static size_t bulk_done, single_at;

static void
count_order(struct stand *s, struct stand_job *j)
{
	if (str_eq(j->job.sender, STR("bulk@b.test")))
		bulk_done += j->job.number.n;
	else
		single_at = bulk_done;
	stand_fine(s, j);
}

/* One recipient behind ten thousand is served in its turn. */
START_TEST(one_recipient_is_not_stuck_behind_ten_thousand)
{
	struct stand *s = stand_new("");
	static char list[400000];
	size_t n = 0;
	for (int i = 0; i < 10000; i++)
		n += (size_t)snprintf(list + n, sizeof list - n,
			"u%d@far.test ", i);
	s->agent = NULL;
	ck_assert(stand_submit(s, "bulk@b.test", list, "x\r\n").n > 0);
	stand_job(s);
	struct str id = stand_submit(s, "one@b.test", "x@far.test", "x\r\n");
	s->agent = count_order;
	list_each(&s->jobs, at, save)
		count_order(s, list_entry(at, struct stand_job, link));
	stand_until(s, bulk_done == 10000 && stand_state(s, id).n == 0);
	ck_assert_uint_lt(single_at, 3000);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'relayed'"), 10001);
	stand_free(s);
}
END_TEST

/* Nor behind what of it is under way: a connection is left for it, and no
 * more than one. */
START_TEST(a_bulk_leaves_a_connection_to_others)
{
	enum { LIMIT = 5 };
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str to = many(s, 1000, "far.test");
	ck_assert(stand_submit(s, "bulk@b.test", to.p, "x\r\n").n > 0);
	stand_until(s, jobs_held(s) == LIMIT - 1);
	stand_turn(s, 50);
	ck_assert_uint_eq(jobs_held(s), LIMIT - 1);
	ck_assert(stand_submit(s, "a@b.test", "one@far.test", "x\r\n").n > 0);
	ck_assert(stand_submit(s, "a@b.test", "two@far.test", "x\r\n").n > 0);
	stand_until(s, stand_job_for(s, "one@far.test") != NULL);
	stand_turn(s, 50);
	ck_assert_uint_eq(jobs_held(s), LIMIT);
	stand_fine(s, stand_job_for(s, "one@far.test"));
	stand_until(s, stand_job_for(s, "two@far.test") != NULL);
	stand_free(s);
}
END_TEST

/* Two connections are too few to leave one empty. */
START_TEST(of_two_connections_a_bulk_has_both)
{
	struct stand *s = stand_new("");
	stand_exec(s, "INSERT INTO destination (name, most, ceiling,"
		" ceiling_until, ceiling_hold)"
		" VALUES ('far.test', 2, 2, strftime('%s') + 1000, 60)");
	stand_again(s);
	s->agent = NULL;
	struct str to = many(s, 1000, "far.test");
	ck_assert(stand_submit(s, "bulk@b.test", to.p, "x\r\n").n > 0);
	stand_until(s, jobs_held(s) == 2);
	stand_free(s);
}
END_TEST

/* A rate is kept over all connections and messages. */
START_TEST(a_destination_may_have_a_rate)
{
	struct stand *s = stand_new("rates = {\"slow.test 600\"}");
	int64_t began = clock_ms();
	s->agent = stand_fine;
	for (int i = 0; i < 3; i++)
		ck_assert(stand_submit(s, "a@b.test", "u@slow.test v@slow.test "
			"w@slow.test", "x\r\n").n > 0);
	ck_assert(stand_submit(s, "a@b.test", "u@fast.test", "x\r\n").n > 0);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM history"
		" WHERE address = 'u@fast.test'") == 1);
	ck_assert_int_lt(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE destination = 'slow.test'"), 9);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 0);
	/* Nothing waits behind the last job. */
	ck_assert_int_ge(clock_ms() - began, 600);
	stand_free(s);
}
END_TEST

/* The same when both are rows: after a restart. */
START_TEST(nor_after_a_restart)
{
	struct stand *s = stand_new("");
	static char list[400000];
	size_t n = 0;
	for (int i = 0; i < 10000; i++)
		n += (size_t)snprintf(list + n, sizeof list - n,
			"u%d@far.test ", i);
	s->agent = NULL;
	ck_assert(stand_submit(s, "bulk@b.test", list, "x\r\n").n > 0);
	struct str id = stand_submit(s, "one@b.test", "x@far.test", "x\r\n");
	/* Those in memory are not written as such. */
	stand_until(s, stand_sql(s,
		"SELECT count(*) FROM recipient WHERE state = 1") >= 9000);
	stand_kill(s);
	s->agent = count_order;
	bulk_done = single_at = 0;
	stand_start(s);
	stand_until(s, bulk_done >= 10000 && stand_state(s, id).n == 0);
	ck_assert_uint_lt(single_at, 3000);
	stand_free(s);
}
END_TEST

/* A destination that hangs has its agents, and the others have theirs. */
static void
hang_at_far(struct stand *s, struct stand_job *j)
{
	if (!str_eq(j->job.destination, STR("far.test")))
		stand_fine(s, j);
}

START_TEST(a_destination_that_hangs_holds_up_no_other)
{
	struct stand *s = stand_new("remote_agents = 10\n"
		"destination_concurrency = 20\n");
	static char list[400000];
	size_t n = 0;
	for (int i = 0; i < 20000; i++)
		n += (size_t)snprintf(list + n, sizeof list - n,
			"u%d@far.test ", i);
	s->agent = hang_at_far;
	ck_assert(stand_submit(s, "bulk@b.test", list, "x\r\n").n > 0);
	stand_until(s, jobs_held(s) == 4);
	for (int i = 0; i < 20; i++) {
		char to[32];
		snprintf(to, sizeof to, "x@near%d.test", i);
		struct str id = stand_submit(s, "a@b.test", to, "x\r\n");
		stand_until(s, stand_state(s, id).n == 0);
	}
	/* Rows too, and local ones. */
	stand_kill(s);
	ck_assert_int_eq(system("true"), 0);
	stand_start(s);
	stand_until(s, jobs_held(s) > 0);
	struct str id = stand_submit(s, "a@b.test", "alice@local.test", "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM recipient"), 20000);
	stand_free(s);
}
END_TEST

/* --------------------------------------------------------------- limits */

static size_t most_at_once, refused, served;
enum { BEARS = 3 };

/* A server that refuses the connection after its third. */
static void
bears_three(struct stand *s, struct stand_job *j)
{
	size_t now = jobs_held(s);
	if (now > most_at_once)
		most_at_once = now;
	if (now > BEARS) {
		refused++;
		stand_result(s, j, "4.3.2 421 too many connections", "host");
		return;
	}
	/* Held until enough came together, or nothing more comes. */
}

START_TEST(a_limit_is_learned_and_costs_no_attempt)
{
	struct stand *s = stand_new("");
	s->agent = bears_three;
	for (int i = 0; i < 200; i++) {
		char to[32];
		snprintf(to, sizeof to, "u%d@far.test", i);
		ck_assert(stand_submit(s, "a@b.test", to, "x\r\n").n > 0);
	}
	while (served < 200) {
		stand_until(s, !list_is_empty(&s->jobs));
		stand_turn(s, 20);
		struct stand_job *j =
			list_first(&s->jobs, struct stand_job, link);
		if (j == NULL)
			continue;
		served += j->job.number.n;
		stand_fine(s, j);
	}
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	ck_assert_uint_gt(most_at_once, BEARS);
	ck_assert_uint_lt(refused, 8);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE attempts = 1 AND outcome = 'relayed'"), 200);
	stand_free(s);
}
END_TEST

static size_t
count_deferred(struct stand *s)
{
	return (size_t)stand_sql(s, "SELECT count(*) FROM history"
		" WHERE attempts > 1 OR outcome <> 'relayed'");
}

/* The same behind many domains: what one server bears is learned for all of
 * them together, costs nearly no attempt, and is written down. */
START_TEST(a_provider_has_a_limit_for_all_its_domains)
{
	struct stand *s = stand_new("retry = {1s}");
	s->agent = bears_three;
	most_at_once = refused = served = 0;
	for (int i = 0; i < 60; i++) {
		char to[64];
		snprintf(to, sizeof to, "u%d@domain%d.test", i, i % 30);
		ck_assert(stand_submit(s, "a@b.test", to, "x\r\n").n > 0);
	}
	while (served < 60) {
		stand_until(s, !list_is_empty(&s->jobs));
		stand_turn(s, 20);
		struct stand_job *j =
			list_first(&s->jobs, struct stand_job, link);
		if (j == NULL)
			continue;
		served += j->job.number.n;
		stand_fine(s, j);
	}
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	ck_assert_uint_gt(most_at_once, BEARS);
	/* The first to be refused had nobody to be compared with. */
	ck_assert_uint_le(count_deferred(s), 2);
	ck_assert_int_ge(stand_sql(s, "SELECT ceiling FROM destination"
		" WHERE name = '@remote.test'"), 1);
	stand_free(s);
}
END_TEST

static void
send_to_domains(struct stand *s, int domains)
{
	for (int i = 0; i < domains; i++) {
		char to[64];
		snprintf(to, sizeof to, "u@domain%d.test", i);
		ck_assert(stand_submit(s, "a@b.test", to, "x\r\n").n > 0);
	}
}

/* Who a domain's provider is its first delivery tells; what that one bears the
 * row says, to a queue that has seen no refusal itself. */
START_TEST(what_a_provider_bears_is_known_after_a_restart)
{
	enum { DOMAINS = 12, CEILING = 2 };
	struct stand *s = stand_new("");
	stand_exec(s, "INSERT INTO destination (name, most, ceiling,"
		" ceiling_until, ceiling_hold)"
		" VALUES ('@remote.test', 0, 2,"
		" strftime('%s') + 1000, 60)");
	stand_again(s);
	s->agent = NULL;
	send_to_domains(s, DOMAINS);
	stand_until(s, jobs_held(s) > CEILING);
	s->agent = stand_fine;
	while (!list_is_empty(&s->jobs))
		stand_fine(s, list_first(&s->jobs, struct stand_job, link));
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);

	s->agent = NULL;
	send_to_domains(s, DOMAINS);
	for (int done = 0; done < DOMAINS; done++) {
		struct stand_job *j = stand_job(s);
		stand_turn(s, 50);
		ck_assert_uint_le(jobs_held(s), CEILING);
		stand_fine(s, j);
	}
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	stand_free(s);
}
END_TEST

static void
host_down(struct stand *s, struct stand_job *j)
{
	stand_result(s, j, "4.4.1 - connection refused", "host");
}

/* Nobody answers: one probe, everything else goes back to its row, and its
 * first success releases all. */
START_TEST(a_dead_host_is_probed_by_one)
{
	struct stand *s = stand_new("retry = {3s}\nretry_max = 3s\n");
	s->agent = host_down;
	struct str to = many(s, 300, "dead.test");
	for (int i = 0; i < 10; i++)
		ck_assert(stand_submit(s, "a@b.test", to.p, "x\r\n").n > 0);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE parked > 0") == 3000);
	size_t seen = s->jobs_seen;
	ck_assert_uint_lt(seen, 10);
	ck_assert(stand_logged(s, "destination-down destination=dead.test"));
	/* New mail waits with the rest. */
	struct str id = stand_submit(s, "a@b.test", "x@dead.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	/* The probe alone goes out, then all at once. */
	s->agent = NULL;
	stand_until(s, jobs_held(s) == 1);
	for (int i = 0; i < 20; i++)
		stand_turn(s, 10);
	ck_assert_uint_eq(jobs_held(s), 1);
	s->agent = stand_fine;
	stand_fine(s, list_first(&s->jobs, struct stand_job, link));
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	ck_assert(stand_logged(s, "destination-up destination=dead.test"));
	stand_free(s);
}
END_TEST

/* What is known of a destination outlives the queue. */
START_TEST(a_dead_host_stays_dead_over_a_restart)
{
	struct stand *s = stand_new("retry = {5m}\n");
	s->agent = host_down;
	struct str id = stand_submit(s, "a@b.test", "x@dead.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	stand_until(s, stand_sql(s, "SELECT failures FROM destination") == 1);
	size_t seen = s->jobs_seen;
	stand_again(s);
	id = stand_submit(s, "a@b.test", "y@dead.test", "x\r\n");
	stand_until(s, str_eq(stand_state(s, id), STR("deferred")));
	ck_assert_uint_eq(s->jobs_seen, seen);
	/* But an operator's word counts: one probes at once. */
	s->agent = NULL;
	ck_assert_int_eq(stand_change(s, (struct msg_queue_change){
		.verb = STR("retry"), .text = STR("all")}), 2);
	stand_until(s, jobs_held(s) == 1);
	s->agent = stand_fine;
	stand_fine(s, stand_job(s));
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	stand_free(s);
}
END_TEST

/* ---------------------------------------------------------------- jobs */

START_TEST(recipients_of_one_destination_share_a_job)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	stand_submit(s, "a@b.test", "a@one.test b@two.test c@one.test "
		"d@two.test e@one.test", "x\r\n");
	stand_until(s, jobs_held(s) == 2);
	struct stand_job *one = stand_job_for(s, "a@one.test");
	ck_assert_uint_eq(one->job.rcpt.n, 3);
	ck_assert_view(one->job.destination, "one.test");
	ck_assert_view(one->job.rcpt.v[2], "e@one.test");
	ck_assert_uint_eq(stand_job_for(s, "b@two.test")->job.rcpt.n, 2);
	stand_free(s);
}
END_TEST

START_TEST(one_mailbox_always_has_the_same_agent)
{
	struct stand *s = stand_new("local_agents = 4\n");
	struct peer *of[8] = {NULL};
	s->agent = NULL;
	for (int round = 0; round < 5; round++)
		for (int u = 0; u < 8; u++) {
			char to[32];
			snprintf(to, sizeof to, "u%d@local.test", u);
			stand_submit(s, "a@b.test", to, "x\r\n");
			stand_until(s, stand_job_for(s, to) != NULL);
			struct stand_job *j = stand_job_for(s, to);
			ck_assert(of[u] == NULL || of[u] == j->peer);
			of[u] = j->peer;
			stand_fine(s, j);
		}
	ck_assert_uint_le(s->agents_started, 4);
	stand_free(s);
}
END_TEST

/* Three hundred system users, each with an agent of his own, and places for
 * eight. */
START_TEST(agents_of_many_users_take_turns)
{
	struct stand *s = stand_new("");
	static size_t most;
	for (int i = 0; i < 60; i++) {
		char to[32];
		snprintf(to, sizeof to, "u@ids%d.test", 1000 + i);
		ck_assert(stand_submit(s, "a@b.test", to, "x\r\n").n > 0);
	}
	int64_t left;
	while ((left = stand_sql(s, "SELECT count(*) FROM recipient")) > 0) {
		if (s->agents_alive > most)
			most = s->agents_alive;
		stand_turn(s, 10);
	}
	ck_assert_uint_ge(s->agents_started, 60);
	ck_assert_uint_le(most, 2 * 2 + 8);
	stand_free(s);
}
END_TEST

START_TEST(row72_duplicates_are_delivered_once)
{
	struct stand *s = stand_new("");
	stand_alias(s, "list@local.test", "alice@local.test bob@local.test "
		"x@far.test");
	stand_alias(s, "all@local.test", "bob@local.test x@far.test "
		"carol@local.test");
	struct str id = stand_submit(s, "a@b.test", "list@local.test "
		"alice@local.test all@local.test x@far.test", "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome IN ('delivered', 'relayed')"), 4);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'duplicate'"), 4);
	stand_free(s);
}
END_TEST

/* The crash comes between one recipient's route and the other's. */
START_TEST(duplicates_are_known_after_a_restart)
{
	struct stand *s = stand_new("");
	stand_alias(s, "bob@local.test", "alice@local.test");
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test bob@local.test", "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	s->agent = NULL;
	id = stand_submit(s, "a@b.test", "alice@local.test bob@local.test",
		"x\r\n");
	stand_until(s, jobs_held(s) == 1);
	stand_kill(s);
	stand_exec(s, "INSERT OR REPLACE INTO recipient SELECT message, 1, 0,"
		" next, 'bob@local.test', '', '', '', '', '', '', '', 0, 0, 0,"
		" 0, '', '' FROM recipient WHERE number = 0");
	s->agent = stand_fine;
	s->jobs_seen = 0;
	stand_start(s);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_uint_eq(s->jobs_seen, 1);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'duplicate'"), 2);
	stand_free(s);
}
END_TEST

/* --------------------------------------------------------------- deaths */

START_TEST(what_a_dead_agent_had_is_verified)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	struct stand_job *j = stand_job(s);
	ck_assert_int_eq(j->job.verify, 0);
	struct str name = str_copy(s->arena, j->job.name.v[0]);
	stand_crash(s, j);
	j = stand_job(s);
	ck_assert_int_eq(j->job.verify, 1);
	ck_assert(str_eq(j->job.name.v[0], name));
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* Delivered but not synced when the agent goes: somebody must look. */
START_TEST(row02_what_a_dead_agent_delivered_is_verified)
{
	struct stand *s = stand_new("checkpoint = 60s\n");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	struct peer *agent = stand_job(s)->peer;
	stand_fine(s, stand_job(s));
	stand_until(s, str_eq(stand_state(s, id), STR("delivered")));
	peer_close(agent);
	ck_assert_int_eq(stand_job(s)->job.verify, 1);
	stand_free(s);
}
END_TEST

/* The copy of something forwarded may be in the mailbox although its row was
 * lost with the queue: who expands it again says so. */
START_TEST(row02_what_was_forwarded_again_is_verified)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	stand_crash(s, stand_job(s));
	struct stand_job *j = stand_job(s);
	ck_assert_int_eq(j->job.verify, 1);
	stand_forward(s, j, "\\");
	j = stand_job(s);
	ck_assert(str_eq(j->job.user.v[0], STR("\\alice")));
	ck_assert_int_eq(j->job.verify, 1);
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* A command's mail goes one after the other, and what is forwarded to one is
 * run as whose .forward it was. */
START_TEST(row71_commands)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	stand_submit(s, "a@b.test", "cmd@pipe.test", "x\r\n");
	struct str id = stand_submit(s, "a@b.test", "cmd@pipe.test", "y\r\n");
	struct stand_job *j = stand_job(s);
	ck_assert_view(j->job.destination, "|cmd");
	ck_assert_uint_eq(j->job.user.n, 1);
	stand_turn(s, 200);
	ck_assert(s->jobs.next == s->jobs.prev);
	stand_fine(s, j);
	j = stand_job(s);
	ck_assert_view(j->content, "y\r\n");
	/* done is done: no sync is waited for */
	size_t syncs = s->checkpoints;
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_uint_eq(s->checkpoints, syncs);
	id = stand_submit(s, "a@b.test", "alice@ids7.test", "z\r\n");
	j = stand_job(s);
	ck_assert_int_eq(j->job.own, 1);
	stand_forward(s, j, "\\\n|/bin/x a, b");
	stand_until(s, s->jobs.next != s->jobs.prev);
	struct stand_job *copy = stand_job(s);
	struct stand_job *command = list_entry(
		s->jobs.prev, struct stand_job, link);
	if (copy->job.destination.n > 0) {
		struct stand_job *swap = copy;
		copy = command;
		command = swap;
	}
	ck_assert_view(copy->job.user.v[0], "\\alice");
	ck_assert_view(command->job.destination, "|/bin/x a, b");
	ck_assert_view(command->job.user.v[0], "alice");
	stand_fine(s, copy);
	stand_result(s, command, "5.1.1 - no", "recipient");
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* One that was shut in before what it should see was there. */
START_TEST(an_agent_asks_for_a_successor)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@ids7.test", "x\r\n");
	struct stand_job *j = stand_job(s);
	size_t started = s->agents_started;
	stand_result(s, j, "4.3.0 - new", "agent");
	j = stand_job(s);
	ck_assert_uint_eq(s->agents_started, started + 1);
	ck_assert_int_eq(j->job.verify, 0);
	struct stand_rows rows = stand_list(
		s, &(struct msg_queue_list){.id = id});
	ck_assert_int_eq(rows.v[0].attempts, 0);
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

START_TEST(row70_after_a_failed_sync_it_is_written_anew)
{
	struct stand *s = stand_new("");
	s->checkpoint = STATUS(STATUS_LATER, 3, 0, "syncfs failed");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	stand_fine(s, stand_job(s));
	struct stand_job *j = stand_job(s);
	ck_assert_int_eq(j->job.verify, 2);
	ck_assert(stand_logged(s, "checkpoint-failed"));
	s->checkpoint = status_fine();
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* poison@ kills its agent whenever it is in hand; whatever came with it gets
 * through, and it is held in the end. */
static bool killing;

static void
die_of_poison(struct stand *s, struct stand_job *j)
{
	if (str_eq(j->job.sender, STR("poison@b.test")))
		peer_close(j->peer);
	else if (!killing)
		stand_fine(s, j);
}

START_TEST(a_message_that_kills_its_agent_is_held)
{
	struct stand *s = stand_new("local_agents = 1\n");
	struct str good[10];
	s->agent = NULL;
	for (int i = 0; i < 5; i++)
		good[i] = stand_submit(
			s, "a@b.test", "alice@local.test", "x\r\n");
	struct str bad = stand_submit(
		s, "poison@b.test", "alice@local.test", "x\r\n");
	for (int i = 5; i < 10; i++)
		good[i] = stand_submit(
			s, "a@b.test", "alice@local.test", "x\r\n");
	stand_until(s, jobs_held(s) == 11);
	s->agent = die_of_poison;
	stand_crash(s, stand_job(s));
	stand_until(s, str_eq(stand_state(s, bad), STR("held")));
	for (int i = 0; i < 10; i++)
		stand_until(s, stand_state(s, good[i]).n == 0);
	ck_assert_int_eq(stand_sql(s, "SELECT crashes FROM message"), 3);
	/* It is known over a restart, and may be tried again by hand. */
	stand_again(s);
	ck_assert(str_eq(stand_state(s, bad), STR("held")));
	s->agent = stand_fine;
	ck_assert_int_eq(stand_change(s, (struct msg_queue_change){
		.verb = STR("release"), .id = bad}), 1);
	stand_until(s, stand_state(s, bad).n == 0);
	stand_free(s);
}
END_TEST

/* Another recipient of it is with an agent, so the message is in memory. */
START_TEST(what_is_released_has_three_deaths_again)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "x@far.test y@other.test", "x\r\n");
	stand_until(s, stand_job_for(s, "y@other.test") != NULL);
	for (int i = 0; i < 3; i++) {
		stand_until(s, stand_job_for(s, "x@far.test") != NULL);
		stand_crash(s, stand_job_for(s, "x@far.test"));
	}
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE state = 2") == 1);
	ck_assert_int_eq(stand_change(s, (struct msg_queue_change){
		.verb = STR("release"), .id = id}), 1);
	stand_until(s, stand_job_for(s, "x@far.test") != NULL);
	stand_crash(s, stand_job_for(s, "x@far.test"));
	stand_until(s, stand_job_for(s, "x@far.test") != NULL);
	stand_free(s);
}
END_TEST

START_TEST(an_agent_that_never_answers_is_given_up)
{
	struct stand *s = stand_new("");
	struct conf_remote *c = &s->conf->remote;
	c->connect_timeout = c->greeting_timeout = c->command_timeout =
		c->data_timeout = c->block_timeout = c->final_timeout = 0;
	stand_again(s);
	s->agent = NULL;
	struct str id = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
	stand_job(s);
	stand_until(s, s->jobs_seen == 2);
	ck_assert(stand_logged(s, "agent-silent"));
	struct stand_job *j = stand_job_for(s, "x@far.test");
	ck_assert_int_eq(j->job.verify, 1);
	stand_fine(s, j);
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* Agents cannot be had: no storm of questions, and all is well after. */
START_TEST(row03_without_agents_mail_waits_quietly)
{
	struct stand *s = stand_new("");
	s->no_agents = true;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test x@far.test", "x\r\n");
	for (int i = 0; i < 50; i++)
		stand_turn(s, 20);
	ck_assert(str_eq(stand_state(s, id), STR("due")));
	size_t lines = 0;
	ck_assert(stand_logged(s, "no-agent"));
	(void)lines;
	s->no_agents = false;
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

/* auth is away or slow: rows are new, and nothing is lost. */
START_TEST(row03_without_auth_mail_waits)
{
	struct stand *s = stand_new("");
	s->auth_silent = true;
	for (int i = 0; i < 100; i++)
		stand_submit(s, "a@b.test", "alice@local.test", "x\r\n");
	stand_until(s, s->routes >= 100);
	s->auth_silent = false;
	stand_again(s);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	stand_free(s);
}
END_TEST

/* One that was a duplicate is in history, and may be all that says where the
 * other goes. */
START_TEST(what_a_duplicate_was_of_is_not_lost_by_a_crash)
{
	struct stand *s = stand_new("");
	stand_alias(s, "bob@local.test", "alice@local.test");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test bob@local.test", "x\r\n");
	stand_until(s, jobs_held(s) == 1 && stand_sql(s,
		"SELECT count(*) FROM history") == 1);
	stand_kill(s);
	s->agent = stand_fine;
	s->jobs_seen = 0;
	stand_start(s);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_uint_eq(s->jobs_seen, 1);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'delivered' AND mailbox = 'alice' AND"
		" address = 'alice@local.test'"), 1);
	stand_free(s);
}
END_TEST

/* What becomes of it says where it went, and one that waits says it too. */
START_TEST(a_way_is_written_by_who_needs_it)
{
	struct stand *s = stand_new("");
	stand_alias(s, "bob@local.test", "x@far.test");
	stand_alias(s, "carol@local.test", "y@near.test");
	s->agent = NULL;
	struct str id = stand_submit(s, "a@b.test", "bob@local.test", "x\r\n");
	stand_until(s, jobs_held(s) == 1);
	ck_assert(str_eq(stand_state(s, id), STR("active")));
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE state = 0 AND address = 'bob@local.test'"), 1);
	s->agent = host_down;
	stand_submit(s, "a@b.test", "carol@local.test", "x\r\n");
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE state = 1 AND address = 'y@near.test' AND"
		" destination = 'near.test' AND attempts = 1"
		" AND orcpt = 'rfc822;carol@local.test'") == 1);
	stand_free(s);
}
END_TEST

/* Where the writer's commits end, and then it sleeps: rows are there and the
 * loop has not heard of them. */
static int *sleepy_ms; /* shared with the queue; 0: it does not */

static int
sleep_after_commit(unsigned event, void *ctx, void *statement, void *ns)
{
	(void)event, (void)ctx, (void)ns;
	if (strcmp(sqlite3_sql(statement), "COMMIT") == 0)
		usleep((useconds_t)*sleepy_ms * 1000);
	return 0;
}

static int
watch_commits(sqlite3 *db, char **error, const struct sqlite3_api_routines *api)
{
	(void)error, (void)api;
	return sqlite3_trace_v2(
		db, SQLITE_TRACE_PROFILE, sleep_after_commit, NULL);
}

static void
watch_all_commits(void)
{
	sqlite3_auto_extension((void (*)(void))watch_commits);
}

/* A cursor that meets a message before its commit is heard of has it: what is
 * heard then does not take it a second time. */
START_TEST(a_message_met_before_its_commit_is_heard_of_is_sent_once)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n");
	sleepy_ms = mmap(NULL, sizeof *sleepy_ms, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->in_child = watch_all_commits;
	stand_again(s);
	/* Its probe's success makes the cursors walk. */
	s->agent = host_down;
	stand_submit(s, "a@b.test", "x@dead.test", "x\r\n");
	stand_until(s, stand_logged(s, "destination-down"));
	s->agent = NULL;
	struct stand_job *probe = stand_job(s);

	struct peer *p = stand_connect(s, "smtpd");
	struct message m = MESSAGE(submit);
	m.submit = stand_envelope(s, "a@b.test", "one@far.test", "x\r\n");
	*sleepy_ms = 1000;
	stand_send(p, &m);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 2);
	stand_fine(s, probe);
	stand_until(s, stand_job_for(s, "one@far.test") != NULL);
	*sleepy_ms = 0;
	ck_assert(stand_answer(s, p, &m) && m.kind == MSG_submitted);
	size_t seen = s->jobs_seen;
	stand_fine(s, stand_job_for(s, "one@far.test"));
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	ck_assert_uint_eq(s->jobs_seen, seen);
	ck_assert_ptr_null(stand_job_for(s, "one@far.test"));
	stand_free(s);
}
END_TEST

/* A question for all of a turn; an answer that does not fit is none. */
START_TEST(auth_is_asked_about_many_at_once)
{
	struct stand *s = stand_new("");
	char rcpts[120 * 24], *at = rcpts;
	for (int i = 0; i < 120; i++)
		at += sprintf(at, "u%d@local.test ", i);
	struct str id = stand_submit(s, "a@b.test", rcpts, "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_uint_eq(s->routes, 120);
	ck_assert_uint_eq(s->questions, 3);
	stand_alias(s, "some@local.test", "a@local.test b@local.test");
	stand_submit(s, "a@b.test", "some@local.test nonsense@local.test "
		"alice@local.test", "x\r\n");
	stand_until(s, stand_sql(s, "SELECT count(*) FROM history") == 122 &&
		stand_sql(s, "SELECT count(*) FROM recipient WHERE reply LIKE"
			" '%malformed route' AND state = 0") == 2);
	stand_free(s);
}
END_TEST

/* Two lanes of a provider that bears one job until then; the first has it, the
 * other waits for it. */
static struct stand_job *
one_of_two(struct stand *s, int seconds)
{
	char sql[200];
	snprintf(sql, sizeof sql, "INSERT INTO destination (name, most,"
		" ceiling, ceiling_until, ceiling_hold) VALUES"
		" ('@remote.test', 0, 1, strftime('%%s') + %d, 60)", seconds);
	stand_exec(s, sql);
	stand_again(s);
	s->agent = stand_fine;
	s->remote = STR("mx1.remote.test");
	send_to_domains(s, 2);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient") == 0);
	s->agent = NULL;
	stand_submit(s, "a@b.test", "u@domain0.test", "x\r\n");
	struct stand_job *j = stand_job(s);
	stand_submit(s, "a@b.test", "u@domain1.test", "x\r\n");
	stand_turn(s, 300);
	ck_assert_ptr_null(stand_job_for(s, "u@domain1.test"));
	return j;
}

START_TEST(who_waits_for_a_provider_hears_that_another_left_it)
{
	struct stand *s = stand_new("");
	struct stand_job *j = one_of_two(s, 1000);
	s->remote = STR("mx1.other.test");
	stand_fine(s, j);
	stand_until(s, stand_job_for(s, "u@domain1.test") != NULL);
	stand_free(s);
}
END_TEST

START_TEST(who_waits_for_a_provider_hears_that_its_limit_is_over)
{
	struct stand *s = stand_new("");
	one_of_two(s, 4);
	stand_until(s, stand_job_for(s, "u@domain1.test") != NULL);
	ck_assert_ptr_nonnull(stand_job_for(s, "u@domain0.test"));
	stand_free(s);
}
END_TEST

Suite *
suite_dispatch(void)
{
	return SUITE("dispatch",
		what_a_duplicate_was_of_is_not_lost_by_a_crash,
		a_way_is_written_by_who_needs_it,
		auth_is_asked_about_many_at_once,
		a_message_met_before_its_commit_is_heard_of_is_sent_once,
		one_recipient_is_not_stuck_behind_ten_thousand,
		a_bulk_leaves_a_connection_to_others,
		of_two_connections_a_bulk_has_both,
		a_destination_may_have_a_rate,
		a_provider_has_a_limit_for_all_its_domains,
		what_a_provider_bears_is_known_after_a_restart,
		who_waits_for_a_provider_hears_that_another_left_it,
		who_waits_for_a_provider_hears_that_its_limit_is_over,
		nor_after_a_restart, a_destination_that_hangs_holds_up_no_other,
		a_limit_is_learned_and_costs_no_attempt,
		a_dead_host_is_probed_by_one,
		a_dead_host_stays_dead_over_a_restart,
		recipients_of_one_destination_share_a_job,
		one_mailbox_always_has_the_same_agent,
		agents_of_many_users_take_turns, row72_duplicates_are_delivered_once,
		duplicates_are_known_after_a_restart,
		what_a_dead_agent_had_is_verified,
		row02_what_a_dead_agent_delivered_is_verified,
		row02_what_was_forwarded_again_is_verified,
		row71_commands, an_agent_asks_for_a_successor,
		row70_after_a_failed_sync_it_is_written_anew,
		a_message_that_kills_its_agent_is_held,
		what_is_released_has_three_deaths_again,
		an_agent_that_never_answers_is_given_up,
		row03_without_agents_mail_waits_quietly, row03_without_auth_mail_waits);
}
