/* SPDX-License-Identifier: ISC */
/*
 * Own changes to a folder's directories, told from foreign ones.
 *
 * Directory times say that something changed since they were recorded.  Own
 * changes must neither look like foreign ones nor hide them, so they are made
 * within a watch, under the write lock:
 *
 *  - inotify counts what happened in the directories meanwhile.  Exactly what
 *    we did: nobody else was there, and the new times are recorded.  More:
 *    they are not, and the next look at the folder finds out.
 *  - A time is given to the directory that no clock tick has, so that any
 *    later change, be it in the same tick, makes it another one.
 *
 * Where inotify is not to be had (128 instances a user id), or times are kept
 * coarsely, the new times are recorded with a doubt, which sync_folder looks
 * into when the folder has been quiet.
 *
 * There is one inotify instance in the process, however many stores are open:
 * closing one takes the kernel milliseconds.
 */
#include "base/clock.h"
#include "store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { UNTRIED = -2, NONE = -1, EVENTS_MOST = 4000 };

static struct {
	int fd;
	pid_t pid; /* a forked child must not take its parent's events */
} instance = {UNTRIED, 0};

static int
instance_fd(void)
{
	if (instance.fd == UNTRIED || instance.pid != getpid()) {
		instance.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		instance.pid = getpid();
	}
	return instance.fd;
}

enum { SIDE_NEW, SIDE_CUR, SIDE_TOP };

static const char *const subs[] = {"new", "cur"};

/* ------------------------------------------------------------------ times */

