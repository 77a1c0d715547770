/* SPDX-License-Identifier: ISC */
/*
 * seqset: sets of message numbers or UIDs as clients write them (RFC 3501 9,
 * sequence-set).
 *
 * As parsed, ranges stand in the client's order and direction, `*` as
 * SEQSET_LAST; seqset_resolve makes of them what struct uid_set promises:
 * ascending and disjoint, and not adjacent either.
 */
#ifndef IMAPD_SEQSET_H
#define IMAPD_SEQSET_H

#include "store/message.h"

enum { SEQSET_LAST = 0 };

/* "1:3,7,*:12"; false when it is no set, or 0 stands in it. */
bool seqset_parse(struct arena *a, struct str text, struct uid_set *set);

/* The same without `*`, resolved. */
bool seqset_parse_known(struct arena *a, struct str text, struct uid_set *set);

/* largest: the highest number in use; 0 in an empty mailbox, where `*` is
 * nothing. */
void seqset_resolve(struct uid_set *set, uint32_t largest);

/* Cuts off what is above. */
void seqset_limit(struct uid_set *set, uint32_t most);

/* Of a resolved set; 0 when it is empty. */
uint32_t seqset_last(const struct uid_set *set);

/* "1:3,7"; nothing for the empty set. */
void seqset_print(const struct uid_set *set, struct buf *out);

/* Every number of a resolved set, ascending; begin with a zeroed cursor. */
struct seqset_cursor {
	size_t at;
	uint32_t next;
};
bool seqset_next(
	const struct uid_set *set, struct seqset_cursor *c, uint32_t *number);

#endif
