/* SPDX-License-Identifier: ISC */
/* One folder as a session sees it: the view, news, flags and keywords,
 * expunging, appending, copying and moving. */
#include "store_suites.h"

#include "base/clock.h"
#include "store/quota.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

static struct mailbox_news
news_of(struct mailbox *m, struct arena *a, bool expunges)
{
	struct mailbox_news n;
	ck_fine(mailbox_news(m, a, expunges, &n));
	return n;
}

/* "1:3,7" */
static struct str
set_text(struct arena *a, const struct uid_set *s)
{
	struct buf *b = buf_new(a);
	for (size_t i = 0; i < s->n; i++) {
		buf_printf(b, "%s%u", i > 0 ? "," : "", s->v[i].first);
		if (s->v[i].last != s->v[i].first)
			buf_printf(b, ":%u", s->v[i].last);
	}
	return buf_str(b);
}

/* UIDs with gaps: of 1 to 12, those that are not in "2 5 6 7 12". */
static struct mailbox *
box_with_gaps(struct home *h)
{
	deliver_many(h->s, h->a, "q", 12);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct uid_range gone[] = {{2, 2}, {5, 7}, {12, 12}};
	struct uid_set set = {gone, 3};
	ck_fine(mailbox_expunge(m, h->a, &set, true));
	struct mailbox_news n = news_of(m, h->a, true);
	ck_assert_view(set_text(h->a, &n.expunged), "2,5:7,12");
	ck_assert_view(set_text(h->a, &n.expunged_seqs), "2,5:7,12");
	return m;
}

/* ----------------------------------------------------------------- view */

START_TEST(test_view)
{
	static const uint32_t uids[] = {1, 3, 4, 8, 9, 10, 11};
	struct home h;
	home_new(&h);
	struct mailbox *m = box_with_gaps(&h);
	ck_assert_uint_eq(mailbox_count(m), 7);
	ck_assert_uint_eq(mailbox_last_uid(m), 11);
	for (uint32_t seq = 1; seq <= 7; seq++) {
		ck_assert_uint_eq(mailbox_uid(m, seq), uids[seq - 1]);
		ck_assert_uint_eq(mailbox_seq(m, uids[seq - 1]), seq);
	}
	ck_assert_uint_eq(mailbox_uid(m, 0), 0);
	ck_assert_uint_eq(mailbox_uid(m, 8), 0);
	ck_assert_uint_eq(mailbox_seq(m, 0), 0);
	ck_assert_uint_eq(mailbox_seq(m, 5), 0);
	ck_assert_uint_eq(mailbox_seq(m, 12), 0);
	ck_assert_uint_eq(mailbox_seq(m, UINT32_MAX), 0);
	struct uid_range seqs[] = {{1, 2}, {4, 5}, {7, 99}};
	struct uid_set set = {seqs, 3};
	struct uid_set got = mailbox_uids(m, h.a, &set);
	ck_assert_view(set_text(h.a, &got), "1:3,8:9,11");
	struct uid_range some[] = {{2, 3}, {5, 8}, {10, UINT32_MAX}};
	set = (struct uid_set){some, 3};
	got = mailbox_known(m, h.a, &set);
	ck_assert_view(set_text(h.a, &got), "3,8,10:11");
	mailbox_close(m);
	/* whoever opens it anew sees the same */
	m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 7);
	ck_assert_uint_eq(mailbox_uid(m, 4), 8);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Sequence numbers hold still until the client is told. */
START_TEST(test_news_wait)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 5);
	struct store *other = home_other(&h);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct mailbox *x = open_box(other, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 2, 3);
	ck_fine(mailbox_expunge(x, h.a, &set, true));
	deliver_one(other, h.a, "r1");
	set_flags(x, h.a, 5, FLAGS_ADD, FLAG_SEEN, "word");
	struct mailbox_news n = news_of(m, h.a, false);
	ck_assert(n.any && n.expunged.n == 0 && n.arrived == 1);
	ck_assert_uint_eq(n.exists, 6);
	ck_assert_view(set_text(h.a, &n.changed), "5");
	ck_assert_uint_eq(mailbox_seq(m, 5), 5);
	ck_assert_uint_eq(mailbox_seq(m, 2), 2);
	struct message_row row;
	ck_assert(!mailbox_row(m, h.a, 2, 0, &row));
	/* what it knows is no more than it was told */
	ck_assert_uint_lt(n.modseq, status_of(h.s, h.a, "INBOX").highestmodseq);
	n = news_of(m, h.a, true);
	ck_assert_view(set_text(h.a, &n.expunged), "2:3");
	ck_assert_view(set_text(h.a, &n.expunged_seqs), "2:3");
	ck_assert_uint_eq(n.exists, 4);
	ck_assert_uint_eq(n.arrived, 0);
	ck_assert_uint_eq(n.modseq,
		status_of(h.s, h.a, "INBOX").highestmodseq);
	n = news_of(m, h.a, true);
	ck_assert(!n.any);
	mailbox_close(m);
	mailbox_close(x);
	store_close(other);
	home_gone(&h);
}
END_TEST

/* What came and went between two looks never was. */
START_TEST(test_news_of_what_never_was)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 2);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	deliver_many(h.s, h.a, "r", 3);
	struct mailbox *x = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 4, 4);
	ck_fine(mailbox_expunge(x, h.a, &set, true));
	struct mailbox_news n = news_of(m, h.a, true);
	ck_assert(n.arrived == 2 && n.expunged.n == 0);
	ck_assert_uint_eq(mailbox_uid(m, 4), 5);
	mailbox_close(m);
	mailbox_close(x);
	home_gone(&h);
}
END_TEST

START_TEST(test_own_changes_are_no_news)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct mailbox *x = open_box(h.s, h.a, "INBOX");
	for (unsigned i = 0; i < 16; i++)
		set_flags(m, h.a, 1 + i % 3, i % 2 ? FLAGS_ADD : FLAGS_REMOVE,
			FLAG_SEEN | FLAG_FLAGGED, NULL);
	settle(m);
	ck_assert(!news_of(m, h.a, true).any);
	struct mailbox_news n = news_of(x, h.a, true);
	ck_assert_view(set_text(h.a, &n.changed), "1:3");
	/* but others' are, also in the same message */
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_DRAFT, NULL);
	set_flags(x, h.a, 1, FLAGS_ADD, FLAG_ANSWERED, NULL);
	n = news_of(m, h.a, true);
	ck_assert_view(set_text(h.a, &n.changed), "1");
	mailbox_close(m);
	mailbox_close(x);
	home_gone(&h);
}
END_TEST

