/* SPDX-License-Identifier: ISC */
/* Foreign changes: what mutt, mbsync, procmail, a restore, or rm do to a
 * Maildir that is being served. */
#include "store_suites.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* An account with n messages in cur/ of INBOX, and a session on it. */
static struct mailbox *
box_of(struct home *h, unsigned n)
{
	home_new(h);
	deliver_many(h->s, h->a, "q", n);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	settle(m);
	return m;
}

static void
done(struct home *h, struct mailbox *m)
{
	mailbox_close(m);
	check_counts(h->s, h->a);
	home_gone(h);
}

/* Rows after a look. */
static struct str
seen(struct home *h, struct mailbox *m)
{
	struct mailbox_news n;
	ck_fine(mailbox_news(m, h->a, true, &n));
	return rows_of(m, h->a);
}

static struct folder_row
row_of_inbox(struct home *h)
{
	struct folder_row f;
	ck_fine(index_begin_read(h->s, h->a));
	ck_assert(folder_named(h->s, h->a, STR("INBOX"), &f));
	ck_fine(index_commit(h->s, h->a));
	return f;
}

/* As if the last look had been some seconds ago. */
static void
looked_before(struct home *h, int64_t seconds)
{
	struct folder_row f;
	ck_fine(index_begin(h->s, h->a));
	ck_assert(folder_named(h->s, h->a, STR("INBOX"), &f));
	f.looked = clock_wall() - seconds;
	folder_save(h->s, h->a, &f);
	ck_fine(index_commit(h->s, h->a));
}

static void
let_time_pass(struct home *h)
{
	looked_before(h, 1000);
}

/* Whether the system has watches left, which others may have taken. */
static bool
can_watch(void)
{
	int fd = inotify_init1(IN_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The next look has no reason to read a directory. */
static bool
is_quiet(struct home *h)
{
	struct folder_row f = row_of_inbox(h);
	return f.new_mtime == watch_time(h->s, "new") &&
		f.cur_mtime == watch_time(h->s, "cur") &&
		(f.unsure == 0 || !can_watch()) && !f.rebuild;
}

/* --------------------------------------------------------------- renames */

START_TEST(test_flags_by_rename)
{
	struct home h;
	struct mailbox *m = box_of(&h, 3);
	ck_assert_int_eq(shell(&h, "cd cur; mv *.q0.* $(echo *.q0.*)FS; "
		"mv *.q2.*:2, $(echo *.q2.*)T"), 0);
	ck_assert_view(seen(&h, m), "1:5: 2:0: 3:8:");
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q0.*); "
		"mv $n ${n%%FS}R"), 0);
	ck_assert_view(seen(&h, m), "1:2: 2:0: 3:8:");
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").deleted, 1);
	done(&h, m);
}
END_TEST

/* As mutt moves what it has read: a link, then the old name goes. */
START_TEST(test_new_to_cur)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 2);
	struct mailbox *m;
	ck_fine(mailbox_open(h.s, h.a, STR("INBOX"), true, &m));
	ck_assert_int_eq(shell(&h, "n=$(cd new; echo *.q1.*); "
		"ln new/$n cur/$n:2,S && rm new/$n"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:1:");
	struct message_row row;
	ck_assert(mailbox_row(m, h.a, 2, WANT_FILE, &row));
	ck_assert(!row.in_new);
	ck_assert_view(row.info, ":2,S");
	done(&h, m);
}
END_TEST

/* While both names are there it is one message, and none goes. */
START_TEST(test_rename_in_two_steps)
{
	struct home h;
	struct mailbox *m = box_of(&h, 2);
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q0.*); ln $n ${n}S"),
		0);
	ck_assert_view(seen(&h, m), "1:0: 2:0:");
	ck_assert_int_eq(shell_number(&h, "ls cur | wc -l"), 3);
	ck_assert_int_eq(shell(&h, "cd cur; rm *.q0.*:2,"), 0);
	ck_assert_view(seen(&h, m), "1:1: 2:0:");
	/* the program died between: the second name goes, some time later */
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q1.*); ln $n ${n}S; "
		"cd ..; touch -d '2 minutes ago' cur"), 0);
	ck_assert_view(seen(&h, m), "1:1: 2:0:");
	ck_assert_int_eq(shell_number(&h, "ls cur/*.q1.* | wc -l"), 2);
	done(&h, m);
}
END_TEST

