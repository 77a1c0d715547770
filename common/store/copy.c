/* SPDX-License-Identifier: ISC */
/*
 * COPY and MOVE: a hard link each, rows copied in one transaction, one sync.
 * RFC 3501 6.4.7, RFC 6851, RFC 4315 (COPYUID).  Where no link can be made the
 * octets are copied.
 *
 * All or none: the links are noted first (pending.c), so that what a crash
 * leaves of them is removed by the next look at the folder.  A moved message
 * keeps its unique part, so that a second delivery of the same job is
 * recognised where it went.
 */
#include "store/index.h"
#include "store/notify.h"
#include "base/clock.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that could not be linked to, and was copied. */
struct duplicate {
	struct duplicate *next;
	char *tmp, *to;
};

struct copying {
	struct mailbox *m;
	struct store *s;
	struct arena *a;
	struct arena *row; /* of one message */
	struct folder_row source, target;
	struct folder_row *to; /* &source when both are one */
	struct words words; /* of to */
	struct str stem; /* of the copies' unique parts */
	/* Whose texts are still to be copied, and to where the first goes. */
	struct uid_range texts;
	uint32_t texts_to;
	struct uid_set uids; /* that are there */
	struct mailbox_copied *out;
	int64_t now;
	bool move;
	struct duplicate *duplicates;
	int err; /* of the link that failed */
	struct status refused; /* by the quota */
};

static struct status
find_both(struct copying *c, const struct uid_set *uids, struct str name)
{
	struct str good;
	struct status st = mailbox_begin(c->m, c->a, &c->source);
	if (!status_is_fine(st))
		return st;
	if (!folders_name(c->a, name, &good) ||
		!folder_named(c->s, c->a, good, &c->target))
		return index_no_folder(c->s, c->a);
	c->to = c->target.id == c->source.id ? &c->source : &c->target;
	c->uids = mailbox_existing(c->m, c->a, uids, true);
	return st;
}

static bool
load_original(struct copying *c, uint32_t uid, struct message_row *o)
{
	sqlite3_stmt *st = index_query(c->s, Q_MESSAGE_SOURCE, "i",
		index_key(c->source.id, uid));
	if (!index_row(c->s, st))
		return false;
	*o = (struct message_row){
		.flags = (unsigned)index_int(st, 0),
		.size = (uint64_t)index_int(st, 1),
		.date = index_int(st, 2),
		.zone = (int)index_int(st, 3),
		.keywords = str_copy(c->row, index_text(st, 4)),
		.file_size = (uint64_t)index_int(st, 5),
		.sent = index_int(st, 6),
		.thread = (uint64_t)index_int(st, 7),
		.name = str_copy(c->row, index_text(st, 8)),
		.info = str_copy(c->row, index_text(st, 9)),
		.in_new = place_in_new((enum place)index_int(st, 10)),
	};
	index_end(st);
	return true;
}

/* As the target spells them. */
static struct str
translate_words(struct copying *c, struct str text)
{
	if (text.n == 0 || c->to == &c->source)
		return text;
	struct str_list l = words_split(c->row, text);
	for (size_t i = 0; i < l.n; i++)
		l.v[i] = words_intern(c->s, c->a, c->to, &c->words, l.v[i]);
	return words_join(c->row, l);
}

/* All that the target lacks, before the first message is put in place. */
static bool
intern_words(struct copying *c)
{
	struct arena_mark m = arena_mark(c->row);
	c->words = words_load(c->s, c->a, c->to->id);
	for (size_t i = 0; i < c->uids.n && c->to != &c->source; i++) {
		sqlite3_stmt *st = index_query(c->s, Q_MESSAGE_WORDS, "ii",
			index_key(c->source.id, c->uids.v[i].first),
			index_key(c->source.id, c->uids.v[i].last));
		while (index_row(c->s, st)) {
			translate_words(c, index_text(st, 1));
			arena_rewind(c->row, m);
		}
	}
	c->refused = words_keep(c->s, c->a, c->to, &c->words);
	return status_is_fine(c->refused);
}

