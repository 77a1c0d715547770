/* SPDX-License-Identifier: ISC */
/*
 * The list of folders and what can be done to it, but renaming (rename.c).  Directories are made
 * before their rows and removed after them, both under the index's lock;
 * what a crash leaves between is found by sync_folders.  Subscriptions are
 * surat/subscriptions, one name a line.  RFC 3501 6.3.3 to 6.3.9, RFC 6154.
 */
#include "store/folders.h"
#include "base/clock.h"
#include "base/map.h"
#include "mail/charset.h"
#include "store/index.h"
#include "store/notify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_UID_MARK = 1024, FIRST_MODSEQ_MARK = 65536 };

static const char subscriptions[] = "surat/subscriptions";
static const struct str inbox = STR_INIT("INBOX");

/* ---------------------------------------------------------------- names */

static bool
level_is_good(struct str level)
{
	if (level.n == 0)
		return false;
	for (size_t i = 0; i < level.n; i++)
		if ((unsigned char)level.p[i] < 0x20 || level.p[i] == 0x7f)
			return false;
	return true;
}

bool
folders_name(struct arena *a, struct str name, struct str *out)
{
	if (name.n == 0 || name.n > FOLDERS_NAME_MOST ||
		!charset_is_utf8(name) || name.p[name.n - 1] == '/')
		return false;
	struct str nfc = charset_nfc(a, name), rest = nfc, level, dir;
	while (str_cut(&rest, FOLDERS_SEPARATOR, &level))
		if (!level_is_good(level))
			return false;
	if (str_starts_nocase(nfc, inbox) &&
		(nfc.n == inbox.n || nfc.p[inbox.n] == FOLDERS_SEPARATOR))
		nfc = str_printf(a, "INBOX%.*s",
			STR_ARG(str_skip(nfc, inbox.n)));
	*out = nfc;
	return nfc.n <= FOLDERS_NAME_MOST && maildir_dir(a, nfc, &dir);
}

bool
folder_is_below(struct str name, struct str parent)
{
	return name.n > parent.n && str_starts(name, parent) &&
		name.p[parent.n] == FOLDERS_SEPARATOR;
}

static struct status
look_up(struct store *s, struct arena *a, struct str name,
	struct folder_row *f)
{
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	bool found = folder_named(s, a, name, f);
	st = index_commit(s, a);
	return status_is_fine(st) && !found ? NO_FOLDER : st;
}

/* Somebody else may have made it a moment ago. */
struct status
folder_find(struct store *s, struct arena *a, struct str name,
	struct folder_row *f)
{
	struct str good;
	if (!folders_name(a, name, &good))
		return NO_FOLDER;
	struct status st = look_up(s, a, good, f);
	if (st.class == STATUS_NEVER && status_is_fine(sync_folders(s, a)))
		st = look_up(s, a, good, f);
	return st;
}

/* --------------------------------------------------------------- making */

