/* SPDX-License-Identifier: ISC */
/*
 * The maildrop.  Numbers, sizes and files are the store's (a view of INBOX,
 * rows of the index); here is what this client did to them, and finding out
 * what others did when a row or a file is not where it was.
 */
#include "maildrop.h"
#include "base/arena.h"
#include "base/clock.h"
#include "store/mailbox.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 256, MARKS_MOST = 1 << 30, TIDY_MS = 10000 };

enum mark {
	MARK_DELETED = 1 << 0,
	MARK_GONE = 1 << 1,
	MARK_RETRIEVED = 1 << 2,
};

/* Rows of WINDOW numbers from first on; one without UID was not found. */
struct window {
	struct arena *arena;
	uint32_t first;
	struct message_row row[WINDOW];
};

struct maildrop {
	const struct conf_pop3 *conf;
	struct arena *arena;
	struct store *store;
	struct mailbox *box;
	int lock; /* -1: none */
	uint32_t last;
	unsigned char *marks; /* by number - 1 */
	/* What is there, and what this client deleted of it. */
	uint32_t count, deleted_count;
	uint64_t octets, deleted_octets;
	uint32_t removed;
	bool seen_marked;
	struct window window;
};

/* -------------------------------------------------------------- opening */

/*
 * A file beside the index whose lock is the session's and whose time is that
 * of the last login.  Only who was told to needs it.
 */
static enum drop_refusal
guard(struct maildrop *d, struct arena *a, struct status *why)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	if (!d->conf->exclusive && d->conf->login_delay == 0)
		return DROP_FINE;
	d->lock = openat(store_dir(d->store), "surat/pop3.lock",
		O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock < 0 || fstat(d->lock, &st) != 0) {
		*why = status_errno(a, "open pop3.lock", errno);
		return DROP_FAILED;
	}
	if (d->conf->exclusive && fcntl(d->lock, F_OFD_SETLK, &lock) != 0)
		return DROP_IN_USE;
	if (d->conf->login_delay == 0)
		return DROP_FINE;
	/* Its size says that somebody has logged in before. */
	int64_t since = clock_wall() - st.st_mtime;
	if (st.st_size > 0 && since >= 0 && since < d->conf->login_delay)
		return DROP_TOO_OFTEN;
	if (pwrite(d->lock, "\n", 1, 0) != 1) {
		*why = status_errno(a, "write pop3.lock", errno);
		return DROP_FAILED;
	}
	return DROP_FINE;
}

static void
unlock(struct maildrop *d)
{
	if (d->lock >= 0)
		close(d->lock);
	d->lock = -1;
}

static enum drop_refusal
look(struct maildrop *d, struct arena *a, struct status *why)
{
	enum drop_refusal r = guard(d, a, why);
	if (r != DROP_FINE)
		return r;
	*why = mailbox_open(d->store, a, STR("INBOX"), false, &d->box);
	return status_is_fine(*why) ? DROP_FINE : DROP_FAILED;
}

enum drop_refusal
maildrop_open(struct arena *a, struct store *store,
	const struct conf_pop3 *conf, struct maildrop **out,
	struct status *why)
{
	struct maildrop *d = arena_one(a, struct maildrop);
	d->conf = conf;
	d->store = store;
	d->arena = arena_new("maildrop");
	d->lock = -1;
	arena_limit(d->arena, MARKS_MOST);
	enum drop_refusal r = look(d, a, why);
	if (r != DROP_FINE) {
		unlock(d);
		arena_free(d->arena);
		return r;
	}
	d->last = d->count = mailbox_count(d->box);
	d->octets = mailbox_folder(d->box)->size;
	d->marks = arena_alloc(d->arena, d->last);
	*out = d;
	return DROP_FINE;
}

/* ---------------------------------------------------------------- marks */

static unsigned char *
mark_of(const struct maildrop *d, uint32_t number)
{
	return &d->marks[number - 1];
}

/* UIDs of all that have these of the bits in mask. */
static struct uid_set
marked(const struct maildrop *d, struct arena *a, unsigned mask,
	unsigned value)
{
	struct uid_set set = {0};
	for (uint32_t n = 1; n <= d->last; n++)
		if ((*mark_of(d, n) & mask) == value)
			uid_set_add(a, &set, mailbox_uid(d->box, n));
	return set;
}

enum drop_fate
maildrop_fate(const struct maildrop *d, uint32_t number)
{
	if (number == 0 || number > d->last)
		return DROP_NONE;
	unsigned char mark = *mark_of(d, number);
	if (mark & MARK_DELETED)
		return DROP_DELETED;
	return mark & MARK_GONE ? DROP_GONE : DROP_THERE;
}