/* Of UIDs that follow each other on both sides, at once. */
static void
copy_texts(struct copying *c)
{
	int64_t first = index_key(c->source.id, c->texts.first),
		last = index_key(c->source.id, c->texts.last),
		way = index_key(c->to->id, c->texts_to) - first;
	if (c->texts.first == 0)
		return;
	index_run(c->s, Q_HEADER_COPY, "iii", first, last, way);
	index_run(c->s, Q_CONTENT_COPY, "iii", first, last, way);
	c->texts.first = 0;
}

static void
note_texts(struct copying *c, uint32_t from, uint32_t to)
{
	/* SQLite gathers them in memory when both are one table */
	enum { TEXTS_MOST = 256 };
	struct uid_range *t = &c->texts;
	uint32_t n = t->last - t->first + 1;
	if (t->first == 0 || from != t->last + 1 || to != c->texts_to + n ||
		n >= TEXTS_MOST) {
		copy_texts(c);
		t->first = from;
		c->texts_to = to;
	}
	t->last = from;
}

static bool
keeps_names(const struct copying *c)
{
	return c->move && c->to != &c->source;
}

/* <stem>N<number>.<host>, as for several that are appended at once; the UID
 * is as good a number as any.  A moved one keeps what it has. */
static struct str
name_of(struct copying *c, const struct message_row *o, uint32_t uid)
{
	if (keeps_names(c))
		return o->name;
	struct buf *b = buf_new(c->row);
	buf_add(b, c->stem);
	buf_addc(b, 'N');
	buf_addn(b, uid);
	buf_addc(b, '.');
	buf_adds(b, c->s->host);
	return maildir_with_id(c->row, buf_str(b), maildir_id(o->name));
}

/* Somebody else's file (fs.protected_hardlinks), one with as many links as it
 * may have, one on another file system, or on one without links. */
static bool
is_no_link(int err)
{
	return err == EPERM || err == EMLINK || err == EXDEV ||
		err == EOPNOTSUPP;
}

/* Its time is the internal date, should the index be lost. */
static bool
write_duplicate(struct copying *c, int in, int out)
{
	struct stat st;
	struct str raw;
	if (fstat(in, &st) != 0 || !row_content(c->row, in, &raw))
		return false;
	const struct timespec times[2] = {st.st_atim, st.st_mtim};
	return whole_write(out, raw) && futimens(out, times) == 0;
}

