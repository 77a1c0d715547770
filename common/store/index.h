/* SPDX-License-Identifier: ISC */
/*
 * index: the tables, for this room only.
 *
 * index.db is written in short transactions:
 *
 *	index_begin -> index_run, index_row ... -> index_commit
 *
 * Between the two nothing has to be checked: the first failure sticks,
 * everything after it does nothing, and index_commit rolls back and says what
 * it was.  Statements are prepared once and named; arguments are given with a
 * format, one letter each: i int64_t, t struct str, n NULL.
 *
 * I(x) makes any number an int64_t for them.
 *
 * A row's key is folder * 2^32 + uid, so that a folder's messages lie side by
 * side in every table.
 *
 * Modules:
 *	index.c		the database: opening, statements, transactions
 *	control.c	the text files that outlive it
 *	rows.c		folder, message and run rows
 *	keywords.c	words and letters
 *	sync.c		foreign changes
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/folders.h"
#include "store/mailbox.h"
#include "store/maildir.h"
#include "store/store.h"
#include "store/uids.h"

#include <sqlite3.h>
#include <sys/types.h>

#define I(x) ((int64_t)(x))

#define FOLDER_COLUMNS "id,name,dir,mailbox_id,special,uidvalidity,uidnext," \
	"uid_mark,modseq,modseq_mark,messages,unseen,deleted,size,file_size," \
	"recent_uid,tombs,tomb_since,new_mtime,cur_mtime,unsure,looked," \
	"rebuild,words_owed"

/* clang-format off */
#define INDEX_QUERIES(Q) \
	Q(BEGIN, "BEGIN IMMEDIATE") \
	Q(BEGIN_READ, "BEGIN") \
	Q(COMMIT, "COMMIT") \
	Q(ROLLBACK, "ROLLBACK") \
	Q(META_GET, "SELECT value FROM meta WHERE name=?1") \
	Q(META_SET, "INSERT INTO meta VALUES(?1,?2) " \
		"ON CONFLICT(name) DO UPDATE SET value=?2") \
	Q(FOLDERS, "SELECT " FOLDER_COLUMNS " FROM folder ORDER BY id") \
	Q(FOLDER_NAMED, "SELECT " FOLDER_COLUMNS " FROM folder WHERE name=?1") \
	Q(FOLDER_ID, "SELECT " FOLDER_COLUMNS " FROM folder WHERE id=?1") \
	Q(FOLDER_MAILBOX, "SELECT " FOLDER_COLUMNS " FROM folder " \
		"WHERE mailbox_id=?1") \
	Q(FOLDER_DIR, "SELECT " FOLDER_COLUMNS " FROM folder WHERE dir=?1") \
	Q(FOLDER_ADD, "INSERT OR IGNORE INTO folder(name,dir,mailbox_id," \
		"special,uidvalidity,uidnext,uid_mark,modseq,modseq_mark," \
		"recent_uid,tomb_since,rebuild) " \
		"VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?6,?8,?10)") \
	Q(FOLDER_SET, "UPDATE folder SET uidnext=?2,uid_mark=?3,modseq=?4," \
		"modseq_mark=?5,messages=?6,unseen=?7,deleted=?8,size=?9," \
		"file_size=?10,recent_uid=?11,tombs=?12,tomb_since=?13," \
		"new_mtime=?14,cur_mtime=?15,unsure=?16,looked=?17," \
		"rebuild=?18,words_owed=?19 WHERE id=?1") \
	Q(FOLDER_MOVE, "UPDATE folder SET name=?2,dir=?3 WHERE id=?1") \
	Q(RENAME_NOTE, "INSERT OR REPLACE INTO renaming VALUES(1,?1,?2)") \
	Q(RENAME_NOTED, "SELECT from_name,to_name FROM renaming") \
	Q(RENAME_DROP, "DELETE FROM renaming") \
	Q(FOLDER_DROP, "DELETE FROM folder WHERE id=?1") \
	Q(FOLDER_MESSAGES, "DELETE FROM message WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_HEADERS, "DELETE FROM header WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_CONTENTS, "DELETE FROM content WHERE key BETWEEN ?1 AND ?2") \
	Q(FOLDER_RUNS, "DELETE FROM run WHERE folder=?1") \
	Q(FOLDER_TOMBS, "DELETE FROM tombstone WHERE folder=?1") \
	Q(FOLDER_WORDS, "DELETE FROM keyword WHERE folder=?1") \
	Q(FOLDER_DEAD, "DELETE FROM dead WHERE folder=?1") \
	Q(FOLDER_PENDING, "DELETE FROM pending WHERE folder=?1") \
	Q(LAST_VALIDITY, "SELECT max(uidvalidity) FROM folder") \
	Q(AFTER_BOOT, "UPDATE folder SET uidnext=max(uidnext,uid_mark+1)," \
		"modseq=max(modseq,modseq_mark),new_mtime=0,cur_mtime=0," \
		"rebuild=1") \
	Q(USAGE, "SELECT sum(messages),sum(file_size) FROM folder") \
	Q(MESSAGE_ADD, "INSERT INTO message(key,folder,flags,modseq,size," \
		"date,zone,keywords,file_size,sent,saved,thread,place,name," \
		"info) VALUES(?1,?2,?3,?4,?5,?6,?7,nullif(?8,''),?9,?10,?11," \
		"?12,nullif(?13,0),?14,?15)") \
	Q(MESSAGE_COPY, "INSERT INTO message(key,folder,flags,modseq,size," \
		"date,zone,keywords,file_size,sent,saved,thread,name,info) " \
		"SELECT ?2,?3,flags,?4,size,date,zone,nullif(?5,'')," \
		"file_size,sent,?6,thread,?7,?8 FROM message WHERE key=?1") \
	Q(HEADER_COPY, "INSERT INTO header SELECT ?2,message_id,refs," \
		"from_text,to_text,cc_text,bcc_text,subject,sort_from," \
		"sort_to,sort_cc,sort_subject,display_from,display_to " \
		"FROM header WHERE key=?1") \
	Q(CONTENT_COPY, "INSERT INTO content SELECT ?2,preview,envelope," \
		"body,structure FROM content WHERE key=?1") \
	Q(HEADER_ADD, "INSERT INTO header VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9," \
		"?10,?11,?12,?13,?14)") \
	Q(CONTENT_ADD, "INSERT INTO content VALUES(?1,?2,?3,?4,?5)") \
	Q(MESSAGE_DROP, "DELETE FROM message WHERE key=?1") \
	Q(HEADER_DROP, "DELETE FROM header WHERE key=?1") \
	Q(CONTENT_DROP, "DELETE FROM content WHERE key=?1") \
	Q(MESSAGE_HAS, "SELECT 1 FROM message WHERE key=?1") \
	Q(MESSAGE_NUMBERS, "SELECT flags,size,file_size,name,info,place," \
		"saved FROM message WHERE key=?1") \
	Q(MESSAGE_SOURCE, "SELECT flags,size,file_size,name,info,keywords," \
		"place FROM message WHERE key=?1") \
	Q(MESSAGE_FILES, "SELECT key,name,info,place FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 ORDER BY key") \
	Q(MESSAGE_FILES_NEW, "SELECT key,name,info,place FROM message " \
		"WHERE folder=?1 AND place IN (2,3) ORDER BY key") \
	Q(COUNT_NEW, "SELECT count(*) FROM message WHERE folder=?1 AND " \
		"place IN (2,3)") \
	Q(MESSAGE_STATE, "SELECT flags,keywords,name,info,place,file_size " \
		"FROM message WHERE key=?1") \
	Q(MESSAGE_CHANGE, "SELECT key,flags,keywords,modseq,info,place " \
		"FROM message WHERE key BETWEEN ?1 AND ?2 ORDER BY key") \
	Q(MESSAGE_KEYS, "SELECT key FROM message WHERE key BETWEEN ?1 AND ?2 " \
		"AND (flags&8 OR ?3) ORDER BY key") \
	Q(MESSAGE_NAMED, "SELECT key,name,info,place FROM message " \
		"WHERE name>=?1||',' AND name<?1||'-'") \
	Q(MESSAGE_PLACE, "UPDATE message SET name=?2,info=?3," \
		"place=nullif(?4,0) WHERE key=?1") \
	Q(MESSAGE_FLAGS, "UPDATE message SET flags=?2," \
		"keywords=nullif(?3,''),modseq=?4,place=nullif(?5,0) " \
		"WHERE key=?1") \
	Q(MESSAGE_OWING, "UPDATE message SET place=3 WHERE key BETWEEN ?1 " \
		"AND ?2 AND place=2") \
	Q(MESSAGE_OWED, "SELECT key,flags,keywords,name,info,place FROM " \
		"message WHERE folder=?1 AND place IN (1,3) LIMIT 128") \
	Q(FOLDERS_OWING, "SELECT DISTINCT folder FROM message WHERE place " \
		"IN (1,3) UNION SELECT DISTINCT folder FROM dead WHERE " \
		"path<>''") \
	Q(MESSAGE_CHANGED, "SELECT key,modseq FROM message " \
		"WHERE folder=?1 AND modseq>?2 ORDER BY key") \
	Q(MESSAGE_WORDS, "SELECT key,keywords FROM message " \
		"WHERE key BETWEEN ?1 AND ?2 AND keywords IS NOT NULL") \
	Q(FIRST_UNSEEN, "SELECT key FROM message WHERE key BETWEEN ?1 AND ?2 " \
		"AND flags&1=0 ORDER BY key LIMIT 1") \
	Q(RUN_COUNT, "SELECT count(*) FROM run WHERE folder=?1") \
	Q(RUNS, "SELECT first,last FROM run WHERE folder=?1 ORDER BY first") \
	Q(RUN_AT, "SELECT first,last FROM run WHERE folder=?1 AND first<=?2 " \
		"ORDER BY first DESC LIMIT 1") \
	Q(RUN_SET, "INSERT OR REPLACE INTO run VALUES(?1,?2,?3)") \
	Q(RUN_DROP, "DELETE FROM run WHERE folder=?1 AND first=?2") \
	Q(TOMB_ADD, "INSERT OR REPLACE INTO tombstone VALUES(?1,?2,?3,?4)") \
	Q(TOMBS, "SELECT first,last FROM tombstone WHERE folder=?1 AND " \
		"modseq>?2") \
	Q(TOMB_HAS, "SELECT 1 FROM tombstone WHERE folder=?1 AND first<=?2 " \
		"AND last>=?2 LIMIT 1") \
	Q(TOMB_NTH, "SELECT modseq FROM tombstone WHERE folder=?1 " \
		"ORDER BY modseq DESC LIMIT 1 OFFSET ?2") \
	Q(TOMB_TRIM, "DELETE FROM tombstone WHERE folder=?1 AND modseq<=?2") \
	Q(RECENT, "SELECT sum(last-max(first,?2)+1) FROM run " \
		"WHERE folder=?1 AND last>=?2 AND first>=coalesce((SELECT " \
		"max(first) FROM run WHERE folder=?1 AND first<=?2),0)") \
	Q(DEAD_ADD, "INSERT OR REPLACE INTO dead VALUES(?1,?2,?3,?4)") \
	Q(DEAD_DROP, "DELETE FROM dead WHERE folder=?1 AND uid=?2") \
	Q(DEAD_FORGET, "DELETE FROM dead WHERE folder=?1 AND path=''") \
	Q(DEAD_HAS, "SELECT 1 FROM dead WHERE folder=?1 AND uid=?2 AND " \
		"unique_part=?3") \
	Q(DEAD_SOME, "SELECT uid,unique_part,path FROM dead WHERE folder=?1 " \
		"AND uid>?2 AND path<>'' ORDER BY uid LIMIT 256") \
	Q(PENDING_ADD, "INSERT OR REPLACE INTO pending VALUES(?1,?2,?3,?4)") \
	Q(PENDING_DROP, "DELETE FROM pending WHERE folder=?1 AND first=?2 " \
		"AND prefix=?3") \
	Q(PENDING_IS, "SELECT 1 FROM pending WHERE folder=?1 AND first=?2 " \
		"AND prefix=?3") \
	Q(PENDING_HAS, "SELECT prefix FROM pending WHERE folder=?1 AND " \
		"first<=?2 AND last>=?2") \
	Q(PAST_ADD, "INSERT OR REPLACE INTO past(name) VALUES(?1)") \
	Q(PAST_TRIM, "DELETE FROM past WHERE id<=?1") \
	Q(PAST_HAS, "SELECT 1 FROM past WHERE name=?1") \
	Q(WORDS, "SELECT number,name FROM keyword WHERE folder=?1 " \
		"ORDER BY number") \
	Q(WORD_ADD, "INSERT OR IGNORE INTO keyword VALUES(?1,?2,?3)")
