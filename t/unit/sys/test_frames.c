/* SPDX-License-Identifier: ISC */
/*
 * Every case leaves a database without a sync of SQLite's, which would write
 * what waits; then a connection of the usual kind looks at the files as they
 * are.
 */
#include "sys.h"
#include "base/str.h"
#include "suites.h"
#include "sys/frames.h"

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64], path[96];

static void
run(sqlite3 *db, const char *sql)
{
	char *why = NULL;
	ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &why) == SQLITE_OK,
		"%s: %s", sql, why);
}

static int64_t
number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return n;
}

static sqlite3 *
open_with(const char *vfs)
{
	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE |
		SQLITE_OPEN_CREATE, vfs), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
		"PRAGMA wal_autocheckpoint=0");
	return db;
}

static int
commit(sqlite3 *db)
{
	frames_gather(db, true);
	int r = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	frames_gather(db, false);
	return r;
}

#define ROWS(n) \
	"WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c " \
	"WHERE i<" #n ") INSERT INTO t(x) SELECT randomblob(3000) FROM c"

static sqlite3 *
set_up(void)
{
	snprintf(directory, sizeof directory, "%s/frames.XXXXXX", test_top());
	ck_assert_ptr_nonnull(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/x.db", directory);
	sqlite3 *db = open_with(frames_vfs());
	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, x BLOB)");
	return db;
}

static void
tear_down(sqlite3 *db)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char name[128];
	sqlite3_close(db);
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "%s%s", path, ends[i]);
		unlink(name);
	}
	rmdir(directory);
}

/* As another process finds it, which has only the files. */
static void
assert_rows(int64_t want)
{
	sqlite3 *db = open_with(NULL);
	sqlite3_stmt *s;
	ck_assert_int_eq(number(db, "SELECT count(*) FROM t"), want);
	sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &s, NULL);
	ck_assert_int_eq(sqlite3_step(s), SQLITE_ROW);
	ck_assert_str_eq((const char *)sqlite3_column_text(s, 0), "ok");
	sqlite3_finalize(s);
	sqlite3_close(db);
}

static int64_t
log_octets(void)
{
	char name[128];
	struct stat st;
	snprintf(name, sizeof name, "%s-wal", path);
	return stat(name, &st) == 0 ? st.st_size : 0;
}

/* Of this process, so far. */
static long
writes(void)
{
	char text[512] = "";
	int fd = open("/proc/self/io", O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	close(fd);
	char *at = n > 0 ? strstr(text, "syscw: ") : NULL;
	return at == NULL ? -1 : strtol(at + 7, NULL, 10);
}

START_TEST(frames_of_a_commit_go_together)
{
	sqlite3 *db = set_up();
	run(db, "BEGIN IMMEDIATE; " ROWS(20));
	long before = writes();
	ck_assert_int_eq(commit(db), SQLITE_OK);
	if (before >= 0)
		ck_assert_int_le(writes() - before, 3);
	assert_rows(20);
	/* More than is gathered at once; and a single frame. */
	run(db, "BEGIN IMMEDIATE; " ROWS(300));
	ck_assert_int_eq(commit(db), SQLITE_OK);
	assert_rows(320);
	run(db, "BEGIN IMMEDIATE; UPDATE t SET x='' WHERE id=7");
	ck_assert_int_eq(commit(db), SQLITE_OK);
	assert_rows(320);
	tear_down(db);
}
END_TEST

/* What is written before COMMIT, and anew at the end of it. */
START_TEST(a_transaction_outgrows_its_cache)
{
	sqlite3 *db = set_up();
	run(db, "PRAGMA cache_size=10; BEGIN IMMEDIATE; " ROWS(200));
	ck_assert_int_gt(log_octets(), 100 * 4096);
	run(db, "UPDATE t SET x=randomblob(2900) WHERE id % 3 = 0");
	ck_assert_int_eq(commit(db), SQLITE_OK);
	assert_rows(200);
	run(db, "BEGIN IMMEDIATE; DELETE FROM t WHERE id % 2 = 0; " ROWS(50));
	ck_assert_int_eq(commit(db), SQLITE_OK);
	assert_rows(150);
	tear_down(db);
}
END_TEST

/* Nothing of it may be written where another's frames are by then. */
START_TEST(what_was_rolled_back_stays_away)
{
	sqlite3 *db = set_up(), *other = open_with(NULL);
	run(db, "PRAGMA cache_size=10");
	for (int i = 1; i <= 5; i++) {
		run(db, "BEGIN IMMEDIATE; " ROWS(60));
		run(db, "ROLLBACK");
		run(other, ROWS(10));
		assert_rows(i * 20 - 10);
		run(db, "BEGIN IMMEDIATE; " ROWS(10));
		ck_assert_int_eq(commit(db), SQLITE_OK);
		assert_rows(i * 20);
	}
	sqlite3_close(other);
	tear_down(db);
}
END_TEST

/* The log begins anew, behind another's back. */
START_TEST(the_log_begins_again)
{
	sqlite3 *db = set_up(), *other = open_with(NULL);
	for (int i = 1; i <= 5; i++) {
		run(i % 2 == 0 ? db : other, "PRAGMA wal_checkpoint(RESTART)");
		run(other, ROWS(10));
		run(db, "BEGIN IMMEDIATE; " ROWS(10));
		ck_assert_int_eq(commit(db), SQLITE_OK);
		assert_rows(i * 20);
	}
	sqlite3_close(other);
	tear_down(db);
}
END_TEST

static void
limit_files(rlim_t octets)
{
	struct rlimit l;
	getrlimit(RLIMIT_FSIZE, &l);
	l.rlim_cur = octets;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &l), 0);
}

START_TEST(a_write_that_fails_fails_the_commit)
{
	sqlite3 *db = set_up();
	signal(SIGXFSZ, SIG_IGN);
	for (int pages = 0; pages < 40; pages += 3) {
		run(db, "BEGIN IMMEDIATE; " ROWS(30));
		limit_files((rlim_t)(log_octets() + pages * 4120 + 24));
		int r = commit(db);
		limit_files(RLIM_INFINITY);
		/* where the log already is that long it has room */
		if (r != SQLITE_OK)
			sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
		int64_t have = number(db, "SELECT count(*) FROM t");
		assert_rows(have);
		ck_assert(pages > 0 || (r != SQLITE_OK && have == 0));
		run(db, "BEGIN IMMEDIATE; " ROWS(2));
		ck_assert_int_eq(commit(db), SQLITE_OK);
		assert_rows(have + 2);
	}
	tear_down(db);
}
END_TEST

/* A connection of another kind, and one that has no log. */
START_TEST(others_do_not_mind)
{
	sqlite3 *db = set_up(), *other = open_with(NULL);
	run(other, "BEGIN IMMEDIATE; " ROWS(5));
	ck_assert_int_eq(commit(other), SQLITE_OK);
	assert_rows(5);
	sqlite3_close(other);
	tear_down(db);
	ck_assert_int_eq(sqlite3_open_v2(":memory:", &db,
		SQLITE_OPEN_READWRITE, frames_vfs()), SQLITE_OK);
	run(db, "CREATE TABLE t(x); BEGIN; " ROWS(5));
	ck_assert_int_eq(commit(db), SQLITE_OK);
	sqlite3_close(db);
}
END_TEST

Suite *
suite_frames(void)
{
	return SUITE("frames", frames_of_a_commit_go_together,
		a_transaction_outgrows_its_cache,
		what_was_rolled_back_stays_away, the_log_begins_again,
		a_write_that_fails_fails_the_commit, others_do_not_mind);
}
