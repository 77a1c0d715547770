/* SPDX-License-Identifier: ISC */
/*
 * Opening one user's mail: the directories, the index, a new account's
 * folders, what a reboot means.
 */
#include "store/store.h"
#include "base/clock.h"
#include "store/index.h"
#include "store/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The host part of file names: no octet that means something there. */
static void
set_host(struct store *s)
{
	if (gethostname(s->host, sizeof s->host - 1) != 0 ||
		s->host[0] == '\0')
		strcpy(s->host, "localhost");
	for (char *p = s->host; *p != '\0'; p++)
		if (*p == '/' || *p == ':' || *p == ',' || *p < '!')
			*p = '_';
}

bool
store_make_home(struct arena *a, struct str home)
{
	char *path = str_cstr(a, home);
	for (char *p = path + 1; *path != '\0' && *p != '\0'; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(path, 0711);
		*p = '/';
	}
	return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static bool
open_directories(struct store *s, struct arena *a)
{
	char *path = str_cstr(a, s->path);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return false;
	s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0)
		return false;
	if ((mkdirat(s->dir, "surat", 0700) != 0 && errno != EEXIST) ||
		(mkdirat(s->dir, "surat/notify", 0700) != 0 && errno != EEXIST))
		return false;
	s->notify_dir = openat(s->dir, "surat/notify",
		O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return s->notify_dir >= 0;
}

/*
 * When the machine was started, by its clocks.  After a start the last
 * transactions may be lost (synchronous=NORMAL): numbers go on from the marks
 * and every directory is read again.  A clock that was set looks like a start,
 * which costs a gap in UIDs and nothing else.
 */
static struct status
notice_boot(struct store *s, struct arena *a)
{
	enum { SLACK = 5 };
	int64_t boot = clock_wall() - clock_ms() / 1000;
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	int64_t known = index_meta(s, "boot");
	st = index_commit(s, a);
	if (!status_is_fine(st) ||
		(known >= boot - SLACK && known <= boot + SLACK))
		return st;
	st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (index_meta(s, "boot") == known) {
		if (known != 0)
			index_run(s, Q_AFTER_BOOT, "");
		index_set_meta(s, "boot", boot);
	}
	return index_commit(s, a);
}

struct str
store_home(const struct store *s)
{
	return str_head(s->path, s->path.n - strlen("/Maildir"));
}

static struct status
open_all(struct store *s, struct arena *a)
{
	struct stat st;
	if (!store_make_home(a, store_home(s)) && errno != EACCES && errno != EROFS)
		return status_errno(a, "home", errno);
	if (!open_directories(s, a))
		return status_errno(a, "Maildir", errno);
	struct status out = index_open(s, a);
	if (status_is_fine(out))
		out = notice_boot(s, a);
	if (status_is_fine(out) && fstatat(s->dir, "cur", &st, 0) != 0)
		out = folder_make_account(s, a);
	if (status_is_fine(out))
		out = sync_folders(s, a);
	return out;
}

struct status
store_open(struct arena *a, struct str home, struct store **out)
{
	struct arena *own = arena_new("store");
	struct store *s = arena_one(own, struct store);
	s->arena = own;
	s->path = str_printf(own, "%.*s/Maildir", STR_ARG(home));
	s->dir = s->notify_dir = s->notify_fd = -1;
	s->watch_fd = s->both_fd = -1;
	set_host(s);
	struct status st = open_all(s, a);
	*out = s;
	if (!status_is_fine(st)) {
		store_close(s);
		*out = NULL;
	}
	return st;
}

static void
close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	index_close(s);
	notify_end(s);
	close_if(s->notify_dir);
	close_if(s->dir);
	arena_free(s->arena);
}

struct status
store_usage(struct store *s, struct arena *a, struct store_usage *out)
{
	struct status st = index_begin_read(s, a);
	*out = (struct store_usage){0};
	if (!status_is_fine(st))
		return st;
	sqlite3_stmt *q = index_query(s, Q_USAGE, "");
	if (index_row(s, q)) {
		out->messages = (uint64_t)index_int(q, 0);
		out->octets = (uint64_t)index_int(q, 1);
		index_end(q);
	}
	return index_commit(s, a);
}

struct status
store_sync(struct store *s, struct arena *a)
{
	if (syncfs(s->dir) != 0)
		return status_errno(a, "syncfs", errno);
	return status_fine();
}

int
store_dir(const struct store *s)
{
	return s->dir;
}
