/* SPDX-License-Identifier: ISC */
/*
 * What lies in a folder's directories and is not where the rows say.
 *
 * Of a row twelve octets are kept, its UID and hashes of its place and unique
 * part, and of most files nothing: a folder of a million messages is compared
 * in twelve megabytes.  Nothing is locked meanwhile; what differs is to be
 * looked at again under the lock.
 */
#include "store/listing.h"
#include "base/clock.h"
#include "store/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------- rows */

/* Where its row says; under another name: in the lowest bits of a place. */
enum { SEEN = 1, MOVED = 2, MARKS = SEEN | MOVED };

/* FNV-1a */
static uint64_t
hash(uint64_t h, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h;
}

static uint32_t
place_hash(bool in_new, struct str name, struct str info)
{
	uint64_t h = hash(hash(in_new ? 99 : 0xcbf29ce484222325, name), info);
	return (uint32_t)(h >> 32 ^ h) & ~(uint32_t)MARKS;
}

static uint32_t
unique_hash(struct str unique)
{
	uint64_t h = hash(0xcbf29ce484222325, unique);
	return (uint32_t)(h >> 32 ^ h);
}

static void
add_known(struct listing *l, struct known k)
{
	if (l->known_n == l->known_room) {
		struct known *old = l->known;
		l->known_room = l->known_room * 2 + 64;
		l->known = arena_array(l->a, l->known_room, sizeof *old);
		memcpy(l->known, old, l->known_n * sizeof *old);
	}
	l->known[l->known_n++] = k;
}

static void
load_rows(struct store *s, struct listing *l, const struct folder_row *f)
{
	l->known_room = l->all ? (size_t)f->messages + 1 : 64;
	l->known = arena_array(l->a, l->known_room, sizeof *l->known);
	sqlite3_stmt *st = index_query(s,
		l->all ? Q_MESSAGE_FILES : Q_MESSAGE_FILES_NEW, "ii",
		index_key(f->id, l->all ? 0 : f->new_from),
		index_key(f->id, UINT32_MAX));
	while (index_row(s, st)) {
		struct str name = index_text(st, 1);
		bool in_new = place_in_new((enum place)index_int(st, 3));
		add_known(l, (struct known){index_uid(index_int(st, 0)),
			place_hash(in_new, name, index_text(st, 2)),
			unique_hash(maildir_parse(name).unique)});
	}
}

static int
by_known_uid(const void *a, const void *b)
{
	const struct known *x = a, *y = b;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

static struct known *
find_known(const struct listing *l, uint32_t uid)
{
	const struct known key = {.uid = uid};
	if (uid == 0 || l->known_n == 0)
		return NULL;
	return bsearch(&key, l->known, l->known_n, sizeof key, by_known_uid);
}

static int
by_unique(const void *a, const void *b)
{
	const struct known *const *x = a, *const *y = b;
	return (*x)->unique < (*y)->unique ? -1 :
		(*x)->unique > (*y)->unique;
}

bool
listing_same_unique(struct listing *l, struct str unique, size_t *at,
	uint32_t *uid)
{
	uint32_t want = unique_hash(unique);
	if (l->by_unique == NULL) {
		l->by_unique = arena_array(l->a, l->known_n + 1,
			sizeof *l->by_unique);
		for (size_t i = 0; i < l->known_n; i++)
			l->by_unique[i] = &l->known[i];
		qsort(l->by_unique, l->known_n, sizeof *l->by_unique,
			by_unique);
	}
	if (*at == 0) {
		size_t high = l->known_n;
		while (*at < high) {
			size_t middle = *at + (high - *at) / 2;
			if (l->by_unique[middle]->unique < want)
				*at = middle + 1;
			else
				high = middle;
		}
	}
	if (*at >= l->known_n || l->by_unique[*at]->unique != want)
		return false;
	*uid = l->by_unique[(*at)++]->uid;
	return true;
}

/* ------------------------------------------------------------ directories */

static void
add_entry(struct listing *l, uint32_t uid, struct str file, bool in_new)
{
	if (l->n == l->room) {
		struct entry *old = l->v;
		l->room = l->room * 2 + 64;
		l->v = arena_array(l->a, l->room, sizeof *l->v);
		if (l->n > 0)
			memcpy(l->v, old, l->n * sizeof *l->v);
	}
	l->v[l->n++] = (struct entry){uid, in_new, str_copy(l->a, file)};
}

static void
take_file(struct listing *l, struct str file, bool in_new)
{
	struct maildir_name name = maildir_parse(file);
	struct known *k = find_known(l, name.uid);
	if (k != NULL && (k->place & ~(uint32_t)MARKS) ==
		place_hash(in_new, file, STR(""))) {
		k->place |= SEEN;
		return;
	}
	if (k != NULL && k->unique == unique_hash(name.unique))
		k->place |= MOVED;
	add_entry(l, name.uid, file, in_new);
}

/* One that is missing is made: somebody removed it. */
static DIR *
open_sub(struct store *s, const char *path)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = openat(s->dir, path, flags);
	if (fd < 0 && errno == ENOENT && mkdirat(s->dir, path, 0700) == 0)
		fd = openat(s->dir, path, flags);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (d == NULL && fd >= 0)
		close(fd);
	return d;
}