/* mbsync puts a number of its own into the name. */
START_TEST(test_other_keys_are_kept)
{
	struct home h;
	struct mailbox *m = box_of(&h, 2);
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q0.*); "
		"mv $n ${n%%:*},U=17:2,S"), 0);
	ck_assert_view(seen(&h, m), "1:1: 2:0:");
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_FLAGGED, NULL);
	settle(m);
	ck_assert_int_eq(shell(&h, "test -f cur/*,UID=1,U=17:2,FS"), 0);
	/* and makes names of its own */
	ck_assert_int_eq(shell(&h, "cp cur/*.q1.* tmp/x; "
		"mv tmp/x cur/1764000001.99_1.host,U=18:2,"), 0);
	ck_assert_view(seen(&h, m), "1:5: 2:0: 3:0:");
	ck_assert_int_eq(shell(&h, "test -f cur/1764000001.99_1.host,S=*,"
		"UID=3,U=18:2,"), 0);
	done(&h, m);
}
END_TEST

/* Differences are merged: neither side undoes what the other did. */
START_TEST(test_merge)
{
	struct home h;
	struct mailbox *m = box_of(&h, 3);
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_SEEN, "word");
	set_flags(m, h.a, 2, FLAGS_ADD, FLAG_SEEN | FLAG_DRAFT, "word");
	settle(m);
	/* not yet in the name: + flagged - seen; meanwhile outside + answered
	 * - word */
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_FLAGGED, NULL);
	set_flags(m, h.a, 1, FLAGS_REMOVE, FLAG_SEEN, NULL);
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q0.*); "
		"mv $n ${n%%:*}:2,RS"), 0);
	ck_assert_view(seen(&h, m), "1:6: 2:11:word 3:0:");
	settle(m);
	ck_assert_int_eq(shell(&h, "test -f cur/*.q0.*:2,FR"), 0);
	/* both did the same */
	set_flags(m, h.a, 3, FLAGS_ADD, FLAG_SEEN, NULL);
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q2.*); mv $n ${n}S"),
		0);
	ck_assert_view(seen(&h, m), "1:6: 2:11:word 3:1:");
	settle(m);
	ck_assert_int_eq(shell(&h, "test -f cur/*.q2.*:2,S"), 0);
	done(&h, m);
}
END_TEST

START_TEST(test_keywords_by_rename)
{
	struct home h;
	struct mailbox *m = box_of(&h, 2);
	set_flags(m, h.a, 1, FLAGS_ADD, 0, "one");
	set_flags(m, h.a, 1, FLAGS_ADD, 0, "two");
	settle(m);
	/* z is nobody's letter, and stays */
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q0.*); "
		"mv $n ${n%%:*}:2,bz; n=$(echo *.q1.*); mv $n ${n}ab"), 0);
	ck_assert_view(seen(&h, m), "1:0:two 2:0:one two");
	done(&h, m);
}
END_TEST

/* Somebody else had the file in hand when it was expunged. */
START_TEST(test_renamed_and_expunged)
{
	struct home h;
	struct mailbox *m = box_of(&h, 3);
	ck_assert_int_eq(shell(&h, "cd cur; n=$(echo *.q1.*); mv $n ${n}S"),
		0);
	struct uid_set set = set_of(h.a, 2, 2);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert_view(seen(&h, m), "1:0: 3:0:");
	settle(m);
	ck_assert_view(seen(&h, m), "1:0: 3:0:");
	ck_assert_int_eq(shell_number(&h, "ls cur | wc -l"), 2);
	done(&h, m);
}
END_TEST

/* The index knows that it was unlinked, and the disk does not: a power cut.  What
 * changed after that was put back by somebody. */
