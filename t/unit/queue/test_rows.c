/* SPDX-License-Identifier: ISC */
/* Rows that make no sense, files that are not there, a database that is none:
 * set aside with the reason, and the queue lives. */
#include "queue_suites.h"
#include "stand.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct str
reply_of(struct stand *s, struct str id)
{
	struct msg_queue_list l = {.id = id};
	struct stand_rows r = stand_list(s, &l);
	return r.n > 0 ? r.v[0].reply : STR("");
}

static void
check_alive(struct stand *s)
{
	s->agent = stand_fine;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "alive\r\n");
	ck_assert_uint_eq(id.n, QID_LENGTH);
	stand_until(s, stand_state(s, id).n == 0);
}

/* A row that waits says where it goes. */
static void
not_now(struct stand *s, struct stand_job *j)
{
	stand_result(s, j, "4.2.2 452 not now", "recipient");
}

/* Every field of a row changed to every kind of nonsense. */
START_TEST(rows_of_nonsense_are_set_aside)
{
	static const char *const columns[] = {"state", "next", "address",
		"orcpt", "notify", "agent", "user", "home", "ids",
		"destination", "attempts", "parked", "attempted", "notified",
		"reply", "remote", "number"};
	static const char *const values[] = {"-1", "7", "''", "'nonsense'",
		"X'00ff0a0d'", "9223372036854775807", "-9223372036854775808",
		"1e300", "'a@b' || char(13) || char(10) || 'c'"};
	struct stand *s = stand_new("");
	char sql[256];
	s->agent = not_now;
	for (int i = 0; i < 17; i++)
		stand_submit(s, "a@b.test", i % 2 == 0 ? "alice@local.test"
			: "x@far.test", "x\r\n");
	stand_until(s, stand_sql(s,
		"SELECT count(*) FROM recipient WHERE state = 1") == 17);
	for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
		stand_kill(s);
		stand_exec(s, "UPDATE recipient SET state = 1, next = 1");
		for (int i = 0; i < 17; i++) {
			snprintf(sql, sizeof sql, "UPDATE OR IGNORE recipient"
				" SET %s = %s WHERE message = (SELECT id FROM"
				" message ORDER BY id LIMIT 1 OFFSET %d)",
				columns[i], values[v], i);
			stand_exec(s, sql);
		}
		s->agent = stand_fine;
		stand_start(s);
		stand_until(s, s->recovered);
		check_alive(s);
	}
	stand_free(s);
}
END_TEST

START_TEST(messages_of_nonsense_are_set_aside)
{
	static const char *const columns[] = {"sender", "arrival", "size",
		"origin", "session", "client", "user", "ret", "envid",
		"body_type", "utf8", "requiretls", "crashes", "body",
		"message_id", "trace"};
	static const char *const values[] = {"-1", "'nonsense'",
		"X'00ff0a0d'", "9223372036854775807", "'../queue.db'"};
	struct stand *s = stand_new("");
	char sql[256];
	s->agent = NULL;
	for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
		for (int i = 0; i < 16; i++) {
			struct str id = stand_submit(s, "a@b.test",
				"alice@local.test", "x\r\n");
			ck_assert_uint_eq(id.n, QID_LENGTH);
		}
		stand_kill(s);
		for (int i = 0; i < 16; i++) {
			snprintf(sql, sizeof sql, "UPDATE message SET %s = %s"
				" WHERE id = (SELECT id FROM message ORDER BY"
				" id LIMIT 1 OFFSET %d)", columns[i],
				values[v], i);
			stand_exec(s, sql);
		}
		s->agent = stand_fine;
		stand_start(s);
		stand_until(s, s->recovered);
		check_alive(s);
		s->agent = NULL;
	}
	stand_free(s);
}
END_TEST

START_TEST(a_recipient_without_its_message_is_set_aside)
{
	struct stand *s = stand_new("");
	s->agent = NULL;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	struct str whole = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	stand_kill(s);
	stand_exec(s, "DELETE FROM message WHERE id ="
		" (SELECT min(id) FROM message)");
	s->agent = stand_fine;
	stand_start(s);
	stand_until(s, stand_state(s, whole).n == 0);
	stand_until(s, str_eq(stand_state(s, id), STR("held")));
	ck_assert(str_eq(reply_of(s, id), STR("the message row is missing")));
	ck_assert(stand_logged(s, "row-set-aside"));
	check_alive(s);
	stand_free(s);
}
END_TEST

static void
in_bodies(struct stand *s, const char *format, const char *what)
{
	char command[256], directory[128];
	snprintf(directory, sizeof directory, "%s/state/queue/bodies",
		s->directory);
	snprintf(command, sizeof command, format, directory, what);
	ck_assert_int_eq(system(command), 0);
}

