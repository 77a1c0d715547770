/* SPDX-License-Identifier: ISC */
/*
 * The database behind a store: opening, schema, statements, transactions.
 * WAL with synchronous=NORMAL: after a power cut it is consistent and at most
 * a little old, and what it lacks is in the Maildir.  Knows nothing of
 * messages; what the tables mean is in doc/store.md.
 */
#include "store/index.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/frames.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { VERSION = 8, CHECKPOINT_PAGES = 2000 };

static const char schema[] =
	"CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE folder(id INTEGER PRIMARY KEY,"
	" name TEXT NOT NULL UNIQUE, dir TEXT NOT NULL UNIQUE,"
	" mailbox_id TEXT NOT NULL, special TEXT NOT NULL,"
	" uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL,"
	" uid_mark INTEGER NOT NULL, modseq INTEGER NOT NULL,"
	" modseq_mark INTEGER NOT NULL,"
	" messages INTEGER NOT NULL DEFAULT 0,"
	" unseen INTEGER NOT NULL DEFAULT 0,"
	" deleted INTEGER NOT NULL DEFAULT 0,"
	" size INTEGER NOT NULL DEFAULT 0,"
	" file_size INTEGER NOT NULL DEFAULT 0,"
	" run_first INTEGER NOT NULL DEFAULT 0,"
	" run_last INTEGER NOT NULL DEFAULT 0,"
	" new_from INTEGER NOT NULL DEFAULT 1,"
	" recent_uid INTEGER NOT NULL, tombs INTEGER NOT NULL DEFAULT 0,"
	" tomb_since INTEGER NOT NULL, new_mtime INTEGER NOT NULL DEFAULT 0,"
	" cur_mtime INTEGER NOT NULL DEFAULT 0,"
	" unsure INTEGER NOT NULL DEFAULT 0,"
	" looked INTEGER NOT NULL DEFAULT 0, rebuild INTEGER NOT NULL,"
	" words_owed INTEGER NOT NULL DEFAULT 0);"
	"CREATE TABLE message(key INTEGER PRIMARY KEY, folder INTEGER NOT NULL,"
	" flags INTEGER NOT NULL, modseq INTEGER NOT NULL,"
	" changed INTEGER, size INTEGER NOT NULL, date INTEGER NOT NULL,"
	" zone INTEGER NOT NULL, keywords TEXT, file_size INTEGER NOT NULL,"
	" sent INTEGER NOT NULL, saved INTEGER NOT NULL,"
	" thread INTEGER NOT NULL, place INTEGER NOT NULL,"
	" name TEXT NOT NULL, info TEXT NOT NULL);"
	"CREATE INDEX message_changed ON message(folder, changed)"
	" WHERE changed IS NOT NULL;"
	"CREATE INDEX message_owed ON message(folder) WHERE place IN (1,3);"
	/* the flags that are asked for most, and that fewest have */
	"CREATE INDEX message_unseen ON message(key) WHERE flags&1=0;"
	"CREATE INDEX message_deleted ON message(key) WHERE flags&8<>0;"
	"CREATE INDEX message_bare ON message(key) WHERE thread=-1;"
	"CREATE TABLE header(key INTEGER PRIMARY KEY, message_id TEXT,"
	" refs TEXT, from_text TEXT, to_text TEXT, cc_text TEXT,"
	" bcc_text TEXT, subject TEXT, sort_from TEXT, sort_to TEXT,"
	" sort_cc TEXT, sort_subject TEXT, display_from TEXT,"
	" display_to TEXT);"
	"CREATE TABLE content(key INTEGER PRIMARY KEY, preview TEXT,"
	" envelope TEXT, body TEXT, structure TEXT, fields TEXT);"
	"CREATE TABLE run(folder INTEGER, first INTEGER, last INTEGER,"
	" PRIMARY KEY(folder, first)) WITHOUT ROWID;"
	"CREATE TABLE tombstone(folder INTEGER, modseq INTEGER,"
	" first INTEGER, last INTEGER, PRIMARY KEY(folder, modseq, first))"
	" WITHOUT ROWID;"
	"CREATE TABLE dead(folder INTEGER, uid INTEGER,"
	" unique_part TEXT NOT NULL, path TEXT NOT NULL,"
	" PRIMARY KEY(folder, uid)) WITHOUT ROWID;"
	"CREATE TABLE pending(folder INTEGER, first INTEGER,"
	" last INTEGER NOT NULL, prefix TEXT,"
	" PRIMARY KEY(folder, first, prefix)) WITHOUT ROWID;"
	"CREATE TABLE renaming(id INTEGER PRIMARY KEY, from_name TEXT,"
	" to_name TEXT);"
	"CREATE TABLE past(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE keyword(folder INTEGER, number INTEGER, name TEXT,"
	" PRIMARY KEY(folder, number)) WITHOUT ROWID;";

