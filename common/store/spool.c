/* SPDX-License-Identifier: ISC */
#include "store/spool.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/mbox.h"
#include "store/message.h"
#include "sys/alone.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	PATIENCE_MS = 1000,
	PAUSE_MS = 20, /* and up to as much again, by chance */
	STALE_SECONDS = 5 * 60, /* a lock file nobody renews */
	LOCK_MODE = 0200, /* of no other program's */
	TAIL_MOST = 64,
	WINDOW = 64 * 1024,
	NAME_MOST = 250,
};

#define MARK "X-Surat-Delivery: "

struct box {
	const struct spool *spool;
	struct arena *arena;
	int dir, fd;
	const char *name, *lock;
	bool dotted; /* the lock file is ours */
	bool unread; /* who knows what is in it */
	off_t size; /* where the batch began */
};

/* ------------------------------------------------------------------- names */

static bool
is_good_name(struct str name)
{
	return name.n > 0 && name.n <= NAME_MOST && name.p[0] != '.' &&
		!str_has(name, '/') && !str_has(name, '\0');
}

static int
open_directory(struct arena *a, const struct spool *s)
{
	return open(str_cstr(a, s->directory),
		O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int
open_file(int dir, const char *name)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(dir, name, flags);
	if (fd < 0 && errno == ENOENT)
		fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0600);
	return fd;
}

/* NULL, or why mail is not put there. */
static const char *
check_file(int fd)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return "the mailbox is no ordinary file";
	if (st.st_uid != geteuid())
		return "the mailbox is somebody else's";
	return st.st_mode & S_IWOTH ? "anybody may write to the mailbox"
				    : NULL;
}

bool
spool_prepare(struct arena *a, struct spool *s)
{
	struct stat st;
	if (!is_good_name(s->name)) {
		errno = EINVAL;
		return false;
	}
	int dir = open_directory(a, s);
	int fd = dir < 0 ? -1 : open_file(dir, str_cstr(a, s->name));
	bool ok = fd >= 0 && fstat(fd, &st) == 0;
	if (ok)
		s->inode = st.st_ino;
	int err = errno;
	if (fd >= 0)
		close(fd);
	if (dir >= 0)
		close(dir);
	errno = err;
	return ok;
}

/* ------------------------------------------------------------------- locks */

/* Nobody's any more.  Ours are told by their mode: whoever of us lived would
 * have the other lock, which we have. */
