/* SPDX-License-Identifier: ISC */
/* Delivery reports: who hears what, once, and who hears nothing. */
#include "queue_suites.h"
#include "stand.h"
#include "base/buf.h"
#include "mail/header.h"
#include "mail/mime.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static struct str reports[64], to[64];
static size_t count;
static int64_t tls_required; /* of what came last */
static const char *verdict = "5.1.1 550 no such user here";

/* Everything at far.test is refused; what comes for local.test is kept. */
static void
refuse_far(struct stand *s, struct stand_job *j)
{
	if (!j->local) {
		stand_result(s, j, verdict, "recipient");
		return;
	}
	tls_required = j->job.requiretls;
	if (count < 64) {
		to[count] = str_copy(s->arena, j->job.rcpt.v[0]);
		reports[count++] = str_copy(s->arena, j->content);
	}
	stand_fine(s, j);
}

static bool
says(size_t i, const char *text)
{
	return str_search(reports[i], str_from(text)) < reports[i].n;
}

static struct str
send_content(struct stand *s, const char *from, const char *rcpts,
	const char *notify, const char *ret, const char *content)
{
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(s, from, rcpts, content);
	m.notify = (struct str_list){
		arena_array(s->arena, m.rcpt.n, sizeof(struct str)), m.rcpt.n};
	m.orcpt = (struct str_list){
		arena_array(s->arena, m.rcpt.n, sizeof(struct str)), m.rcpt.n};
	for (size_t i = 0; i < m.rcpt.n; i++) {
		m.notify.v[i] = str_from(notify);
		m.orcpt.v[i] = STR("rfc822;orig+2Binal@x.test");
	}
	m.ret = str_from(ret);
	m.envid = STR("envelope+2Bid");
	struct str id = stand_submit_as(s, p, &m);
	stand_drop(s, p);
	return id;
}

static struct str
send_with(struct stand *s, const char *from, const char *rcpts,
	const char *notify, const char *ret)
{
	return send_content(s, from, rcpts, notify, ret,
		"Subject: the subject\r\nX-Long: header\r\n\r\nthe body\r\n");
}

static void
all_done(struct stand *s)
{
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 0);
}

START_TEST(a_failure_is_told_once_for_all)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	struct str id = send_with(s, "alice@local.test",
		"a@far.test b@far.test c@local.test d@other.test", "", "");
	all_done(s);
	ck_assert_uint_eq(count, 2); /* c's mail and one report */
	size_t i = says(0, "multipart/report") ? 0 : 1;
	ck_assert_view(to[i], "alice@local.test");
	ck_assert(says(i, "report-type=delivery-status"));
	ck_assert(says(i, "\r\nAuto-Submitted: auto-replied\r\n"));
	ck_assert(says(i, "Final-Recipient: rfc822;a@far.test\r\n"));
	ck_assert(says(i, "Final-Recipient: rfc822;b@far.test\r\n"));
	ck_assert(says(i, "Final-Recipient: rfc822;d@other.test\r\n"));
	ck_assert(!says(i, "c@local.test"));
	ck_assert(says(i, "Original-Recipient: rfc822;orig+inal@x.test\r\n"));
	ck_assert(says(i, "Original-Envelope-Id: envelope+id\r\n"));
	ck_assert(says(i, "Action: failed\r\nStatus: 5.1.1\r\n"));
	ck_assert(says(i, "Remote-MTA: dns;mx.remote.test\r\n"));
	ck_assert(says(i, "Diagnostic-Code: smtp; 550 no such user here\r\n"));
	ck_assert(says(i, "Subject: the subject\r\n"));
	ck_assert(says(i, "the body"));
	ck_assert(says(i, str_cstr(s->arena, id)));
	/* The report's own sender is null. */
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" sender = '' AND origin = 'report'"), 1);
	stand_free(s);
}
END_TEST

/* Each report is looked at when it is delivered; the sums are of those. */
static size_t lines_of_theirs, actions, controls;

static void
look_at(struct str report)
{
	struct str rest = report, line;
	actions += str_search(report, STR("\nAction: failed\r\n"
		"Status: 5.1.1\r\n")) < report.n;
	while (str_cut(&rest, '\n', &line)) {
		lines_of_theirs += str_starts(line, STR("Action: delivered"));
		if (str_ends(line, STR("\r")))
			line.n--;
		for (size_t i = 0; i < line.n; i++)
			controls += (unsigned char)line.p[i] < ' ' &&
				line.p[i] != '\t';
	}
}

