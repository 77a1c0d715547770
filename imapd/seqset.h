/* SPDX-License-Identifier: ISC */
/*
 * seqset: sets of message numbers or UIDs (RFC 3501 9, sequence-set).
 *
 * A set is ranges.  As parsed they stand as the client wrote them, `*` as
 * SEQSET_LAST; seqset_resolve puts the largest number for `*`, sorts and
 * merges, and from then on the ranges are ascending, disjoint and not
 * adjacent.  Sets made by seqset_add in ascending order are so at once.
 */
#ifndef IMAPD_SEQSET_H
#define IMAPD_SEQSET_H

#include "base/str.h"

struct arena;
struct buf;

enum { SEQSET_LAST = 0 };

struct seqset_range {
	uint32_t first, last;
};

struct seqset {
	struct arena *arena;
	struct seqset_range *v;
	size_t n, room;
};

struct seqset seqset_new(struct arena *a);

/* "1:3,7,*:12"; false when it is no set, or 0 stands in it. */
bool seqset_parse(struct arena *a, struct str text, struct seqset *set);

/* largest: the highest number in use; 0 in an empty mailbox, where `*` is
 * nothing. */
void seqset_resolve(struct seqset *set, uint32_t largest);

/* After resolving.  last is 0 for the empty set. */
uint32_t seqset_last(const struct seqset *set);
bool seqset_has(const struct seqset *set, uint32_t number);
uint64_t seqset_count(const struct seqset *set);

/* Joins the last range when it can. */
void seqset_add(struct seqset *set, uint32_t number);
void seqset_add_range(struct seqset *set, uint32_t first, uint32_t last);

/* "1:3,7"; nothing for the empty set. */
void seqset_print(const struct seqset *set, struct buf *out);

/* Every number of a resolved set, ascending; begin with a zeroed cursor. */
struct seqset_cursor {
	size_t at;
	uint32_t next;
};
bool seqset_next(
	const struct seqset *set, struct seqset_cursor *c, uint32_t *number);

#endif
