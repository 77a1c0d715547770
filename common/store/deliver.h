/* SPDX-License-Identifier: ISC */
/*
 * deliver: new mail from the queue into one user's INBOX.
 *
 * Files are written to tmp/ and renamed into new/ without a sync of their
 * own, the index rows of the whole batch in one transaction.  The base name
 * is the job's, so that when it may have been done before (verify) an earlier
 * delivery is recognised in whatever folder it lies by now, or when it was
 * expunged since: it is answered as delivered.
 */
#ifndef STORE_DELIVER_H
#define STORE_DELIVER_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct store;

enum { DELIVERY_NAME_MOST = 140 };

struct delivery {
	/* "<time>.<unique>.<host>", no '/', ':' or ',' */
	struct str name;
	struct str head; /* our own lines, CRLF, before the content */
	struct str content; /* CRLF */
	int64_t date; /* seconds since 1970 */
	struct str sender; /* for an mbox (store/spool.h) */
	bool verify; /* it may have been done before */
	bool only_look; /* with verify: if not, write nothing (fine, and
			 * was_there false) */
	bool rewrite; /* and do not trust it: a sync of it failed */
	/* What came of it: */
	struct status status;
	/* "new/<name>,S=...", below the Maildir, in the arena; empty when it
	 * came and went before. */
	struct str file;
	bool was_there; /* found, not written */
};

struct delivery_rules {
	bool each; /* sync files and directory before returning */
	/* Asked once the mailbox is ours alone: false when whoever wanted this
	 * is gone and others may do it by now, who verify.  NULL: wanted. */
	bool (*is_wanted)(void *ctx);
	void *ctx;
};

/*
 * Delivers all to INBOX, or says of each why not.  A torn copy found by verify
 * is written anew under a new UID.  One name twice in v is delivered once.
 */
void store_deliver(struct store *s, struct arena *a, struct delivery *v,
	size_t n, const struct delivery_rules *rules);

#endif
