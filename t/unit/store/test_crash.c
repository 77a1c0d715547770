/* SPDX-License-Identifier: ISC */
/*
 * Killed at every step: each operation that changes a mailbox runs in a child
 * that is traced and killed before its first call that changes anything, then
 * before its second, and so on until it comes through.  Each time the account
 * is opened anew, and must be as if the operation had been done or not begun.
 *
 * By default at most STEPS places of each, evenly spread, beginning at another
 * each run; STEPS=0 in the environment takes all of them.
 */
#include "store_suites.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 15, MESSAGES = 6 };

/* ---------------------------------------------------------------- tracing */

/* Calls that change a file, a directory or what is on the disk; some machines
 * have only the newer of two. */
static const long changes[] = {
	SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_renameat2,
	SYS_linkat, SYS_unlinkat, SYS_mkdirat, SYS_ftruncate, SYS_truncate,
	SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_syncfs, SYS_utimensat,
	SYS_sendto,
#ifdef SYS_renameat
	SYS_renameat,
#endif
#ifdef SYS_rename
	SYS_rename, SYS_link, SYS_unlink, SYS_mkdir, SYS_rmdir,
#endif
};

static bool
is_change(const struct __ptrace_syscall_info *i)
{
	if (i->op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	if (i->entry.nr == SYS_openat)
		return (i->entry.args[2] & (O_CREAT | O_TRUNC)) != 0;
	for (size_t k = 0; k < sizeof changes / sizeof *changes; k++)
		if ((long)i->entry.nr == changes[k])
			return true;
	return false;
}

static int
wait_stop(pid_t pid)
{
	int code;
	ck_assert_int_eq(waitpid(pid, &code, 0), pid);
	return code;
}

/* Kills the child before its n-th change (from 1); how many it began.  Fewer:
 * it came through. */
static unsigned
kill_at(pid_t pid, unsigned n)
{
	struct __ptrace_syscall_info info;
	unsigned seen = 0;
	/* it stops itself when it is ready to begin */
	ck_assert(WIFSTOPPED(wait_stop(pid)));
	ptrace(PTRACE_SETOPTIONS, pid, 0,
		PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (;;) {
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		int code = wait_stop(pid);
		if (!WIFSTOPPED(code)) {
			ck_assert_msg(WIFEXITED(code) && WEXITSTATUS(code) == 0,
				"the operation failed: %x", code);
			return seen;
		}
		if (WSTOPSIG(code) != (SIGTRAP | 0x80) ||
			ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info,
				&info) <= 0 || !is_change(&info) || ++seen < n)
			continue;
		kill(pid, SIGKILL);
		while (!WIFSIGNALED(wait_stop(pid)))
			;
		return seen;
	}
}

/* ------------------------------------------------------------- the states */

struct operation {
	const char *name;
	void (*prepare)(struct home *h); /* once; may be NULL */
	/* In the child, with the store open or, when closed, without. */
	void (*run)(struct home *h);
	bool closed;
	/* done: it came through; *text says what is wrong */
	void (*check)(struct home *h, bool done);
};

/* How many messages in the folder have this text in them. */
static unsigned
copies_in(struct home *h, const char *folder, const char *text)
{
	struct mailbox *m;
	struct message_file f;
	unsigned n = 0;
	struct arena *a = arena_new("copies");
	if (!status_is_fine(mailbox_open(h->s, a, str_from(folder), true, &m)))
		return 0;
	for (uint32_t seq = 1; seq <= mailbox_count(m); seq++) {
		ck_fine(mailbox_read(m, a, mailbox_uid(m, seq), &f));
		n += str_search(f.raw, str_from(text)) < f.raw.n;
	}
	mailbox_close(m);
	arena_free(a);
	return n;
}

static unsigned
messages_in(struct home *h, const char *folder)
{
	struct folder f;
	if (!status_is_fine(folders_status(h->s, h->a, str_from(folder), &f)))
		return 0;
	return f.messages;
}

/* The first n messages of INBOX, as they were. */
static void
check_inbox(struct home *h, unsigned from, unsigned to)
{
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	for (unsigned i = from; i <= to; i++) {
		struct message_file f;
		ck_assert_uint_ne(mailbox_seq(m, i), 0);
		ck_fine(mailbox_read(m, h->a, i, &f));
		struct str text = str_printf(h->a, "this is q%u.\n", i - 1);
		ck_assert(str_ends(f.raw, text));
	}
	mailbox_close(m);
}

static unsigned
all_or_none(unsigned n, unsigned all)
{
	ck_assert_msg(n == 0 || n == all, "%u of %u", n, all);
	return n;
}

/* -------------------------------------------------------------- operations */

static void
append_some(struct home *h, const char *folder, int n, bool replace)
{
	struct append *p;
	struct append_result r;
	struct append_message one = {.flags = FLAG_SEEN, .date = 1};
	ck_fine(append_begin(h->s, h->a, str_from(folder), &p));
	if (replace)
		append_replaces(p, open_box(h->s, h->a, "INBOX"), 3);
	for (int i = 0; i < n; i++) {
		ck_fine(append_message(p, &one));
		ck_fine(append_write(p, STR("Subject: appended\r\n\r\n")));
		ck_fine(append_end(p));
	}
	ck_fine(append_commit(p, &r));
}

static void
run_append(struct home *h)
{
	append_some(h, "Drafts", 1, false);
}

static void
check_append(struct home *h, bool done)
{
	unsigned n = messages_in(h, "Drafts");
	ck_assert(n == 1 || (n == 0 && !done));
	ck_assert_uint_eq(copies_in(h, "Drafts", "appended"), n);
	check_inbox(h, 1, MESSAGES);
}

static void
run_append_many(struct home *h)
{
	append_some(h, "Drafts", 4, false);
}

static void
check_append_many(struct home *h, bool done)
{
	unsigned n = all_or_none(messages_in(h, "Drafts"), 4);
	ck_assert(n == 4 || !done);
	check_inbox(h, 1, MESSAGES);
}

static void
run_replace(struct home *h)
{
	append_some(h, "Drafts", 1, true);
}

static void
run_replace_here(struct home *h)
{
	append_some(h, "INBOX", 1, true);
}

/* The old one or the new one, whole, and nothing else. */
static void
check_replaced(struct home *h, const char *folder, bool done)
{
	unsigned n = copies_in(h, folder, "appended");
	ck_assert(n == 1 || (n == 0 && !done));
	ck_assert_uint_eq(copies_in(h, "INBOX", "this is q2."), 1 - n);
	ck_assert_uint_eq(messages_in(h, "INBOX") + messages_in(h, "Drafts"),
		MESSAGES);
	check_inbox(h, 1, 2);
	check_inbox(h, 4, MESSAGES);
}

static void
check_replace(struct home *h, bool done)
{
	check_replaced(h, "Drafts", done);
}

static void
check_replace_here(struct home *h, bool done)
{
	check_replaced(h, "INBOX", done);
}

static void
copy_some(struct home *h, bool move)
{
	struct mailbox_copied c;
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct uid_set set = set_of(h->a, 2, 4);
	ck_fine(mailbox_copy(m, h->a, &set, STR("Archive"), move, &c));
}

static void
run_copy(struct home *h)
{
	copy_some(h, false);
}

/* Files of somebody else. */
static void
run_copy_foreign(struct home *h)
{
	links_fail(EPERM, "tmp/");
	copy_some(h, false);
}

/* A file system without links. */
static void
run_copy_octets(struct home *h)
{
	links_fail(EPERM, NULL);
	copy_some(h, false);
}

static void
check_copy(struct home *h, bool done)
{
	unsigned n = all_or_none(messages_in(h, "Archive"), 3);
	ck_assert(n == 3 || !done);
	check_inbox(h, 1, MESSAGES);
}

static void
run_move(struct home *h)
{
	copy_some(h, true);
}

static void
run_move_foreign(struct home *h)
{
	links_fail(EPERM, "tmp/");
	copy_some(h, true);
}

static void
check_move(struct home *h, bool done)
{
	unsigned n = all_or_none(messages_in(h, "Archive"), 3);
	ck_assert(n == 3 || !done);
	ck_assert_uint_eq(messages_in(h, "INBOX"), MESSAGES - n);
	check_inbox(h, 1, 1);
	check_inbox(h, 5, MESSAGES);
	for (int i = 1; i < 4; i++) {
		char *text = str_cstr(h->a, str_printf(h->a, "is q%d.", i));
		ck_assert_uint_eq(copies_in(h, "INBOX", text) +
			copies_in(h, "Archive", text), 1);
	}
}

static void
run_expunge(struct home *h)
{
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct uid_set set = set_of(h->a, 2, 4);
	ck_fine(mailbox_expunge(m, h->a, &set, true));
}

static void
check_expunge(struct home *h, bool done)
{
	unsigned n = all_or_none(MESSAGES - messages_in(h, "INBOX"), 3);
	ck_assert(n == 3 || !done);
	check_inbox(h, 1, 1);
	check_inbox(h, 5, MESSAGES);
}

static void
prepare_tree(struct home *h)
{
	struct mailbox_copied c;
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct uid_set set = set_of(h->a, 1, 2);
	ck_fine(folders_create(h->s, h->a, STR("a"), STR("")));
	ck_fine(folders_create(h->s, h->a, STR("a/b"), STR("")));
	ck_fine(folders_create(h->s, h->a, STR("a/c"), STR("")));
	ck_fine(mailbox_copy(m, h->a, &set, STR("a"), false, &c));
	ck_fine(mailbox_copy(m, h->a, &set, STR("a/b"), false, &c));
	mailbox_close(m);
}

static void
run_rename(struct home *h)
{
	ck_fine(folders_rename(h->s, h->a, STR("a"), STR("x")));
}

static void
check_rename(struct home *h, bool done)
{
	static const char *const names[][2] = {{"a", "x"}, {"a/b", "x/b"},
		{"a/c", "x/c"}};
	unsigned moved = 0;
	for (int i = 0; i < 3; i++) {
		struct folder f;
		bool old = status_is_fine(folders_status(h->s, h->a,
			str_from(names[i][0]), &f));
		bool new = status_is_fine(folders_status(h->s, h->a,
			str_from(names[i][1]), &f));
		ck_assert(old != new);
		ck_assert_uint_eq(f.messages, i < 2 ? 2 : 0);
		moved += new;
	}
	all_or_none(moved, 3);
	ck_assert(moved == 3 || !done);
	check_inbox(h, 1, MESSAGES);
}

static void
run_rename_inbox(struct home *h)
{
	ck_fine(folders_rename(h->s, h->a, STR("INBOX"), STR("x")));
}

static void
check_rename_inbox(struct home *h, bool done)
{
	unsigned n = all_or_none(messages_in(h, "x"), MESSAGES);
	ck_assert(n == MESSAGES || !done);
	ck_assert_uint_eq(messages_in(h, "INBOX"), MESSAGES - n);
}

static void
run_create(struct home *h)
{
	ck_fine(folders_create(h->s, h->a, STR("x"), STR("\\Archive")));
}

static void
check_create(struct home *h, bool done)
{
	struct status st = folders_create(h->s, h->a, STR("x"), STR(""));
	ck_assert(status_is_fine(st) || st.class == STATUS_NEVER);
	ck_assert(!done || st.class == STATUS_NEVER);
	ck_fine(folders_delete(h->s, h->a, STR("x")));
	check_inbox(h, 1, MESSAGES);
}

static void
run_delete(struct home *h)
{
	ck_fine(folders_delete(h->s, h->a, STR("a")));
}

static void
check_delete(struct home *h, bool done)
{
	struct folder f;
	struct status st = folders_status(h->s, h->a, STR("a"), &f);
	ck_assert(!done || st.class == STATUS_NEVER);
	if (status_is_fine(st)) {
		ck_assert_uint_eq(f.messages, 2);
		ck_fine(folders_delete(h->s, h->a, STR("a")));
	}
	ck_assert_uint_eq(messages_in(h, "a/b"), 2);
	ck_assert_int_eq(shell_number(h, "ls surat | grep -c deleted"), 0);
}

static void
run_deliver(struct home *h)
{
	deliver_many(h->s, h->a, "new", 3);
}

/* Whoever does not know what became of it does it again. */
static void
check_deliver(struct home *h, bool done)
{
	unsigned n = messages_in(h, "INBOX");
	ck_assert(n == MESSAGES + 3 || !done);
	deliver_again(h->s, h->a, "new", 3);
	ck_assert_uint_eq(messages_in(h, "INBOX"), MESSAGES + 3);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(copies_in(h, "INBOX", str_cstr(h->a,
			str_printf(h->a, "is new%d.", i))), 1);
	check_inbox(h, 1, MESSAGES);
}

/* The marks are reached: a file is written before anybody sees a UID. */
static void
prepare_marks(struct home *h)
{
	struct folder_row f;
	ck_fine(index_begin(h->s, h->a));
	ck_assert(folder_named(h->s, h->a, STR("INBOX"), &f));
	f.uid_mark = f.uidnext - 1;
	f.modseq_mark = f.modseq;
	folder_save(h->s, h->a, &f);
	ck_assert(control_write(h->s, h->a, &f, false));
	ck_fine(index_commit(h->s, h->a));
}

static void
prepare_flags(struct home *h)
{
	char word[16];
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	settle(m);
	for (int i = 0; i < 30; i++) {
		snprintf(word, sizeof word, "w%02d", i);
		set_flags(m, h->a, 6, FLAGS_ADD, 0, word);
	}
	settle(m);
	for (uint32_t uid = 1; uid < 4; uid++)
		set_flags(m, h->a, uid, FLAGS_ADD, FLAG_FLAGGED, "w29");
	/* without the settling of mailbox_close */
	m->read_only = true;
	mailbox_close(m);
}

static void
run_flags(struct home *h)
{
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	set_flags(m, h->a, 5, FLAGS_ADD, FLAG_SEEN, "other");
	settle(m);
}

static void
check_flags(struct home *h, bool done)
{
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct str rows = rows_of(m, h->a);
	ck_assert(str_starts(rows, STR("1:4:w29 2:4:w29 3:4:w29 4:0: 5:")));
	bool set = str_search(rows, STR(" 5:1:other ")) < rows.n;
	ck_assert(set || !done);
	ck_assert(set || str_search(rows, STR(" 5:0: ")) < rows.n);
	settle(m);
	mailbox_close(m);
	/* and when the index is lost then: what the names say */
	ck_assert_int_eq(shell(h, "rm surat/index.db*"), 0);
	m = open_box(h->s, h->a, "INBOX");
	struct str again = rows_of(m, h->a);
	ck_assert_msg(str_eq(rows, again), "%.*s\n%.*s", STR_ARG(rows),
		STR_ARG(again));
	mailbox_close(m);
}

static void
prepare_rebuild(struct home *h)
{
	prepare_flags(h);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	settle(m);
	mailbox_close(m);
	ck_assert_int_eq(shell(h, "printf 'Subject: foreign\n\n' > new/1.x; "
		"printf 'Subject: foreign\n\n' > cur/2.x:2,S; "
		"rm surat/index.db*"), 0);
}

static void
run_open(struct home *h)
{
	struct folder f;
	ck_fine(store_open(h->a, str_from(h->path), &h->s));
	ck_fine(folders_status(h->s, h->a, STR("INBOX"), &f));
	ck_fine(folders_status(h->s, h->a, STR("Archive"), &f));
}

static void
check_rebuild(struct home *h, bool done)
{
	(void)done;
	check_inbox(h, 1, MESSAGES);
	ck_assert_uint_eq(messages_in(h, "INBOX"), MESSAGES + 2);
	ck_assert_uint_eq(copies_in(h, "INBOX", "foreign"), 2);
	struct mailbox *m = open_box(h->s, h->a, "INBOX");
	struct str rows = rows_of(m, h->a);
	ck_assert_msg(str_starts(rows, STR("1:4:w29 2:4:w29 3:4:w29 4:0: 5:0: "
		"6:0:w00 w01 ")), "%.*s", STR_ARG(rows));
	mailbox_close(m);
}

static const struct operation operations[] = {
	{"append", NULL, run_append, false, check_append},
	{"append-many", NULL, run_append_many, false, check_append_many},
	{"replace", NULL, run_replace, false, check_replace},
	{"replace-here", NULL, run_replace_here, false, check_replace_here},
	{"copy", NULL, run_copy, false, check_copy},
	{"copy-foreign", NULL, run_copy_foreign, false, check_copy},
	{"copy-octets", NULL, run_copy_octets, false, check_copy},
	{"move", NULL, run_move, false, check_move},
	{"move-foreign", NULL, run_move_foreign, false, check_move},
	{"expunge", NULL, run_expunge, false, check_expunge},
	{"rename", prepare_tree, run_rename, false, check_rename},
	{"rename-inbox", NULL, run_rename_inbox, false, check_rename_inbox},
	{"create", NULL, run_create, false, check_create},
	{"delete", prepare_tree, run_delete, false, check_delete},
	{"deliver", NULL, run_deliver, false, check_deliver},
	{"marks", prepare_marks, run_deliver, false, check_deliver},
	{"flags", prepare_flags, run_flags, false, check_flags},
	{"rebuild", prepare_rebuild, run_open, true, check_rebuild},
};

enum { OPERATIONS = sizeof operations / sizeof *operations };

/* ------------------------------------------------------------------ sweep */

/* Before anything happens to it. */
struct before {
	struct folder_list list;
};

static void
list_whole(struct home *h, struct folder_list *l)
{
	ck_fine(folders_list(h->s, h->a, l));
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].id != 0)
			l->v[i] = status_of(h->s, h->a,
				str_cstr(h->a, l->v[i].name));
}