uint32_t
maildrop_count(const struct maildrop *d)
{
	return d->count - d->deleted_count;
}

uint64_t
maildrop_octets(const struct maildrop *d)
{
	return d->octets - d->deleted_octets;
}

uint32_t
maildrop_last(const struct maildrop *d)
{
	return d->last;
}

void
maildrop_retrieved(struct maildrop *d, uint32_t number)
{
	*mark_of(d, number) |= MARK_RETRIEVED;
}

/* ----------------------------------------------------------------- rows */

static struct mailbox_scan
scan_from(const struct maildrop *d, struct arena *a, uint32_t first,
	uint32_t last, unsigned want)
{
	struct uid_range r = {first, last};
	return (struct mailbox_scan){
		.uids = mailbox_uids(d->box, a, &(struct uid_set){&r, 1}),
		.want = want};
}

/*
 * Something is missing: what is there is counted anew.  What this client
 * deleted stays deleted; it may well be what is missing.
 */
static struct status
recount(struct maildrop *d)
{
	struct arena *a = arena_new("recount");
	struct mailbox_scan c = scan_from(d, a, 1, d->last, WANT_SIZES);
	struct message_row row;
	uint32_t next = 1;
	d->count = d->deleted_count = 0;
	d->octets = d->deleted_octets = 0;
	while (mailbox_next(d->box, &c, &row)) {
		uint32_t number = mailbox_seq(d->box, row.uid);
		while (next < number)
			*mark_of(d, next++) |= MARK_GONE;
		next = number + 1;
		if (*mark_of(d, number) & MARK_GONE)
			continue;
		bool deleted = *mark_of(d, number) & MARK_DELETED;
		d->count++;
		d->octets += row.size;
		d->deleted_count += deleted;
		d->deleted_octets += deleted ? row.size : 0;
	}
	struct status st = mailbox_scan_end(d->box, &c);
	while (status_is_fine(st) && next <= d->last)
		*mark_of(d, next++) |= MARK_GONE;
	arena_free(a);
	return st;
}

static struct status
load_window(struct maildrop *d, uint32_t first)
{
	struct window *w = &d->window;
	arena_free(w->arena);
	*w = (struct window){.arena = arena_new("window"), .first = first};
	struct mailbox_scan c = scan_from(d, w->arena, first,
		first + (WINDOW - 1), WANT_SIZES | WANT_FILE);
	struct message_row row;
	while (mailbox_next(d->box, &c, &row)) {
		uint32_t at = mailbox_seq(d->box, row.uid) - first;
		row.name = str_copy(w->arena, row.name);
		row.info = str_copy(w->arena, row.info);
		w->row[at] = row;
	}
	struct status st = mailbox_scan_end(d->box, &c);
	if (!status_is_fine(st))
		w->first = 0;
	return st;
}

/* The row of a message that is there; one without UID is gone. */
static struct status
find_row(struct maildrop *d, uint32_t number, struct message_row *row)
{
	struct window *w = &d->window;
	struct status st = status_fine();
	if (w->first == 0 || number < w->first || number - w->first >= WINDOW)
		st = load_window(d, number);
	*row = (struct message_row){0};
	if (!status_is_fine(st))
		return st;
	*row = w->row[number - w->first];
	return row->uid == 0 ? recount(d) : st;
}

enum drop_fate
maildrop_size(struct maildrop *d, uint32_t number, uint64_t *size)
{
	struct message_row row;
	enum drop_fate fate = maildrop_fate(d, number);
	if (fate != DROP_THERE)
		return fate;
	if (!status_is_fine(find_row(d, number, &row)) || row.uid == 0)
		return DROP_GONE;
	*size = row.size;
	return fate;
}

struct status
maildrop_each(struct maildrop *d, drop_each_fn fn, void *ctx)
{
	struct arena *a = arena_new("each");
	struct mailbox_scan c = scan_from(d, a, 1, d->last, WANT_SIZES);
	struct message_row row;
	while (mailbox_next(d->box, &c, &row)) {
		uint32_t number = mailbox_seq(d->box, row.uid);
		if (maildrop_fate(d, number) == DROP_THERE)
			fn(ctx, number, row.size);
	}
	struct status st = mailbox_scan_end(d->box, &c);
	arena_free(a);
	return st;
}