/* clang-format on */

enum index_query {
#define INDEX_ENUM(name, sql) Q_##name,
	INDEX_QUERIES(INDEX_ENUM)
#undef INDEX_ENUM
	Q_COUNT
};

enum { SCANS_KEPT = 8 };

struct scan_statement {
	unsigned want;
	sqlite3_stmt *st;
};

struct index {
	sqlite3 *db;
	sqlite3_stmt *st[Q_COUNT];
	struct scan_statement scans[SCANS_KEPT];
	size_t scan_next;
	int fault; /* SQLite's code, 0: none since begin */
	bool open; /* a transaction is */
	bool broken; /* the file is damaged */
	bool renewing; /* store_renew is at work */
	int64_t waiting_since; /* for another writer */
	dev_t dev;
	ino_t ino;
	unsigned generation; /* counts openings */
	sqlite3_stmt *scanning; /* the scan that holds a snapshot */
};

/* One of a folder's directories while we change it. */
struct watch_side {
	const char *path; /* NULL: not watched */
	size_t length;
	int wd;
	bool seen; /* its time was as recorded */
	unsigned own, met; /* changes we made, and that were made */
	int64_t stamp;
};

struct watch {
	struct watch_side side[2]; /* new, cur */
	unsigned untaken; /* events we made since we last read some */
	bool lost; /* events were not to be had */
};

