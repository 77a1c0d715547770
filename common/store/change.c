/* SPDX-License-Identifier: ISC */
/*
 * Flags, expunging, and letting the Maildir follow: the index first, files
 * afterwards, in batches under the lock.  RFC 3501 6.4.3, 6.4.6; RFC 7162
 * 3.1.3 (UNCHANGEDSINCE).
 */
#include "base/clock.h"
#include "store/index.h"
#include "store/notify.h"

#include <errno.h>
#include <stdio.h>

/* Tries on a full disk: with what is kept for it, with what can be folded
 * up. */
enum { RELIEFS = 2 };

/* ---------------------------------------------------------------- flags */

struct flag_work {
	struct store *s;
	const struct mailbox *m;
	struct arena *a; /* for results */
	struct arena *row; /* for one row */
	struct folder_row *f;
	struct mailbox_store *how;
	struct words words;
	struct str_list given; /* spelled as the folder does */
	bool untold; /* a row has others' changes too */
	struct status refused; /* too many words */
};

static unsigned
change_flags(const struct mailbox_store *how, unsigned flags)
{
	if (how->how == FLAGS_ADD)
		return flags | how->flags;
	if (how->how == FLAGS_REMOVE)
		return flags & ~how->flags;
	return how->flags;
}

static bool
list_has(const struct str_list *l, struct str word)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], word))
			return true;
	return false;
}

static struct str
change_words(struct flag_work *w, struct str text)
{
	enum flag_change how = w->how->how;
	if (how == FLAGS_REPLACE)
		return words_join(w->row, w->given);
	if (w->given.n == 0 || (text.n == 0 && how == FLAGS_REMOVE))
		return text;
	struct str_list had = words_split(w->row, text), out = {0};
	out.v = arena_array(w->row, had.n + w->given.n, sizeof *out.v);
	for (size_t i = 0; i < had.n; i++)
		if (how == FLAGS_ADD || !list_has(&w->given, had.v[i]))
			out.v[out.n++] = had.v[i];
	for (size_t i = 0; i < w->given.n && how == FLAGS_ADD; i++)
		out.v[out.n++] = w->given.v[i];
	return words_join(w->row, out);
}

static void
change_row(struct flag_work *w, sqlite3_stmt *st)
{
	int64_t key = index_int(st, 0);
	unsigned before = (unsigned)index_int(st, 1);
	struct str text = index_text(st, 2);
	uint64_t modseq = (uint64_t)index_int(st, 3);
	w->how->met++;
	if (modseq > w->how->unchanged_since) {
		uid_set_add(w->a, &w->how->modified, index_uid(key));
		return;
	}
	unsigned after = change_flags(w->how, before);
	struct str words = change_words(w, text);
	bool same_words = str_eq(words, text);
	if (after == before && same_words)
		return;
	if (!same_words && words.n > text.n && status_is_fine(w->refused))
		w->refused = words_fit(words);
	if (!same_words && (words_beyond(&w->words, text) ||
		words_beyond(&w->words, words)))
		w->f->words_owed = true;
	w->untold |= modseq > w->m->told && !mailbox_is_own(w->m, modseq);
	enum place place = (enum place)index_int(st, 5) & PLACE_NEW;
	place |= row_owes(after, words_letters(&w->words, words),
		index_text(st, 4), place_in_new(place));
	folder_flags(w->f, before, after);
	index_run(w->s, Q_MESSAGE_FLAGS, "iitii", key, I(after), words,
		I(folder_modseq(w->f)), I(place));
	uid_set_add(w->a, &w->how->changed, index_uid(key));
}

static void
change_rows(struct flag_work *w, uint32_t first, uint32_t last)
{
	struct arena_mark m = arena_mark(w->row);
	sqlite3_stmt *st = index_query(w->s, Q_MESSAGE_CHANGE, "ii",
		index_key(w->f->id, first), index_key(w->f->id, last));
	while (index_row(w->s, st)) {
		change_row(w, st);
		arena_rewind(w->row, m);
	}
}

