/* SPDX-License-Identifier: ISC */
/*
 * The view of one session: sequence numbers over runs of UIDs, and what its
 * client has not been told yet.  Nothing is kept per message; news are
 * queries for what is newer than the modseqs last told.  RFC 3501 2.3.1,
 * 7.4.1; RFC 7162.
 */
#include "store/mailbox.h"
#include "base/clock.h"
#include "store/index.h"

#include <stdlib.h>

/* ----------------------------------------------------------------- view */

static void
load_uids(struct mailbox *m)
{
	size_t runs = 0;
	sqlite3_stmt *st = index_query(m->store, Q_RUN_COUNT, "i", m->row.id);
	if (index_row(m->store, st)) {
		runs = (size_t)index_int(st, 0) + 1;
		index_end(st);
	}
	uids_begin(&m->uids, runs);
	st = index_query(m->store, Q_RUNS, "i", m->row.id);
	while (index_row(m->store, st))
		uids_add(&m->uids, (uint32_t)index_int(st, 0),
			(uint32_t)index_int(st, 1));
	if (m->row.last_run.last != 0)
		uids_add(&m->uids, m->row.last_run.first,
			m->row.last_run.last);
}

uint32_t
mailbox_count(const struct mailbox *m)
{
	return m->uids.count;
}

uint32_t
mailbox_last_uid(const struct mailbox *m)
{
	return uids_last(&m->uids);
}

uint32_t
mailbox_uid(const struct mailbox *m, uint32_t seq)
{
	return uids_at(&m->uids, seq);
}

uint32_t
mailbox_seq(const struct mailbox *m, uint32_t uid)
{
	bool there;
	uint32_t before = uids_below(&m->uids, uid, &there);
	return there ? before + 1 : 0;
}

uint32_t
mailbox_count_in(const struct mailbox *m, const struct uid_set *uids)
{
	uint32_t n = 0;
	bool there;
	for (size_t i = 0; i < uids->n; i++)
		n += uids_below(&m->uids, (uint64_t)uids->v[i].last + 1,
			     &there) -
		     uids_below(&m->uids, uids->v[i].first, &there);
	return n;
}

struct uid_set
mailbox_uids(const struct mailbox *m, struct arena *a,
	const struct uid_set *seqs)
{
	struct uid_set out = {0};
	for (size_t i = 0; i < seqs->n; i++) {
		uint32_t last = seqs->v[i].last;
		if (last > m->uids.count)
			last = m->uids.count;
		if (seqs->v[i].first > last || seqs->v[i].first == 0)
			continue;
		uid_set_add_range(a, &out, mailbox_uid(m, seqs->v[i].first),
			mailbox_uid(m, last));
	}
	return out;
}

struct uid_set
mailbox_known(const struct mailbox *m, struct arena *a,
	const struct uid_set *uids)
{
	struct uid_set out = {0};
	for (size_t i = 0; i < uids->n; i++) {
		struct uid_range u = uids->v[i];
		size_t r = uids_find(&m->uids, u.first);
		for (; r < m->uids.n && m->uids.v[r].first <= u.last; r++) {
			uint32_t first = m->uids.v[r].first;
			uint32_t last = uids_run_last(&m->uids, r);
			uid_set_add_range(a, &out, u.first > first ? u.first : first,
				u.last < last ? u.last : last);
		}
	}
	return out;
}

/* --------------------------------------------------------------- opening */

const struct folder *
mailbox_folder(const struct mailbox *m)
{
	return &m->folder;
}

bool
mailbox_is_read_only(const struct mailbox *m)
{
	return m->read_only;
}

void
mailbox_own(struct mailbox *m, uint64_t modseq)
{
	enum { MOST = sizeof m->own / sizeof m->own[0] };
	/* full: the client hears of its own change once more, harmlessly */
	if (m->own_count < MOST)
		m->own[m->own_count++] = modseq;
}

bool
mailbox_is_own(const struct mailbox *m, uint64_t modseq)
{
	for (size_t i = 0; i < m->own_count; i++)
		if (m->own[i] == modseq)
			return true;
	return false;
}

bool
mailbox_resolve(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	if (m->generation == m->store->ix.generation)
		return true;
	if (!folder_of_mailbox(m->store, a, m->mailbox_id, &f))
		return false;
	m->row.id = f.id;
	m->generation = m->store->ix.generation;
	m->described = 0;
	return true;
}