struct store {
	struct arena *arena;
	struct str path; /* of the Maildir */
	const char *index_path;
	int dir;
	struct index ix;
	int notify_dir, notify_fd;
	int watch_fd, both_fd; /* inotify; epoll of it and notify_fd */
	char notify_name[32];
	char host[64];
	unsigned counter; /* of names made by this process */
	uint64_t random;
	int patience; /* ms */
	struct watch watch;
	void (*progress)(void *ctx, const char *folder, uint64_t done,
		uint64_t total);
	void *progress_ctx;
};

/* ------------------------------------------------------------- database */
#define NO_FOLDER status_never(1, 1, STR("no such folder"))
#define BAD_FOLDER_NAME status_never(1, 3, STR("not a folder name"))
#define FOLDER_EXISTS status_never(1, 4, STR("the folder exists"))

struct status index_open(struct store *s, struct arena *a);
void index_close(struct store *s);

/* The file is the one on disk, and whole. */
bool index_is_current(struct store *s);
/* Notices a file that was deleted, damaged or replaced, and makes it anew from
 * the Maildir.  Every use of the index begins with this or a transaction. */
struct status index_ready(struct store *s, struct arena *a);
/* The latter (store.c); also the whole of opening a store. */
struct status store_renew(struct store *s, struct arena *a);

