/* SPDX-License-Identifier: ISC */
/*
 * sort: messages by sort criteria (RFC 5256 3, RFC 5957).
 *
 * Keys come from the index, folded as i;unicode-casemap, so that octets
 * compare.  Messages that are equal stay in the order they were added in.
 */
#ifndef IMAPD_SORT_H
#define IMAPD_SORT_H

#include "parse.h"
#include "store/message.h"

enum { SORT_KEYS = 9 }; /* different ones there are */

struct sort_order {
	struct {
		unsigned char key; /* row of the table */
		bool reverse;
	} v[SORT_KEYS];
	size_t n;
	unsigned want; /* what a row must have for them */
};

/* "(REVERSE DATE SUBJECT)"; false when it is none. */
bool sort_parse(const struct arg *list, struct sort_order *o);

struct sort_value {
	int64_t number;
	struct str text;
};

struct sort_entry {
	uint64_t prefix; /* decides most comparisons */
	const struct sort_value *values;
	uint64_t modseq;
	uint32_t uid;
};

struct sorting {
	struct arena *arena; /* for texts */
	const struct sort_order *order;
	struct sort_entry *v;
	size_t n, room;
};

/* Texts are copied. */
void sort_add(struct sorting *q, const struct message_row *row);
void sort_run(struct sorting *q);

#endif
