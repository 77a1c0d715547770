/* SPDX-License-Identifier: ISC */
/*
 * deliver: new mail from the queue into one user's INBOX.
 *
 * Files are written to tmp/ and renamed into new/ without a sync of their
 * own, the index rows of the whole batch in one transaction.  The base name
 * is the job's, so that a second delivery of the same job is recognised in
 * whatever folder the first one lies by now: it is answered as delivered.
 */
#ifndef STORE_DELIVER_H
#define STORE_DELIVER_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct store;

struct delivery {
	struct str name; /* "<time>.<unique>.<host>", no '/', ':' or ',' */
	struct str head; /* our own lines, CRLF, before the content */
	struct str content; /* CRLF */
	int64_t date; /* seconds since 1970 */
	bool verify; /* look whether a whole copy is there already */
	bool rewrite; /* and do not trust it: a sync of it failed */
	/* What came of it: */
	struct status status;
	struct str file; /* "INBOX/new/<name>,S=...", in the arena */
	bool was_there; /* found, not written */
};

/*
 * Delivers all to INBOX, or says of
 * each why not.  each: sync files and directory before returning.  A torn copy
 * found by verify is written anew under a new UID.
 */
void store_deliver(struct store *s, struct arena *a, struct delivery *v,
	size_t n, bool each);

#endif
