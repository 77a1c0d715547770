/* SPDX-License-Identifier: ISC */
/* What is taken, when it is answered, and what is not taken. */
#include "queue_suites.h"
#include "stand.h"
#include "sys/ipc.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static struct str seen[64];
static size_t seen_count;

static void
remember(struct stand *s, struct stand_job *j)
{
	if (seen_count < 64)
		seen[seen_count++] = str_copy(s->arena, j->content);
	stand_fine(s, j);
}

START_TEST(row01_a_message_is_queued_delivered_and_gone)
{
	struct stand *s = stand_new("");
	s->agent = remember;
	struct str id = stand_submit(s, "from@remote.test", "alice@local.test",
		"Subject: x\r\n\r\nhello\r\n");
	ck_assert_uint_eq(id.n, QID_LENGTH);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert_uint_eq(seen_count, 1);
	ck_assert_view(seen[0], "Subject: x\r\n\r\nhello\r\n");
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM recipient"), 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM message"), 0);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"
		" WHERE outcome = 'delivered'"), 1);
	ck_assert_uint_ge(s->checkpoints, 1);
	stand_free(s);
}
END_TEST

/* The same token, over the same connection or another, before a crash or
 * after: one message. */
/* Ids rise whatever the clock does, over restarts and finished messages. */
START_TEST(row66_an_id_is_never_used_again)
{
	struct stand *s = stand_new("");
	s->agent = stand_fine;
	struct str id = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
	stand_until(s, stand_state(s, id).n == 0);
	stand_kill(s);
	/* As if it had come in a month: the clock was set back since. */
	stand_exec(s, "UPDATE history SET message = message + 2592000000000");
	int64_t before = stand_sql(s, "SELECT max(message) FROM history");
	stand_start(s);
	for (int i = 0; i < 3; i++) {
		id = stand_submit(s, "a@b.test", "x@far.test", "x\r\n");
		stand_until(s, stand_state(s, id).n == 0);
	}
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history"), 4);
	ck_assert_int_gt(stand_sql(s, "SELECT max(message) FROM history"),
		before);
	stand_free(s);
}
END_TEST

START_TEST(a_token_is_taken_once)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "x\r\n");
	struct str id = stand_submit_as(s, p, &m);
	struct str again = stand_submit_as(s, p, &m);
	ck_assert(id.n > 0 && str_eq(id, again));
	stand_again(s);
	p = stand_connect(s, "smtpd");
	again = stand_submit_as(s, p, &m);
	ck_assert(str_eq(id, again));
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM message"), 1);
	stand_free(s);
}
END_TEST

/* A local user cannot take somebody else's token beforehand. */
START_TEST(a_local_token_is_the_users_own)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct peer *local = stand_connect(s, "sendmail");
	struct peer *smtpd = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "x\r\n");
	struct str id = stand_submit_as(s, local, &m);
	struct str other = stand_submit_as(s, smtpd, &m);
	ck_assert(id.n > 0 && other.n > 0 && !str_eq(id, other));
	stand_free(s);
}
END_TEST

static int
open_body(struct stand *s, struct peer *p, int64_t size, struct str *name)
{
	struct message m = MESSAGE(body_open), answer;
	m.body_open.size = size;
	stand_send(p, &m);
	ck_assert(stand_answer(s, p, &answer) && answer.kind == MSG_opened);
	s->last = answer.opened.status;
	*name = answer.opened.name;
	return answer.fd;
}

static bool
has_body(struct stand *s, struct str name)
{
	char path[160];
	snprintf(path, sizeof path, "%s/state/queue/bodies/%.*s", s->directory,
		STR_ARG(name));
	return access(path, F_OK) == 0;
}

START_TEST(a_large_body_lies_in_a_file_until_it_is_delivered)
{
	struct stand *s = stand_new("");
	struct str name;
	struct peer *p = stand_connect(s, "smtpd");
	s->agent = remember;
	int fd = open_body(s, p, 100000, &name);
	ck_assert_int_ge(fd, 0);
	static char text[100000];
	memset(text, 'x', sizeof text);
	ck_assert_int_eq(write(fd, text, sizeof text), sizeof text);
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test bob@local.test", "");
	m.body = name;
	/* Who can still write could change what was acknowledged. */
	ck_assert_uint_eq(stand_submit_as(s, p, &m).n, 0);
	ck_assert(status_is_later(s->last));
	ck_assert_int_eq(fsync(fd), 0);
	close(fd);
	struct str id = stand_submit_as(s, p, &m);
	ck_assert_uint_eq(id.n, QID_LENGTH);
	stand_until(s, stand_state(s, id).n == 0);
	ck_assert(str_eq(seen[0], str_of(text, sizeof text)));
	stand_until(s, !has_body(s, name));
	/* Asked again, though the file is gone: it was taken. */
	ck_assert(str_eq(stand_submit_as(s, p, &m), id));
	stand_free(s);
}
END_TEST

