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
 *	describe.c	what is read from the files later
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/arena.h"
#include "base/buf.h"
#include "store/folders.h"
#include "store/mailbox.h"
#include "store/maildir.h"
#include "store/queries.h"
#include "store/quota.h"
#include "store/store.h"
#include "store/uids.h"

#include <sqlite3.h>
#include <sys/types.h>

#define I(x) ((int64_t)(x))

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
	unsigned char columns[40]; /* by number (scan.c), in its order */
	size_t n;
};

struct index {
	sqlite3 *db;
	sqlite3_stmt *st[Q_COUNT];
	struct scan_statement scans[SCANS_KEPT];
	size_t scan_next;
	int fault; /* SQLite's code, 0: none since begin */
	bool open; /* a transaction is */
	bool broken; /* the file is damaged */
	bool read_only; /* nobody can write where it lies */
	ino_t suspect; /* of a file that seemed damaged once */
	bool renewing; /* store_renew is at work */
	int64_t waiting_since; /* for another writer */
	dev_t dev;
	ino_t ino;
	ino_t logs[2]; /* of -wal and -shm as they were opened; 0: none */
	unsigned generation; /* counts openings */
	struct scan_statement *scanning; /* the scan that holds a snapshot */
};

/* One of a folder's directories while we change it. */
struct watch_side {
	const char *path; /* NULL: not watched */
	size_t length;
	int wd;
	int64_t recorded;
	bool seen; /* its time was as recorded */
	unsigned own, met; /* changes we made, and that were made */
	int64_t stamp;
};

enum { WATCH_SIDES = 3 };

struct watch {
	struct watch_side side[WATCH_SIDES]; /* new, cur, the Maildir */
	int fd; /* inotify, -1: none to be had */
	unsigned untaken; /* events we made since we last read some */
	bool lost; /* events were not to be had */
};

struct store {
	struct arena *arena;
	struct str path; /* of the Maildir */
	const char *index_path, *index_fixed; /* the latter as an URI */
	int dir;
	struct index ix;
	int notify_dir, notify_fd;
	int watch_fd, both_fd; /* of files; epoll of it and notify_fd */
	int watched[2]; /* directories that send signals, -1 */
	char notify_name[32];
	int64_t alone_at; /* time of notify_dir when nobody else listened */
	char host[64];
	unsigned counter; /* of names made by this process */
	uint64_t random;
	int patience; /* ms */
	struct watch watch;
	struct quota quota;
	struct {
		bool known; /* they were looked for; and found */
		bool any;
		struct quota quota;
	} noted; /* limits of this account, in the index */
	struct {
		uint64_t messages, octets;
	} used; /* within a transaction that fills it */
	store_progress_fn progress; /* NULL: nobody asks */
	void *progress_ctx;
};

/* ------------------------------------------------------------- database */
#define NO_FOLDER status_never(1, 1, STR("no such folder"))
#define BAD_FOLDER_NAME status_never(1, 3, STR("not a folder name"))
#define FOLDER_EXISTS status_never(1, 4, STR("the folder exists"))
/* UIDNEXT is the highest number there is. */
#define NO_UID_LEFT status_later(2, 0, STR("the folder has no UID left"))

struct status index_open(struct store *s, struct arena *a);
void index_close(struct store *s);
/* Unlinks it; whoever has it open makes another at his next use of it. */
struct status index_discard(struct store *s, struct arena *a);

/* The file is the one on disk, and whole, and so is what lies beside it. */
bool index_is_current(struct store *s);
/* The file is, but others that open it find another log, or other locks. */
bool index_has_lost_logs(struct store *s);
/* Notices a file that was deleted, damaged or replaced, and makes it anew from
 * the Maildir.  Every use of the index begins with this or a transaction. */
struct status index_ready(struct store *s, struct arena *a);
/* The latter (store.c); also the whole of opening a store. */
struct status store_renew(struct store *s, struct arena *a);
/* This failed, and another try finds the index made anew. */
bool store_is_worth_a_try(struct store *s, struct status st);

/* A writer's transaction (waits for other writers as long as the store has
 * patience); a reader's. */
struct status index_begin(struct store *s, struct arena *a);
struct status index_begin_read(struct store *s, struct arena *a);
struct status index_commit(struct store *s, struct arena *a);
void index_rollback(struct store *s);
/* The same; a folder was not found, or could not be looked for. */
struct status index_no_folder(struct store *s, struct arena *a);

/*
 * Work that every session finds at the same moment and one has to do.  Hundreds
 * that wait for the write lock would each get it, one after another, to find
 * that nothing is left.
 */
struct folder_row;
struct chore {
	int64_t folder;
	int64_t deadline; /* of the attempt */
	bool (*is_owed)(struct store *s, struct arena *a,
		const struct folder_row *f, void *ctx);
	void *ctx;
};

/* A writer's transaction, with the folder's row, when fine and *owed.  Fine and
 * not *owed: somebody did it meanwhile, or there is no such folder. */
