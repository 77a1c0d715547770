/* SPDX-License-Identifier: ISC */
/*
 * Trees of mail copied while others work in them.  A message is known by the
 * unique part of its file name, whatever flags it has and whether it is in new
 * or cur; a folder is read again until nothing turns up that was not there
 * before, because a rename can hide a file from a reader.  No symbolic link is
 * followed on either side: what we copy as root belongs to people.
 */
#include "copy.h"
#include "base/arena.h"
#include "base/map.h"
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MOST = 40, ROUNDS_MOST = 100, CHUNK = 1 << 16 };

/* One directory on its way: from, to, and the same of an older backup. */
struct place {
	int from, to, base;
};

static int
open_below(int dir, const char *name)
{
	return dir < 0 ? -1 : openat(dir, name,
		O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void
shut(struct place *p)
{
	const int fds[] = {p->from, p->to, p->base};
	for (size_t i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void
give(const struct copy *c, int fd, const struct stat *st)
{
	uid_t uid = c->owned ? c->uid : st->st_uid;
	gid_t gid = c->owned ? c->gid : st->st_gid;
	const struct timespec times[] = {st->st_atim, st->st_mtim};
	if (geteuid() == 0 && fchown(fd, uid, gid) != 0)
		ctl_fail(EX_NOPERM, "chown: %s", strerror(errno));
	if (fchmod(fd, st->st_mode & 0777) != 0 || futimens(fd, times) != 0)
		ctl_fail(EX_IOERR, "mode and time of a copy: %s",
			strerror(errno));
}

static bool
move_octets(int from, int to)
{
	char chunk[CHUNK];
	ssize_t n;
	/* Where the file system can, the octets are shared. */
	while ((n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0)) > 0)
		continue;
	if (n == 0)
		return true;
	if (errno != EXDEV && errno != EINVAL && errno != ENOSYS &&
		errno != EOPNOTSUPP)
		return false;
	while ((n = read(from, chunk, sizeof chunk)) > 0)
		for (ssize_t done = 0, w; done < n; done += w)
			if ((w = write(to, chunk + done,
				(size_t)(n - done))) < 0)
				return false;
	return n == 0;
}

/* The same file, unchanged since the older backup. */
static bool
shared(const struct place *p, const char *name, const struct stat *st)
{
	struct stat old;
	return p->base >= 0 && fstatat(p->base, name, &old,
		AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(old.st_mode) &&
		old.st_size == st->st_size &&
		old.st_mtim.tv_sec == st->st_mtim.tv_sec &&
		linkat(p->base, name, p->to, name, 0) == 0;
}

/* False when it is gone, which is no fault of anybody. */
static bool
copy_file(struct copy *c, const struct place *p, const char *name,
	const char *as)
{
	struct stat st;
	int from = openat(p->from, name,
		O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 && (errno == ENOENT || errno == ELOOP))
		return errno == ELOOP;
	if (from < 0 || fstat(from, &st) != 0)
		ctl_fail(EX_IOERR, "%s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode) || shared(p, name, &st)) {
		c->files++;
		c->octets += st.st_size;
		close(from);
		return true;
	}
	int to = openat(p->to, as, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		0600);
	if (to < 0 && errno == EEXIST) {
		close(from);
		return true;
	}
	c->files++;
	c->octets += st.st_size;
	if (to < 0 || !move_octets(from, to))
		ctl_fail(EX_CANTCREAT, "%s: %s", as, strerror(errno));
	give(c, to, &st);
	close(to);
	close(from);
	return true;
}

static int
make_below(const struct copy *c, int dir, const char *name, int like)
{
	struct stat st;
	bool fresh = mkdirat(dir, name, 0700) == 0;
	int fd = fresh || errno == EEXIST ? open_below(dir, name) : -1;
	if (fd < 0 || fstat(like, &st) != 0)
		ctl_fail(EX_CANTCREAT, "%s: %s", name, strerror(errno));
	if (fresh)
		give(c, fd, &st);
	return fd;
}

static bool
enter(const struct copy *c, const struct place *in, const char *name,
	struct place *out)
{
	out->from = open_below(in->from, name);
	if (out->from < 0)
		return false;
	out->to = make_below(c, in->to, name, out->from);
	out->base = open_below(in->base, name);
	return true;
}

/* --------------------------------------------------------------- messages */

static struct str
unique_part(struct str name)
{
	name = str_head(name, str_find(name, ':'));
	return str_head(name, str_find(name, ','));
}

/* A UID that was given out for another message since must not come again:
 * without one in its name the message gets a fresh one. */
static const char *
new_name(struct arena *a, const char *name)
{
	struct str s = str_from(name);
	size_t at = str_search(s, STR(",UID="));
	if (at == s.n)
		return name;
	struct str rest = str_skip(s, at + sizeof ",UID=" - 1);
	while (rest.n > 0 && rest.p[0] >= '0' && rest.p[0] <= '9')
		rest = str_skip(rest, 1);
	return str_cstr(a, str_printf(a, "%.*s%.*s", STR_ARG(str_head(s, at)),
		STR_ARG(rest)));
}

struct folder_copy {
	struct copy *copy;
	struct arena *arena;
	struct map *seen; /* by the unique part */
	bool merge; /* into what was there */
};

/* Each name in a directory; a copy of the descriptor is read, from its
 * start. */
static DIR *
list(int fd)
{
	int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = own < 0 ? NULL : fdopendir(own);
	if (d == NULL)
		ctl_fail(EX_IOERR, "directory: %s", strerror(errno));
	return d;
}

static void
know(struct folder_copy *f, int dir)
{
	struct dirent *e;
	DIR *d = list(dir);
	while ((e = readdir(d)) != NULL)
		map_set(f->seen, str_copy(f->arena,
			unique_part(str_from(e->d_name))), f);
	closedir(d);
}

/* How many turned up that no round has seen. */
static size_t
one_round(struct folder_copy *f, const struct place *p)
{
	struct dirent *e;
	size_t found = 0;
	DIR *d = list(p->from);
	while ((e = readdir(d)) != NULL) {
		struct str key = unique_part(str_from(e->d_name));
		if (e->d_name[0] == '.' || map_get(f->seen, key) != NULL)
			continue;
		found++;
		if (f->copy->wants != NULL &&
			!f->copy->wants(f->copy->ctx, p->from, e->d_name))
			map_set(f->seen, str_copy(f->arena, key), f);
		else if (copy_file(f->copy, p, e->d_name, f->merge ?
			new_name(f->arena, e->d_name) : e->d_name)) {
			map_set(f->seen, str_copy(f->arena, key), f);
			f->copy->messages++;
		}
	}
	closedir(d);
	return found;
}

/* new and cur together: what is read moves from one to the other. */
static void
copy_folder(struct copy *c, const struct place *in)
{
	static const char *const names[] = {"new", "cur"};
	struct folder_copy f = {.copy = c, .arena = arena_new("folder"),
		.merge = faccessat(in->to, "cur", F_OK, 0) == 0};
	struct place p[2];
	size_t found = 1;
	f.seen = map_new(f.arena);
	for (size_t i = 0; i < 2; i++) {
		if (!enter(c, in, names[i], &p[i]))
			ctl_fail(EX_NOINPUT, "%s: %s", names[i],
				strerror(errno));
		know(&f, p[i].to);
	}
	mkdirat(in->to, "tmp", 0700);
	struct place tmp = {open_below(in->from, "tmp"), -1, -1};
	if (tmp.from >= 0)
		tmp.to = make_below(c, in->to, "tmp", tmp.from);
	for (int round = 0; found > 0 && round < ROUNDS_MOST; round++)
		found = one_round(&f, &p[0]) + one_round(&f, &p[1]);
	shut(&p[0]);
	shut(&p[1]);
	shut(&tmp);
	arena_free(f.arena);
}

/* ------------------------------------------------------------------ trees */

static bool
is_left_out(const struct copy *c, const char *name)
{
	static const char *const names[] = {".", "..", "cur", "new", "tmp",
		"notify", "reserve", "index.db", "index.db-wal",
		"index.db-shm", "index.db.bad"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return c->skip != NULL && str_starts(str_from(name), str_from(c->skip));
}

static void
copy_entries(struct copy *c, const struct place *p, int depth)
{
	struct dirent *e;
	struct stat st;
	struct place below;
	DIR *d = list(p->from);
	if (depth > DEPTH_MOST)
		ctl_fail(EX_DATAERR, "directories lie too deep");
	if (faccessat(p->from, "cur", F_OK, 0) == 0 &&
		faccessat(p->from, "new", F_OK, 0) == 0)
		copy_folder(c, p);
	while ((e = readdir(d)) != NULL) {
		if (is_left_out(c, e->d_name) || fstatat(p->from, e->d_name,
			&st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (S_ISREG(st.st_mode))
			copy_file(c, p, e->d_name, e->d_name);
		if (!S_ISDIR(st.st_mode) || !enter(c, p, e->d_name, &below))
			continue;
		copy_entries(c, &below, depth + 1);
		shut(&below);
	}
	closedir(d);
}

void
copy_tree(struct copy *c, int from, int to, int base)
{
	copy_entries(c, &(struct place){from, to, base}, 0);
}
