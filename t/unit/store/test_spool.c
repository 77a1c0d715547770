/* SPDX-License-Identifier: ISC */
/* mbox files: what is written, who is kept out, what a crash leaves. */
#include "suites.h"
#include "store_suites.h"
#include "base/arena.h"
#include "base/clock.h"
#include "store/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct arena *a;
static char directory[64];
static struct spool spool;
static const struct delivery_rules rules = {.each = false};

static void
setup(void)
{
	a = arena_new("test");
	snprintf(directory, sizeof directory, "%s/spool-XXXXXX", test_top());
	ck_assert_ptr_nonnull(mkdtemp(directory));
	spool = (struct spool){str_from(directory), STR("alice"), false, 0};
}

static const char *
at(const char *name)
{
	return str_cstr(a, str_printf(a, "%s/%s", directory, name));
}

static void
teardown(void)
{
	static const char *const names[] = {"alice", "alice.lock", "bob"};
	for (int i = 0; i < 3; i++)
		unlink(at(names[i]));
	rmdir(directory);
	arena_free(a);
}

static struct delivery
delivery(const char *name, const char *content, bool verify)
{
	return (struct delivery){.name = str_from(name),
		.head = STR("Return-Path: <s@t>\r\nDelivered-To: a@b\r\n"),
		.content = str_from(content), .date = 1795818666,
		.sender = STR("s@t"), .verify = verify};
}

static struct status
deliver(const char *name, const char *content, bool verify)
{
	struct delivery d = delivery(name, content, verify);
	ck_assert_int_eq(spool_deliver(&spool, a, &d, 1, &rules), SPOOL_DONE);
	return d.status;
}

static struct str
contents(const char *path)
{
	static char text[200000];
	FILE *f = fopen(path, "r");
	if (f == NULL)
		return STR("-");
	size_t n = fread(text, 1, sizeof text, f);
	fclose(f);
	return str_copy(a, str_of(text, n));
}

static void
put(const char *path, struct str text)
{
	FILE *f = fopen(path, "w");
	fwrite(text.p, 1, text.n, f);
	fclose(f);
	chmod(path, 0600);
}

#define MESSAGE "Subject: x\r\nStatus: R\r\n\r\nFrom here\r\n>From there\r\n"
#define WRITTEN(name) \
	"From s@t Fri Nov 27 22:31:06 2026\nX-Surat-Delivery: " name "\n" \
	"Return-Path: <s@t>\nDelivered-To: a@b\nSubject: x\n\n" \
	">From here\n>>From there\n\n"