struct status index_seize(struct store *s, struct arena *a,
	const struct chore *c, struct folder_row *f, bool *owed);
/* Sleeps a moment, a longer one each time. */
void index_pause(struct store *s, unsigned times);
/* The failure so far. */
struct status index_status(struct store *s, struct arena *a);

/* A transaction that makes room failed on a full disk: true when it is worth
 * another try. */
bool index_relieve(struct store *s, struct status st);

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
	struct uid_range last_run; /* the highest; 0,0: none */
	uint32_t new_from; /* nothing below lies in new/ */
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

/* The thread of a message whose header nobody has read yet (describe.c). */
#define THREAD_BARE UINT64_MAX
static inline bool
row_is_bare(const struct message_row *row)
{
	return row->thread == THREAD_BARE;
}

/* Complete rows in and out, or bare ones.  insert counts, and takes the row's
 * modseq. */
void row_insert(struct store *s, struct folder_row *f,
	const struct message_row *row, enum place owed);
/* The message's own row alone; the others are copied. */
void row_insert_alone(struct store *s, struct folder_row *f,
	const struct message_row *row, enum place owed);
/* The same of a row that sessions may have seen before. */
void row_insert_again(struct store *s, struct folder_row *f,
	const struct message_row *row, enum place owed);
void row_from_content(struct arena *a, struct str raw,
	struct message_row *row);
/* Makes a bare row complete, unless it is no more or was made so. */
void row_describe(struct store *s, const struct folder_row *f,
	const struct message_row *row);
/* Of rows that go, as bits: the files are dead (row_bury); the messages are
 * no more, so a delivery of the same name is a repetition. */
enum expunge {
	EXPUNGE_FILES = 1,
	EXPUNGE_REMEMBER = 2,
};
/* Rows, counts, runs, tombstones.  Every UID of the set must have a row. */
void row_expunge(struct store *s, struct arena *a, struct folder_row *f,
	const struct uid_set *uids, unsigned how);
/* Of messages that have no row of their own any more. */
void row_drop_texts(struct store *s, int64_t folder, uint32_t first,
	uint32_t last);
void runs_add(struct store *s, struct folder_row *f, uint32_t first,
	uint32_t last);

/* "dir/new/name:2,S" */
char *row_path(struct arena *a, const struct folder_row *f, bool in_new,
	struct str name, struct str info);
char *folder_path(struct arena *a, struct str dir, const char *sub);
/* Unlinks files of expunged messages until the deadline, in transactions of
 * its own; false when time ran out. */
bool row_bury(struct store *s, int64_t folder, int64_t deadline);
/* The same while a client waits: a few go at once, many when it is silent. */
void row_bury_few(struct store *s, int64_t folder, uint64_t count);
/* Whether the file at path, of this UID and unique part, is an expunged
 * message's that could not be unlinked, was renamed in time, or is back after a
 * power cut. */
bool row_is_dead(struct store *s, const struct folder_row *f, uint32_t uid,
	struct str unique, const char *path);

/* Where a delivery of this name lies; past: it came and went. */
struct earlier {
	int64_t key; /* 0: nowhere */
	struct str name, info;
	bool in_new;
	bool past;
};
/* Of n names, which are different, within a transaction. */
void earlier_find(struct store *s, struct arena *a, const struct str *names,
	struct earlier *out, size_t n);

/* The same for an index that was removed (settle_orphans). */
void bury_orphans(struct store *s, struct arena *a, const struct folder_row *f);

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
/* The same for the directories in the Maildir; the time is recorded in meta. */
#define TOP_TIME "maildir_mtime"
void watch_top(struct store *s);
void watch_top_end(struct store *s);
/* Something is not as it should be: the next look is to find out. */
void watch_spoil(struct store *s);
/* False with errno; never replaces a file. */
bool own_move(struct store *s, const char *from, const char *to);
/* Also when there is one. */
bool own_directory(struct store *s, const char *path);
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
	uint32_t described; /* mailbox_describe has been through up to here */
	uint32_t unread; /* set by describe_some: see struct mailbox_scan */
	struct ahead *ahead; /* of the scan under way, NULL: it reads no files */
	bool gone;
};

/* The folder's id in the index as it is now; false when it is gone. */
bool mailbox_resolve(struct mailbox *m, struct arena *a);
/* For reads outside of a transaction: the index is ready, the id right. */
bool mailbox_ready(struct mailbox *m);
/* What becomes of a question about a message that has left the folder. */
#define MESSAGE_GONE STATUS(STATUS_NEVER, 6, 0, "message is gone")
/* This session made the change itself; did it? */
void mailbox_own(struct mailbox *m, uint64_t modseq);
bool mailbox_is_own(const struct mailbox *m, uint64_t modseq);
/* A transaction on the folder of the view; f in the arena. */
struct status mailbox_begin(struct mailbox *m, struct arena *a,
	struct folder_row *f);