/* A writer's transaction (waits for other writers as long as the store has
 * patience); a reader's. */
struct status index_begin(struct store *s, struct arena *a);
struct status index_begin_read(struct store *s, struct arena *a);
struct status index_commit(struct store *s, struct arena *a);
void index_rollback(struct store *s);
/* The failure so far. */
struct status index_status(struct store *s, struct arena *a);

void index_run(struct store *s, enum index_query q, const char *fmt, ...);
/* Then index_row until it is false; the statement resets itself then, or by
 * index_end when left early. */
sqlite3_stmt *index_query(struct store *s, enum index_query q,
	const char *fmt, ...);
bool index_row(struct store *s, sqlite3_stmt *st);
void index_end(sqlite3_stmt *st);
/* Column as text; holds until the next row. */
struct str index_text(sqlite3_stmt *st, int column);
static inline int64_t
index_int(sqlite3_stmt *st, int column)
{
	return sqlite3_column_int64(st, column);
}

int64_t index_meta(struct store *s, const char *name);
void index_set_meta(struct store *s, const char *name, int64_t value);

static inline int64_t
index_key(int64_t folder, uint32_t uid)
{
	return folder << 32 | uid;
}

static inline uint32_t
index_uid(int64_t key)
{
	return (uint32_t)key;
}

