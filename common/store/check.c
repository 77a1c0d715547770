/* SPDX-License-Identifier: ISC */
/*
 * The index against the Maildir.  Each question is asked under the lock or
 * answered by a look that takes it, so others may work meanwhile.
 */
#include "store/check.h"
#include "base/clock.h"
#include "store/index.h"
#include "store/listing.h"
#include "store/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void __attribute__((format(printf, 3, 4)))
tell(struct check *c, const struct folder_row *f, const char *fmt, ...)
{
	struct arena *a = arena_new("finding");
	va_list ap;
	va_start(ap, fmt);
	struct str what = str_vprintf(a, fmt, ap);
	va_end(ap);
	c->problems++;
	if (c->found != NULL)
		c->found(c->ctx, f == NULL ? STR("") : f->name, what);
	arena_free(a);
}

static void
report(void *ctx, const char *folder, uint64_t done, uint64_t total)
{
	struct check *c = ctx;
	if (c->progress != NULL)
		c->progress(c->ctx, str_from(folder), done, total);
}

/* ---------------------------------------------------------- the database */

static bool
is_sound(struct store *s)
{
	sqlite3_stmt *st;
	bool ok = sqlite3_prepare_v2(s->ix.db, "PRAGMA quick_check(1)", -1,
		&st, NULL) == SQLITE_OK &&
		sqlite3_step(st) == SQLITE_ROW &&
		str_eq(index_text(st, 0), STR("ok"));
	sqlite3_finalize(st);
	return ok;
}

/* ------------------------------------------------------------- one folder */

/* What the file says, against the row. */
static void
check_control(struct store *s, struct arena *a, struct check *c,
	struct folder_row *f)
{
	struct folder_row file = {0};
	struct str_list words;
	struct status st = index_begin(s, a);
	if (!status_is_fine(st) || !folder_by_id(s, a, f->id, f)) {
		index_rollback(s);
		return;
	}
	bool good = control_read(s, a, f->dir, &file, &words);
	bool same = good && str_eq(file.mailbox_id, f->mailbox_id) &&
		file.uidvalidity == f->uidvalidity;
	bool low = same && (file.uid_mark < f->uid_mark ||
		file.modseq_mark < f->modseq_mark);
	if (!good)
		tell(c, f, "surat-folder is missing or damaged");
	else if (!same)
		tell(c, f, "surat-folder is another folder's");
	else if (low)
		tell(c, f, "surat-folder is older than the index");
	if (c->repair && (!same || low))
		control_write(s, a, f, true);
	index_commit(s, a);
}

/* False: its directories cannot be read. */
static bool
compare(struct store *s, struct arena *a, struct folder_row *f,
	struct listing *l)
{
	*l = (struct listing){.a = a, .all = true};
	return folder_by_id(s, a, f->id, f) && listing_read(s, l, f);
}

/* What differs may be a delivery under way: it is looked at again when no
 * program of ours can be at work. */
static struct status
list_differences(struct store *s, struct arena *a, struct folder_row *f,
	struct listing *l, bool *readable)
{
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	*readable = compare(s, a, f, l);
	st = index_commit(s, a);
	if (!status_is_fine(st) || !*readable ||
		(l->n == 0 && l->missing.n == 0))
		return st;
	st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	*readable = compare(s, a, f, l);
	index_rollback(s);
	return index_status(s, a);
}

/* Files and rows.  A look at the folder is the repair. */
static struct status
check_files(struct store *s, struct arena *a, struct check *c,
	struct folder_row *f)
{
	struct arena *own = arena_new("check");
	struct listing l;
	bool readable = true;
	arena_limit(own, (size_t)4 << 30);
	struct folder_row row = *f;
	struct status st = list_differences(s, own, &row, &l, &readable);
	st.text = str_copy(a, st.text);
	if (status_is_fine(st) && !readable)
		tell(c, f, "its directories cannot be read");
	if (status_is_fine(st) && readable && l.n > 0)
		tell(c, f, "%zu files have no row, or another name in it",
			l.n);
	if (status_is_fine(st) && readable && l.missing.n > 0)
		tell(c, f, "%llu messages have no file",
			(unsigned long long)uid_set_count(&l.missing));
	arena_free(own);
	if (status_is_fine(st) && c->repair)
		st = sync_whole(s, a, f->id, f);
	return st;
}

/* The numbers that every writer keeps, counted anew. */
struct counted {
	int64_t messages, unseen, deleted, size, file_size, partial;
};