/* Not the client's fault: it hears "later", and the file does not stay. */
START_TEST(a_body_of_a_queue_that_died_is_asked_for_again)
{
	struct stand *s = stand_new("");
	struct str name;
	struct peer *p = stand_connect(s, "smtpd");
	int fd = open_body(s, p, 100000, &name);
	ck_assert_int_eq(write(fd, "x\r\n", 3), 3);
	close(fd);
	ck_assert(has_body(s, name));
	stand_again(s);
	p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "");
	m.body = name;
	ck_assert_uint_eq(stand_submit_as(s, p, &m).n, 0);
	ck_assert(status_is_later(s->last));
	stand_until(s, !has_body(s, name));
	stand_free(s);
}
END_TEST

START_TEST(a_body_goes_with_the_peer_that_did_not_submit_it)
{
	struct stand *s = stand_new("");
	struct str name[5];
	struct peer *p = stand_connect(s, "smtpd");
	for (int i = 0; i < 4; i++)
		close(open_body(s, p, 70000, &name[i]));
	ck_assert_int_lt(open_body(s, p, 70000, &name[4]), 0);
	ck_assert(status_is_later(s->last));
	struct peer *other = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "");
	m.body = name[0];
	ck_assert_uint_eq(stand_submit_as(s, other, &m).n, 0);
	ck_assert(has_body(s, name[0]));
	stand_drop(s, p);
	stand_until(s, !has_body(s, name[0]) && !has_body(s, name[3]));
	stand_free(s);
}
END_TEST

/* It takes no place any more, of which a peer has four. */
START_TEST(a_body_that_is_refused_is_no_more)
{
	struct stand *s = stand_new("");
	struct str name;
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "");
	m.rcpt.n = 0;
	for (int i = 0; i < 9; i++) {
		int fd = open_body(s, p, 70000, &name);
		ck_assert_msg(fd >= 0, "%d: %.*s", i, STR_ARG(s->last.text));
		close(fd);
		m.body = name;
		ck_assert_uint_eq(stand_submit_as(s, p, &m).n, 0);
		ck_assert(!has_body(s, name));
	}
	stand_free(s);
}
END_TEST

START_TEST(what_no_envelope_may_be_is_refused)
{
	struct stand *s = stand_new("");
	struct peer *p = stand_connect(s, "smtpd");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "x\r\n");
	struct msg_submit bad[8];
	static char large[INLINE_MOST + 1], endless[3000];
	memset(large, 'x', sizeof large);
	memset(endless, 'e', sizeof endless);
	for (int i = 0; i < 8; i++)
		bad[i] = m;
	bad[0].rcpt.n = 0;
	bad[1].sender = STR("a@b\r\nMAIL FROM:<c@d>");
	bad[2].content = str_of(large, sizeof large);
	bad[3].envid = str_of(endless, sizeof endless);
	bad[4].orcpt = (struct str_list){(struct str[]){STR("rfc822;a@b"),
		STR("rfc822;c@d")}, 2};
	bad[5].rcpt = (struct str_list){(struct str[]){STR("a b@c> X=<d")}, 1};
	bad[6].rcpt = (struct str_list){(struct str[]){STR("")}, 1};
	bad[7].body = STR("../queue.db");
	bad[7].content = STR("");
	for (int i = 0; i < 8; i++) {
		ck_assert_uint_eq(stand_submit_as(s, p, &bad[i]).n, 0);
		ck_assert_msg(s->last.class == STATUS_NEVER, "%d", i);
	}
	ck_assert_uint_gt(stand_submit_as(s, p, &m).n, 0);
	stand_free(s);
}
END_TEST

/* What was taken of an envelope, and must come out of the database as it was. */
static struct {
	struct str id, sender, rcpt, orcpt, envid;
} kept[256 * 4];
static size_t kept_count, came_back;

static void
compare(struct stand *s, struct stand_job *j)
{
	for (size_t i = 0; i < kept_count; i++) {
		if (!str_eq(kept[i].id, j->job.id))
			continue;
		ck_assert_uint_eq(j->job.rcpt.n, 1);
		ck_assert(str_eq(j->job.sender, kept[i].sender));
		ck_assert(str_eq(j->job.rcpt.v[0], kept[i].rcpt));
		ck_assert(str_eq(j->job.orcpt.v[0], kept[i].orcpt));
		ck_assert(str_eq(j->job.envid, kept[i].envid));
		came_back++;
	}
	stand_fine(s, j);
}