/* ----------------------------------------------------------------- rows */
enum { UNSURE_NEW = 1, UNSURE_CUR = 2 };

/* Where a message's file lies, as bits. */
enum place {
	PLACE_CUR = 0,
	PLACE_OWED = 1, /* its name is behind the flags */
	PLACE_NEW = 2,
};

static inline bool
place_in_new(enum place p)
{
	return (p & PLACE_NEW) != 0;
}

struct folder_row {
	int64_t id;
	struct str name, dir, mailbox_id, special;
	uint32_t uidvalidity, uidnext, uid_mark;
	uint64_t modseq, modseq_mark;
	int64_t messages, unseen, deleted, size, file_size;
	uint32_t recent_uid;
	int64_t tombs;
	uint64_t tomb_since;
	int64_t new_mtime, cur_mtime; /* ns; 0: look */
	unsigned unsure; /* a foreign change may hide behind our own */
	int64_t looked; /* when a doubt was last looked into */
	bool rebuild; /* names' UIDs up to the mark are taken as they are */
	bool words_owed; /* surat-keywords is behind */
	/* Not columns: */
	bool changed; /* modseq was raised in this transaction */
};

bool folder_named(struct store *s, struct arena *a, struct str name,
	struct folder_row *f);
bool folder_by_id(struct store *s, struct arena *a, int64_t id,
	struct folder_row *f);
bool folder_of_mailbox(struct store *s, struct arena *a, struct str mailbox_id,
	struct folder_row *f);
void folder_of_row(sqlite3_stmt *st, struct arena *a, struct folder_row *f);
struct folder_row *folder_rows(struct store *s, struct arena *a, size_t *n);
/* Raises the marks in the control file first when they were passed. */
void folder_save(struct store *s, struct arena *a, struct folder_row *f);
/* This transaction's modseq. */
uint64_t folder_modseq(struct folder_row *f);
void folder_count(struct folder_row *f, unsigned flags, int64_t size,
	int64_t file_size, int sign);
void folder_flags(struct folder_row *f, unsigned before, unsigned after);
/* Within a transaction. */
struct folder folder_view(struct store *s, const struct folder_row *f,
	struct arena *a);

/* What a file may be and where it lies, as of now. */
struct file_state {
	unsigned flags;
	struct str keywords, name, info;
	enum place place;
	uint64_t file_size;
};
bool row_state(struct store *s, struct arena *a, int64_t folder, uint32_t uid,
	struct file_state *out);
/* PLACE_OWED when the name is behind these flags, else 0. */
enum place row_owes(unsigned flags, uint32_t letters, struct str info,
	bool in_new);

/* The octets of a regular file for as long as the arena lives; false when it
 * cannot be read. */
bool row_content(struct arena *a, int fd, struct str *raw);

/* Complete rows in and out.  insert counts, and takes the row's modseq. */
void row_insert(struct store *s, struct folder_row *f,
	const struct message_row *row, enum place owed);
void row_from_content(struct arena *a, struct str raw,
	struct message_row *row);
/* Of rows that go, as bits: the files are dead (row_bury); the messages are
 * no more, so a delivery of the same name is a repetition. */
enum expunge {
	EXPUNGE_FILES = 1,
	EXPUNGE_REMEMBER = 2,
};
/* Rows, counts, runs, tombstones.  Every UID of the set must have a row. */
void row_expunge(struct store *s, struct arena *a, struct folder_row *f,
	const struct uid_set *uids, unsigned how);
void runs_add(struct store *s, int64_t folder, uint32_t first, uint32_t last);

/* "dir/new/name:2,S" */
char *row_path(struct arena *a, const struct folder_row *f, bool in_new,
	struct str name, struct str info);
char *folder_path(struct arena *a, struct str dir, const char *sub);
/* Unlinks files of expunged messages until the deadline, in transactions of
 * its own; false when time ran out. */