bool
mailbox_ready(struct mailbox *m)
{
	if (index_is_current(m->store) &&
		m->generation == m->store->ix.generation) {
		m->store->ix.fault = SQLITE_OK;
		return true;
	}
	/* a new index has no rows before the folder is looked at */
	struct arena *a = arena_new("ready");
	struct folder_row f;
	bool ready = status_is_fine(index_ready(m->store, a)) &&
		mailbox_resolve(m, a) &&
		status_is_fine(sync_folder(m->store, a, m->row.id, &f));
	arena_free(a);
	return ready;
}

/* With the rows there: they are not, if the index had to be made again for
 * this transaction. */
static struct status
begin_ready(struct mailbox *m, struct arena *a)
{
	enum { TRIES = 5 };
	for (int i = 0; i < TRIES; i++) {
		if (!mailbox_ready(m)) {
			struct status st = index_status(m->store, a);
			return status_is_fine(st) ? NO_FOLDER : st;
		}
		struct status st = index_begin(m->store, a);
		if (!status_is_fine(st) ||
			m->generation == m->store->ix.generation)
			return st;
		index_rollback(m->store);
	}
	return status_later(2, 0, STR("the index was made anew"));
}

struct status
mailbox_begin(struct mailbox *m, struct arena *a, struct folder_row *f)
{
	struct status st = begin_ready(m, a);
	if (!status_is_fine(st))
		return st;
	if (!folder_by_id(m->store, a, m->row.id, f)) {
		index_rollback(m->store);
		st = index_status(m->store, a);
		return status_is_fine(st) ? NO_FOLDER : st;
	}
	return st;
}

struct uid_set
mailbox_existing(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, bool all)
{
	struct uid_set out = {0};
	uint32_t most = mailbox_last_uid(m);
	for (size_t i = 0; i < uids->n && uids->v[i].first <= most; i++) {
		uint32_t last = uids->v[i].last < most
			? uids->v[i].last : most;
		sqlite3_stmt *st = index_query(m->store,
			all ? Q_MESSAGE_KEYS : Q_MESSAGE_DELETED, "ii",
			index_key(m->row.id, uids->v[i].first),
			index_key(m->row.id, last));
		while (index_row(m->store, st))
			uid_set_add(a, &out, index_uid(index_int(st, 0)));
	}
	return out;
}

/* The row as it is now, its texts where they last. */
static void
take_row(struct mailbox *m, const struct folder_row *f)
{
	struct folder_row old = m->row;
	m->row = *f;
	m->row.name = str_eq(old.name, f->name) ? old.name
		: str_copy(m->arena, f->name);
	m->row.dir = str_eq(old.dir, f->dir) ? old.dir
		: str_copy(m->arena, f->dir);
	m->row.special = old.special;
	m->row.mailbox_id = m->mailbox_id;
	m->folder.name = m->row.name;
	m->folder.uidnext = f->uidnext;
	m->folder.highestmodseq = f->modseq;
	m->folder.messages = (uint32_t)f->messages;
	m->folder.unseen = (uint32_t)f->unseen;
	m->folder.deleted = (uint32_t)f->deleted;
	m->folder.size = (uint64_t)f->size;
	m->folder.file_size = (uint64_t)f->file_size;
}

/* Or modseqs fell, as when an older Maildir was put in its place. */
static bool
is_another(const struct mailbox *m, const struct folder_row *f)
{
	return f->uidvalidity != m->folder.uidvalidity || f->modseq < m->told;
}

/* Foreign changes first.  Fine and m->gone when the folder is no more. */
static struct status
look(struct mailbox *m, struct arena *a)
{
	struct folder_row f;
	struct status st = index_begin_read(m->store, a);
	if (!status_is_fine(st))
		return st;
	bool there = mailbox_resolve(m, a);
	st = index_commit(m->store, a);
	if (status_is_fine(st) && there)
		st = sync_to_read(m->store, a, m->row.id, &f);
	if (!there || st.class == STATUS_NEVER ||
		(status_is_fine(st) && is_another(m, &f))) {
		m->gone = true;
		return status_fine();
	}
	if (status_is_fine(st))
		take_row(m, &f);
	return st;
}

static bool
has_unclaimed(struct store *s, struct arena *a, const struct folder_row *f,
	void *ctx)
{
	const struct mailbox *m = ctx;
	(void)a;
	return m->generation == s->ix.generation &&
		f->recent_uid < m->row.uidnext;
}

/* Whoever may write is the first to be told of what came since the last; who
 * may not leaves it recent for others. */
