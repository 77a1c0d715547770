/* SPDX-License-Identifier: ISC */
/* What the store's tests share: an account in a temporary directory, a shell
 * in its Maildir that plays the foreign program, and a few short cuts. */
#include "store_suites.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ------------------------------------------------------------- the system */

static struct {
	int err;
	const char *but;
} bad_links;

void
links_fail(int err, const char *but)
{
	bad_links.err = err;
	bad_links.but = but;
}

/* Instead of the C library's. */
int
linkat(int fromfd, const char *from, int tofd, const char *to, int flags)
{
	if (bad_links.err == 0 || (bad_links.but != NULL &&
		strstr(from, bad_links.but) != NULL))
		return (int)syscall(SYS_linkat, fromfd, from, tofd, to, flags);
	errno = bad_links.err;
	return -1;
}

static int bad_reads, bad_reads_left;

void
reads_fail(int err)
{
	bad_reads = err;
	bad_reads_left = INT_MAX;
}

void
reads_fail_times(int err, int times)
{
	bad_reads = err;
	bad_reads_left = times;
}

/* SQLite's too. */
ssize_t
pread(int fd, void *to, size_t n, off_t at)
{
	if (bad_reads == 0 || bad_reads_left == 0)
		return syscall(SYS_pread64, fd, to, n, at);
	bad_reads_left--;
	errno = bad_reads;
	return bad_reads > 0 ? -1 : 0;
}

static unsigned syncs, log_syncs;
static int bad_syncs;

void
syncs_fail(int err)
{
	bad_syncs = err;
}

static char sync_command[256];

void
at_next_sync(struct home *h, const char *command)
{
	snprintf(sync_command, sizeof sync_command, "cd '%s/Maildir' && %s",
		h->path, command);
}

static void
run_command(void)
{
	char now[sizeof sync_command];
	memcpy(now, sync_command, sizeof now);
	sync_command[0] = '\0';
	if (now[0] != '\0')
		ck_assert_int_eq(system(now), 0);
}

static void (*move_fn)(void *ctx);
static void *move_ctx;

void
after_next_move(void (*fn)(void *ctx), void *ctx)
{
	move_fn = fn;
	move_ctx = ctx;
}

int
renameat2(int fromfd, const char *from, int tofd, const char *to,
	unsigned flags)
{
	void (*fn)(void *ctx) = move_fn;
	int r = (int)syscall(SYS_renameat2, fromfd, from, tofd, to, flags);
	move_fn = NULL;
	if (fn != NULL)
		fn(move_ctx);
	return r;
}

static bool
is_log(int fd)
{
	char link[64], path[4096];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof path);
	return n > 0 && str_ends(str_of(path, (size_t)n), STR("/index.db-wal"));
}

