/* SPDX-License-Identifier: ISC */
/*
 * RENAME: a folder with all below it.  RFC 3501 6.3.5.
 *
 * Every folder is a directory of its own, so there are several renames, of
 * which a crash may leave some undone.  What is intended is noted first, in a
 * transaction of its own; the one that changes the rows takes the note off.
 * Whoever finds a note and a directory that was renamed already goes on with
 * it; a note alone is of no effect.
 */
#include "store/folders.h"
#include "store/index.h"
#include "store/notify.h"

#include <errno.h>
#include <stdio.h>

struct renaming {
	struct store *s;
	struct arena *a;
	struct str from, to;
	struct folder_row *v; /* all there are */
	size_t n;
};

static bool
is_meant(const struct renaming *r, const struct folder_row *f)
{
	return str_eq(f->name, r->from) || folder_is_below(f->name, r->from);
}

static struct str
new_name(const struct renaming *r, const struct folder_row *f)
{
	return str_printf(r->a, "%.*s%.*s", STR_ARG(r->to),
		STR_ARG(str_skip(f->name, r->from.n)));
}

/* -------------------------------------------------------------- renaming */

/* One folder to its new name; false with errno. */
static bool
rename_one(struct renaming *r, const struct folder_row *f)
{
	struct str name = new_name(r, f), dir;
	struct folder_row there;
	if (name.n > FOLDERS_NAME_MOST || !maildir_dir(r->a, name, &dir)) {
		errno = ENAMETOOLONG;
		return false;
	}
	if (folder_named(r->s, r->a, name, &there)) {
		errno = EEXIST;
		return false;
	}
	index_run(r->s, Q_FOLDER_MOVE, "itt", f->id, name, dir);
	return own_move(r->s, str_cstr(r->a, f->dir), str_cstr(r->a, dir));
}

/* Directories renamed before the failure go back. */
static void
rename_back(struct renaming *r, size_t n)
{
	for (size_t i = n; i-- > 0;) {
		struct str dir;
		if (is_meant(r, &r->v[i]) &&
			maildir_dir(r->a, new_name(r, &r->v[i]), &dir))
			own_move(r->s, str_cstr(r->a, dir),
				str_cstr(r->a, r->v[i].dir));
	}
}

static struct status
why_not(struct renaming *r, int err)
{
	if (err == EEXIST)
		return FOLDER_EXISTS;
	if (err == ENAMETOOLONG)
		return status_never(1, 3, STR("the name is too long"));
	return status_errno(r->a, "rename", err);
}

/* Within the transaction. */
static struct status
rename_all(struct renaming *r)
{
	size_t i = 0, moved = 0;
	bool ok = true;
	r->v = folder_rows(r->s, r->a, &r->n);
	watch_top(r->s);
	for (; i < r->n && ok; i++) {
		if (!is_meant(r, &r->v[i]))
			continue;
		ok = rename_one(r, &r->v[i]);
		moved += ok;
	}
	int err = errno;
	watch_top_end(r->s);
	index_run(r->s, Q_RENAME_DROP, "");
	struct status st = status_fine();
	if (ok && moved > 0)
		st = index_commit(r->s, r->a);
	else
		index_rollback(r->s);
	if (!ok || !status_is_fine(st))
		rename_back(r, ok ? i : i - 1);
	if (!ok)
		return why_not(r, err);
	return moved == 0 ? NO_FOLDER : st;
}

/* Was one of the directories renamed already? */
static bool
has_begun(struct renaming *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct str dir;
		if (is_meant(r, &r->v[i]) &&
			!folder_is_there(r->s, r->a, r->v[i].dir) &&
			maildir_dir(r->a, new_name(r, &r->v[i]), &dir) &&
			folder_is_there(r->s, r->a, dir))
			return true;
	}
	return false;
}

/* What was rolled back is not intended any more.  A directory that could not
 * be renamed back would be without the others: then all follow it. */
