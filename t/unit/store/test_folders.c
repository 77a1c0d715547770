/* SPDX-License-Identifier: ISC */
/* The list of folders: names, making, removing, renaming, subscriptions, and
 * directories that others made. */
#include "store_suites.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct folder *
in_list(const struct folder_list *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i].name, str_from(name)))
			return &l->v[i];
	return NULL;
}

/* "name name ...": those that exist, with ! only the name, with * also
 * subscribed, with + has children. */
static struct str
listed(struct home *h)
{
	struct folder_list l;
	struct buf *b = buf_new(h->a);
	ck_fine(folders_list(h->s, h->a, &l));
	for (size_t i = 0; i < l.n; i++)
		buf_printf(b, "%s%.*s%s%s%s", i > 0 ? " " : "",
			STR_ARG(l.v[i].name), l.v[i].id == 0 ? "!" : "",
			l.v[i].subscribed ? "*" : "",
			l.v[i].has_children ? "+" : "");
	return buf_str(b);
}

static void
create(struct home *h, const char *name)
{
	ck_fine(folders_create(h->s, h->a, str_from(name), STR("")));
}

static void
refused(struct status st, const char *why)
{
	ck_assert_int_eq(st.class, STATUS_NEVER);
	ck_assert_msg(str_eq(st.text, str_from(why)), "%.*s",
		STR_ARG(st.text));
}

/* ---------------------------------------------------------------- names */

START_TEST(test_names)
{
	static const struct {
		struct str in, out; /* empty: refused */
	} rows[] = {
		{STR_INIT("a"), STR_INIT("a")},
		{STR_INIT("iNbOx"), STR_INIT("INBOX")},
		{STR_INIT("inbox/Foo"), STR_INIT("INBOX/Foo")},
		{STR_INIT("inboxes"), STR_INIT("inboxes")},
		{STR_INIT("foo/inbox"), STR_INIT("foo/inbox")},
		{STR_INIT("U\xcc\x88"), STR_INIT("\xc3\x9c")}, /* NFC */
		{STR_INIT(".."), STR_INIT("..")},
		{STR_INIT("a.b~c"), STR_INIT("a.b~c")},
		{STR_INIT("%*"), STR_INIT("%*")},
		{STR_INIT(""), STR_INIT("")},
		{STR_INIT("/"), STR_INIT("")},
		{STR_INIT("/a"), STR_INIT("")},
		{STR_INIT("a/"), STR_INIT("")},
		{STR_INIT("a//b"), STR_INIT("")},
		{STR_INIT("a\nb"), STR_INIT("")},
		{STR_INIT("a\0b"), STR_INIT("")},
		{STR_INIT("\x7f"), STR_INIT("")},
		{STR_INIT("\xff"), STR_INIT("")},
		{STR_INIT("\xed\xa0\x80"), STR_INIT("")},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str out = {0};
		bool ok = folders_name(a, rows[i].in, &out);
		ck_assert_msg(ok == (rows[i].out.n > 0), "%s", rows[i].in.p);
		if (ok)
			ck_assert_msg(str_eq(out, rows[i].out), "%.*s",
				STR_ARG(out));
	}
	char longest[2000];
	struct str out;
	memset(longest, 'x', sizeof longest);
	ck_assert(folders_name(a, str_of(longest, 249), &out));
	ck_assert(!folders_name(a, str_of(longest, 250), &out));
	ck_assert(!folders_name(a, str_of(longest, sizeof longest), &out));
	arena_free(a);
}
END_TEST