static bool
make_directories(struct store *s, struct arena *a, struct str dir)
{
	static const char *const subs[] = {"tmp", "new", "cur"};
	if (dir.n > 0) {
		if (!own_directory(s, str_cstr(a, dir)))
			return false;
		int fd = openat(s->dir, folder_path(a, dir, "maildirfolder"),
			O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return false;
		close(fd);
	}
	for (size_t i = 0; i < 3; i++)
		if (!own_directory(s, folder_path(a, dir, subs[i])))
			return false;
	return true;
}

static void
add_row(struct store *s, struct folder_row *f)
{
	index_run(s, Q_FOLDER_ADD, "ttttiiiiiiii", f->name, f->dir,
		f->mailbox_id, f->special, I(f->uidvalidity), I(f->uidnext),
		I(f->uid_mark), I(f->modseq), I(f->modseq_mark),
		I(f->rebuild), f->new_mtime, f->cur_mtime);
	f->id = sqlite3_last_insert_rowid(s->ix.db);
}

bool
folder_make(struct store *s, struct arena *a, struct str name,
	struct str special, bool durable)
{
	struct folder_row f = {.name = name, .special = special, .uidnext = 1,
		.uid_mark = FIRST_UID_MARK, .modseq = 1,
		.modseq_mark = FIRST_MODSEQ_MARK};
	if (!maildir_dir(a, name, &f.dir))
		return false;
	/* what an earlier folder of this name may have left */
	f.rebuild = folder_is_there(s, a, f.dir);
	if (!make_directories(s, a, f.dir))
		return false;
	/* an empty folder need not be looked at first */
	if (!f.rebuild) {
		f.new_mtime = watch_stamp(s, folder_path(a, f.dir, "new"));
		f.cur_mtime = watch_stamp(s, folder_path(a, f.dir, "cur"));
	}
	f.uidvalidity = control_validity(s, a);
	f.mailbox_id = control_mailbox_id(s, a, f.uidvalidity);
	add_row(s, &f);
	return control_write(s, a, &f, durable);
}

static void
add_words(struct store *s, int64_t folder, struct str_list words)
{
	for (size_t i = 0; i < words.n; i++) {
		struct str rest = words.v[i], number;
		uint64_t n;
		str_cut(&rest, ' ', &number);
		if (str_number(number, 99999, &n) && words_is_atom(rest))
			index_run(s, Q_WORD_ADD, "iit", folder, I(n), rest);
	}
}

/* RFC 6154; the names other servers and clients use. */
static const struct {
	struct str name, special;
} account[] = {
	{STR_INIT("INBOX"), STR_INIT("")},
	{STR_INIT("Drafts"), STR_INIT("\\Drafts")},
	{STR_INIT("Sent"), STR_INIT("\\Sent")},
	{STR_INIT("Junk"), STR_INIT("\\Junk")},
	{STR_INIT("Trash"), STR_INIT("\\Trash")},
	{STR_INIT("Archive"), STR_INIT("\\Archive")},
};

enum { ACCOUNT = sizeof(account) / sizeof(account[0]) };

/* Another server's Sent is ours too, unless there is one. */
static struct str
special_for(struct store *s, struct str name)
{
	for (size_t i = 0; i < ACCOUNT; i++) {
		if (!str_eq(account[i].name, name) || account[i].special.n == 0)
			continue;
		sqlite3_stmt *st = index_query(s, Q_FOLDER_SPECIAL, "t",
			account[i].special);
		if (!index_row(s, st))
			return account[i].special;
		index_end(st);
	}
	return STR("");
}

/* So that no new folder gets one that is not above it. */
static void
note_validity(struct store *s, uint32_t validity)
{
	int64_t last = index_meta(s, "uidvalidity");
	if (last != 0 && last < validity)
		index_set_meta(s, "uidvalidity", validity);
}

/* The highest UID of a file's name, as far as it is plausible. */
static uint32_t
highest_uid(struct store *s, struct arena *a, struct str dir)
{
	static const char *const subs[] = {"new", "cur"};
	uint32_t highest = 0;
	for (int i = 0; i < 2; i++) {
		int fd = openat(s->dir, folder_path(a, dir, subs[i]),
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		DIR *d = fd < 0 ? NULL : fdopendir(fd);
		struct dirent *e;
		while (d != NULL && (e = readdir(d)) != NULL) {
			uint32_t uid = maildir_parse(str_from(e->d_name)).uid;
			if (uid > highest && uid < INT32_MAX)
				highest = uid;
		}
		if (d != NULL)
			closedir(d);
	}
	return highest;
}

/*
 * Without a control file that can be read, or with that of the folder it was
 * copied from, it is a new folder; the letters of keywords are still true, and
 * the UIDs in its names as good as any.
 */
void
folder_adopt(struct store *s, struct arena *a, struct str name, struct str dir)
{
	struct folder_row f = {.name = name, .dir = dir, .rebuild = true};
	struct folder_row other;
	struct str_list words = {0};
	bool known = control_read(s, a, dir, &f, &words) &&
		!folder_of_mailbox(s, a, f.mailbox_id, &other);
	if (known) {
		note_validity(s, f.uidvalidity);
	} else {
		f.uidvalidity = control_validity(s, a);
		f.mailbox_id = control_mailbox_id(s, a, f.uidvalidity);
		f.uid_mark = highest_uid(s, a, dir);
		f.special = special_for(s, name);
		f.modseq_mark = 0;
	}
	f.uidnext = f.uid_mark + 1;
	f.modseq = f.modseq_mark + 1;
	make_directories(s, a, dir);
	add_row(s, &f);
	add_words(s, f.id, words);
	if (!known)
		control_write(s, a, &f, true);
}

void
folder_drop(struct store *s, int64_t folder)
{
	int64_t from = index_key(folder, 0), to = index_key(folder, UINT32_MAX);
	index_run(s, Q_FOLDER_MESSAGES, "ii", from, to);
	index_run(s, Q_FOLDER_HEADERS, "ii", from, to);
	index_run(s, Q_FOLDER_CONTENTS, "ii", from, to);
	index_run(s, Q_FOLDER_RUNS, "i", folder);
	index_run(s, Q_FOLDER_TOMBS, "i", folder);
	index_run(s, Q_FOLDER_WORDS, "i", folder);
	index_run(s, Q_FOLDER_DEAD, "i", folder);
	index_run(s, Q_FOLDER_PENDING, "i", folder);
	index_run(s, Q_FOLDER_DROP, "i", folder);
}

static void
subscribe_account(struct store *s, struct arena *a)
{
	struct buf *b = buf_new(a);
	if (faccessat(s->dir, subscriptions, F_OK, 0) == 0)
		return;
	for (size_t i = 0; i < ACCOUNT; i++)
		buf_printf(b, "%.*s\n", STR_ARG(account[i].name));
	control_save(s, a, subscriptions, buf_str(b), false);
}

/* INBOX last: that it is there is the sign that all of this was done.  One
 * sync for all of it: what a client is shown from now on must be the same after
 * a power cut. */
struct status
folder_make_account(struct store *s, struct arena *a)
{
	struct folder_row f;
	struct str dir;
	struct status st = index_begin(s, a);
	bool ok = true;
	if (!status_is_fine(st))
		return st;
	subscribe_account(s, a);
	for (size_t i = ACCOUNT; i-- > 0 && ok;) {
		if (folder_named(s, a, account[i].name, &f) ||
			!maildir_dir(a, account[i].name, &dir))
			continue;
		if (folder_is_there(s, a, dir))
			folder_adopt(s, a, account[i].name, dir);
		else
			ok = folder_make(s, a, account[i].name,
				account[i].special, false);
	}
	int err = errno;
	st = index_commit(s, a);
	if (status_is_fine(st) && !ok)
		st = status_errno(a, "mkdir", err);
	return status_is_fine(st) ? store_sync(s, a) : st;
}

/* --------------------------------------------------------------- graves */

static const char grave_prefix[] = "deleted.";

static void
remove_files(struct store *s, const char *path)
{
	int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC |
		O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d != NULL)
		closedir(d);
	unlinkat(s->dir, path, AT_REMOVEDIR);
}

/* Under the lock, so that no deletion is under way which may still fail. */
static struct str_list
list_graves(struct store *s, struct arena *a)
{
	enum { MOST = 256 };
	struct str_list l = {arena_array(a, MOST, sizeof *l.v), 0};
	int fd = openat(s->dir, "surat", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	while (d != NULL && (e = readdir(d)) != NULL && l.n < MOST)
		if (str_starts(str_from(e->d_name), str_from(grave_prefix)))
			l.v[l.n++] = str_printf(a, "surat/%s", e->d_name);
	if (d != NULL)
		closedir(d);
	return l;
}

/* What a deletion, this one or one that was interrupted, left. */
static void
sweep_graves(struct store *s, struct arena *a)
{
	static const char *const subs[] = {"tmp", "new", "cur", ""};
	if (!status_is_fine(index_begin(s, a)))
		return;
	struct str_list l = list_graves(s, a);
	index_rollback(s);
	for (size_t i = 0; i < l.n; i++)
		for (size_t k = 0; k < 4; k++)
			remove_files(s, folder_path(a, l.v[i], subs[k]));
}

/* ----------------------------------------------------- foreign folders */

/* Also one that lost a directory or two. */
bool
folder_is_there(struct store *s, struct arena *a, struct str dir)
{
	static const char *const signs[] = {"cur", "new", "surat-folder"};
	struct stat st;
	for (size_t i = 0; i < 3; i++)
		if (fstatat(s->dir, folder_path(a, dir, signs[i]), &st,
			    AT_SYMLINK_NOFOLLOW) == 0 &&
			(S_ISDIR(st.st_mode) || i == 2))
			return true;
	return false;
}

struct folder_row *
folder_rows(struct store *s, struct arena *a, size_t *n)
{
	size_t room = 64;
	struct folder_row *v = arena_array(a, room, sizeof *v);
	sqlite3_stmt *st = index_query(s, Q_FOLDERS, "");
	*n = 0;
	while (index_row(s, st)) {
		if (*n == room) {
			struct folder_row *old = v;
			v = arena_array(a, room * 2, sizeof *v);
			memcpy(v, old, room * sizeof *v);
			room *= 2;
		}
		folder_of_row(st, a, &v[(*n)++]);
	}
	return v;
}

/* A directory that was renamed has the control file of a folder whose own
 * directory is gone. */
static bool
follow_rename(struct store *s, struct arena *a, struct str name, struct str dir)
{
	struct folder_row f = {0}, there;
	struct str_list words;
	if (!control_read(s, a, dir, &f, &words) ||
		!folder_of_mailbox(s, a, f.mailbox_id, &there) ||
		there.dir.n == 0 || folder_is_there(s, a, there.dir))
		return false;
	index_run(s, Q_FOLDER_MOVE, "itt", there.id, name, dir);
	return true;
}

static void
take_directory(struct store *s, struct arena *a, struct str dir)
{
	struct folder_row f;
	struct str raw, name;
	sqlite3_stmt *st = index_query(s, Q_FOLDER_DIR, "t", dir);
	bool known = index_row(s, st);
	if (known)
		index_end(st);
	if (known || !maildir_folder(a, dir, &raw) ||
		!folders_name(a, raw, &name) || folder_named(s, a, name, &f) ||
		!folder_is_there(s, a, dir))
		return;
	if (!follow_rename(s, a, name, dir))
		folder_adopt(s, a, name, str_copy(a, dir));
}

/* Renamed ones are recognised while their old rows are there. */
static void
take_directories(struct store *s, struct arena *a)
{
	int fd = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct folder_row f;
	while (d != NULL && (e = readdir(d)) != NULL) {
		struct str dir = str_from(e->d_name);
		struct arena_mark m = arena_mark(a);
		if (dir.n >= 2 && dir.p[0] == '.' && dir.p[1] != '.')
			take_directory(s, a, dir);
		arena_rewind(a, m);
	}
	if (d != NULL)
		closedir(d);
	if (!folder_named(s, a, inbox, &f))
		folder_adopt(s, a, inbox, STR(""));
}

static void
drop_vanished(struct store *s, struct arena *a)
{
	size_t n;
	struct folder_row *v = folder_rows(s, a, &n);
	for (size_t i = 0; i < n; i++)
		if (v[i].dir.n > 0 && !folder_is_there(s, a, v[i].dir))
			folder_drop(s, v[i].id);
}

/* As listing.c does it with a folder's directories. */
static int64_t
time_before(struct store *s)
{
	int64_t at = watch_time(s, ".");
	bool young = clock_wall_us() * 1000 - at < TICK_NS;
	return young ? watch_stamp(s, ".") : at;
}

struct status
sync_folders(struct store *s, struct arena *a)
{
	int64_t at = watch_time(s, ".");
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	bool same = index_meta(s, TOP_TIME) == at;
	st = index_commit(s, a);
	/* who cannot write reads what there is */
	if (!status_is_fine(st) || same || s->ix.read_only)
		return st;
	st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	at = time_before(s);
	folder_finish_rename(s, a);
	take_directories(s, a);
	drop_vanished(s, a);
	index_set_meta(s, TOP_TIME, at);
	st = index_commit(s, a);
	sweep_graves(s, a);
	return st;
}

/* -------------------------------------------------------- subscriptions */

/* Who never said what he is subscribed to sees everything: a Maildir of
 * another server. */
static struct str_list
every_name(struct store *s, struct arena *a)
{
	size_t room = 0;
	struct str_list l = {0};
	sqlite3_stmt *st = index_query(s, Q_FOLDER_NAMES, "");
	while (index_row(s, st)) {
		if (l.n == room) {
			struct str *old = l.v;
			room = room * 2 + 32;
			l.v = arena_array(a, room, sizeof *l.v);
			if (l.n > 0)
				memcpy(l.v, old, l.n * sizeof *l.v);
		}
		l.v[l.n++] = str_copy(a, index_text(st, 1));
	}
	return l;
}

/* Within a transaction. */
static struct str_list
subscribed(struct store *s, struct arena *a)
{
	struct str text = {0}, line, name;
	struct str_list l = {0};
	if (!control_load(s, a, subscriptions, &text))
		return every_name(s, a);
	l.v = arena_array(a, text.n / 2 + 1, sizeof *l.v);
	while (str_cut(&text, '\n', &line))
		if (folders_name(a, line, &name))
			l.v[l.n++] = name;
	return l;
}

static bool
save_subscribed(struct store *s, struct arena *a, struct str_list l,
	struct str drop, struct str add)
{
	struct buf *b = buf_new(a);
	for (size_t i = 0; i < l.n; i++)
		if (!str_eq(l.v[i], drop))
			buf_printf(b, "%.*s\n", STR_ARG(l.v[i]));
	if (add.n > 0)
		buf_printf(b, "%.*s\n", STR_ARG(add));
	return control_save(s, a, subscriptions, buf_str(b), true);
}

struct status
folders_subscribe(struct store *s, struct arena *a, struct str name, bool on)
{
	struct str good;
	if (!folders_name(a, name, &good))
		return BAD_FOLDER_NAME;
	/* the lock keeps two sessions from losing each other's change */
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	bool ok = save_subscribed(s, a, subscribed(s, a), good,
		on ? good : STR(""));
	int err = errno;
	st = index_commit(s, a);
	return ok ? st : status_errno(a, "subscriptions", err);
}

/* ----------------------------------------------------------------- list */

/* INBOX first; then the separator before every other character, so that
 * children follow their parents. */
static int
by_name(const void *a, const void *b)
{
	const struct folder *x = a, *y = b;
	struct str p = x->name, q = y->name;
	bool px = str_eq(p, inbox) || folder_is_below(p, inbox),
	     qx = str_eq(q, inbox) || folder_is_below(q, inbox);
	if (px != qx)
		return (int)qx - (int)px;
	size_t i = 0;
	while (i < p.n && i < q.n && p.p[i] == q.p[i])
		i++;
	int c = i == p.n ? -1 : p.p[i] == FOLDERS_SEPARATOR ? 0
		: 1 + (unsigned char)p.p[i];
	int d = i == q.n ? -1 : q.p[i] == FOLDERS_SEPARATOR ? 0
		: 1 + (unsigned char)q.p[i];
	return c - d;
}

struct gathering {
	struct arena *a;
	struct map *by_name;
	struct folder *v;
	size_t n, room;
};

static struct folder *
gather(struct gathering *g, struct str name)
{
	size_t *at = map_get(g->by_name, name);
	if (at != NULL)
		return &g->v[*at];
	if (g->n == g->room) {
		struct folder *old = g->v;
		g->room = g->room * 2 + 32;
		g->v = arena_array(g->a, g->room, sizeof *g->v);
		if (g->n > 0)
			memcpy(g->v, old, g->n * sizeof *g->v);
	}
	at = arena_one(g->a, size_t);
	*at = g->n++;
	map_set(g->by_name, name, at);
	g->v[*at].name = name;
	return &g->v[*at];
}

static void
gather_parents(struct gathering *g, struct str name, bool exists)
{
	for (;;) {
		size_t slash = str_find_last(name, FOLDERS_SEPARATOR);
		if (slash == name.n)
			return;
		name = str_head(name, slash);
		gather(g, name)->has_children |= exists;
	}
}

static void
gather_rows(struct store *s, struct gathering *g)
{
	sqlite3_stmt *st = index_query(s, Q_FOLDER_NAMES, "");
	while (index_row(s, st)) {
		struct folder *f = gather(g, str_copy(g->a, index_text(st, 1)));
		f->id = index_int(st, 0);
		f->mailbox_id = str_copy(g->a, index_text(st, 2));
		f->special = str_copy(g->a, index_text(st, 3));
		gather_parents(g, f->name, true);
	}
}

struct status
folders_list(struct store *s, struct arena *a, struct folder_list *out)
{
	struct gathering g = {.a = a, .by_name = map_new(a)};
	struct status st = sync_folders(s, a);
	if (status_is_fine(st))
		st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	gather_rows(s, &g);
	struct str_list l = subscribed(s, a);
	st = index_commit(s, a);
	for (size_t i = 0; i < l.n; i++) {
		gather(&g, l.v[i])->subscribed = true;
		gather_parents(&g, l.v[i], false);
	}
	if (g.n > 0)
		qsort(g.v, g.n, sizeof *g.v, by_name);
	*out = (struct folder_list){g.v, g.n};
	return st;
}

struct status
folders_status(struct store *s, struct arena *a, struct str name,
	struct folder *out)
{
	struct folder_row f;
	struct status st = folder_find(s, a, name, &f);
	if (status_is_fine(st))
		st = sync_to_read(s, a, f.id, &f);
	if (status_is_fine(st))
		*out = folder_view(s, &f, a);
	return st;
}

/* -------------------------------------------------------------- changes */

/* The directory leaves the list by one rename; its files go afterwards.  Where
 * it lies then, or NULL with errno. */
static char *
bury(struct store *s, struct arena *a, struct str dir)
{
	char *grave = str_cstr(a, str_printf(a, "surat/%s%d.%08x",
		grave_prefix, (int)getpid(), (unsigned)control_random(s)));
	return own_move(s, str_cstr(a, dir), grave) ? grave : NULL;
}

/* Its directory would be taken for a folder by the next look. */
static void
take_back(struct store *s, struct arena *a, struct str dir, bool was_there)
{
	int err = errno;
	index_rollback(s);
	if (!was_there && bury(s, a, dir) != NULL)
		sweep_graves(s, a);
	errno = err;
}

struct status
folders_create(struct store *s, struct arena *a, struct str name,
	struct str special)
{
	struct str good, dir = STR("");
	struct folder_row f;
	if (name.n > 0 && name.p[name.n - 1] == FOLDERS_SEPARATOR)
		name.n--;
	if (!folders_name(a, name, &good))
		return BAD_FOLDER_NAME;
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (folder_named(s, a, good, &f)) {
		index_rollback(s);
		return FOLDER_EXISTS;
	}
	bool there = !maildir_dir(a, good, &dir) || folder_is_there(s, a, dir);
	watch_top(s);
	bool made = folder_make(s, a, good, special, true);
	int err = errno;
	watch_top_end(s);
	if (!made) {
		errno = err;
		take_back(s, a, dir, there);
		return status_errno(a, "mkdir", errno);
	}
	st = index_commit(s, a);
	if (status_is_fine(st))
		notify_send(s);
	else
		take_back(s, a, dir, there);
	return st;
}

/* Within the transaction that drops the rows.  The Maildir's new time is not
 * recorded: who looks the folders through finds what a crash has left of it. */
static struct status
delete_row(struct store *s, struct arena *a, const struct folder_row *f)
{
	folder_drop(s, f->id);
	char *grave = bury(s, a, f->dir);
	if (grave == NULL && errno != ENOENT) {
		int err = errno;
		index_rollback(s);
		return status_errno(a, "rename", err);
	}
	struct status st = index_commit(s, a);
	if (!status_is_fine(st) && grave != NULL)
		renameat(s->dir, grave, s->dir, str_cstr(a, f->dir));
	return st;
}

struct status
folders_delete(struct store *s, struct arena *a, struct str name)
{
	struct str good;
	struct folder_row f;
	if (!folders_name(a, name, &good))
		return NO_FOLDER;
	if (str_eq(good, inbox))
		return status_never(2, 0, STR("INBOX cannot be deleted"));
	struct status st = index_begin(s, a);
	if (!status_is_fine(st))
		return st;
	if (!folder_named(s, a, good, &f))
		return index_no_folder(s, a);
	st = delete_row(s, a, &f);
	if (!status_is_fine(st))
		return st;
	sweep_graves(s, a);
	notify_send(s);
	return st;
}

struct status
folders_deleted_size(struct store *s, struct arena *a, const struct folder *f,
	uint64_t *octets)
{
	*octets = 0;
	struct status st = index_begin_read(s, a);
	if (!status_is_fine(st))
		return st;
	sqlite3_stmt *q = index_query(s, Q_DELETED_SIZE, "ii",
		index_key(f->id, 0), index_key(f->id, UINT32_MAX));
	if (index_row(s, q)) {
		*octets = (uint64_t)index_int(q, 0);
		index_end(q);
	}
	return index_commit(s, a);
}