static void
forget(struct renaming *r)
{
	if (has_begun(r) || !status_is_fine(index_begin(r->s, r->a)))
		return;
	index_run(r->s, Q_RENAME_DROP, "");
	index_commit(r->s, r->a);
}

static struct status
note_and_rename(struct renaming *r)
{
	struct status st = index_begin(r->s, r->a);
	if (!status_is_fine(st))
		return st;
	index_run(r->s, Q_RENAME_NOTE, "tt", r->from, r->to);
	st = index_commit(r->s, r->a);
	if (status_is_fine(st))
		st = index_begin(r->s, r->a);
	if (!status_is_fine(st))
		return st;
	st = rename_all(r);
	if (!status_is_fine(st))
		forget(r);
	return st;
}

/* ---------------------------------------------------------------- resuming */

static void
resume(struct renaming *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct str name, dir;
		struct folder_row there;
		if (!is_meant(r, &r->v[i]))
			continue;
		name = new_name(r, &r->v[i]);
		if (folder_named(r->s, r->a, name, &there) ||
			!maildir_dir(r->a, name, &dir))
			continue;
		own_move(r->s, str_cstr(r->a, r->v[i].dir),
			str_cstr(r->a, dir));
		if (folder_is_there(r->s, r->a, dir))
			index_run(r->s, Q_FOLDER_MOVE, "itt", r->v[i].id, name,
				dir);
	}
}

void
folder_finish_rename(struct store *s, struct arena *a)
{
	struct renaming r = {.s = s, .a = a};
	sqlite3_stmt *st = index_query(s, Q_RENAME_NOTED, "");
	if (!index_row(s, st))
		return;
	r.from = str_copy(a, index_text(st, 0));
	r.to = str_copy(a, index_text(st, 1));
	index_end(st);
	r.v = folder_rows(s, a, &r.n);
	if (has_begun(&r))
		resume(&r);
	index_run(s, Q_RENAME_DROP, "");
}

/* ------------------------------------------------------------- the command */

static struct status
move_all(struct store *s, struct arena *a, struct str to)
{
	struct mailbox *m;
	struct mailbox_copied copied;
	struct status st = mailbox_open(s, a, STR("INBOX"), false, &m);
	if (!status_is_fine(st))
		return st;
	struct uid_range all = {1, UINT32_MAX};
	struct uid_set uids = {&all, 1};
	st = mailbox_copy(m, a, &uids, to, true, &copied);
	mailbox_close(m);
	return st;
}

/* Renaming INBOX moves its messages.  When they cannot be moved the new folder
 * goes, or the command could not be given again. */
static struct status
rename_inbox(struct store *s, struct arena *a, struct str to)
{
	struct folder f;
	struct status st = folders_create(s, a, to, STR(""));
	if (!status_is_fine(st))
		return st;
	st = move_all(s, a, to);
	if (!status_is_fine(st) &&
		status_is_fine(folders_status(s, a, to, &f)) &&
		f.messages == 0)
		folders_delete(s, a, to);
	return st;
}

struct status
folders_rename(struct store *s, struct arena *a, struct str from, struct str to)
{
	struct renaming r = {.s = s, .a = a};
	if (!folders_name(a, from, &r.from))
		return NO_FOLDER;
	if (to.n > 0 && to.p[to.n - 1] == FOLDERS_SEPARATOR)
		to.n--;
	if (!folders_name(a, to, &r.to))
		return BAD_FOLDER_NAME;
	if (str_eq(r.to, r.from) || str_eq(r.to, STR("INBOX")))
		return FOLDER_EXISTS;
	if (str_eq(r.from, STR("INBOX")))
		return rename_inbox(s, a, r.to);
	if (folder_is_below(r.to, r.from))
		return status_never(1, 3,
			STR("a folder cannot go below itself"));
	struct status st = note_and_rename(&r);
	if (status_is_fine(st))
		notify_send(s);
	return st;
}