/* A session that was long away, beyond what tombstones tell. */
START_TEST(test_vanished)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 400);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	uint64_t start = status_of(h.s, h.a, "INBOX").highestmodseq, middle = 0;
	struct store *other = home_other(&h);
	struct mailbox *x = open_box(other, h.a, "INBOX");
	for (uint32_t uid = 2; uid <= 400; uid += 2) {
		struct uid_set set = set_of(h.a, uid, uid);
		ck_fine(mailbox_expunge(x, h.a, &set, true));
		if (uid == 200)
			middle = status_of(other, h.a, "INBOX").highestmodseq;
	}
	struct uid_set gone, all = set_of(h.a, 1, UINT32_MAX),
			     some = set_of(h.a, 101, 304);
	/* what the session has not been told of has not vanished earlier */
	ck_assert(mailbox_vanished(x, h.a, start, &all, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 0);
	news_of(x, h.a, true);
	ck_assert(mailbox_vanished(x, h.a, start, &all, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 200);
	ck_assert(mailbox_vanished(x, h.a, middle, &all, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 100);
	ck_assert(gone.v[0].first == 202);
	ck_assert(mailbox_vanished(x, h.a, start, &some, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 102);
	ck_assert(gone.v[0].first == 102);
	/* as if there had been too many of them */
	ck_fine(index_begin(h.s, h.a));
	struct folder_row f;
	ck_assert(folder_named(h.s, h.a, STR("INBOX"), &f));
	index_run(h.s, Q_TOMB_TRIM, "ii", f.id, I(middle));
	f.tomb_since = middle;
	folder_save(h.s, h.a, &f);
	ck_fine(index_commit(h.s, h.a));
	struct mailbox_news n = news_of(m, h.a, true);
	ck_assert_uint_eq(uid_set_count(&n.expunged), 200);
	ck_assert_uint_eq(n.exists, 200);
	ck_assert(!mailbox_vanished(m, h.a, start, &all, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 200);
	ck_assert(gone.v[gone.n - 1].last == 400);
	ck_assert(mailbox_vanished(m, h.a, middle, &all, &gone));
	ck_assert_uint_eq(uid_set_count(&gone), 100);
	mailbox_close(m);
	mailbox_close(x);
	store_close(other);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* More expunges than tombstones are kept for. */
START_TEST(test_tombstones_are_bounded)
{
	struct home h;
	struct folder_row f;
	home_new(&h);
	ck_fine(index_begin(h.s, h.a));
	ck_assert(folder_named(h.s, h.a, STR("INBOX"), &f));
	for (uint32_t uid = 1; uid < 50000; uid++)
		runs_add(h.s, &f, uid, uid);
	f.uidnext = 50000;
	for (unsigned i = 0; i < 30; i++) {
		struct uid_set set = {0};
		for (uint32_t uid = 1 + i * 2000; uid < 2000 + i * 2000 &&
			uid < 50000; uid += 2)
			uid_set_add(h.a, &set, uid);
		f.changed = false;
		row_expunge(h.s, h.a, &f, &set, 0);
	}
	folder_save(h.s, h.a, &f);
	ck_assert_int_le(f.tombs, 20000);
	ck_assert_int_ge(f.tombs, 9000);
	ck_assert_uint_gt(f.tomb_since, 1);
	index_rollback(h.s);
	home_gone(&h);
}
END_TEST

/* One session, the first that may write, is told of a message as recent. */
START_TEST(test_recent)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *look;
	ck_fine(mailbox_open(h.s, h.a, STR("INBOX"), true, &look));
	ck_assert_uint_eq(mailbox_recent(look), 3); /* and leaves it so */
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct mailbox *x = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_recent(m), 3);
	ck_assert(mailbox_is_recent(m, 2) && !mailbox_is_recent(x, 2));
	ck_assert_uint_eq(mailbox_recent(x), 0);
	deliver_one(h.s, h.a, "r");
	news_of(x, h.a, true);
	news_of(m, h.a, true);
	ck_assert(mailbox_is_recent(x, 4) && !mailbox_is_recent(m, 4));
	struct uid_set set = set_of(h.a, 1, 1);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	news_of(m, h.a, true);
	ck_assert_uint_eq(mailbox_recent(m), 2);
	mailbox_close(look);
	mailbox_close(m);
	mailbox_close(x);
	home_gone(&h);
}
END_TEST

START_TEST(test_first_unseen)
{
	struct home h;
	home_new(&h);
	struct mailbox *m = box_with_gaps(&h);
	ck_assert_uint_eq(mailbox_first_unseen(m), 1);
	for (uint32_t uid = 1; uid < 9; uid++)
		set_flags(m, h.a, uid, FLAGS_ADD, FLAG_SEEN, NULL);
	news_of(m, h.a, true);
	ck_assert_uint_eq(mailbox_first_unseen(m), 5);
	for (uint32_t uid = 9; uid < 12; uid++)
		set_flags(m, h.a, uid, FLAGS_ADD, FLAG_SEEN, NULL);
	news_of(m, h.a, true);
	ck_assert_uint_eq(mailbox_first_unseen(m), 0);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* ---------------------------------------------------------------- flags */

START_TEST(test_flags_and_names)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 4);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_SEEN | FLAG_FORWARDED, NULL);
	set_flags(m, h.a, 2, FLAGS_REPLACE, FLAG_FLAGGED | FLAG_DELETED,
		"$Junk");
	set_flags(m, h.a, 3, FLAGS_ADD, 0, "$label1");
	set_flags(m, h.a, 2, FLAGS_REMOVE, FLAG_DELETED, NULL);
	set_flags(m, h.a, 3, FLAGS_ADD, 0, "$JUNK"); /* as it is spelled */
	ck_assert_view(rows_of(m, h.a),
		"1:21: 2:4:$Junk 3:0:$Junk $label1 4:0:");
	settle(m);
	ck_assert_int_eq(shell(&h, "test -f cur/*.q0.*:2,PS -a -f "
		"cur/*.q1.*:2,Fa -a -f cur/*.q2.*:2,ab -a -f cur/*.q3.*:2,"),
		0);
	ck_assert_int_eq(shell_number(&h, "ls new | wc -l"), 0);
	ck_assert_int_eq(shell(&h, "grep -qx 'keyword 0 $Junk' surat-folder "
		"&& grep -qx 'keyword 1 $label1' surat-folder"), 0);
	mailbox_close(m);
	/* a new session reads no directory: our own names are no news */
	m = open_box(h.s, h.a, "INBOX");
	uint64_t before = status_of(h.s, h.a, "INBOX").highestmodseq;
	ck_assert(!news_of(m, h.a, true).any);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").highestmodseq, before);
	struct str_list words;
	ck_fine(mailbox_keywords(m, h.a, &words));
	ck_assert_view(words_join(h.a, words), "$Junk $label1");
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* RFC 7162 3.1.3 */
START_TEST(test_unchanged_since)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 4);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	uint64_t known = status_of(h.s, h.a, "INBOX").highestmodseq;
	set_flags(m, h.a, 2, FLAGS_ADD, FLAG_SEEN, NULL);
	struct uid_set all = set_of(h.a, 1, 9);
	struct mailbox_store st = {.how = FLAGS_ADD, .flags = FLAG_FLAGGED,
		.unchanged_since = known};
	ck_fine(mailbox_store(m, h.a, &all, &st));
	ck_assert_view(set_text(h.a, &st.modified), "2");
	ck_assert_view(set_text(h.a, &st.changed), "1,3:4");
	ck_assert_uint_gt(st.modseq, known + 1);
	/* nothing is different: no modseq is spent */
	st = (struct mailbox_store){.how = FLAGS_ADD, .flags = FLAG_FLAGGED,
		.unchanged_since = UINT64_MAX};
	all = set_of(h.a, 1, 1);
	ck_fine(mailbox_store(m, h.a, &all, &st));
	ck_assert(st.changed.n == 0 && st.modseq == 0);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* More words than letters, and more than anybody would have. */
START_TEST(test_keywords_without_limit)
{
	enum { WORDS = 60 };
	struct home h;
	char word[16];
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	for (int i = 0; i < WORDS; i++) {
		snprintf(word, sizeof word, "w%02d", i);
		set_flags(m, h.a, 1 + (uint32_t)i % 2, FLAGS_ADD, 0, word);
	}
	settle(m);
	struct str want = rows_of(m, h.a);
	struct str_list words;
	ck_fine(mailbox_keywords(m, h.a, &words));
	ck_assert_uint_eq(words.n, WORDS);
	mailbox_close(m);
	/* none is lost with the index */
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	m = open_box(h.s, h.a, "INBOX");
	ck_assert_msg(str_eq(rows_of(m, h.a), want), "%.*s",
		STR_ARG(rows_of(m, h.a)));
	/* nor comes one back that was taken off meanwhile, by whomever */
	set_flags(m, h.a, 1, FLAGS_REMOVE, 0, "w58");
	settle(m);
	ck_assert_int_eq(shell(&h, "n=$(ls cur/*.q0.*); mv $n ${n%%c*}"
		"$(echo ${n##*:2,} | sed 's/^/:2,/; s/c//' | sed 's/^:2,//')"),
		0);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

static struct str_list
words_from(struct arena *a, unsigned first, unsigned n)
{
	struct str_list l = {arena_array(a, n, sizeof(struct str)), n};
	for (unsigned i = 0; i < n; i++)
		l.v[i] = str_printf(a, "word%u", first + i);
	return l;
}

static struct status
store_words(struct mailbox *m, struct arena *a, enum flag_change how,
	struct str_list words)
{
	struct mailbox_store x = {.how = how, .keywords = words,
		.unchanged_since = UINT64_MAX};
	struct uid_set set = set_of(a, 1, 1);
	return mailbox_store(m, a, &set, &x);
}

/* However many are new, they are put on disk once. */
START_TEST(test_keywords_at_once)
{
	enum { WORDS = 80, SYNCS = 8 };
	struct home h;
	struct append *p;
	struct append_result r;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 1);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	unsigned before = syncs_done();
	ck_fine(store_words(m, h.a, FLAGS_ADD, words_from(h.a, 0, WORDS)));
	ck_assert_uint_lt(syncs_done() - before, SYNCS);
	ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
	for (unsigned i = 0; i < WORDS; i++) {
		struct append_message one = {.date = 1,
			.keywords = words_from(h.a, 1000 + i, 1)};
		ck_fine(append_message(p, &one));
		ck_fine(append_write(p, STR("Subject: x\r\n\r\n")));
		ck_fine(append_end(p));
	}
	before = syncs_done();
	ck_fine(append_commit(p, &r));
	ck_assert_uint_lt(syncs_done() - before, SYNCS);
	news_of(m, h.a, true);
	struct uid_set set = set_of(h.a, 1, 1 + WORDS);
	before = syncs_done();
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_uint_lt(syncs_done() - before, SYNCS);
	struct str want = rows_of(m, h.a);
	settle(m);
	mailbox_close(m);
	/* and are there when the index is not */
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	m = open_box(h.s, h.a, "INBOX");
	ck_assert_msg(str_eq(rows_of(m, h.a), want), "%.*s",
		STR_ARG(rows_of(m, h.a)));
	mailbox_close(m);
	m = open_box(h.s, h.a, "Sent");
	ck_assert_msg(str_eq(rows_of(m, h.a), want), "%.*s",
		STR_ARG(rows_of(m, h.a)));
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

static void
too_many(struct status st)
{
	ck_assert(st.class == STATUS_NEVER);
	ck_assert(st.subject == 5 && st.detail == 3);
}

/* What is too much is refused, never dropped; what is there stays in use. */
START_TEST(test_keywords_too_many)
{
	struct home h;
	struct append *p;
	struct append_result r;
	struct mailbox_copied c;
	struct append_message one = {.date = 1};
	home_new(&h);
	deliver_many(h.s, h.a, "q", 1);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	for (unsigned i = 0; i < 1000; i += 100)
		ck_fine(store_words(m, h.a, FLAGS_ADD,
			words_from(h.a, i, 100)));
	struct str want = rows_of(m, h.a);
	too_many(store_words(m, h.a, FLAGS_ADD, words_from(h.a, 1000, 1)));
	ck_fine(store_words(m, h.a, FLAGS_ADD, words_from(h.a, 900, 100)));
	/* nobody makes a word to take it off */
	ck_fine(store_words(m, h.a, FLAGS_REMOVE, words_from(h.a, 5000, 1)));
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM keyword"), 1000);
	ck_fine(index_begin(h.s, h.a));
	ck_assert_int_eq(sqlite3_exec(h.s->ix.db, "WITH RECURSIVE n(i) AS"
		" (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i<99998)"
		" INSERT OR IGNORE INTO keyword SELECT id, i, 'w'||i"
		" FROM n, folder WHERE name IN ('INBOX', 'Sent')",
		NULL, NULL, NULL), SQLITE_OK);
	ck_fine(index_commit(h.s, h.a));
	too_many(store_words(m, h.a, FLAGS_REPLACE, words_from(h.a, 6000, 2)));
	too_many(mailbox_copy(m, h.a, &(struct uid_set){
		&(struct uid_range){1, 1}, 1}, STR("Sent"), false, &c));
	ck_assert_uint_eq(c.to.n, 0);
	one.keywords = words_from(h.a, 6000, 2);
	ck_fine(append_begin(h.s, h.a, STR("Sent"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_write(p, STR("Subject: x\r\n\r\n")));
	ck_fine(append_end(p));
	too_many(append_commit(p, &r));
	ck_assert_uint_eq(status_of(h.s, h.a, "Sent").messages, 0);
	news_of(m, h.a, true);
	ck_assert(str_eq(rows_of(m, h.a), want));
	/* the last one */
	ck_fine(store_words(m, h.a, FLAGS_REPLACE, words_from(h.a, 6000, 1)));
	too_many(store_words(m, h.a, FLAGS_ADD, words_from(h.a, 6001, 1)));
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* -------------------------------------------------------------- expunge */

START_TEST(test_expunge)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 6);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	set_flags(m, h.a, 2, FLAGS_ADD, FLAG_DELETED, NULL);
	set_flags(m, h.a, 5, FLAGS_ADD, FLAG_DELETED, NULL);
	struct uid_set set = set_of(h.a, 1, 4);
	ck_fine(mailbox_expunge(m, h.a, &set, false)); /* UID EXPUNGE 1:4 */
	ck_assert_view(rows_of(m, h.a), "1:0: 3:0: 4:0: 5:8: 6:0:");
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -c UID="), 5);
	set = set_of(h.a, 1, UINT32_MAX);
	ck_fine(mailbox_expunge(m, h.a, &set, false));
	ck_assert_view(rows_of(m, h.a), "1:0: 3:0: 4:0: 6:0:");
	struct mailbox_news n = news_of(m, h.a, true);
	ck_assert_view(set_text(h.a, &n.expunged), "2,5");
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* More than one batch of everything. */
START_TEST(test_expunge_many)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 1500);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	settle(m);
	struct uid_set set = set_of(h.a, 11, 1490);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	check_counts(h.s, h.a);
	settle(m);
	ck_assert_int_eq(shell_number(&h, "ls cur | wc -l"), 20);
	ck_assert(news_of(m, h.a, true).exists == 20);
	/* texts go with the files */
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM header"), 20);
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM content"), 20);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* What was delivered, and could be once more, is remembered; a copy is not,
 * whose name nobody else ever gave. */
START_TEST(test_expunge_remembers)
{
	static const char past[] = "SELECT count(*) FROM past";
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 5);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 3);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), false, &c));
	struct mailbox *x = open_box(h.s, h.a, "Archive");
	ck_fine(mailbox_expunge(x, h.a, &set, true));
	ck_assert_int_eq(sql_number(&h, past), 0);
	set = set_of(h.a, 4, 5);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), true, &c));
	mailbox_close(x);
	x = open_box(h.s, h.a, "Archive");
	ck_fine(mailbox_expunge(x, h.a, &set, true));
	ck_assert_int_eq(sql_number(&h, past), 2);
	mailbox_close(x);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* --------------------------------------------------------------- append */

