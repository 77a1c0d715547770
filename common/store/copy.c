/* SPDX-License-Identifier: ISC */
/*
 * COPY and MOVE: a hard link each, rows copied in one transaction, one sync.
 * RFC 3501 6.4.7, RFC 6851, RFC 4315 (COPYUID).
 *
 * All or none: the names of the links are noted as dead in a transaction of
 * their own first, and taken off that list by the one that enters the rows.
 * What a crash leaves between is removed by the next look at the folder.
 * A moved message keeps its unique part, so that a second delivery of the
 * same job is recognised where it went.
 */
#include "store/index.h"
#include "store/notify.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

struct copying {
	struct mailbox *m;
	struct store *s;
	struct arena *a;   /* as long as the copying */
	struct arena *row; /* one row */
	struct arena *result;
	struct folder_row source, target;
	struct folder_row *to; /* &source when both are one */
	struct words from_words, to_words;
	struct uid_set uids; /* that are there */
	struct str *uniques;
	char **made; /* links */
	size_t made_n;
	struct mailbox_copied *out;
	bool move;
};

static struct status
find_both(struct copying *c, const struct uid_set *uids, struct str name)
{
	struct str good;
	struct status st = mailbox_begin(c->m, c->a, &c->source);
	if (!status_is_fine(st))
		return st;
	if (!folders_name(c->a, name, &good) ||
		!folder_named(c->s, c->a, good, &c->target)) {
		index_rollback(c->s);
		return NO_FOLDER;
	}
	c->to = c->target.id == c->source.id ? &c->source : &c->target;
	c->uids = mailbox_existing(c->m, c->a, uids, true);
	return st;
}

/* The unique part that each will have, by its place in the set. */
static void
choose_names(struct copying *c)
{
	size_t n = 0;
	bool keep = c->move && c->to != &c->source;
	c->uniques = arena_array(c->a, (size_t)uid_set_count(&c->uids),
		sizeof *c->uniques);
	for (size_t i = 0; i < c->uids.n; i++)
		for (uint64_t u = c->uids.v[i].first; u <= c->uids.v[i].last;
			u++, n++) {
			struct file_state row;
			if (keep && row_state(c->s, c->row, c->source.id,
				(uint32_t)u, &row))
				c->uniques[n] = str_copy(c->a,
					maildir_parse(row.name).unique);
			else
				c->uniques[n] = control_unique(c->s, c->a);
			index_run(c->s, Q_DEAD_ADD, "itt", c->to->id,
				c->uniques[n], STR(""));
		}
}

static struct str
translate_words(struct copying *c, struct str text)
{
	if (text.n == 0 || c->to == &c->source)
		return text;
	struct str_list l = words_split(c->row, text);
	for (size_t i = 0; i < l.n; i++)
		l.v[i] = words_intern(c->s, c->a, c->to, &c->to_words, l.v[i]);
	return words_join(c->row, l);
}

static bool
copy_one(struct copying *c, uint32_t uid, struct str unique)
{
	struct message_row row;
	if (!scan_one(c->s, c->row, index_key(c->source.id, uid), WANT_ALL,
		    &row))
		return c->s->ix.fault == SQLITE_OK;
	char *from =
		row_path(c->row, &c->source, row.in_new, row.name, row.info);
	row.name = maildir_base(c->row, unique, row.file_size, row.size,
		c->to->uidnext);
	row.keywords = translate_words(c, row.keywords);
	row.info = maildir_info(c->row, STR(""), row.flags,
		words_letters(&c->to_words, row.keywords));
	row.in_new = false;
	row.saved = clock_wall();
	row.uid = c->to->uidnext;
	char *to = row_path(c->a, c->to, false, row.name, row.info);
	if (row.uid == UINT32_MAX ||
		linkat(c->s->dir, from, c->s->dir, to, 0) != 0)
		return false;
	c->made[c->made_n++] = to;
	c->to->uidnext++;
	c->to->words_owed |= row.keywords.n > 0 && c->to_words.n > 26;
	row_insert(c->s, c->to, &row, false);
	index_run(c->s, Q_DEAD_DROP, "it", c->to->id, unique);
	uid_set_add(c->result, &c->out->from, uid);
	uid_set_add(c->result, &c->out->to, row.uid);
	return true;
}

