/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/clock.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct table *
open_table(struct arena *a, const char *type, const char *path)
{
	struct table *t = table_new(
		a, str_printf(a, "%s:%s", type, path), 1000);
	table_refresh(t);
	return t;
}

/* The value, "-" for none, "later". */
static struct str
find(struct arena *a, struct table *t, const char *key)
{
	struct table_value v;
	switch (table_find(t, a, str_from(key), &v)) {
	case TABLE_FOUND:
		return v.text;
	case TABLE_NONE:
		return STR("-");
	case TABLE_LATER:
		break;
	}
	return STR("later");
}

static void
rewrite_file(const char *path, const char *text)
{
	struct timespec now[2];
	FILE *f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
	/* Two writes within one tick of the file system's clock. */
	clock_gettime(CLOCK_REALTIME, &now[0]);
	now[0].tv_sec += 10;
	now[1] = now[0];
	utimensat(0, path, now, 0);
}

START_TEST(text)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "# comment\n\n"
		"Alice   one two\n"
		"bob:\tthree\n"
		"\"a b\"@x.test  quoted\n"
		"long one,\n  two,\n\tthree\n"
		"alone\n"
		"last at the end");
	struct table *t = open_table(a, "text", path);
	struct table_value v;
	ck_assert_view(find(a, t, "alice"), "one two");
	ck_assert_view(find(a, t, "ALICE"), "one two");
	ck_assert_view(find(a, t, "bob"), "three");
	ck_assert_view(find(a, t, "\"a b\"@x.test"), "quoted");
	ck_assert_view(find(a, t, "long"), "one, two, three");
	ck_assert_view(find(a, t, "alone"), "");
	ck_assert_view(find(a, t, "last"), "at the end");
	ck_assert_view(find(a, t, "#"), "-");
	ck_assert_view(find(a, t, ""), "-");
	ck_assert_int_eq(table_find(t, a, STR("long"), &v), TABLE_FOUND);
	ck_assert(str_eq(v.where, str_printf(a, "%s:6", path)));
	/* what would be something else to another kind of table */
	ck_assert_int_eq(table_find(t, a, STR("alice\nbob"), &v), TABLE_NONE);
	ck_assert_int_eq(table_find(t, a, STR("alice\0x"), &v), TABLE_NONE);
	unlink(path);
	arena_free(a);
}
END_TEST

START_TEST(passwd)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "root:x:0:0:root:/root:/bin/sh\n"
		"daemon:x:1:1::/usr/sbin:/bin/false\n"
		"+::::::\nnonsense\n:x:1000:1000::/:\n"
		"Carol:x:1000:1000:Carol C,,,:/home/carol:/bin/sh\n"
		"last:x:59999:1::/home/last:\nopen::1001:1::/home/open:\nover:x:60000:1::/h:\n"
		"nobody:x:65534:65534::/:\nbad:x:1e3:1000::/h:\n");
	struct table *t = open_table(a, "passwd", path);
	static const char *const none[] = {"root", "daemon", "+", "nonsense",
		"", "over", "nobody", "bad", "nosuch"};
	ck_assert_view(find(a, t, "carol"),
		"{PAM}:1000:1000:Carol C,,,:/home/carol:/bin/sh");
	ck_assert_view(find(a, t, "last"), "{PAM}:59999:1::/home/last:");
	ck_assert_view(find(a, t, "open"), ":1001:1::/home/open:");
	for (size_t i = 0; i < sizeof none / sizeof *none; i++)
		ck_assert_view(find(a, t, none[i]), "-");
	unlink(path);
	arena_free(a);
}
END_TEST

START_TEST(changes_are_noticed)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "a 1\n");
	struct table *t = open_table(a, "text", path);
	ck_assert_view(find(a, t, "a"), "1");
	rewrite_file(path, "a 2\nb 3\n");
	table_refresh(t);
	ck_assert_view(find(a, t, "a"), "2");
	/* broken: the last good state stays */
	rewrite_file(path, "a 4\na 5\n");
	table_refresh(t);
	ck_assert_view(find(a, t, "a"), "2");
	ck_assert_view(find(a, t, "b"), "3");
	/* gone: somebody's half-done edit */
	unlink(path);
	table_refresh(t);
	ck_assert_view(find(a, t, "a"), "2");
	rewrite_file(path, "a 6\n");
	table_refresh(t);
	ck_assert_view(find(a, t, "a"), "6");
	unlink(path);
	arena_free(a);
}
END_TEST

START_TEST(never_good)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "a 1\na 2\n");
	struct table *t = open_table(a, "text", path);
	ck_assert_view(find(a, t, "a"), "later");
	rewrite_file(path, "a 1\n");
	table_refresh(t);
	ck_assert_view(find(a, t, "a"), "1");
	unlink(path);
	t = open_table(a, "text", path);
	ck_assert_view(find(a, t, "a"), "later");
	t = open_table(a, "text", "/tmp");
	ck_assert_view(find(a, t, "a"), "later");
	t = open_table(a, "text", "/dev/zero");
	ck_assert_view(find(a, t, "a"), "later");
	arena_free(a);
}
END_TEST

