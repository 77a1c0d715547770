/* SPDX-License-Identifier: ISC */
/* The index is disposable: lost, torn or foreign, it comes back from the
 * Maildir with every UID, flag and keyword, and no modseq falls. */
#include "store_suites.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of a folder: what a client would have to notice. */
struct facts_of_folder {
	struct folder f;
	struct str rows;
};

static struct facts_of_folder
facts_of(struct home *h, const char *name)
{
	struct facts_of_folder x = {.f = status_of(h->s, h->a, name)};
	struct mailbox *m;
	ck_fine(mailbox_open(h->s, h->a, str_from(name), true, &m));
	x.rows = rows_of(m, h->a);
	mailbox_close(m);
	return x;
}

static void
check_same(struct home *h, const char *name, const struct facts_of_folder *was)
{
	struct facts_of_folder is = facts_of(h, name);
	ck_assert_msg(str_eq(is.rows, was->rows), "%s\n%.*s\n%.*s", name,
		STR_ARG(was->rows), STR_ARG(is.rows));
	ck_assert_uint_eq(is.f.uidvalidity, was->f.uidvalidity);
	ck_assert_uint_ge(is.f.uidnext, was->f.uidnext);
	ck_assert_uint_ge(is.f.highestmodseq, was->f.highestmodseq);
	ck_assert_uint_eq(is.f.messages, was->f.messages);
	ck_assert_uint_eq(is.f.unseen, was->f.unseen);
	ck_assert_uint_eq(is.f.size, was->f.size);
	ck_assert(str_eq(is.f.mailbox_id, was->f.mailbox_id));
	ck_assert(str_eq(is.f.special, was->f.special));
}

/* Messages with gaps, flags, words with and without letters. */
static void
fill(struct home *h)
{
	char word[16];
	struct mailbox_copied c;
	home_new(h);
	deliver_many(h->s, h->a, "q", 30);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct uid_set set = set_of(h->a, 5, 8);
	ck_fine(mailbox_expunge(m, h->a, &set, true));
	set = set_of(h->a, 20, 25);
	ck_fine(mailbox_copy(m, h->a, &set, STR("Archive"), true, &c));
	for (int i = 0; i < 40; i++) {
		snprintf(word, sizeof word, "w%02d", i);
		set_flags(m, h->a, 1 + (uint32_t)i % 3, FLAGS_ADD,
			1U << i % 6, word);
	}
	settle(m);
	mailbox_close(m);
}

static void
lose_index(struct home *h)
{
	ck_assert_int_eq(shell(h, "rm -f surat/index.db*"), 0);
}