static void
intern_given(struct flag_work *w)
{
	struct str_list in = w->how->keywords;
	w->words = words_load(w->s, w->a, w->f->id);
	w->given.v = arena_array(w->a, in.n, sizeof *in.v);
	for (size_t i = 0; i < in.n; i++)
		w->given.v[w->given.n++] = w->how->how == FLAGS_REMOVE
			? words_find(&w->words, in.v[i])
			: words_intern(w->s, w->a, w->f, &w->words, in.v[i]);
	w->refused = words_keep(w->s, w->a, w->f, &w->words);
}

static struct status
try_store(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	struct mailbox_store *how)
{
	struct folder_row f;
	struct status st = mailbox_begin(m, a, &f);
	if (!status_is_fine(st))
		return st;
	struct flag_work w = {
		.s = m->store, .m = m, .a = a, .f = &f, .how = how};
	uint32_t most = mailbox_last_uid(m);
	intern_given(&w);
	w.row = arena_new("row");
	for (size_t i = 0; i < uids->n && uids->v[i].first <= most; i++)
		change_rows(&w, uids->v[i].first,
			uids->v[i].last < most ? uids->v[i].last : most);
	arena_free(w.row);
	if (!status_is_fine(w.refused)) {
		index_rollback(m->store);
		return w.refused;
	}
	if (f.changed || f.words_owed)
		folder_save(m->store, a, &f);
	st = index_commit(m->store, a);
	if (!status_is_fine(st) || !f.changed)
		return st;
	how->modseq = f.modseq;
	if (!w.untold)
		mailbox_own(m, f.modseq);
	notify_send(m->store);
	return st;
}

struct status
mailbox_store(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	struct mailbox_store *how)
{
	struct status st = try_store(m, a, uids, how);
	for (int i = 0; i < RELIEFS && index_relieve(m->store, st); i++) {
		how->changed = how->modified = (struct uid_set){0};
		how->met = 0;
		st = try_store(m, a, uids, how);
	}
	return st;
}

/* -------------------------------------------------------------- expunge */

static struct status
try_expunge(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	bool force, uint64_t *count)
{
	struct folder_row f;
	struct status st = mailbox_begin(m, a, &f);
	if (!status_is_fine(st))
		return st;
	struct uid_set gone = mailbox_existing(m, a, uids, force);
	*count = uid_set_count(&gone);
	row_expunge(m->store, a, &f, &gone, EXPUNGE_FILES | EXPUNGE_REMEMBER);
	if (*count > 0)
		folder_save(m->store, a, &f);
	return index_commit(m->store, a);
}

struct status
mailbox_expunge(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	bool force)
{
	uint64_t count = 0;
	struct status st = try_expunge(m, a, uids, force, &count);
	for (int i = 0; i < RELIEFS && index_relieve(m->store, st); i++)
		st = try_expunge(m, a, uids, force, &count);
	if (!status_is_fine(st) || count == 0)
		return st;
	notify_send(m->store);
	row_bury_few(m->store, m->row.id, count);
	return st;
}

/* --------------------------------------------------------------- settle */

struct owing {
	int64_t key;
	unsigned flags;
	struct str keywords, name, info;
	enum place place;
};

enum { SETTLE_BATCH = 128 };

static size_t
take_owing(struct store *s, struct arena *a, sqlite3_stmt *st,
	struct owing *v, size_t n)
{
	while (n < SETTLE_BATCH && index_row(s, st))
		v[n++] = (struct owing){
			.key = index_int(st, 0),
			.flags = (unsigned)index_int(st, 1),
			.keywords = str_copy(a, index_text(st, 2)),
			.name = str_copy(a, index_text(st, 3)),
			.info = str_copy(a, index_text(st, 4)),
			.place = (enum place)index_int(st, 5),
		};
	if (st != NULL)
		index_end(st);
	return n;
}

static size_t
load_owing(struct store *s, struct arena *a, int64_t folder, struct owing *v)
{
	return take_owing(s, a, index_query(s, Q_MESSAGE_OWED, "i", folder),
		v, 0);
}

