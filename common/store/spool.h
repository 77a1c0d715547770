/* SPDX-License-Identifier: ISC */
/*
 * spool: new mail into the mbox file of an account (mail/mbox.h), where mail
 * readers of the machine look for it: /var/mail/NAME.
 *
 * Locked as Debian's policy wants it (11.6): fcntl first, then NAME.lock where
 * the directory lets us make it; who gets the one and not the other lets go of
 * both and waits.  A batch is synced before it is answered; what fails in the
 * middle is cut off again.  Each message has a field with the name of its
 * delivery, by which one that may have been done before a crash is recognised:
 * whole, it is left, torn at the end of the file, it is cut off and written
 * anew.  Somebody who moved it to another folder meanwhile gets it twice.
 */
#ifndef STORE_SPOOL_H
#define STORE_SPOOL_H

#include "store/deliver.h"

#include <sys/types.h>

struct spool {
	struct str directory;
	struct str name; /* of the file: the account's */
	bool shut_in; /* only the file of the inode can be opened */
	ino_t inode;
};

/* Makes the file, owned by us, if it is not there, and notes which one it is;
 * false with errno. */
bool spool_prepare(struct arena *a, struct spool *s);

enum spool_result {
	SPOOL_DONE, /* each delivery has its status */
	/* The file is another than the one noted, and who is shut in with that
	 * cannot open it. */
	SPOOL_UNSEEN,
};

/* Delivers all, or says of each why not; see store_deliver. */
enum spool_result spool_deliver(const struct spool *s, struct arena *a,
	struct delivery *v, size_t n, const struct delivery_rules *rules);

#endif
