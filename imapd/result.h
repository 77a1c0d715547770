/* SPDX-License-Identifier: ISC */
/*
 * result: what SEARCH and SORT answer: RETURN options (RFC 4731, 5182, 5267,
 * 9394), and messages in an order.
 *
 * An order is kept as runs of ascending UIDs, one after another: {5,6},{2,4}
 * are 5, 6, 2, 3 and 4.
 */
#ifndef IMAPD_RESULT_H
#define IMAPD_RESULT_H

#include "imapd.h"
#include "store/message.h"

enum result_item {
	RESULT_MIN = 1 << 0,
	RESULT_MAX = 1 << 1,
	RESULT_ALL = 1 << 2,
	RESULT_COUNT = 1 << 3,
	RESULT_PARTIAL = 1 << 4,
	RESULT_SAVE = 1 << 5,
};

/* Positions, the first is 1. */
struct partial {
	struct str text; /* as the client wrote it */
	bool from_end;   /* counted back from the last, which is 1 */
	uint32_t first, last;
};

struct result_options {
	bool extended; /* RETURN was there */
	unsigned items;
	struct partial partial;
};

struct result {
	struct result_options options;
	struct uid_set order;
	bool tells_modseq;
	uint64_t modseq; /* the highest; of the first, of the last */
	uint64_t first_modseq, last_modseq;
};

/* "RETURN (...)", if it stands there, is passed over; false when it cannot be
 * understood. */
bool result_parse(const struct arg **args, struct result_options *o);
/* "1:500" or "-1:-100" */
bool partial_parse(const struct arg *arg, struct partial *p);

/* The next one in the order. */
void result_add(
	struct arena *a, struct result *r, uint32_t uid, uint64_t modseq);
/* What stands at these positions. */
struct uid_set partial_pick(struct arena *a, const struct uid_set *order,
	const struct partial *p);
/* UIDs that `$` stands for from now on, ascending (RFC 5182 2.4, RFC 9394
 * 3.2). */
struct uid_set result_saved(struct arena *a, const struct result *r);
/* MODSEQ of the answer (RFC 4731 3.2). */
uint64_t result_modseq(const struct result *r);

/* answer.c: "* SEARCH 2 3 5", or the ESEARCH response the options ask for; saves. */
void result_put(
	struct imap_session *s, const char *name, const struct result *r);
/* The reply of a command that found nothing because it failed: with SAVE, `$`
 * is empty now (RFC 5182 2.1). */
struct imap_reply result_refuse(struct imap_session *s, const struct result *r,
	struct imap_reply why);

#endif