static void
check_folders(struct home *h, const struct before *b)
{
	struct folder_list l;
	ck_fine(folders_list(h->s, h->a, &l));
	for (size_t i = 0; i < b->list.n; i++)
		for (size_t k = 0; k < l.n; k++) {
			const struct folder *was = &b->list.v[i];
			if (was->id == 0 || !str_eq(was->mailbox_id,
				l.v[k].mailbox_id))
				continue;
			struct folder is = status_of(h->s, h->a,
				str_cstr(h->a, l.v[k].name));
			ck_assert_uint_eq(is.uidvalidity, was->uidvalidity);
			ck_assert_uint_ge(is.uidnext, was->uidnext);
			ck_assert_uint_ge(is.highestmodseq,
				was->highestmodseq);
		}
}

/* Files and rows agree, now and when names were settled. */
static void
check_files(struct home *h)
{
	struct folder_list l;
	unsigned rows = 0;
	ck_fine(folders_list(h->s, h->a, &l));
	for (size_t i = 0; i < l.n; i++) {
		if (l.v[i].id == 0)
			continue;
		struct mailbox *m;
		ck_fine(mailbox_open(h->s, h->a, l.v[i].name, false, &m));
		settle(m);
		rows += mailbox_count(m);
		mailbox_close(m);
	}
	ck_assert_int_eq(shell_number(h, "find . -path ./surat -prune -o "
		"-type f \\( -path '*/cur/*' -o -path '*/new/*' \\) -print | "
		"wc -l"), (long)rows);
	check_counts(h->s, h->a);
}

