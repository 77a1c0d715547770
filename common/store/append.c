/* SPDX-License-Identifier: ISC */
/*
 * New messages from a client: written to tmp/ and described while nobody is
 * locked out, then named, entered and made durable at once.  RFC 3501 6.3.11,
 * RFC 3502 (MULTIAPPEND), RFC 4315 (APPENDUID).
 *
 * Of several messages all or none arrive: they are noted first (pending.c),
 * so that what an interrupted commit leaves in cur/ is removed by the next
 * look at it.
 */
#include "store/index.h"
#include "store/notify.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct appended {
	struct appended *next;
	struct message_row row;
	bool described;
	struct str_list keywords;
	struct str unique;
	char *path; /* where its file is */
};

struct append {
	struct store *s;
	struct arena *a;
	struct folder_row f;
	struct appended *first, *last;
	size_t n;
	uint64_t octets; /* of all */
	struct str stem; /* of unique parts */
	struct buf *out;
	int fd; /* the one being written, -1 */
	bool cr; /* the last octet was a CR that is not written yet */
	char before; /* the octet before what is to come */
	bool done;
	struct status refused; /* by the quota; what it replaces is gone */
	int64_t source; /* the folder of the message it replaces */
	uint32_t replaced; /* 0: none */
	uint64_t freed; /* octets of its file */
};

enum {
	WRITE_SIZE = 256 * 1024,
	/* What is known of messages that wait for the commit; of more than that
	 * it is found under the lock. */
	DESCRIBED_MOST = 8 * 1024 * 1024,
};

static void
drop_files(void *ctx)
{
	struct append *p = ctx;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	for (struct appended *x = p->first; x != NULL && !p->done; x = x->next)
		unlinkat(p->s->dir, x->path, 0);
	p->done = true;
}

void
append_abort(struct append *p)
{
	drop_files(p);
}

struct status
append_begin(struct store *s, struct arena *a, struct str name,
	struct append **out)
{
	struct folder_row f;
	struct status st = folder_find(s, a, name, &f);
	if (!status_is_fine(st))
		return st;
	struct append *p = arena_one(a, struct append);
	p->s = s;
	p->a = a;
	p->f = f;
	p->fd = -1;
	p->stem = control_stem(s, a);
	p->out = buf_new(a);
	arena_hook(a, drop_files, p);
	*out = p;
	return st;
}

static struct str_list
copy_list(struct arena *a, struct str_list in)
{
	struct str_list l = {arena_array(a, in.n, sizeof *l.v), in.n};
	for (size_t i = 0; i < in.n; i++)
		l.v[i] = str_copy(a, in.v[i]);
	return l;
}

static char *
tmp_path(struct append *p, struct str unique)
{
	return folder_path(p->a, p->f.dir, str_cstr(p->a,
		str_printf(p->a, "tmp/%.*s", STR_ARG(unique))));
}

struct status
append_message(struct append *p, const struct append_message *m)
{
	struct appended *x = arena_one(p->a, struct appended);
	x->unique = str_printf(p->a, "%.*sN%zu.%s", STR_ARG(p->stem), p->n,
		p->s->host);
	x->path = tmp_path(p, x->unique);
	x->row.flags = m->flags;
	x->row.date = m->date;
	x->row.zone = m->zone;
	x->keywords = copy_list(p->a, m->keywords);
	p->fd = control_tmp(p->s, p->a, p->f.dir, x->path, O_EXCL);
	if (p->fd < 0)
		return status_errno(p->a, "append", errno);
	if (p->last == NULL)
		p->first = x;
	else
		p->last->next = x;
	p->last = x;
	p->n++;
	p->cr = false;
	p->before = '\0';
	buf_clear(p->out);
	return status_fine();
}

