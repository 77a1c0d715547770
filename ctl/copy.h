/* SPDX-License-Identifier: ISC */
/* copy: trees of mail, for `surat backup` and `surat restore`. */
#ifndef CTL_COPY_H
#define CTL_COPY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct copy {
	bool owned; /* by uid and gid, else by whose it was */
	uid_t uid;
	gid_t gid;
	const char *skip; /* names that begin so stay behind; or NULL */
	/* Of the messages these only, by the directory they lie in and their
	 * file names; NULL: all. */
	bool (*wants)(void *ctx, int dir, const char *name);
	void *ctx;
	int64_t files, octets, messages; /* so far; those that were not there */
};

/*
 * Everything below the directory from to the directory to: Maildirs, and other
 * files as they are; indexes, which are made anew, sockets and links stay
 * behind.  What is there already stays as it is; a message that is added to a
 * folder that was there gets a new UID.  base: of an older copy, whose files
 * are shared where they are the same; or -1.  Ends the program on failure.
 */
void copy_tree(struct copy *c, int from, int to, int base);

#endif