static bool
copy_each(struct copying *c)
{
	size_t n = 0;
	c->made = arena_array(c->a, (size_t)uid_set_count(&c->uids),
		sizeof *c->made);
	c->to_words = words_load(c->s, c->a, c->to->id);
	struct arena_mark mark = arena_mark(c->row);
	for (size_t i = 0; i < c->uids.n; i++)
		for (uint64_t u = c->uids.v[i].first; u <= c->uids.v[i].last;
			u++, n++) {
			if (!copy_one(c, (uint32_t)u, c->uniques[n]))
				return false;
			arena_rewind(c->row, mark);
		}
	return true;
}

static void
unmake(struct copying *c)
{
	for (size_t i = 0; i < c->made_n; i++)
		unlinkat(c->s->dir, c->made[i], 0);
	*c->out = (struct mailbox_copied){
		.uidvalidity = c->out->uidvalidity};
	c->made_n = 0;
}

/* Rows, links, and for a move the end of the originals. */
static struct status
copy_rows(struct copying *c, int *err)
{
	struct folder_row *src = &c->source, *to = c->to;
	uint32_t first = to->uidnext;
	folder_touch(c->s, c->a, to);
	bool ok = copy_each(c);
	*err = ok ? 0 : errno;
	if (to->uidnext > first)
		runs_add(c->s, to->id, first, to->uidnext - 1);
	folder_touched(c->s, c->a, to);
	if (c->move)
		row_expunge(c->s, c->a, src, &c->out->from, true);
	folder_save(c->s, c->a, src);
	if (to != src)
		folder_save(c->s, c->a, to);
	if (!ok)
		index_rollback(c->s);
	struct status st = ok ? index_commit(c->s, c->a)
		: index_status(c->s, c->a);
	if (ok && status_is_fine(st))
		return st;
	unmake(c);
	if (*err == 0 || !status_is_fine(st))
		return st;
	return status_errno(c->a, "link", *err);
}

static struct status
try_copy(struct copying *c, const struct uid_set *uids, struct str target,
	int *err)
{
	*err = 0;
	struct status st = find_both(c, uids, target);
	if (!status_is_fine(st))
		return st;
	c->out->uidvalidity = c->to->uidvalidity;
	choose_names(c);
	st = index_commit(c->s, c->a);
	if (status_is_fine(st))
		st = find_both(c, &c->uids, target);
	return status_is_fine(st) ? copy_rows(c, err) : st;
}

/* The whole of it, in memory of its own: a copy may be of a million. */
static struct status
copy_all(struct copying *c, const struct uid_set *uids, struct str target)
{
	enum { TRIES = 3 };
	struct status st = status_fine();
	struct folder_row f;
	int err = ENOENT;
	for (int i = 0; i < TRIES && err == ENOENT; i++) {
		struct arena_mark mark = arena_mark(c->a);
		*c->out = (struct mailbox_copied){0};
		c->made_n = 0;
		st = try_copy(c, uids, target, &err);
		if (err != ENOENT)
			break;
		/* a file is not where its row says: somebody renamed it */
		arena_rewind(c->a, mark);
		st = sync_whole(c->s, c->a, c->m->row.id, &f);
		if (!status_is_fine(st))
			break;
		st = status_later(2, 0, STR("a message cannot be copied now"));
	}
	return st;
}

struct status
mailbox_copy(struct mailbox *m, struct arena *a, const struct uid_set *uids,
	struct str target, bool move, struct mailbox_copied *out)
{
	struct copying c = {.m = m, .s = m->store, .a = arena_new("copy"),
		.row = arena_new("row"), .result = a, .out = out,
		.move = move};
	arena_limit(c.a, (size_t)4 << 30);
	*out = (struct mailbox_copied){0};
	struct status st = copy_all(&c, uids, target);
	st.text = str_copy(a, st.text);
	arena_free(c.row);
	arena_free(c.a);
	if (!status_is_fine(st) || out->to.n == 0)
		return st;
	st = store_sync(m->store, a);
	if (!status_is_fine(st))
		return st;
	if (move)
		row_bury(m->store, m->row.id);
	notify_send(m->store);
	return st;
}
