/* SPDX-License-Identifier: ISC */
/*
 * Rows of folders, messages and runs: loading, saving, counting.  Everything
 * here runs inside a transaction that somebody else began; counts are kept in
 * the folder row in memory and written once, by folder_save.
 */
#include "store/index.h"
#include "base/clock.h"
#include "mail/facts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A mark is raised by this much when it is reached. */
enum { UID_STEP = 1024, MODSEQ_STEP = 65536, TOMBS_MOST = 20000 };

/* Larger files have room of their own. */
enum { ROOM_FROM = 256 * 1024 };

/* -------------------------------------------------------------- folders */

void
folder_of_row(sqlite3_stmt *st, struct arena *a, struct folder_row *f)
{
	int c = 0;
	*f = (struct folder_row){0};
	f->id = index_int(st, c++);
	f->name = str_copy(a, index_text(st, c++));
	f->dir = str_copy(a, index_text(st, c++));
	f->mailbox_id = str_copy(a, index_text(st, c++));
	f->special = str_copy(a, index_text(st, c++));
	f->uidvalidity = (uint32_t)index_int(st, c++);
	f->uidnext = (uint32_t)index_int(st, c++);
	f->uid_mark = (uint32_t)index_int(st, c++);
	f->modseq = (uint64_t)index_int(st, c++);
	f->modseq_mark = (uint64_t)index_int(st, c++);
	f->messages = index_int(st, c++);
	f->unseen = index_int(st, c++);
	f->deleted = index_int(st, c++);
	f->size = index_int(st, c++);
	f->file_size = index_int(st, c++);
	f->last_run.first = (uint32_t)index_int(st, c++);
	f->last_run.last = (uint32_t)index_int(st, c++);
	f->new_from = (uint32_t)index_int(st, c++);
	f->recent_uid = (uint32_t)index_int(st, c++);
	f->tombs = index_int(st, c++);
	f->tomb_since = (uint64_t)index_int(st, c++);
	f->new_mtime = index_int(st, c++);
	f->cur_mtime = index_int(st, c++);
	f->unsure = (unsigned)index_int(st, c++);
	f->looked = index_int(st, c++);
	f->rebuild = index_int(st, c++) != 0;
	f->words_owed = index_int(st, c++) != 0;
}

static bool
load(struct store *s, struct arena *a, sqlite3_stmt *st, struct folder_row *f)
{
	if (!index_row(s, st))
		return false;
	folder_of_row(st, a, f);
	index_end(st);
	return true;
}

bool
folder_named(struct store *s, struct arena *a, struct str name,
	struct folder_row *f)
{
	return load(s, a, index_query(s, Q_FOLDER_NAMED, "t", name), f);
}

bool
folder_by_id(struct store *s, struct arena *a, int64_t id,
	struct folder_row *f)
{
	return load(s, a, index_query(s, Q_FOLDER_ID, "i", id), f);
}

bool
folder_of_mailbox(struct store *s, struct arena *a, struct str mailbox_id,
	struct folder_row *f)
{
	return load(s, a, index_query(s, Q_FOLDER_MAILBOX, "t", mailbox_id),
		f);
}

/* Nothing above a mark may be shown before the mark is on disk. */
static void
promise(struct store *s, struct arena *a, struct folder_row *f)
{
	if (f->uidnext - 1 <= f->uid_mark && f->modseq <= f->modseq_mark)
		return;
	f->uid_mark = f->uidnext < UINT32_MAX - UID_STEP
		? f->uidnext - 1 + UID_STEP : UINT32_MAX - 1;
	f->modseq_mark = f->modseq + MODSEQ_STEP;
	control_keep(s, a, f);
}

void
folder_save(struct store *s, struct arena *a, struct folder_row *f)
{
	promise(s, a, f);
	index_run(s, Q_FOLDER_SET, "iiiiiiiiiiiiiiiiiiiiii", f->id,
		I(f->uidnext), I(f->uid_mark), I(f->modseq), I(f->modseq_mark),
		f->messages, f->unseen, f->deleted, f->size, f->file_size,
		I(f->last_run.first), I(f->last_run.last), I(f->new_from),
		I(f->recent_uid), f->tombs, I(f->tomb_since), f->new_mtime,
		f->cur_mtime, I(f->unsure), f->looked, I(f->rebuild),
		I(f->words_owed));
}