/* Those in new/ that a session has been told of. */
static size_t
load_leaving(struct store *s, struct arena *a, const struct folder_row *f,
	struct owing *v, size_t n)
{
	if (n == SETTLE_BATCH || f->new_from >= f->recent_uid)
		return n;
	return take_owing(s, a, index_query(s, Q_MESSAGE_LEAVING, "iii",
		index_key(f->id, f->new_from),
		index_key(f->id, f->recent_uid - 1),
		I(SETTLE_BATCH - n)), v, n);
}

/* To cur/ under the name its flags want. */
static bool
follow(struct store *s, struct arena *a, const struct folder_row *f,
	const struct words *w, const struct owing *o, struct str *info)
{
	*info = maildir_info(a, o->info, o->flags,
		words_letters(w, o->keywords));
	char *from = row_path(a, f, place_in_new(o->place), o->name, o->info);
	char *to = row_path(a, f, false, o->name, *info);
	return strcmp(from, to) == 0 || own_move(s, from, to);
}

/* When somebody else has renamed it, the next look at the directories says
 * what to; it is owed until then, as he may yet rename it back. */
static bool
settle_one(struct store *s, struct arena *a, struct folder_row *f,
	const struct words *w, const struct owing *o)
{
	struct str info;
	if (follow(s, a, f, w, o, &info)) {
		index_run(s, Q_MESSAGE_PLACE, "itti", o->key, o->name, info,
			I(PLACE_CUR));
		return true;
	}
	int err = errno;
	if (!(o->place & PLACE_OWED))
		index_run(s, Q_MESSAGE_PLACE, "itti", o->key, o->name, o->info,
			I(o->place | PLACE_OWED));
	if (err == EEXIST)
		f->unsure |= UNSURE_CUR;
	if (err == ENOENT) {
		f->cur_mtime = 0;
		watch_spoil(s);
	}
	return false;
}

static bool
owes_names(struct store *s, struct arena *a, const struct folder_row *f,
	void *ctx)
{
	(void)a, (void)ctx;
	if (f->new_from < f->recent_uid)
		return true;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_OWED, "i", f->id);
	bool any = index_row(s, st);
	if (any)
		index_end(st);
	return any;
}

static bool
owes_words(struct store *s, struct arena *a, const struct folder_row *f,
	void *ctx)
{
	(void)s, (void)a, (void)ctx;
	return f->words_owed;
}

/* In a transaction when true; all sessions fall silent at once. */
static bool
settle_begin(struct mailbox *m, struct arena *a, struct folder_row *f,
	const struct chore *c)
{
	bool owed = false;
	if (!mailbox_ready(m) ||
		!status_is_fine(index_seize(m->store, a, c, f, &owed)))
		return false;
	if (owed && m->generation == m->store->ix.generation)
		return true;
	if (owed)
		index_rollback(m->store);
	return false;
}

/* One batch; how many were settled. */
static size_t
settle_names(struct mailbox *m, struct arena *a, int64_t deadline)
{
	struct folder_row f;
	struct store *s = m->store;
	struct owing *v = arena_array(a, SETTLE_BATCH, sizeof *v);
	struct chore names = {m->row.id, deadline, owes_names, NULL};
	size_t done = 0;
	if (!settle_begin(m, a, &f, &names))
		return 0;
	size_t owed = load_owing(s, a, f.id, v);
	size_t n = load_leaving(s, a, &f, v, owed);
	struct words w = words_load(s, a, f.id);
	watch_begin(s, a, &f, WATCH_BOTH);
	for (size_t i = 0; i < n; i++)
		done += settle_one(s, a, &f, &w, &v[i]);
	watch_end(s, &f);
	/* what could not leave is owed now */
	if (n < SETTLE_BATCH)
		f.new_from = f.recent_uid;
	else if (n > owed)
		f.new_from = index_uid(v[n - 1].key) + 1;
	folder_save(s, a, &f);
	if (!status_is_fine(index_commit(s, a)))
		return 0;
	m->row.new_from = f.new_from;
	m->row.recent_uid = f.recent_uid;
	return done;
}

