/* SPDX-License-Identifier: ISC */
/*
 * watched: an administrator's file that is read again when it is another.
 */
#ifndef SYS_WATCHED_H
#define SYS_WATCHED_H

#include "base/buf.h"

struct watched {
	const char *path;
	/* When it was last read, to notice the next change. */
	int64_t changed; /* ns */
	int64_t size;
	uint64_t inode;
};

/* True when the file is another than was last read (at first: always); text
 * is its content then.  What is not a regular file, or too large (64 MiB), is
 * none; so is one that vanishes: that is somebody's half-done edit. */
bool watched_read(struct watched *f, struct buf *text, bool first);

#endif