static void
claim_recent(struct mailbox *m, struct arena *a)
{
	struct store *s = m->store;
	struct chore claim = {m->row.id, clock_in(s->patience), has_unclaimed,
		m};
	struct folder_row f = {.recent_uid = m->row.uidnext};
	uint32_t last = m->row.uidnext - 1;
	bool owed = false;
	if (m->row.recent_uid > last)
		return;
	if (m->read_only) {
		uid_set_add_range(
			m->arena, &m->recent, m->row.recent_uid, last);
		return;
	}
	struct status st = index_seize(s, a, &claim, &f, &owed);
	uint32_t first = f.recent_uid;
	if (status_is_fine(st) && owed) {
		f.recent_uid = last + 1;
		folder_save(s, a, &f);
		st = index_commit(s, a);
	}
	if (!status_is_fine(st))
		return;
	if (owed)
		uid_set_add_range(m->arena, &m->recent, first, last);
	m->row.recent_uid = f.recent_uid;
	m->row.new_from = f.new_from;
}

static struct status
try_open(struct store *s, struct arena *a, struct str name, bool read_only,
	struct mailbox **out)
{
	struct folder_row f;
	struct status st = folder_find(s, a, name, &f);
	if (status_is_fine(st))
		st = sync_to_read(s, a, f.id, &f);
	if (!status_is_fine(st))
		return st;
	struct mailbox *m = arena_one(a, struct mailbox);
	m->store = s;
	m->arena = a;
	m->read_only = read_only || s->ix.read_only;
	m->generation = s->ix.generation;
	st = index_begin_read(s, a);
	if (status_is_fine(st) && !folder_by_id(s, a, f.id, &m->row))
		return index_no_folder(s, a);
	load_uids(m);
	m->folder = folder_view(s, &m->row, a);
	st = index_commit(s, a);
	m->mailbox_id = m->folder.mailbox_id;
	m->told = m->told_expunged = m->row.modseq;
	if (status_is_fine(st))
		claim_recent(m, a);
	*out = m;
	if (!status_is_fine(st))
		uids_end(&m->uids);
	return st;
}

struct status
mailbox_open(struct store *s, struct arena *a, struct str name, bool read_only,
	struct mailbox **out)
{
	struct status st = try_open(s, a, name, read_only, out);
	if (store_is_worth_a_try(s, st))
		st = try_open(s, a, name, read_only, out);
	return st;
}

void
mailbox_close(struct mailbox *m)
{
	enum { PATIENCE_MS = 30 };
	mailbox_settle(m, clock_in(PATIENCE_MS));
	uids_end(&m->uids);
}

/* -------------------------------------------------------------- recency */

bool
mailbox_is_recent(const struct mailbox *m, uint32_t uid)
{
	return uid_set_has(&m->recent, uid);
}

uint32_t
mailbox_recent(const struct mailbox *m)
{
	return mailbox_count_in(m, &m->recent);
}

uint32_t
mailbox_first_unseen(struct mailbox *m)
{
	struct store *s = m->store;
	uint32_t seq = 0;
	if (m->row.unseen == 0 || !mailbox_ready(m))
		return 0;
	sqlite3_stmt *st = index_query(s, Q_FIRST_UNSEEN, "ii",
		index_key(m->row.id, 0),
		index_key(m->row.id, mailbox_last_uid(m)));
	if (index_row(s, st)) {
		seq = mailbox_seq(m, index_uid(index_int(st, 0)));
		index_end(st);
	}
	return seq;
}

static struct str_list
keywords_of(struct mailbox *m, struct arena *a)
{
	struct words w = words_load(m->store, a, m->row.id);
	struct str_list out = {arena_array(a, w.n, sizeof *out.v), 0};
	for (size_t i = 0; i < w.n; i++)
		if (w.v[i].n > 0)
			out.v[out.n++] = w.v[i];
	return out;
}

struct status
mailbox_keywords(struct mailbox *m, struct arena *a, struct str_list *out)
{
	struct status st = index_begin_read(m->store, a);
	*out = (struct str_list){0};
	if (!status_is_fine(st))
		return st;
	if (mailbox_resolve(m, a))
		*out = keywords_of(m, a);
	return index_commit(m->store, a);
}

/* ----------------------------------------------------------------- news */