static struct status
append_text(struct home *h, const char *folder, unsigned n, const char *text,
	struct append_result *out)
{
	struct append *p;
	struct str words[] = {STR("$MDNSent"), STR("work")};
	struct append_message m = {.flags = FLAG_SEEN | FLAG_DRAFT,
		.keywords = {words, 2}, .date = 1700000000, .zone = -330};
	struct status st = append_begin(h->s, h->a, str_from(folder), &p);
	for (unsigned i = 0; i < n && status_is_fine(st); i++) {
		ck_fine(append_message(p, &m));
		/* in pieces, also between CR and LF */
		for (const char *t = text; *t != '\0'; t++)
			ck_fine(append_write(p, str_of(t, 1)));
		ck_fine(append_end(p));
	}
	return status_is_fine(st) ? append_commit(p, out) : st;
}

START_TEST(test_append)
{
	struct home h;
	struct append_result r;
	struct message_row row;
	struct message_file f;
	home_new(&h);
	deliver_one(h.s, h.a, "q1");
	ck_fine(append_text(&h, "INBOX", 1, "Subject: x\r\n\r\na\rb\r\r\nc\r\n",
		&r));
	ck_assert_view(set_text(h.a, &r.uids), "2");
	ck_assert_uint_eq(r.uidvalidity,
		status_of(h.s, h.a, "INBOX").uidvalidity);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert(mailbox_row(m, h.a, 2, WANT_ALL, &row));
	ck_assert_int_eq(row.date, 1700000000);
	ck_assert_int_eq(row.zone, -330);
	ck_assert_uint_eq(row.flags, FLAG_SEEN | FLAG_DRAFT);
	ck_assert_view(row.keywords, "$MDNSent work");
	ck_assert_view(row.subject, "X");
	ck_fine(mailbox_read(m, h.a, 2, &f));
	ck_assert_view(f.raw, "Subject: x\n\na\rb\r\r\nc\n");
	ck_assert_uint_eq(f.size, 23);
	ck_assert_int_eq(shell(&h, "test -f cur/*UID=2:2,DSab -a \"$(stat -c "
		"%%Y cur/*UID=2:2,*)\" = 1700000000"), 0);
	ck_assert_int_eq(shell_number(&h, "ls tmp | wc -l"), 0);
	/* a session hears of it, as of any arrival */
	ck_fine(append_text(&h, "INBOX", 1, "\r\n", &r));
	ck_assert_uint_eq(news_of(m, h.a, true).arrived, 1);
	/* an empty message is one too */
	ck_fine(append_text(&h, "INBOX", 1, "", &r));
	news_of(m, h.a, true);
	ck_assert(mailbox_row(m, h.a, 4, WANT_SIZES, &row) && row.size == 0);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

START_TEST(test_append_refused)
{
	struct home h;
	struct append_result r;
	struct append *p;
	home_new(&h);
	ck_assert_int_eq(append_text(&h, "nix", 1, "x", &r).class,
		STATUS_NEVER);
	/* the client gave up: nothing is left */
	struct append_message one = {.date = 1};
	struct arena *a = arena_new("transaction");
	ck_fine(append_begin(h.s, a, STR("INBOX"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_write(p, STR("Subject: x\r\n")));
	arena_free(a);
	ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_end(p));
	append_abort(p);
	/* the folder went away meanwhile */
	ck_fine(folders_create(h.s, h.a, STR("x"), STR("")));
	ck_fine(append_begin(h.s, h.a, STR("x"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_end(p));
	ck_fine(folders_delete(h.s, h.a, STR("x")));
	ck_assert(!status_is_fine(append_commit(p, &r)));
	/* or was renamed */
	ck_fine(folders_create(h.s, h.a, STR("y"), STR("")));
	ck_fine(append_begin(h.s, h.a, STR("y"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_end(p));
	ck_fine(folders_rename(h.s, h.a, STR("y"), STR("z")));
	ck_fine(append_commit(p, &r));
	ck_assert_uint_eq(status_of(h.s, h.a, "z").messages, 1);
	ck_assert_int_eq(shell_number(&h, "find . -path '*/tmp/*' | wc -l"), 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	home_gone(&h);
}
END_TEST

/* RFC 3502: all or none. */
START_TEST(test_append_many)
{
	struct home h;
	struct append_result r;
	home_new(&h);
	ck_fine(append_text(&h, "INBOX", 300, "Subject: x\r\n\r\nx\r\n", &r));
	ck_assert_view(set_text(h.a, &r.uids), "1:300");
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 300);
	/* the file of one is taken away before the commit */
	struct append *p;
	struct append_message one = {.date = 1};
	ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
	for (int i = 0; i < 5; i++) {
		ck_fine(append_message(p, &one));
		ck_fine(append_write(p, STR("Subject: y\r\n\r\n")));
		ck_fine(append_end(p));
	}
	ck_assert_int_eq(shell(&h, "rm $(ls tmp/* | sed -n 4p)"), 0);
	ck_assert(!status_is_fine(append_commit(p, &r)));
	ck_assert_uint_eq(r.uids.n, 0);
	append_abort(p);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 300);
	ck_assert_int_eq(shell_number(&h, "ls cur tmp new | grep -c UID="),
		300);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* ----------------------------------------------------------------- copy */

START_TEST(test_copy)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	struct mailbox *m = box_with_gaps(&h);
	set_flags(m, h.a, 3, FLAGS_ADD, FLAG_SEEN, "word");
	set_flags(m, h.a, 4, FLAGS_ADD, FLAG_DELETED, "other");
	struct uid_set set = set_of(h.a, 2, 8);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_view(set_text(h.a, &c.from), "3:4,8");
	ck_assert_view(set_text(h.a, &c.to), "1:3");
	ck_assert_uint_eq(c.uidvalidity,
		status_of(h.s, h.a, "Sent").uidvalidity);
	struct mailbox *x = open_box(h.s, h.a, "Sent");
	ck_assert_view(rows_of(x, h.a), "1:1:word 2:8:other 3:0:");
	struct message_row one, two;
	ck_assert(mailbox_row(m, h.a, 3, WANT_ALL, &one));
	ck_assert(mailbox_row(x, h.a, 1, WANT_ALL, &two));
	ck_assert(one.size == two.size && one.date == two.date &&
		one.zone == two.zone && one.sent == two.sent &&
		one.thread == two.thread);
	ck_assert(str_eq(one.envelope, two.envelope) &&
		str_eq(one.structure, two.structure) &&
		str_eq(one.subject, two.subject) &&
		str_eq(one.display_to, two.display_to));
	ck_assert(!str_eq(maildir_parse(one.name).unique,
		maildir_parse(two.name).unique));
	ck_assert(!two.in_new);
	/* to itself */
	set = set_of(h.a, 10, 11);
	ck_fine(mailbox_copy(m, h.a, &set, STR("INBOX"), false, &c));
	ck_assert_view(set_text(h.a, &c.to), "13:14");
	ck_assert_uint_eq(news_of(m, h.a, true).arrived, 2);
	/* nothing to copy, nowhere to copy to */
	set = set_of(h.a, 5, 7);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_uint_eq(c.to.n, 0);
	set = set_of(h.a, 1, 1);
	ck_assert(mailbox_copy(m, h.a, &set, STR("nix"), false, &c).class ==
		STATUS_NEVER);
	mailbox_close(m);
	mailbox_close(x);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

START_TEST(test_move)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	struct mailbox *m = box_with_gaps(&h);
	struct uid_set set = set_of(h.a, 2, 8);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Trash"), true, &c));
	ck_assert_view(set_text(h.a, &c.from), "3:4,8");
	ck_assert_view(set_text(h.a, &c.to), "1:3");
	struct mailbox_news n = news_of(m, h.a, true);
	ck_assert_view(set_text(h.a, &n.expunged), "3:4,8");
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -c UID="), 4);
	ck_assert_int_eq(shell_number(&h, "ls .Trash/cur | wc -l"), 3);
	ck_assert_int_eq(shell_number(&h,
		"find . -path '*/cur/*' -links +1 | wc -l"), 0);
	/* into itself: new UIDs */
	set = set_of(h.a, 1, 1);
	ck_fine(mailbox_copy(m, h.a, &set, STR("INBOX"), true, &c));
	ck_assert_view(set_text(h.a, &c.to), "13");
	n = news_of(m, h.a, true);
	ck_assert(n.arrived == 1 && n.exists == 4);
	settle(m);
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -c UID="), 4);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* All or none, also when a file turns out to be gone. */
START_TEST(test_copy_of_what_is_gone)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 10);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_int_eq(shell(&h, "rm new/*.q7.*; mv new/*.q8.* cur/x && "
		"mv cur/x cur/1764000000.q8.host,UID=9:2,F"), 0);
	struct uid_set set = set_of(h.a, 1, 10);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_view(set_text(h.a, &c.from), "1:7,9:10");
	ck_assert_int_eq(shell_number(&h, "ls .Sent/cur | wc -l"), 9);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* The old one is there again, and nothing is left of its old UID. */
START_TEST(test_replace_that_fails)
{
	struct home h;
	struct append *p;
	struct append_result r;
	struct append_message one = {.date = 1};
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
	append_replaces(p, m, 2);
	ck_fine(append_message(p, &one));
	ck_fine(append_write(p, STR("Subject: x\r\n\r\n")));
	ck_fine(append_end(p));
	syncs_fail(ENOSPC);
	ck_assert(!status_is_fine(append_commit(p, &r)));
	syncs_fail(0);
	news_of(m, h.a, true);
	ck_assert_uint_eq(mailbox_count(m), 3);
	settle(m);
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM header"
		" WHERE key NOT IN (SELECT key FROM message)"), 0);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* What was noted first, and is said to be done, is on disk as such: the note may
 * be there already. */
START_TEST(test_noted_is_kept)
{
	struct home h;
	struct append *p;
	struct append_result r;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	for (int what = 0; what < 4; what++) {
		struct uid_set set = set_of(h.a, 1, 1);
		unsigned before = log_syncs_done();
		if (what < 2) {
			ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"),
				what == 1, &c));
			ck_assert_uint_gt(log_syncs_done(), before);
			continue;
		}
		ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
		if (what == 3)
			append_replaces(p, m, 2);
		for (int i = 0; i < (what == 2 ? 2 : 1); i++) {
			struct append_message one = {.date = 1};
			ck_fine(append_message(p, &one));
			ck_fine(append_write(p, STR("Subject: x\r\n\r\n")));
			ck_fine(append_end(p));
		}
		ck_fine(append_commit(p, &r));
		ck_assert_uint_gt(log_syncs_done(), before);
	}
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

static void
check_times(struct home *h, const char *one, const char *two)
{
	ck_assert_int_eq(shell_number(h, "stat -c %%Y %s", one),
		shell_number(h, "stat -c %%Y %s", two));
}

static void
copy_without_links(int err, const char *but)
{
	struct home h;
	struct mailbox_copied c;
	struct message_file one, two;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 6);
	ck_assert_int_eq(shell(&h, "touch -d @1700000000 new/*.q0.*"), 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 3);
	links_fail(err, but);
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_view(set_text(h.a, &c.to), "1:3");
	ck_fine(mailbox_copy(m, h.a, &set, STR("Archive"), true, &c));
	links_fail(0, NULL);
	struct mailbox *x = open_box(h.s, h.a, "Sent"),
		       *y = open_box(h.s, h.a, "Archive");
	ck_assert_uint_eq(news_of(m, h.a, true).exists, 3);
	ck_assert_uint_eq(mailbox_count(x), 3);
	ck_assert_uint_eq(mailbox_count(y), 3);
	for (uint32_t uid = 1; uid <= 3; uid++) {
		ck_fine(mailbox_read(x, h.a, uid, &one));
		ck_fine(mailbox_read(y, h.a, uid, &two));
		ck_assert(str_eq(one.raw, two.raw) && one.raw.n > 0);
	}
	check_times(&h, ".Sent/cur/*UID=1[,:]*", ".Archive/cur/*UID=1[,:]*");
	ck_assert_int_eq(shell_number(&h, "stat -c %%Y .Sent/cur/*UID=1[,:]*"),
		1700000000);
	ck_assert_int_eq(shell_number(&h, "find . -links +1 -type f | wc -l"),
		0);
	ck_assert_int_eq(shell_number(&h, "ls tmp .*/tmp | grep -c M"), 0);
	mailbox_close(m);
	mailbox_close(x);
	mailbox_close(y);
	check_counts(h.s, h.a);
	home_gone(&h);
}

/* Files of somebody else, of which too many links are there, or on another
 * file system; at last a file system without links. */
START_TEST(test_copy_without_links)
{
	copy_without_links(EPERM, "tmp/");
	copy_without_links(EMLINK, "tmp/");
	copy_without_links(EXDEV, "tmp/");
	copy_without_links(EPERM, NULL);
	copy_without_links(EOPNOTSUPP, NULL);
}
END_TEST

/* All or none. */
START_TEST(test_copy_that_fails)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 6);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 6);
	/* more than the quota has room for, after some of them */
	struct quota q = {.octets = 0, .messages = 9};
	ck_fine(quota_note(h.s, h.a, &q));
	links_fail(EPERM, NULL);
	ck_assert(!status_is_fine(mailbox_copy(m, h.a, &set, STR("Sent"),
		false, &c)));
	links_fail(0, NULL);
	ck_assert_int_eq(shell_number(&h, "ls .Sent/cur .Sent/tmp | grep -c M"),
		0);
	ck_assert_uint_eq(status_of(h.s, h.a, "Sent").messages, 0);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