START_TEST(cidr)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "192.0.2.1 one\n192.0.2.0/24 net\n"
		"2001:db8::/32 six\n0.0.0.0/0 all\n");
	struct table *t = open_table(a, "cidr", path);
	ck_assert_view(find(a, t, "192.0.2.1"), "one");
	ck_assert_view(find(a, t, "192.0.2.2"), "net");
	ck_assert_view(find(a, t, "198.51.100.1"), "all");
	ck_assert_view(find(a, t, "2001:db8:1::1"), "six");
	ck_assert_view(find(a, t, "2001:db9::1"), "-");
	ck_assert_view(find(a, t, "nonsense"), "-");
	rewrite_file(path, "192.0.2.0/33 x\n");
	t = open_table(a, "cidr", path);
	ck_assert_view(find(a, t, "192.0.2.1"), "later");
	unlink(path);
	arena_free(a);
}
END_TEST

START_TEST(pcre)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a,
		"/^(.*)-owner@(.*)$/ $1@${2} costs $$5\n"
		"/^Case$/i sensitive\n"
		"!^/slash/$! other mark\n"
		"/^(a+)+$/ slow\n"
		"/x(y)?z/ [$1]\n"
		"/member/\n");
	struct table *t = open_table(a, "pcre", path);
	ck_assert_view(find(a, t, "list-owner@x.test"),
		"list@x.test costs $5");
	ck_assert_view(find(a, t, "LIST-OWNER@X.test"),
		"LIST@X.test costs $5");
	ck_assert_view(find(a, t, "Case"), "sensitive");
	ck_assert_view(find(a, t, "case"), "-");
	ck_assert_view(find(a, t, "/slash/"), "other mark");
	ck_assert_view(find(a, t, "xz"), "[]");
	ck_assert_view(find(a, t, "a member"), "");
	/* more work than a stranger may cause */
	int64_t start = clock_ms();
	ck_assert_view(find(a, t, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
		"later");
	ck_assert_int_lt(clock_ms() - start, 5000);
	static const char *const bad[] = {"/unclosed x\n", "/(/ x\n",
		"/x/q y\n"};
	for (size_t i = 0; i < 3; i++) {
		rewrite_file(path, bad[i]);
		t = open_table(a, "pcre", path);
		ck_assert_view(find(a, t, "x"), "later");
	}
	unlink(path);
	arena_free(a);
}
END_TEST

START_TEST(sqlite)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "");
	sqlite3 *db;
	unlink(path);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE t (k TEXT, v TEXT);"
		"INSERT INTO t VALUES ('one', '1'), ('two', 'a'), ('two', 'b'),"
		"('null', NULL)", NULL, NULL, NULL), SQLITE_OK);
	struct table *t = open_table(a, "sqlite", str_cstr(a, str_printf(a,
		"%s SELECT v FROM t WHERE k = ?1", path)));
	ck_assert_view(find(a, t, "one"), "1");
	ck_assert_view(find(a, t, "two"), "a, b");
	ck_assert_view(find(a, t, "three"), "-");
	ck_assert_view(find(a, t, "null"), "-");
	ck_assert_view(find(a, t, "' OR '1'='1"), "-");
	/* changes need no reading */
	sqlite3_exec(db, "INSERT INTO t VALUES ('three', '3')", NULL, NULL,
		NULL);
	ck_assert_view(find(a, t, "three"), "3");
	/* somebody writes and does not end */
	sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
	ck_assert_view(find(a, t, "one"), "later");
	sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	ck_assert_view(find(a, t, "one"), "1");
	sqlite3_exec(db, "DROP TABLE t", NULL, NULL, NULL);
	ck_assert_view(find(a, t, "one"), "later");
	sqlite3_close(db);
	t = open_table(a, "sqlite", str_cstr(a, str_printf(a,
		"%s SELECT nonsense", path)));
	ck_assert_view(find(a, t, "one"), "later");
	unlink(path);
	t = open_table(a, "sqlite", str_cstr(a, str_printf(a,
		"%s SELECT v FROM t WHERE k = ?1", path)));
	ck_assert_view(find(a, t, "one"), "later");
	ck_assert_int_ne(access(path, F_OK), 0);
	arena_free(a);
}
END_TEST

/* ------------------------------------------------------------ hostile keys */