static int
by_first(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Of tombstones later than that; false when they do not reach back. */
static bool
read_tombs(struct mailbox *m, struct arena *a, uint64_t since,
	struct uid_set *out)
{
	struct store *s = m->store;
	size_t n = 0, room = 64;
	struct uid_range *v = arena_array(a, room, sizeof *v);
	*out = (struct uid_set){0};
	if (since < m->row.tomb_since)
		return false;
	sqlite3_stmt *st = index_query(s, Q_TOMBS, "ii", m->row.id, I(since));
	while (index_row(s, st)) {
		if (n == room) {
			struct uid_range *old = v;
			v = arena_array(a, room * 2, sizeof *v);
			memcpy(v, old, room * sizeof *v);
			room *= 2;
		}
		v[n++] = (struct uid_range){(uint32_t)index_int(st, 0),
			(uint32_t)index_int(st, 1)};
	}
	if (n > 0)
		qsort(v, n, sizeof *v, by_first);
	for (size_t i = 0; i < n; i++)
		uid_set_add_range(a, out, v[i].first, v[i].last);
	return true;
}

static struct uid_set
all_known(struct mailbox *m, struct arena *a)
{
	struct uid_range all = {1, UINT32_MAX};
	return mailbox_known(m, a, &(struct uid_set){&all, 1});
}

bool
mailbox_vanished(struct mailbox *m, struct arena *a, uint64_t since,
	const struct uid_set *within, struct uid_set *out)
{
	struct uid_range ever = {1, m->folder.uidnext - 1};
	struct uid_set gone, known = all_known(m, a);
	bool certain = mailbox_ready(m) && read_tombs(m, a, since, &gone);
	if (!certain)
		gone = (struct uid_set){&ever, ever.last > 0};
	gone = uid_set_and(a, &gone, within);
	*out = uid_set_minus(a, &gone, &known);
	return certain;
}

/* What the view has and the index has not, when tombstones do not say. */
static struct uid_set
not_there(struct mailbox *m, struct arena *a)
{
	struct uid_set there = {0}, known = all_known(m, a);
	sqlite3_stmt *st = index_query(m->store, Q_RUNS, "i", m->row.id);
	while (index_row(m->store, st))
		uid_set_add_range(a, &there, (uint32_t)index_int(st, 0),
			(uint32_t)index_int(st, 1));
	if (m->row.last_run.last != 0)
		uid_set_add_range(a, &there, m->row.last_run.first,
			m->row.last_run.last);
	return uid_set_minus(a, &known, &there);
}

static void
news_of_expunges(struct mailbox *m, struct arena *a, struct mailbox_news *out)
{
	struct uid_set gone;
	if (!read_tombs(m, a, m->told_expunged, &gone))
		gone = not_there(m, a);
	out->expunged = mailbox_known(m, a, &gone);
	for (size_t i = 0; i < out->expunged.n; i++)
		uid_set_add_range(a, &out->expunged_seqs,
			mailbox_seq(m, out->expunged.v[i].first),
			mailbox_seq(m, out->expunged.v[i].last));
	if (out->expunged.n > 0)
		uids_cut(&m->uids, &out->expunged);
}

/* Arrivals extend the view; what came and went meanwhile never was. */
static void
news_of_arrivals(struct mailbox *m, struct mailbox_news *out)
{
	struct store *s = m->store;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_KEYS, "ii",
		index_key(m->row.id, mailbox_last_uid(m) + 1),
		index_key(m->row.id, UINT32_MAX));
	while (index_row(s, st)) {
		uint32_t uid = index_uid(index_int(st, 0));
		uids_add(&m->uids, uid, uid);
		out->arrived++;
	}
}

/* Key and modseq of what was changed since, by ascending UID.  Few are sorted,
 * which takes memory; many are met in their order on the way through all. */
static sqlite3_stmt *
changed_since(struct mailbox *m, uint64_t since)
{
	enum { SORTED_MOST = 10000 };
	struct store *s = m->store;
	int64_t n = 0, id = m->row.id;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_CHANGED_TO, "iii", id,
		I(since), I(SORTED_MOST));
	if (index_row(s, st)) {
		n = index_int(st, 0);
		index_end(st);
	}
	if (n < SORTED_MOST)
		return index_query(s, Q_MESSAGE_CHANGED, "ii", id, I(since));
	return index_query(s, Q_MESSAGE_CHANGED_MANY, "iii", index_key(id, 0),
		index_key(id, UINT32_MAX), I(since));
}

/* Arrivals have ascending modseqs as they have UIDs: above the last row that
 * is older all are newer, below it those that were changed. */