static struct counted
count(struct store *s, const struct folder_row *f)
{
	struct counted n = {0};
	int64_t from = index_key(f->id, 0), to = index_key(f->id, UINT32_MAX);
	sqlite3_stmt *st = index_query(s, Q_COUNT_ROWS, "ii", from, to);
	if (index_row(s, st)) {
		n = (struct counted){index_int(st, 0), index_int(st, 1),
			index_int(st, 2), index_int(st, 3), index_int(st, 4),
			0};
		index_end(st);
	}
	st = index_query(s, Q_COUNT_PARTIAL, "ii", from, to);
	if (index_row(s, st)) {
		n.partial = index_int(st, 0);
		index_end(st);
	}
	return n;
}

static int64_t
count_runs(struct store *s, const struct folder_row *f)
{
	int64_t n = f->last_run.last == 0 ? 0
		: f->last_run.last - f->last_run.first + 1;
	sqlite3_stmt *st = index_query(s, Q_RUNS, "i", f->id);
	while (index_row(s, st))
		n += index_int(st, 1) - index_int(st, 0) + 1;
	return n;
}

static void
make_runs(struct store *s, struct folder_row *f)
{
	struct uid_set set = {0};
	struct arena *a = arena_new("runs");
	arena_limit(a, (size_t)1 << 30);
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_KEYS, "ii",
		index_key(f->id, 0), index_key(f->id, UINT32_MAX));
	while (index_row(s, st))
		uid_set_add(a, &set, index_uid(index_int(st, 0)));
	index_run(s, Q_FOLDER_RUNS, "i", f->id);
	f->last_run = (struct uid_range){0, 0};
	for (size_t i = 0; i < set.n; i++)
		runs_add(s, f, set.v[i].first, set.v[i].last);
	arena_free(a);
}

/* Rows of which a part is gone are dropped; their files are taken in again
 * under the same UIDs. */
static void
drop_partial(struct store *s, struct folder_row *f)
{
	int64_t from = index_key(f->id, 0), to = index_key(f->id, UINT32_MAX);
	index_run(s, Q_DROP_PARTIAL, "ii", from, to);
	index_run(s, Q_DROP_HEADERS, "ii", from, to);
	index_run(s, Q_DROP_CONTENTS, "ii", from, to);
	f->rebuild = true;
}

static struct status
check_counts(struct store *s, struct arena *a, struct check *c,
	struct folder_row *f)
{
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (!folder_by_id(s, a, f->id, f))
		return index_no_folder(s, a);
	struct counted n = count(s, f);
	bool wrong = n.messages != f->messages || n.unseen != f->unseen ||
		n.deleted != f->deleted || n.size != f->size ||
		n.file_size != f->file_size ||
		count_runs(s, f) != n.messages;
	if (n.partial > 0)
		tell(c, f, "%lld rows are not whole", (long long)n.partial);
	if (wrong)
		tell(c, f, "its counts are not those of its messages");
	if (c->repair && n.partial > 0) {
		drop_partial(s, f);
		n = count(s, f);
		wrong = true;
	}
	if (c->repair && wrong) {
		f->messages = n.messages;
		f->unseen = n.unseen;
		f->deleted = n.deleted;
		f->size = n.size;
		f->file_size = n.file_size;
		make_runs(s, f);
		folder_save(s, a, f);
	}
	st = index_commit(s, a);
	return status_is_fine(st) && c->repair && f->rebuild
		? sync_folder(s, a, f->id, f) : st;
}

/* ------------------------------------------------------------ each message */