START_TEST(what_is_written)
{
	struct stat st;
	setup();
	ck_assert(status_is_fine(deliver("1", MESSAGE, false)));
	ck_assert_view(contents(at("alice")), WRITTEN("1"));
	ck_assert_int_eq(stat(at("alice"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert(status_is_fine(deliver("2", MESSAGE, false)));
	ck_assert_view(contents(at("alice")), WRITTEN("1") WRITTEN("2"));
	ck_assert_int_ne(access(at("alice.lock"), F_OK), 0);
	/* one that somebody else left without its end */
	put(at("alice"), STR("From x Thu Jan  1 00:00:00 1970\n\nno end"));
	ck_assert(status_is_fine(deliver("3", MESSAGE, false)));
	ck_assert_view(contents(at("alice")), "From x Thu Jan  1 00:00:00 "
		"1970\n\nno end\n\n" WRITTEN("3"));
	teardown();
}
END_TEST

START_TEST(whose_it_must_be)
{
	setup();
	put(at("bob"), STR(""));
	ck_assert_int_eq(symlink(at("bob"), at("alice")), 0);
	ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	unlink(at("alice"));
	ck_assert_int_eq(link(at("bob"), at("alice")), 0);
	ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	unlink(at("alice"));
	ck_assert_int_eq(mkfifo(at("alice"), 0600), 0);
	ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	unlink(at("alice"));
	put(at("alice"), STR(""));
	chmod(at("alice"), 0602);
	ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	chmod(at("alice"), 0660);
	ck_assert(status_is_fine(deliver("1", MESSAGE, false)));
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(at("alice"), 12345, 12345), 0);
		ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	}
	ck_assert_view(contents(at("bob")), "");
	static const char *const names[] = {"", ".", "..", "a/b", ".x"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		spool.name = str_from(names[i]);
		ck_assert(!status_is_fine(deliver("1", MESSAGE, false)));
	}
	spool.directory = STR("/no/such/directory");
	spool.name = STR("alice");
	ck_assert(status_is_later(deliver("1", MESSAGE, false)));
	teardown();
}
END_TEST

/* Names that come and go between our steps: the victim's file, by a link of
 * either kind. */
static void
change_names(void)
{
	const char *alice = at("alice"), *bob = at("bob");
	for (;;) {
		for (int i = 0; i < 50; i++) {
			if (link(bob, alice) == 0)
				unlink(alice);
		}
		if (symlink(bob, alice) == 0)
			unlink(alice);
	}
}

/* Whoever may make links in the directory gets no mail into another's file. */
START_TEST(links_at_any_moment)
{
	setup();
	put(at("bob"), STR("mine\n"));
	pid_t pid = fork();
	if (pid == 0)
		change_names();
	int64_t end = clock_in(1000);
	int tried = 0;
	while (clock_left(end) > 0) {
		deliver("1", MESSAGE, false);
		tried++;
	}
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_gt(tried, 0);
	ck_assert(str_eq(contents(at("bob")), STR("mine\n")));
	teardown();
}
END_TEST

/* Another process has the fcntl lock until told. */
static pid_t
locker(int *end)
{
	int there[2], go[2];
	char c;
	ck_assert(pipe(there) == 0 && pipe(go) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct flock l = {.l_type = F_WRLCK};
		int fd = open(at("alice"), O_RDWR);
		close(go[1]);
		if (fcntl(fd, F_SETLK, &l) != 0 || write(there[1], "x", 1) != 1)
			_exit(1);
		_exit(read(go[0], &c, 1) != 0);
	}
	close(go[0]);
	close(there[1]);
	ck_assert_int_eq(read(there[0], &c, 1), 1);
	close(there[0]);
	*end = go[1];
	return pid;
}

START_TEST(locks)
{
	int end;
	setup();
	put(at("alice"), STR(""));
	pid_t pid = locker(&end);
	struct status st = deliver("1", MESSAGE, false);
	ck_assert(status_is_later(st) && st.subject == 2 && st.detail == 0);
	ck_assert_view(contents(at("alice")), "");
	/* who has to wait for one has not the other */
	ck_assert_int_ne(access(at("alice.lock"), F_OK), 0);
	close(end);
	waitpid(pid, NULL, 0);
	ck_assert(status_is_fine(deliver("1", MESSAGE, false)));
	put(at("alice.lock"), STR("0"));
	st = deliver("2", MESSAGE, false);
	ck_assert(status_is_later(st) && st.subject == 2);
	ck_assert_int_eq(access(at("alice.lock"), F_OK), 0);
	ck_assert_view(contents(at("alice")), WRITTEN("1"));
	/* one that its owner has forgotten */
	struct timespec old[2] = {{.tv_sec = clock_wall() - 301},
		{.tv_sec = clock_wall() - 301}};
	ck_assert_int_eq(utimensat(AT_FDCWD, at("alice.lock"), old, 0), 0);
	ck_assert(status_is_fine(deliver("2", MESSAGE, false)));
	ck_assert_int_ne(access(at("alice.lock"), F_OK), 0);
	/* and one of ours, who died with it */
	put(at("alice.lock"), STR(""));
	chmod(at("alice.lock"), 0200);
	ck_assert(status_is_fine(deliver("3", MESSAGE, false)));
	put(at("alice.lock"), STR(""));
	ck_assert(status_is_later(deliver("4", MESSAGE, false)));
	teardown();
}
END_TEST

/* In a directory that is not ours to write to there is fcntl alone. */
START_TEST(no_lock_file)
{
	setup();
	put(at("alice"), STR(""));
	chmod(directory, 0555);
	pid_t pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (chown(at("alice"), 65534, 65534) != 0 ||
			setgid(65534) != 0 || setuid(65534) != 0))
			_exit(2);
		struct delivery d = delivery("1", MESSAGE, false);
		spool_deliver(&spool, a, &d, 1, &rules);
		_exit(!status_is_fine(d.status));
	}
	int status;
	waitpid(pid, &status, 0);
	chmod(directory, 0755);
	ck_assert_int_eq(status, 0);
	teardown();
}
END_TEST