uint64_t
folder_modseq(struct folder_row *f)
{
	if (!f->changed)
		f->modseq++;
	f->changed = true;
	return f->modseq;
}

void
folder_count(struct folder_row *f, unsigned flags, int64_t size,
	int64_t file_size, int sign)
{
	f->messages += sign;
	f->unseen += (flags & FLAG_SEEN) ? 0 : sign;
	f->deleted += (flags & FLAG_DELETED) ? sign : 0;
	f->size += sign * size;
	f->file_size += sign * file_size;
}

void
folder_flags(struct folder_row *f, unsigned before, unsigned after)
{
	folder_count(f, before, 0, 0, -1);
	folder_count(f, after, 0, 0, 1);
}

/* Messages no session has been told of first. */
static uint32_t
recent_of(struct store *s, const struct folder_row *f)
{
	uint32_t n = 0, from = f->recent_uid;
	if (from >= f->uidnext || f->last_run.last < from)
		return 0;
	if (f->last_run.first <= from)
		return f->last_run.last - from + 1;
	n = f->last_run.last - f->last_run.first + 1;
	sqlite3_stmt *st = index_query(s, Q_RECENT, "ii", f->id, I(from));
	if (index_row(s, st)) {
		n += (uint32_t)index_int(st, 0);
		index_end(st);
	}
	return n;
}

struct folder
folder_view(struct store *s, const struct folder_row *f, struct arena *a)
{
	return (struct folder){
		.id = f->id,
		.name = str_copy(a, f->name),
		.mailbox_id = str_copy(a, f->mailbox_id),
		.special = str_copy(a, f->special),
		.uidvalidity = f->uidvalidity,
		.uidnext = f->uidnext,
		.highestmodseq = f->modseq,
		.messages = (uint32_t)f->messages,
		.unseen = (uint32_t)f->unseen,
		.deleted = (uint32_t)f->deleted,
		.recent = recent_of(s, f),
		.size = (uint64_t)f->size,
		.file_size = (uint64_t)f->file_size,
	};
}

/* ---------------------------------------------------------------- paths */

/* "dir/sub/file", a NUL behind it; what is empty leaves no slash. */
static char *
join(struct arena *a, struct str dir, struct str sub, struct str name,
	struct str info)
{
	const struct str parts[4] = {dir, sub, name, info};
	size_t n = dir.n + sub.n + name.n + info.n + 3, at = 0;
	char *path = arena_alloc(a, n);
	for (int i = 0; i < 4; i++) {
		if (at > 0 && i < 3 && parts[i].n > 0)
			path[at++] = '/';
		if (parts[i].n > 0)
			memcpy(path + at, parts[i].p, parts[i].n);
		at += parts[i].n;
	}
	return path;
}

char *
folder_path(struct arena *a, struct str dir, const char *sub)
{
	return join(a, dir, str_from(sub), STR(""), STR(""));
}

char *
row_path(struct arena *a, const struct folder_row *f, bool in_new,
	struct str name, struct str info)
{
	return join(a, f->dir, in_new ? STR("new") : STR("cur"), name, info);
}

/* ------------------------------------------------------------- messages */

bool
row_state(struct store *s, struct arena *a, int64_t folder, uint32_t uid,
	struct file_state *out)
{
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_STATE, "i",
		index_key(folder, uid));
	if (!index_row(s, st))
		return false;
	*out = (struct file_state){
		.flags = (unsigned)index_int(st, 0),
		.keywords = str_copy(a, index_text(st, 1)),
		.name = str_copy(a, index_text(st, 2)),
		.info = str_copy(a, index_text(st, 3)),
		.place = (enum place)index_int(st, 4),
		.file_size = (uint64_t)index_int(st, 5),
	};
	index_end(st);
	return true;
}

enum place
row_owes(unsigned flags, uint32_t letters, struct str info, bool in_new)
{
	unsigned flags_there;
	uint32_t letters_there;
	maildir_flags(info, &flags_there, &letters_there);
	bool owes = flags_there != flags || letters_there != letters ||
		(in_new && (flags != 0 || letters != 0));
	return owes ? PLACE_OWED : 0;
}

static void
unmap(void *ctx)
{
	struct str *room = ctx;
	munmap((void *)(uintptr_t)room->p, room->n);
}