static void
run_child(struct home *h, const struct operation *o)
{
	h->s = NULL;
	if (!o->closed)
		ck_fine(store_open(h->a, str_from(h->path), &h->s));
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	o->run(h);
	_exit(0);
}

/* Said when a check fails. */
static struct {
	const char *name;
	unsigned n;
} where;

static void
say_where(void)
{
	if (where.name != NULL)
		fprintf(stderr, "%s, killed at %u\n", where.name, where.n);
}

/* One place; how many changes were begun. */
static unsigned
try_at(const struct operation *o, const char *template, unsigned n,
	const struct before *b)
{
	struct home h = {.a = arena_new("try")};
	arena_limit(h.a, (size_t)1 << 30);
	snprintf(h.path, sizeof h.path, "%s.%u", template, n);
	ck_assert_int_eq(system(str_cstr(h.a, str_printf(h.a,
		"cp -a %s %s", template, h.path))), 0);
	where.name = o->name;
	where.n = n;
	pid_t pid = fork();
	if (pid == 0)
		run_child(&h, o);
	unsigned seen = kill_at(pid, n);
	ck_fine(store_open(h.a, str_from(h.path), &h.s));
	o->check(&h, seen < n);
	check_folders(&h, b);
	check_files(&h);
	where.name = NULL;
	home_gone(&h);
	return seen;
}

