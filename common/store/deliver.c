/* SPDX-License-Identifier: ISC */
/*
 * Delivery of queued mail.  Most of the work, writing to tmp/ and describing
 * the message, is done without the lock; then one transaction gives UIDs,
 * renames everything into new/ and enters the rows.  No sync of its own: the
 * queue keeps the message until a checkpoint has covered it, and asks for a
 * verification after a crash.
 */
#include "store/deliver.h"
#include "base/clock.h"
#include "base/map.h"
#include "store/index.h"
#include "store/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct parcel {
	struct delivery *d;
	struct message_row row;
	struct str raw; /* as it is to lie on disk */
	char *tmp;
	char *entered; /* where it went; NULL: nowhere yet */
	struct parcel *same; /* of the same name, before this one */
	struct earlier *earlier; /* NULL: it cannot have been here before */
	bool pending;
};

struct batch {
	struct store *s;
	struct arena *a;
	struct folder_row f;
	struct parcel *v;
	size_t n;
	struct map *names;
	const struct delivery_rules *rules;
};

static void
settle_as(struct parcel *p, struct status st)
{
	p->d->status = st;
	p->pending = false;
}

/* --------------------------------------------------------- earlier copies */

static bool
is_whole(struct store *s, struct arena *a, const char *path, struct str raw)
{
	struct arena_mark m = arena_mark(a);
	struct str there = {0};
	int fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
		O_NONBLOCK);
	bool same = fd >= 0 && row_content(a, fd, &there) && str_eq(there, raw);
	if (fd >= 0)
		close(fd);
	arena_rewind(a, m);
	return same;
}

static void
was_there(struct batch *b, struct parcel *p, const char *path)
{
	p->d->was_there = true;
	p->d->file = str_from(path);
	unlinkat(b->s->dir, p->tmp, 0);
	settle_as(p, status_fine());
}

/*
 * Under the lock.  An earlier delivery with a whole file behind it settles the
 * matter, any other goes.  After a failed sync even a file that reads as whole
 * goes: the page cache shows what the disk has lost.
 */
static void
look_for_copy(struct batch *b, struct parcel *p)
{
	const struct earlier *e = p->earlier;
	struct folder_row f;
	if (e != NULL && e->past && !p->d->rewrite)
		was_there(b, p, "");
	if (e == NULL || e->key == 0 ||
		!folder_by_id(b->s, b->a, e->key >> 32, &f))
		return;
	char *path = row_path(b->a, &f, e->in_new, e->name, e->info);
	if (!p->d->rewrite && is_whole(b->s, b->a, path, p->raw)) {
		was_there(b, p, path);
		return;
	}
	struct uid_set torn = {0};
	struct folder_row *to = f.id == b->f.id ? &b->f : &f;
	uid_set_add(b->a, &torn, index_uid(e->key));
	row_expunge(b->s, b->a, to, &torn, 0);
	if (to == &f)
		folder_save(b->s, b->a, &f);
	own_unlink(b->s, path);
}

/* As above; nothing is written for who only asked. */
static void
look(struct batch *b, struct parcel *p)
{
	look_for_copy(b, p);
	if (!p->pending || !p->d->only_look)
		return;
	unlinkat(b->s->dir, p->tmp, 0);
	settle_as(p, status_fine());
}

static bool
is_repeated(const struct parcel *p)
{
	return p->pending && (p->d->verify || p->d->rewrite);
}

static void
find_copies(struct batch *b)
{
	struct str *names = arena_array(b->a, b->n, sizeof *names);
	struct earlier *v = arena_array(b->a, b->n, sizeof *v);
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++)
		if (is_repeated(&b->v[i])) {
			b->v[i].earlier = &v[n];
			names[n++] = b->v[i].d->name;
		}
	if (n > 0)
		earlier_find(b->s, b->a, names, v, n);
}

/* -------------------------------------------------------------- writing */

/* What an earlier attempt left, or somebody put there, goes: it may be a link
 * to another file. */
static int
make_tmp(struct batch *b, const char *path)
{
	int fd = control_tmp(b->s, b->a, b->f.dir, path, O_EXCL);
	if (fd >= 0 || errno != EEXIST || unlinkat(b->s->dir, path, 0) != 0)
		return fd;
	return control_tmp(b->s, b->a, b->f.dir, path, O_EXCL);
}

static bool
write_parcel(struct batch *b, struct parcel *p)
{
	int fd = make_tmp(b, p->tmp);
	if (fd < 0)
		return false;
	struct str rest = p->raw;
	bool ok = true;
	while (rest.n > 0 && ok) {
		ssize_t n = write(fd, rest.p, rest.n);
		if (n < 0 && errno == EINTR)
			continue;
		ok = n > 0;
		rest = str_skip(rest, ok ? (size_t)n : 0);
	}
	ok = ok && (!b->rules->each || fsync(fd) == 0);
	int err = errno;
	ok = close(fd) == 0 && ok;
	if (!ok) {
		unlinkat(b->s->dir, p->tmp, 0);
		errno = err;
	}
	return ok;
}

