/* SPDX-License-Identifier: ISC */
/*
 * Foreign changes: what mutt, mbsync, a restore or rm did to a folder.
 *
 * The directories are read without a lock and compared with the rows; what
 * differs is then looked at again, one by one, under the lock, since anybody
 * may have changed it meanwhile.  A renamed file is the same message when it
 * has the row's UID and unique part; its flags are merged as a difference
 * to those last seen.  A missing file is a suspicion until a second reading
 * of directories that stood still has not found it either: a reading that
 * races with a rename may miss both names.  A file without a row is adopted by
 * giving it a UID in its name.
 */
#include "store/index.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/notify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADOPT_BATCH = 256 };

struct entry {
	uint32_t uid;
	bool in_new;
	bool used;
	struct str file;
};

struct listing {
	struct arena *a;
	struct entry *v;
	size_t n, room;
	int64_t at_new, at_cur; /* directory times before the reading */
	/* A change may hide in the same tick. */
	bool young_new, young_cur;
};

/* What differs. */
struct difference {
	struct listing list;
	struct entry **moved; /* renamed, or seen under two names */
	size_t moved_n;
	struct uid_set missing;
	struct entry **fresh;
	size_t fresh_n;
	bool all; /* cur/ was read too */
	unsigned generation; /* of the index compared with */
};

/* -------------------------------------------------------------- reading */

static void
add_entry(struct listing *l, const char *name, bool in_new)
{
	if (l->n == l->room) {
		struct entry *old = l->v;
		l->room = l->room * 2 + 64;
		l->v = arena_array(l->a, l->room, sizeof *l->v);
		if (l->n > 0)
			memcpy(l->v, old, l->n * sizeof *l->v);
	}
	struct str file = str_copy(l->a, str_from(name));
	l->v[l->n++] = (struct entry){
		maildir_parse(file).uid, in_new, false, file};
}