static void
refuse_with_an_octet(struct stand *s, struct stand_job *j)
{
	static int octet;
	if (j->local) {
		look_at(j->content);
		stand_fine(s, j);
		return;
	}
	char c = (char)(octet = octet % 255 + 1);
	s->remote = str_printf(s->arena, "mx%.1sAction: delivered", &c);
	stand_result(s, j, str_cstr(s->arena, str_printf(s->arena,
		"5.1.1 550 no%.1sAction: delivered%.1s.%.1s", &c, &c, &c)),
		"recipient");
}

START_TEST(nor_one_of_the_agents_own_words)
{
	struct stand *s = stand_new("");
	s->detail = STR("tls=no\nforged=1\r\x7f" "ip=x");
	s->agent = stand_fine;
	stand_submit(s, "", "a@far.test", "x\r\n");
	all_done(s);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" detail = 'tls=no forged=1  ip=x'"), 1);
	stand_free(s);
}
END_TEST

/* A server that refuses, or an agent it has taken over, may say what it likes:
 * the report's fields are ours. */
START_TEST(no_octet_of_a_reply_makes_a_field)
{
	struct stand *s = stand_new("");
	s->agent = refuse_with_an_octet;
	for (int i = 0; i < 255; i++)
		send_with(s, "alice@local.test", "a@far.test", "", "HDRS");
	all_done(s);
	ck_assert_uint_eq(actions, 255);
	ck_assert_uint_eq(lines_of_theirs, 0);
	ck_assert_uint_eq(controls, 0);
	stand_free(s);
}
END_TEST

/* It is what it says it is, to a parser that knows nothing of us. */
START_TEST(row35_a_report_is_well_formed)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	verdict = "5.7.1 550 first line\nsecond line\nthird";
	send_with(s, "alice@local.test", "a@far.test", "", "FULL");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert(says(0, "Diagnostic-Code: smtp; 550 first line\r\n"
		"    second line\r\n    third\r\n"));
	struct mime_part *p = mime_parse(s->arena, reports[0]);
	ck_assert_view(p->major, "multipart");
	ck_assert_view(p->minor, "report");
	const char *const minors[] = {"plain", "delivery-status", "rfc822"};
	struct mime_part *c = p->child;
	for (int i = 0; i < 3; i++, c = c->next) {
		ck_assert_ptr_nonnull(c);
		ck_assert(str_eq(c->minor, str_from(minors[i])));
	}
	ck_assert_ptr_null(c);
	stand_free(s);
}
END_TEST

START_TEST(ret_hdrs_returns_the_header_alone)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	send_with(s, "alice@local.test", "a@far.test", "", "HDRS");
	all_done(s);
	ck_assert(says(0, "text/rfc822-headers"));
	ck_assert(says(0, "X-Long: header\r\n"));
	ck_assert(!says(0, "the body"));
	stand_free(s);
}
END_TEST

/* RFC 8689 5: and what is left of it is to be kept as the message was. */
START_TEST(row50_what_required_tls_is_not_returned_whole)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(s, "alice@local.test",
		"a@far.test", "Subject: the subject\r\n\r\nthe body\r\n");
	m.requiretls = 1;
	m.ret = STR("FULL");
	stand_submit_as(s, p, &m);
	stand_drop(s, p);
	stand_until(s, count == 1);
	ck_assert(says(0, "text/rfc822-headers"));
	ck_assert(!says(0, "the body"));
	ck_assert_int_eq(tls_required, 1);
	all_done(s);
	stand_free(s);
}
END_TEST

START_TEST(row34_notify_decides)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	send_with(s, "alice@local.test", "a@far.test", "NEVER", "");
	send_with(s, "alice@local.test", "a@far.test", "SUCCESS,DELAY", "");
	all_done(s);
	ck_assert_uint_eq(count, 0);
	send_with(s, "alice@local.test", "a@far.test", "FAILURE", "");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert(says(0, "Action: failed\r\n"));
	stand_free(s);
}
END_TEST

START_TEST(a_success_is_told_when_it_was_asked_for)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	send_with(s, "alice@local.test", "bob@local.test", "SUCCESS", "");
	all_done(s);
	ck_assert_uint_eq(count, 2);
	ck_assert(says(1, "Action: delivered\r\nStatus: 2.0.0\r\n"));
	ck_assert(says(1, "Final-Recipient: rfc822;bob@local.test"));
	verdict = "2.0.0 250 taken";
	send_with(s, "alice@local.test", "x@far.test", "SUCCESS", "");
	all_done(s);
	ck_assert_uint_eq(count, 3);
	ck_assert(says(2, "Action: relayed\r\n"));
	send_with(s, "alice@local.test", "x@far.test", "FAILURE", "");
	send_with(s, "", "x@far.test", "SUCCESS", "");
	all_done(s);
	ck_assert_uint_eq(count, 3);
	stand_free(s);
}
END_TEST

