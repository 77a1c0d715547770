/* SPDX-License-Identifier: ISC */
/*
 * What an index that was made anew of names does not know of a message yet:
 * its header, structure and thread.  It is read from the file when somebody
 * asks, a batch ahead of him, or when a session has nothing else to do; so a
 * mailbox of a hundred thousand messages can be opened when its files have
 * been listed, and no reader of rows ever meets one without.
 */
#include "base/clock.h"
#include "store/index.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

enum { BATCH = 128, OPEN = 16, OCTETS_MOST = 8 * 1024 * 1024 };

struct bare {
	struct message_row row;
	int fd;
	bool read, replaced;
};

struct describing {
	struct mailbox *m;
	struct arena *a;
	struct bare *v;
	size_t n, done, opened;
};

/* Those of a range, as many as there is room for. */
static void
take_range(struct describing *d, struct uid_range r)
{
	struct store *s = d->m->store;
	uint32_t most = mailbox_last_uid(d->m);
	sqlite3_stmt *st = index_query(s, Q_MESSAGE_BARE, "ii",
		index_key(d->m->row.id, r.first),
		index_key(d->m->row.id, r.last < most ? r.last : most));
	while (d->n < BATCH && index_row(s, st))
		d->v[d->n++].row = (struct message_row){
			.uid = index_uid(index_int(st, 0)),
			.name = str_copy(d->a, index_text(st, 1)),
			.info = str_copy(d->a, index_text(st, 2)),
			.in_new = place_in_new((enum place)index_int(st, 3)),
			.date = index_int(st, 4),
			.size = (uint64_t)index_int(st, 5),
		};
	if (d->n == BATCH)
		index_end(st);
}

/* The next ones; most folders have none, however many ranges are asked for. */
static void
take_batch(struct describing *d, const struct uid_set *uids, uint32_t from)
{
	struct uid_range span = {from, uids->v[uids->n - 1].last};
	d->v = arena_array(d->a, BATCH, sizeof *d->v);
	take_range(d, span);
	if (d->n == 0 || uids->n == 1)
		return;
	d->n = 0;
	for (size_t i = 0; i < uids->n && d->n < BATCH; i++)
		if (uids->v[i].last >= from)
			take_range(d, (struct uid_range){
				uids->v[i].first > from ? uids->v[i].first
							: from,
				uids->v[i].last});
}

static void
open_files(struct describing *d)
{
	for (; d->opened < d->n && d->opened < d->done + OPEN; d->opened++)
		d->v[d->opened].fd = mailbox_file_ahead(d->m, d->a,
			&d->v[d->opened].row);
}

/* One whose file cannot be read stays as it is, and out of every answer; of one
 * that is there the asker is told so. */
static void
read_files(struct describing *d)
{
	for (; d->done < d->n && arena_used(d->a) < OCTETS_MOST; d->done++) {
		struct bare *b = &d->v[d->done];
		struct message_file file;
		uint64_t size = b->row.size;
		open_files(d);
		struct status st = mailbox_read_opened(d->m, d->a, &b->row,
			b->fd, &file);
		if (status_is_later(st))
			d->m->unread = b->row.uid;
		if (!status_is_fine(st))
			continue;
		row_from_content(d->a, file.raw, &b->row);
		b->replaced = b->row.size != size;
		b->read = !b->replaced;
	}
	while (d->opened > d->done)
		if (d->v[--d->opened].fd >= 0)
			close(d->v[d->opened].fd);
}

static struct status
write_rows(struct describing *d, unsigned generation)
{
	struct store *s = d->m->store;
	struct folder_row f;
	struct status st = mailbox_begin(d->m, d->a, &f);
	if (!status_is_fine(st))
		return st;
	if (s->ix.generation != generation) {
		index_rollback(s);
		return status_later(2, 0, STR("the index was made anew"));
	}
	for (size_t i = 0; i < d->done; i++)
		if (d->v[i].read)
			row_describe(s, &f, &d->v[i].row);
	return index_commit(s, d->a);
}

/* Where the name does not say what the file is, the UID meant another message. */
static struct status
let_go(struct describing *d)
{
	struct status st = status_fine();
	for (size_t i = 0; i < d->done && status_is_fine(st); i++)
		if (d->v[i].replaced)
			st = sync_replaced(d->m->store, d->a, d->m->row.id,
				d->v[i].row.uid);
	return st;
}

static void
say_progress(struct describing *d, uint32_t upto)
{
	struct store *s = d->m->store;
	bool there;
	if (s->progress != NULL)
		s->progress(s->progress_ctx, str_cstr(d->a, d->m->row.name),
			uids_below(&d->m->uids, (uint64_t)upto + 1, &there),
			mailbox_count(d->m));
}

static struct status
describe_batch(struct describing *d, const struct uid_set *uids,
	uint32_t from, uint32_t *upto)
{
	struct store *s = d->m->store;
	unsigned generation = s->ix.generation;
	take_batch(d, uids, from);
	struct status st = index_status(s, d->a);
	*upto = UINT32_MAX;
	if (!status_is_fine(st) || d->n == 0)
		return st;
	read_files(d);
	st = write_rows(d, generation);
	if (status_is_fine(st))
		st = let_go(d);
	if (d->n == BATCH || d->done < d->n)
		*upto = d->v[d->done - 1].row.uid;
	say_progress(d, d->v[d->done - 1].row.uid);
	return st;
}

struct status
describe_some(struct mailbox *m, const struct uid_set *uids, uint32_t from,
	uint32_t *upto)
{
	struct describing d = {.m = m};
	*upto = UINT32_MAX;
	if (uids->n == 0)
		return status_fine();
	d.a = arena_new("describe");
	arena_limit(d.a, (size_t)1 << 30);
	struct status st = describe_batch(&d, uids, from, upto);
	st.text = str_copy(m->arena, st.text);
	arena_free(d.a);
	return st;
}

struct status
describe_folder(struct store *s, struct arena *a, struct str name)
{
	struct uid_range all = {1, UINT32_MAX};
	struct arena *own = arena_new("describe");
	struct mailbox *m;
	uint32_t upto = 0;
	arena_limit(own, (size_t)1 << 30);
	struct status st = mailbox_open(s, own, name, true, &m);
	bool open = status_is_fine(st);
	while (status_is_fine(st) && upto < UINT32_MAX)
		st = describe_some(m, &(struct uid_set){&all, 1}, upto + 1,
			&upto);
	if (open)
		mailbox_close(m);
	st.text = str_copy(a, st.text);
	arena_free(own);
	return st;
}

/* One session of the user is enough. */
bool
mailbox_describe(struct mailbox *m, int64_t deadline)
{
	struct uid_range all = {1, UINT32_MAX};
	struct uid_set set = {&all, 1};
	if (m->gone || m->described == UINT32_MAX || !mailbox_ready(m))
		return true;
	struct arena_mark mark = arena_mark(m->arena);
	int turn = openat(m->store->dir, folder_path(m->arena, m->row.dir,
		"cur"), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	arena_rewind(m->arena, mark);
	bool mine = turn >= 0 && flock(turn, LOCK_EX | LOCK_NB) == 0;
	struct status st = status_fine();
	while (mine && status_is_fine(st) && m->described < UINT32_MAX &&
		clock_ms() < deadline)
		st = describe_some(m, &set, m->described + 1, &m->described);
	if (turn >= 0)
		close(turn);
	return !mine || !status_is_fine(st) || m->described == UINT32_MAX;
}