START_TEST(test_new_account)
{
	struct home h;
	struct folder_list l;
	home_new(&h);
	ck_assert_view(listed(&h),
		"INBOX* Archive* Drafts* Junk* Sent* Trash*");
	ck_fine(folders_list(h.s, h.a, &l));
	ck_assert_view(in_list(&l, "Drafts")->special, "\\Drafts");
	ck_assert_view(in_list(&l, "Sent")->special, "\\Sent");
	ck_assert_view(in_list(&l, "Junk")->special, "\\Junk");
	ck_assert_view(in_list(&l, "Trash")->special, "\\Trash");
	ck_assert_view(in_list(&l, "Archive")->special, "\\Archive");
	for (size_t i = 0; i < l.n; i++) {
		l.v[i] = status_of(h.s, h.a, str_cstr(h.a, l.v[i].name));
		ck_assert_uint_gt(l.v[i].uidvalidity, 0);
		ck_assert_uint_eq(l.v[i].uidnext, 1);
		ck_assert_uint_gt(l.v[i].highestmodseq, 0);
		ck_assert(l.v[i].mailbox_id.n > 0);
		for (size_t k = 0; k < i; k++)
			ck_assert(l.v[k].uidvalidity != l.v[i].uidvalidity &&
				!str_eq(l.v[k].mailbox_id, l.v[i].mailbox_id));
	}
	/* as every Maildir program makes and expects it */
	ck_assert_int_eq(shell(&h, "test -d tmp -a -d new -a -d cur -a "
		"-d .Sent/tmp -a -f .Sent/maildirfolder -a "
		"\"$(stat -c %%a . .Sent cur | tr '\\n' ' ')\" = "
		"'700 700 700 '"), 0);
	ck_assert_int_eq(shell_number(&h, "find . -type f -perm /077 | "
		"wc -l"), 0);
	home_gone(&h);
}
END_TEST

/* --------------------------------------------------------------- making */

START_TEST(test_create)
{
	struct home h;
	home_new(&h);
	create(&h, "Work");
	create(&h, "Deep/er/down/");
	refused(folders_create(h.s, h.a, STR("Work"), STR("")), "the folder exists");
	refused(folders_create(h.s, h.a, STR("inbox"), STR("")), "the folder exists");
	refused(folders_create(h.s, h.a, STR("a//b"), STR("")),
		"not a folder name");
	ck_assert_view(listed(&h), "INBOX* Archive* Deep!+ Deep/er!+ "
		"Deep/er/down Drafts* Junk* Sent* Trash* Work");
	/* a name that only has children becomes a folder */
	create(&h, "Deep");
	ck_assert_uint_ne(status_of(h.s, h.a, "Deep").id, 0);
	ck_fine(folders_create(h.s, h.a, STR("Later"), STR("\\Archive")));
	struct folder_list l;
	ck_fine(folders_list(h.s, h.a, &l));
	ck_assert_view(in_list(&l, "Later")->special, "\\Archive");
	home_gone(&h);
}
END_TEST

/* One name, however it is spelled (RFC 5198). */
START_TEST(test_normal_form)
{
	struct home h;
	home_new(&h);
	create(&h, "U\xcc\x88" "ber");
	refused(folders_create(h.s, h.a, STR("\xc3\x9c" "ber"), STR("")),
		"the folder exists");
	ck_assert_uint_eq(status_of(h.s, h.a, "\xc3\x9c" "ber").id,
		status_of(h.s, h.a, "U\xcc\x88" "ber").id);
	/* and on disk too, where macOS may have made it */
	ck_assert_int_eq(shell(&h, "mkdir -p .A\xcc\x8ang/cur .A\xcc\x8ang/new"),
		0);
	ck_assert_uint_ne(status_of(h.s, h.a, "\xc3\x85ng").id, 0);
	home_gone(&h);
}
END_TEST

/* A UIDVALIDITY is never used again, however fast, whatever the clock. */
START_TEST(test_validity_grows)
{
	struct home h;
	uint32_t last = 0;
	home_new(&h);
	for (int i = 0; i < 50; i++) {
		create(&h, "x");
		uint32_t v = status_of(h.s, h.a, "x").uidvalidity;
		ck_assert_uint_gt(v, last);
		last = v;
		ck_fine(folders_delete(h.s, h.a, STR("x")));
		if (i == 25)
			ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
		if (i == 35)
			home_reopen(&h);
	}
	/* the clock was ahead and is set back; the index is lost as well */
	ck_assert_int_eq(shell(&h, "rm surat/index.db*; "
		"echo 2000000000 > surat/uidvalidity"), 0);
	create(&h, "x");
	ck_assert_uint_gt(status_of(h.s, h.a, "x").uidvalidity, 2000000000);
	/* and where even that file is lost, the folders know */
	ck_assert_int_eq(shell(&h, "rm surat/index.db* surat/uidvalidity"), 0);
	create(&h, "y");
	ck_assert_uint_gt(status_of(h.s, h.a, "y").uidvalidity,
		status_of(h.s, h.a, "x").uidvalidity);
	home_gone(&h);
}
END_TEST