/* Outside of the arena's limit when it is much, which is given back at once. */
static char *
content_room(struct arena *a, size_t size)
{
	if (size <= ROOM_FROM)
		return arena_alloc(a, size + 1);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	struct str *kept = arena_one(a, struct str);
	*kept = str_of(p, size);
	arena_hook(a, unmap, kept);
	return p;
}

/* Never mapped: others may cut a file off, and a disk may fail, while it is
 * being sent. */
bool
row_content(struct arena *a, int fd, struct str *raw)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	size_t size = (size_t)st.st_size, have = 0;
	char *p = content_room(a, size);
	if (p == NULL)
		return false;
	while (have < size) {
		ssize_t n = pread(fd, p + have, size - have, (off_t)have);
		if (n < 0)
			return false;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*raw = str_of(p, have);
	return true;
}

/* A thread is named after its oldest known ancestor. */
static uint64_t
thread_of(const struct facts *k, struct str name)
{
	if (k->references.n > 0)
		return str_hash(k->references.v[0]) & INT64_MAX;
	if (k->message_id.n > 0)
		return str_hash(k->message_id) & INT64_MAX;
	return maildir_id(name);
}

void
row_from_content(struct arena *a, struct str raw, struct message_row *row)
{
	struct facts k = {0};
	facts_find(a, raw, &k);
	row->sent = k.has_date ? k.sent : row->date;
	row->size = k.wire_size;
	row->file_size = raw.n;
	row->from = k.from;
	row->to = k.to;
	row->cc = k.cc;
	row->bcc = k.bcc;
	row->subject = k.subject;
	row->message_id = k.message_id;
	row->references = str_join(a, k.references, STR(" "));
	row->sort_from = k.sort_from;
	row->sort_to = k.sort_to;
	row->sort_cc = k.sort_cc;
	row->sort_subject = k.sort_subject;
	row->display_from = k.display_from;
	row->display_to = k.display_to;
	row->envelope = k.envelope;
	row->body = k.body;
	row->structure = k.bodystructure;
	row->preview = k.preview;
	row->fields = k.fields;
	row->thread = thread_of(&k, row->name);
}

static void
insert_message(struct store *s, struct folder_row *f,
	const struct message_row *r, enum place owed, bool again)
{
	int64_t key = index_key(f->id, r->uid), modseq = I(folder_modseq(f));
	enum place place = owed | (r->in_new ? PLACE_NEW : 0);
	index_run(s, Q_MESSAGE_ADD, "iiiiiiiitiiiiitt", key, f->id,
		I(r->flags), modseq, again ? modseq : 0, I(r->size), r->date,
		I(r->zone), r->keywords, I(r->file_size), r->sent, r->saved,
		I(r->thread), I(place), r->name, r->info);
	folder_count(f, r->flags, (int64_t)r->size, (int64_t)r->file_size, 1);
	if (r->in_new && r->uid < f->new_from)
		f->new_from = r->uid;
}

static void
insert_texts(struct store *s, const struct folder_row *f,
	const struct message_row *r)
{
	int64_t key = index_key(f->id, r->uid);
	index_run(s, Q_HEADER_ADD, "ittttttttttttt", key, r->message_id,
		r->references, r->from, r->to, r->cc, r->bcc, r->subject,
		r->sort_from, r->sort_to, r->sort_cc, r->sort_subject,
		r->display_from, r->display_to);
	index_run(s, Q_CONTENT_ADD, r->fields.p == NULL ? "ittttn" : "ittttt",
		key, r->preview, r->envelope, r->body, r->structure,
		r->fields);
}

void
row_describe(struct store *s, const struct folder_row *f,
	const struct message_row *r)
{
	index_run(s, Q_MESSAGE_DESCRIBE, "iii", index_key(f->id, r->uid),
		r->sent, I(r->thread));
	/* somebody else may have been faster */
	if (s->ix.fault == SQLITE_OK && sqlite3_changes(s->ix.db) > 0)
		insert_texts(s, f, r);
}

void
row_insert(struct store *s, struct folder_row *f, const struct message_row *r,
	enum place owed)
{
	insert_message(s, f, r, owed, false);
	if (!row_is_bare(r))
		insert_texts(s, f, r);
}

void
row_insert_again(struct store *s, struct folder_row *f,
	const struct message_row *r, enum place owed)
{
	insert_message(s, f, r, owed, true);
	if (!row_is_bare(r))
		insert_texts(s, f, r);
}