static bool
read_directory(struct store *s, struct listing *l, const char *path,
	bool in_new)
{
	struct dirent *e;
	DIR *d = open_sub(s, path);
	if (d == NULL)
		return false;
	for (errno = 0; (e = readdir(d)) != NULL; errno = 0)
		if (e->d_name[0] != '.' && e->d_type != DT_DIR)
			take_file(l, str_from(e->d_name), in_new);
	bool ok = errno == 0;
	closedir(d);
	return ok;
}

/* The time before the reading.  One that is so young that more may happen in
 * the same tick, or is not yet, is replaced by one of our own. */
static int64_t
time_before(struct store *s, const char *path, bool *young)
{
	int64_t now = clock_wall_us() * 1000, at = watch_time(s, path);
	if (at == 0 || now - at > TICK_NS)
		return at;
	int64_t stamp = watch_stamp(s, path);
	*young |= stamp == 0;
	return stamp == 0 ? at : stamp;
}

static bool
read_both(struct store *s, struct listing *l, struct str dir)
{
	const char *path_new = folder_path(l->a, dir, "new");
	const char *path_cur = folder_path(l->a, dir, "cur");
	l->young = false;
	l->at_new = time_before(s, path_new, &l->young);
	if (l->all)
		l->at_cur = time_before(s, path_cur, &l->young);
	/* from where files go to where they come */
	return read_directory(s, l, path_new, true) &&
		(!l->all || read_directory(s, l, path_cur, false));
}

static int
by_uid(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	/* those without a UID come last */
	if (x->uid != y->uid)
		return x->uid - 1 < y->uid - 1 ? -1 : 1;
	return str_cmp(x->file, y->file);
}

static struct uid_set
unseen(const struct listing *l)
{
	struct uid_set out = {0};
	for (size_t i = 0; i < l->known_n; i++)
		if (!(l->known[i].place & MARKS))
			uid_set_add(l->a, &out, l->known[i].uid);
	return out;
}

/* A file that is missing may have been passed over while it was renamed:
 * everything is read once more. */
static bool
read_again(struct store *s, struct listing *l, struct str dir)
{
	for (size_t i = 0; i < l->known_n; i++)
		l->known[i].place &= ~(uint32_t)MARKS;
	l->n = 0;
	if (!read_both(s, l, dir))
		return false;
	struct uid_set first = l->missing, second = unseen(l);
	l->missing = (struct uid_set){0};
	for (size_t i = 0; i < second.n; i++)
		for (uint64_t u = second.v[i].first; u <= second.v[i].last;
			u++) {
			if (uid_set_has(&first, (uint32_t)u))
				uid_set_add(l->a, &l->missing, (uint32_t)u);
			else
				l->young = true;
		}
	return true;
}

bool
listing_read(struct store *s, struct listing *l, const struct folder_row *f)
{
	load_rows(s, l, f);
	if (s->ix.fault != SQLITE_OK)
		return true;
	if (!read_both(s, l, f->dir))
		return false;
	l->missing = unseen(l);
	if (l->missing.n > 0 && !read_again(s, l, f->dir))
		return false;
	if (l->n > 0)
		qsort(l->v, l->n, sizeof *l->v, by_uid);
	return true;
}

bool
listing_stood_still(struct store *s, const struct listing *l, struct str dir)
{
	return !l->young &&
		watch_time(s, folder_path(l->a, dir, "new")) == l->at_new &&
		(!l->all || watch_time(s, folder_path(l->a, dir, "cur")) ==
				l->at_cur);
}
