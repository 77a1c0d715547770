/* SPDX-License-Identifier: ISC */
/*
 * Sets of UIDs, line ends on disk and on the wire, and finding the file of a
 * message, whoever has renamed it.
 */
#include "store/message.h"
#include "store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

uint64_t
message_email(const struct message_row *row)
{
	return maildir_id(row->name);
}

/* ----------------------------------------------------------------- sets */

void
uid_set_add(struct arena *a, struct uid_set *set, uint32_t uid)
{
	if (set->n > 0 && set->v[set->n - 1].last >= uid)
		return;
	if (set->n > 0 && set->v[set->n - 1].last + 1 == uid) {
		set->v[set->n - 1].last = uid;
		return;
	}
	/* grows at powers of two */
	if ((set->n & (set->n - 1)) == 0) {
		struct uid_range *v =
			arena_array(a, set->n * 2 + 1, sizeof *v);
		if (set->n > 0)
			memcpy(v, set->v, set->n * sizeof *v);
		set->v = v;
	}
	set->v[set->n++] = (struct uid_range){uid, uid};
}

void
uid_set_add_range(
	struct arena *a, struct uid_set *set, uint32_t first, uint32_t last)
{
	uid_set_add(a, set, first);
	if (last > set->v[set->n - 1].last)
		set->v[set->n - 1].last = last;
}

struct uid_set
uid_set_minus(struct arena *a, const struct uid_set *x, const struct uid_set *y)
{
	struct uid_set out = {0};
	size_t at = 0;
	for (size_t i = 0; i < x->n; i++) {
		uint64_t from = x->v[i].first;
		while (at < y->n && y->v[at].last < from)
			at++;
		for (size_t k = at; k < y->n && y->v[k].first <= x->v[i].last;
			k++) {
			if (y->v[k].first > from)
				uid_set_add_range(a, &out, (uint32_t)from,
					y->v[k].first - 1);
			from = (uint64_t)y->v[k].last + 1;
		}
		if (from <= x->v[i].last)
			uid_set_add_range(
				a, &out, (uint32_t)from, x->v[i].last);
	}
	return out;
}

struct uid_set
uid_set_and(struct arena *a, const struct uid_set *x, const struct uid_set *y)
{
	struct uid_set rest = uid_set_minus(a, x, y);
	return uid_set_minus(a, x, &rest);
}

