/* SPDX-License-Identifier: ISC */
/*
 * frames: SQLite's log in larger pieces.  Of each page that a commit changes
 * SQLite writes 24 octets and then the page; here the frames of a commit
 * reach the file together, the last one's mark with them, before COMMIT
 * syncs, unlocks or returns.  What fails fails that COMMIT.
 */
#ifndef SYS_FRAMES_H
#define SYS_FRAMES_H

#include <sqlite3.h>
#include <stdbool.h>

/* For sqlite3_open_v2: the usual one, but for its logs. */
const char *frames_vfs(void);

/* Around COMMIT, by one thread of a process.  A connection of another VFS
 * does not mind. */
void frames_gather(sqlite3 *db, bool on);

#endif