bool row_bury(struct store *s, int64_t folder, int64_t deadline);

/* ---------------------------------------------------------------- watch */
/*
 * Around own changes to a folder's directories, under the write lock:
 *
 *	watch_begin -> [ own_move, own_link, own_unlink ]* -> watch_end
 *
 * The directories' new times are recorded in f when nobody else changed
 * anything since the recorded ones.  Paths are below the Maildir.
 */
enum watched { WATCH_NEW = 1, WATCH_CUR = 2, WATCH_BOTH = 3 };
void watch_begin(struct store *s, struct arena *a, const struct folder_row *f,
	enum watched which);
void watch_end(struct store *s, struct folder_row *f);
/* Something is not as it should be: the next look is to find out. */
void watch_spoil(struct store *s);
/* False with errno; never replaces a file. */
bool own_move(struct store *s, const char *from, const char *to);
bool own_link(struct store *s, const char *from, const char *to);
bool own_unlink(struct store *s, const char *path);

/* ns of a directory's mtime, 0 when it is not there. */
int64_t watch_time(struct store *s, const char *path);
/* Gives it a time no clock tick has; 0 when that cannot be. */
int64_t watch_stamp(struct store *s, const char *path);

/* -------------------------------------------------------------- mailbox */
struct mailbox {
	struct store *store;
	struct arena *arena;
	bool read_only;
	struct folder_row row; /* as of the last look; texts in arena */
	struct folder folder;
	struct str mailbox_id; /* finds the folder in a new index */
	unsigned generation;
	struct uids uids;
	uint64_t told; /* modseq: arrivals and flags up to here */
	uint64_t told_expunged;
	uint64_t own[16]; /* modseqs of this session's own changes > told */
	size_t own_count;
	struct uid_set recent;
	bool gone;
};

/* The folder's id in the index as it is now; false when it is gone. */
bool mailbox_resolve(struct mailbox *m, struct arena *a);
/* For reads outside of a transaction: the index is ready, the id right. */
bool mailbox_ready(struct mailbox *m);
/* This session made the change itself; did it? */
void mailbox_own(struct mailbox *m, uint64_t modseq);
bool mailbox_is_own(const struct mailbox *m, uint64_t modseq);
/* A transaction on the folder of the view; f in the arena. */
struct status mailbox_begin(struct mailbox *m, struct arena *a,
	struct folder_row *f);
/* Existing UIDs of a set, those with \\Deleted or all. */
struct uid_set mailbox_existing(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, bool all);
/* The statement for these columns, cached. */
sqlite3_stmt *scan_statement(struct store *s, unsigned want);
void scan_row(sqlite3_stmt *st, unsigned want, struct message_row *row);
/* One row, texts in the arena; within a transaction or not. */
bool scan_one(struct store *s, struct arena *a, int64_t key, unsigned want,
	struct message_row *row);
enum { WANT_ALL = 0x1ff };

/* -------------------------------------------------------------- control */
/* False when there is none, or it cannot be understood.  Keywords go to the
 * table later: (number, name) in words. */
bool control_read(struct store *s, struct arena *a, struct str dir,
	struct folder_row *f, struct str_list *words);
/* The same of the text itself. */
bool control_parse(struct arena *a, struct str text, struct folder_row *f,
	struct str_list *words);
bool control_write(struct store *s, struct arena *a,
	const struct folder_row *f, bool durable);
/* A UIDVALIDITY never used before by this user. */
uint32_t control_validity(struct store *s, struct arena *a);
struct str control_mailbox_id(struct store *s, struct arena *a,
	uint32_t validity);
/* Reads or replaces a small text file below the Maildir. */
bool control_load(struct store *s, struct arena *a, const char *path,
	struct str *text);
bool control_save(struct store *s, struct arena *a, const char *path,
	struct str text, bool durable);
uint64_t control_random(struct store *s);
/* A unique part for a new file name; its beginning, for several. */
struct str control_unique(struct store *s, struct arena *a);
struct str control_stem(struct store *s, struct arena *a);
/* A new file in tmp/ of a folder, which is made when somebody removed it; how:
 * O_EXCL or O_TRUNC.  -1 with errno. */