START_TEST(test_delete)
{
	struct home h;
	home_new(&h);
	create(&h, "a");
	create(&h, "a/b");
	ck_fine(folders_subscribe(h.s, h.a, STR("a"), true));
	ck_fine(folders_delete(h.s, h.a, STR("a")));
	/* children and the subscription stay */
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash* a!*+ a/b");
	ck_assert(folders_delete(h.s, h.a, STR("a")).class == STATUS_NEVER);
	refused(folders_delete(h.s, h.a, STR("INBOX")),
		"INBOX cannot be deleted");
	refused(folders_delete(h.s, h.a, STR("\xff")), "no such folder");
	home_gone(&h);
}
END_TEST

START_TEST(test_delete_with_messages)
{
	struct home h;
	struct mailbox_copied copied;
	struct quota_usage u;
	home_new(&h);
	create(&h, "a");
	deliver_many(h.s, h.a, "q", 30);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	struct uid_set all = set_of(h.a, 1, 30);
	ck_fine(mailbox_copy(m, h.a, &all, STR("a"), false, &copied));
	mailbox_close(m);
	struct mailbox *gone = open_box(h.s, h.a, "a");
	ck_fine(folders_delete(h.s, h.a, STR("a")));
	ck_assert_int_eq(shell(&h, "test ! -e .a"), 0);
	ck_assert_int_eq(shell_number(&h, "find . -type f -path '*/cur/*' |"
		" wc -l"), 30);
	ck_assert_int_eq(shell_number(&h, "ls surat | grep -c deleted"), 0);
	/* a session on it is told */
	struct mailbox_news news;
	ck_fine(mailbox_news(gone, h.a, true, &news));
	ck_assert(news.gone && news.any);
	mailbox_close(gone);
	ck_fine(quota_usage(h.s, h.a, &u));
	ck_assert_uint_eq(u.messages, 30);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* --------------------------------------------------------------- rename */

START_TEST(test_rename_with_children)
{
	struct home h;
	home_new(&h);
	create(&h, "a");
	create(&h, "a/b");
	create(&h, "a/b/c");
	create(&h, "ab");
	struct folder was = status_of(h.s, h.a, "a/b");
	ck_fine(folders_rename(h.s, h.a, STR("a"), STR("x/y")));
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash* ab x!+ x/y+ x/y/b+ x/y/b/c");
	struct folder is = status_of(h.s, h.a, "x/y/b");
	ck_assert_uint_eq(is.uidvalidity, was.uidvalidity);
	ck_assert(str_eq(is.mailbox_id, was.mailbox_id));
	/* a name that has only children can be renamed too */
	ck_fine(folders_rename(h.s, h.a, STR("x"), STR("z")));
	ck_assert_uint_ne(status_of(h.s, h.a, "z/y/b/c").id, 0);
	ck_assert_int_eq(shell(&h, "test -d .z.y.b.c -a ! -e .x.y.b"), 0);
	home_gone(&h);
}
END_TEST

START_TEST(test_rename_refused)
{
	struct home h;
	char longest[240];
	home_new(&h);
	create(&h, "a");
	create(&h, "a/b");
	create(&h, "c/b");
	refused(folders_rename(h.s, h.a, STR("a"), STR("a")), "the folder exists");
	refused(folders_rename(h.s, h.a, STR("a"), STR("inbox")), "the folder exists");
	refused(folders_rename(h.s, h.a, STR("a"), STR("Sent")), "the folder exists");
	refused(folders_rename(h.s, h.a, STR("a"), STR("a/x")),
		"a folder cannot go below itself");
	refused(folders_rename(h.s, h.a, STR("nix"), STR("x")),
		"no such folder");
	refused(folders_rename(h.s, h.a, STR("a"), STR("x//y")),
		"not a folder name");
	/* a child is in the way: the parent, already moved, goes back */
	refused(folders_rename(h.s, h.a, STR("a"), STR("c")), "the folder exists");
	memset(longest, 'x', sizeof longest);
	create(&h, "a/bcdefghijklmnopq");
	refused(folders_rename(h.s, h.a, STR("a"),
		str_of(longest, sizeof longest)), "the name is too long");
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash* a+ a/b a/bcdefghijklmnopq c!+ c/b");
	ck_assert_int_eq(shell(&h, "test -d .a -a -d .a.b -a ! -e .c"), 0);
	home_gone(&h);
}
END_TEST

/* Its messages go, it and its children stay (RFC 3501 6.3.5). */
START_TEST(test_rename_inbox)
{
	struct home h;
	home_new(&h);
	create(&h, "INBOX/child");
	deliver_many(h.s, h.a, "q", 5);
	ck_fine(folders_rename(h.s, h.a, STR("inbox"), STR("old/mail")));
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").uidnext, 6);
	ck_assert_uint_eq(status_of(h.s, h.a, "old/mail").messages, 5);
	ck_assert_uint_ne(status_of(h.s, h.a, "INBOX/child").id, 0);
	refused(folders_rename(h.s, h.a, STR("INBOX"), STR("Sent")), "the folder exists");
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* A session goes on in a folder that is renamed under it. */
START_TEST(test_rename_under_a_session)
{
	struct home h;
	struct mailbox_news news;
	struct message_file f;
	home_new(&h);
	create(&h, "a");
	deliver_many(h.s, h.a, "q", 3);
	ck_fine(folders_rename(h.s, h.a, STR("INBOX"), STR("b")));
	struct store *other = home_other(&h);
	struct mailbox *m = open_box(other, h.a, "b");
	ck_fine(folders_rename(h.s, h.a, STR("b"), STR("c")));
	ck_fine(mailbox_read(m, h.a, 2, &f));
	ck_fine(mailbox_news(m, h.a, true, &news));
	ck_assert(!news.gone);
	set_flags(m, h.a, 1, FLAGS_ADD, FLAG_SEEN, NULL);
	settle(m);
	ck_assert_int_eq(shell_number(&h, "ls .c/cur/*:2,S | wc -l"), 1);
	mailbox_close(m);
	store_close(other);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* -------------------------------------------------------- subscriptions */

START_TEST(test_subscriptions)
{
	struct home h;
	home_new(&h);
	create(&h, "a");
	ck_fine(folders_subscribe(h.s, h.a, STR("a"), true));
	ck_fine(folders_subscribe(h.s, h.a, STR("a"), true));
	ck_fine(folders_subscribe(h.s, h.a, STR("nix/da"), true));
	ck_fine(folders_subscribe(h.s, h.a, STR("inbox"), false));
	ck_fine(folders_subscribe(h.s, h.a, STR("never was"), false));
	refused(folders_subscribe(h.s, h.a, STR("a\nb"), true),
		"not a folder name");
	ck_assert_view(listed(&h), "INBOX Archive* Drafts* Junk* Sent* "
		"Trash* a* nix! nix/da!*");
	ck_assert_int_eq(shell_number(&h,
		"grep -cx a surat/subscriptions"), 1);
	/* a file edited by hand: what is no name is passed over */
	ck_assert_int_eq(shell(&h, "printf 'a\\n\\n//\\n\\377\\nb\\r\\nInbox/x' "
		"> surat/subscriptions"), 0);
	ck_assert_view(listed(&h), "INBOX INBOX/x!* Archive Drafts Junk Sent "
		"Trash a*");
	home_gone(&h);
}
END_TEST

/* ------------------------------------------------------ foreign folders */

START_TEST(test_foreign_folders)
{
	struct home h;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "mkdir -p .Mutt.Sub/cur .Mutt.Sub/new "
		".Mutt.Sub/tmp .git/objects .nothing; : > .Mutt.Sub/cur/1:2,S"),
		0);
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Mutt!+ "
		"Mutt/Sub Sent* Trash*");
	ck_assert_uint_eq(status_of(h.s, h.a, "Mutt/Sub").messages, 1);
	uint32_t v = status_of(h.s, h.a, "Mutt/Sub").uidvalidity;
	/* gone, and back from a backup */
	ck_assert_int_eq(shell(&h, "cp -a .Mutt.Sub ../kept; "
		"rm -r .Mutt.Sub"), 0);
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash*");
	ck_assert_int_eq(shell(&h, "mv ../kept .Mutt.Sub"), 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "Mutt/Sub").messages, 1);
	ck_assert_uint_eq(status_of(h.s, h.a, "Mutt/Sub").uidvalidity, v);
	check_counts(h.s, h.a);
	home_gone(&h);
}
END_TEST