void
row_insert_alone(struct store *s, struct folder_row *f,
	const struct message_row *r, enum place owed)
{
	insert_message(s, f, r, owed, false);
}

/* ----------------------------------------------------------------- runs */
/*
 * The highest run stands in the folder's row, where arrivals extend it for
 * nothing; those below it are rows of their own.
 */

static bool
run_at(struct store *s, int64_t folder, uint32_t uid, struct uid_range *r)
{
	sqlite3_stmt *st = index_query(s, Q_RUN_AT, "ii", folder, I(uid));
	if (!index_row(s, st))
		return false;
	r->first = (uint32_t)index_int(st, 0);
	r->last = (uint32_t)index_int(st, 1);
	index_end(st);
	return true;
}

static void
run_set(struct store *s, int64_t folder, uint32_t first, uint32_t last)
{
	index_run(s, Q_RUN_SET, "iii", folder, I(first), I(last));
}

static void
run_drop(struct store *s, int64_t folder, uint32_t first)
{
	index_run(s, Q_RUN_DROP, "ii", folder, I(first));
}

/* Below the highest. */
static void
add_below(struct store *s, struct folder_row *f, uint32_t first, uint32_t last)
{
	struct uid_range r;
	if (run_at(s, f->id, last + 1, &r) && r.first == last + 1) {
		run_drop(s, f->id, r.first);
		last = r.last;
	}
	if (run_at(s, f->id, first, &r) && r.last == first - 1) {
		run_drop(s, f->id, r.first);
		first = r.first;
	}
	if (last + 1 == f->last_run.first)
		f->last_run.first = first;
	else
		run_set(s, f->id, first, last);
}

void
runs_add(struct store *s, struct folder_row *f, uint32_t first, uint32_t last)
{
	struct uid_range *top = &f->last_run;
	if (top->last != 0 && first < top->first) {
		add_below(s, f, first, last);
	} else if (top->last != 0 && top->last + 1 == first) {
		top->last = last;
	} else {
		if (top->last != 0)
			run_set(s, f->id, top->first, top->last);
		*top = (struct uid_range){first, last};
	}
}

/* What is left of the highest run; else the one below it becomes it. */
static void
cut_top(struct store *s, struct folder_row *f, struct uid_range gone)
{
	struct uid_range *top = &f->last_run, left = {top->first, gone.first - 1};
	bool has_left = top->first < gone.first;
	if (top->last > gone.last) {
		if (has_left)
			run_set(s, f->id, left.first, left.last);
		top->first = gone.last + 1;
	} else if (has_left) {
		*top = left;
	} else if (run_at(s, f->id, UINT32_MAX, top)) {
		run_drop(s, f->id, top->first);
	} else {
		*top = (struct uid_range){0, 0};
	}
}

static void
runs_remove(struct store *s, struct folder_row *f, struct uid_range gone)
{
	struct uid_range r;
	if (gone.first >= f->last_run.first) {
		cut_top(s, f, gone);
		return;
	}
	if (!run_at(s, f->id, gone.first, &r) || r.last < gone.last)
		return;
	run_drop(s, f->id, r.first);
	if (r.first < gone.first)
		run_set(s, f->id, r.first, gone.first - 1);
	if (r.last > gone.last)
		run_set(s, f->id, gone.last + 1, r.last);
}

/* -------------------------------------------------------------- expunge */

static void
trim_tombs(struct store *s, struct folder_row *f)
{
	if (f->tombs <= TOMBS_MOST)
		return;
	sqlite3_stmt *st = index_query(s, Q_TOMB_NTH, "ii", f->id,
		I(TOMBS_MOST / 2));
	if (!index_row(s, st))
		return;
	uint64_t modseq = (uint64_t)index_int(st, 0);
	index_end(st);
	/* a transaction with more than all of them stays whole */
	if (modseq == f->modseq)
		modseq--;
	index_run(s, Q_TOMB_TRIM, "ii", f->id, I(modseq));
	f->tombs -= sqlite3_changes(s->ix.db);
	if (modseq > f->tomb_since)
		f->tomb_since = modseq;
}

/* So that a job that is done again is recognised although its message came
 * and went; of the last ten thousand that went within a day. */