static void
settle_words(struct mailbox *m, struct arena *a, int64_t deadline)
{
	struct folder_row f;
	struct chore words = {m->row.id, deadline, owes_words, NULL};
	if (!m->row.words_owed || !settle_begin(m, a, &f, &words))
		return;
	words_save_file(m->store, a, &f);
	folder_save(m->store, a, &f);
	if (status_is_fine(index_commit(m->store, a)))
		m->row.words_owed = f.words_owed;
}

/* What may hide behind our own changes. */
static void
settle_doubts(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	if (status_is_fine(sync_folder(m->store, a, m->row.id, &f))) {
		m->row.unsure = f.unsure;
		m->row.words_owed = f.words_owed;
	}
}

bool
mailbox_settle(struct mailbox *m, int64_t deadline)
{
	if (m->gone || m->read_only)
		return true;
	struct arena *a = arena_new("settle");
	struct arena_mark mark = arena_mark(a);
	size_t n;
	while ((n = settle_names(m, a, deadline)) == SETTLE_BATCH &&
		clock_ms() < deadline)
		arena_rewind(a, mark);
	bool buried = row_bury(m->store, m->row.id, deadline);
	if (n < SETTLE_BATCH && clock_ms() < deadline) {
		settle_doubts(m, a);
		settle_words(m, a, deadline);
	}
	arena_free(a);
	return n < SETTLE_BATCH && buried;
}

static bool
settle_folder(struct store *s, int64_t folder, int64_t deadline)
{
	struct arena *a = arena_new("settle");
	struct mailbox m = {.store = s, .arena = a,
		.generation = s->ix.generation};
	bool settled = true;
	if (folder_by_id(s, a, folder, &m.row)) {
		m.mailbox_id = m.row.mailbox_id;
		settled = mailbox_settle(&m, deadline);
	}
	arena_free(a);
	return settled;
}

bool
store_settle(struct store *s, int64_t deadline)
{
	enum { AT_ONCE = 64 };
	int64_t folders[AT_ONCE];
	struct arena *a = arena_new("settle");
	bool settled = true;
	size_t n = 0;
	if (status_is_fine(index_ready(s, a))) {
		sqlite3_stmt *st = index_query(s, Q_FOLDERS_OWING, "");
		while (n < AT_ONCE && index_row(s, st))
			folders[n++] = index_int(st, 0);
		if (n == AT_ONCE)
			index_end(st);
	}
	arena_free(a);
	for (size_t i = 0; i < n; i++)
		settled &= settle_folder(s, folders[i], deadline);
	return settled && n < AT_ONCE;
}

/* -------------------------------------------------------------- orphans */

/* Whether it works or not, it is tried once. */
static void
settle_orphans_of(struct store *s, struct arena *a, struct folder_row *f)
{
	struct owing *v = arena_array(a, SETTLE_BATCH, sizeof *v);
	struct words w = words_load(s, a, f->id);
	struct arena_mark m = arena_mark(a);
	struct str info;
	size_t n;
	bury_orphans(s, a, f);
	if (f->words_owed)
		words_save_file(s, a, f);
	while ((n = load_owing(s, a, f->id, v)) > 0 &&
		s->ix.fault == SQLITE_OK) {
		for (size_t i = 0; i < n; i++) {
			follow(s, a, f, &w, &v[i], &info);
			index_run(s, Q_MESSAGE_PLACE, "itti", v[i].key,
				v[i].name, info, I(PLACE_CUR));
		}
		arena_rewind(a, m);
	}
}

/*
 * The index was removed while it was open, and with it flags that no file
 * name has yet: they are read from the file that is nobody's any more.  Who
 * has the new one will take the names for foreign changes, and merge them.
 */
void
settle_orphans(struct store *s)
{
	struct arena *a = arena_new("orphans");
	size_t n;
	s->ix.fault = SQLITE_OK;
	struct folder_row *v = folder_rows(s, a, &n);
	for (size_t i = 0; i < n; i++)
		settle_orphans_of(s, a, &v[i]);
	s->ix.fault = SQLITE_OK;
	arena_free(a);
}