START_TEST(test_expunged_is_back)
{
	static const char all[] = "SELECT count(*) FROM dead";
	struct home h;
	struct mailbox *m = box_of(&h, 4);
	ck_assert_int_eq(shell(&h, "mkdir ../kept; ln cur/*.q[12].* ../kept"),
		0);
	struct uid_set set = set_of(h.a, 2, 3);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert_int_eq(shell_number(&h, "ls cur | wc -l"), 2);
	ck_assert_int_eq(sql_number(&h, "UPDATE dead SET path='!'||(strftime("
		"'%s')+CASE uid WHEN 2 THEN 60 ELSE -60 END) RETURNING 1"), 1);
	ck_assert_int_eq(shell(&h, "ln ../kept/* cur/"), 0);
	ck_assert_view(seen(&h, m), "1:0: 4:0: 5:0:");
	ck_assert_int_eq(shell(&h, "test -f cur/*.q2.host,S=*,UID=5:2,"), 0);
	ck_assert_int_eq(shell_number(&h, "ls cur | wc -l"), 3);
	/* known for as long as it takes */
	ck_assert_int_eq(sql_number(&h, all), 2);
	ck_assert_int_eq(sql_number(&h, "UPDATE dead SET path='!0000000001' "
		"WHERE uid=2 RETURNING 1"), 1);
	set = set_of(h.a, 1, 1);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert_int_eq(sql_number(&h, all), 2);
	done(&h, m);
}
END_TEST

/* -------------------------------------------------------------- arrivals */

START_TEST(test_arrivals)
{
	struct home h;
	struct mailbox *m = box_of(&h, 1);
	ck_assert_int_eq(shell(&h, "for i in 3 1 2; do printf 'Subject: %%s\n\n'"
		" $i > tmp/$i; mv tmp/$i new/176400000$i.x.host; done; "
		"printf 'Subject: c\n\n' > cur/0.c.host:2,FS"), 0);
	struct mailbox_news n;
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(n.arrived, 4);
	/* in the order of their names, so of time */
	ck_assert_view(rows_of(m, h.a), "1:0: 2:5: 3:0: 4:0: 5:0:");
	struct message_row row;
	ck_assert(mailbox_row(m, h.a, 3, WANT_ALL, &row));
	ck_assert_view(row.subject, "1");
	ck_assert_view(row.name, "1764000001.x.host,S=12,W=14,UID=3");
	ck_assert(row.in_new);
	ck_assert(mailbox_row(m, h.a, 2, WANT_FILE, &row));
	ck_assert(!row.in_new);
	ck_assert_view(row.info, ":2,FS");
	done(&h, m);
}
END_TEST