bool
uid_set_has(const struct uid_set *set, uint32_t uid)
{
	size_t low = 0, high = set->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (set->v[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->n && set->v[low].first <= uid;
}

uint64_t
uid_set_count(const struct uid_set *set)
{
	uint64_t n = 0;
	for (size_t i = 0; i < set->n; i++)
		n += (uint64_t)set->v[i].last - set->v[i].first + 1;
	return n;
}

/* ------------------------------------------------------------ line ends */

/* Up to the next LF that lacks its CR, or everything that fits. */
static size_t
fill_stretch(struct message_wire *w, char *to, size_t room)
{
	const char *from = w->raw.p + w->at;
	size_t n = w->raw.n - w->at;
	if (n > room)
		n = room;
	const char *lf = memchr(from, '\n', n);
	size_t take = lf == NULL ? n : (size_t)(lf - from);
	memcpy(to, from, take);
	w->at += take;
	if (take > 0)
		w->before = from[take - 1];
	return take;
}

size_t
message_wire_fill(struct message_wire *w, char *to, size_t room)
{
	size_t n = 0;
	while (n < room && (w->owe_lf || w->at < w->raw.n)) {
		if (w->owe_lf || (w->raw.p[w->at] == '\n' &&
			w->before == '\r')) {
			to[n++] = '\n';
			w->owe_lf = false;
			w->before = '\n';
			w->at++;
		} else if (w->raw.p[w->at] == '\n') {
			to[n++] = '\r';
			w->owe_lf = true;
		} else {
			n += fill_stretch(w, to + n, room - n);
		}
	}
	return n;
}

void
message_wire_skip(struct message_wire *w, uint64_t n)
{
	char drop[4096];
	while (n > 0) {
		size_t got = message_wire_fill(w, drop,
			n < sizeof drop ? (size_t)n : sizeof drop);
		if (got == 0)
			return;
		n -= got;
	}
}

uint64_t
message_wire_size(struct str raw)
{
	uint64_t n = raw.n;
	const char *p = raw.p, *end = raw.p + raw.n;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		n += p == raw.p || p[-1] != '\r';
		p++;
	}
	return n;
}

void
message_to_disk(struct buf *out, struct str wire, char *before)
{
	char *to = buf_room(out, wire.n);
	size_t n = 0;
	while (wire.n > 0) {
		const char *cr = memchr(wire.p, '\r', wire.n);
		size_t take = cr == NULL ? wire.n : (size_t)(cr - wire.p);
		memcpy(to + n, wire.p, take);
		n += take;
		if (take > 0)
			*before = wire.p[take - 1];
		wire = str_skip(wire, take);
		if (wire.n == 0)
			break;
		bool ends_line = wire.n > 1 && wire.p[1] == '\n';
		if (!ends_line || *before == '\r')
			to[n++] = '\r';
		*before = '\r';
		wire = str_skip(wire, 1);
	}
	buf_grew(out, n);
}

/* ----------------------------------------------------------------- file */

enum { NO_ROW = -2 };

static int
open_row(struct mailbox *m, struct arena *a, uint32_t uid, uint64_t *size)
{
	struct store *s = m->store;
	struct folder_row f;
	struct file_state row;
	if (!mailbox_ready(m) || !folder_by_id(s, a, m->row.id, &f) ||
		!row_state(s, a, f.id, uid, &row))
		return NO_ROW;
	*size = row.file_size;
	return openat(s->dir, row_path(a, &f, place_in_new(row.place),
		row.name, row.info), O_RDONLY | O_CLOEXEC | O_NOFOLLOW |
			O_NONBLOCK);
}

/* Where the row says; else where a look at the directories finds it. */
static int
open_message(struct mailbox *m, struct arena *a, uint32_t uid, uint64_t *size)
{
	enum { TRIES = 4 };
	struct folder_row f;
	int fd = -1;
	for (int i = 0; i < TRIES; i++) {
		fd = open_row(m, a, uid, size);
		if (fd != -1 || errno != ENOENT)
			return fd;
		if (!status_is_fine(sync_whole(m->store, a, m->row.id, &f)))
			break;
	}
	errno = ENOENT;
	return fd;
}

/* As a rule it is a file of that size, and one call says so: with room for an
 * octet more than there is.  What is no file cannot be read in this way. */
static bool
read_expected(struct arena *a, int fd, uint64_t size, struct str *raw)
{
	enum { MOST = 128 * 1024 };
	if (size == 0 || size > MOST)
		return row_content(a, fd, raw);
	struct arena_mark mark = arena_mark(a);
	char *p = arena_alloc(a, (size_t)size + 1);
	ssize_t n = pread(fd, p, (size_t)size + 1, 0);
	*raw = str_of(p, (size_t)size);
	if (n > 0 && (uint64_t)n == size)
		return true;
	arena_rewind(a, mark);
	return row_content(a, fd, raw);
}

/* Closes fd.  Of another size than it had: the file was written over, and the
 * UID meant other octets. */
static struct status
take(struct mailbox *m, struct arena *a, int fd, uint32_t uid, uint64_t size,
	struct message_file *out)
{
	*out = (struct message_file){0};
	bool ok = read_expected(a, fd, size, &out->raw);
	close(fd);
	if (!ok)
		return status_later(3, 0, STR("message cannot be read"));
	if (out->raw.n != size) {
		*out = (struct message_file){0};
		struct status st = sync_changed(m->store, a, m->row.id, uid);
		return status_is_fine(st) ? MESSAGE_GONE : st;
	}
	out->size = message_wire_size(out->raw);
	out->is_wire = out->size == out->raw.n;
	return status_fine();
}

struct status
mailbox_read(struct mailbox *m, struct arena *a, uint32_t uid,
	struct message_file *out)
{
	uint64_t size = 0;
	*out = (struct message_file){0};
	int fd = open_message(m, a, uid, &size);
	int err = errno;
	struct status st = index_status(m->store, a);
	if (fd >= 0)
		return take(m, a, fd, uid, size, out);
	if (!status_is_fine(st))
		return st;
	if (fd == NO_ROW || err == ENOENT)
		return MESSAGE_GONE;
	return status_errno(a, "open", err);
}

int
mailbox_file(struct mailbox *m, struct arena *a, const struct message_row *row)
{
	return openat(m->store->dir,
		row_path(a, &m->row, row->in_new, row->name, row->info),
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* The name has the size. */
struct status
mailbox_read_opened(struct mailbox *m, struct arena *a,
	const struct message_row *row, int fd, struct message_file *out)
{
	if (fd < 0)
		return mailbox_read(m, a, row->uid, out);
	return take(m, a, fd, row->uid, maildir_parse(row->name).size, out);
}

struct status
mailbox_read_row(struct mailbox *m, struct arena *a,
	const struct message_row *row, struct message_file *out)
{
	int fd = ahead_take(m, row->uid);
	if (fd < 0 && maildir_parse(row->name).has_size)
		fd = mailbox_file(m, a, row);
	return mailbox_read_opened(m, a, row, fd, out);
}