START_TEST(test_killed_at_every_step)
{
	const struct operation *o = &operations[_i];
	const char *steps = getenv("STEPS");
	unsigned most = steps != NULL ? (unsigned)atoi(steps) : STEPS;
	struct home h;
	struct before b = {0};
	atexit(say_where);
	home_new(&h);
	deliver_many(h.s, h.a, "q", MESSAGES);
	mailbox_close(open_box(h.s, h.a, "INBOX"));
	if (o->prepare != NULL)
		o->prepare(&h);
	if (!o->closed)
		list_whole(&h, &b.list);
	store_close(h.s);
	unsigned all = try_at(o, h.path, UINT32_MAX, &b);
	ck_assert_uint_gt(all, 3);
	unsigned step = most == 0 ? 1 : all / most + 1;
	for (unsigned n = 1 + (unsigned)clock_us() % step; n <= all; n += step)
		try_at(o, h.path, n, &b);
	h.s = NULL;
	home_gone(&h);
	if (steps != NULL)
		printf("%s: %u places, every %u\n", o->name, all, step);
}
END_TEST

Suite *
suite_crash(void)
{
	Suite *s = suite_create("crash");
	TCase *c = tcase_create("crash");
	tcase_set_timeout(c, 600);
	tcase_add_loop_test(c, test_killed_at_every_step, 0, OPERATIONS);
	suite_add_tcase(s, c);
	return s;
}