static bool
is_stale(const struct box *b)
{
	struct stat st;
	if (fstatat(b->dir, b->lock, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return false;
	return clock_wall() - st.st_mtime > STALE_SECONDS ||
		(st.st_mode == (S_IFREG | LOCK_MODE) && st.st_size == 0 &&
			st.st_uid == geteuid());
}

/* A node is made or is not, and is not opened.  False: somebody has it.  A
 * directory that is not ours to write to has no lock files of ours. */
static bool
take_dot(struct box *b)
{
	for (int i = 0; i < 2; i++) {
		b->dotted = mknodat(
			b->dir, b->lock, S_IFREG | LOCK_MODE, 0) == 0;
		if (b->dotted || errno != EEXIST)
			return b->dotted || errno == EACCES ||
				errno == EPERM || errno == EROFS;
		if (!is_stale(b) || unlinkat(b->dir, b->lock, 0) != 0)
			return false;
	}
	return false;
}

static bool
set_lock(int fd, int type)
{
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET};
	return fcntl(fd, F_SETLK, &l) == 0;
}

static bool
take_both(struct box *b)
{
	if (!set_lock(b->fd, F_WRLCK))
		return false;
	if (take_dot(b))
		return true;
	set_lock(b->fd, F_UNLCK);
	return false;
}

static void
let_go(struct box *b)
{
	if (b->dotted)
		unlinkat(b->dir, b->lock, 0);
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
	b->dotted = false;
}

static bool
is_unseen(const struct box *b)
{
	struct stat st;
	return b->spool->shut_in &&
		(fstatat(b->dir, b->name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
			st.st_ino != b->spool->inode);
}

static struct status
open_locked(struct box *b, enum spool_result *result)
{
	int64_t deadline = clock_in(PATIENCE_MS);
	const char *wrong;
	for (;;) {
		b->fd = open_file(b->dir, b->name);
		if (b->fd < 0 && is_unseen(b))
			*result = SPOOL_UNSEEN;
		if (b->fd < 0)
			return status_errno(b->arena, "mailbox", errno);
		wrong = check_file(b->fd);
		/* Another may have its place since, or it was a link. */
		if (wrong == NULL && take_both(b) &&
			is_alone(b->dir, b->name, b->fd))
			return status_fine();
		let_go(b);
		if (wrong != NULL)
			return status_later(3, 0, str_from(wrong));
		if (clock_left(deadline) <= 0)
			return status_later(2, 0,
				STR("the mailbox is locked"));
		struct timespec pause = {.tv_nsec =
			(PAUSE_MS + random() % PAUSE_MS) * 1000000L};
		nanosleep(&pause, NULL);
	}
}

/* ------------------------------------------------------------------- texts */

static struct str
text_of(struct arena *a, const struct delivery *d, size_t *mark)
{
	struct buf *all = buf_new(a), *plain = buf_new(a);
	char before = '\0';
	mbox_from_line(all, d->sender, d->date);
	*mark = all->n;
	buf_printf(all, MARK "%.*s\n", STR_ARG(d->name));
	message_to_disk(plain, d->head, &before);
	message_to_disk(plain, d->content, &before);
	mbox_message(all, buf_str(plain));
	return buf_str(all);
}

/* --------------------------------------------------------- earlier copies */

/* A window on the file, which is read and not mapped: others may cut it off,
 * and a disk may fail. */
struct scan {
	int fd;
	off_t size;
	char *room;
	off_t at; /* of what is in the window */
	size_t have;
	bool failed; /* there is less than there was */
};

static void
move_window(struct scan *f, off_t at)
{
	f->at = at;
	f->have = 0;
	while (f->have < WINDOW && at + (off_t)f->have < f->size) {
		ssize_t n = pread(f->fd, f->room + f->have, WINDOW - f->have,
			at + (off_t)f->have);
		if (n <= 0) {
			f->failed = true;
			return;
		}
		f->have += (size_t)n;
	}
}

/* What is there, n octets and more if there are as many. */
static struct str
window(struct scan *f, off_t at, size_t n)
{
	off_t end = f->at + (off_t)f->have;
	if (at < f->at || (at + (off_t)n > end && end < f->size) || at > end)
		move_window(f, at);
	size_t skip = (size_t)(at - f->at);
	if (skip > f->have)
		skip = f->have;
	return str_of(f->room + skip, f->have - skip);
}

/* -1: the end. */
static int
octet(struct scan *f, off_t at)
{
	struct str w = window(f, at, 1);
	return w.n == 0 ? -1 : (unsigned char)w.p[0];
}

/* Where the text is, from here on; the end when it is not. */
static off_t
search(struct scan *f, off_t at, struct str text)
{
	while (at < f->size) {
		struct str w = window(f, at, text.n);
		size_t found = str_search(w, text);
		if (found < w.n)
			return at + (off_t)found;
		if (w.n < text.n)
			break;
		at += (off_t)(w.n - text.n + 1);
	}
	return f->size;
}

/* Where the next message begins, or the end. */
static off_t
next_message(struct scan *f, off_t from)
{
	off_t found = search(f, from + 1, STR("\nFrom "));
	return found < f->size ? found + 1 : found;
}

enum copy { COPY_NONE, COPY_WHOLE, COPY_TORN };

/* Where, from here on, a message begins whose first two lines are those of the
 * text; the end of the file when there is none.  In a body there is no such
 * first line: it would be quoted. */
static off_t
find_begin(struct scan *f, off_t at, struct str lines)
{
	while ((at = search(f, at, lines)) < f->size && at > 0 &&
		octet(f, at - 1) != '\n')
		at++;
	return at;
}

/* What is left of a copy that begins at start.  Torn before others it stays as
 * it is, and there may be a whole one behind it. */
static enum copy
judge_copy(struct scan *f, off_t start, struct str tail)
{
	off_t end = next_message(f, start), from = end - (off_t)tail.n;
	if (from >= start && str_starts(window(f, from, tail.n), tail))
		return COPY_WHOLE;
	return end < f->size ? COPY_NONE : COPY_TORN;
}

/*
 * Readers write fields of their own into the header: what begins and ends as
 * it was written, as far as its body, is whole.  Torn, and the last of the
 * file: *cut is where it begins.
 */
static enum copy
find_copy(struct scan *f, struct str text, size_t mark, off_t *cut)
{
	size_t n = mark + str_find(str_skip(text, mark), '\n') + 1;
	struct str lines = str_head(text, n);
	size_t tail = text.n - str_search(text, STR("\n\n")) - 1;
	if (tail > TAIL_MOST)
		tail = TAIL_MOST;
	enum copy c = COPY_NONE;
	off_t at = find_begin(f, 0, lines);
	while (at < f->size && c == COPY_NONE) {
		c = judge_copy(f, at, str_skip(text, text.n - tail));
		*cut = at;
		at = find_begin(f, at + 1, lines);
	}
	return c;
}

/* The beginning of the last message may be all that was written of it, with
 * zeros behind it. */
static enum copy
find_stump(struct scan *f, struct str text, off_t *cut)
{
	off_t last = 0;
	size_t same = 0;
	for (off_t i = 0; i < f->size; i = next_message(f, i))
		last = i;
	while (same < text.n && octet(f, last + (off_t)same) ==
		(unsigned char)text.p[same])
		same++;
	off_t rest = last + (off_t)same;
	while (octet(f, rest) == '\0')
		rest++;
	if (rest < f->size || same < sizeof "From ")
		return COPY_NONE;
	*cut = last;
	return COPY_TORN;
}

/* Only after a crash: the whole file is looked through. */
static enum copy
look_for(struct box *b, struct str text, size_t mark)
{
	struct stat st;
	off_t cut = 0;
	if (fstat(b->fd, &st) != 0 || st.st_size == 0)
		return COPY_NONE;
	struct scan f = {.fd = b->fd, .size = st.st_size,
		.room = arena_alloc(b->arena, WINDOW)};
	enum copy c = find_copy(&f, text, mark, &cut);
	if (c == COPY_NONE)
		c = find_stump(&f, text, &cut);
	b->unread |= f.failed;
	if (c == COPY_TORN && !f.failed && ftruncate(b->fd, cut) != 0)
		return COPY_NONE;
	return c;
}

/* ----------------------------------------------------------------- writing */

/* A line somebody left without its end would swallow our first. */
static bool
begin_line(int fd, off_t size)
{
	char last[2] = "\n\n";
	size_t n = size < 2 ? (size_t)size : 2;
	if (n > 0 && pread(fd, last + 2 - n, n, size - (off_t)n) != (ssize_t)n)
		return false;
	if (size == 0 || (last[0] == '\n' && last[1] == '\n'))
		return true;
	return whole_write(fd, last[1] == '\n' ? STR("\n") : STR("\n\n"));
}

/* Appended whole, or not at all. */
static struct status
append(struct box *b, struct str text)
{
	off_t size = lseek(b->fd, 0, SEEK_END);
	if (size >= 0 && begin_line(b->fd, size) && whole_write(b->fd, text))
		return status_fine();
	struct status st = status_errno(b->arena, "mailbox", errno);
	if (size >= 0 && ftruncate(b->fd, size) != 0)
		st = status_errno(b->arena, "mailbox cannot be cut", errno);
	return st;
}

static void
look_one(struct box *b, struct delivery *d)
{
	size_t mark;
	struct arena_mark before = arena_mark(b->arena);
	if (!d->verify && !d->rewrite)
		return;
	struct str text = text_of(b->arena, d, &mark);
	d->was_there = look_for(b, text, mark) == COPY_WHOLE;
	arena_rewind(b->arena, before);
}

static void
append_one(struct box *b, struct delivery *d)
{
	size_t mark;
	struct arena_mark before = arena_mark(b->arena);
	d->status = status_fine();
	if (d->only_look && !d->was_there)
		return;
	if (!d->was_there)
		d->status = append(b, text_of(b->arena, d, &mark));
	if (!status_is_fine(d->status))
		return;
	arena_rewind(b->arena, before);
	d->file = str_printf(b->arena, "%.*s/%s",
		STR_ARG(b->spool->directory), b->name);
}

/* The kernel tells of it once: nothing of the batch may be taken for there. */
static void
take_back(struct box *b, struct delivery *v, size_t n)
{
	struct status st = status_errno(b->arena, "sync", errno);
	if (ftruncate(b->fd, b->size) == 0)
		fsync(b->fd);
	for (size_t i = 0; i < n; i++)
		if (status_is_fine(v[i].status) && !v[i].was_there &&
			!v[i].only_look)
			v[i].status = st;
}

/* A torn one can be cut off as long as nothing stands behind it. */
static void
deliver_all(struct box *b, struct delivery *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		look_one(b, &v[i]);
	for (size_t i = 0; i < n && b->unread; i++)
		v[i].status = status_later(3, 0,
			STR("the mailbox cannot be read"));
	if (b->unread)
		return;
	b->size = lseek(b->fd, 0, SEEK_END);
	for (size_t i = 0; i < n; i++)
		append_one(b, &v[i]);
	if (fsync(b->fd) != 0)
		take_back(b, v, n);
}

static struct status
refuse(const struct spool *s, const struct delivery *v, size_t n)
{
	if (!is_good_name(s->name))
		return status_never(3, 0, STR("bad name of a mailbox"));
	for (size_t i = 0; i < n; i++)
		if (v[i].name.n > DELIVERY_NAME_MOST ||
			str_has(v[i].name, '\n'))
			return status_never(3, 0, STR("bad file name"));
	return status_fine();
}

enum spool_result
spool_deliver(const struct spool *s, struct arena *a, struct delivery *v,
	size_t n, const struct delivery_rules *rules)
{
	enum spool_result result = SPOOL_DONE;
	struct status st = refuse(s, v, n);
	struct box b = {.spool = s, .arena = a, .fd = -1,
		.dir = open_directory(a, s), .name = str_cstr(a, s->name),
		.lock = str_cstr(a, str_printf(
			a, "%.*s.lock", STR_ARG(s->name)))};
	if (status_is_fine(st) && b.dir < 0)
		st = status_errno(a, "mailbox", errno);
	if (status_is_fine(st))
		st = open_locked(&b, &result);
	if (status_is_fine(st) && rules->is_wanted != NULL &&
		!rules->is_wanted(rules->ctx))
		st = status_later(3, 0,
			STR("nobody waits for this delivery"));
	if (status_is_fine(st))
		deliver_all(&b, v, n);
	for (size_t i = 0; i < n && !status_is_fine(st); i++)
		v[i].status = st;
	let_go(&b);
	if (b.dir >= 0)
		close(b.dir);
	return result;
}