/* Nobody is told of what has no sender, but postmaster of our own report. */
START_TEST(row33_a_report_on_a_report_is_postmasters)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	send_with(s, "", "a@far.test", "", "");
	all_done(s);
	ck_assert_uint_eq(count, 0);
	stand_alias(s, "postmaster", "admin@local.test");
	send_with(s, "gone@far.test", "a@far.test", "", "");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert_view(to[0], "admin@local.test");
	ck_assert(says(0, "Final-Recipient: rfc822;gone@far.test"));
	/* And when that fails too, it is over. */
	stand_alias(s, "postmaster", "admin@far.test");
	send_with(s, "gone@far.test", "a@far.test", "", "");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert(stand_logged(s, "report-dropped"));
	stand_free(s);
}
END_TEST

/* A thousand refused: a few reports, each whole. */
START_TEST(many_failures_fit)
{
	struct stand *s = stand_new("");
	struct buf *b = buf_new(s->arena);
	static char text[1500];
	s->agent = refuse_far;
	memset(text, 'r', sizeof text - 1);
	memcpy(text, "5.1.1 550 ", 10);
	verdict = text;
	for (int i = 0; i < 1000; i++)
		buf_printf(b, "user%d@far%d.test ", i, i % 7);
	send_with(s, "alice@local.test",
		str_cstr(s->arena, buf_str(b)), "", "");
	all_done(s);
	ck_assert_uint_ge(count, 1);
	ck_assert_uint_le(count, 30);
	size_t told = 0;
	for (size_t i = 0; i < count; i++) {
		struct str rest = reports[i];
		for (size_t at; (at = str_search(rest,
				STR("\r\nFinal-Recipient: "))) < rest.n;
			rest = str_skip(rest, at + 10))
			told++;
		ck_assert(str_ends(reports[i], STR("--\r\n")));
	}
	ck_assert_uint_eq(told, 1000);
	stand_free(s);
}
END_TEST

START_TEST(row62_a_delay_is_told_once)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n"
		"delay_notice = 1s\n");
	s->agent = refuse_far;
	verdict = "4.2.2 452 mailbox full";
	struct str id = send_with(s, "alice@local.test", "a@far.test", "", "");
	stand_until(s, count == 1);
	ck_assert(says(0, "Action: delayed\r\nStatus: 4.2.2\r\n"));
	ck_assert(says(0, "Will-Retry-Until: "));
	ck_assert(says(0, "DO NOT NEED TO SEND"));
	size_t seen = s->jobs_seen;
	stand_until(s, s->jobs_seen >= seen + 3);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_gt(stand_state(s, id).n, 0);
	stand_free(s);
}
END_TEST

START_TEST(row69_no_delay_notice_for_null_lists_or_robots)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n"
		"delay_notice = 1s\n");
	s->agent = refuse_far;
	verdict = "4.2.2 452 mailbox full";
	send_with(s, "", "a@far.test", "", "");
	send_with(s, "alice@local.test", "b@far.test", "FAILURE", "");
	static const char *const heads[] = {"List-Id: <x.y>",
		"Precedence: bulk", "Auto-Submitted: auto-generated"};
	for (int i = 0; i < 3; i++)
		stand_submit(s, "alice@local.test", "c@far.test", str_cstr(
			s->arena, str_printf(s->arena,
				"%s\r\nSubject: x\r\n\r\nx\r\n", heads[i])));
	stand_until(s, stand_sql(s,
		"SELECT min(attempts) FROM recipient") >= 3);
	ck_assert_uint_eq(count, 0);
	stand_free(s);
}
END_TEST

/* But who runs a list learns by a failure whom to take off it: what is never
 * delivered is always said (RFC 5321 6.1), unless nobody sent it. */
START_TEST(a_list_hears_of_failures)
{
	struct stand *s = stand_new("");
	s->agent = refuse_far;
	verdict = "5.1.1 550 gone";
	stand_submit(s, "list-bounces@local.test", "c@far.test",
		"List-Id: <x.y>\r\nPrecedence: list\r\n\r\nx\r\n");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert_view(to[0], "list-bounces@local.test");
	ck_assert(says(0, "Auto-Submitted: auto-replied\r\n"));
	stand_free(s);
}
END_TEST