static void
no_uid_left(struct status st)
{
	ck_assert_msg(str_eq(st.text, STR("the folder has no UID left")),
		"%.*s", STR_ARG(st.text));
}

START_TEST(test_no_uid_left)
{
	struct home h;
	struct append *p;
	struct append_result r;
	struct mailbox_copied c;
	struct append_message one = {.date = 1};
	struct delivery d = {.name = STR("1764000000.x.host"),
		.content = STR("Subject: x\r\n\r\n")};
	home_new(&h);
	deliver_many(h.s, h.a, "q", 1);
	ck_fine(index_begin(h.s, h.a));
	ck_assert_int_eq(sqlite3_exec(h.s->ix.db, "UPDATE folder SET"
		" uidnext=4294967294", NULL, NULL, NULL), SQLITE_OK);
	ck_fine(index_commit(h.s, h.a));
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, 1);
	/* the last */
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_assert_view(set_text(h.a, &c.to), "4294967294");
	no_uid_left(mailbox_copy(m, h.a, &set, STR("Sent"), false, &c));
	ck_fine(append_begin(h.s, h.a, STR("Sent"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_write(p, STR("Subject: x\r\n\r\n")));
	ck_fine(append_end(p));
	no_uid_left(append_commit(p, &r));
	ck_fine(mailbox_copy(m, h.a, &set, STR("INBOX"), false, &c));
	store_deliver(h.s, h.a, &d, 1, &(struct delivery_rules){0});
	no_uid_left(d.status);
	ck_assert_uint_eq(status_of(h.s, h.a, "Sent").messages, 1);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 2);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* A large copy holds neither memory nor anything else per message. */
START_TEST(test_copy_many)
{
	struct home h;
	struct mailbox_copied c;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 2500);
	struct arena *a = arena_new("transaction");
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set set = set_of(h.a, 1, UINT32_MAX);
	ck_fine(mailbox_copy(m, a, &set, STR("Sent"), false, &c));
	ck_assert_view(set_text(h.a, &c.to), "1:2500");
	ck_assert_uint_lt(arena_used(a), 200000);
	ck_fine(mailbox_copy(m, a, &set, STR("Trash"), true, &c));
	ck_assert_uint_lt(arena_used(a), 400000);
	ck_assert_uint_eq(status_of(h.s, h.a, "Trash").messages, 2500);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	arena_free(a);
	mailbox_close(m);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* ----------------------------------------------------------------- scan */

START_TEST(test_scan)
{
	struct home h;
	struct message_row row;
	home_new(&h);
	struct mailbox *m = box_with_gaps(&h);
	set_flags(m, h.a, 4, FLAGS_ADD, FLAG_SEEN, NULL);
	set_flags(m, h.a, 9, FLAGS_ADD, FLAG_SEEN | FLAG_FLAGGED, NULL);
	uint64_t since = status_of(h.s, h.a, "INBOX").highestmodseq - 1;
	struct uid_range ranges[] = {{1, 4}, {9, 20}};
	struct mailbox_scan c = {.uids = {ranges, 2}, .mask = FLAG_SEEN,
		.value = FLAG_SEEN};
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 4);
	/* another call between, which writes and lets the snapshot go */
	set_flags(m, h.a, 10, FLAGS_ADD, FLAG_SEEN, NULL);
	ck_assert(mailbox_row(m, h.a, 1, 0, &row));
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 9);
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 10);
	ck_assert(!mailbox_next(m, &c, &row));
	ck_fine(mailbox_scan_end(m, &c));
	c = (struct mailbox_scan){.uids = set_of(h.a, 1, UINT32_MAX),
		.since = since};
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 9);
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 10);
	ck_assert(!mailbox_next(m, &c, &row));
	ck_fine(mailbox_scan_end(m, &c));
	/* one that came after the last news is not in the view */
	deliver_one(h.s, h.a, "r");
	c = (struct mailbox_scan){.uids = set_of(h.a, 11, UINT32_MAX)};
	ck_assert(mailbox_next(m, &c, &row) && row.uid == 11);
	ck_assert(!mailbox_next(m, &c, &row));
	ck_fine(mailbox_scan_end(m, &c));
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* --------------------------------------------------------------- notify */