static bool
is_good_name(struct str name)
{
	return name.n > 0 && name.n <= DELIVERY_NAME_MOST && name.p[0] != '.' &&
		!str_has(name, '/') && !str_has(name, ':') &&
		!str_has(name, ',') && !str_has(name, '\0');
}

static void
prepare(struct batch *b, struct parcel *p)
{
	if (!is_good_name(p->d->name)) {
		settle_as(p, status_never(3, 0, STR("bad file name")));
		return;
	}
	p->same = map_get(b->names, p->d->name);
	if (p->same != NULL)
		return;
	map_set(b->names, p->d->name, p);
	struct buf *raw = buf_new(b->a);
	char before = '\0';
	buf_room(raw, p->d->head.n + p->d->content.n);
	message_to_disk(raw, p->d->head, &before);
	message_to_disk(raw, p->d->content, &before);
	p->raw = buf_str(raw);
	p->tmp = folder_path(b->a, b->f.dir, str_cstr(b->a,
		str_printf(b->a, "tmp/%.*s", STR_ARG(p->d->name))));
	if (!write_parcel(b, p)) {
		settle_as(p, status_errno(b->a, "write", errno));
		return;
	}
	p->row = (struct message_row){.name = p->d->name, .in_new = true,
		.date = p->d->date, .saved = clock_wall()};
	row_from_content(b->a, p->raw, &p->row);
	p->pending = true;
}

/* --------------------------------------------------------------- entering */

/* A file of this name and without a row is what a crash left of this job; and
 * somebody may have removed new/. */
static bool
put(struct batch *b, const char *tmp, const char *to)
{
	if (own_move(b->s, tmp, to))
		return true;
	if (errno == EEXIST)
		return unlinkat(b->s->dir, to, 0) == 0 &&
			own_move(b->s, tmp, to);
	return errno == ENOENT &&
		mkdirat(b->s->dir, folder_path(b->a, b->f.dir, "new"), 0700) ==
			0 && own_move(b->s, tmp, to);
}

static void
enter(struct batch *b, struct parcel *p)
{
	struct message_row *r = &p->row;
	r->uid = b->f.uidnext;
	r->name = maildir_base(b->a, p->d->name, r->file_size, r->size, r->uid);
	char *to = row_path(b->a, &b->f, true, r->name, STR(""));
	struct status room = r->uid == UINT32_MAX ? NO_UID_LEFT
		: quota_take(b->s, 1, r->file_size);
	if (!status_is_fine(room)) {
		settle_as(p, room);
		unlinkat(b->s->dir, p->tmp, 0);
		return;
	}
	if (!put(b, p->tmp, to)) {
		settle_as(p, status_errno(b->a, "rename", errno));
		unlinkat(b->s->dir, p->tmp, 0);
		return;
	}
	p->entered = to;
	p->d->file = str_from(to);
	p->d->status = status_fine();
	b->f.uidnext++;
	row_insert(b->s, &b->f, r, 0);
}

static struct status
enter_all(struct batch *b)
{
	uint32_t first = b->f.uidnext;
	watch_begin(b->s, b->a, &b->f, WATCH_NEW);
	find_copies(b);
	quota_begin(b->s);
	for (size_t i = 0; i < b->n; i++) {
		if (b->v[i].pending)
			look(b, &b->v[i]);
		if (b->v[i].pending)
			enter(b, &b->v[i]);
	}
	if (b->f.uidnext > first)
		runs_add(b->s, &b->f, first, b->f.uidnext - 1);
	watch_end(b->s, &b->f);
	folder_save(b->s, b->a, &b->f);
	return index_commit(b->s, b->a);
}

static bool
sync_new(struct batch *b)
{
	int fd = openat(b->s->dir, folder_path(b->a, b->f.dir, "new"),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static void
remove_entered(struct batch *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].pending && b->v[i].entered != NULL)
			unlinkat(b->s->dir, b->v[i].entered, 0);
}

/*
 * Under the lock, once more: what stands in new/ without a row goes.  Somebody
 * may have come upon it in between, where the lock was lost with the index, or
 * the commit failed: that has been delivered then, and would otherwise be
 * remembered as a message that came and went, and be believed to have been read
 * by who asks after it.
 */
static void
withdraw(struct batch *b)
{
	bool ok = status_is_fine(index_begin(b->s, b->a)) &&
		folder_by_id(b->s, b->a, b->f.id, &b->f);
	for (size_t i = 0; i < b->n; i++)
		b->v[i].d->verify |= b->v[i].entered != NULL;
	if (ok)
		find_copies(b);
	for (size_t i = 0; i < b->n; i++) {
		struct parcel *p = &b->v[i];
		if (ok && p->pending && p->entered != NULL)
			look_for_copy(b, p);
	}
	remove_entered(b);
	if (ok)
		folder_save(b->s, b->a, &b->f);
	index_commit(b->s, b->a);
}

/* Not entered: the files go. */
static void
fail_pending(struct batch *b, struct status st)
{
	for (size_t i = 0; i < b->n; i++) {
		if (!b->v[i].pending)
			continue;
		unlinkat(b->s->dir, b->v[i].tmp, 0);
		settle_as(&b->v[i], st);
	}
}

