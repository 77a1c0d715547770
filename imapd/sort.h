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

struct sort_entry {
	uint64_t prefix; /* decides most comparisons */
	uint32_t uid;
	uint32_t at; /* of its record, in units of eight octets */
};

struct sorting {
	const struct sort_order *order;
	struct buf *entries, *records;
	size_t n;
};

/* Of some such number of messages. */
void sort_begin(struct sorting *q, struct arena *a,
	const struct sort_order *order, size_t count);
/* Texts are copied. */
void sort_add(struct sorting *q, const struct message_row *row);
/* In order, until the arena ends. */
const struct sort_entry *sort_run(struct sorting *q);
uint64_t sort_modseq(const struct sorting *q, const struct sort_entry *e);

#endif