static struct status
flush_out(struct append *p)
{
	struct str rest = buf_str(p->out);
	while (rest.n > 0) {
		ssize_t n = write(p->fd, rest.p, rest.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return status_errno(p->a, "append",
				n < 0 ? errno : ENOSPC);
		rest = str_skip(rest, (size_t)n);
	}
	buf_clear(p->out);
	return status_fine();
}

/* A CR at the end waits for what follows it. */
struct status
append_write(struct append *p, struct str octets)
{
	if (octets.n == 0)
		return status_fine();
	if (p->cr && octets.p[0] == '\n') {
		message_to_disk(p->out, STR("\r\n"), &p->before);
		octets = str_skip(octets, 1);
	} else if (p->cr) {
		message_to_disk(p->out, STR("\r"), &p->before);
	}
	p->cr = octets.n > 0 && octets.p[octets.n - 1] == '\r';
	message_to_disk(p->out, str_head(octets, octets.n - p->cr),
		&p->before);
	return p->out->n >= WRITE_SIZE ? flush_out(p) : status_fine();
}

/* For as long as the arena lives, without the octets. */
static bool
describe(struct appended *x, struct arena *a, int fd)
{
	struct arena *own = arena_new("message");
	struct str raw;
	arena_limit(own, (size_t)1 << 30);
	bool ok = row_content(own, fd, &raw);
	if (ok) {
		x->row.name = x->unique;
		x->row.saved = clock_wall();
		row_from_content(own, raw, &x->row);
		message_keep(a, WANT_ALL, &x->row);
	}
	int err = errno;
	arena_free(own);
	errno = err;
	return ok;
}

struct status
append_end(struct append *p)
{
	struct appended *x = p->last;
	if (p->cr)
		buf_addc(p->out, '\r');
	p->cr = false;
	struct status st = flush_out(p);
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
		{.tv_sec = x->row.date}};
	if (status_is_fine(st) && futimens(p->fd, times) != 0)
		st = status_errno(p->a, "append", errno);
	if (status_is_fine(st) && arena_used(p->a) < DESCRIBED_MOST) {
		x->described = describe(x, p->a, p->fd);
		if (!x->described)
			st = status_errno(p->a, "append", errno);
	}
	struct stat file;
	if (fstat(p->fd, &file) == 0)
		p->octets += (uint64_t)file.st_size;
	if (close(p->fd) != 0 && status_is_fine(st))
		st = status_errno(p->a, "append", errno);
	p->fd = -1;
	return st;
}

void
append_replaces(struct append *p, struct mailbox *m, uint32_t uid)
{
	p->source = m->row.id;
	p->replaced = uid;
}

/* --------------------------------------------------------------- commit */

/* Of all messages, before the first is put in place. */
static bool
intern_all(struct append *p, struct words *w)
{
	*w = words_load(p->s, p->a, p->f.id);
	p->refused = status_fine();
	for (struct appended *x = p->first;
		x != NULL && status_is_fine(p->refused); x = x->next) {
		struct str_list l = copy_list(p->a, x->keywords);
		for (size_t i = 0; i < l.n; i++)
			l.v[i] = words_intern(p->s, p->a, &p->f, w, l.v[i]);
		x->row.keywords = words_join(p->a, l);
		p->refused = words_fit(x->row.keywords);
	}
	if (status_is_fine(p->refused))
		p->refused = words_keep(p->s, p->a, &p->f, w);
	return status_is_fine(p->refused);
}