START_TEST(test_notify)
{
	struct home h;
	int fd, same;
	home_new(&h);
	struct store *other = home_other(&h);
	ck_fine(notify_listen(h.s, h.a, &fd));
	ck_fine(notify_listen(h.s, h.a, &same));
	ck_assert_int_eq(fd, same);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ck_assert(!notify_drain(h.s));
	deliver_one(other, h.a, "q1");
	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	ck_assert(notify_drain(h.s) && !notify_drain(h.s));
	/* our own writing wakes nobody up here */
	deliver_one(h.s, h.a, "q2");
	ck_assert(!notify_drain(h.s));
	/* a full socket holds nobody up */
	for (int i = 0; i < 2000; i++)
		notify_send(other);
	ck_assert(notify_drain(h.s));
	/* also after the directory was removed with everything in it */
	ck_assert_int_eq(shell(&h, "rm -r surat"), 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	deliver_one(other, h.a, "q3");
	ck_assert_int_eq(poll(&p, 1, 5000), 1);
	ck_assert(notify_drain(h.s));
	mailbox_close(m);
	/* the socket of one who died is swept up */
	ck_assert_int_eq(shell(&h, "python3 -c 'import socket; "
		"socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)"
		".bind(\"surat/notify/1.dead\")'"), 0);
	notify_send(other);
	ck_assert_int_eq(shell(&h, "test ! -e surat/notify/1.dead"), 0);
	store_close(other);
	home_gone(&h);
}
END_TEST

/* A foreign program's file is heard of; alone of it, nobody told us. */
static bool
hears_of_files(struct home *h, const char *name)
{
	int fd;
	bool watched;
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	ck_fine(notify_watch(m, h->a, &fd, &watched));
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ck_assert_int_eq(shell(h, "touch tmp/%s; mv tmp/%s new/", name, name),
		0);
	bool heard = watched && poll(&p, 1, 5000) == 1 &&
		notify_drain(h->s) == NOTIFY_TOUCHED &&
		notify_drain(h->s) == NOTIFY_NOTHING;
	/* also what only leaves, and what is renamed within */
	shell(h, "mv new/%s new/%s.b", name, name);
	heard = heard && poll(&p, 1, 5000) == 1;
	notify_drain(h->s);
	shell(h, "rm new/%s.b", name);
	heard = heard && poll(&p, 1, 5000) == 1;
	notify_drain(h->s);
	notify_end(h->s);
	mailbox_close(m);
	return heard;
}

/* A thousand sessions of one user, who may have 128 instances. */
static void
without_instances(struct home *h)
{
	int taken = 0;
	while (taken < 2000 && inotify_init1(IN_CLOEXEC) >= 0)
		taken++;
	_exit(taken == 2000 ? 77 : hears_of_files(h, "foreign") ? 0 : 1);
}

/* Such as that of a container that plays one. */
static void
without_signals(struct home *h)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
	if (c == NULL ||
		seccomp_rule_add(c, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(fcntl), 1,
			SCMP_A1(SCMP_CMP_EQ, F_NOTIFY)) != 0 ||
		seccomp_load(c) != 0)
		_exit(77);
	_exit(hears_of_files(h, "foreign") ? 0 : 1);
}