/* One that went wrong about its size, or is still being written. */
START_TEST(test_sizes_in_names)
{
	struct home h;
	struct mailbox *m = box_of(&h, 1);
	ck_assert_int_eq(shell(&h, "printf 'a: b\n\n' > tmp/x; "
		"touch -d yesterday tmp/x; mv tmp/x new/1.x.host,S=999999; "
		"printf 'a: b\n\n' > tmp/x; touch -d yesterday tmp/x; "
		"mv tmp/x new/2.x.host,S=1,W=1"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	ck_assert_int_eq(shell(&h, "test -f new/1.x.host,S=6,W=8,UID=2 -a "
		"-f new/2.x.host,S=6,W=8,UID=3"), 0);
	ck_assert_int_eq(shell(&h, "printf 'a: b\n' > cur/3.x.host,S=6"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	ck_assert_int_eq(shell(&h, "echo >> cur/3.x.host,S=6"), 0);
	let_time_pass(&h);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0: 4:0:");
	struct message_row row;
	ck_assert(mailbox_row(m, h.a, 4, WANT_SIZES, &row));
	ck_assert_uint_eq(row.file_size, 6);
	done(&h, m);
}
END_TEST

START_TEST(test_long_names)
{
	struct home h;
	struct mailbox *m = box_of(&h, 1);
	ck_assert_int_eq(shell(&h, "x=$(printf '%%0240d' 0); echo > new/$x; "
		"echo > cur/${x}:2,FS; x=$(printf '%%0255d' 1); echo > new/$x"),
		0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0: 4:5:");
	for (uint32_t uid = 2; uid < 5; uid++)
		set_flags(m, h.a, uid, FLAGS_REPLACE, 0x3f, "x");
	settle(m);
	ck_assert_int_eq(shell_number(&h, "ls cur/*:2,DFPRSTa | wc -l"), 3);
	ck_assert_view(seen(&h, m), "1:0: 2:3f:x 3:3f:x 4:3f:x");
	done(&h, m);
}
END_TEST

/* A UID in a name that cannot be ours is not. */
START_TEST(test_strange_uids)
{
	struct home h;
	struct mailbox *m = box_of(&h, 3);
	ck_assert_int_eq(shell(&h, "echo > cur/a,UID=2:2,; "
		"echo > cur/b,UID=4294967295:2,; echo > cur/c,UID=900000:2,; "
		"echo > cur/d,UID=0:2,"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0: 4:0: 5:0: 6:0: 7:0:");
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").uidnext, 8);
	/* from another folder, where it meant something */
	ck_assert_int_eq(shell(&h, "mv cur/*.q1.* .Sent/cur/"), 0);
	ck_assert_view(seen(&h, m), "1:0: 3:0: 4:0: 5:0: 6:0: 7:0:");
	ck_assert_uint_eq(status_of(h.s, h.a, "Sent").messages, 1);
	/* and back: it was expunged here, so it is a new one */
	ck_assert_int_eq(shell(&h, "mv .Sent/cur/* cur/"), 0);
	ck_assert_view(seen(&h, m), "1:0: 3:0: 4:0: 5:0: 6:0: 7:0: 8:0:");
	done(&h, m);
}
END_TEST

/* ------------------------------------------------------------- vanishing */

START_TEST(test_vanished_files)
{
	struct home h;
	struct mailbox *m = box_of(&h, 5);
	ck_assert_int_eq(shell(&h, "mkdir ../kept; cp -p cur/*.q1.* ../kept; "
		"rm cur/*.q1.* cur/*.q4.*"), 0);
	struct mailbox_news n;
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(uid_set_count(&n.expunged), 2);
	ck_assert_view(rows_of(m, h.a), "1:0: 3:0: 4:0:");
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").uidnext, 6);
	/* restored: never again under a UID that was expunged */
	ck_assert_int_eq(shell(&h, "cp -p ../kept/* cur/"), 0);
	ck_assert_view(seen(&h, m), "1:0: 3:0: 4:0: 6:0:");
	ck_assert_int_eq(shell(&h, "test -f cur/*.q1.host,S=*,UID=6:2,"), 0);
	done(&h, m);
}
END_TEST

/* A restore of what is there changes nothing, wherever it puts it. */
START_TEST(test_restored_over)
{
	struct home h;
	struct mailbox *m = box_of(&h, 4);
	ck_assert_int_eq(shell(&h, "cp -a cur ../kept"), 0);
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_SEEN, NULL);
	set_flags(m, h.a, 2, FLAGS_ADD, FLAG_FLAGGED, NULL);
	settle(m);
	ck_assert_int_eq(shell(&h, "cp -a ../kept/* cur/; "
		"cp -a ../kept/*.q2.* new/"), 0);
	struct str want = STR("1:1: 2:4: 3:0: 4:0:");
	ck_assert(str_eq(seen(&h, m), want));
	/* what is double goes, when nobody can be at work on it any more */
	ck_assert_int_eq(shell_number(&h, "ls cur new | grep -c UID="), 7);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 4);
	done(&h, m);
}
END_TEST

/* From a backup of the time before it had our keys; or by a program that takes
 * them off. */
START_TEST(test_keys_lost)
{
	struct home h;
	struct mailbox *m = box_of(&h, 1);
	ck_assert_int_eq(shell(&h, "printf 'a: b\n\n' > new/5.x.host; "
		"printf 'a: c\n\n' > new/6.x.host; cp -a new ../kept"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	settle(m);
	ck_assert_int_eq(shell(&h, "cp -a ../kept/*.x.host new/; "
		"cp ../kept/5.x.host cur/5.x.host:2,F"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	ck_assert_int_eq(shell(&h, "rm new/* cur/*F; cd cur; "
		"mv 6.x.host,*UID=3:2, 6.x.host:2,S"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:1:");
	ck_assert_int_eq(shell(&h, "test -f cur/6.x.host,S=6,W=8,UID=3:2,S"),
		0);
	done(&h, m);
}
END_TEST

/* The same name, but something else: a message of its own. */
START_TEST(test_same_name_other_content)
{
	struct home h;
	struct mailbox *m = box_of(&h, 2);
	ck_assert_int_eq(shell(&h, "n=$(cd cur; echo *.q0.*); "
		"printf 'Subject: other\n\n' > new/${n%%:*}; "
		"touch -d yesterday new/${n%%:*}"), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	struct message_row row;
	ck_assert(mailbox_row(m, h.a, 3, WANT_ALL, &row));
	ck_assert_view(row.subject, "OTHER");
	ck_assert(!str_eq(maildir_parse(row.name).unique,
		STR("1764000000.q0.host")));
	done(&h, m);
}
END_TEST

/* A file that one reading missed, or that somebody holds elsewhere for a
 * moment, is no loss yet. */
START_TEST(test_suspicion)
{
	struct home h;
	struct folder_row f;
	struct mailbox *m = box_of(&h, 3);
	struct message_row row;
	/* no shell: no time passes */
	ck_assert(mailbox_row(m, h.a, 2, WANT_FILE, &row));
	int dir = store_dir(h.s);
	char *old = str_cstr(h.a, str_printf(h.a, "cur/%.*s:2,",
		STR_ARG(row.name)));
	char *new = str_cstr(h.a, str_printf(h.a, "cur/%.*s:2,F",
		STR_ARG(row.name)));
	ck_assert_int_eq(renameat(dir, old, dir, "x"), 0);
	f = row_of_inbox(&h);
	ck_fine(sync_folder(h.s, h.a, f.id, &f));
	ck_assert_int_eq(renameat(dir, "x", dir, new), 0);
	ck_fine(sync_folder(h.s, h.a, f.id, &f));
	struct str rows = seen(&h, m);
	ck_assert_msg(str_eq(rows, STR("1:0: 2:4: 3:0:")) ||
		str_eq(rows, STR("1:0: 3:0: 4:4:")), "%.*s", STR_ARG(rows));
	done(&h, m);
}
END_TEST

/* Many of everything: more than one transaction of each. */
START_TEST(test_many)
{
	enum { N = 5000 };
	struct home h;
	struct mailbox_news n;
	struct mailbox *m = box_of(&h, N);
	ck_assert_int_eq(shell(&h, "cd cur; python3 -c 'import os\n"
		"for n in sorted(os.listdir(\".\"))[:3000]:\n"
		"    os.rename(n, n + \"S\")'"), 0);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(uid_set_count(&n.changed), 3000);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").unseen, N - 3000);
	ck_assert_int_eq(shell(&h, "cd cur; rm *:2,S"), 0);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(uid_set_count(&n.expunged), 3000);
	ck_assert_int_eq(shell(&h, "cd new; seq 1500 | split -l 1 -a 4 - x"),
		0);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(n.arrived, 1500);
	ck_assert_uint_eq(n.exists, N - 1500);
	ck_assert(is_quiet(&h));
	done(&h, m);
}
END_TEST

/* ------------------------------------------------------ what is not read */

/* Our own changes are no reason to read a directory, however made. */
START_TEST(test_own_changes_are_quiet)
{
	struct home h;
	struct mailbox_copied c;
	struct append *p;
	struct append_result r;
	struct append_message one = {.date = 1};
	struct mailbox *m = box_of(&h, 300);
	ck_assert(is_quiet(&h));
	deliver_many(h.s, h.a, "r", 10);
	ck_assert(is_quiet(&h));
	settle(m);
	ck_assert(is_quiet(&h));
	struct uid_set set = set_of(h.a, 1, 250);
	struct mailbox_store st = {.how = FLAGS_ADD, .flags = FLAG_SEEN,
		.unchanged_since = UINT64_MAX};
	ck_fine(mailbox_store(m, h.a, &set, &st));
	settle(m);
	ck_assert(is_quiet(&h));
	set = set_of(h.a, 10, 20);
	ck_fine(mailbox_copy(m, h.a, &set, STR("INBOX"), false, &c));
	ck_assert(is_quiet(&h));
	ck_fine(mailbox_copy(m, h.a, &set, STR("Sent"), true, &c));
	ck_assert(is_quiet(&h));
	ck_fine(append_begin(h.s, h.a, STR("INBOX"), &p));
	ck_fine(append_message(p, &one));
	ck_fine(append_end(p));
	ck_fine(append_commit(p, &r));
	ck_assert(is_quiet(&h));
	set = set_of(h.a, 100, 300);
	ck_fine(mailbox_expunge(m, h.a, &set, true));
	ck_assert(is_quiet(&h));
	mailbox_close(m);
	home_reopen(&h);
	m = open_box(h.s, h.a, "INBOX");
	ck_assert(is_quiet(&h));
	done(&h, m);
}
END_TEST

/* A change right after ours, in the same tick of the clock, is noticed. */
START_TEST(test_same_tick)
{
	struct home h;
	struct mailbox_news n;
	struct mailbox *m = box_of(&h, 1);
	char name[64];
	int dir = openat(store_dir(h.s), "new", O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "own%d", i);
		deliver_one(h.s, h.a, name);
		snprintf(name, sizeof name, "1764000000.foreign%d", i);
		int fd = openat(dir, name, O_CREAT | O_WRONLY, 0600);
		ck_assert_int_ge(fd, 0);
		close(fd);
		ck_fine(mailbox_news(m, h.a, true, &n));
		ck_assert_uint_eq(n.arrived, 2);
	}
	close(dir);
	done(&h, m);
}
END_TEST

/* Another session looks, which shows in the lock it holds; when it is done so
 * are we, and when it does not come to an end we do it. */
START_TEST(test_turn)
{
	struct home h;
	struct folder_row f;
	home_new(&h);
	int64_t inbox = row_of_inbox(&h).id;
	int turn = openat(store_dir(h.s), "new", O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(flock(turn, LOCK_EX), 0);
	ck_assert_int_eq(shell(&h, "echo a: b > new/foreign"), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct store *s = home_other(&h);
		store_patience(s, 60 * 60 * 1000);
		struct status st = sync_folder(s, h.a, inbox, &f);
		_exit(status_is_fine(st) && f.messages == 1 ? 0 : 1);
	}
	store_patience(h.s, 0);
	ck_fine(sync_folder(h.s, h.a, inbox, &f));
	ck_assert_uint_eq(f.messages, 1);
	int code;
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_int_eq(code, 0);
	close(turn);
	home_gone(&h);
}
END_TEST

/* Where the kernel has no inotify instance left, a doubt remains behind our
 * own changes, and is looked into later. */
static void
without_inotify(struct home *h)
{
	struct folder_row f;
	int taken[2000], n = 0;
	while (n < 2000 && (taken[n] = inotify_init1(IN_CLOEXEC)) >= 0)
		n++;
	int err = errno;
	if (n == 2000)
		_exit(77);
	struct store *s;
	if (!status_is_fine(store_open(h->a, str_from(h->path), &s)))
		_exit(1);
	deliver_many(s, h->a, "r", 3);
	h->s = s;
	f = row_of_inbox(h);
	if (f.unsure == 0 && can_watch())
		_exit(77); /* somebody gave one back */
	if (f.unsure == 0 || f.new_mtime != watch_time(s, "new"))
		_exit(err == EMFILE ? 2 : 3);
	/* hidden by our taking the time over */
	int fd = openat(store_dir(s), "new/foreign", O_CREAT | O_WRONLY, 0600);
	close(fd);
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT},
		{f.new_mtime / 1000000000, f.new_mtime % 1000000000}};
	utimensat(store_dir(s), "new", t, 0);
	if (status_of(s, h->a, "INBOX").messages != 4)
		_exit(4);
	let_time_pass(h);
	if (status_of(s, h->a, "INBOX").messages != 5)
		_exit(5);
	_exit(0);
}

START_TEST(test_without_inotify)
{
	struct home h;
	int code;
	home_new(&h);
	deliver_one(h.s, h.a, "q");
	looked_before(&h, 0);
	pid_t pid = fork();
	if (pid == 0)
		without_inotify(&h);
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_msg(code == 0 || WEXITSTATUS(code) == 77, "%d",
		WEXITSTATUS(code));
	home_gone(&h);
}
END_TEST

/* Times from the future, ours and the directories'. */
START_TEST(test_clock_set_back)
{
	struct home h;
	struct folder_row f;
	struct mailbox *m = box_of(&h, 2);
	ck_assert_int_eq(shell(&h, "touch -d '+10 years' cur new ."), 0);
	ck_assert_view(seen(&h, m), "1:0: 2:0:");
	ck_assert(is_quiet(&h));
	ck_assert_int_eq(shell(&h, "echo > cur/x; touch -d '+10 years' cur"),
		0);
	ck_assert_view(seen(&h, m), "1:0: 2:0: 3:0:");
	ck_fine(index_begin(h.s, h.a));
	ck_assert(folder_named(h.s, h.a, STR("INBOX"), &f));
	f.looked += 1000000000;
	f.unsure = UNSURE_CUR;
	folder_save(h.s, h.a, &f);
	ck_fine(index_commit(h.s, h.a));
	seen(&h, m);
	ck_assert(is_quiet(&h));
	done(&h, m);
}
END_TEST

/* ------------------------------------------------------------ directories */

START_TEST(test_directories_removed)
{
	struct home h;
	struct mailbox_news n;
	struct mailbox *m = box_of(&h, 3);
	ck_assert_int_eq(shell(&h, "rm -r cur new tmp"), 0);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(mailbox_count(m), 0);
	ck_assert_int_eq(shell(&h, "test -d cur -a -d new"), 0);
	struct mailbox *x = open_box(h.s, h.a, "Sent");
	ck_assert_int_eq(shell(&h, "rm -r .Sent"), 0);
	ck_fine(mailbox_news(x, h.a, true, &n));
	ck_assert(n.gone);
	mailbox_close(x);
	done(&h, m);
}
END_TEST

/* A folder moved into another account and back, or a restore of an account
 * of last week: a session sees its end or goes on, nothing else. */
START_TEST(test_maildir_replaced)
{
	struct home h;
	struct mailbox_news n;
	struct mailbox *m = box_of(&h, 3);
	ck_assert_int_eq(shell(&h, "cp -a . ../Kept"), 0);
	deliver_many(h.s, h.a, "r", 4);
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert_uint_eq(n.exists, 7);
	ck_assert_int_eq(shell(&h, "cd ..; mv Maildir Old; mv Kept Maildir"),
		0);
	/* the same folder, but older than what the client was told */
	ck_fine(mailbox_news(m, h.a, true, &n));
	ck_assert(n.gone);
	mailbox_close(m);
	m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 3);
	done(&h, m);
}
END_TEST

/* ------------------------------------------------------------------ races */

/* A foreign program that changes flags as fast as it can. */
static void
rename_for_ever(struct home *h, unsigned n)
{
	char old[64], new[64];
	int dir = openat(store_dir(h->s), "cur", O_RDONLY | O_DIRECTORY);
	signal(SIGTERM, SIG_DFL);
	for (unsigned turn = 0;; turn++) {
		for (unsigned i = 0; i < n; i++) {
			/* whatever the name is now */
			for (int k = 0; k < 4; k++) {
				snprintf(old, sizeof old, "f%u,S=1,W=2,UID=%u"
					":2,%s%s", i, i + 1, k & 1 ? "F" : "",
					k & 2 ? "S" : "");
				snprintf(new, sizeof new, "f%u,S=1,W=2,UID=%u"
					":2,%s%s", i, i + 1, k & 1 ? "" : "F",
					k & 2 ? "S" : "");
				if (renameat(dir, old, dir, new) == 0)
					break;
			}
		}
	}
}

START_TEST(test_races_cost_no_uid)
{
	enum { N = 150 };
	struct home h;
	struct mailbox_news n;
	int code;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "cd cur; for i in $(seq 0 149); do "
		"printf '\n' > f$i:2,; done"), 0);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), N);
	/* UIDs follow names; let these be their numbers */
	ck_assert_int_eq(shell(&h, "cd cur; for i in $(seq 0 149); do "
		"mv f$i,* t$i; done; for i in $(seq 0 149); do "
		"mv t$i f$i,S=1,W=2,UID=$((i + 1)):2,; done; "
		"rm ../surat/index.db*"), 0);
	mailbox_close(m);
	home_reopen(&h);
	m = open_box(h.s, h.a, "INBOX");
	uint32_t last = mailbox_last_uid(m);
	ck_assert_uint_eq(mailbox_count(m), N);
	pid_t pid = fork();
	if (pid == 0)
		rename_for_ever(&h, N);
	int64_t deadline = clock_in(3000);
	for (uint32_t turn = 0; clock_ms() < deadline; turn++) {
		struct arena *a = arena_new("turn");
		ck_fine(mailbox_news(m, a, true, &n));
		ck_assert_uint_eq(n.expunged.n, 0);
		ck_assert_uint_eq(n.arrived, 0);
		set_flags(m, a, 1 + turn % N, turn / N % 2 ? FLAGS_REMOVE
			: FLAGS_ADD, FLAG_SEEN, NULL);
		if (turn % 7 == 0)
			settle(m);
		arena_free(a);
	}
	kill(pid, SIGTERM);
	waitpid(pid, &code, 0);
	/* when it is quiet again, rows and names agree */
	ck_fine(mailbox_news(m, h.a, true, &n));
	settle(m);
	ck_fine(mailbox_news(m, h.a, true, &n));
	settle(m);
	ck_assert_uint_eq(mailbox_count(m), N);
	ck_assert_uint_eq(mailbox_last_uid(m), last);
	struct str rows = rows_of(m, h.a);
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	struct str again = rows_of(m, h.a);
	ck_assert_msg(str_eq(rows, again), "%.*s\n%.*s", STR_ARG(rows),
		STR_ARG(again));
	done(&h, m);
}
END_TEST

/* A foreign deliverer beside our own. */
static void
deliver_as_procmail(struct home *h, int n)
{
	char tmp[64], new[64];
	for (int i = 0; i < n; i++) {
		snprintf(tmp, sizeof tmp, "tmp/1764000000.p%d", i);
		snprintf(new, sizeof new, "new/1764000000.p%d", i);
		int fd = openat(store_dir(h->s), tmp, O_CREAT | O_WRONLY, 0600);
		if (fd < 0 || write(fd, "a: b\n\nc\n", 8) != 8 ||
			close(fd) != 0 || renameat(store_dir(h->s), tmp,
			store_dir(h->s), new) != 0)
			_exit(1);
	}
	_exit(0);
}

START_TEST(test_two_deliverers)
{
	enum { N = 400 };
	struct home h;
	int code;
	char name[32];
	home_new(&h);
	pid_t pid = fork();
	if (pid == 0)
		deliver_as_procmail(&h, N);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof name, "q%d", i);
		deliver_one(h.s, h.a, name);
	}
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	ck_assert_int_eq(code, 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 2 * N);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	ck_assert_uint_eq(mailbox_count(m), 2 * N);
	done(&h, m);
}
END_TEST

Suite *
suite_sync(void)
{
	return SUITE("sync", test_flags_by_rename, test_new_to_cur,
		test_rename_in_two_steps, test_other_keys_are_kept, test_merge,
		test_keywords_by_rename, test_renamed_and_expunged,
		test_expunged_is_back,
		test_arrivals, test_sizes_in_names, test_long_names,
		test_strange_uids, test_vanished_files, test_restored_over,
		test_keys_lost, test_same_name_other_content, test_suspicion, test_many,
		test_own_changes_are_quiet, test_same_tick,
		test_turn, test_without_inotify, test_clock_set_back,
		test_directories_removed, test_maildir_replaced,
		test_races_cost_no_uid, test_two_deliverers);
}