/* An octet in one of four fields; 0 would end the field where it is sent. */
static void
keep_one(struct stand *s, struct peer *p, int octet, int field)
{
	char c = (char)octet;
	struct str local = str_printf(s->arena, "\"%s%.1s,x\"@far.test",
		c == '"' || c == '\\' ? "\\" : "", &c);
	struct str text = str_printf(s->arena, "rfc822;a%.1sStatus=2", &c);
	struct msg_submit m = stand_envelope(
		s, "a@b.test", "c@far.test", "x\r\n");
	struct str orcpt[] = {STR("rfc822;c@far.test")};
	if (field == 0)
		m.sender = local;
	/* the stand's auth cuts at blanks */
	if (field == 1 && c != ' ')
		m.rcpt.v[0] = local;
	if (field == 2)
		orcpt[0] = text;
	if (field == 3)
		m.envid = text;
	m.orcpt = (struct str_list){orcpt, 1};
	struct str id = stand_submit_as(s, p, &m);
	if (id.n == 0) {
		ck_assert_int_eq(s->last.class, STATUS_NEVER);
		ck_assert_msg(octet < 0x20 || octet >= 0x7f, "%d in %d", octet,
			field);
		return;
	}
	ck_assert_msg(octet >= 0x20 && octet != 0x7f, "%d in %d", octet, field);
	kept[kept_count].id = str_copy(s->arena, id);
	kept[kept_count].sender = m.sender;
	kept[kept_count].rcpt = m.rcpt.v[0];
	kept[kept_count].orcpt = str_copy(s->arena, orcpt[0]);
	kept[kept_count++].envid = m.envid;
}

START_TEST(every_octet_comes_back_or_is_refused)
{
	struct stand *s = stand_new("");
	struct peer *p = stand_connect(s, "smtpd");
	s->auth_silent = true;
	for (int field = 0; field < 4; field++)
		for (int octet = 1; octet < 256; octet++)
			keep_one(s, p, octet, field);
	ck_assert_uint_gt(kept_count, 4 * 95);
	s->auth_silent = false;
	s->agent = compare;
	stand_again(s);
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 0);
	ck_assert_uint_eq(came_back, kept_count);
	stand_free(s);
}
END_TEST

START_TEST(a_local_submission_says_who_it_was)
{
	struct stand *s = stand_new("");
	char want[64];
	s->agent = remember;
	struct peer *p = stand_connect(s, "sendmail");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "alice@local.test", "S: x\r\n\r\nx\r\n");
	m.origin = STR("smtp");
	m.user = m.client = m.session = m.trace = STR("forged");
	struct str id = stand_submit_as(s, p, &m);
	stand_until(s, stand_state(s, id).n == 0);
	snprintf(want, sizeof want, "Received: by mail.test (surat, from "
		"userid %u) id ", (unsigned)getuid());
	ck_assert(str_starts(seen[0], str_from(want)));
	ck_assert(str_ends(seen[0], STR("\r\nS: x\r\n\r\nx\r\n")));
	ck_assert_int_eq(stand_sql(s,
		"SELECT count(*) FROM history WHERE origin = 'local'"
		" AND user LIKE 'uid %' AND client = 'unix'"
		" AND session = '' AND trace = ''"), 1);
	stand_free(s);
}
END_TEST

/* What sendmail refuses is refused to those who ask without it. */
START_TEST(a_local_submission_has_the_largest_size)
{
	struct stand *s = stand_new("");
	s->conf->smtp.max_size = 100000;
	stand_again(s);
	struct peer *p = stand_connect(s, "sendmail");
	struct str name;
	for (int i = 0; i < 2; i++) {
		int fd = open_body(s, p, 1, &name);
		ck_assert_int_eq(ftruncate(fd, i == 0 ? 200000 : 90000), 0);
		close(fd);
		struct msg_submit m = stand_envelope(
			s, "a@remote.test", "later@local.test", "");
		m.token = STR("");
		m.body = name;
		struct str id = stand_submit_as(s, p, &m);
		ck_assert_int_eq(id.n > 0, i == 1);
		ck_assert_int_eq(has_body(s, name), i == 1);
	}
	stand_free(s);
}
END_TEST