/* Where the row's file is; its octets as the row has them. */
static bool
is_as_said(struct store *s, struct arena *a, const struct folder_row *f,
	const struct message_row *row)
{
	struct str raw;
	int fd = openat(s->dir, row_path(a, f, row->in_new, row->name,
		row->info), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT; /* somebody is at it: another look */
	bool same = row_content(a, fd, &raw) && raw.n == row->file_size &&
		message_wire_size(raw) == row->size;
	close(fd);
	return same;
}

static void
check_messages(struct store *s, struct arena *a, struct check *c,
	const struct folder_row *f, struct mailbox *m)
{
	struct mailbox_scan scan = {.want = WANT_SIZES | WANT_FILE};
	struct uid_range all = {1, UINT32_MAX};
	struct message_row row;
	uint64_t done = 0;
	scan.uids = (struct uid_set){&all, 1};
	while (mailbox_next(m, &scan, &row)) {
		struct arena_mark mark = arena_mark(a);
		if (!is_as_said(s, a, f, &row)) {
			tell(c, f, "UID %u: the file is not what it was",
				row.uid);
			if (c->repair)
				sync_replaced(s, a, f->id, row.uid);
		}
		if (++done % 256 == 0)
			report(c, str_cstr(a, f->name), done,
				(uint64_t)f->messages);
		arena_rewind(a, mark);
	}
	mailbox_scan_end(m, &scan);
}

static struct status
check_deep(struct store *s, struct arena *a, struct check *c,
	const struct folder_row *f)
{
	struct mailbox *m;
	struct arena *own = arena_new("deep");
	arena_limit(own, (size_t)1 << 30);
	struct status st = mailbox_open(s, own, f->name, true, &m);
	if (status_is_fine(st)) {
		check_messages(s, own, c, f, m);
		mailbox_close(m);
	}
	st.text = str_copy(a, st.text);
	arena_free(own);
	return st;
}

static struct status
unless_deleted(struct status st)
{
	return st.class == STATUS_NEVER ? status_fine() : st;
}

static struct status
look_again(struct store *s, struct arena *a, int64_t folder)
{
	struct folder_row f;
	return sync_folder(s, a, folder, &f);
}

static struct status
check_folder(struct store *s, struct arena *a, struct check *c,
	struct folder_row *f)
{
	check_control(s, a, c, f);
	struct status st = check_counts(s, a, c, f);
	if (status_is_fine(st))
		st = check_files(s, a, c, f);
	if (status_is_fine(st) && c->deep)
		st = check_deep(s, a, c, f);
	if (status_is_fine(st) && c->deep && c->repair)
		st = look_again(s, a, f->id);
	c->folders++;
	c->messages += (uint64_t)f->messages;
	return unless_deleted(st);
}

static struct status
all_folders(struct store *s, struct arena *a, struct folder_row **v, size_t *n)
{
	struct status st = sync_folders(s, a);
	if (status_is_fine(st))
		st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	*v = folder_rows(s, a, n);
	return index_commit(s, a);
}

struct status
store_check(struct store *s, struct arena *a, struct check *c)
{
	struct folder_row *v;
	size_t n;
	struct status st = index_ready(s, a);
	store_progress(s, report, c);
	if (status_is_fine(st) && !is_sound(s)) {
		tell(c, NULL, "the index is damaged");
		s->ix.broken = c->repair;
		s->ix.suspect = s->ix.ino; /* it was read to the end */
	}
	if (status_is_fine(st))
		st = all_folders(s, a, &v, &n);
	for (size_t i = 0; i < n && status_is_fine(st); i++)
		st = check_folder(s, a, c, &v[i]);
	store_progress(s, NULL, NULL);
	return st;
}

/* ---------------------------------------------------------------- rebuild */

/* Until nothing is owed; somebody may go on changing flags, which is his own
 * index's business then (settle_orphans). */
static void
settle_all(struct store *s)
{
	enum { PATIENCE_MS = 60000, TURN_MS = 1000 };
	int64_t end = clock_in(PATIENCE_MS);
	while (!store_settle(s, clock_in(TURN_MS)) && clock_ms() < end)
		;
}

static struct status
read_anew(struct store *s, struct arena *a, struct check *c)
{
	struct folder_row *v;
	size_t n = 0;
	struct status st = all_folders(s, a, &v, &n);
	c->folders = 0;
	c->messages = 0;
	for (size_t i = 0; i < n && status_is_fine(st); i++) {
		st = sync_folder(s, a, v[i].id, &v[i]);
		if (status_is_fine(st))
			st = describe_folder(s, a, v[i].name);
		st = unless_deleted(st);
		c->folders++;
		c->messages += (uint64_t)v[i].messages;
	}
	return st;
}

/* Again, when somebody else has discarded it meanwhile: what was read is in no
 * index then. */
static struct status
read_all(struct store *s, struct arena *a, struct check *c)
{
	int64_t deadline = 0;
	for (;;) {
		struct status st = index_ready(s, a);
		unsigned generation = s->ix.generation;
		if (status_is_fine(st))
			st = read_anew(s, a, c);
		if (generation == s->ix.generation && index_is_current(s))
			return st;
		if (deadline == 0)
			deadline = clock_in(s->patience);
		if (clock_ms() >= deadline)
			return st;
	}
}

struct status
store_rebuild(struct store *s, struct arena *a, struct check *c)
{
	struct status st = index_ready(s, a);
	if (status_is_fine(st))
		settle_all(s);
	st = index_discard(s, a);
	if (!status_is_fine(st))
		return st;
	store_progress(s, report, c);
	st = read_all(s, a, c);
	store_progress(s, NULL, NULL);
	notify_send(s);
	return st;
}
