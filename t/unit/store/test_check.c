/* SPDX-License-Identifier: ISC */
/* The check finds each kind of damage, says it once, and mends it. */
#include "store/check.h"
#include "store_suites.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct findings {
	struct arena *a;
	struct buf *text;
	unsigned reports;
};

static void
found(void *ctx, struct str folder, struct str what)
{
	struct findings *f = ctx;
	buf_printf(f->text, "%.*s: %.*s\n", STR_ARG(folder), STR_ARG(what));
}

static void
progress(void *ctx, struct str folder, uint64_t done, uint64_t total)
{
	struct findings *f = ctx;
	ck_assert(folder.n > 0 && done <= total);
	f->reports++;
}

static struct str
check(struct home *h, bool repair, bool deep)
{
	struct findings f = {.a = h->a, .text = buf_new(h->a)};
	struct check c = {.repair = repair, .deep = deep, .found = found,
		.progress = progress, .ctx = &f};
	ck_fine(store_check(h->s, h->a, &c));
	ck_assert_uint_eq(c.folders, 6);
	return buf_str(f.text);
}

/* Found, found again, mended, and not there any more. */
static void
expect(struct home *h, bool deep, const char *want)
{
	struct str first = check(h, false, deep);
	ck_assert_msg(str_eq(first, str_from(want)), "%.*s", STR_ARG(first));
	ck_assert(str_eq(check(h, false, deep), first));
	check(h, true, deep);
	struct str left = check(h, false, deep);
	ck_assert_msg(left.n == 0, "%.*s", STR_ARG(left));
	check_counts(h->s, h->a);
}

static void
sql(struct home *h, const char *text)
{
	ck_fine(index_begin(h->s, h->a));
	ck_assert_int_eq(sqlite3_exec(h->s->ix.db, text, NULL, NULL, NULL),
		SQLITE_OK);
	ck_fine(index_commit(h->s, h->a));
}

static void
fill(struct home *h)
{
	home_new(h);
	deliver_many(h->s, h->a, "q", 10);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	set_flags(m, h->a, 3, FLAGS_ADD, FLAG_SEEN, "word");
	settle(m);
	mailbox_close(m);
	folders_list(h->s, h->a, &(struct folder_list){0});
	ck_assert_uint_eq(check(h, true, true).n, 0);
}

START_TEST(test_nothing_wrong)
{
	struct home h;
	fill(&h);
	ck_assert_uint_eq(check(&h, false, false).n, 0);
	ck_assert_uint_eq(check(&h, false, true).n, 0);
	home_gone(&h);
}
END_TEST

START_TEST(test_files_and_rows)
{
	struct home h;
	fill(&h);
	ck_assert_int_eq(shell(&h, "rm cur/*.q4.* cur/*.q5.*; "
		"echo > new/x"), 0);
	expect(&h, false, "INBOX: 1 files have no row, or another name in it\n"
		"INBOX: 2 messages have no file\n");
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 9);
	home_gone(&h);
}
END_TEST

START_TEST(test_counts)
{
	struct home h;
	fill(&h);
	sql(&h, "UPDATE folder SET messages=7, size=1 WHERE name='INBOX'");
	expect(&h, false,
		"INBOX: its counts are not those of its messages\n");
	sql(&h, "UPDATE folder SET run_last=5 WHERE name='INBOX'");
	expect(&h, false,
		"INBOX: its counts are not those of its messages\n");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 10);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