static struct str
submit_body(struct stand *s)
{
	struct peer *p = stand_connect(s, "smtpd");
	struct message m = MESSAGE(body_open), answer;
	static char text[100000];
	memset(text, 'x', sizeof text);
	stand_send(p, &m);
	ck_assert(stand_answer(s, p, &answer) && answer.fd >= 0);
	ck_assert_int_eq(write(answer.fd, text, sizeof text), sizeof text);
	close(answer.fd);
	struct msg_submit e = stand_envelope(s, "a@b.test",
		"alice@local.test bob@local.test", "");
	e.body = answer.opened.name;
	struct str id = stand_submit_as(s, p, &e);
	ck_assert_uint_eq(id.n, QID_LENGTH);
	return id;
}

/* No attempt can mend it: a person is told, and the message is kept. */
START_TEST(a_missing_body_is_a_persons_business)
{
	struct stand *s = stand_new("");
	s->auth_silent = true;
	struct str id = submit_body(s);
	in_bodies(s, "cd %s && for f in *; do mv $f ../kept; done%s", "");
	s->auth_silent = false;
	stand_again(s);
	stand_until(s, str_eq(stand_state(s, id), STR("held")));
	struct str reply = reply_of(s, id);
	ck_assert(str_search(reply, STR("is missing")) < reply.n);
	ck_assert(stand_logged(s, "is missing"));
	check_alive(s);
	/* It is back, and shorter: still not what was acknowledged. */
	struct str name = str_skip(reply, str_search(reply, STR("bodies/")) +
		7);
	name = str_head(name, QID_LENGTH);
	in_bodies(s, "cp %s/../kept ../x; cd %s/../bodies 2>/dev/null; true",
		s->directory);
	char path[256];
	snprintf(path, sizeof path, "%s/state/queue/bodies/%.*s", s->directory,
		STR_ARG(name));
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, "short", 5), 5);
	close(fd);
	stand_change(s, (struct msg_queue_change){
		.verb = STR("release"), .id = id});
	stand_until(s, stand_logged(s, "has 5 octets and should have 100000"));
	stand_until(s, str_eq(stand_state(s, id), STR("held")));
	/* From a backup: all is well. */
	in_bodies(s, "cd %s && cp ../kept %s", str_cstr(s->arena, name));
	stand_change(s, (struct msg_queue_change){
		.verb = STR("release"), .id = id});
	stand_until(s, stand_state(s, id).n == 0);
	stand_free(s);
}
END_TEST

START_TEST(a_missing_content_row_too)
{
	struct stand *s = stand_new("");
	s->auth_silent = true;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	stand_kill(s);
	stand_exec(s, "DELETE FROM content");
	s->auth_silent = false;
	stand_start(s);
	stand_until(s, str_eq(stand_state(s, id), STR("held")));
	check_alive(s);
	stand_free(s);
}
END_TEST

/* ---------------------------------------------------------- the database */

static const char *
database_path(struct stand *s)
{
	return str_cstr(s->arena, str_printf(
		s->arena, "%s/state/queue/queue.db", s->directory));
}

static size_t
damaged_files(struct stand *s)
{
	char path[128];
	size_t n = 0;
	snprintf(path, sizeof path, "%s/state/queue", s->directory);
	DIR *d = opendir(path);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += strstr(e->d_name, "queue.db.damaged.") != NULL &&
			strchr(e->d_name, '-') == NULL;
	closedir(d);
	return n;
}

/* Without asking a queue that may be dead. */
static bool
is_finished(struct stand *s, struct str id)
{
	char sql[128];
	int64_t n;
	ck_assert(qid_parse(id, &n));
	snprintf(sql, sizeof sql, "SELECT count(*) FROM recipient WHERE"
		" message = %lld", (long long)n);
	return stand_sql(s, sql) == 0;
}

/* Starts it as often as it dies, as master does, until it takes a message and
 * delivers it. */
static void
start_until_up(struct stand *s)
{
	for (int i = 0; i < 5; i++) {
		if (stand_is_dead(s))
			stand_start(s);
		while (!stand_is_dead(s) && !s->recovered)
			stand_turn(s, 10);
		if (stand_is_dead(s))
			continue;
		struct str id = stand_submit(
			s, "a@b.test", "alice@local.test", "alive\r\n");
		while (!stand_is_dead(s) && id.n > 0 && !is_finished(s, id))
			stand_turn(s, 10);
		if (!stand_is_dead(s) && id.n > 0)
			return;
	}
	ck_abort_msg("it does not stay up");
}