void
maildrop_uidl(const struct maildrop *d, uint32_t number, char uidl[DROP_UIDL])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t v = (uint64_t)mailbox_uid(d->box, number) << 32 |
		mailbox_folder(d->box)->uidvalidity;
	for (int i = DROP_UIDL - 1; i >= 0; i--, v >>= 4)
		uidl[i] = digits[v & 15];
}

/* ------------------------------------------------------------- deleting */

enum drop_fate
maildrop_delete(struct maildrop *d, uint32_t number)
{
	uint64_t size;
	enum drop_fate fate = maildrop_size(d, number, &size);
	if (fate != DROP_THERE)
		return fate;
	*mark_of(d, number) |= MARK_DELETED;
	d->deleted_count++;
	d->deleted_octets += size;
	return fate;
}

void
maildrop_reset(struct maildrop *d)
{
	for (uint32_t n = 1; n <= d->last; n++)
		*mark_of(d, n) &= (unsigned char)~MARK_DELETED;
	d->deleted_count = 0;
	d->deleted_octets = 0;
}

/* -------------------------------------------------------------- reading */

static void
drop_one(struct maildrop *d, uint32_t number, uint64_t size)
{
	*mark_of(d, number) |= MARK_GONE;
	d->count--;
	d->octets -= size;
}

/* Where the row says it is.  When others have renamed one, they have renamed
 * many: the rows are read anew before the store is asked to search. */
static struct status
open_file(struct maildrop *d, struct arena *a, uint32_t number, int *fd,
	struct message_row *row)
{
	struct status st = find_row(d, number, row);
	if (!status_is_fine(st) || row->uid == 0)
		return st;
	*fd = mailbox_file(d->box, a, row);
	if (*fd >= 0 || errno != ENOENT)
		return st;
	d->window.first = 0;
	st = find_row(d, number, row);
	if (!status_is_fine(st) || row->uid == 0)
		return st;
	*fd = mailbox_file(d->box, a, row);
	return st;
}

static bool
is_regular(int fd, uint64_t *size)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	*size = (uint64_t)st.st_size;
	return true;
}

struct status
maildrop_read(struct maildrop *d, struct arena *a, uint32_t number,
	struct drop_file *file, enum drop_fate *fate)
{
	struct message_row row;
	struct message_file found;
	*file = (struct drop_file){.fd = -1};
	*fate = maildrop_fate(d, number);
	if (*fate != DROP_THERE)
		return status_fine();
	struct status st = open_file(d, a, number, &file->fd, &row);
	*fate = row.uid == 0 ? DROP_GONE : DROP_THERE;
	file->size = row.size;
	if (!status_is_fine(st) || row.uid == 0)
		return st;
	if (file->fd >= 0 && is_regular(file->fd, &file->left))
		return st;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	st = mailbox_read(d->box, a, row.uid, &found);
	file->octets = found.raw;
	if (st.class != STATUS_NEVER)
		return st;
	drop_one(d, number, row.size);
	*fate = DROP_GONE;
	return status_fine();
}

/* --------------------------------------------------------------- ending */

struct status
maildrop_update(struct maildrop *d, struct arena *a)
{
	if (d->deleted_count == 0)
		return status_fine();
	struct uid_set set = marked(d, a, MARK_DELETED, MARK_DELETED);
	struct status st = mailbox_expunge(d->box, a, &set, true);
	if (status_is_fine(st))
		d->removed = d->deleted_count;
	return st;
}

uint32_t
maildrop_removed(const struct maildrop *d)
{
	return d->removed;
}

/* Read here is read everywhere.  Whether it succeeds, nobody waits for. */
static void
mark_seen(struct maildrop *d)
{
	struct mailbox_store how = {.how = FLAGS_ADD, .flags = FLAG_SEEN,
		.unchanged_since = UINT64_MAX};
	struct uid_set set = marked(d, d->arena,
		MARK_RETRIEVED | MARK_DELETED | MARK_GONE, MARK_RETRIEVED);
	if (set.n > 0)
		mailbox_store(d->box, d->arena, &set, &how);
}

bool
maildrop_settle(struct maildrop *d, int64_t ms)
{
	if (d->conf->mark_seen && !d->seen_marked)
		mark_seen(d);
	d->seen_marked = true;
	return mailbox_settle(d->box, clock_in(ms));
}

void
maildrop_close(struct maildrop *d)
{
	mailbox_close(d->box);
	/* the next session need not wait for this one's tidying up */
	unlock(d);
	store_settle(d->store, clock_in(TIDY_MS));
	arena_free(d->window.arena);
	arena_free(d->arena);
}