/* Another server's Maildir, as it was left. */
static bool
is_looked_through(struct home *h)
{
	return sql_number(h, "SELECT value FROM meta WHERE "
		"name='maildir_mtime'") == watch_time(h->s, ".");
}

/* After changes of our own the folders are not looked through, unless somebody
 * else made one before, after or in the middle of them. */
START_TEST(test_own_changes_are_known)
{
	struct home h;
	home_new(&h);
	listed(&h);
	create(&h, "a");
	create(&h, "a/b");
	ck_assert(is_looked_through(&h));
	ck_fine(folders_rename(h.s, h.a, STR("a"), STR("z")));
	ck_assert(is_looked_through(&h));
	ck_fine(folders_delete(h.s, h.a, STR("z/b")));
	ck_assert(!is_looked_through(&h));
	listed(&h);
	refused(folders_create(h.s, h.a, STR("z"), STR("")),
		"the folder exists");
	ck_assert(is_looked_through(&h));
	ck_assert_int_eq(shell(&h, "mkdir -p .m1/cur"), 0);
	create(&h, "z/c");
	ck_assert_int_eq(shell(&h, "mkdir -p .m2/cur"), 0);
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash* m1 m2 z+ z/c");
	at_next_sync(&h, "mkdir -p .m3/cur");
	create(&h, "z/d");
	ck_assert(!is_looked_through(&h));
	ck_fine(folders_rename(h.s, h.a, STR("z"), STR("y")));
	ck_assert(!is_looked_through(&h));
	ck_assert_view(listed(&h), "INBOX* Archive* Drafts* Junk* Sent* "
		"Trash* m1 m2 m3 y+ y/c y/d");
	ck_assert(is_looked_through(&h));
	home_gone(&h);
}
END_TEST

