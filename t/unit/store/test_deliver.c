/* SPDX-License-Identifier: ISC */
/* Delivery from the queue: new, repeated, verified, refused, at once. */
#include "store_suites.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct delivery
one(struct arena *a, const char *name, const char *content)
{
	return (struct delivery){
		.name = str_printf(a, "1764000000.%s.host", name),
		.head = STR("Return-Path: <>\r\n"),
		.content = str_from(content),
		.date = 1764000000,
	};
}

static struct delivery
deliver(struct home *h, struct delivery d)
{
	store_deliver(h->s, h->a, &d, 1, &(struct delivery_rules){0});
	return d;
}

START_TEST(test_what_lies_there)
{
	struct home h;
	home_new(&h);
	struct delivery d = deliver(&h, one(h.a, "q1",
		"Subject: x\r\n\r\ntext\r\n"));
	ck_fine(d.status);
	ck_assert(!d.was_there);
	ck_assert_view(d.file, "new/1764000000.q1.host,S=33,W=37,UID=1");
	ck_assert_int_eq(shell(&h, "test \"$(cat %s)\" = 'Return-Path: <>\n"
		"Subject: x\n\ntext'", d.file.p), 0);
	ck_assert_int_eq(shell_number(&h, "stat -c %%s %s", d.file.p), 33);
	ck_assert_int_eq(shell_number(&h, "stat -c %%a %s", d.file.p), 600);
	ck_assert_int_eq(shell_number(&h, "ls tmp | wc -l"), 0);
	home_gone(&h);
}
END_TEST

/* The queue hands a job out again when it did not hear what became of it. */
START_TEST(test_repeated)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	struct delivery d = one(h.a, "q1", "\r\nx\r\n");
	ck_fine(deliver(&h, d).status);
	d.verify = true;
	struct delivery again = deliver(&h, d);
	ck_fine(again.status);
	ck_assert(again.was_there);
	ck_assert_view(again.file, "new/1764000000.q1.host,S=19,W=22,UID=1");
	/* one whose name begins alike is another */
	ck_assert(!deliver(&h, one(h.a, "q1.host", "\r\nx\r\n")).was_there);
	/* seen and renamed, then moved elsewhere */
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_SEEN, NULL);
	settle(m);
	ck_assert(deliver(&h, d).was_there);
	struct uid_set set = set_of(h.a, 1, 1);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Trash"), true, &c));
	again = deliver(&h, d);
	ck_assert(again.was_there);
	ck_assert(str_starts(again.file, STR(".Trash/cur/1764000000.q1")));
	/* and expunged for good */
	struct mailbox *x = open_box(h.s, h.a, "Trash");
	set = set_of(h.a, 1, 9);
	ck_fine(mailbox_expunge(x, h.a, &set, true));
	again = deliver(&h, d);
	ck_fine(again.status);
	ck_assert(again.was_there && again.file.n == 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	ck_assert_uint_eq(status_of(h.s, h.a, "Trash").messages, 0);
	mailbox_close(m);
	mailbox_close(x);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Somebody else, mutt say, deleted the file. */
START_TEST(test_repeated_after_rm)
{
	struct home h;
	home_new(&h);
	struct delivery d = one(h.a, "q1", "\r\nx\r\n");
	ck_fine(deliver(&h, d).status);
	d.verify = true;
	ck_assert_int_eq(shell(&h, "rm new/*"), 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	ck_assert(deliver(&h, d).was_there);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	home_gone(&h);
}
END_TEST

START_TEST(test_verify)
{
	struct home h;
	home_new(&h);
	struct delivery d = one(h.a, "q1", "Subject: x\r\n\r\ntext\r\n");
	ck_fine(deliver(&h, d).status);
	d.verify = true;
	ck_assert(deliver(&h, d).was_there);
	/* torn by the crash: written anew, under a UID of its own */
	ck_assert_int_eq(shell(&h, "truncate -s 5 new/*"), 0);
	struct delivery again = deliver(&h, d);
	ck_fine(again.status);
	ck_assert(!again.was_there);
	ck_assert_view(again.file, "new/1764000000.q1.host,S=33,W=37,UID=2");
	ck_assert_int_eq(shell_number(&h, "cat new/* | wc -c"), 33);
	/* lost by it: delivered */
	ck_assert_int_eq(shell(&h, "rm new/*"), 0);
	d.name = STR("1764000000.q2.host");
	ck_assert(!deliver(&h, d).was_there);
	/* its row lost, with all others */
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	again = deliver(&h, d);
	ck_fine(again.status);
	ck_assert(again.was_there);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* The name in tmp/ can be foreseen: whatever was put there is neither followed
 * nor written to, and goes. */
START_TEST(test_somebody_was_there_first)
{
	static const char *const there[] = {
		"ln -s ../surat/mine tmp/1764000000.%s.host",
		"ln surat/mine tmp/1764000000.%s.host",
		"ln -s nowhere tmp/1764000000.%s.host",
		"echo half > tmp/1764000000.%s.host"};
	struct home h;
	char command[256], name[16];
	home_new(&h);
	ck_assert_int_eq(shell(&h, "mkdir -p tmp; echo mine > surat/mine"), 0);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "r%d", i);
		snprintf(command, sizeof command, there[i], name);
		ck_assert_int_eq(shell(&h, "%s", command), 0);
		struct delivery d = deliver(&h, one(h.a, name, "\r\nx\r\n"));
		ck_fine(d.status);
		ck_assert_int_eq(shell(&h, "test ! -L %s && test $(stat -c "
			"%%h.%%s %s) = 1.19", d.file.p, d.file.p), 0);
	}
	ck_assert_int_eq(shell(&h, "test \"$(cat surat/mine)\" = mine && test "
		"$(stat -c %%h surat/mine) = 1 && ! test -e tmp/nowhere"), 0);
	home_gone(&h);
}
END_TEST

/* Moved by the user before the crash, which took the index along. */
START_TEST(test_verify_finds_it_elsewhere)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	struct delivery d = one(h.a, "q1", "\r\nx\r\n");
	ck_fine(deliver(&h, d).status);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 1);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), true, &c));
	mailbox_close(m);
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	d.verify = true;
	struct delivery again = deliver(&h, d);
	ck_fine(again.status);
	ck_assert(again.was_there);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "Archive").messages, 1);
	home_gone(&h);
}
END_TEST