static bool
read_directory(struct store *s, struct listing *l, struct str dir, bool in_new)
{
	int fd = openat(s->dir, folder_path(l->a, dir, in_new ? "new" : "cur"),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	if (d == NULL)
		return false;
	while ((e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && e->d_type != DT_DIR)
			add_entry(l, e->d_name, in_new);
	closedir(d);
	return true;
}

static int
by_uid(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return str_cmp(x->file, y->file);
}

static bool
read_folder(struct store *s, struct listing *l, struct str dir, bool all)
{
	int64_t now = clock_wall_us() * 1000;
	l->at_new = folder_mtime(s, l->a, dir, "new");
	l->at_cur = folder_mtime(s, l->a, dir, "cur");
	l->young_new = now - l->at_new < TICK_NS;
	l->young_cur = all && now - l->at_cur < TICK_NS;
	if (!read_directory(s, l, dir, true) ||
		(all && !read_directory(s, l, dir, false)))
		return false;
	if (l->n > 0)
		qsort(l->v, l->n, sizeof *l->v, by_uid);
	return true;
}

static bool
stood_still(struct store *s, const struct listing *l, struct str dir)
{
	return !l->young_new && !l->young_cur &&
		folder_mtime(s, l->a, dir, "new") == l->at_new &&
		folder_mtime(s, l->a, dir, "cur") == l->at_cur;
}

/* ------------------------------------------------------------ comparing */

static bool
is_same_message(const struct entry *e, struct str name)
{
	return str_eq(maildir_parse(e->file).unique,
		maildir_parse(name).unique);
}

static bool
is_same_place(const struct entry *e, struct str name, struct str info,
	bool in_new)
{
	return e->in_new == in_new && e->file.n == name.n + info.n &&
		str_starts(e->file, name) && str_ends(e->file, info);
}

static size_t
find_uid(const struct listing *l, uint32_t uid)
{
	size_t low = 0, high = l->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (l->v[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* One row against its entries: all with its UID, from *at on. */
static void
compare_row(struct difference *d, size_t *at, sqlite3_stmt *st)
{
	struct listing *l = &d->list;
	uint32_t uid = index_uid(index_int(st, 0));
	struct str name = index_text(st, 3), info = index_text(st, 4);
	bool in_new = index_int(st, 5) != 0, found = false;
	while (*at < l->n && l->v[*at].uid < uid)
		++*at;
	for (size_t i = *at; i < l->n && l->v[i].uid == uid; i++) {
		struct entry *e = &l->v[i];
		if (!is_same_message(e, name))
			continue;
		e->used = found = true;
		if (!is_same_place(e, name, info, in_new))
			d->moved[d->moved_n++] = e;
	}
	if (!found)
		uid_set_add(l->a, &d->missing, uid);
}

static void
compare(struct store *s, struct difference *d, int64_t folder)
{
	struct listing *l = &d->list;
	size_t at = 0;
	d->moved = arena_array(l->a, l->n + 1, sizeof *d->moved);
	d->fresh = arena_array(l->a, l->n + 1, sizeof *d->fresh);
	sqlite3_stmt *st = index_query(s,
		d->all ? Q_MESSAGE_FILES : Q_MESSAGE_FILES_NEW, "ii",
		index_key(folder, 0), index_key(folder, UINT32_MAX));
	while (index_row(s, st))
		compare_row(d, &at, st);
	/* those with a UID first and in its order, then by name, so by time */
	for (size_t i = find_uid(l, 1); i < l->n; i++)
		if (!l->v[i].used)
			d->fresh[d->fresh_n++] = &l->v[i];
	for (size_t i = 0; i < l->n && l->v[i].uid == 0; i++)
		d->fresh[d->fresh_n++] = &l->v[i];
}

/* -------------------------------------------------------------- renamed */

static bool
exists(struct store *s, const char *path)
{
	struct stat st;
	return fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *
entry_path(struct arena *a, const struct folder_row *f, const struct entry *e)
{
	return row_path(a, f, e->in_new, e->file, STR(""));
}

/* What the name said before, and says now: the difference is a change. */
static void
merge_flags(struct store *s, struct arena *a, struct folder_row *f,
	const struct entry *e, const struct file_state *row)
{
	struct words w = words_load(s, a, f->id);
	struct maildir_name now = maildir_parse(e->file);
	unsigned was_flags, is_flags;
	uint32_t was_letters, is_letters;
	maildir_flags(row->info, &was_flags, &was_letters);
	maildir_flags(now.info, &is_flags, &is_letters);
	unsigned flags = (row->flags | (is_flags & ~was_flags)) &
		~(was_flags & ~is_flags);
	struct str words = words_merge(a, &w, row->keywords,
		is_letters & ~was_letters, was_letters & ~is_letters);
	int64_t key = index_key(f->id, e->uid);
	bool owed = row_owes(flags, words_letters(&w, words), now.info,
		e->in_new);
	if (flags != row->flags || !str_eq(words, row->keywords)) {
		folder_flags(f, row->flags, flags);
		index_run(s, Q_MESSAGE_FLAGS, "iitii", key, I(flags), words,
			I(folder_modseq(f)), I(owed));
	}
	index_run(s, Q_MESSAGE_PLACE, "ittii", key, now.base, now.info,
		I(e->in_new), I(owed));
}

/* The reading may be older than what our own programs did meanwhile: the
 * row's name counts as long as there is a file of that name. */
static void
take_moved(struct store *s, struct arena *a, struct folder_row *f,
	const struct entry *e)
{
	struct arena_mark m = arena_mark(a);
	struct file_state row;
	if (row_state(s, a, f->id, e->uid, &row) &&
		is_same_message(e, row.name) &&
		!is_same_place(e, row.name, row.info, row.in_new) &&
		!exists(s, row_path(a, f, row.in_new, row.name, row.info)) &&
		exists(s, entry_path(a, f, e)))
		merge_flags(s, a, f, e, &row);
	arena_rewind(a, m);
}

/* ----------------------------------------------------------------- gone */

static bool
is_suspect(struct store *s, struct arena *a, const struct folder_row *f,
	uint32_t uid)
{
	struct arena_mark m = arena_mark(a);
	struct file_state row;
	bool suspect = row_state(s, a, f->id, uid, &row) &&
		!exists(s, row_path(a, f, row.in_new, row.name, row.info));
	arena_rewind(a, m);
	return suspect;
}

static const struct entry *
find_again(struct store *s, struct arena *a, const struct listing *l,
	const struct folder_row *f, uint32_t uid)
{
	struct file_state row;
	if (!row_state(s, a, f->id, uid, &row))
		return NULL;
	for (size_t i = find_uid(l, uid); i < l->n && l->v[i].uid == uid; i++)
		if (is_same_message(&l->v[i], row.name))
			return &l->v[i];
	return NULL;
}

/* Under the lock.  False: not certain yet, look another time. */
static bool
take_missing(struct store *s, struct arena *a, struct folder_row *f,
	const struct uid_set *missing)
{
	struct uid_set suspects = {0}, gone = {0};
	struct listing again = {.a = a};
	for (size_t i = 0; i < missing->n; i++)
		for (uint64_t u = missing->v[i].first; u <= missing->v[i].last;
			u++)
			if (is_suspect(s, a, f, (uint32_t)u))
				uid_set_add(a, &suspects, (uint32_t)u);
	if (suspects.n == 0)
		return true;
	if (!read_folder(s, &again, f->dir, true) ||
		!stood_still(s, &again, f->dir))
		return false;
	for (size_t i = 0; i < suspects.n; i++)
		for (uint64_t u = suspects.v[i].first; u <= suspects.v[i].last;
			u++) {
			const struct entry *e =
				find_again(s, a, &again, f, (uint32_t)u);
			if (e != NULL)
				take_moved(s, a, f, e);
			else
				uid_set_add(a, &gone, (uint32_t)u);
		}
	row_expunge(s, a, f, &gone, false);
	return true;
}

/* ------------------------------------------------------------- adoption */

/*
 * A UID in the name is believed when it can only be ours: promised by the
 * mark, and either never given out by this index (its rows were lost in a
 * crash) or given out by the one that was lost.
 */
static bool
is_our_uid(struct store *s, const struct folder_row *f, uint32_t uid)
{
	if (uid == 0 || uid > f->uid_mark || (uid < f->uidnext && !f->rebuild))
		return false;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_NUMBERS, "i",
		index_key(f->id, uid));
	bool taken = index_row(s, st);
	if (taken)
		index_end(st);
	st = index_query(s, Q_TOMB_HAS, "ii", f->id, I(uid));
	if (index_row(s, st)) {
		taken = true;
		index_end(st);
	}
	return !taken;
}

static bool
was_expunged(struct store *s, const struct folder_row *f, struct str unique)
{
	sqlite3_stmt *st = index_query(s, Q_DEAD_HAS, "it", f->id, unique);
	bool dead = index_row(s, st);
	if (dead)
		index_end(st);
	return dead;
}

static bool
give_name(struct store *s, const char *from, const char *to)
{
	if (strcmp(from, to) == 0)
		return true;
	if (renameat2(s->dir, from, s->dir, to, RENAME_NOREPLACE) == 0)
		return true;
	return errno == EINVAL && renameat(s->dir, from, s->dir, to) == 0;
}

/* Opens, reads and describes the file. */
static bool
describe(struct store *s, struct arena *a, const char *path,
	struct message_row *row)
{
	struct str raw;
	struct stat st;
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	if (fd < 0)
		return false;
	bool ok = fstat(fd, &st) == 0 && row_content(a, fd, &raw);
	close(fd);
	if (!ok)
		return false;
	row->date = st.st_mtim.tv_sec;
	row->saved = st.st_ctim.tv_sec;
	row_from_content(a, raw, row);
	return true;
}

struct adoption {
	struct words words;
	struct str side; /* surat-keywords */
};

static void
adopt(struct store *s, struct arena *a, struct folder_row *f,
	struct adoption *all, const struct entry *e)
{
	struct maildir_name n = maildir_parse(e->file);
	char *from = entry_path(a, f, e);
	struct message_row row = {.name = n.base, .info = n.info,
		.in_new = e->in_new};
	uint32_t letters;
	if (was_expunged(s, f, n.unique)) {
		unlinkat(s->dir, from, 0);
		return;
	}
	if (!describe(s, a, from, &row))
		return;
	bool ours = is_our_uid(s, f, e->uid);
	row.uid = ours ? e->uid : f->uidnext;
	if (row.uid == UINT32_MAX)
		return;
	maildir_flags(n.info, &row.flags, &letters);
	struct str side = ours ? words_in_file(all->side, e->uid) : STR("");
	row.keywords = words_merge(a, &all->words, side, letters, 0);
	if (!ours || n.size != row.file_size || n.wire_size != row.size)
		row.name = maildir_base(a, n.base, row.file_size, row.size,
			row.uid);
	if (!give_name(s, from, row_path(a, f, row.in_new, row.name, row.info)))
		return;
	row_insert(s, f, &row, row_owes(row.flags,
		words_letters(&all->words, row.keywords), row.info, e->in_new));
	runs_add(s, f->id, row.uid, row.uid);
	if (row.uid >= f->uidnext)
		f->uidnext = row.uid + 1;
}

static void
adopt_some(struct store *s, struct arena *a, struct folder_row *f,
	struct difference *d, size_t *done)
{
	struct arena_mark m = arena_mark(a);
	struct adoption all = {words_load(s, a, f->id),
		words_file_text(s, a, f)};
	size_t end = d->fresh_n - *done > ADOPT_BATCH
		? *done + ADOPT_BATCH : d->fresh_n;
	for (; *done < end; ++*done) {
		struct arena_mark each = arena_mark(a);
		struct entry *e = d->fresh[*done];
		struct file_state row;
		/* the row came while we were reading, or says cur/ */
		if (e->uid != 0 && row_state(s, a, f->id, e->uid, &row) &&
			is_same_message(e, row.name) &&
			!exists(s, row_path(a, f, row.in_new, row.name,
				row.info)))
			take_moved(s, a, f, e);
		else if (e->uid == 0 ||
			!row_state(s, a, f->id, e->uid, &row) ||
			!is_same_place(e, row.name, row.info, row.in_new))
			adopt(s, a, f, &all, e);
		arena_rewind(a, each);
	}
	arena_rewind(a, m);
}

/* -------------------------------------------------------------- applying */

/*
 * One transaction: everything found, of the adoptions one batch.  The times
 * of the reading are recorded with the last, so that an interrupted one
 * begins again.
 */
static struct status
apply(struct store *s, struct arena *a, struct difference *d, size_t *done,
	struct folder_row *f)
{
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (d->generation != s->ix.generation ||
		!folder_by_id(s, a, f->id, f)) {
		index_rollback(s);
		return status_later(2, 0, STR("the index was made anew"));
	}
	uint64_t before = f->modseq;
	bool certain = true;
	f->new_mtime = d->list.at_new;
	if (d->all)
		f->cur_mtime = d->list.at_cur;
	folder_touch(s, a, f);
	for (size_t i = 0; i < d->moved_n; i++)
		take_moved(s, a, f, d->moved[i]);
	if (*done == 0)
		certain = take_missing(s, a, f, &d->missing);
	adopt_some(s, a, f, d, done);
	f->unsure &= d->all ? 0 : UNSURE_CUR | UNSURE_YOUNG;
	f->unsure |= d->list.young_new ? UNSURE_NEW : 0;
	f->unsure |= d->list.young_cur ? UNSURE_YOUNG : 0;
	folder_touched(s, a, f);
	if (*done == d->fresh_n && d->all) {
		f->rebuild = false;
		index_run(s, Q_DEAD_FORGET, "i", f->id);
	}
	d->list.at_new = f->new_mtime;
	d->list.at_cur = f->cur_mtime;
	d->moved_n = 0;
	if (*done < d->fresh_n || !certain)
		f->new_mtime = f->cur_mtime = 0;
	folder_save(s, a, f);
	bool told = f->modseq != before;
	st = index_commit(s, a);
	if (told && status_is_fine(st))
		notify_send(s);
	return st;
}

/* The directories, twice if they had to be mended, and the rows. */
static struct status
read_rows(struct store *s, struct arena *a, struct folder_row *f,
	struct difference *d)
{
	if (!read_folder(s, &d->list, f->dir, d->all)) {
		d->list.n = 0;
		if (!folder_mend(s, a, f))
			return NO_FOLDER;
		if (!read_folder(s, &d->list, f->dir, d->all))
			return status_later(2, 0,
				STR("a folder cannot be read"));
	}
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	d->generation = s->ix.generation;
	compare(s, d, f->id);
	return index_commit(s, a);
}

static struct status
sync_now(struct store *s, struct arena *a, struct folder_row *f, bool all)
{
	struct arena *own = arena_new("sync");
	arena_limit(own, (size_t)4 << 30);
	struct difference d = {.list = {.a = own}, .all = all};
	size_t done = 0;
	struct status st = read_rows(s, a, f, &d);
	do {
		if (status_is_fine(st))
			st = apply(s, own, &d, &done, f);
	} while (status_is_fine(st) && done < d.fresh_n);
	if (!status_is_fine(st))
		st.text = str_copy(a, st.text);
	else if (!folder_by_id(s, a, f->id, f))
		st = NO_FOLDER;
	arena_free(own);
	return st;
}

static struct status
current(struct store *s, struct arena *a, int64_t folder, struct folder_row *f)
{
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	bool found = folder_by_id(s, a, folder, f);
	st = index_commit(s, a);
	if (status_is_fine(st) && !found)
		return NO_FOLDER;
	return st;
}

struct status
sync_whole(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f)
{
	struct status st = current(s, a, folder, f);
	return status_is_fine(st) ? sync_now(s, a, f, true) : st;
}

struct status
sync_folder(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f)
{
	struct status st = current(s, a, folder, f);
	if (!status_is_fine(st))
		return st;
	int64_t at_new = folder_mtime(s, a, f->dir, "new");
	int64_t at_cur = folder_mtime(s, a, f->dir, "cur");
	int64_t settled = clock_wall_us() * 1000 - TICK_NS;
	if (at_cur != f->cur_mtime || f->rebuild ||
		(f->unsure & UNSURE_YOUNG && at_cur < settled))
		return sync_now(s, a, f, true);
	if (at_new != f->new_mtime ||
		(f->unsure & UNSURE_NEW && at_new < settled))
		return sync_now(s, a, f, false);
	return status_fine();
}