int control_tmp(struct store *s, struct arena *a, struct str dir,
	const char *path, int how);
/* fsync of what lies there; flags O_DIRECTORY or 0.  False with errno. */
bool control_sync(struct store *s, const char *path, int flags);

/* ------------------------------------------------------------- keywords */
struct words {
	struct str *v; /* by number; gaps are empty */
	size_t n;
};

struct words words_load(struct store *s, struct arena *a, int64_t folder);
/* As the folder spells it; made when new (the control file is written). */
struct str words_intern(struct store *s, struct arena *a,
	struct folder_row *f, struct words *w, struct str word);
/* "a b c", sorted, from any list; and its letters. */
struct str words_join(struct arena *a, struct str_list list);
struct str_list words_split(struct arena *a, struct str text);
uint32_t words_letters(const struct words *w, struct str text);
/* Are there words without a letter?  Those alone. */
bool words_beyond(const struct words *w, struct str text);
struct str words_without_letters(struct arena *a, const struct words *w,
	struct str text);
/* May it stand in a list of flags? */
bool words_is_atom(struct str word);
/* The text changed by what letters appeared and vanished. */
struct str words_merge(struct arena *a, const struct words *w,
	struct str text, uint32_t added, uint32_t removed);
/* The side file for words without a letter: text per UID, and back. */
void words_save_file(struct store *s, struct arena *a, struct folder_row *f);
struct str words_file_text(struct store *s, struct arena *a,
	const struct folder_row *f);
struct str words_in_file(struct str text, uint32_t uid);

/* ----------------------------------------------------------------- sync */
/* Takes foreign changes in when directory times say there may be some; f is
 * as of afterwards.  Outside of transactions. */
struct status sync_folder(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f);
/* The same whatever the times say: messages gone and renamed in cur/ too. */
struct status sync_whole(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f);
/* Finds folders made or removed by others. */
struct status sync_folders(struct store *s, struct arena *a);
/* The file of a message is not what it was: another message lies there. */
struct status sync_changed(struct store *s, struct arena *a, int64_t folder,
	uint32_t uid);
/* What the index that was removed still owes to names and files. */
void settle_orphans(struct store *s);
/* The same socket in a new directory. */
void notify_again(struct store *s);

/*
 * Before several messages are put into a folder at once, all or none, it is
 * noted, and committed, what they will be called: what a crash leaves of them
 * is removed by the next look at the folder.  Then, in the transaction that
 * enters them, pending_take says whether the note still holds for the UIDs
 * they get, and takes it off.
 *
 * A file is taken for one of them when it has no row, a UID noted, and the
 * prefix; without a prefix, when it is a link to a file that lies elsewhere.
 */
struct pending {
	uint32_t first, last;
	struct str prefix;
};
struct pending pending_note(struct store *s, const struct folder_row *f,
	uint64_t n, struct str prefix);
bool pending_take(struct store *s, const struct folder_row *f,
	struct pending p, uint64_t n);

/* -------------------------------------------------------------- folders */
/* Makes directory, control file and row of a folder that is not there, within
 * a transaction; false with errno. */
bool folder_make(struct store *s, struct arena *a, struct str name,
	struct str special);
/* A row for a directory that is there; from its control file if it can. */
void folder_adopt(struct store *s, struct arena *a, struct str name,
	struct str dir);
/* Under the lock: goes on with a renaming that a crash has interrupted. */
void folder_finish_rename(struct store *s, struct arena *a);
bool folder_is_below(struct str name, struct str parent);
/* Is there a directory that looks like a folder? */
bool folder_is_there(struct store *s, struct arena *a, struct str dir);
/* Removes every row of a folder. */
void folder_drop(struct store *s, int64_t folder);
/* INBOX and special-use folders of a new account. */
struct status folder_make_account(struct store *s, struct arena *a);
/* fine, or no such folder, after a look for one that others have made;
 * outside of transactions. */
struct status folder_find(struct store *s, struct arena *a, struct str name,
	struct folder_row *f);

/* The index is behind a directory change of this age: nothing hides in the
 * same tick of the file system's clock any more. */
enum { TICK_NS = 20 * 1000 * 1000 };

#endif