static bool
is_unwanted(void *ctx)
{
	*(int *)ctx += 1;
	return false;
}

/* Whoever wanted it is gone: nothing comes of it, and the next one, who
 * verifies, finds nothing. */
START_TEST(test_unwanted)
{
	struct home h;
	int asked = 0;
	home_new(&h);
	struct delivery v[] = {one(h.a, "q1", "Subject: 1\r\n\r\n"),
		one(h.a, "q2", "Subject: 2\r\n\r\n")};
	store_deliver(h.s, h.a, v, 2, &(struct delivery_rules){
		.is_wanted = is_unwanted, .ctx = &asked});
	ck_assert_int_eq(asked, 1);
	ck_assert_int_eq(v[0].status.class, STATUS_LATER);
	ck_assert_int_eq(v[1].status.class, STATUS_LATER);
	ck_assert_int_eq(shell_number(&h, "ls new cur | grep -c q"), 0);
	v[0].verify = v[1].verify = true;
	store_deliver(h.s, h.a, v, 2, &(struct delivery_rules){0});
	ck_assert(status_is_fine(v[0].status) && !v[0].was_there);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 2);
	home_gone(&h);
}
END_TEST

static void
find_without_index(void *ctx)
{
	struct home *h = ctx;
	ck_assert_int_eq(shell(h, "find . -name 'index.db*' -delete"), 0);
	struct store *other = home_other(h);
	ck_assert_uint_eq(status_of(other, h->a, "INBOX").messages, 1);
	store_close(other);
}

/* The index is removed while a message is entered, and the file found by who
 * makes it anew: then it has been delivered, and is there for who asks. */
START_TEST(test_found_before_the_commit)
{
	struct home h;
	home_new(&h);
	struct delivery d = one(h.a, "q1", "Subject: 1\r\n\r\n");
	after_next_move(find_without_index, &h);
	d = deliver(&h, d);
	home_reopen(&h);
	unsigned told = status_is_fine(d.status) ? 1 : 0;
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, told);
	d.verify = true;
	ck_fine(deliver(&h, d).status);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

START_TEST(test_batch)
{
	struct home h;
	home_new(&h);
	struct delivery v[] = {
		one(h.a, "q1", "Subject: 1\r\n\r\n"),
		one(h.a, "", "x"),
		one(h.a, "q1", "Subject: 1\r\n\r\n"),
		one(h.a, "q2", "Subject: 2\r\n\r\n"),
		one(h.a, "a/b", "x"),
		one(h.a, "a:b", "x"),
		one(h.a, "a,b", "x"),
	};
	enum { N = sizeof v / sizeof *v };
	v[1].name = STR("");
	store_deliver(h.s, h.a, v, N,
		&(struct delivery_rules){.each = true});
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(v[i].status.class,
			i == 0 || i == 2 || i == 3 ? STATUS_FINE :
			STATUS_NEVER);
	/* one name twice in a batch is one message */
	ck_assert(v[2].was_there);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 2);
	ck_assert_int_eq(shell_number(&h, "ls new | wc -l"), 2);
	ck_assert_int_eq(shell_number(&h, "ls tmp | wc -l"), 0);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* UIDs and modseqs a client was shown stay below the marks on disk. */
