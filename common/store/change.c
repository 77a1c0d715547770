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
	if (modseq > w->how->unchanged_since) {
		uid_set_add(w->a, &w->how->modified, index_uid(key));
		return;
	}
	unsigned after = change_flags(w->how, before);
	struct str words = change_words(w, text);
	bool same_words = str_eq(words, text);
	if (after == before && same_words)
		return;
	if (!same_words && w->words.n > 26)
		w->f->words_owed = true;
	w->untold |= modseq > w->m->told && !mailbox_is_own(w->m, modseq);
	bool owed = row_owes(after, words_letters(&w->words, words),
		index_text(st, 4), index_int(st, 5) != 0);
	folder_flags(w->f, before, after);
	index_run(w->s, Q_MESSAGE_FLAGS, "iitii", key, I(after), words,
		I(folder_modseq(w->f)), I(owed));
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
		w->given.v[w->given.n++] = words_intern(w->s, w->a, w->f,
			&w->words, in.v[i]);
}

struct status
mailbox_store(struct mailbox *m, struct arena *a, const struct uid_set *uids,
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

/* -------------------------------------------------------------- expunge */

struct status
mailbox_expunge(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	bool force)
{
	struct folder_row f;
	struct status st = mailbox_begin(m, a, &f);
	if (!status_is_fine(st))
		return st;
	struct uid_set gone = mailbox_existing(m, a, uids, force);
	row_expunge(m->store, a, &f, &gone, true);
	if (gone.n > 0)
		folder_save(m->store, a, &f);
	st = index_commit(m->store, a);
	if (!status_is_fine(st) || gone.n == 0)
		return st;
	row_bury(m->store, f.id);
	notify_send(m->store);
	return st;
}

/* --------------------------------------------------------------- settle */

struct owing {
	int64_t key;
	unsigned flags;
	struct str keywords, name, info;
	bool in_new;
};

enum { SETTLE_BATCH = 128 };

static size_t
load_owing(struct store *s, struct arena *a, int64_t folder, struct owing *v)
{
	size_t n = 0;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_OWED, "i", folder);
	while (n < SETTLE_BATCH && index_row(s, st))
		v[n++] = (struct owing){
			.key = index_int(st, 0),
			.flags = (unsigned)index_int(st, 1),
			.keywords = str_copy(a, index_text(st, 2)),
			.name = str_copy(a, index_text(st, 3)),
			.info = str_copy(a, index_text(st, 4)),
			.in_new = index_int(st, 5) != 0,
		};
	if (st != NULL)
		index_end(st);
	return n;
}

/* To cur/ under the name its flags want.  When somebody else has renamed it,
 * the next look at the directories says what to. */
static void
settle_one(struct store *s, struct arena *a, struct folder_row *f,
	const struct words *w, const struct owing *o)
{
	struct str info = maildir_info(a, o->info, o->flags,
		words_letters(w, o->keywords));
	char *from = row_path(a, f, o->in_new, o->name, o->info);
	char *to = row_path(a, f, false, o->name, info);
	bool done = renameat2(s->dir, from, s->dir, to, RENAME_NOREPLACE) == 0;
	if (!done && errno == EINVAL)
		done = renameat(s->dir, from, s->dir, to) == 0;
	if (done)
		index_run(s, Q_MESSAGE_PLACE, "ittii", o->key, o->name, info,
			I(0), I(0));
	else
		f->cur_mtime = f->seen_cur = 0;
	if (!done && (errno == ENOENT || errno == EEXIST))
		index_run(s, Q_MESSAGE_PLACE, "ittii", o->key, o->name,
			o->info, I(o->in_new), I(0));
}

/* One batch; how many there were. */
static size_t
settle_names(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	struct store *s = m->store;
	struct owing *v = arena_array(a, SETTLE_BATCH, sizeof *v);
	s->ix.fault = SQLITE_OK;
	if (load_owing(s, a, m->row.id, v) == 0 ||
		!status_is_fine(mailbox_begin(m, a, &f)))
		return 0;
	size_t n = load_owing(s, a, f.id, v);
	struct words w = words_load(s, a, f.id);
	folder_touch(s, a, &f);
	for (size_t i = 0; i < n; i++)
		settle_one(s, a, &f, &w, &v[i]);
	folder_touched(s, a, &f);
	folder_save(s, a, &f);
	return status_is_fine(index_commit(s, a)) ? n : 0;
}

static void
settle_words(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	if (!m->row.words_owed || !status_is_fine(mailbox_begin(m, a, &f)))
		return;
	if (f.words_owed) {
		words_save_file(m->store, a, &f);
		folder_save(m->store, a, &f);
	}
	if (status_is_fine(index_commit(m->store, a)))
		m->row.words_owed = f.words_owed;
}

static bool
has_dead(struct mailbox *m)
{
	m->store->ix.fault = SQLITE_OK;
	sqlite3_stmt *st = index_query(m->store, Q_DEAD_SOME, "i", m->row.id);
	bool any = index_row(m->store, st);
	if (any)
		index_end(st);
	return any;
}

/* Foreign changes that may hide behind our own: a full look, rarely. */
static void
settle_doubts(struct mailbox *m, struct arena *a)
{
	enum { EVERY_MS = 30000 };
	struct folder_row f;
	if (!(m->row.unsure & UNSURE_CUR) ||
		clock_ms() - m->last_whole < EVERY_MS)
		return;
	m->last_whole = clock_ms();
	if (status_is_fine(sync_whole(m->store, a, m->row.id, &f)))
		m->row.unsure = f.unsure;
}

static void
refresh_row(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	if (folder_by_id(m->store, a, m->row.id, &f)) {
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
	while ((n = settle_names(m, a)) == SETTLE_BATCH &&
		clock_ms() < deadline)
		arena_rewind(a, mark);
	bool dead = has_dead(m);
	while (dead && clock_ms() < deadline)
		dead = !row_bury(m->store, m->row.id);
	refresh_row(m, a);
	if (n < SETTLE_BATCH && clock_ms() < deadline) {
		settle_words(m, a);
		settle_doubts(m, a);
	}
	arena_free(a);
	return n < SETTLE_BATCH && !dead;
}