START_TEST(test_watch)
{
	static void (*const lacking[])(struct home *) = {
		without_instances, without_signals};
	struct home h;
	home_new(&h);
	ck_assert(hears_of_files(&h, "foreign"));
	int code, left = inotify_init1(IN_CLOEXEC);
	for (size_t i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (pid == 0)
			lacking[i](&h);
		ck_assert_int_eq(waitpid(pid, &code, 0), pid);
		/* where others use what there is, there is nothing to show */
		ck_assert(WIFEXITED(code) && (WEXITSTATUS(code) == 0 ||
			WEXITSTATUS(code) == 77 || left < 0));
	}
	close(left);
	home_gone(&h);
}
END_TEST

/* --------------------------------------------------------------- chores */

struct helper {
	struct store *s; /* has the lock */
	struct arena *a;
	int asked;
};

/* Found by two; the other one is at it, and done when it is asked for the
 * third time. */
static bool
is_left(struct store *s, struct arena *a, const struct folder_row *f, void *ctx)
{
	struct helper *x = ctx;
	(void)s, (void)a, (void)f;
	if (++x->asked == 3)
		ck_fine(index_commit(x->s, x->a));
	return x->asked < 3;
}

static bool
is_always_left(struct store *s, struct arena *a, const struct folder_row *f,
	void *ctx)
{
	(void)s, (void)a, (void)ctx;
	return f->id > 0;
}