START_TEST(test_foreign_account)
{
	struct home h;
	struct folder_list l;
	home_new(&h);
	ck_assert_int_eq(shell(&h, "rm -rf ../Maildir; mkdir -p ../Maildir/cur "
		"../Maildir/new ../Maildir/tmp ../Maildir/.Sent/cur "
		"../Maildir/.Trash/cur ../Maildir/.Sent.Old/cur; "
		"echo > ../Maildir/cur/1.x.host:2,S"), 0);
	ck_assert_view(listed(&h), "INBOX* Sent*+ Sent/Old* Trash*");
	ck_fine(folders_subscribe(h.s, h.a, STR("Trash"), false));
	ck_assert_view(listed(&h), "INBOX* Sent*+ Sent/Old* Trash");
	ck_fine(folders_list(h.s, h.a, &l));
	ck_assert_view(in_list(&l, "Sent")->special, "\\Sent");
	ck_assert_view(in_list(&l, "Trash")->special, "\\Trash");
	ck_assert_uint_eq(in_list(&l, "Sent/Old")->special.n, 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").messages, 1);
	home_gone(&h);
}
END_TEST

/* A directory renamed by hand is the folder renamed: nothing is lost that
 * only the index has. */
START_TEST(test_foreign_rename)
{
	struct home h;
	home_new(&h);
	create(&h, "a");
	deliver_many(h.s, h.a, "q", 3);
	ck_fine(folders_rename(h.s, h.a, STR("INBOX"), STR("b")));
	struct mailbox *m = open_box(h.s, h.a, "b");
	set_flags(m, h.a, 2, FLAGS_ADD, FLAG_FLAGGED, "word");
	struct folder was = status_of(h.s, h.a, "b");
	ck_assert_int_eq(shell(&h, "mv .b .Other"), 0);
	struct folder is = status_of(h.s, h.a, "Other");
	ck_assert_uint_eq(is.uidvalidity, was.uidvalidity);
	ck_assert_uint_eq(is.highestmodseq, was.highestmodseq);
	ck_assert(str_eq(is.mailbox_id, was.mailbox_id));
	ck_assert_view(rows_of(m, h.a), "1:0: 2:4:word 3:0:");
	mailbox_close(m);
	home_gone(&h);
}
END_TEST

/* A copy of a directory is another folder. */
START_TEST(test_foreign_copy)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	ck_fine(folders_rename(h.s, h.a, STR("INBOX"), STR("a")));
	ck_assert_int_eq(shell(&h, "cp -a .a .b"), 0);
	struct folder x = status_of(h.s, h.a, "a"),
		      y = status_of(h.s, h.a, "b");
	ck_assert_uint_ne(x.uidvalidity, y.uidvalidity);
	ck_assert(!str_eq(x.mailbox_id, y.mailbox_id));
	ck_assert_uint_eq(y.messages, 3);
	/* also for who comes after the index was lost */
	ck_assert_int_eq(shell(&h, "rm surat/index.db*"), 0);
	ck_assert_uint_eq(status_of(h.s, h.a, "a").uidvalidity, x.uidvalidity);
	ck_assert_uint_eq(status_of(h.s, h.a, "b").uidvalidity, y.uidvalidity);
	home_gone(&h);
}
END_TEST

