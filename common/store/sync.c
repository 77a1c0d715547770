/* SPDX-License-Identifier: ISC */
/*
 * Foreign changes: what mutt, mbsync, a restore or rm did to a folder.
 *
 * The directories are read without a lock (listing.h), and what differs from
 * the rows is then looked at again, one by one, under the lock, since anybody
 * may have changed it meanwhile.  A renamed file is the same message when it
 * has the row's UID and unique part; its flags are merged as a difference to
 * those last seen.  A missing file is a suspicion until a second reading of
 * directories that stood still has not found it either: a reading that races
 * with a rename may miss both names.  A file without a row is adopted by
 * giving it a UID in its name.
 */
#include "store/index.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/listing.h"
#include "store/notify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	ENTRIES_MOST = 1024, /* in one transaction */
	ADOPT_MOST = 128, /* of them new */
	ADOPT_OCTETS = 8 * 1024 * 1024, /* what is known of those */
	MISSING_MOST = 2048,
	DOUBT_S = 30, /* between two looks on suspicion */
	WRITING_S = 5, /* a file that is shorter than its name says */
	DOUBLE_S = 60, /* a second name may be a rename under way */
};

/* A file that is no row's, by a look without the lock, is described. */
struct arrival {
	const struct entry *entry;
	bool described;
	struct message_row row;
};

struct looking {
	struct store *s;
	struct arena *a; /* of the whole look */
	struct arena *batch; /* of one transaction */
	struct folder_row *f;
	struct listing list;
	struct words words;
	struct str side; /* surat-keywords */
	size_t done; /* entries */
	struct arrival *v; /* of this transaction */
	size_t n;
	bool any_dead, any_pending; /* rows of these tables */
	struct uid_set missing; /* not yet looked at */
	struct str last_unique; /* of what was adopted last */
	uint32_t last_uid;
	unsigned generation; /* of the index compared with */
	bool vanished; /* there are no directories */
	bool uncertain; /* look again, at once */
	bool doubt; /* some time later */
};

/* -------------------------------------------------------------- renamed */

static bool
is_same_message(const struct entry *e, struct str name)
{
	return str_eq(maildir_parse(e->file).unique,
		maildir_parse(name).unique);
}

static bool
is_same_place(const struct entry *e, const struct file_state *row)
{
	return e->in_new == place_in_new(row->place) &&
		e->file.n == row->name.n + row->info.n &&
		str_starts(e->file, row->name) && str_ends(e->file, row->info);
}