/* Who finds that somebody else does the work does not queue up for the lock;
 * with one store it would never come. */
START_TEST(test_chore)
{
	struct home h;
	struct folder_row f;
	bool owed = true;
	home_new(&h);
	struct helper x = {home_other(&h), h.a, 0};
	ck_assert(folder_named(h.s, h.a, STR("INBOX"), &f));
	struct chore c = {f.id, CLOCK_FOREVER, is_left, &x};
	ck_fine(index_begin(x.s, x.a));
	ck_fine(index_seize(h.s, h.a, &c, &f, &owed));
	ck_assert(!owed && x.asked == 3);
	/* nobody does it, and nobody is at work */
	c.is_owed = is_always_left;
	ck_fine(index_seize(h.s, h.a, &c, &f, &owed));
	ck_assert(owed && f.id == c.folder);
	ck_fine(index_commit(h.s, h.a));
	/* somebody is at work on something else */
	c.deadline = 0;
	ck_fine(index_begin(x.s, x.a));
	ck_assert(status_is_later(index_seize(h.s, h.a, &c, &f, &owed)));
	ck_fine(index_commit(x.s, x.a));
	/* and there is no such folder */
	c.folder = 1000000;
	ck_fine(index_seize(h.s, h.a, &c, &f, &owed));
	ck_assert(!owed);
	store_close(x.s);
	home_gone(&h);
}
END_TEST