struct status
mailbox_changed(struct mailbox *m, struct arena *a, uint64_t since,
	struct uid_set *out)
{
	struct store *s = m->store;
	uint32_t last = mailbox_last_uid(m), old = 0;
	*out = (struct uid_set){0};
	if (!mailbox_ready(m))
		return index_status(s, a);
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_OLDER, "iii",
		index_key(m->row.id, 0), index_key(m->row.id, last), I(since));
	if (index_row(s, st)) {
		old = index_uid(index_int(st, 0));
		index_end(st);
	}
	st = changed_since(m, since);
	while (index_row(s, st))
		if (index_uid(index_int(st, 0)) <= old)
			uid_set_add(a, out, index_uid(index_int(st, 0)));
	if (old < last)
		uid_set_add_range(a, out, old + 1, last);
	return index_status(s, a);
}

static void
news_of_changes(struct mailbox *m, struct arena *a, struct mailbox_news *out)
{
	struct store *s = m->store;
	uint32_t last = mailbox_last_uid(m);
	sqlite3_stmt *st = changed_since(m, m->told);
	while (index_row(s, st)) {
		uint32_t uid = index_uid(index_int(st, 0));
		if (uid <= last &&
			!mailbox_is_own(m, (uint64_t)index_int(st, 1)))
			uid_set_add(a, &out->changed, uid);
	}
}

/* Is there anything that was expunged and not told? */
static bool
has_tombs(struct mailbox *m)
{
	sqlite3_stmt *st = index_query(m->store, Q_TOMBS, "ii", m->row.id,
		I(m->told_expunged));
	bool any = index_row(m->store, st);
	if (any)
		index_end(st);
	return any || m->told_expunged < m->row.tomb_since;
}

static void
gather_news(struct mailbox *m, struct arena *a, bool expunges,
	const struct folder_row *f, struct mailbox_news *out)
{
	take_row(m, f);
	if (expunges && m->told_expunged != f->modseq)
		news_of_expunges(m, a, out);
	if (expunges || !has_tombs(m))
		m->told_expunged = f->modseq;
	if (m->told != f->modseq) {
		news_of_changes(m, a, out);
		news_of_arrivals(m, out);
	}
	if (out->arrived > 0 || out->changed.n > 0)
		out->keywords = keywords_of(m, a);
	m->told = f->modseq;
	m->own_count = 0;
}

static bool
has_news(const struct mailbox *m, bool expunges, const struct folder_row *f)
{
	return m->told != f->modseq ||
		(expunges && m->told_expunged != f->modseq);
}

/* In one snapshot, since each one costs, and one commit may wake hundreds of
 * sessions.  *behind: take the rows though there may be more in the
 * directories; afterwards, whether they could not be taken. */
static struct status
news_of_rows(struct mailbox *m, struct arena *a, bool expunges,
	struct mailbox_news *out, bool *behind)
{
	struct folder_row f;
	struct status st = index_begin_read(m->store, a);
	if (!status_is_fine(st))
		return st;
	bool take = mailbox_resolve(m, a) &&
		folder_by_id(m->store, a, m->row.id, &f) &&
		!is_another(m, &f) &&
		(*behind || !sync_is_due(m->store, a, &f));
	if (take && has_news(m, expunges, &f))
		gather_news(m, a, expunges, &f, out);
	else if (take)
		take_row(m, &f);
	*behind = !take;
	return index_commit(m->store, a);
}

bool
mailbox_is_unsure(const struct mailbox *m)
{
	return m->row.new_mtime == 0 || m->row.cur_mtime == 0;
}

struct status
mailbox_news(struct mailbox *m, struct arena *a, bool expunges,
	struct mailbox_news *out)
{
	bool behind = false;
	*out = (struct mailbox_news){0};
	struct status st = news_of_rows(m, a, expunges, out, &behind);
	if (status_is_fine(st) && behind)
		st = look(m, a);
	if (status_is_fine(st) && behind && !m->gone)
		st = news_of_rows(m, a, expunges, out, &behind);
	if (!status_is_fine(st))
		return st;
	if (out->arrived > 0)
		claim_recent(m, a);
	out->gone = m->gone;
	out->exists = m->uids.count;
	out->modseq = m->told_expunged;
	out->held_back = m->told_expunged != m->told;
	out->any = out->gone || out->expunged.n > 0 || out->arrived > 0 ||
		out->changed.n > 0;
	return st;
}