/* The sync failed: nothing of the batch may be taken for delivered. */
static struct status
take_back(struct batch *b, int err)
{
	struct status st = status_errno(b->a, "sync", err);
	struct uid_set uids = {0};
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].pending)
			uid_set_add(b->a, &uids, b->v[i].row.uid);
	if (status_is_fine(index_begin(b->s, b->a)) &&
		folder_by_id(b->s, b->a, b->f.id, &b->f)) {
		row_expunge(b->s, b->a, &b->f, &uids, 0);
		folder_save(b->s, b->a, &b->f);
	}
	remove_entered(b);
	index_commit(b->s, b->a);
	return st;
}

static void
fail_all(struct delivery *v, size_t n, struct status st)
{
	for (size_t i = 0; i < n; i++)
		v[i].status = st;
}

/* A message that was moved may have lost its row with the index.  A folder
 * that is broken is no reason to wait. */
static struct status
sync_rebuilt(struct batch *b)
{
	size_t n;
	struct folder_row *v, f;
	struct status st = index_begin_read(b->s, b->a);
	if (!status_is_fine(st))
		return st;
	v = folder_rows(b->s, b->a, &n);
	st = index_commit(b->s, b->a);
	for (size_t i = 0; i < n && status_is_fine(st); i++)
		if (v[i].dir.n > 0 && v[i].rebuild)
			sync_folder(b->s, b->a, v[i].id, &f);
	for (size_t i = 0; i < n && status_is_fine(st); i++)
		if (v[i].dir.n == 0)
			st = sync_folder(b->s, b->a, v[i].id, &f);
	return st;
}

/* The transaction, and INBOX as it is now. */
static struct status
begin_now(struct batch *b)
{
	struct status st = index_begin(b->s, b->a);
	if (!status_is_fine(st))
		return st;
	if (folder_named(b->s, b->a, STR("INBOX"), &b->f))
		return st;
	index_rollback(b->s);
	st = index_status(b->s, b->a);
	return status_is_fine(st)
		? status_later(2, 0, STR("there is no INBOX")) : st;
}

/*
 * Foreign changes first where they matter: after a crash there may be files
 * whose rows were lost, and an index made anew gives out no UID before it has
 * seen those in the names.  Otherwise a delivery does not look at what others
 * did, which could read a whole new/ for every batch: the next session does.
 */
static struct status
begin(struct batch *b, bool verify)
{
	struct status st = status_fine();
	struct folder_row f;
	for (int i = 0; i < 2; i++) {
		if (status_is_fine(st) && verify && i == 0)
			st = sync_rebuilt(b);
		if (status_is_fine(st))
			st = begin_now(b);
		if (!status_is_fine(st) || !b->f.rebuild)
			return st;
		index_rollback(b->s);
		st = sync_folder(b->s, b->a, b->f.id, &f);
	}
	return status_is_fine(st)
		? status_later(2, 0, STR("the index was made anew")) : st;
}

static bool
is_wanted(const struct batch *b)
{
	return b->rules->is_wanted == NULL || b->rules->is_wanted(b->rules->ctx);
}

/* The files in tmp/ may be another's by now, who has the same jobs. */
static struct status
give_up(struct batch *b)
{
	struct status st =
		status_later(3, 0, STR("nobody waits for this delivery"));
	index_rollback(b->s);
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i].pending)
			settle_as(&b->v[i], st);
	return st;
}

static struct status
run(struct batch *b)
{
	bool verify = false, any = false;
	uint64_t octets = 0;
	for (size_t i = 0; i < b->n; i++) {
		verify |= b->v[i].d->verify || b->v[i].d->rewrite;
		prepare(b, &b->v[i]);
		any |= b->v[i].pending;
		octets += b->v[i].raw.n;
	}
	if (!any)
		return status_fine();
	/* looks for what others have freed, if it would not fit */
	quota_room(b->s, b->a, b->n, octets);
	struct status st = begin(b, verify);
	if (status_is_fine(st) && !is_wanted(b))
		st = give_up(b);
	if (status_is_fine(st)) {
		st = enter_all(b);
		if (!status_is_fine(st))
			withdraw(b);
		else if (b->rules->each && !sync_new(b))
			st = take_back(b, errno);
	}
	if (!status_is_fine(st))
		fail_pending(b, st);
	else
		notify_send(b->s);
	return st;
}

void
store_deliver(struct store *s, struct arena *a, struct delivery *v, size_t n,
	const struct delivery_rules *rules)
{
	struct batch b = {.s = s, .a = a, .n = n, .rules = rules};
	struct status st = index_ready(s, a);
	b.f.dir = STR("");
	if (!status_is_fine(st)) {
		fail_all(v, n, st);
		return;
	}
	b.v = arena_array(a, n, sizeof *b.v);
	b.names = map_new(a);
	for (size_t i = 0; i < n; i++)
		b.v[i].d = &v[i];
	run(&b);
	for (size_t i = 0; i < n; i++)
		if (b.v[i].same != NULL) {
			v[i].status = b.v[i].same->d->status;
			v[i].file = b.v[i].same->d->file;
			v[i].was_there = true;
		}
}