/* One user's idle connections take nobody else's place. */
START_TEST(a_local_user_has_so_many_connections)
{
	enum { MOST = 300 };
	struct stand *s = stand_new("");
	struct str path = str_printf(s->arena, "%s/ask.sendmail", s->directory);
	int fd[MOST + 1];
	char c;
	for (int i = 0; i <= MOST; i++) {
		fd[i] = ipc_connect(str_cstr(s->arena, path));
		ck_assert_int_ge(fd[i], 0);
		stand_turn(s, 0);
	}
	ck_assert_int_eq(recv(fd[MOST], &c, 1, 0), 0);
	ck_assert_int_lt(recv(fd[MOST - 1], &c, 1, MSG_DONTWAIT), 0);
	ck_assert(stand_submit(
		s, "a@remote.test", "later@local.test", "x\r\n").n > 0);
	close(fd[0]);
	stand_turn(s, 200);
	struct peer *p = stand_connect(s, "sendmail");
	struct msg_submit m = stand_envelope(
		s, "a@remote.test", "later@local.test", "x\r\n");
	ck_assert(stand_submit_as(s, p, &m).n > 0);
	for (int i = 1; i <= MOST; i++)
		close(fd[i]);
	stand_free(s);
}
END_TEST

/* ETRN asks for one domain, whose rows may be behind those of others. */
START_TEST(smtpd_may_go_on_with_the_next_page)
{
	struct stand *s = stand_new("");
	struct message m = MESSAGE(queue_change), answer;
	int64_t count = 0;
	int pages = 0;
	stand_kill(s);
	stand_exec(s, "INSERT INTO message (id, sender, arrival, size)"
		" VALUES (1, '', 1, 1);"
		"WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1"
		" FROM n WHERE i < 6000) INSERT INTO recipient SELECT 1, i, 1,"
		" strftime('%s') + 3000, 'u@x', '', '', 'remote', '', '', '',"
		" iif(i = 5900, 'far.test', 'x.test'), 1, 0, 1, 0, 'no', ''"
		" FROM n; UPDATE recipient SET address = 'u@far.test'"
		" WHERE number = 5900");
	stand_start(s);
	struct peer *p = stand_connect(s, "smtpd");
	m.queue_change.domain = STR("far.test");
	do {
		stand_send(p, &m);
		ck_assert(stand_answer(s, p, &answer));
		count += answer.done.count;
		m.queue_change.after = answer.done.next;
	} while (answer.done.next.n > 0 && ++pages < 5);
	ck_assert_int_eq(count, 1);
	stand_free(s);
}
END_TEST

/* A quarter of a million waits; each of these is one commit or less. */
START_TEST(many_are_written_together)
{
	struct stand *s = stand_new("");
	enum { MANY = 300 };
	struct peer *p[MANY];
	struct message answer;
	s->agent = NULL;
	for (int i = 0; i < MANY; i++) {
		struct message m = MESSAGE(submit);
		m.submit = stand_envelope(s, "a@remote.test",
			"alice@local.test b@remote.test", "x\r\n");
		p[i] = stand_connect(s, "smtpd");
		stand_send(p[i], &m);
	}
	for (int i = 0; i < MANY; i++) {
		ck_assert(stand_answer(s, p[i], &answer));
		ck_assert(status_is_fine(answer.submitted.status));
	}
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM recipient"),
		2 * MANY);
	stand_kill(s);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM message"), MANY);
	stand_free(s);
}
END_TEST

/* Who asked goes away before the commit: the message stays, once. */
START_TEST(a_submitter_may_go_away)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	for (int i = 0; i < 20; i++) {
		struct peer *p = stand_connect(s, "smtpd");
		struct message m = MESSAGE(submit);
		m.submit = stand_envelope(
			s, "a@remote.test", "alice@local.test", "x\r\n");
		stand_send(p, &m);
		stand_drop(s, p);
	}
	stand_until(s, stand_sql(s, "SELECT count(*) FROM message") == 20);
	ck_assert(stand_submit(s, "a@b.test", "c@local.test", "x\r\n").n > 0);
	stand_free(s);
}
END_TEST

START_TEST(it_ends_when_its_starter_does)
{
	struct stand *s = stand_new("");
	stand_submit(s, "a@b.test", "c@local.test", "x\r\n");
	ck_assert_int_eq(stand_stop(s), 0);
	stand_free(s);
}
END_TEST

Suite *
suite_intake(void)
{
	return SUITE("intake", row01_a_message_is_queued_delivered_and_gone,
		row66_an_id_is_never_used_again,
		a_token_is_taken_once, a_local_token_is_the_users_own,
		a_large_body_lies_in_a_file_until_it_is_delivered,
		a_body_of_a_queue_that_died_is_asked_for_again,
		a_body_goes_with_the_peer_that_did_not_submit_it,
		a_body_that_is_refused_is_no_more,
		a_local_submission_has_the_largest_size,
		smtpd_may_go_on_with_the_next_page,
		a_local_user_has_so_many_connections,
		what_no_envelope_may_be_is_refused,
		every_octet_comes_back_or_is_refused,
		a_local_submission_says_who_it_was, many_are_written_together,
		a_submitter_may_go_away, it_ends_when_its_starter_does);
}
