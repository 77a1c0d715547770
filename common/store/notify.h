/* SPDX-License-Identifier: ISC */
/*
 * notify: being told that something in a store changed.
 *
 * A session that wants to know binds a datagram socket under
 * <Maildir>/surat/notify/; every writer sends one byte to each socket there
 * after its commit, and never waits: a full socket knows already.  A socket
 * nobody holds any more is removed by the next writer.  What changed is not
 * said: the session asks mailbox_news.
 *
 * Foreign programs tell nobody: for them the directories of one folder are
 * watched.  By a signal (F_NOTIFY), of which a user may have any number, where
 * of inotify instances he has 128 by default; by inotify where the kernel has
 * no such signals.
 */
#ifndef STORE_NOTIFY_H
#define STORE_NOTIFY_H

#include "base/status.h"

struct arena;
struct mailbox;
struct store;

/* A descriptor to poll for reading, non-blocking; the store's, closed with
 * it.  The same one when called again. */
struct status notify_listen(struct store *s, struct arena *a, int *fd);

/*
 * The same, readable too when anybody touches the files of this folder.
 * *watched false: no watch could be had, so ask mailbox_news now and then.
 * Ends with the next call or notify_end.
 */
struct status notify_watch(struct mailbox *m, struct arena *a, int *fd,
	bool *watched);

enum notify_heard {
	NOTIFY_NOTHING = 0,
	NOTIFY_TOLD = 1 << 0, /* by a writer, after its commit */
	/* Files were touched: by another program; or by a writer who is about
	 * to commit, and to tell. */
	NOTIFY_TOUCHED = 1 << 1,
};

/* Takes what was sent, and says what it was: a set. */
enum notify_heard notify_drain(struct store *s);

/*
 * One renamed file wakes everybody who watches the folder.  True for one of
 * them at a time, until notify_pass: that one is to look, and to tell the
 * others.  Where there are no such locks, for each.  Before it looks it passes
 * the turn on, as the look takes the same lock (sync_folder).
 */
bool notify_turn(struct store *s);
void notify_pass(struct store *s);

/* Listens no more: writers need not tell this store, its watch is free for
 * others. */
void notify_end(struct store *s);

/* One byte to everybody but this store's own socket.  The room's writers do
 * this themselves. */
void notify_send(struct store *s);

#endif