/* None of them is bob or alice (rule S8). */
static const struct str hostile_keys[] = {
	STR_INIT("bob\n"), STR_INIT("\nbob"), STR_INIT("alice\nbob"),
	STR_INIT("bob\r\n"), STR_INIT("alice\rbob"), STR_INIT("bob\0"),
	STR_INIT("bob\0alice"), STR_INIT("\0bob"), STR_INIT("alice\0\nbob"),
	STR_INIT("bob\\"), STR_INIT("\\bob"), STR_INIT("bob\\n"),
	STR_INIT(" bob"), STR_INIT("bob "), STR_INIT("bob\t1"),
	STR_INIT("bob 1\nalice 2"), STR_INIT("bob: 1"), STR_INIT("#bob"),
	STR_INIT("bob' --"), STR_INIT("bob' OR '1'='1"), STR_INIT("bo%"),
	STR_INIT("bo_"), STR_INIT("*"), STR_INIT("?1"), STR_INIT(""),
	STR_INIT("\\Ebob\\Q"), STR_INIT("$1"), STR_INIT("${0}"),
};

static void
finds_none(struct arena *a, struct table *t, const char *type)
{
	struct table_value v;
	ck_assert_msg(str_eq(find(a, t, "bob"), STR("1")), "%s", type);
	for (size_t i = 0; i < sizeof hostile_keys / sizeof *hostile_keys; i++)
		ck_assert_msg(table_find(t, a, hostile_keys[i], &v) ==
			TABLE_NONE, "%s: key %zu", type, i);
}

START_TEST(hostile_keys_find_nothing)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "bob 1\nalice 2\n");
	finds_none(a, open_table(a, "text", path), "text");
	rewrite_file(path, "/^bob$/ 1\n/^alice$/ 2\n");
	finds_none(a, open_table(a, "pcre", path), "pcre");
	unlink(path);
	sqlite3 *db;
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, "CREATE TABLE t (k TEXT, v TEXT);"
		"INSERT INTO t VALUES ('bob', '1'), ('alice', '2')", NULL, NULL,
		NULL), SQLITE_OK);
	finds_none(a, open_table(a, "sqlite", str_cstr(a, str_printf(a,
		"%s SELECT v FROM t WHERE k = ?1", path))), "sqlite");
	sqlite3_close(db);
	unlink(path);
	arena_free(a);
}
END_TEST

/* --------------------------------------------------------------- socketmap */

static const struct {
	const char *question, *answer;
} socketmap_rows[] = {
	{"14:map alice@x.te,", "10:OK a, b@cd,"},
	{"7:map bob,", "3:OK ,"},
	{"8:map none,", "9:NOTFOUND ,"},
	{"8:map temp,", "9:TEMP busy,"},
	{"8:map perm,", "8:PERM bad,"},
	{"8:map lies,", "99999999:x,"},
	{"7:map odd,", "nonsense"},
	{"8:map long,", "5:OK xyz,"},
	{"8:map huge,", "200001:OK "},
};

static void
serve_one(int fd)
{
	char in[200];
	ssize_t n;
	while ((n = recv(fd, in, sizeof in - 1, 0)) > 0) {
		in[n] = 0;
		for (size_t i = 0; i < sizeof socketmap_rows /
			sizeof *socketmap_rows; i++) {
			const char *answer = socketmap_rows[i].answer;
			if (strcmp(in, socketmap_rows[i].question) != 0)
				continue;
			/* in two pieces */
			send(fd, answer, 2, 0);
			usleep(1000);
			send(fd, answer + 2, strlen(answer) - 2, 0);
		}
		if (strcmp(in, "8:map hang,") == 0)
			close(fd);
	}
}

START_TEST(socketmap)
{
	struct arena *a = arena_new("test");
	const char *path = test_file(a, "");
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	unlink(path);
	strcpy(sun.sun_path, path);
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&sun, sizeof sun),
		0);
	listen(listening, 5);
	pid_t pid = fork();
	if (pid == 0)
		for (;;) {
			int fd = accept(listening, NULL, NULL);
			serve_one(fd);
			close(fd);
		}
	struct str where = str_printf(a, "unix:%s:map", path);
	static const struct {
		const char *key, *want;
	} rows[] = {
		{"alice@x.te", "a, b@cd"}, {"bob", ""}, {"none", "-"},
		{"temp", "later"}, {"perm", "later"}, {"lies", "later"},
		{"odd", "later"}, {"huge", "later"}, {"hang", "later"},
		{"nobody answers", "later"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		/* a table anew: one that failed is left alone for a while */
		struct table *t = open_table(
			a, "socketmap", str_cstr(a, where));
		ck_assert_view(find(a, t, "bob"), "");
		ck_assert_msg(str_eq(find(a, t, rows[i].key),
			str_from(rows[i].want)), "%s", rows[i].key);
		close(((int *)t->content)[0]);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(path);
	struct table *t = open_table(a, "socketmap", str_cstr(a, where));
	ck_assert_view(find(a, t, "bob"), "later");
	arena_free(a);
}
END_TEST

Suite *
suite_table(void)
{
	return SUITE("table", text, passwd, changes_are_noticed, never_good, cidr,
		pcre, sqlite, hostile_keys_find_nothing, socketmap);
}