START_TEST(no_database_at_all)
{
	struct stand *s = stand_new("");
	stand_submit(s, "a@b.test", "later@local.test", "x\r\n");
	stand_kill(s);
	stand_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
	int fd = open(database_path(s), O_WRONLY | O_TRUNC);
	for (int i = 0; i < 10000; i++)
		ck_assert_int_eq(write(fd, "garbage!", 8), 8);
	close(fd);
	start_until_up(s);
	ck_assert_uint_eq(damaged_files(s), 1);
	ck_assert(stand_logged(s, "database-damaged"));
	ck_assert(stand_logged(s, "database-repaired damaged="));
	check_alive(s);
	stand_free(s);
}
END_TEST

/* Every page in turn is overwritten: what can be read is still delivered, and
 * whatever happens the queue takes mail. */
START_TEST(any_page_may_be_damaged)
{
	struct stand *s = stand_new("");
	enum { MANY = 12, PAGE = 4096 };
	char text[2000], page[PAGE];
	int64_t whole = 0, rounds = 0;
	memset(text, 'x', sizeof text - 3);
	memcpy(text + sizeof text - 3, "\r\n", 3);
	s->auth_silent = true;
	for (int i = 0; i < MANY; i++)
		stand_submit(s, "a@b.test", "alice@local.test b@far.test",
			text);
	stand_kill(s);
	stand_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
	s->auth_silent = false;
	char keep[160];
	snprintf(keep, sizeof keep, "cp %s %s/saved", database_path(s),
		s->directory);
	ck_assert_int_eq(system(keep), 0);
	struct stat st;
	ck_assert_int_eq(stat(database_path(s), &st), 0);
	for (off_t at = 0; at < st.st_size; at += PAGE, rounds++) {
		snprintf(keep, sizeof keep, "cp %s/saved %s", s->directory,
			database_path(s));
		ck_assert_int_eq(system(keep), 0);
		int fd = open(database_path(s), O_WRONLY);
		memset(page, 0xa5 + (int)rounds, sizeof page);
		ck_assert_int_eq(pwrite(fd, page, PAGE, at), PAGE);
		close(fd);
		s->agent = stand_fine;
		start_until_up(s);
		stand_until(s, stand_is_dead(s) || stand_sql(s, "SELECT count(*)"
			" FROM recipient WHERE state <> 2") == 0);
		if (stand_is_dead(s))
			start_until_up(s);
		stand_until(s, stand_sql(s, "SELECT count(*) FROM recipient"
			" WHERE state <> 2") == 0);
		whole += stand_sql(s, "SELECT count(*) FROM history WHERE"
			" outcome IN ('delivered', 'relayed')") - 1;
		stand_kill(s);
		ck_assert_int_eq(system(str_cstr(s->arena, str_printf(
			s->arena, "rm -f %s*", database_path(s)))), 0);
	}
	/* Most pages cost an index that can be made anew, or a few messages. */
	ck_assert_int_gt(whole, rounds * MANY);
	stand_free(s);
}
END_TEST

/* A crash at any point of the repair: it begins again or finishes. */
START_TEST(a_repair_may_be_interrupted)
{
	struct stand *s = stand_new("");
	char command[512];
	s->auth_silent = true;
	struct str id = stand_submit(
		s, "a@b.test", "alice@local.test", "x\r\n");
	stand_kill(s);
	stand_exec(s, "PRAGMA wal_checkpoint(TRUNCATE)");
	/* Between the two renames. */
	snprintf(command, sizeof command, "cd %s/state/queue && "
		"mv queue.db queue.db.new && rm -f queue.db-* && "
		": > queue.db.repair", s->directory);
	ck_assert_int_eq(system(command), 0);
	s->auth_silent = false;
	start_until_up(s);
	stand_until(s, stand_state(s, id).n == 0);
	/* In the middle of copying. */
	stand_kill(s);
	snprintf(command, sizeof command, "cd %s/state/queue && "
		"echo half > queue.db.new && : > queue.db.repair",
		s->directory);
	ck_assert_int_eq(system(command), 0);
	start_until_up(s);
	ck_assert_int_eq(stand_sql(s, "SELECT count(*) FROM history WHERE"
		" outcome = 'delivered'"), 3);
	check_alive(s);
	stand_free(s);
}
END_TEST

Suite *
suite_rows(void)
{
	return SUITE("rows", rows_of_nonsense_are_set_aside,
		messages_of_nonsense_are_set_aside,
		a_recipient_without_its_message_is_set_aside,
		a_missing_body_is_a_persons_business,
		a_missing_content_row_too, no_database_at_all,
		any_page_may_be_damaged, a_repair_may_be_interrupted);
}