static bool
make_duplicate(struct copying *c, const char *from, const char *tmp)
{
	int in = openat(c->s->dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	if (in < 0)
		return false;
	int out = control_tmp(c->s, c->a, c->to->dir, tmp, O_EXCL);
	bool ok = out >= 0 && write_duplicate(c, in, out);
	int err = errno;
	close(in);
	if (out >= 0)
		close(out);
	errno = err;
	return ok;
}

/* Written to tmp/ and linked from there, so that until the commit it is one of
 * two, as any other copy. */
static bool
put_duplicate(struct copying *c, const char *from, const char *to)
{
	struct duplicate *d = arena_one(c->a, struct duplicate);
	d->tmp = folder_path(c->a, c->to->dir, str_cstr(c->a, str_printf(c->a,
		"tmp/%.*s", STR_ARG(control_unique(c->s, c->a)))));
	d->to = str_cstr(c->a, str_from(to));
	d->next = c->duplicates;
	c->duplicates = d;
	return make_duplicate(c, from, d->tmp) &&
		(own_link(c->s, d->tmp, to) ||
			(is_no_link(errno) && own_move(c->s, d->tmp, to)));
}

static bool
put(struct copying *c, const char *from, const char *to)
{
	bool ok = own_link(c->s, from, to) ||
		(is_no_link(errno) && put_duplicate(c, from, to));
	c->err = ok ? 0 : errno;
	return ok;
}

/* Where there are no links, what was put in place goes too. */
static void
drop_duplicates(struct copying *c, bool failed)
{
	for (struct duplicate *d = c->duplicates; d != NULL; d = d->next) {
		unlinkat(c->s->dir, d->tmp, 0);
		if (failed)
			unlinkat(c->s->dir, d->to, 0);
	}
	c->duplicates = NULL;
}

static bool
copy_one(struct copying *c, uint32_t uid)
{
	struct message_row o, n;
	struct folder_row *to = c->to;
	if (!load_original(c, uid, &o))
		return c->s->ix.fault == SQLITE_OK;
	n = o;
	n.uid = to->uidnext;
	n.in_new = false;
	n.saved = c->now;
	n.name = maildir_base(c->row, name_of(c, &o, n.uid), o.file_size,
		o.size, n.uid);
	n.keywords = translate_words(c, o.keywords);
	n.info = maildir_info(c->row, STR(""), o.flags,
		words_letters(&c->words, n.keywords));
	if (n.uid == UINT32_MAX)
		c->refused = NO_UID_LEFT;
	else if (!c->move)
		c->refused = quota_take(c->s, 1, o.file_size);
	if (!status_is_fine(c->refused) || !put(c, row_path(c->row,
		&c->source, o.in_new, o.name, o.info), row_path(c->row, to,
		false, n.name, n.info)))
		return false;
	row_insert_alone(c->s, to, &n, 0);
	note_texts(c, uid, n.uid);
	to->words_owed |= words_beyond(&c->words, n.keywords);
	uid_set_add(c->a, &c->out->from, uid);
	uid_set_add(c->a, &c->out->to, to->uidnext++);
	return c->s->ix.fault == SQLITE_OK;
}

static bool
copy_each(struct copying *c)
{
	enum { STEP = 256 };
	struct arena_mark m = arena_mark(c->row);
	uint64_t done = 0, all = uid_set_count(&c->uids);
	c->texts.first = 0;
	if (!intern_words(c))
		return false;
	for (size_t i = 0; i < c->uids.n; i++)
		for (uint64_t u = c->uids.v[i].first; u <= c->uids.v[i].last;
			u++) {
			if (!copy_one(c, (uint32_t)u))
				return false;
			arena_rewind(c->row, m);
			if (++done % STEP == 0 && c->s->progress != NULL)
				c->s->progress(c->s->progress_ctx, "", done,
					all);
		}
	copy_texts(c);
	return c->s->ix.fault == SQLITE_OK;
}

/* Rows, links, and for a move the end of the originals. */
static struct status
copy_rows(struct copying *c)
{
	struct folder_row *src = &c->source, *to = c->to;
	uint32_t first = to->uidnext;
	c->row = arena_new("copy");
	c->refused = status_fine();
	quota_begin(c->s);
	watch_begin(c->s, c->a, to, WATCH_CUR);
	bool ok = copy_each(c);
	watch_end(c->s, to);
	if (to->uidnext > first)
		runs_add(c->s, to, first, to->uidnext - 1);
	if (c->move)
		row_expunge(c->s, c->row, src, &c->out->from, EXPUNGE_FILES);
	folder_save(c->s, c->row, src);
	if (to != src)
		folder_save(c->s, c->row, to);
	arena_free(c->row);
	if (ok)
		return index_commit(c->s, c->a);
	index_rollback(c->s);
	struct status st = index_status(c->s, c->a);
	if (!status_is_fine(st))
		return st;
	return status_is_fine(c->refused)
		? status_errno(c->a, "copy", c->err) : c->refused;
}

/* False: others came between the two transactions. */
static bool
try_copy(struct copying *c, const struct uid_set *uids, struct str target,
	struct status *st)
{
	*st = find_both(c, uids, target);
	if (!status_is_fine(*st))
		return true;
	c->out->uidvalidity = c->to->uidvalidity;
	if (c->uids.n == 0) {
		/* there are none, or they could not be read */
		*st = index_status(c->s, c->a);
		index_rollback(c->s);
		return true;
	}
	c->stem = control_stem(c->s, c->a);
	struct pending p = pending_note(c->s, c->to, uid_set_count(&c->uids),
		keeps_names(c) ? STR("") : c->stem);
	*st = index_commit(c->s, c->a);
	if (status_is_fine(*st))
		*st = find_both(c, &c->uids, target);
	if (!status_is_fine(*st))
		return true;
	if (!pending_take(c->s, c->to, p, uid_set_count(&c->uids))) {
		index_rollback(c->s);
		return false;
	}
	*st = copy_rows(c);
	drop_duplicates(c, !status_is_fine(*st));
	if (!status_is_fine(*st)) {
		/* rolled back: the note is there again, the links are not
		 * wanted */
		struct folder_row f;
		*c->out = (struct mailbox_copied){
			.uidvalidity = c->out->uidvalidity};
		sync_whole(c->s, c->a, c->to->id, &f);
	}
	return true;
}

/* ------------------------------------------------------------ durability */

/* The contents too: they may have been delivered without a sync a moment
 * ago.  And the transaction: a power cut that kept the note, which somebody's
 * sync may have put on disk, and forgot the rest would take the copies for
 * nobody's, and leave what was moved in both folders. */
static bool
sync_files(struct copying *c)
{
	struct file_state row;
	for (size_t i = 0; i < c->out->to.n; i++)
		for (uint64_t u = c->out->to.v[i].first;
			u <= c->out->to.v[i].last; u++)
			if (row_state(c->s, c->a, c->to->id, (uint32_t)u,
				    &row) &&
				!control_sync(c->s, row_path(c->a, c->to,
					place_in_new(row.place), row.name,
					row.info), 0) && errno != ENOENT)
				return false;
	return control_sync(c->s, folder_path(c->a, c->to->dir, "cur"),
		O_DIRECTORY) && control_sync(c->s, INDEX_LOG, 0);
}

static struct status
make_durable(struct copying *c)
{
	enum { FILES_MOST = 16 };
	if (uid_set_count(&c->out->to) > FILES_MOST)
		return store_sync(c->s, c->a);
	return sync_files(c) ? status_fine()
		: status_errno(c->a, "sync", errno);
}

/* The sync failed: nothing of it may be taken for kept.  Originals that were
 * moved are still in place; the next look finds them. */
static void
take_back(struct copying *c)
{
	struct status st = index_begin(c->s, c->a);
	if (!status_is_fine(st))
		return;
	const struct uid_set *from = &c->out->from;
	if (folder_by_id(c->s, c->a, c->to->id, c->to)) {
		row_expunge(c->s, c->a, c->to, &c->out->to, EXPUNGE_FILES);
		folder_save(c->s, c->a, c->to);
	}
	for (size_t i = 0; i < from->n && c->move; i++)
		for (uint64_t u = from->v[i].first; u <= from->v[i].last; u++) {
			index_run(c->s, Q_DEAD_DROP, "ii", c->source.id, I(u));
			row_drop_texts(c->s, c->source.id, (uint32_t)u,
				(uint32_t)u);
		}
	if (folder_by_id(c->s, c->a, c->source.id, &c->source)) {
		c->source.cur_mtime = c->source.new_mtime = 0;
		folder_save(c->s, c->a, &c->source);
	}
	index_commit(c->s, c->a);
	row_bury(c->s, c->to->id, clock_in(1000));
}

static struct status
finish(struct copying *c)
{
	struct status st = make_durable(c);
	if (!status_is_fine(st)) {
		take_back(c);
		*c->out = (struct mailbox_copied){
			.uidvalidity = c->out->uidvalidity};
		return st;
	}
	notify_send(c->s);
	if (c->move)
		row_bury_few(c->s, c->source.id,
			uid_set_count(&c->out->from));
	return st;
}

/* Again when others came between, when a file is not where its row says
 * because somebody renamed it, and when there may be more room than rows
 * know. */
static struct status
copy_all(struct copying *c, const struct uid_set *uids, struct str target)
{
	enum { TRIES = 8 };
	struct status st = status_fine();
	struct quota_usage usage;
	struct folder_row f;
	bool looked = false;
	for (int i = 0; i < TRIES; i++) {
		c->err = 0;
		c->refused = status_fine();
		if (!try_copy(c, uids, target, &st)) {
			st = status_later(2, 0, STR("the mailbox is busy"));
		} else if (c->err == ENOENT) {
			sync_whole(c->s, c->a, c->m->row.id, &f);
		} else if (!status_is_fine(c->refused) && !looked) {
			quota_usage(c->s, c->a, &usage);
			looked = true;
		} else {
			return st;
		}
	}
	return st;
}

struct status
mailbox_copy(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	struct str target, bool move, struct mailbox_copied *out)
{
	struct copying c = {.m = m, .s = m->store, .a = a, .out = out,
		.move = move, .now = clock_wall()};
	struct folder_row f;
	*out = (struct mailbox_copied){0};
	struct status st = folder_find(m->store, a, target, &f);
	if (status_is_fine(st))
		st = copy_all(&c, uids, target);
	return status_is_fine(st) && out->to.n > 0 ? finish(&c) : st;
}