static bool
exists(struct store *s, const char *path)
{
	struct stat st;
	return fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static char *
state_path(struct looking *k, const struct file_state *row)
{
	return row_path(k->batch, k->f, place_in_new(row->place), row->name,
		row->info);
}

static char *
entry_path(struct looking *k, const struct entry *e)
{
	return row_path(k->batch, k->f, e->in_new, e->file, STR(""));
}

/* The row that the file is of: by its UID; or by its unique part, when its
 * keys were lost or are from a backup. */
static bool
find_row(struct looking *k, const struct entry *e, uint32_t *uid,
	struct file_state *row)
{
	struct str unique = maildir_parse(e->file).unique;
	size_t at = 0;
	*uid = e->uid;
	if (*uid != 0 && row_state(k->s, k->batch, k->f->id, *uid, row) &&
		is_same_message(e, row->name))
		return true;
	*uid = k->last_uid;
	if (str_eq(unique, k->last_unique) && unique.n > 0 &&
		row_state(k->s, k->batch, k->f->id, *uid, row))
		return true;
	while (unique.n > 0 &&
		listing_same_unique(&k->list, unique, &at, uid))
		if (row_state(k->s, k->batch, k->f->id, *uid, row) &&
			is_same_message(e, row->name))
			return true;
	return false;
}

/* The base of its name, after it was given back what it lost. */
static struct str
with_keys(struct looking *k, const struct entry *e, uint32_t uid,
	const struct file_state *row)
{
	struct maildir_name was = maildir_parse(row->name),
			    now = maildir_parse(e->file);
	if (now.uid == uid)
		return now.base;
	struct str with = was.id == 0 || now.id != 0
		? now.base : maildir_with_id(k->batch, now.base, was.id);
	struct str base = maildir_base(k->batch, with, was.size,
		was.wire_size, uid);
	char *to = row_path(k->batch, k->f, e->in_new, base, now.info);
	if (own_move(k->s, entry_path(k, e), to))
		return base;
	k->doubt = true;
	return now.base;
}

/* What the name said before, and says now: the difference is a change. */
static void
merge_flags(struct looking *k, const struct entry *e, uint32_t uid,
	const struct file_state *row)
{
	struct folder_row *f = k->f;
	struct maildir_name now = maildir_parse(e->file);
	unsigned was_flags, is_flags;
	uint32_t was_letters, is_letters;
	maildir_flags(row->info, &was_flags, &was_letters);
	maildir_flags(now.info, &is_flags, &is_letters);
	unsigned flags = (row->flags | (is_flags & ~was_flags)) &
		~(was_flags & ~is_flags);
	struct str words = words_merge(k->batch, &k->words, row->keywords,
		is_letters & ~was_letters, was_letters & ~is_letters);
	int64_t key = index_key(f->id, uid);
	enum place place = (e->in_new ? PLACE_NEW : 0) |
		row_owes(flags, words_letters(&k->words, words), now.info,
			e->in_new);
	/* a session was told of it: it is to leave new/ */
	if (e->in_new && uid < f->recent_uid)
		place |= PLACE_OWED;
	if (e->in_new && uid < f->new_from)
		f->new_from = uid;
	if (flags != row->flags || !str_eq(words, row->keywords)) {
		folder_flags(f, row->flags, flags);
		index_run(k->s, Q_MESSAGE_FLAGS, "iitii", key, I(flags), words,
			I(folder_modseq(f)), I(place));
	}
	index_run(k->s, Q_MESSAGE_PLACE, "itti", key,
		with_keys(k, e, uid, row), now.info, I(place));
}

/* -------------------------------------------------------------- doubled */

static bool
is_same_content(struct looking *k, const char *one, const char *two)
{
	struct str x, y;
	int a = openat(k->s->dir, one, O_RDONLY | O_CLOEXEC | O_NOFOLLOW),
	    b = openat(k->s->dir, two, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool same = a >= 0 && b >= 0 && row_content(k->batch, a, &x) &&
		row_content(k->batch, b, &y) && str_eq(x, y);
	if (a >= 0)
		close(a);
	if (b >= 0)
		close(b);
	return same;
}

/*
 * A second file of a message that has its own: a link while somebody renames
 * it in two steps, or the copy from a backup.  The former is gone soon; what
 * stays and is the same goes.  False: it is something else, a new message.
 */
static bool
take_double(struct looking *k, const struct entry *e,
	const struct file_state *row)
{
	const char *own = state_path(k, row), *other = entry_path(k, e);
	struct stat x, y;
	if (fstatat(k->s->dir, own, &x, AT_SYMLINK_NOFOLLOW) != 0 ||
		fstatat(k->s->dir, other, &y, AT_SYMLINK_NOFOLLOW) != 0)
		return true;
	bool link = x.st_ino == y.st_ino && x.st_dev == y.st_dev;
	if (!link && (x.st_size != y.st_size ||
		!is_same_content(k, own, other)))
		return false;
	int64_t age = clock_wall() - y.st_ctim.tv_sec;
	if (age > DOUBLE_S || age < -DOUBLE_S)
		own_unlink(k->s, other);
	else
		k->doubt = true;
	return true;
}

/* Under the lock.  True when the entry is that of a row; *namesake: it is not,
 * but it is called as the message of one. */
static bool
take_known(struct looking *k, const struct entry *e, bool *namesake)
{
	struct file_state row;
	uint32_t uid;
	*namesake = false;
	if (!find_row(k, e, &uid, &row))
		return false;
	if (is_same_place(e, &row))
		return true;
	/* The reading may be older than what our own programs did meanwhile:
	 * the row's name counts as long as there is a file of that name. */
	if (exists(k->s, state_path(k, &row))) {
		*namesake = !take_double(k, e, &row);
		return !*namesake;
	}
	if (exists(k->s, entry_path(k, e)))
		merge_flags(k, e, uid, &row);
	return true;
}

/* ----------------------------------------------------------------- gone */

static bool
is_lost(struct looking *k, uint32_t uid)
{
	struct arena_mark m = arena_mark(k->batch);
	struct file_state row;
	bool lost = row_state(k->s, k->batch, k->f->id, uid, &row) &&
		!exists(k->s, state_path(k, &row));
	arena_rewind(k->batch, m);
	return lost;
}

/* Takes some off the front of the set. */
static struct uid_set
next_missing(struct looking *k)
{
	struct uid_set *m = &k->missing, out = {0};
	for (uint32_t n = 0; m->n > 0 && n < MISSING_MOST; n++) {
		uid_set_add(k->batch, &out, m->v->first);
		if (m->v->first++ < m->v->last)
			continue;
		m->v++;
		m->n--;
	}
	return out;
}

static void
take_missing(struct looking *k)
{
	struct uid_set some = next_missing(k), gone = {0};
	for (size_t i = 0; i < some.n; i++)
		for (uint64_t u = some.v[i].first; u <= some.v[i].last; u++)
			if (is_lost(k, (uint32_t)u))
				uid_set_add(k->batch, &gone, (uint32_t)u);
	if (gone.n == 0)
		return;
	if (listing_stood_still(k->s, &k->list, k->f->dir))
		row_expunge(k->s, k->batch, k->f, &gone, EXPUNGE_REMEMBER);
	else
		k->uncertain = true;
}

/* ------------------------------------------------------------- adoption */

static bool
has_row(struct store *s, enum index_query q, int64_t folder, uint32_t uid)
{
	sqlite3_stmt *st = q == Q_MESSAGE_HAS
		? index_query(s, q, "i", index_key(folder, uid))
		: index_query(s, q, "ii", folder, I(uid));
	bool any = index_row(s, st);
	if (any)
		index_end(st);
	return any;
}

/*
 * A UID in the name is believed when it can only be ours: promised by the
 * mark, and either never given out by this index (its rows were lost in a
 * crash) or given out by the one that was lost.
 */
static bool
is_our_uid(struct store *s, const struct folder_row *f, uint32_t uid)
{
	return uid != 0 && uid <= f->uid_mark &&
		(uid >= f->uidnext || f->rebuild) &&
		!has_row(s, Q_MESSAGE_HAS, f->id, uid) &&
		(f->tombs == 0 || !has_row(s, Q_TOMB_HAS, f->id, uid));
}

static bool
was_expunged(struct looking *k, const struct entry *e)
{
	if (!k->any_dead)
		return false;
	return row_is_dead(k->s, k->f, e->uid, maildir_parse(e->file).unique,
		entry_path(k, e));
}

/* What was being put here when a program died. */
static bool
is_unfinished(struct looking *k, const struct entry *e)
{
	struct stat st;
	struct str unique = maildir_parse(e->file).unique;
	bool is = false;
	if (!k->any_pending || e->uid == 0 || has_row(k->s, Q_MESSAGE_HAS, k->f->id, e->uid))
		return false;
	sqlite3_stmt *q = index_query(k->s, Q_PENDING_HAS, "ii", k->f->id,
		I(e->uid));
	while (index_row(k->s, q)) {
		struct str prefix = index_text(q, 0);
		is |= prefix.n > 0 ? str_starts(unique, prefix)
			: fstatat(k->s->dir, entry_path(k, e), &st,
				AT_SYMLINK_NOFOLLOW) == 0 && st.st_nlink > 1;
	}
	return is;
}

/* Of a new index, whatever the name says is believed, and the rest is read when
 * somebody asks for it. */
static bool
describe_by_name(struct looking *k, struct arrival *x,
	const struct maildir_name *n)
{
	struct stat st;
	if (!k->f->rebuild || !n->has_size || !n->has_wire_size ||
		n->wire_size < n->size || n->wire_size / 2 > n->size ||
		fstatat(k->s->dir, entry_path(k, x->entry), &st,
			AT_SYMLINK_NOFOLLOW) != 0 ||
		!S_ISREG(st.st_mode) || (uint64_t)st.st_size != n->size)
		return false;
	x->row = (struct message_row){.name = n->base, .info = n->info,
		.in_new = x->entry->in_new, .date = st.st_mtim.tv_sec,
		.saved = st.st_ctim.tv_sec, .sent = st.st_mtim.tv_sec,
		.size = n->wire_size, .file_size = n->size,
		.thread = THREAD_BARE};
	return true;
}

/* Opens, reads and describes the file; without the lock. */
static bool
describe(struct looking *k, struct arrival *x)
{
	struct message_row *row = &x->row;
	struct maildir_name n = maildir_parse(x->entry->file);
	struct str raw;
	struct stat st;
	if (describe_by_name(k, x, &n))
		return true;
	int fd = openat(k->s->dir, entry_path(k, x->entry), O_RDONLY |
		O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		k->doubt |= errno != ENOENT && errno != ELOOP && errno != ENXIO;
		return false;
	}
	bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	bool short_yet = ok && n.has_size && (uint64_t)st.st_size < n.size &&
		clock_wall() - st.st_mtim.tv_sec < WRITING_S;
	bool read = ok && !short_yet && row_content(k->batch, fd, &raw);
	close(fd);
	k->doubt |= ok && !read;
	if (!read)
		return false;
	*row = (struct message_row){.name = n.base, .info = n.info,
		.in_new = x->entry->in_new, .date = st.st_mtim.tv_sec,
		.saved = st.st_ctim.tv_sec};
	row_from_content(k->batch, raw, row);
	return true;
}

/* Under the lock: the UID, the name, the row. */
static void
adopt(struct looking *k, struct arrival *x)
{
	struct folder_row *f = k->f;
	struct message_row *row = &x->row;
	struct maildir_name n = maildir_parse(x->entry->file);
	uint32_t letters;
	bool ours = is_our_uid(k->s, f, x->entry->uid);
	row->uid = ours ? x->entry->uid : f->uidnext;
	if (row->uid == UINT32_MAX)
		return;
	maildir_flags(n.info, &row->flags, &letters);
	if (ours)
		row->keywords = words_without_letters(k->batch, &k->words,
			words_in_file(k->side, row->uid));
	row->keywords = words_merge(k->batch, &k->words, row->keywords,
		letters, 0);
	if (!ours || n.size != row->file_size || n.wire_size != row->size)
		row->name = maildir_base(k->batch, row->name, row->file_size,
			row->size, row->uid);
	char *from = entry_path(k, x->entry);
	char *to = row_path(k->batch, f, row->in_new, row->name, row->info);
	if (strcmp(from, to) != 0 && !own_move(k->s, from, to)) {
		k->doubt |= errno != ENOENT;
		return;
	}
	enum place owed = row_owes(row->flags, words_letters(&k->words,
		row->keywords), row->info, row->in_new);
	if (ours)
		row_insert_again(k->s, f, row, owed);
	else
		row_insert(k->s, f, row, owed);
	k->last_unique = str_copy(k->a, maildir_parse(row->name).unique);
	k->last_uid = row->uid;
	runs_add(k->s, f, row->uid, row->uid);
	if (row->uid >= f->uidnext)
		f->uidnext = row->uid + 1;
}

static void
take_arrival(struct looking *k, struct arrival *x)
{
	bool namesake;
	if (take_known(k, x->entry, &namesake))
		return;
	if (was_expunged(k, x->entry) || is_unfinished(k, x->entry)) {
		/* as long as it is there it must be known for what it is */
		if (!own_unlink(k->s, entry_path(k, x->entry)))
			k->uncertain |= errno != ENOENT;
		return;
	}
	if (!x->described) {
		k->uncertain = true;
		return;
	}
	if (namesake)
		x->row.name = control_unique(k->s, k->batch);
	adopt(k, x);
}

/* ------------------------------------------------------------- one batch */

static bool
is_known(struct looking *k, const struct entry *e)
{
	struct file_state row;
	uint32_t uid;
	bool any = !k->list.all || k->list.known_n > 0;
	return any && find_row(k, e, &uid, &row) &&
		!exists(k->s, state_path(k, &row));
}

/* The next entries; those that are no row's are described. */
static void
gather_all(struct looking *k)
{
	struct listing *l = &k->list;
	size_t described = 0;
	while (k->done < l->n && k->n < ENTRIES_MOST &&
		described < ADOPT_MOST &&
		arena_used(k->batch) < ADOPT_OCTETS) {
		struct arrival *x = &k->v[k->n];
		x->entry = &l->v[k->done++];
		if (is_known(k, x->entry)) {
			k->n++;
		} else if (describe(k, x)) {
			x->described = true;
			described += row_is_bare(&x->row) ? 0 : 1;
			k->n++;
		}
	}
}

/* In one snapshot: each question by itself would take and leave a lock.  Not
 * fine: the index cannot be read now. */
static struct status
gather(struct looking *k)
{
	k->n = 0;
	k->v = arena_array(k->batch, ENTRIES_MOST, sizeof *k->v);
	struct status st = index_begin_read(k->s, k->a);
	if (!status_is_fine(st))
		return st;
	gather_all(k);
	return index_commit(k->s, k->a);
}

/* The times of the reading are recorded with the last batch, so that a look
 * that is interrupted begins again. */
static void
record_times(struct looking *k)
{
	struct folder_row *f = k->f;
	struct listing *l = &k->list;
	l->at_new = f->new_mtime;
	l->at_cur = f->cur_mtime;
	if (k->done < l->n || k->missing.n > 0 || k->uncertain) {
		f->new_mtime = 0;
		if (l->all)
			f->cur_mtime = 0;
		return;
	}
	if (k->doubt || l->young)
		f->unsure |= UNSURE_NEW | (l->all ? UNSURE_CUR : 0);
	f->looked = clock_wall();
	if (!l->all)
		return;
	f->rebuild = false;
	index_run(k->s, Q_DEAD_FORGET, "i", f->id);
	index_run(k->s, Q_FOLDER_PENDING, "i", f->id);
}

static struct status
begin(struct looking *k)
{
	struct status st = index_begin(k->s, k->a);
	if (!status_is_fine(st))
		return st;
	if (k->generation == k->s->ix.generation &&
		folder_by_id(k->s, k->a, k->f->id, k->f))
		return st;
	index_rollback(k->s);
	return status_later(2, 0, STR("the index was made anew"));
}

static bool
has_any(struct store *s, enum index_query q, int64_t folder)
{
	sqlite3_stmt *st = index_query(s, q, "i", folder);
	bool any = index_row(s, st);
	if (any)
		index_end(st);
	return any;
}

static struct status
apply(struct looking *k)
{
	struct folder_row *f = k->f;
	struct status st = begin(k);
	if (!status_is_fine(st))
		return st;
	uint64_t before = f->modseq;
	f->new_mtime = k->list.at_new;
	if (k->list.all) {
		f->cur_mtime = k->list.at_cur;
		f->unsure &= ~(unsigned)UNSURE_CUR;
	}
	f->unsure &= ~(unsigned)UNSURE_NEW;
	k->words = words_load(k->s, k->batch, f->id);
	k->any_dead = has_any(k->s, Q_DEAD_ANY, f->id);
	k->any_pending = has_any(k->s, Q_PENDING_ANY, f->id);
	watch_begin(k->s, k->batch, f, WATCH_BOTH);
	for (size_t i = 0; i < k->n; i++)
		take_arrival(k, &k->v[i]);
	/* one that has lost its UID looks missing until all were seen; and
	 * what we do to the directories is no sign of others */
	if (k->n == 0)
		take_missing(k);
	watch_end(k->s, f);
	record_times(k);
	folder_save(k->s, k->batch, f);
	st = index_commit(k->s, k->a);
	if (f->modseq != before && status_is_fine(st))
		notify_send(k->s);
	return st;
}

/* ------------------------------------------------------------- one look */

static struct status
read_listing(struct looking *k)
{
	struct status st = index_begin_read(k->s, k->a);
	if (!status_is_fine(st))
		return st;
	k->generation = k->s->ix.generation;
	bool ok = listing_read(k->s, &k->list, k->f);
	int err = errno;
	k->vanished = !ok && err == ENOENT;
	st = index_commit(k->s, k->a);
	return status_is_fine(st) && !ok
		? status_errno(k->a, "a folder cannot be read", err) : st;
}

static void
say_progress(struct looking *k)
{
	struct store *s = k->s;
	if (s->progress != NULL)
		s->progress(s->progress_ctx, str_cstr(k->batch, k->f->name),
			k->done, k->list.n);
}

/* As maildir(5) has it: what was left in tmp/ 36 hours ago is nobody's. */
static void
sweep_tmp(struct looking *k)
{
	enum { AGE_S = 36 * 3600 };
	int fd = openat(k->s->dir, folder_path(k->a, k->f->dir, "tmp"),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st,
			AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			clock_wall() - st.st_ctim.tv_sec > AGE_S)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
}

/* What left new/ has most likely gone to cur/; and a file that is not of
 * today may be from a backup, and its message in cur/. */
static bool
is_not_enough(const struct listing *l)
{
	enum { DAY = 86400 };
	int64_t today = clock_wall() - DAY;
	bool old = false;
	for (size_t i = 0; i < l->n && !old; i++) {
		struct str name = l->v[i].file, digits;
		uint64_t n;
		str_cut(&name, '.', &digits);
		old = l->v[i].uid == 0 && (!str_number(digits, INT64_MAX / 2, &n) ||
			(int64_t)n < today);
	}
	return !l->all && (l->missing.n > 0 || old);
}

static struct status
look(struct looking *k)
{
	struct status st = read_listing(k);
	if (status_is_fine(st) && is_not_enough(&k->list)) {
		k->list = (struct listing){.a = k->a, .all = true};
		st = read_listing(k);
	}
	if (status_is_fine(st) && k->f->rebuild)
		k->side = words_file_text(k->s, k->a, k->f);
	if (k->list.all)
		sweep_tmp(k);
	k->missing = k->list.missing;
	bool more = true;
	while (status_is_fine(st) && more) {
		k->batch = arena_new("batch");
		arena_limit(k->batch, (size_t)1 << 30);
		st = gather(k);
		if (status_is_fine(st))
			st = apply(k);
		say_progress(k);
		arena_free(k->batch);
		more = k->done < k->list.n || k->missing.n > 0;
	}
	return st;
}

static struct status
sync_now(struct store *s, struct arena *a, struct folder_row *f, bool all)
{
	struct arena *own = arena_new("sync");
	arena_limit(own, (size_t)4 << 30);
	struct looking k = {.s = s, .a = own, .f = f,
		.list = {.a = own, .all = all}};
	struct folder_row row = *f;
	k.f = &row;
	struct status st = look(&k);
	/* the whole folder may have been removed */
	if (k.vanished && status_is_fine(sync_folders(s, a)) &&
		!folder_by_id(s, a, f->id, f))
		st = NO_FOLDER;
	if (!status_is_fine(st))
		st.text = str_copy(a, st.text);
	else if (!folder_by_id(s, a, f->id, f))
		st = NO_FOLDER;
	arena_free(own);
	return st;
}

/* ------------------------------------------------------------- is it due */

enum due { DUE_NOT, DUE_NEW, DUE_ALL };

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

static enum due
due(struct store *s, struct arena *a, const struct folder_row *f)
{
	struct arena_mark m = arena_mark(a);
	int64_t at_new = watch_time(s, folder_path(a, f->dir, "new"));
	int64_t at_cur = watch_time(s, folder_path(a, f->dir, "cur"));
	int64_t since = clock_wall() - f->looked;
	bool doubt = f->unsure != 0 && (since < 0 || since > DOUBT_S);
	arena_rewind(a, m);
	if (f->rebuild || at_cur != f->cur_mtime ||
		(doubt && f->unsure & UNSURE_CUR))
		return DUE_ALL;
	return at_new != f->new_mtime || doubt ? DUE_NEW : DUE_NOT;
}

bool
sync_is_due(struct store *s, struct arena *a, const struct folder_row *f)
{
	return due(s, a, f) != DUE_NOT;
}

/* One of our own programs may be at work: then the row follows at once. */
static struct status
wait_for_writer(struct store *s, struct arena *a, struct folder_row *f,
	enum due *what)
{
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	bool found = folder_by_id(s, a, f->id, f);
	if (found)
		*what = due(s, a, f);
	index_rollback(s);
	st = index_status(s, a);
	return status_is_fine(st) && !found ? NO_FOLDER : st;
}

struct status
sync_whole(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f)
{
	struct status st = current(s, a, folder, f);
	return status_is_fine(st) ? sync_now(s, a, f, true) : st;
}

/*
 * One at a time: hundreds of sessions are woken by one renamed file.  Who holds
 * a lock on the directory new/ waits for writers and looks; the others see in
 * the row that it was done.  Where there are no such locks, or the one who has
 * it does not come to an end, everybody looks.  *turn is to be closed.
 */
static struct status
wait_for_turn(struct store *s, struct arena *a, struct folder_row *f,
	enum due *what, int *turn)
{
	int64_t deadline = clock_in(s->patience);
	*turn = openat(s->dir, folder_path(a, f->dir, "new"),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	for (unsigned n = 0; *turn >= 0 && flock(*turn, LOCK_EX | LOCK_NB) != 0 &&
		errno == EWOULDBLOCK && clock_ms() < deadline; n++) {
		index_pause(s, n + 2);
		struct status st = current(s, a, f->id, f);
		if (status_is_fine(st))
			*what = due(s, a, f);
		if (!status_is_fine(st) || *what == DUE_NOT)
			return st;
	}
	return wait_for_writer(s, a, f, what);
}

struct status
sync_folder(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f)
{
	struct status st = current(s, a, folder, f);
	if (!status_is_fine(st))
		return st;
	enum due what = due(s, a, f);
	int turn = -1;
	if (what != DUE_NOT)
		st = wait_for_turn(s, a, f, &what, &turn);
	if (status_is_fine(st) && what != DUE_NOT)
		st = sync_now(s, a, f, what == DUE_ALL);
	if (turn >= 0)
		close(turn);
	return st;
}

struct status
sync_to_read(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f)
{
	struct status st = sync_folder(s, a, folder, f), now;
	if (!status_is_later(st))
		return st;
	now = current(s, a, folder, f);
	return status_is_fine(now) && !f->rebuild ? now : st;
}

static bool
has_other_size(struct store *s, struct arena *a, const struct folder_row *f,
	const struct file_state *row)
{
	struct stat file;
	return fstatat(s->dir, row_path(a, f, place_in_new(row->place),
		row->name, row->info), &file, AT_SYMLINK_NOFOLLOW) == 0 &&
		(uint64_t)file.st_size != row->file_size;
}

static struct status
let_go(struct store *s, struct arena *a, int64_t folder, uint32_t uid,
	bool certain)
{
	struct folder_row f;
	struct file_state row;
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (folder_by_id(s, a, folder, &f) &&
		row_state(s, a, folder, uid, &row) &&
		(certain || has_other_size(s, a, &f, &row))) {
		struct uid_set one = {0};
		uid_set_add(a, &one, uid);
		row_expunge(s, a, &f, &one, 0);
		f.cur_mtime = f.new_mtime = 0;
		folder_save(s, a, &f);
	}
	st = index_commit(s, a);
	if (status_is_fine(st))
		notify_send(s);
	return st;
}

struct status
sync_changed(struct store *s, struct arena *a, int64_t folder, uint32_t uid)
{
	return let_go(s, a, folder, uid, false);
}

struct status
sync_replaced(struct store *s, struct arena *a, int64_t folder, uint32_t uid)
{
	return let_go(s, a, folder, uid, true);
}