START_TEST(test_marks)
{
	struct home h;
	home_new(&h);
	for (int i = 0; i < 3; i++) {
		char prefix[16];
		snprintf(prefix, sizeof prefix, "q%d-", i);
		deliver_many(h.s, h.a, prefix, 700);
		struct folder f = status_of(h.s, h.a, "INBOX");
		ck_assert_int_ge(shell_number(&h, "sed -n 's/^uid //p' "
			"surat-folder"), f.uidnext - 1);
		ck_assert_int_ge(shell_number(&h, "sed -n 's/^modseq //p' "
			"surat-folder"), (long)f.highestmodseq);
	}
	home_gone(&h);
}
END_TEST

/* A file that cannot be written is later, and leaves nothing behind. */
START_TEST(test_no_room)
{
	struct home h;
	struct rlimit was, little = {4096, 4096};
	char large[8192];
	home_new(&h);
	deliver_one(h.s, h.a, "q0");
	memset(large, 'x', sizeof large);
	large[sizeof large - 1] = '\0';
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	little.rlim_max = was.rlim_max;
	setrlimit(RLIMIT_FSIZE, &little);
	struct delivery d = deliver(&h, one(h.a, "q1", large));
	setrlimit(RLIMIT_FSIZE, &was);
	ck_assert_int_eq(d.status.class, STATUS_LATER);
	ck_assert_int_eq(shell_number(&h, "ls tmp new | grep -c q1"), 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	ck_fine(deliver(&h, one(h.a, "q1", large)).status);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Directories that somebody removed come back. */
START_TEST(test_missing_directories)
{
	struct home h;
	home_new(&h);
	deliver_one(h.s, h.a, "q0");
	ck_assert_int_eq(shell(&h, "rm -r tmp new"), 0);
	ck_fine(deliver(&h, one(h.a, "q1", "x\r\n")).status);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	ck_assert_int_eq(shell(&h, "rm -r surat cur"), 0);
	ck_fine(deliver(&h, one(h.a, "q2", "x\r\n")).status);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 2);
	/* the whole Maildir, as a restore may put another in its place */
	ck_assert_int_eq(shell(&h, "mv ../Maildir ../old"), 0);
	ck_fine(deliver(&h, one(h.a, "q3", "x\r\n")).status);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	ck_assert_int_eq(shell_number(&h, "ls new | wc -l"), 1);
	home_gone(&h);
}
END_TEST

static void
deliver_in_child(struct home *h, const char *prefix, unsigned n)
{
	struct store *s;
	struct arena *a = arena_new("child");
	char name[32];
	if (!status_is_fine(store_open(a, str_from(h->path), &s)))
		_exit(1);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof name, "%s%u", prefix, i);
		struct delivery d = one(a, name, "Subject: x\r\n\r\nx\r\n");
		store_deliver(s, a, &d, 1, &(struct delivery_rules){0});
		if (!status_is_fine(d.status) || d.was_there)
			_exit(2);
	}
	_exit(0);
}

/* Several agents and a session on one mailbox. */
START_TEST(test_at_once)
{
	enum { AGENTS = 4, EACH = 100 };
	static const char *const names[AGENTS] = {"a", "b", "c", "d"};
	struct home h;
	pid_t pids[AGENTS];
	int code;
	home_new(&h);
	for (int i = 0; i < AGENTS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			deliver_in_child(&h, names[i], EACH);
	}
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	unsigned seen = mailbox_count(m);
	int64_t deadline = clock_in(50000);
	while (seen < AGENTS * EACH && clock_ms() < deadline) {
		struct arena *a = arena_new("turn");
		struct mailbox_news n;
		uint32_t last = mailbox_last_uid(m);
		ck_fine(mailbox_news(m, a, true, &n));
		ck_assert_uint_eq(n.expunged.n, 0);
		ck_assert_uint_ge(mailbox_last_uid(m), last);
		seen += n.arrived;
		ck_assert_uint_eq(seen, mailbox_count(m));
		if (n.arrived > 0) {
			set_flags(m, a, mailbox_last_uid(m), FLAGS_ADD,
				FLAG_SEEN, NULL);
			settle(m);
		}
		arena_free(a);
		usleep(500);
	}
	for (int i = 0; i < AGENTS; i++) {
		ck_assert_int_eq(waitpid(pids[i], &code, 0), pids[i]);
		ck_assert_int_eq(code, 0);
	}
	ck_assert_uint_eq(seen, AGENTS * EACH);
	ck_assert_uint_eq(mailbox_last_uid(m), AGENTS * EACH);
	mailbox_close(m);
	check_counts(h.s, h.a);
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -c UID="),
		AGENTS * EACH);
	home_gone(&h);
}
END_TEST

Suite *
suite_deliver(void)
{
	return SUITE("deliver", test_what_lies_there, test_repeated,
		test_repeated_after_rm, test_verify,
		test_somebody_was_there_first, test_verify_finds_it_elsewhere,
		test_unwanted, test_found_before_the_commit, test_batch, test_marks, test_no_room,
		test_missing_directories, test_at_once);
}