static unsigned
subjects(struct home *h, struct mailbox *m)
{
	struct mailbox_scan c = {.uids = set_of(h->a, 1, UINT32_MAX),
		.want = WANT_UID | WANT_SORT_SUBJECT};
	struct message_row row;
	unsigned n = 0;
	for (; mailbox_next(m, &c, &row); n++)
		ck_assert_uint_eq(row.uid, mailbox_uid(m, n + 1));
	ck_fine(mailbox_scan_end(m, &c));
	return n;
}

/* Texts of many that were expunged stay for a while, and are nobody's. */
START_TEST(test_texts_of_the_expunged)
{
	enum { ALL = 300, LEFT = 10 };
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", ALL);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(subjects(&h, m), ALL);
	struct uid_set set = set_of(h.a, 5, ALL - LEFT + 4);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM header"), ALL);
	struct mailbox_news news;
	ck_fine(mailbox_news(m, h.a, true, &news));
	ck_assert_uint_eq(subjects(&h, m), LEFT);
	struct mailbox *x = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(subjects(&h, x), LEFT);
	settle(m);
	ck_assert_int_eq(sql_number(&h, "SELECT count(*) FROM header"), LEFT);
	ck_assert_uint_eq(subjects(&h, x), LEFT);
	mailbox_close(x);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

static unsigned
open_files(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* Every second one is read; what was opened ahead is read though it was renamed
 * or has gone since, and nothing stays open. */
static void
read_some(struct home *h, struct mailbox *m, unsigned upto)
{
	struct mailbox_scan c = {.uids = set_of(h->a, 1, UINT32_MAX),
		.want = WANT_FILE, .reads = true};
	struct message_row row;
	struct message_file file;
	char subject[32];
	for (unsigned n = 0; n < upto && mailbox_next(m, &c, &row); n++) {
		ck_assert_uint_eq(row.uid, n + 1);
		if (n == 2)
			ck_assert_int_eq(shell(h, "mv new/*UID=5* cur/moved;"
				" rm new/*UID=7*"), 0);
		if (n % 2 != 0)
			continue;
		ck_fine(mailbox_read_row(m, h->a, &row, &file));
		snprintf(subject, sizeof subject, "from q%u\n", n);
		ck_assert_msg(memmem(file.raw.p, file.raw.n, subject,
			strlen(subject)) != NULL, "%s", subject);
	}
	ck_fine(mailbox_scan_end(m, &c));
}

START_TEST(test_read_ahead)
{
	enum { ALL = 40 };
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", ALL);
	struct mailbox *m;
	ck_fine(mailbox_open(h.s, h.a, STR("INBOX"), true, &m));
	unsigned before = open_files();
	read_some(&h, m, 7);
	ck_assert_uint_eq(open_files(), before);
	ck_assert_int_eq(shell_number(&h, "ls new cur | grep -c moved"), 1);
	mailbox_close(m);
	home_gone(&h);
	home_new(&h);
	deliver_many(h.s, h.a, "q", ALL);
	ck_fine(mailbox_open(h.s, h.a, STR("INBOX"), true, &m));
	read_some(&h, m, ALL + 1);
	ck_assert_uint_eq(open_files(), before);
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

Suite *
suite_mailbox(void)
{
	return SUITE("mailbox", test_view, test_news_wait,
		test_news_of_what_never_was, test_own_changes_are_no_news,
		test_vanished, test_tombstones_are_bounded, test_recent,
		test_first_unseen, test_flags_and_names, test_unchanged_since,
		test_keywords_without_limit,
		test_keywords_at_once, test_keywords_too_many, test_expunge, test_expunge_many,
		test_expunge_remembers,
		test_append, test_append_refused, test_append_many, test_copy,
		test_move, test_copy_of_what_is_gone, test_copy_many,
		test_replace_that_fails, test_noted_is_kept,
		test_copy_without_links, test_copy_that_fails,
		test_no_uid_left,
		test_scan, test_texts_of_the_expunged, test_read_ahead, test_notify, test_watch,
		test_chore);
}
