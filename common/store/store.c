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
#include <sys/statvfs.h>
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

static bool
make_home(struct arena *a, struct str home)
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

bool
store_make_home(struct arena *a, struct str home)
{
	char *maildir = str_cstr(a, str_printf(a, "%.*s/Maildir",
		STR_ARG(home)));
	return make_home(a, home) &&
		(mkdir(maildir, 0700) == 0 || errno == EEXIST);
}

static int
open_directory(int at, const char *path)
{
	return openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
		(at == AT_FDCWD ? 0 : O_NOFOLLOW));
}

static bool
make_directory(int at, const char *path)
{
	return mkdirat(at, path, 0700) == 0 || errno == EEXIST;
}

static void
close_if(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool
open_directories(struct store *s, struct arena *a)
{
	char *path = str_cstr(a, s->path);
	close_if(&s->dir);
	close_if(&s->notify_dir);
	s->alone_at = 0;
	if (!make_directory(AT_FDCWD, path))
		return false;
	s->dir = open_directory(AT_FDCWD, path);
	if (s->dir < 0 || !make_directory(s->dir, "surat") ||
		!make_directory(s->dir, "surat/notify"))
		return false;
	s->notify_dir = open_directory(s->dir, "surat/notify");
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
		if (known != 0) {
			index_run(s, Q_AFTER_BOOT, "");
			index_set_meta(s, TOP_TIME, 0);
		}
		index_set_meta(s, "boot", boot);
	}
	return index_commit(s, a);
}

void
store_progress(struct store *s, store_progress_fn fn, void *ctx)
{
	s->progress = fn;
	s->progress_ctx = ctx;
}

struct str
store_home(const struct store *s)
{
	return str_head(s->path, s->path.n - strlen("/Maildir"));
}

/*
 * On a full disk nothing could be deleted either, as that too is written to
 * the index first: some room is kept for it (index_relieve).
 */
static void
make_reserve(struct store *s)
{
	enum { RESERVE = 256 * 1024, PLENTY = 4 * 1024 * 1024 };
	struct statvfs fs;
	if (faccessat(s->dir, "surat/reserve", F_OK, 0) == 0 ||
		fstatvfs(s->dir, &fs) != 0 ||
		(uint64_t)fs.f_bavail * fs.f_bsize < PLENTY)
		return;
	int fd = openat(s->dir, "surat/reserve", O_WRONLY | O_CREAT |
		O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (posix_fallocate(fd, 0, RESERVE) != 0)
		unlinkat(s->dir, "surat/reserve", 0);
	close(fd);
}

static bool
has_inbox(struct store *s, struct arena *a)
{
	struct folder_row f;
	struct status st = index_begin_read(s, a);
	bool there = status_is_fine(st) &&
		folder_named(s, a, STR("INBOX"), &f);
	return status_is_fine(st) && status_is_fine(index_commit(s, a)) &&
		there;
}

static struct status
renew(struct store *s, struct arena *a)
{
	if (!open_directories(s, a))
		return status_errno(a, "Maildir", errno);
	make_reserve(s);
	notify_again(s);
	struct status out = index_open(s, a);
	if (status_is_fine(out))
		out = notice_boot(s, a);
	if (status_is_fine(out) && !folder_is_there(s, a, STR("")))
		out = folder_make_account(s, a);
	if (status_is_fine(out))
		out = sync_folders(s, a);
	/* who cannot write can read what there is */
	if (status_is_later(out) && !s->ix.broken && has_inbox(s, a))
		out = status_fine();
	return out;
}

bool
store_is_worth_a_try(struct store *s, struct status st)
{
	return status_is_later(st) && (s->ix.broken ||
		(s->ix.db != NULL && !index_is_current(s)));
}

/*
 * From directories to rows.  Also when the index was deleted, damaged or
 * replaced with its Maildir while it was open: what only the old one knew of
 * flags is brought to file names first.
 */
struct status
store_renew(struct store *s, struct arena *a)
{
	enum { TRIES = 4 };
	if (s->ix.renewing)
		return status_later(2, 0, STR("the index cannot be made"));
	bool split = index_has_lost_logs(s);
	if (s->ix.db != NULL && !s->ix.broken)
		settle_orphans(s);
	index_close(s);
	s->ix.renewing = true;
	/* others may have it open with another log: all begin anew */
	struct status st = split ? index_discard(s, a) : status_fine();
	if (status_is_fine(st))
		st = renew(s, a);
	/* damage that shows only when it is read */
	for (int i = 1; i < TRIES && store_is_worth_a_try(s, st); i++) {
		index_close(s);
		st = renew(s, a);
	}
	s->ix.renewing = false;
	return st;
}

/* Of a file that does not change. */
static const char *
fixed_uri(struct arena *a, struct str path)
{
	struct buf *out = buf_new(a);
	buf_adds(out, "file:");
	for (size_t i = 0; i < path.n; i++)
		if (str_has(STR("%?#"), path.p[i]))
			buf_printf(out, "%%%02X", (unsigned char)path.p[i]);
		else
			buf_addc(out, path.p[i]);
	buf_adds(out, "?immutable=1");
	return str_cstr(a, buf_str(out));
}

struct status
store_open(struct arena *a, struct str home, struct store **out)
{
	enum { PATIENCE_MS = 10000 };
	struct arena *own = arena_new("store");
	struct store *s = arena_one(own, struct store);
	struct status st = status_fine();
	/* Before the first connection; nobody asks how much memory it has, and
	 * counting locks every allocation. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	s->arena = own;
	s->path = str_printf(own, "%.*s/Maildir", STR_ARG(home));
	s->index_path = str_cstr(own, str_printf(own, "%.*s/surat/index.db",
		STR_ARG(s->path)));
	s->index_fixed = fixed_uri(own, str_from(s->index_path));
	s->dir = s->notify_dir = s->notify_fd = -1;
	s->watch_fd = s->both_fd = s->watched[0] = s->watched[1] = -1;
	s->patience = PATIENCE_MS;
	set_host(s);
	if (!make_home(a, home) && errno != EACCES && errno != EROFS)
		st = status_errno(a, "home", errno);
	if (status_is_fine(st))
		st = store_renew(s, a);
	*out = s;
	if (!status_is_fine(st)) {
		store_close(s);
		*out = NULL;
	}
	return st;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	index_close(s);
	notify_end(s);
	close_if(&s->notify_dir);
	close_if(&s->dir);
	arena_free(s->arena);
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