START_TEST(test_lost)
{
	struct home h;
	fill(&h);
	struct facts_of_folder inbox = facts_of(&h, "INBOX"),
			       archive = facts_of(&h, "Archive"),
			       sent = facts_of(&h, "Sent");
	for (int i = 0; i < 3; i++) {
		lose_index(&h);
		if (i == 1)
			home_reopen(&h);
		check_same(&h, "INBOX", &inbox);
		check_same(&h, "Archive", &archive);
		check_same(&h, "Sent", &sent);
		check_counts(h.s, h.a);
	}
	/* what was expunged does not come back, UIDs are not used again */
	deliver_one(h.s, h.a, "r");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_gt(mailbox_last_uid(m), 30);
	ck_assert_uint_eq(mailbox_seq(m, 5), 0);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* Under a session, whose flags are not in names yet. */
START_TEST(test_lost_under_a_session)
{
	struct home h;
	struct mailbox_news n;
	fill(&h);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	settle(m);
	set_flags(m, h.a, 10, FLAGS_ADD, FLAG_FLAGGED, "w00");
	set_flags(m, h.a, 11, FLAGS_ADD, FLAG_SEEN, "w39");
	set_flags(m, h.a, 1, FLAGS_REMOVE, FLAG_SEEN, "w30");
	struct str want = rows_of(m, h.a);
	uint64_t modseq = status_of(h.s, h.a, "INBOX").highestmodseq;
	lose_index(&h);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert(!n.gone);
	ck_assert_uint_eq(n.expunged.n, 0);
	ck_assert_uint_eq(n.arrived, 0);
	ck_assert_uint_ge(n.modseq, modseq);
	ck_assert_msg(str_eq(rows_of(m, h.a), want), "%.*s\n%.*s",
		STR_ARG(want), STR_ARG(rows_of(m, h.a)));
	/* between two commands, without news: rows are there all the same */
	lose_index(&h);
	ck_assert(str_eq(rows_of(m, h.a), want));
	/* changes go on, and reach names */
	lose_index(&h);
	set_flags(m, h.a, 12, FLAGS_ADD, FLAG_DRAFT, NULL);
	settle(m);
	ck_assert_int_eq(shell(&h, "test -f cur/*.q11.*:2,D"), 0);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Each of the three files, alone. */
START_TEST(test_lost_in_part)
{
	static const char *const which[] = {"index.db", "index.db-wal",
		"index.db-shm"};
	for (size_t i = 0; i < 3; i++) {
		struct home h;
		fill(&h);
		struct facts_of_folder inbox = facts_of(&h, "INBOX");
		store_close(h.s);
		ck_assert_int_eq(shell(&h, "rm surat/%s", which[i]), 0);
		ck_fine(store_open(h.a, str_from(h.path), &h.s));
		/* an index that is a little old is made good for */
		let_boot_pass(&h);
		check_same(&h, "INBOX", &inbox);
		check_counts(h.s, h.a);
		home_gone(&h);
	}
}
END_TEST

/* Whether another process sees that flag of message 10. */
static bool
another_sees(struct home *h, unsigned flag)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s;
		struct mailbox *m;
		struct message_row row;
		_exit(!status_is_fine(store_open(h->a, str_from(h->path), &s)) ||
			!status_is_fine(mailbox_open(
				s, h->a, STR("INBOX"), true, &m)) ||
			!mailbox_row(m, h->a, 10, 0, &row) ||
			(row.flags & flag) != flag);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* What lies beside the file, under a session: who comes later makes it anew, and
 * each would write where the other does not look. */
START_TEST(test_lost_beside_it)
{
	static const char *const which[] = {"-wal", "-shm", "-*"};
	for (size_t i = 0; i < 3; i++) {
		struct home h;
		struct mailbox_news n;
		fill(&h);
		struct mailbox *m = open_box(h.s, h.a, "INBOX");
		set_flags(m, h.a, 10, FLAGS_ADD, FLAG_FLAGGED, "w00");
		uint64_t modseq = status_of(h.s, h.a, "INBOX").highestmodseq;
		ck_assert_int_eq(shell(&h, "rm surat/index.db%s", which[i]), 0);
		set_flags(m, h.a, 10, FLAGS_ADD, FLAG_DRAFT, "w39");
		ck_assert_msg(another_sees(&h, FLAG_FLAGGED | FLAG_DRAFT),
			"%s", which[i]);
		ck_assert(another_sees(&h, FLAG_DRAFT));
		ck_fine(mailbox_news(m, h.a, true, &n));
		ck_assert_uint_eq(n.expunged.n + n.arrived, 0);
		ck_assert_uint_ge(n.modseq, modseq);
		mailbox_close(m);
		check_counts(h.s, h.a);
		home_gone(&h);
	}
}
END_TEST

/* The file alone, and of its log only what came after a checkpoint: the next
 * call works, and takes nothing of it for changes to the new file. */
START_TEST(test_lost_but_for_its_log)
{
	struct home h;
	fill(&h);
	for (int held = 0; held < 2; held++) {
		struct mailbox *m = open_box(h.s, h.a, "INBOX");
		ck_assert_int_eq(sqlite3_exec(h.s->ix.db,
			"PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
			SQLITE_OK);
		set_flags(m, h.a, 10, FLAGS_ADD, FLAG_FLAGGED, "w00");
		set_flags(m, h.a, 10, FLAGS_REMOVE, FLAG_FLAGGED, "w00");
		settle(m);
		mailbox_close(m);
		struct facts_of_folder inbox = facts_of(&h, "INBOX");
		/* by somebody else too */
		struct store *other = home_other(&h);
		if (!held)
			store_close(other);
		store_close(h.s);
		ck_assert_int_eq(shell(&h, "rm surat/index.db; "
			"test -s surat/index.db-wal"), 0);
		ck_fine(store_open(h.a, str_from(h.path), &h.s));
		check_same(&h, "INBOX", &inbox);
		if (held) {
			struct folder f;
			ck_fine(folders_status(other, h.a, STR("INBOX"), &f));
			store_close(other);
		}
		check_same(&h, "INBOX", &inbox);
		ck_assert_int_eq(shell(&h, "! test -e surat/index.db.bad"),
			0);
		check_counts(h.s, h.a);
	}
	home_gone(&h);
}
END_TEST

/* ---------------------------------------------------------------- damage */

/* Works within a few calls, and nothing is different afterwards. */
static void
check_healed(struct home *h, const struct facts_of_folder *inbox,
	const char *what)
{
	struct folder f;
	struct status st = status_fine();
	for (int i = 0; i < 4; i++) {
		st = folders_status(h->s, h->a, STR("INBOX"), &f);
		struct mailbox *m;
		if (status_is_fine(st))
			st = mailbox_open(h->s, h->a, STR("INBOX"), true, &m);
		if (!status_is_fine(st)) {
			ck_assert_msg(st.class == STATUS_LATER, "%s: %.*s",
				what, STR_ARG(st.text));
			continue;
		}
		rows_of_or_not(m, h->a);
		mailbox_close(m);
	}
	ck_assert_msg(status_is_fine(st), "%s: %.*s", what, STR_ARG(st.text));
	check_same(h, "INBOX", inbox);
}

START_TEST(test_damaged)
{
	static const char *const ways[] = {
		": > surat/index.db",
		"echo garbage > surat/index.db",
		"head -c 20000 /dev/urandom > surat/index.db",
		"truncate -s 100 surat/index.db",
		"truncate -s 4096 surat/index.db",
		"truncate -s 9000 surat/index.db",
		"dd if=/dev/urandom of=surat/index.db bs=1024 count=20 seek=8 "
			"conv=notrunc 2>/dev/null",
		"dd if=/dev/zero of=surat/index.db bs=4096 count=3 seek=1 "
			"conv=notrunc 2>/dev/null",
		"rm surat/index.db; mkdir surat/index.db",
		"rm surat/index.db; ln -s /etc/passwd surat/index.db",
		"rm surat/index.db; ln -s nowhere surat/index.db",
		"rm surat/index.db; mkfifo surat/index.db",
		"rm surat/index.db*; python3 -c 'import sqlite3; "
			"d = sqlite3.connect(\"surat/index.db\"); "
			"d.execute(\"CREATE TABLE meta(x)\"); "
			"d.execute(\"PRAGMA user_version=4\"); d.commit()'",
		"rm surat/index.db*; python3 -c 'import sqlite3; "
			"d = sqlite3.connect(\"surat/index.db\"); "
			"d.execute(\"PRAGMA user_version=999\"); d.commit()'",
		"head -c 30000 /dev/urandom > surat/index.db-wal",
	};
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct home h;
		fill(&h);
		struct facts_of_folder inbox = facts_of(&h, "INBOX");
		/* everything into the file itself */
		ck_fine(index_begin_read(h.s, h.a));
		ck_fine(index_commit(h.s, h.a));
		sqlite3_wal_checkpoint_v2(h.s->ix.db, NULL,
			SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		/* while closed; while open, only what replaces the file */
		store_close(h.s);
		ck_assert_int_eq(shell(&h, "%s", ways[i]), 0);
		struct status st = store_open(h.a, str_from(h.path), &h.s);
		if (!status_is_fine(st))
			st = store_open(h.a, str_from(h.path), &h.s);
		ck_assert_msg(status_is_fine(st), "%s: %.*s", ways[i],
			STR_ARG(st.text));
		check_healed(&h, &inbox, ways[i]);
		if (str_starts(str_from(ways[i]), STR("rm"))) {
			ck_assert_int_eq(shell(&h, "rm -rf surat/*.bad; %s",
				ways[i]), 0);
			check_healed(&h, &inbox, ways[i]);
		}
		check_counts(h.s, h.a);
		home_gone(&h);
	}
}
END_TEST

/* A session that begins does not notice: neither one that opens the store, nor
 * one whose process has had it open since before. */
START_TEST(test_damaged_before_a_session)
{
	static const char *const ways[] = {
		"head -c 800 /dev/urandom",
		"head -c 8192 surat/index.db; yes damage | head -c 99000",
	};
	for (size_t i = 0; i < 4; i++) {
		struct home h;
		struct mailbox *m;
		fill(&h);
		struct facts_of_folder inbox = facts_of(&h, "INBOX");
		ck_assert_int_eq(sqlite3_exec(h.s->ix.db,
			"PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
			SQLITE_OK);
		home_reopen(&h);
		ck_assert_int_eq(shell(&h, "{ %s; } > x; rm surat/*-wal; "
			"dd if=x of=surat/index.db conv=notrunc 2>/dev/null",
			ways[i / 2]), 0);
		if (i % 2 == 0)
			home_reopen(&h);
		ck_fine(mailbox_open(h.s, h.a, STR("INBOX"), false, &m));
		mailbox_close(m);
		check_same(&h, "INBOX", &inbox);
		check_counts(h.s, h.a);
		home_gone(&h);
	}
}
END_TEST

/* A disk that does not give it once: it is not thrown away for that, with what
 * the names do not know yet. */
START_TEST(test_unreadable_once)
{
	struct home h;
	struct mailbox *m;
	fill(&h);
	for (int i = 0; i < 12; i++) {
		m = open_box(h.s, h.a, "INBOX");
		set_flags(m, h.a, 10, i % 2 ? FLAGS_ADD : FLAGS_REMOVE,
			FLAG_FLAGGED, "w00");
		struct str before = str_copy(h.a, rows_of(m, h.a));
		mailbox_close(m);
		home_reopen(&h);
		sqlite3_db_release_memory(h.s->ix.db);
		reads_fail_times(EIO, 1);
		for (int k = 0; k < 3; k++)
			if (status_is_fine(mailbox_open(h.s, h.a, STR("INBOX"),
				true, &m))) {
				rows_of_or_not(m, h.a);
				mailbox_close(m);
			}
		reads_fail(0);
		m = open_box(h.s, h.a, "INBOX");
		ck_assert(str_eq(rows_of(m, h.a), before));
		mailbox_close(m);
		ck_assert_int_eq(shell(&h, "! test -e surat/index.db.bad"),
			0);
	}
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Many small wounds to a file in use. */
START_TEST(test_damaged_anywhere)
{
	struct home h;
	fill(&h);
	struct facts_of_folder inbox = facts_of(&h, "INBOX");
	unsigned seed = 1;
	for (int i = 0; i < 60; i++) {
		struct stat st;
		store_close(h.s);
		ck_assert_int_eq(stat(str_cstr(h.a, str_printf(h.a,
			"%s/Maildir/surat/index.db", h.path)), &st), 0);
		int fd = open(str_cstr(h.a, str_printf(h.a,
			"%s/Maildir/surat/index.db", h.path)), O_WRONLY);
		seed = seed * 1103515245 + 12345;
		/* the middle of a page, so that not all is harmless */
		off_t at = (off_t)(seed % (unsigned)(st.st_size / 4096)) *
			4096 + (seed >> 8) % 200;
		ck_assert_int_eq(pwrite(fd, "\xff\xff\x00\xff\x7f\x01", 6, at),
			6);
		close(fd);
		struct status x = store_open(h.a, str_from(h.path), &h.s);
		for (int k = 0; k < 3 && !status_is_fine(x); k++)
			x = store_open(h.a, str_from(h.path), &h.s);
		ck_fine(x);
		struct mailbox *m;
		for (int k = 0; k < 4; k++) {
			x = mailbox_open(h.s, h.a, STR("INBOX"), true, &m);
			if (!status_is_fine(x))
				continue;
			rows_of_or_not(m, h.a);
			mailbox_close(m);
		}
		/* damage that SQLite does not see is for `mailbox check`;
		 * the next round begins whole */
		lose_index(&h);
		check_same(&h, "INBOX", &inbox);
	}
	home_gone(&h);
}
END_TEST

/* ---------------------------------------------------------- control files */

START_TEST(test_control_damaged)
{
	static const char *const ways[] = {
		"rm surat-folder",
		": > surat-folder",
		"echo garbage > surat-folder",
		"head -c 5000 /dev/urandom > surat-folder",
		"rm surat-folder; mkdir surat-folder",
		"rm surat-folder; ln -s /etc/passwd surat-folder",
		"sed -i 's/^id.*/id a b/' surat-folder",
		"sed -i 's/^uidvalidity.*/uidvalidity 0/' surat-folder",
		"sed -i 's/^uidvalidity.*/uidvalidity 99999999999/' "
			"surat-folder",
	};
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct home h;
		fill(&h);
		struct facts_of_folder inbox = facts_of(&h, "INBOX");
		ck_assert_int_eq(shell(&h, "%s", ways[i]), 0);
		/* the index knows, and goes on knowing */
		check_same(&h, "INBOX", &inbox);
		home_reopen(&h);
		check_same(&h, "INBOX", &inbox);
		/* both lost: numbers begin anew, under a new UIDVALIDITY, and
		 * no message is lost */
		lose_index(&h);
		struct folder f = status_of(h.s, h.a, "INBOX");
		ck_assert_msg(f.uidvalidity > inbox.f.uidvalidity, "%s",
			ways[i]);
		ck_assert_uint_eq(f.messages, inbox.f.messages);
		ck_assert_uint_eq(f.unseen, inbox.f.unseen);
		check_counts(h.s, h.a);
		home_gone(&h);
	}
}
END_TEST

/* What a client is told cannot be what somebody wrote there. */
START_TEST(test_control_hostile)
{
	struct home h;
	struct folder_list l;
	struct str_list words;
	fill(&h);
	lose_index(&h);
	ck_assert_int_eq(shell(&h, "printf 'special \\\\Sent) INJECTED\n"
		"keyword 90 a b\nkeyword 91 (x\nkeyword 92 \\\\Seen\n"
		"keyword 99999999999 z\nkeyword 93 good\nuid 4294967295\n"
		"modseq 99999999999999999999\n\001\n' >> surat-folder"), 0);
	ck_fine(folders_list(h.s, h.a, &l));
	ck_assert_uint_eq(l.v[0].special.n, 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_fine(mailbox_keywords(m, h.a, &words));
	ck_assert_uint_eq(words.n, 41);
	ck_assert_uint_eq(mailbox_count(m), 20);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

START_TEST(test_everything_of_ours_removed)
{
	struct home h;
	fill(&h);
	struct facts_of_folder x = facts_of(&h, "INBOX");
	struct folder was = x.f;
	ck_assert_int_eq(shell(&h, "rm -rf surat surat-* .[A-Z]*/surat-*"), 0);
	struct folder is = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(is.messages, was.messages);
	ck_assert_uint_eq(is.unseen, was.unseen);
	ck_assert_uint_eq(status_of(h.s, h.a, "Archive").messages, 6);
	/* as there was no time for another UIDVALIDITY, UIDs had better stay */
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_uid(m, 5), 9);
	ck_assert_uint_eq(mailbox_last_uid(m), 30);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* The machine was cut off: the index lost its last transactions, files have
 * UIDs that no row knows, and what was unlinked is there again. */
START_TEST(test_index_is_old)
{
	struct home h;
	fill(&h);
	store_close(h.s);
	ck_assert_int_eq(shell(&h, "mkdir ../kept; cp -a surat/index.db* "
		"../kept"), 0);
	ck_fine(store_open(h.a, str_from(h.path), &h.s));
	deliver_many(h.s, h.a, "r", 5);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	set_flags(m, h.a, 10, FLAGS_ADD, FLAG_FLAGGED, NULL);
	struct uid_set set = set_of(h.a, 11, 12);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	settle(m);
	mailbox_close(m);
	struct facts_of_folder inbox = facts_of(&h, "INBOX");
	store_close(h.s);
	ck_assert_int_eq(shell(&h, "rm surat/index.db*; "
		"mv ../kept/* surat/"), 0);
	ck_fine(store_open(h.a, str_from(h.path), &h.s));
	let_boot_pass(&h);
	check_same(&h, "INBOX", &inbox);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* ------------------------------------------------------------------ races */

static void
work(struct home *h, const char *prefix, int n)
{
	struct store *s;
	char name[32];
	struct arena *a = arena_new("child");
	if (!status_is_fine(store_open(a, str_from(h->path), &s)))
		_exit(1);
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof name, "1764000000.%s%d.host", prefix, i);
		struct delivery d = {.name = str_from(name),
			.content = STR("Subject: x\r\n\r\nx\r\n")};
		/* later: as the queue would, once more */
		for (int k = 0; k < 100; k++) {
			store_deliver(s, a, &d, 1, &(struct delivery_rules){0});
			if (status_is_fine(d.status))
				break;
			usleep(1000);
		}
		if (!status_is_fine(d.status)) {
			fprintf(stderr, "%.*s\n", STR_ARG(d.status.text));
			_exit(2);
		}
	}
	_exit(0);
}

/* Deleted again and again while others work. */
START_TEST(test_lost_while_others_work)
{
	enum { N = 150, WORKERS = 2 };
	struct home h;
	pid_t pids[WORKERS];
	int code, left = WORKERS, losses = 30;
	home_new(&h);
	for (int i = 0; i < WORKERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			work(&h, i == 0 ? "a" : "b", N);
	}
	while (left > 0) {
		usleep(30000);
		if (losses-- > 0)
			ck_assert_int_eq(system(str_cstr(h.a, str_printf(h.a,
				"rm -f %s/Maildir/surat/index.db%s", h.path,
				losses % 2 == 0 ? "*" : ""))), 0);
		for (int i = 0; i < WORKERS; i++)
			if (pids[i] != 0 &&
				waitpid(pids[i], &code, WNOHANG) == pids[i]) {
				ck_assert_int_eq(code, 0);
				pids[i] = 0;
				left--;
			}
	}
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), WORKERS * N);
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -o 'UID=[0-9]*' |"
		" sort -u | wc -l"), WORKERS * N);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* A new file that somebody else is about to make a database of, for a while. */
static pid_t
make_slowly(struct home *h)
{
	enum { HELD_US = 300000 };
	sqlite3 *db;
	int ready[2];
	char octet;
	char *path = str_cstr(h->a, str_printf(h->a,
		"%s/Maildir/surat/index.db", h->path));
	ck_assert_int_eq(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (sqlite3_open(path, &db) != SQLITE_OK ||
			sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) !=
				SQLITE_OK || write(ready[1], "", 1) != 1)
			_exit(1);
		usleep(HELD_US);
		_exit(sqlite3_close(db) != SQLITE_OK);
	}
	ck_assert_int_eq(read(ready[0], &octet, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* SQLite has nobody wait who would make a log for it. */
START_TEST(test_made_by_two)
{
	struct home h;
	int code;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	lose_index(&h);
	ck_assert_int_eq(shell(&h, "touch surat/index.db"), 0);
	pid_t pid = make_slowly(&h);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 3);
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_int_eq(code, 0);
	lose_index(&h);
	ck_assert_int_eq(shell(&h, "touch surat/index.db"), 0);
	pid = make_slowly(&h);
	store_patience(h.s, 20);
	struct folder f;
	struct status st = folders_status(h.s, h.a, STR("INBOX"), &f);
	ck_assert_int_eq(st.class, STATUS_LATER);
	ck_assert_view(st.text, "the mailbox is busy");
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	home_gone(&h);
}
END_TEST

/* A rebuild of a large folder lets others in between. */
START_TEST(test_rebuild_lets_others_in)
{
	struct home h;
	int code;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "cd cur; python3 -c '\n"
		"for i in range(4000):\n"
		"    open(\"%%d\" %% i, \"w\").write(\"Subject: x\\n\\nx\\n\")'"),
		0);
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s;
		if (!status_is_fine(store_open(h.a, str_from(h.path), &s)))
			_exit(1);
		struct mailbox *m;
		if (!status_is_fine(mailbox_open(s, h.a, STR("INBOX"), true,
			&m)))
			_exit(2);
		_exit(mailbox_count(m) < 4000);
	}
	struct mailbox *x = open_box(h.s, h.a, "Sent");
	store_patience(h.s, 2000);
	while (waitpid(pid, &code, WNOHANG) == 0) {
		struct append *p;
		struct append_result r;
		struct append_message one = {.date = 1};
		ck_fine(append_begin(h.s, h.a, STR("Sent"), &p));
		ck_fine(append_message(p, &one));
		ck_fine(append_end(p));
		ck_fine(append_commit(p, &r));
		usleep(5000);
	}
	ck_assert_int_eq(code, 0);
	mailbox_close(x);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Rows of messages whose files nobody has read yet. */
static long
bare(struct home *h)
{
	return sql_number(h, "SELECT count(*) FROM message WHERE thread=-1");
}

static struct str
envelopes(struct home *h, struct mailbox *m, unsigned want)
{
	struct buf *b = buf_new(h->a);
	struct mailbox_scan c = {.uids = set_of(h->a, 1, UINT32_MAX),
		.want = want};
	struct message_row row;
	while (mailbox_next(m, &c, &row)) {
		buf_printf(b, "%u %lld %llu %llu ", row.uid,
			(long long)row.sent,
			(unsigned long long)row.size,
			(unsigned long long)row.thread);
		buf_add(b, row.envelope);
		buf_add(b, row.structure);
		buf_add(b, row.subject);
	}
	ck_fine(mailbox_scan_end(m, &c));
	return buf_str(b);
}

enum {
	NAMES_SAY = WANT_DATES | WANT_SIZES | WANT_FILE,
	FILES_SAY = NAMES_SAY | WANT_SENT | WANT_THREAD | WANT_HEADERS |
		WANT_ENVELOPE | WANT_STRUCTURE
};

/* A new index has what names say; the rest comes when somebody asks, just as
 * much as he asks for, or when nobody does. */
START_TEST(test_read_when_asked)
{
	struct home h;
	struct message_row row;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 300);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct str names = envelopes(&h, m, NAMES_SAY),
		   files = envelopes(&h, m, FILES_SAY);
	ck_assert_int_eq(bare(&h), 0);
	for (int i = 0; i < 2; i++) {
		mailbox_close(m);
		lose_index(&h);
		m = open_box(h.s, h.a, "INBOX");
		ck_assert(str_eq(envelopes(&h, m, NAMES_SAY), names));
		ck_assert_int_eq(bare(&h), 300);
		ck_assert(mailbox_row(m, h.a, 7, WANT_HEADERS, &row));
		ck_assert(str_ends(row.subject, STR("E FROM Q6")));
		ck_assert_int_eq(bare(&h), 299);
		check_counts(h.s, h.a);
		if (i == 1)
			while (!mailbox_describe(m, clock_in(10)))
				;
		ck_assert_int_eq(bare(&h), i == 1 ? 0 : 299);
		ck_assert(str_eq(envelopes(&h, m, FILES_SAY), files));
		ck_assert_int_eq(bare(&h), 0);
		check_counts(h.s, h.a);
	}
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* Copies of what nobody has read are read where they went; who has gone leaves
 * nothing behind. */
START_TEST(test_bare_copied)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 20);
	lose_index(&h);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 3, 8);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), false, &c));
	set = set_of(h.a, 9, 12);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), true, &c));
	set = set_of(h.a, 1, 2);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert_int_eq(bare(&h), 20 + 6 - 2);
	check_counts(h.s, h.a);
	struct mailbox *x = open_box(h.s, h.a, "Archive");
	ck_assert_uint_eq(mailbox_count(x), 10);
	struct str all = envelopes(&h, x, FILES_SAY);
	for (int i = 2; i < 12; i++) {
		char subject[32];
		snprintf(subject, sizeof subject, "from q%d", i);
		ck_assert_msg(memmem(all.p, all.n, subject, strlen(subject))
			!= NULL, "%s", subject);
	}
	check_counts(h.s, h.a);
	ck_assert_int_eq(bare(&h), 14);
	mailbox_close(x);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* A name that lies about the length on the wire: the UID meant nothing, and
 * the message gets another; the others are as they were. */