static bool
describe_late(struct append *p, struct appended *x, struct arena *a)
{
	int fd = openat(p->s->dir, x->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	bool ok = fd >= 0 && describe(x, a, fd);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* What the new one needs beyond the one that leaves. */
static uint64_t
larger(const struct append *p, uint64_t octets)
{
	return octets > p->freed ? octets - p->freed : 0;
}

/* big: for what lasts until the row is in. */
static bool
enter(struct append *p, struct appended *x, struct words *w, struct arena *big)
{
	struct message_row *r = &x->row;
	if (!x->described && !describe_late(p, x, big))
		return false;
	r->uid = p->f.uidnext;
	r->name = maildir_base(big, x->unique, r->file_size, r->size, r->uid);
	r->info = maildir_info(big, STR(""), r->flags,
		words_letters(w, r->keywords));
	char *to = row_path(p->a, &p->f, false, r->name, r->info);
	p->refused = r->uid == UINT32_MAX ? NO_UID_LEFT
		: quota_take(p->s, p->replaced == 0, larger(p, r->file_size));
	if (!status_is_fine(p->refused) || !own_move(p->s, x->path, to))
		return false;
	x->path = to;
	p->f.uidnext++;
	p->f.words_owed |= words_beyond(w, r->keywords);
	row_insert(p->s, &p->f, r, 0);
	return p->s->ix.fault == SQLITE_OK;
}

static bool
enter_each(struct append *p, struct append_result *out)
{
	struct words w;
	bool ok = intern_all(p, &w);
	struct arena *big = arena_new("append");
	struct arena_mark m = arena_mark(big);
	arena_limit(big, (size_t)1 << 30);
	for (struct appended *x = p->first; x != NULL && ok; x = x->next) {
		ok = enter(p, x, &w, big);
		uid_set_add(p->a, &out->uids, x->row.uid);
		arena_rewind(big, m);
	}
	int err = errno;
	arena_free(big);
	errno = err;
	return ok;
}

/* The one it replaces leaves where and when it arrives. */
static bool
expunge_replaced(struct append *p)
{
	struct uid_range one = {p->replaced, p->replaced};
	struct folder_row other, *f = &p->f;
	struct file_state row;
	if (p->replaced == 0)
		return true;
	if (!row_state(p->s, p->a, p->source, p->replaced, &row)) {
		p->refused = MESSAGE_GONE;
		return false;
	}
	if (p->source != p->f.id) {
		f = &other;
		if (!folder_by_id(p->s, p->a, p->source, f))
			return false;
	}
	row_expunge(p->s, p->a, f, &(struct uid_set){&one, 1},
		EXPUNGE_FILES | EXPUNGE_REMEMBER);
	if (f == &other)
		folder_save(p->s, p->a, f);
	return p->s->ix.fault == SQLITE_OK;
}

static struct status
enter_all(struct append *p, struct append_result *out)
{
	uint32_t first = p->f.uidnext;
	quota_begin(p->s);
	watch_begin(p->s, p->a, &p->f, WATCH_CUR);
	bool ok = enter_each(p, out);
	int err = errno;
	watch_end(p->s, &p->f);
	if (ok)
		runs_add(p->s, &p->f, first, p->f.uidnext - 1);
	ok = ok && expunge_replaced(p);
	folder_save(p->s, p->a, &p->f);
	if (ok)
		return index_commit(p->s, p->a);
	index_rollback(p->s);
	struct status st = index_status(p->s, p->a);
	if (status_is_fine(st) && !status_is_fine(p->refused))
		return p->refused;
	return status_is_fine(st) ? status_errno(p->a, "append", err) : st;
}

/* The folder as it is now; its files may have moved with it. */
static struct status
locate(struct append *p)
{
	struct folder_row f;
	if (!folder_of_mailbox(p->s, p->a, p->f.mailbox_id, &f)) {
		index_rollback(p->s);
		struct status st = index_status(p->s, p->a);
		return status_is_fine(st) ? NO_FOLDER : st;
	}
	struct file_state row = {0};
	if (p->replaced != 0)
		row_state(p->s, p->a, p->source, p->replaced, &row);
	p->freed = row.file_size;
	bool moved = !str_eq(f.dir, p->f.dir);
	p->f = f;
	for (struct appended *x = p->first; x != NULL && moved; x = x->next)
		x->path = tmp_path(p, x->unique);
	return status_fine();
}

static struct status
begin(struct append *p)
{
	struct status st = index_begin(p->s, p->a);
	return status_is_fine(st) ? locate(p) : st;
}

/* Without the lock. */
static struct status
look(struct append *p)
{
	struct status st = index_begin_read(p->s, p->a);
	if (status_is_fine(st))
		st = locate(p);
	return status_is_fine(st) ? index_commit(p->s, p->a) : st;
}

static struct status
sync_contents(struct append *p)
{
	if (p->n > 1)
		return store_sync(p->s, p->a);
	return control_sync(p->s, p->first->path, 0) ? status_fine()
		: status_errno(p->a, "sync", errno);
}

/* All or none, also when killed between the renames and the commit: then files
 * without rows lie there, which a note says are nobody's.  One that is only
 * appended may stay, as if it had arrived. */
static bool
is_noted(const struct append *p)
{
	return p->n > 1 || p->replaced != 0;
}

/* False: others came between the two transactions. */
static bool
try_commit(struct append *p, struct append_result *out, struct status *st)
{
	struct pending note = {0};
	*st = begin(p);
	if (is_noted(p) && status_is_fine(*st)) {
		note = pending_note(p->s, &p->f, p->n, p->stem);
		*st = index_commit(p->s, p->a);
		if (status_is_fine(*st))
			*st = begin(p);
	}
	if (!status_is_fine(*st))
		return true;
	if (is_noted(p) && !pending_take(p->s, &p->f, note, p->n)) {
		index_rollback(p->s);
		return false;
	}
	out->uidvalidity = p->f.uidvalidity;
	*st = enter_all(p, out);
	return true;
}

/* Its file is still in place; the next look finds it. */
static void
bring_back_replaced(struct append *p)
{
	struct folder_row f;
	if (p->replaced == 0)
		return;
	index_run(p->s, Q_DEAD_DROP, "ii", p->source, I(p->replaced));
	row_drop_texts(p->s, p->source, p->replaced, p->replaced);
	if (!folder_by_id(p->s, p->a, p->source, &f))
		return;
	f.cur_mtime = f.new_mtime = 0;
	folder_save(p->s, p->a, &f);
}

/* The sync failed: nothing of it may be taken for kept. */
static struct status
take_back(struct append *p, const struct uid_set *uids, int err)
{
	if (status_is_fine(index_begin(p->s, p->a)) &&
		folder_by_id(p->s, p->a, p->f.id, &p->f)) {
		row_expunge(p->s, p->a, &p->f, uids, EXPUNGE_FILES);
		folder_save(p->s, p->a, &p->f);
		bring_back_replaced(p);
		index_commit(p->s, p->a);
		row_bury(p->s, p->f.id, clock_in(1000));
	}
	return status_errno(p->a, "sync", err);
}

/* What was noted must be known not to be nobody's any more: the note alone may
 * have been put on disk, with somebody else's sync. */
static bool
sync_end(struct append *p)
{
	return control_sync(p->s, folder_path(p->a, p->f.dir, "cur"),
		O_DIRECTORY) &&
		(!is_noted(p) || control_sync(p->s, INDEX_LOG, 0));
}

struct status
append_commit(struct append *p, struct append_result *out)
{
	enum { TRIES = 8 };
	*out = (struct append_result){.uidvalidity = p->f.uidvalidity};
	if (p->n == 0)
		return status_fine();
	struct status st = look(p);
	if (status_is_fine(st))
		st = quota_room(p->s, p->a, p->n - (p->replaced != 0),
			larger(p, p->octets));
	if (status_is_fine(st))
		st = sync_contents(p);
	for (int i = 0; i < TRIES && status_is_fine(st); i++) {
		if (try_commit(p, out, &st))
			break;
		st = i + 1 < TRIES ? status_fine()
			: status_later(2, 0, STR("the mailbox is busy"));
	}
	if (!status_is_fine(st)) {
		out->uids = (struct uid_set){0};
		drop_files(p);
		return st;
	}
	p->done = true;
	if (!sync_end(p))
		return take_back(p, &out->uids, errno);
	notify_send(p->s);
	if (p->replaced != 0)
		row_bury_few(p->s, p->source, 1);
	return st;
}