/* Unless its postmaster says otherwise; who asked hears all the same. */
START_TEST(a_list_hears_of_nothing_when_so_configured)
{
	struct stand *s = stand_new("report_automatic = no\n");
	s->agent = refuse_far;
	verdict = "5.1.1 550 gone";
	static const char *const heads[] = {"List-Id: <x.y>",
		"Precedence: bulk", "Auto-Submitted: auto-generated",
		"Auto-Submitted: no"};
	for (int i = 0; i < 4; i++)
		stand_submit(s, "alice@local.test", str_cstr(s->arena,
			str_printf(s->arena, "to%d@far.test", i)), str_cstr(
			s->arena, str_printf(s->arena,
				"%s\r\nSubject: x\r\n\r\nx\r\n", heads[i])));
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert(says(0, "to3@far.test"));
	stand_free(s);
}
END_TEST

START_TEST(an_automatic_sender_hears_what_it_asked_for)
{
	struct stand *s = stand_new("report_automatic = no\n");
	s->agent = refuse_far;
	verdict = "5.1.1 550 gone";
	static const char *const notify[] = {"FAILURE", "NEVER"};
	for (int i = 0; i < 2; i++)
		send_content(s, "list-bounces@local.test", str_cstr(s->arena,
			str_printf(s->arena, "%s@far.test", notify[i])),
			notify[i], "", "List-Id: <x.y>\r\n\r\nx\r\n");
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert(says(0, "FAILURE@far.test"));
	stand_free(s);
}
END_TEST

/* The first failure of a long list is not kept back until its end. */
START_TEST(a_sender_need_not_wait_for_the_last_of_ten_thousand)
{
	struct stand *s = stand_new("");
	struct buf *b = buf_new(s->arena);
	for (int i = 0; i < 3000; i++)
		buf_printf(b, "user%d@far.test ", i);
	s->agent = NULL;
	stand_submit(s, "alice@local.test",
		str_cstr(s->arena, buf_str(b)), "x\r\n");
	size_t refused = 0;
	while (refused < 500) {
		struct stand_job *j = stand_job(s);
		refused += j->job.number.n;
		stand_result(s, j, "5.1.1 550 no", "recipient");
	}
	stand_until(s, stand_job_for(s, "alice@local.test") != NULL);
	stand_free(s);
}
END_TEST

/* Nobody is at dead.test. */
static void
find_dead(struct stand *s, struct stand_job *j)
{
	if (j->local)
		refuse_far(s, j);
	else
		stand_result(s, j, "4.4.1 - no answer", "host");
}

static size_t
told_of(const char *field)
{
	size_t n = 0;
	for (size_t i = 0; i < count; i++) {
		struct str rest = reports[i];
		for (size_t at; (at = str_search(rest, str_from(field))) <
			rest.n; rest = str_skip(rest, at + 10))
			n++;
	}
	return n;
}

static struct str
send_to_dead(struct stand *s, int rcpts)
{
	struct buf *b = buf_new(s->arena);
	for (int i = 0; i < rcpts; i++)
		buf_printf(b, "user%d@dead.test ", i);
	s->agent = find_dead;
	return stand_submit(s, "alice@local.test",
		str_cstr(s->arena, buf_str(b)), "Subject: x\r\n\r\nx\r\n");
}

/* More than one message has in memory at a time. */
START_TEST(what_a_dead_host_lets_grow_old_is_told_together)
{
	struct stand *s = stand_new("retry = {1s}\nretry_max = 1s\n"
		"max_age = 1s\n");
	send_to_dead(s, 1500);
	all_done(s);
	ck_assert_uint_eq(told_of("\r\nFinal-Recipient: "), 1500);
	ck_assert_uint_le(count, 12);
	stand_free(s);
}
END_TEST

START_TEST(what_an_operator_gives_up_is_told_together)
{
	struct stand *s = stand_new("");
	struct str id = send_to_dead(s, 30);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
		" WHERE state = 1 AND reply <> ''") == 30);
	struct msg_queue_change c = {.verb = STR("expire"), .id = id};
	ck_assert_int_eq(stand_change(s, c), 30);
	all_done(s);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(told_of("\r\nFinal-Recipient: "), 30);
	stand_free(s);
}
END_TEST

/* What is written of the log, commits fail from there on. */
static void
limit_files(void)
{
	const struct rlimit most = {1 << 20, 1 << 20};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &most);
}