static void
forget_past(struct store *s)
{
	enum { NAMES_MOST = 10000 };
	index_run(s, Q_PAST_TRIM, "i",
		I(sqlite3_last_insert_rowid(s->ix.db) - NAMES_MOST));
}

/* What becomes of one whose row is there for a moment yet. */
static bool
note_dropped(struct store *s, struct arena *a, struct folder_row *f,
	sqlite3_stmt *st, unsigned how)
{
	enum { DAY = 86400 };
	struct str name = index_text(st, 4), info = index_text(st, 5);
	struct maildir_name parsed = maildir_parse(name);
	struct str unique = parsed.unique;
	bool in_new = place_in_new((enum place)index_int(st, 6));
	/* nothing is delivered under the name of a copy */
	bool past = (how & EXPUNGE_REMEMBER) && parsed.id == 0 &&
		index_int(st, 7) >= clock_wall() - DAY;
	folder_count(f, (unsigned)index_int(st, 1), index_int(st, 2),
		index_int(st, 3), -1);
	if (how & EXPUNGE_FILES)
		index_run(s, Q_DEAD_ADD, "iitt", f->id,
			I(index_uid(index_int(st, 0))), unique,
			str_from(row_path(a, f, in_new, name, info)));
	if (past)
		index_run(s, Q_PAST_ADD, "t", unique);
	return past;
}

void
row_drop_texts(struct store *s, int64_t folder, uint32_t first, uint32_t last)
{
	int64_t from = index_key(folder, first), to = index_key(folder, last);
	index_run(s, Q_HEADER_DROP, "ii", from, to);
	index_run(s, Q_CONTENT_DROP, "ii", from, to);
}

static void
drop_rows(struct store *s, struct arena *a, struct folder_row *f,
	struct uid_range r, unsigned how)
{
	int64_t first = index_key(f->id, r.first),
		last = index_key(f->id, r.last);
	struct arena_mark m = arena_mark(a);
	bool past = false;
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_NUMBERS, "ii", first, last);
	while (index_row(s, st)) {
		past |= note_dropped(s, a, f, st, how);
		arena_rewind(a, m);
	}
	if (past)
		forget_past(s);
	index_run(s, Q_MESSAGE_DROP, "ii", first, last);
	/* the texts of the dead are buried with their files */
	if (!(how & EXPUNGE_FILES))
		row_drop_texts(s, f->id, r.first, r.last);
}

void
row_expunge(struct store *s, struct arena *a, struct folder_row *f,
	const struct uid_set *uids, unsigned how)
{
	if (uids->n == 0)
		return;
	uint64_t modseq = folder_modseq(f);
	for (size_t i = 0; i < uids->n; i++) {
		struct uid_range r = uids->v[i];
		drop_rows(s, a, f, r, how);
		runs_remove(s, f, r);
		index_run(s, Q_TOMB_ADD, "iiii", f->id, I(modseq), I(r.first),
			I(r.last));
		f->tombs++;
	}
	trim_tombs(s, f);
}

/* ----------------------------------------------------------------- bury */

/* FORGET_S: by then every file system has written what it was told. */
enum { BURY_BATCH = 256, FORGET_S = 120 };

struct grave {
	uint32_t uid;
	struct str unique, path;
};

static size_t
load_graves(struct store *s, struct arena *a, int64_t folder, uint32_t above,
	struct grave *v)
{
	size_t n = 0;
	sqlite3_stmt *st = index_query(s, Q_DEAD_SOME, "ii", folder, I(above));
	while (index_row(s, st))
		v[n++] = (struct grave){(uint32_t)index_int(st, 0),
			str_copy(a, index_text(st, 1)),
			str_copy(a, index_text(st, 2))};
	return n;
}

/* A file that is not where it was has been renamed by somebody, or is gone:
 * its name stays known, so that a scan that meets it removes it.  One that
 * cannot be removed stays dead.  False for both. */
static bool
bury_one(struct store *s, struct arena *a, struct folder_row *f,
	const struct grave *g)
{
	if (own_unlink(s, str_cstr(a, g->path)))
		return true;
	if (errno == ENOENT) {
		index_run(s, Q_DEAD_ADD, "iitt", f->id, I(g->uid), g->unique,
			STR(""));
		watch_spoil(s);
		f->cur_mtime = 0;
	}
	return false;
}