int
fsync(int fd)
{
	struct stat st;
	run_command();
	syncs++;
	log_syncs += is_log(fd);
	if (bad_syncs != 0 && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
		errno = bad_syncs;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

unsigned
syncs_done(void)
{
	return syncs;
}

unsigned
log_syncs_done(void)
{
	return log_syncs;
}

/* ------------------------------------------------------------ the account */

void
home_new(struct home *h)
{
	h->a = arena_new("test");
	arena_limit(h->a, (size_t)1 << 30);
	snprintf(h->path, sizeof h->path, "%s/surat-store-XXXXXX", test_top());
	ck_assert_ptr_nonnull(mkdtemp(h->path));
	ck_fine(store_open(h->a, str_from(h->path), &h->s));
}

void
home_gone(struct home *h)
{
	char command[128];
	store_close(h->s);
	snprintf(command, sizeof command, "rm -rf '%s'", h->path);
	ck_assert_int_eq(system(command), 0);
	arena_free(h->a);
}

void
home_reopen(struct home *h)
{
	store_close(h->s);
	ck_fine(store_open(h->a, str_from(h->path), &h->s));
}

struct store *
home_other(struct home *h)
{
	struct store *s;
	ck_fine(store_open(h->a, str_from(h->path), &s));
	return s;
}

static char *
command_of(struct home *h, const char *fmt, va_list ap)
{
	struct str what = str_vprintf(h->a, fmt, ap);
	return str_cstr(h->a, str_printf(h->a, "cd '%s/Maildir' && %.*s",
		h->path, STR_ARG(what)));
}

int
shell(struct home *h, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *c = command_of(h, fmt, ap);
	va_end(ap);
	/* so that no change hides in the tick of the one before */
	usleep(25000);
	int rc = system(c);
	usleep(25000);
	return rc;
}

long
shell_number(struct home *h, const char *fmt, ...)
{
	va_list ap;
	long n = -1;
	va_start(ap, fmt);
	FILE *f = popen(command_of(h, fmt, ap), "r");
	va_end(ap);
	ck_assert_ptr_nonnull(f);
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	pclose(f);
	return n;
}

static long
number_of(struct store *s, struct arena *a, const char *sql)
{
	sqlite3_stmt *st;
	ck_fine(index_begin_read(s, a));
	ck_assert_int_eq(sqlite3_prepare_v2(s->ix.db, sql, -1, &st, NULL),
		SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);
	long n = (long)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	ck_fine(index_commit(s, a));
	return n;
}

long
sql_number(struct home *h, const char *sql)
{
	return number_of(h->s, h->a, sql);
}

static const char text[] =
	"From: Bob <bob@example.test>\r\n"
	"To: Alice <alice@example.test>\r\n"
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from %s\r\n"
	"Date: Mon, 23 Nov 2026 17:00:00 +0100\r\n"
	"Message-ID: <%s@example.test>\r\n\r\n"
	"Hello,\r\nthis is %s.\r\n";

static void
fill(struct arena *a, struct delivery *d, const char *name)
{
	*d = (struct delivery){
		.name = str_printf(a, "1764000000.%s.host", name),
		.head = STR("Return-Path: <bob@example.test>\r\n"),
		.content = str_printf(a, text, name, name, name),
		.date = 1764000000,
	};
}

void
deliver_one(struct store *s, struct arena *a, const char *name)
{
	struct delivery d;
	fill(a, &d, name);
	store_deliver(s, a, &d, 1, &(struct delivery_rules){0});
	ck_fine(d.status);
}

static void
deliver(struct store *s, struct arena *a, const char *prefix, unsigned n,
	bool verify)
{
	struct delivery *v = arena_array(a, n, sizeof *v);
	for (unsigned i = 0; i < n; i++) {
		fill(a, &v[i], str_cstr(a, str_printf(a, "%s%u", prefix, i)));
		v[i].verify = verify;
	}
	store_deliver(s, a, v, n, &(struct delivery_rules){0});
	for (unsigned i = 0; i < n; i++)
		ck_fine(v[i].status);
}

void
deliver_many(struct store *s, struct arena *a, const char *prefix, unsigned n)
{
	deliver(s, a, prefix, n, false);
}

void
deliver_again(struct store *s, struct arena *a, const char *prefix, unsigned n)
{
	deliver(s, a, prefix, n, true);
}

struct mailbox *
open_box(struct store *s, struct arena *a, const char *name)
{
	struct mailbox *m = NULL;
	ck_fine(mailbox_open(s, a, str_from(name), false, &m));
	return m;
}

struct uid_set
set_of(struct arena *a, uint32_t first, uint32_t last)
{
	struct uid_range r = {first, last};
	return (struct uid_set){arena_copy(a, &r, sizeof r), 1};
}

void
set_flags(struct mailbox *m, struct arena *a, uint32_t uid,
	enum flag_change how, unsigned flags, const char *keyword)
{
	struct uid_set set = set_of(a, uid, uid);
	struct str word = str_from(keyword);
	struct mailbox_store st = {.how = how, .flags = flags,
		.keywords = {&word, keyword == NULL ? 0 : 1},
		.unchanged_since = UINT64_MAX};
	ck_fine(mailbox_store(m, a, &set, &st));
}

void
settle(struct mailbox *m)
{
	while (!mailbox_settle(m, clock_in(10000)))
		;
}

struct folder
status_of(struct store *s, struct arena *a, const char *name)
{
	struct folder f = {0};
	ck_fine(folders_status(s, a, str_from(name), &f));
	return f;
}

struct str
rows_of(struct mailbox *m, struct arena *a)
{
	struct buf *b = buf_new(a);
	struct mailbox_scan c = {.uids = set_of(a, 1, UINT32_MAX)};
	struct message_row row;
	while (mailbox_next(m, &c, &row))
		buf_printf(b, "%s%u:%x:%.*s", b->n > 0 ? " " : "", row.uid,
			row.flags, STR_ARG(row.keywords));
	ck_fine(mailbox_scan_end(m, &c));
	return buf_str(b);
}

void
rows_of_or_not(struct mailbox *m, struct arena *a)
{
	struct mailbox_scan c = {.uids = set_of(a, 1, UINT32_MAX),
		.want = WANT_ALL};
	struct message_row row;
	while (mailbox_next(m, &c, &row))
		;
	mailbox_scan_end(m, &c);
}

void
let_boot_pass(struct home *h)
{
	ck_fine(index_begin(h->s, h->a));
	index_set_meta(h->s, "boot", 1);
	ck_fine(index_commit(h->s, h->a));
	home_reopen(h);
}

static const char counted[] =
	"SELECT count(*) FROM folder f WHERE "
	"(messages,unseen,deleted,size,file_size) IS NOT "
	"(SELECT count(*),coalesce(sum(flags&1=0),0),"
	"coalesce(sum(flags&8<>0),0),coalesce(sum(size),0),"
	"coalesce(sum(file_size),0) FROM message m WHERE m.folder=f.id)"
	" OR messages<>(SELECT coalesce(sum(last-first+1),0) FROM run r "
	"WHERE r.folder=f.id)+iif(run_last=0,0,run_last-run_first+1)"
	" OR run_last<>(SELECT coalesce(max(key&4294967295),0) FROM message m "
	"WHERE m.folder=f.id)"
	" OR messages-(SELECT count(*) FROM message m WHERE m.folder=f.id AND "
	"thread=-1)<>(SELECT count(*) FROM message m JOIN header h ON "
	"h.key=m.key WHERE m.folder=f.id)"
	" OR (SELECT count(*) FROM header h WHERE h.key>>32=f.id)<>"
	"(SELECT count(*) FROM content c WHERE c.key>>32=f.id)"
	" OR EXISTS(SELECT 1 FROM header h WHERE h.key>>32=f.id AND h.key "
	"NOT IN (SELECT key FROM message) AND h.key&4294967295 NOT IN "
	"(SELECT uid FROM dead d WHERE d.folder=f.id))"
	" OR uidnext<=(SELECT coalesce(max(key&4294967295),0) FROM message m "
	"WHERE m.folder=f.id)"
	" OR modseq<(SELECT coalesce(max(modseq),0) FROM message m "
	"WHERE m.folder=f.id)";

void
check_counts(struct store *s, struct arena *a)
{
	ck_assert_int_eq(number_of(s, a, counted), 0);
}
