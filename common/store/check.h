/* SPDX-License-Identifier: ISC */
/*
 * check: does the index say what the Maildir has, and the repair of both,
 * while sessions and deliveries go on.
 *
 * What is found is told as it is found, one line each, with the folder it was
 * found in (empty: the account).  A repair loses no UID, flag or keyword, but
 * where a file was written over: that is another message, and gets a UID of
 * its own.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "base/status.h"

struct arena;
struct store;

struct check {
	bool repair; /* else only told */
	bool deep; /* read every message */
	void (*found)(void *ctx, struct str folder, struct str what);
	void (*progress)(void *ctx, struct str folder, uint64_t done,
		uint64_t total);
	void *ctx;
	/* What came of it: */
	unsigned problems, folders;
	uint64_t messages;
};

struct status store_check(struct store *s, struct arena *a, struct check *c);

/*
 * The index made anew from the Maildir.  What only the old one knows of flags
 * is brought to file names first.
 */
struct status store_rebuild(struct store *s, struct arena *a,
	struct check *c);

#endif