/* Of UIDs that follow each other, at once. */
static void
bury_texts(struct store *s, const struct folder_row *f,
	const struct grave *v, size_t n)
{
	size_t first = 0;
	for (size_t i = 1; i <= n; i++) {
		if (i < n && v[i].uid == v[i - 1].uid + 1)
			continue;
		row_drop_texts(s, f->id, v[first].uid, v[i - 1].uid);
		first = i;
	}
}

/* Where a file lay, once it is unlinked: nowhere, since then.  A power cut may
 * undo that, and not what was noted of it. */
static struct str
grave_of(struct arena *a, int64_t when)
{
	return str_printf(a, "!%010lld", (long long)when);
}

bool
row_is_dead(struct store *s, const struct folder_row *f, uint32_t uid,
	struct str unique, const char *path)
{
	struct stat st;
	bool dead = false;
	sqlite3_stmt *q = index_query(s, Q_DEAD_HAS, "iit", f->id, I(uid),
		unique);
	while (index_row(s, q)) {
		uint64_t when;
		/* changed since, it was put back by somebody */
		dead = !str_number(str_skip(index_text(q, 0), 1), INT64_MAX,
			&when) || (fstatat(s->dir, path, &st,
				AT_SYMLINK_NOFOLLOW) == 0 &&
				st.st_ctim.tv_sec <= (int64_t)when);
	}
	return dead;
}

/* All that stand together in v and could be buried leave in one go. */
static void
bury_each(struct store *s, struct arena *a, struct folder_row *f,
	const struct grave *v, size_t n)
{
	size_t first = 0;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && bury_one(s, a, f, &v[i]))
			continue;
		if (i > first)
			index_run(s, Q_DEAD_BURIED, "iiit", f->id,
				I(v[first].uid), I(v[i - 1].uid),
				grave_of(a, clock_wall()));
		first = i + 1;
	}
}

static bool
owes_graves(struct store *s, struct arena *a, const struct folder_row *f,
	void *ctx)
{
	const uint32_t *above = ctx;
	(void)a;
	sqlite3_stmt *st = index_query(s, Q_DEAD_SOME, "ii", f->id, I(*above));
	bool any = index_row(s, st);
	if (any)
		index_end(st);
	return any;
}

/* One batch; how many there were. */
static size_t
bury_some(struct store *s, struct arena *a, struct chore *graves)
{
	struct grave *v = arena_array(a, BURY_BATCH, sizeof *v);
	uint32_t *above = graves->ctx;
	struct folder_row f;
	bool owed = false;
	if (!status_is_fine(index_seize(s, a, graves, &f, &owed)) || !owed)
		return 0;
	if (*above == 0)
		index_run(s, Q_DEAD_OLD, "it", f.id,
			grave_of(a, clock_wall() - FORGET_S));
	size_t n = load_graves(s, a, f.id, *above, v);
	*above = v[n - 1].uid;
	watch_begin(s, a, &f, WATCH_BOTH);
	bury_each(s, a, &f, v, n);
	watch_end(s, &f);
	bury_texts(s, &f, v, n);
	folder_save(s, a, &f);
	return status_is_fine(index_commit(s, a)) ? n : 0;
}

bool
row_bury(struct store *s, int64_t folder, int64_t deadline)
{
	struct arena *a = arena_new("bury");
	struct arena_mark m = arena_mark(a);
	uint32_t above = 0;
	struct chore graves = {folder, deadline, owes_graves, &above};
	bool more = true;
	while (more && clock_ms() < deadline) {
		more = bury_some(s, a, &graves) == BURY_BATCH;
		arena_rewind(a, m);
	}
	arena_free(a);
	return !more;
}

void
row_bury_few(struct store *s, int64_t folder, uint64_t count)
{
	enum { PATIENCE_MS = 10 };
	if (count <= BURY_BATCH)
		row_bury(s, folder, clock_in(PATIENCE_MS));
}

void
bury_orphans(struct store *s, struct arena *a, const struct folder_row *f)
{
	struct grave *v = arena_array(a, BURY_BATCH, sizeof *v);
	uint32_t above = 0;
	size_t n;
	while ((n = load_graves(s, a, f->id, above, v)) > 0) {
		above = v[n - 1].uid;
		for (size_t i = 0; i < n; i++)
			unlinkat(s->dir, str_cstr(a, v[i].path), 0);
	}
}
