/* SPDX-License-Identifier: ISC */
/*
 * store: one user's mail, opened.
 *
 * Mail is a plain Maildir; the index (SQLite, <Maildir>/surat/index.db) is a
 * faster memory of it that may be deleted at any time.  Every program that
 * touches mail (deliver-local, imapd, pop3d, surat) does it through this
 * room, and any number of them, and foreign programs, may do so at once.
 *
 *	store.h		opening and closing; this page
 *	folders.h	the list of folders and what can be done to it
 *	message.h	flags, rows, line ends
 *	mailbox.h	one folder selected by a session: view, news, changes
 *	notify.h	being told that something changed
 *	deliver.h	new mail from the queue
 *	quota.h		how much it may hold
 *	check.h		finding what is wrong, and rebuilding
 *	maildir.h	names of files and directories
 *	index.h		the tables; for this room only
 *
 * What always holds:
 *  - Nothing here blocks for long: the index is locked for the length of one
 *    short transaction, readers never lock.
 *  - A damaged index costs at most one call, which fails with later 4.2.0; it
 *    is set aside (index.db.bad) and the next call makes it again from the
 *    Maildir.  No UID, flag or keyword changes by it.  store_open and
 *    mailbox_open, where sessions begin, try again themselves.
 *  - No ids are changed and no path leaves the Maildir: who calls already is
 *    the user.
 *  - Failures are statuses: later 4.3.1 when the disk is full, later 4.2.0
 *    when a mailbox is busy or broken, never 5.x for what will not change.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct store;

/*
 * Opens <home>/Maildir; what is missing (home, the Maildir, INBOX, the
 * special-use folders of a new account, the index) is made.  The store is its
 * own owner: close it.  a is for the text of a failure.
 */
struct status store_open(struct arena *a, struct str home, struct store **out);
void store_close(struct store *s);

/* The directory of a new account, those above it, and its Maildir; for who
 * must confine himself to that before store_open.  False with errno. */
bool store_make_home(struct arena *a, struct str home);

/* How long to wait for other writers; ten seconds unless said. */
void store_patience(struct store *s, int ms);

/* What all folders owe to file names, and the files of expunged messages, until
 * the deadline (base/clock): for the end of a session, when nobody waits.
 * True when nothing is left. */
bool store_settle(struct store *s, int64_t deadline);

/* Called now and then by what takes long: how much of the folder is done.
 * Locks may be held; NULL: no more.  folder may be empty. */
typedef void (*store_progress_fn)(void *ctx, const char *folder, uint64_t done,
	uint64_t total);
void store_progress(struct store *s, store_progress_fn fn, void *ctx);

/* Gives back memory that the next use needs again; for who will be idle. */
void store_rest(struct store *s);

/* syncfs of the file system the Maildir lies on.  A failure is final: what
 * was written since the last success may be lost. */
struct status store_sync(struct store *s, struct arena *a);

/* As given to store_open; the store's. */
struct str store_home(const struct store *s);
/* The Maildir, as a directory descriptor; the store's. */
int store_dir(const struct store *s);

#endif
