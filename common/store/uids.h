/* SPDX-License-Identifier: ISC */
/*
 * uids: the UIDs of a view, for this room only.
 *
 * Kept as runs of consecutive ones, eight octets each, so that what a view
 * costs depends on what was expunged between its messages, not on their
 * number.  Messages are counted from 1 in the order of UIDs (RFC 3501 2.3.1).
 */
#ifndef STORE_UIDS_H
#define STORE_UIDS_H

#include "store/message.h"

struct uid_run {
	uint32_t first;
	uint32_t before; /* messages in earlier runs */
};

struct uids {
	struct arena *arena; /* its own */
	struct uid_run *v;
	size_t n, room;
	uint32_t count; /* messages */
};

/* Empty, with room for so many runs; and nothing at all again. */
void uids_begin(struct uids *u, size_t room);
void uids_end(struct uids *u);

/* All above those that are there already. */
void uids_add(struct uids *u, uint32_t first, uint32_t last);
/* Takes these out; those that are not there do not matter. */
void uids_cut(struct uids *u, const struct uid_set *gone);

/* The last UID of a run; of all, or 0. */
uint32_t uids_run_last(const struct uids *u, size_t run);
uint32_t uids_last(const struct uids *u);
/* The first run that does not end below this UID; n when there is none. */
size_t uids_find(const struct uids *u, uint64_t uid);
/* The UID of a message, 0 for none. */
uint32_t uids_at(const struct uids *u, uint32_t seq);
/* Messages with a UID below this one, and whether there is one with it. */
uint32_t uids_below(const struct uids *u, uint64_t uid, bool *there);

#endif