/* Existing UIDs of a set, those with \\Deleted or all. */
struct uid_set mailbox_existing(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, bool all);
/* Completes bare rows of the set from that UID on, a batch of them; *upto: as
 * far as all are complete that can be.  Outside of transactions. */
struct status describe_some(struct mailbox *m, const struct uid_set *uids,
	uint32_t from, uint32_t *upto);
/* The file of a row (WANT_FILE), which is to be read soon: the disk begins.
 * -1: it is to be looked for then. */
int mailbox_file_ahead(struct mailbox *m, struct arena *a,
	const struct message_row *row);
/* Closes fd; -1: looks for it. */
struct status mailbox_read_opened(struct mailbox *m, struct arena *a,
	const struct message_row *row, int fd, struct message_file *out);
/* mailbox_next of a scan that reads. */
bool ahead_next(struct mailbox *m, struct mailbox_scan *c,
	struct message_row *row);
/* The file of the row it gave last, the caller's now; -1: none. */
int ahead_take(struct mailbox *m, uint32_t uid);
void ahead_end(struct mailbox *m);
/* All of a folder. */
struct status describe_folder(struct store *s, struct arena *a,
	struct str name);
/* The statement for these columns, cached. */
struct scan_statement *scan_statement(struct store *s, unsigned want);
void scan_row(const struct scan_statement *scan, struct message_row *row);
/* One row, texts in the arena; within a transaction or not. */
bool scan_next(struct mailbox *m, struct mailbox_scan *c,
	struct message_row *row);
bool scan_one(struct store *s, struct arena *a, int64_t key, unsigned want,
	struct message_row *row);
enum { WANT_ALL = WANT_UID - 1 };

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
/* The same, durable, as part of a transaction, which fails with it. */
void control_keep(struct store *s, struct arena *a, const struct folder_row *f);
/* A UIDVALIDITY never used before by this user. */
uint32_t control_validity(struct store *s, struct arena *a);
struct str control_mailbox_id(struct store *s, struct arena *a,
	uint32_t validity);
/* fsync of what lies there; flags O_DIRECTORY or 0.  False with errno.  Of
 * INDEX_LOG: whatever was committed until now, as a transaction by itself is
 * consistent and not durable. */
#define INDEX_LOG "surat/index.db-wal"
bool control_sync(struct store *s, const char *path, int flags);
/* Reads or replaces a small text file below the Maildir; durable: synced with
 * its directory.  One that replaces another always is: some file systems leave
 * an empty file otherwise. */
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

/* ------------------------------------------------------------- keywords */
struct words {
	struct str *v; /* by number; gaps are empty */
	size_t n, room, octets;
	bool unsaved; /* some are not in the control file yet */
	bool full; /* some could not be made */
};

struct words words_load(struct store *s, struct arena *a, int64_t folder);
/* As the folder spells it; empty when it has none like it. */
struct str words_find(const struct words *w, struct str word);
/* The same, made when new: words_keep is to be called before a file name has
 * its letter. */
struct str words_intern(struct store *s, struct arena *a,
	const struct folder_row *f, struct words *w, struct str word);
/* Puts the new ones on disk, all at once; or says that there are too many, when
 * nothing may be committed.  Never 5.5.3, as the next. */
struct status words_keep(struct store *s, struct arena *a,
	const struct folder_row *f, struct words *w);
/* May one message have these? */
struct status words_fit(struct str text);
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

/* ---------------------------------------------------------------- quota */
/* Within a transaction: quota_begin before anything is entered, then
 * quota_take for each new message, in the words of quota_room. */
void quota_begin(struct store *s);
struct status quota_take(struct store *s, uint64_t messages, uint64_t octets);

/* ----------------------------------------------------------------- sync */
/* Takes foreign changes in when directory times say there may be some; f is
 * as of afterwards.  Outside of transactions. */
struct status sync_folder(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f);
/* May there be some?  Within a transaction. */
bool sync_is_due(struct store *s, struct arena *a, const struct folder_row *f);
/* For who only reads: rows that are whole but may be behind are better than
 * none, when the disk is full, read-only or the index locked for long. */
struct status sync_to_read(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f);
/* The same whatever the times say: messages gone and renamed in cur/ too. */
struct status sync_whole(struct store *s, struct arena *a, int64_t folder,
	struct folder_row *f);
/* Finds folders made or removed by others. */
struct status sync_folders(struct store *s, struct arena *a);
/* The file of a message is not what it was: another message lies there. */
struct status sync_changed(struct store *s, struct arena *a, int64_t folder,
	uint32_t uid);
/* The same when it was found out otherwise than by its size. */
struct status sync_replaced(struct store *s, struct arena *a, int64_t folder,
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
 * a transaction; false with errno.  durable: the control file outlives a power
 * cut from now on; otherwise the caller syncs before anybody is shown it. */
bool folder_make(struct store *s, struct arena *a, struct str name,
	struct str special, bool durable);
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