/* What STATUS says follows every writer at once. */
START_TEST(test_status)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 10);
	struct folder f = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(f.messages, 10);
	ck_assert_uint_eq(f.unseen, 10);
	ck_assert_uint_eq(f.recent, 10);
	ck_assert_uint_eq(f.uidnext, 11);
	struct mailbox *m = open_box(h.s, h.a, "INBOX");
	set_flags(m, h.a, 3, FLAGS_ADD, FLAG_SEEN | FLAG_DELETED, NULL);
	uint64_t before = f.highestmodseq;
	f = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(f.unseen, 9);
	ck_assert_uint_eq(f.deleted, 1);
	ck_assert_uint_eq(f.recent, 0);
	ck_assert_uint_gt(f.highestmodseq, before);
	struct uid_set all = set_of(h.a, 1, UINT32_MAX);
	ck_fine(mailbox_expunge(m, h.a, &all, false));
	before = f.size;
	f = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(f.messages, 9);
	ck_assert_uint_eq(f.deleted, 0);
	ck_assert_uint_lt(f.size, before);
	ck_assert_uint_gt(f.size, f.file_size);
	mailbox_close(m);
	ck_assert(folders_status(h.s, h.a, STR("nix"), &f).class ==
		STATUS_NEVER);
	home_gone(&h);
}
END_TEST

/* \Recent counts messages, not numbers. */
START_TEST(test_recent_after_a_gap)
{
	struct home h;
	home_new(&h);
	deliver_many(h.s, h.a, "q", 3);
	mailbox_close(open_box(h.s, h.a, "INBOX"));
	/* a start of the machine leaves a gap before the next UID */
	let_boot_pass(&h);
	ck_assert_uint_eq(status_of(h.s, h.a, "INBOX").recent, 0);
	deliver_many(h.s, h.a, "r", 2);
	struct folder f = status_of(h.s, h.a, "INBOX");
	ck_assert_uint_eq(f.recent, 2);
	ck_assert_uint_eq(f.messages, 5);
	ck_assert_uint_gt(f.uidnext, 1000);
	home_gone(&h);
}
END_TEST

/* A home reached through a symbolic link, as /home often is. */
START_TEST(test_home_behind_a_link)
{
	struct home h;
	struct store *s;
	home_new(&h);
	deliver_one(h.s, h.a, "q1");
	ck_assert_int_eq(shell(&h, "ln -s . ../link"), 0);
	ck_fine(store_open(h.a, str_printf(h.a, "%s/link", h.path), &s));
	ck_assert_uint_eq(status_of(s, h.a, "INBOX").messages, 1);
	store_close(s);
	home_gone(&h);
}
END_TEST

START_TEST(test_many_folders)
{
	struct home h;
	struct folder_list l;
	home_new(&h);
	for (unsigned i = 0; i < 500; i++)
		create(&h, str_cstr(h.a, str_printf(h.a, "f%u/%u", i % 20,
			i)));
	ck_fine(folders_list(h.s, h.a, &l));
	ck_assert_uint_eq(l.n, 6 + 20 + 500);
	for (size_t i = 1; i + 1 < l.n; i++)
		ck_assert(!str_eq(l.v[i].name, l.v[i + 1].name));
	home_gone(&h);
}
END_TEST

Suite *
suite_folders(void)
{
	return SUITE("folders", test_names, test_new_account, test_create,
		test_normal_form, test_validity_grows, test_delete,
		test_delete_with_messages, test_rename_with_children,
		test_rename_refused, test_rename_inbox,
		test_rename_under_a_session, test_subscriptions,
		test_foreign_folders, test_own_changes_are_known,
		test_foreign_account,
		test_foreign_rename, test_foreign_copy,
		test_status, test_recent_after_a_gap, test_home_behind_a_link,
		test_many_folders);
}