static void
add_old(struct stand *s, int messages)
{
	char sql[1200];
	snprintf(sql, sizeof sql, "CREATE TEMP TABLE old AS WITH RECURSIVE"
		" n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE"
		" i < %d) SELECT i FROM n;"
		"INSERT INTO message (id, sender, arrival, size, origin,"
		" session, client, user, ret, envid, body_type, utf8,"
		" requiretls, crashes, body) SELECT i, 'alice@local.test', 1,"
		" 36000, 'smtp', '', '', '', '', '', '', 0, 0, 0, ''"
		" FROM old;"
		"INSERT INTO content SELECT i,"
		" CAST(printf('%%.*c', 36000, 'x') AS BLOB) FROM old;"
		"INSERT INTO recipient SELECT i, 0, 1, 1, 'u' || i ||"
		" '@dead.test', '', '', 'remote', '', '', '',"
		" 'dead.test', 3, 3, 1, 1, '', ''"
		" FROM old;"
		"INSERT OR REPLACE INTO destination VALUES ('dead.test', 5, 0,"
		" 0, 0, 5, strftime('%%s') + 3000, strftime('%%s') + 3000,"
		" '4.4.1 - down', strftime('%%s'))", messages);
	stand_exec(s, sql);
}

/* On a full disk a whole queue becomes too old: its end stays rows. */
START_TEST(reports_that_cannot_be_written_fill_no_memory)
{
	enum { MESSAGES = 4000 };
	struct stand *s = stand_new("max_age = 1h\n");
	stand_kill(s);
	add_old(s, MESSAGES);
	s->in_child = limit_files;
	stand_start(s);
	stand_until(s, stand_logged(s, "failed rcpt=u500@dead.test"));
	for (int i = 0; i < 100; i++)
		stand_turn(s, 30);
	ck_assert(!stand_is_dead(s));
	ck_assert(!stand_logged(s, "failed rcpt=u4000@dead.test"));
	s->in_child = NULL;
	s->agent = find_dead;
	stand_again(s);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'expired'") == MESSAGES);
	stand_free(s);
}
END_TEST

/* Where an alias leads in vain: the others get theirs, and the sender hears of
 * it once, also when the queue dies while they are under way. */
START_TEST(a_dead_target_is_reported)
{
	for (int again = 0; again < 2; again++) {
		struct stand *s = stand_new("");
		stand_alias(s, "list@local.test",
			"alice@local.test x@far.test gone@nobody.test");
		s->agent = NULL;
		ck_assert(stand_submit(s, "sender@far2.test",
			"list@local.test", "x\r\n").n > 0);
		stand_until(s, stand_job_for(s, "x@far.test") != NULL);
		if (again) {
			stand_again(s);
			stand_until(s, stand_job_for(s, "x@far.test") != NULL);
		}
		s->agent = stand_fine;
		while (!list_is_empty(&s->jobs))
			stand_fine(s, list_first(
				&s->jobs, struct stand_job, link));
		stand_until(s, stand_sql(
			s, "SELECT count(*) FROM message") == 0);
		ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
			" WHERE address = 'gone@nobody.test'"
			" AND outcome = 'failed'"), 1);
		ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
			" WHERE address = 'sender@far2.test'"
			" AND outcome = 'relayed'"), 1);
		ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
			" WHERE outcome IN ('delivered', 'relayed')"), 3);
		stand_free(s);
	}
}
END_TEST

Suite *
suite_report(void)
{
	return SUITE("report", a_dead_target_is_reported,
		a_failure_is_told_once_for_all,
		no_octet_of_a_reply_makes_a_field,
		nor_one_of_the_agents_own_words,
		row35_a_report_is_well_formed, ret_hdrs_returns_the_header_alone,
		row50_what_required_tls_is_not_returned_whole,
		row34_notify_decides, a_success_is_told_when_it_was_asked_for,
		row33_a_report_on_a_report_is_postmasters, many_failures_fit,
		row62_a_delay_is_told_once, row69_no_delay_notice_for_null_lists_or_robots,
		a_list_hears_of_failures,
		a_list_hears_of_nothing_when_so_configured,
		an_automatic_sender_hears_what_it_asked_for,
		a_sender_need_not_wait_for_the_last_of_ten_thousand,
		what_a_dead_host_lets_grow_old_is_told_together,
		what_an_operator_gives_up_is_told_together,
		reports_that_cannot_be_written_fill_no_memory);
}
