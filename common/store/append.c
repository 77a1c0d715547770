/* SPDX-License-Identifier: ISC */
/*
 * New messages from a client: written to tmp/ and described while nobody is
 * locked out, then named, entered and made durable at once.  RFC 3501 6.3.11,
 * RFC 3502 (MULTIAPPEND), RFC 4315 (APPENDUID).
 *
 * Of several messages all or none arrive: their names are noted as dead
 * first, so that what an interrupted commit leaves in cur/ is removed by the
 * next look at it.
 */
#include "store/index.h"
#include "store/notify.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct appended {
	struct appended *next;
	struct message_row row;
	struct str_list keywords;
	struct str unique;
	char *tmp; /* path */
};

struct append {
	struct store *s;
	struct arena *a;
	struct folder_row f;
	struct appended *first, *last;
	size_t n;
	struct buf *out;
	int fd; /* the one being written, -1 */
	bool cr; /* the last octet was a CR that is not written yet */
	bool done;
};

enum { WRITE_SIZE = 256 * 1024 };

static void
drop_files(void *ctx)
{
	struct append *p = ctx;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	for (struct appended *x = p->first; x != NULL && !p->done; x = x->next)
		unlinkat(p->s->dir, x->tmp, 0);
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

struct status
append_message(struct append *p, const struct append_message *m)
{
	struct appended *x = arena_one(p->a, struct appended);
	x->unique = control_unique(p->s, p->a);
	x->tmp = folder_path(p->a, p->f.dir, str_cstr(p->a,
		str_printf(p->a, "tmp/%.*s", STR_ARG(x->unique))));
	x->row.flags = m->flags;
	x->row.date = m->date;
	x->row.zone = m->zone;
	x->keywords = copy_list(p->a, m->keywords);
	p->fd = openat(p->s->dir, x->tmp, O_RDWR | O_CREAT | O_EXCL |
		O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->fd < 0)
		return status_errno(p->a, "append", errno);
	if (p->last == NULL)
		p->first = x;
	else
		p->last->next = x;
	p->last = x;
	p->n++;
	p->cr = false;
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
	if (p->cr && octets.p[0] != '\n')
		buf_addc(p->out, '\r');
	p->cr = octets.p[octets.n - 1] == '\r';
	message_to_disk(p->out, str_head(octets, octets.n - p->cr));
	return p->out->n >= WRITE_SIZE ? flush_out(p) : status_fine();
}

struct status
append_end(struct append *p)
{
	struct appended *x = p->last;
	struct arena *a = arena_new("message");
	struct str raw;
	if (p->cr)
		buf_addc(p->out, '\r');
	p->cr = false;
	struct status st = flush_out(p);
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
		{.tv_sec = x->row.date}};
	if (status_is_fine(st) && (futimens(p->fd, times) != 0 ||
		fsync(p->fd) != 0 || !row_content(a, p->fd, &raw)))
		st = status_errno(p->a, "append", errno);
	if (status_is_fine(st)) {
		x->row.name = x->unique;
		x->row.saved = clock_wall();
		row_from_content(a, raw, &x->row);
		message_keep(p->a, WANT_ALL, &x->row);
	}
	close(p->fd);
	p->fd = -1;
	arena_free(a);
	return st;
}

/* --------------------------------------------------------------- commit */

static struct status
note_names(struct append *p)
{
	if (p->n < 2)
		return status_fine();
	struct status st = index_begin(p->s, p->a);
	if (!status_is_fine(st))
		return st;
	for (struct appended *x = p->first; x != NULL; x = x->next)
		index_run(p->s, Q_DEAD_ADD, "itt", p->f.id, x->unique,
			STR(""));
	return index_commit(p->s, p->a);
}

static struct str
intern_all(struct append *p, struct words *w, struct str_list in)
{
	struct str_list out = {arena_array(p->a, in.n, sizeof *out.v), in.n};
	for (size_t i = 0; i < in.n; i++)
		out.v[i] = words_intern(p->s, p->a, &p->f, w, in.v[i]);
	return words_join(p->a, out);
}

static bool
enter(struct append *p, struct appended *x, struct words *w)
{
	struct message_row *r = &x->row;
	r->uid = p->f.uidnext++;
	r->name = maildir_base(p->a, x->unique, r->file_size, r->size, r->uid);
	r->keywords = intern_all(p, w, x->keywords);
	r->info = maildir_info(p->a, STR(""), r->flags,
		words_letters(w, r->keywords));
	if (r->keywords.n > 0 && w->n > 26)
		p->f.words_owed = true;
	char *to = row_path(p->a, &p->f, false, r->name, r->info);
	if (r->uid == UINT32_MAX ||
		renameat(p->s->dir, x->tmp, p->s->dir, to) != 0)
		return false;
	x->tmp = to;
	row_insert(p->s, &p->f, r, false);
	if (p->n > 1)
		index_run(p->s, Q_DEAD_DROP, "it", p->f.id, x->unique);
	return true;
}

static bool
sync_cur(struct append *p)
{
	int fd = openat(p->s->dir, folder_path(p->a, p->f.dir, "cur"),
		O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return ok;
}

static struct status
enter_all(struct append *p, struct append_result *out)
{
	struct words w = words_load(p->s, p->a, p->f.id);
	uint32_t first = p->f.uidnext;
	bool ok = true;
	folder_touch(p->s, p->a, &p->f);
	for (struct appended *x = p->first; x != NULL && ok; x = x->next) {
		ok = enter(p, x, &w);
		uid_set_add(p->a, &out->uids, x->row.uid);
	}
	int err = errno;
	runs_add(p->s, p->f.id, first, p->f.uidnext - 1);
	folder_touched(p->s, p->a, &p->f);
	folder_save(p->s, p->a, &p->f);
	if (!ok) {
		index_rollback(p->s);
		return status_errno(p->a, "append", err);
	}
	return index_commit(p->s, p->a);
}

/* The sync failed: nothing of it may be taken for kept. */
static struct status
take_back(struct append *p, const struct uid_set *uids, int err)
{
	if (status_is_fine(index_begin(p->s, p->a)) &&
		folder_by_id(p->s, p->a, p->f.id, &p->f)) {
		row_expunge(p->s, p->a, &p->f, uids, true);
		folder_save(p->s, p->a, &p->f);
		index_commit(p->s, p->a);
		row_bury(p->s, p->f.id);
	}
	return status_errno(p->a, "sync", err);
}

struct status
append_commit(struct append *p, struct append_result *out)
{
	*out = (struct append_result){.uidvalidity = p->f.uidvalidity};
	struct folder_row f;
	struct str id = p->f.mailbox_id;
	if (p->n == 0)
		return status_fine();
	struct status st = note_names(p);
	if (status_is_fine(st))
		st = index_begin(p->s, p->a);
	if (!status_is_fine(st))
		return st;
	if (!folder_of_mailbox(p->s, p->a, id, &f)) {
		index_rollback(p->s);
		return NO_FOLDER;
	}
	p->f = f;
	st = enter_all(p, out);
	if (!status_is_fine(st))
		return st;
	p->done = true;
	if (!sync_cur(p))
		return take_back(p, &out->uids, errno);
	notify_send(p->s);
	return st;
}