static const char *const sql[Q_COUNT] = {
#define INDEX_SQL(name, text) text,
	INDEX_QUERIES(INDEX_SQL)
#undef INDEX_SQL
};

/* ------------------------------------------------------------- failures */

static bool
is_damage(int rc)
{
	int plain = rc & 0xff;
	return plain == SQLITE_CORRUPT || plain == SQLITE_NOTADB ||
		rc == SQLITE_IOERR_SHORT_READ;
}

static void
note(struct store *s, int rc)
{
	if (s->ix.fault == SQLITE_OK)
		s->ix.fault = rc;
	if (is_damage(rc))
		s->ix.broken = true;
}

struct status
index_status(struct store *s, struct arena *a)
{
	int rc = s->ix.fault & 0xff;
	if (rc == SQLITE_OK)
		return status_fine();
	if (rc == SQLITE_FULL)
		return status_later(3, 1, STR("the disk is full"));
	if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		return status_later(2, 0, STR("the mailbox is busy"));
	if (rc == SQLITE_READONLY)
		return status_later(3, 0, STR("the disk cannot be written to"));
	return status_later(2, 0,
		str_printf(a, "index: %s", sqlite3_errstr(s->ix.fault)));
}

/* --------------------------------------------------------------- opening */

/*
 * Transactions are short, so whoever waits looks often: SQLite's own handler
 * sleeps up to 100 ms, in which a writer of many batches would take the lock
 * again and again.
 */
static int
wait_turn(void *ctx, int times)
{
	struct store *s = ctx;
	if (times == 0)
		s->ix.waiting_since = clock_ms();
	int64_t left = s->ix.waiting_since + s->patience - clock_ms();
	if (left <= 0)
		return 0;
	unsigned us = times < 10 ? 200 : 1000;
	usleep(us + (unsigned)control_random(s) % us);
	return 1;
}

/* SQLite closes with a checkpoint otherwise, which syncs. */
static void
set_up(struct store *s, sqlite3 *db)
{
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_extended_result_codes(db, 1);
	sqlite3_busy_handler(db, wait_turn, s);
	sqlite3_wal_autocheckpoint(db, CHECKPOINT_PAGES);
}

static int
exec(struct store *s, const char *text)
{
	return sqlite3_exec(s->ix.db, text, NULL, NULL, NULL);
}

/* Of two who make a log for the same new file SQLite has nobody wait: its
 * handler is not called by who reads already. */
static int
exec_patiently(struct store *s, const char *text)
{
	int64_t deadline = clock_in(s->patience);
	int rc = exec(s, text);
	for (unsigned n = 0; (rc & 0xff) == SQLITE_BUSY &&
		clock_ms() < deadline; n++) {
		index_pause(s, n);
		rc = exec(s, text);
	}
	return rc;
}