START_TEST(test_name_lies)
{
	struct home h;
	struct mailbox_news n;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	settle(m);
	uint64_t size = mailbox_folder(m)->size;
	mailbox_close(m);
	/* one octet longer, as if another program had counted it */
	ck_assert_int_eq(shell(&h, "f=$(echo cur/*UID=2*); w=${f#*,W=}; "
		"w=${w%%%%,*}; mv $f ${f%%%%,W=*},W=$((w+1)),UID=2:2,"), 0);
	lose_index(&h);
	m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 3);
	envelopes(&h, m, FILES_SAY);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(uid_set_count(&n.expunged), 1);
	ck_assert_uint_eq(n.expunged.v[0].first, 2);
	ck_assert_uint_eq(mailbox_count(m), 3);
	ck_assert_uint_eq(mailbox_folder(m)->size, size);
	envelopes(&h, m, FILES_SAY);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert(!n.any);
	ck_assert_int_eq(bare(&h), 0);
	check_counts(h.s, h.a);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* Who holds the lock for ever makes others late, not wrong. */
START_TEST(test_busy)
{
	struct home h;
	home_new(&h);
	struct store *other = home_other(&h);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	ck_fine(index_begin(other, h.a));
	store_patience(h.s, 50);
	struct delivery d = {.name = STR("1764000000.q.host"),
		.content = STR("x\r\n")};
	store_deliver(h.s, h.a, &d, 1, &(struct delivery_rules){0});
	ck_assert_int_eq(d.status.class, STATUS_LATER);
	ck_assert_view(d.status.text, "the mailbox is busy");
	ck_assert_int_eq(shell_number(&h, "ls tmp new | grep -c q"), 0);
	/* readers do not wait */
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	index_rollback(other);
	store_deliver(h.s, h.a, &d, 1, &(struct delivery_rules){0});
	ck_fine(d.status);
	store_close(other);
	home_gone(&h);
}
END_TEST

Suite *
suite_rebuild(void)
{
	return SUITE("rebuild", test_lost, test_lost_under_a_session,
		test_lost_in_part, test_lost_beside_it, test_lost_but_for_its_log, test_damaged,
		test_damaged_before_a_session, test_damaged_anywhere,
		test_unreadable_once,
		test_control_damaged, test_control_hostile,
		test_everything_of_ours_removed, test_index_is_old,
		test_lost_while_others_work, test_made_by_two,
		test_rebuild_lets_others_in,
		test_read_when_asked, test_bare_copied, test_name_lies,
		test_busy);
}