/* What cannot be written whole is not there at all. */
START_TEST(row06_no_space)
{
	struct rlimit l, old;
	setup();
	signal(SIGXFSZ, SIG_IGN);
	ck_assert(status_is_fine(deliver("1", MESSAGE, false)));
	struct stat st;
	ck_assert_int_eq(stat(at("alice"), &st), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	l = (struct rlimit){(rlim_t)st.st_size + 100, old.rlim_max};
	struct delivery v[2] = {delivery("2", MESSAGE, false),
		delivery("3", "\r\n", false)};
	v[1].head = STR("");
	/* check writes files too */
	setrlimit(RLIMIT_FSIZE, &l);
	spool_deliver(&spool, a, v, 2, &rules);
	setrlimit(RLIMIT_FSIZE, &old);
	ck_assert(status_is_later(v[0].status));
	ck_assert(status_is_fine(v[1].status));
	ck_assert_view(contents(at("alice")), WRITTEN("1")
		"From s@t Fri Nov 27 22:31:06 2026\nX-Surat-Delivery: 3\n\n\n");
	teardown();
}
END_TEST

/* A crash after each octet: what was before and one whole copy. */
START_TEST(row02_torn_anywhere)
{
	setup();
	struct str one = STR(WRITTEN("1")), two = STR(WRITTEN("2"));
	for (size_t n = sizeof "From "; n <= two.n; n++) {
		struct str torn = str_printf(a, "%.*s%.*s", STR_ARG(one),
			STR_ARG(str_head(two, n)));
		put(at("alice"), torn);
		struct delivery d = delivery("2", MESSAGE, true);
		spool_deliver(&spool, a, &d, 1, &rules);
		ck_assert(status_is_fine(d.status));
		ck_assert_msg(d.was_there == (n == two.n), "%zu", n);
		ck_assert_msg(str_eq(contents(at("alice")), str_printf(a,
			"%.*s%.*s", STR_ARG(one), STR_ARG(two))), "%zu", n);
	}
	/* blocks that were never written read as zeros */
	char zeros[300] = "";
	for (size_t n = one.n; n + 200 < one.n + two.n; n += 17) {
		struct buf *b = buf_new(a);
		buf_add(b, one);
		buf_add(b, str_head(two, n - one.n + 90));
		buf_add(b, str_of(zeros, two.n - (n - one.n + 90)));
		put(at("alice"), buf_str(b));
		deliver("2", MESSAGE, true);
		ck_assert_msg(str_eq(contents(at("alice")), str_printf(a,
			"%.*s%.*s", STR_ARG(one), STR_ARG(two))), "%zu", n);
	}
	teardown();
}
END_TEST

START_TEST(row02_what_was_there)
{
	setup();
	/* a reader has marked it, and something came behind it */
	struct str marked = STR("From s@t Fri Nov 27 22:31:06 2026\n"
		"X-Surat-Delivery: 1\nReturn-Path: <s@t>\nDelivered-To: a@b\n"
		"Subject: x\nStatus: RO\n\n>From here\n>>From there\n\n"
		WRITTEN("2"));
	put(at("alice"), marked);
	struct delivery v[2] = {delivery("1", MESSAGE, true),
		delivery("2", MESSAGE, true)};
	spool_deliver(&spool, a, v, 2, &rules);
	ck_assert(v[0].was_there && v[1].was_there);
	ck_assert(str_eq(contents(at("alice")), marked));
	/* torn, and others wrote behind it: nobody's mail is cut */
	struct str torn = STR(WRITTEN("1"));
	torn = str_printf(a, "%.*s\n%s", STR_ARG(str_head(torn, torn.n - 20)),
		WRITTEN("2"));
	put(at("alice"), torn);
	deliver("1", MESSAGE, true);
	ck_assert(str_eq(contents(at("alice")), str_printf(a, "%.*s%s",
		STR_ARG(torn), WRITTEN("1"))));
	/* and what was written behind that is found, behind others too */
	deliver("3", MESSAGE, false);
	deliver("1", MESSAGE, true);
	ck_assert(str_eq(contents(at("alice")), str_printf(a, "%.*s%s%s",
		STR_ARG(torn), WRITTEN("1"), WRITTEN("3"))));
	/* who only asks writes nothing */
	unlink(at("alice"));
	struct delivery d = delivery("9", MESSAGE, true);
	d.only_look = true;
	spool_deliver(&spool, a, &d, 1, &rules);
	ck_assert(status_is_fine(d.status) && !d.was_there);
	ck_assert_view(contents(at("alice")), "");
	/* another's words in a body are not a delivery */
	deliver("3", "A: b\r\n\r\nX-Surat-Delivery: 4\r\n", false);
	d = delivery("4", MESSAGE, true);
	spool_deliver(&spool, a, &d, 1, &rules);
	ck_assert(!d.was_there);
	teardown();
}
END_TEST

static off_t
size_of(const char *path)
{
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_size;
}

/* Wherever it lies in a file that is read in pieces, whole and torn. */
START_TEST(row02_in_a_large_file)
{
	setup();
	for (int k = 0; k < 300; k += 7) {
		unlink(at("alice"));
		int fd = open(at("alice"), O_WRONLY | O_CREAT, 0600);
		struct str begin = STR("From x@y Thu Jan  1 00:00:00 1970\n\n");
		ck_assert_int_eq(write(fd, begin.p, begin.n), begin.n);
		ck_assert_int_eq(ftruncate(fd, 65536 - 400 + k), 0);
		ck_assert_int_eq(pwrite(fd, "\n\n", 2, 65536 - 402 + k), 2);
		close(fd);
		ck_fine(deliver("q1", "Subject: x\r\n\r\nbody\r\n", false));
		off_t whole = size_of(at("alice"));
		ck_fine(deliver("q1", "Subject: x\r\n\r\nbody\r\n", true));
		ck_assert_int_eq(size_of(at("alice")), whole);
		ck_assert_int_eq(truncate(at("alice"), whole - 1 - k % 90), 0);
		ck_fine(deliver("q1", "Subject: x\r\n\r\nbody\r\n", true));
		ck_assert_int_eq(size_of(at("alice")), whole);
	}
	teardown();
}
END_TEST

/* Cut off while it is looked through, or on a disk that fails: later, and
 * nothing is written. */
START_TEST(row02_cannot_be_read)
{
	static const int errors[] = {EIO, -1};
	setup();
	ck_fine(deliver("q1", "Subject: x\r\n\r\nbody\r\n", false));
	struct str want = contents(at("alice"));
	for (int i = 0; i < 2; i++) {
		reads_fail(errors[i]);
		struct status st = deliver("q1",
			"Subject: x\r\n\r\nbody\r\n", true);
		reads_fail(0);
		ck_assert(status_is_later(st));
		ck_assert(str_eq(contents(at("alice")), want));
	}
	ck_fine(deliver("q1", "Subject: x\r\n\r\nbody\r\n", true));
	ck_assert(str_eq(contents(at("alice")), want));
	teardown();
}
END_TEST

START_TEST(another_file)
{
	setup();
	spool.shut_in = true;
	ck_assert(spool_prepare(a, &spool));
	ck_assert(status_is_fine(deliver("1", MESSAGE, false)));
	teardown();
}
END_TEST

Suite *
suite_spool(void)
{
	return SUITE("spool", what_is_written, whose_it_must_be,
		links_at_any_moment, locks, no_lock_file, row06_no_space,
		row02_torn_anywhere, row02_what_was_there,
		row02_in_a_large_file, row02_cannot_be_read, another_file);
}