int64_t
watch_stamp(struct store *s, const char *path)
{
	struct timespec now, times[2] = {{.tv_nsec = UTIME_OMIT}};
	struct stat st;
	clock_gettime(CLOCK_REALTIME, &now);
	times[1] = now;
	if (utimensat(s->dir, path, times, 0) != 0 ||
		fstatat(s->dir, path, &st, 0) != 0 ||
		st.st_mtim.tv_nsec != now.tv_nsec ||
		st.st_mtim.tv_sec != now.tv_sec)
		return 0;
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t
watch_time(struct store *s, const char *path)
{
	struct stat st;
	if (fstatat(s->dir, path, &st, 0) != 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* ----------------------------------------------------------------- events */

static void
take_events(struct watch *w)
{
	/* what leaves room for the longest event is all there is */
	enum { LONGEST = sizeof(struct inotify_event) + 256 };
	_Alignas(struct inotify_event) char octets[4096];
	ssize_t n = sizeof octets;
	while (n > (ssize_t)sizeof octets - LONGEST &&
		(n = read(w->fd, octets, sizeof octets)) > 0) {
		for (char *p = octets; p < octets + n;) {
			struct inotify_event *e = (void *)p;
			for (int i = 0; i < WATCH_SIDES; i++)
				if (e->wd == w->side[i].wd &&
					!(e->mask & IN_IGNORED))
					w->side[i].met++;
			w->lost |= (e->mask & IN_Q_OVERFLOW) != 0;
			p += sizeof *e + e->len;
		}
	}
	w->untaken = 0;
}

static void
add_watch(struct store *s, struct watch_side *side)
{
	char path[4096];
	int n = snprintf(path, sizeof path, "%.*s/%s", STR_ARG(s->path),
		side->path);
	side->wd = -1;
	if (s->watch.fd >= 0 && n < (int)sizeof path)
		side->wd = inotify_add_watch(s->watch.fd, path,
			IN_CREATE | IN_DELETE | IN_MOVE | IN_ONLYDIR |
				IN_EXCL_UNLINK);
}

static void
clear(struct watch *w, int fd)
{
	*w = (struct watch){.fd = fd};
	for (int i = 0; i < WATCH_SIDES; i++)
		w->side[i].wd = -1;
}

static void
open_side(struct store *s, int i, const char *path, int64_t recorded)
{
	struct watch_side *side = &s->watch.side[i];
	side->path = path;
	side->length = i == SIDE_TOP ? 0 : strlen(path);
	side->recorded = recorded;
	add_watch(s, side);
}

/* What happened before the times are looked at shows in them. */
static void
begin(struct store *s)
{
	struct watch *w = &s->watch;
	take_events(w);
	w->lost = false;
	for (int i = 0; i < WATCH_SIDES; i++) {
		struct watch_side *side = &w->side[i];
		if (side->path == NULL)
			continue;
		side->met = 0;
		w->lost |= side->wd < 0;
		side->seen = watch_time(s, side->path) == side->recorded;
	}
}

void
watch_begin(struct store *s, struct arena *a, const struct folder_row *f,
	enum watched which)
{
	clear(&s->watch, instance_fd());
	for (int i = SIDE_NEW; i <= SIDE_CUR; i++)
		if (which & 1U << i)
			open_side(s, i, folder_path(a, f->dir, subs[i]),
				i == SIDE_NEW ? f->new_mtime : f->cur_mtime);
	begin(s);
}

void
watch_top(struct store *s)
{
	clear(&s->watch, instance_fd());
	open_side(s, SIDE_TOP, ".", index_meta(s, TOP_TIME));
	begin(s);
}

static void
end_side(struct store *s, struct watch *w, int i, int64_t *at,
	unsigned *unsure, unsigned bit)
{
	struct watch_side *side = &w->side[i];
	if (side->own == 0 || !side->seen)
		return;
	if (!w->lost && side->stamp != 0 && side->met == side->own) {
		*at = side->stamp;
	} else if (w->lost || (side->stamp == 0 && side->met == side->own)) {
		*at = watch_time(s, side->path);
		*unsure |= bit;
	}
}

static void
stamp_all(struct store *s)
{
	struct watch *w = &s->watch;
	for (int i = 0; i < WATCH_SIDES; i++)
		if (w->side[i].own > 0)
			w->side[i].stamp = watch_stamp(s, w->side[i].path);
	take_events(w);
}

static void
end(struct store *s)
{
	struct watch *w = &s->watch;
	for (int i = 0; i < WATCH_SIDES; i++)
		if (w->side[i].wd >= 0)
			inotify_rm_watch(w->fd, w->side[i].wd);
	clear(w, NONE);
}

void
watch_end(struct store *s, struct folder_row *f)
{
	struct watch *w = &s->watch;
	stamp_all(s);
	end_side(s, w, SIDE_NEW, &f->new_mtime, &f->unsure, UNSURE_NEW);
	end_side(s, w, SIDE_CUR, &f->cur_mtime, &f->unsure, UNSURE_CUR);
	end(s);
}

/* Where there is a doubt nothing is recorded, and the folders are looked
 * through. */
void
watch_top_end(struct store *s)
{
	struct watch *w = &s->watch;
	int64_t recorded = w->side[SIDE_TOP].recorded, at = recorded;
	unsigned unsure = 0;
	stamp_all(s);
	end_side(s, w, SIDE_TOP, &at, &unsure, 1);
	if (unsure == 0 && at != recorded)
		index_set_meta(s, TOP_TIME, at);
	end(s);
}

void
watch_spoil(struct store *s)
{
	s->watch.side[0].seen = s->watch.side[1].seen = false;
}

/* ---------------------------------------------------------------- changes */

/* A change to the directory a path lies in. */
static void
count(struct store *s, const char *path)
{
	struct watch *w = &s->watch;
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path);
	for (int i = 0; i < WATCH_SIDES; i++)
		if (w->side[i].path != NULL && w->side[i].length == n &&
			memcmp(w->side[i].path, path, n) == 0)
			w->side[i].own++;
	if (++w->untaken > EVENTS_MOST)
		take_events(w);
}

bool
own_move(struct store *s, const char *from, const char *to)
{
	if (renameat2(s->dir, from, s->dir, to, RENAME_NOREPLACE) != 0 &&
		(errno != EINVAL || renameat(s->dir, from, s->dir, to) != 0))
		return false;
	count(s, from);
	count(s, to);
	return true;
}

bool
own_directory(struct store *s, const char *path)
{
	if (mkdirat(s->dir, path, 0700) != 0)
		return errno == EEXIST;
	count(s, path);
	return true;
}

bool
own_link(struct store *s, const char *from, const char *to)
{
	if (linkat(s->dir, from, s->dir, to, 0) != 0)
		return false;
	count(s, to);
	return true;
}

bool
own_unlink(struct store *s, const char *path)
{
	if (unlinkat(s->dir, path, 0) != 0)
		return false;
	count(s, path);
	return true;
}