START_TEST(test_rows_in_part)
{
	struct home h;
	fill(&h);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct str rows = rows_of(m, h.a);
	sql(&h, "DELETE FROM header WHERE key&4294967295=3");
	sql(&h, "DELETE FROM content WHERE key&4294967295 IN (5,6)");
	expect(&h, false, "INBOX: 3 rows are not whole\n");
	ck_assert(str_eq(rows_of(m, h.a), rows));
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

START_TEST(test_control_file)
{
	struct home h;
	fill(&h);
	ck_assert_int_eq(shell(&h, "rm surat-folder"), 0);
	expect(&h, false, "INBOX: surat-folder is missing or damaged\n");
	ck_assert_int_eq(shell(&h, "cp .Sent/surat-folder surat-folder"), 0);
	expect(&h, false, "INBOX: surat-folder is another folder's\n");
	ck_assert_int_eq(shell(&h, "sed -i 's/^uid .*/uid 1/' surat-folder"),
		0);
	expect(&h, false, "INBOX: surat-folder is older than the index\n");
	ck_assert_int_eq(shell(&h, "grep -qx 'keyword 0 word' surat-folder"),
		0);
	home_gone(&h);
}
END_TEST

/* The same size, other octets line by line. */
START_TEST(test_written_over)
{
	struct home h;
	fill(&h);
	ck_assert_int_eq(shell(&h, "f=$(echo cur/*.q6.*); tr '\\n' ' ' < $f > "
		"../x && cat ../x > $f"), 0);
	ck_assert_uint_eq(check(&h, false, false).n, 0);
	expect(&h, true, "INBOX: UID 7: the file is not what it was\n");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_seq(m, 7), 0);
	ck_assert_uint_eq(mailbox_count(m), 10);
	ck_assert_uint_eq(mailbox_last_uid(m), 11);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

START_TEST(test_damaged_index)
{
	struct home h;
	fill(&h);
	struct folder was = status_of(h.s, h.a, "INBOX");
	/* an index of SQLite's that does not fit its table */
	sql(&h, "PRAGMA writable_schema=ON");
	sqlite3_db_config(h.s->ix.db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
	sqlite3_exec(h.s->ix.db, "PRAGMA writable_schema=ON; UPDATE "
		"sqlite_schema SET rootpage=(SELECT rootpage FROM "
		"sqlite_schema WHERE name='dead') WHERE name='past'", NULL,
		NULL, NULL);
	home_reopen(&h);
	struct str text = check(&h, false, false);
	ck_assert_msg(str_starts(text, STR(": the index is damaged\n")),
		"%.*s", STR_ARG(text));
	check(&h, true, false);
	ck_assert_uint_eq(check(&h, false, true).n, 0);
	struct folder is = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(is.uidvalidity, was.uidvalidity);
	ck_assert_uint_eq(is.messages, was.messages);
	home_gone(&h);
}
END_TEST

/* Under a session, with a change that is in no file name yet. */
START_TEST(test_rebuild)
{
	struct home h;
	struct mailbox_news n;
	fill(&h);
	struct store *other = home_other(&h);
	struct mailbox *m = open_box(other, h.a, "INBOX");
	set_flags(m, h.a, 5, FLAGS_ADD, FLAG_FLAGGED, "later");
	struct str rows = rows_of(m, h.a);
	struct findings f = {.a = h.a, .text = buf_new(h.a)};
	struct check c = {.progress = progress, .ctx = &f};
	ck_fine(store_rebuild(h.s, h.a, &c));
	ck_assert_uint_eq(c.folders, 6);
	ck_assert_uint_eq(c.messages, 10);
	ck_assert_uint_gt(f.reports, 0);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert(!n.gone && n.expunged.n == 0 && n.arrived == 0);
	ck_assert(str_eq(rows_of(m, h.a), rows));
	ck_assert_uint_eq(check(&h, false, true).n, 0);
	mailbox_close(m);
	store_close(other);
	home_gone(&h);
}
END_TEST

/* Several at once, of whom each finds the others' work under his hands. */
START_TEST(test_rebuilt_by_many)
{
	enum { MANY = 4, TIMES = 10 };
	struct home h;
	int code;
	fill(&h);
	for (int i = 0; i < MANY; i++) {
		if (fork() != 0)
			continue;
		struct store *s = home_other(&h);
		for (int k = 0; k < TIMES; k++) {
			struct check c = {.ctx = NULL};
			struct status st = store_rebuild(s, h.a, &c);
			if (!status_is_fine(st))
				fprintf(stderr, "%.*s\n", STR_ARG(st.text));
			if (!status_is_fine(st) || c.folders != 6 ||
				c.messages != 10)
				_exit(1);
		}
		_exit(0);
	}
	for (int i = 0; i < MANY; i++) {
		ck_assert_int_gt(wait(&code), 0);
		ck_assert_int_eq(code, 0);
	}
	ck_assert_uint_eq(check(&h, false, true).n, 0);
	home_gone(&h);
}
END_TEST

Suite *
suite_check(void)
{
	return SUITE("check", test_nothing_wrong, test_files_and_rows,
		test_counts, test_rows_in_part, test_control_file,
		test_written_over, test_damaged_index, test_rebuild, test_rebuilt_by_many);
}