static int
version_of(struct store *s, int *version)
{
	sqlite3_stmt *st;
	int rc = sqlite3_prepare_v2(s->ix.db, "PRAGMA user_version", -1, &st,
		NULL);
	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(st);
	*version = rc == SQLITE_ROW ? sqlite3_column_int(st, 0) : 0;
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Two processes may find the same empty file: the schema is made under the
 * write lock, after looking again. */
static int
make_schema(struct store *s)
{
	int version = 0, rc = exec(s, "BEGIN IMMEDIATE");
	if (rc != SQLITE_OK)
		return rc;
	rc = version_of(s, &version);
	if (rc == SQLITE_OK && version == 0) {
		rc = exec(s, schema);
		if (rc == SQLITE_OK)
			rc = exec(s, "PRAGMA user_version=8");
	}
	if (rc != SQLITE_OK) {
		exec(s, "ROLLBACK");
		return rc;
	}
	return exec(s, "COMMIT");
}

/* By its path: the whole Maildir may have been replaced. */
static bool
same_file(struct store *s)
{
	struct stat st;
	return lstat(s->index_path, &st) == 0 && st.st_ino == s->ix.ino &&
		st.st_dev == s->ix.dev;
}

static const char *const log_names[] = {
	"surat/index.db-wal", "surat/index.db-shm"};

static void
look_at_logs(struct store *s, ino_t found[2])
{
	struct stat st;
	for (size_t i = 0; i < 2; i++)
		found[i] = fstatat(s->dir, log_names[i], &st,
				   AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

/* Whoever removes the file and what lies beside it, one after the other, may
 * meet what belongs to its successor: who then opens that gets a log and locks
 * of his own, and neither sees what the other writes. */
static bool
same_logs(struct store *s)
{
	ino_t found[2];
	look_at_logs(s, found);
	return found[0] == s->ix.logs[0] && found[1] == s->ix.logs[1];
}

static int
open_as(struct store *s, const char *name, int flags)
{
	int rc = sqlite3_open_v2(name, &s->ix.db,
		flags | SQLITE_OPEN_NOMUTEX, frames_vfs());
	if (rc != SQLITE_OK)
		return rc;
	set_up(s, s->ix.db);
	return exec_patiently(s,
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
		"PRAGMA cache_size=-1024; PRAGMA journal_size_limit=16777216;"
		"PRAGMA temp_store=MEMORY; PRAGMA secure_delete=OFF");
}

/* On a file system that cannot be written to SQLite can do without its log
 * when it is told that nobody changes the file. */
static bool
is_fixed(struct store *s)
{
	struct statvfs fs;
	return fstatvfs(s->dir, &fs) == 0 && (fs.f_flag & ST_RDONLY) &&
		faccessat(s->dir, "surat/index.db-wal", F_OK, 0) != 0;
}

static int
try_open(struct store *s)
{
	int version = 0;
	int rc = open_as(s, s->index_path, SQLITE_OPEN_READWRITE);
	if (rc == SQLITE_CANTOPEN && is_fixed(s)) {
		sqlite3_close(s->ix.db);
		rc = open_as(s, s->index_fixed,
			SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
	}
	/* removed since, it has perhaps got the log of its successor */
	if (rc == SQLITE_OK && !same_file(s))
		rc = SQLITE_CANTOPEN;
	if (rc == SQLITE_OK)
		rc = version_of(s, &version);
	if (rc == SQLITE_OK && version == 0)
		rc = make_schema(s);
	else if (rc == SQLITE_OK && version != VERSION)
		rc = SQLITE_NOTADB;
	s->ix.read_only = sqlite3_db_readonly(s->ix.db, "main") > 0;
	look_at_logs(s, s->ix.logs);
	return rc;
}

void
store_patience(struct store *s, int ms)
{
	s->patience = ms;
}

/* What mailbox_news asks: ten kilobytes, and half of the time from somebody
 * else's commit to a client that hears of it. */
static bool
is_of_news(size_t query)
{
	static const enum index_query news[] = {Q_BEGIN, Q_BEGIN_READ, Q_COMMIT,
		Q_ROLLBACK, Q_FOLDER_ID, Q_TOMBS, Q_MESSAGE_CHANGED_TO,
		Q_MESSAGE_CHANGED, Q_MESSAGE_KEYS, Q_WORDS};
	for (size_t i = 0; i < sizeof news / sizeof *news; i++)
		if (news[i] == query)
			return true;
	return false;
}

static void
drop_statements(struct store *s, bool but_news)
{
	for (size_t i = 0; i < Q_COUNT; i++) {
		if (but_news && is_of_news(i))
			continue;
		sqlite3_finalize(s->ix.st[i]);
		s->ix.st[i] = NULL;
	}
	for (size_t i = 0; i < SCANS_KEPT; i++) {
		sqlite3_finalize(s->ix.scans[i].st);
		s->ix.scans[i].st = NULL;
	}
	s->ix.scanning = NULL;
}

void
index_close(struct store *s)
{
	drop_statements(s, false);
	sqlite3_close(s->ix.db);
	s->ix.db = NULL;
}

void
store_rest(struct store *s)
{
	drop_statements(s, true);
	if (s->ix.db != NULL)
		sqlite3_db_release_memory(s->ix.db);
}

static int
look_at(struct store *s, struct stat *st)
{
	return fstatat(s->dir, "surat/index.db", st, AT_SYMLINK_NOFOLLOW);
}

/* Its directory is locked by who makes a new file, or sets one aside: what
 * belongs to the one is not to be taken for what the other has left.  -1:
 * somebody has the lock. */
static int
lock_making(struct store *s)
{
	int64_t deadline = clock_in(s->patience);
	int fd = openat(s->dir, "surat", O_RDONLY | O_DIRECTORY | O_CLOEXEC |
		O_NOFOLLOW);
	for (unsigned n = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 &&
		errno == EWOULDBLOCK; n++) {
		if (clock_ms() >= deadline) {
			close(fd);
			errno = EWOULDBLOCK;
			return -1;
		}
		index_pause(s, n);
	}
	return fd;
}

/* Frames of another file would be taken for changes to this one. */
static void
drop_logs(struct store *s)
{
	for (size_t i = 0; i < 2; i++)
		unlinkat(s->dir, log_names[i], 0);
}

/* SQLite says of a read that failed what it says of damage, and what one disk
 * would not give it may give when it is asked again.  So a file has to seem
 * damaged twice. */
static bool
is_damaged_again(struct store *s, const struct stat *st)
{
	bool again = s->ix.suspect == st->st_ino;
	s->ix.suspect = st->st_ino;
	return again;
}

/* The file that was found damaged, or something that is no file: SQLite would
 * follow a link, also to one that is not there. */
static void
set_aside(struct store *s)
{
	struct stat st;
	if (look_at(s, &st) != 0 || (S_ISREG(st.st_mode) &&
		(!s->ix.broken || st.st_ino != s->ix.ino ||
			st.st_dev != s->ix.dev || !is_damaged_again(s, &st))))
		return;
	log_error(LOG_NO_ID, "index-damaged", LOG_STR("maildir", s->path));
	renameat(s->dir, "surat/index.db", s->dir, "surat/index.db.bad");
	drop_logs(s);
}

/* SQLite's own mode would let others read; its other files have the mode of
 * this one.  Only a new one may be closed again: that of a file in use would
 * drop the locks of the process. */
static void
make_file(struct store *s)
{
	struct stat st;
	if (look_at(s, &st) == 0 || errno != ENOENT)
		return;
	drop_logs(s);
	int fd = openat(s->dir, "surat/index.db", O_WRONLY | O_CREAT | O_EXCL |
		O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		close(fd);
}

struct status
index_discard(struct store *s, struct arena *a)
{
	int lock = lock_making(s);
	if (lock < 0 && errno == EWOULDBLOCK) {
		note(s, SQLITE_BUSY);
		return index_status(s, a);
	}
	struct status st = status_fine();
	/* whoever has it open notices by the first */
	if (unlinkat(s->dir, "surat/index.db", 0) == 0 || errno == ENOENT)
		drop_logs(s);
	else
		st = status_errno(a, "remove the index", errno);
	if (lock >= 0)
		close(lock);
	return st;
}

/* That there is a file, and which; false: somebody is at it for too long. */
static bool
find_file(struct store *s)
{
	struct stat st;
	bool there = look_at(s, &st) == 0 && S_ISREG(st.st_mode);
	if (!there || s->ix.broken) {
		int lock = lock_making(s);
		if (lock < 0 && errno == EWOULDBLOCK)
			return false;
		set_aside(s);
		make_file(s);
		if (lock >= 0)
			close(lock);
		if (look_at(s, &st) != 0)
			st = (struct stat){0};
	}
	s->ix.broken = false;
	s->ix.dev = st.st_dev;
	s->ix.ino = st.st_ino;
	return true;
}

struct status
index_open(struct store *s, struct arena *a)
{
	enum { TRIES = 4 };
	int rc = find_file(s) ? try_open(s) : SQLITE_BUSY;
	for (int i = 1; i < TRIES && rc != SQLITE_OK; i++) {
		s->ix.broken = is_damage(rc);
		if (!s->ix.broken && same_file(s))
			break;
		index_close(s);
		rc = find_file(s) ? try_open(s) : SQLITE_BUSY;
	}
	s->ix.fault = rc;
	s->ix.generation++;
	s->noted.known = false;
	struct status out = index_status(s, a);
	if (rc != SQLITE_OK)
		index_close(s);
	return out;
}

bool
index_is_current(struct store *s)
{
	return s->ix.db != NULL && !s->ix.broken && same_file(s) &&
		same_logs(s);
}

bool
index_has_lost_logs(struct store *s)
{
	return s->ix.db != NULL && !s->ix.broken && same_file(s) &&
		!same_logs(s);
}

/* ---------------------------------------------------------- transactions */

struct status
index_ready(struct store *s, struct arena *a)
{
	s->ix.fault = SQLITE_OK;
	return index_is_current(s) ? status_fine() : store_renew(s, a);
}

static struct status
begin(struct store *s, struct arena *a, enum index_query q)
{
	/* A snapshot older than the last commit could not be written to. */
	if (s->ix.scanning != NULL)
		sqlite3_reset(s->ix.scanning->st);
	s->ix.scanning = NULL;
	struct status st = index_ready(s, a);
	if (!status_is_fine(st))
		return st;
	index_run(s, q, "");
	s->ix.open = s->ix.fault == SQLITE_OK;
	return index_status(s, a);
}

struct status
index_begin(struct store *s, struct arena *a)
{
	return begin(s, a, Q_BEGIN);
}

struct status
index_begin_read(struct store *s, struct arena *a)
{
	return begin(s, a, Q_BEGIN_READ);
}

void
index_pause(struct store *s, unsigned times)
{
	enum { SHORTEST_US = 250, DOUBLINGS = 5 };
	unsigned us = SHORTEST_US << (times < DOUBLINGS ? times : DOUBLINGS);
	usleep(us + (unsigned)control_random(s) % us);
}

static struct status
begin_now(struct store *s, struct arena *a)
{
	int patience = s->patience;
	s->patience = 0;
	struct status st = index_begin(s, a);
	s->patience = patience;
	return st;
}

static bool
is_owed(struct store *s, struct arena *a, const struct chore *c,
	struct folder_row *f)
{
	return folder_by_id(s, a, c->folder, f) && c->is_owed(s, a, f, c->ctx);
}

struct status
index_seize(struct store *s, struct arena *a, const struct chore *c,
	struct folder_row *f, bool *owed)
{
	for (unsigned n = 0;; n++) {
		struct status st = index_begin_read(s, a);
		if (!status_is_fine(st))
			return st;
		*owed = is_owed(s, a, c, f);
		st = index_commit(s, a);
		if (!status_is_fine(st) || !*owed)
			return st;
		st = begin_now(s, a);
		if (status_is_fine(st)) {
			*owed = is_owed(s, a, c, f);
			if (!*owed)
				index_rollback(s);
			return index_status(s, a);
		}
		if ((s->ix.fault & 0xff) != SQLITE_BUSY ||
			clock_ms() >= c->deadline)
			return st;
		index_pause(s, n);
	}
}

bool
index_relieve(struct store *s, struct status st)
{
	if (!status_is_later(st) || st.subject != 3 || st.detail != 1 ||
		s->ix.db == NULL)
		return false;
	if (unlinkat(s->dir, "surat/reserve", 0) == 0)
		return true;
	/* what has reached the database need not stay in the log, whose room
	 * can then be used again */
	return sqlite3_wal_checkpoint_v2(s->ix.db, NULL,
		SQLITE_CHECKPOINT_RESTART, NULL, NULL) == SQLITE_OK;
}

void
index_rollback(struct store *s)
{
	int fault = s->ix.fault;
	if (s->ix.open && !sqlite3_get_autocommit(s->ix.db)) {
		s->ix.fault = SQLITE_OK;
		index_run(s, Q_ROLLBACK, "");
	}
	s->ix.open = false;
	s->ix.fault = fault;
}

struct status
index_no_folder(struct store *s, struct arena *a)
{
	index_rollback(s);
	struct status st = index_status(s, a);
	return status_is_fine(st) ? NO_FOLDER : st;
}

struct status
index_commit(struct store *s, struct arena *a)
{
	bool wrote = s->ix.open && s->ix.db != NULL &&
		sqlite3_txn_state(s->ix.db, "main") == SQLITE_TXN_WRITE;
	if (wrote)
		frames_gather(s->ix.db, true);
	if (s->ix.fault == SQLITE_OK)
		index_run(s, Q_COMMIT, "");
	if (wrote)
		frames_gather(s->ix.db, false);
	if (s->ix.fault != SQLITE_OK)
		index_rollback(s);
	s->ix.open = false;
	struct status st = index_status(s, a);
	/* what was written to a file that somebody removed is lost */
	if (status_is_fine(st) && wrote && !(same_file(s) && same_logs(s)))
		return status_later(2, 0, STR("the index was made anew"));
	return st;
}

/* ------------------------------------------------------------ statements */

static sqlite3_stmt *
prepared(struct store *s, enum index_query q)
{
	if (s->ix.fault != SQLITE_OK || s->ix.db == NULL)
		return NULL;
	if (s->ix.st[q] == NULL) {
		int rc = sqlite3_prepare_v3(s->ix.db, sql[q], -1,
			SQLITE_PREPARE_PERSISTENT, &s->ix.st[q], NULL);
		if (rc != SQLITE_OK)
			note(s, rc);
		/* tables that are not ours */
		s->ix.broken |= (rc & 0xff) == SQLITE_ERROR;
	}
	return s->ix.st[q];
}

static int
bind_one(sqlite3_stmt *st, int i, char kind, va_list *ap)
{
	struct str t;
	if (kind == 'i')
		return sqlite3_bind_int64(st, i, va_arg(*ap, int64_t));
	if (kind != 't')
		return sqlite3_bind_null(st, i);
	t = va_arg(*ap, struct str);
	return sqlite3_bind_text(st, i, t.p == NULL ? "" : t.p, (int)t.n,
		SQLITE_STATIC);
}

/* As many as the statement has, no more and no fewer. */
static void
bind_all(struct store *s, sqlite3_stmt *st, const char *fmt, va_list *ap)
{
	int i = 0, rc = SQLITE_OK;
	sqlite3_reset(st);
	while (fmt[i] != '\0' && rc == SQLITE_OK) {
		rc = bind_one(st, i + 1, fmt[i], ap);
		i++;
	}
	assert(rc != SQLITE_RANGE && rc != SQLITE_MISUSE);
	assert(rc != SQLITE_OK || i == sqlite3_bind_parameter_count(st));
	if (rc != SQLITE_OK)
		note(s, rc);
}

sqlite3_stmt *
index_query(struct store *s, enum index_query q, const char *fmt, ...)
{
	sqlite3_stmt *st = prepared(s, q);
	if (st == NULL)
		return NULL;
	va_list ap;
	va_start(ap, fmt);
	bind_all(s, st, fmt, &ap);
	va_end(ap);
	return st;
}

bool
index_row(struct store *s, sqlite3_stmt *st)
{
	if (st == NULL || s->ix.fault != SQLITE_OK)
		return false;
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return true;
	sqlite3_reset(st);
	if (rc != SQLITE_DONE)
		note(s, rc);
	return false;
}

void
index_end(sqlite3_stmt *st)
{
	sqlite3_reset(st);
}

void
index_run(struct store *s, enum index_query q, const char *fmt, ...)
{
	sqlite3_stmt *st = prepared(s, q);
	if (st == NULL)
		return;
	va_list ap;
	va_start(ap, fmt);
	bind_all(s, st, fmt, &ap);
	va_end(ap);
	while (index_row(s, st))
		;
}

struct str
index_text(sqlite3_stmt *st, int column)
{
	const void *p = sqlite3_column_text(st, column);
	return str_of(p, (size_t)sqlite3_column_bytes(st, column));
}

int64_t
index_meta(struct store *s, const char *name)
{
	sqlite3_stmt *st = index_query(s, Q_META_GET, "t", str_from(name));
	int64_t value = 0;
	if (index_row(s, st)) {
		value = index_int(st, 0);
		index_end(st);
	}
	return value;
}

void
index_set_meta(struct store *s, const char *name, int64_t value)
{
	index_run(s, Q_META_SET, "ti", str_from(name), value);
}
