/* SPDX-License-Identifier: ISC */
/*
 * search: search criteria as a tree of tests (RFC 3501 6.4.4, WITHIN RFC
 * 5032).
 *
 * Compiled once from the arguments; then asked for one message after another,
 * cheap tests first.  Numbers, sizes and dates are all ranges [low, high);
 * texts are UTF-8, case-folded.  Days are compared as they were written, in
 * whatever zone (RFC 3501 6.4.4): low and high are such days at 00:00.
 */
#ifndef IMAPD_SEARCH_H
#define IMAPD_SEARCH_H

#include "parse.h"
#include "seqset.h"

enum search_op {
	SEARCH_ALL,
	SEARCH_SEQ,
	SEARCH_UID,
	SEARCH_FLAG,
	SEARCH_RECENT,
	SEARCH_MODSEQ,
	SEARCH_KEYWORD,
	SEARCH_SIZE,
	SEARCH_ARRIVED, /* day of INTERNALDATE, as written */
	SEARCH_AGE,     /* INTERNALDATE, to the second */
	SEARCH_SAVED,   /* SAVEDATE */
	SEARCH_EMAIL,   /* the id is low */
	SEARCH_THREAD,
	SEARCH_AND,
	SEARCH_OR,
	SEARCH_SENT, /* Date field */
	SEARCH_HEADER,
	SEARCH_BODY,
	SEARCH_TEXT, /* header and body */
};

struct search_key {
	enum search_op op;
	bool negated;
	struct search_key *first; /* of AND and OR */
	struct search_key *next;
	unsigned flag;
	int64_t low, high;
	struct str field; /* lower case */
	struct str text;
	struct uid_set set;
};

/* What the meaning of some keys depends on. */
struct search_world {
	uint32_t last_seq, last_uid; /* for `*` */
	int64_t now;
	bool rev2; /* RFC 9051, appendix E: no RECENT, NEW, OLD */
	struct uid_set saved; /* UIDs that `$` stands for (RFC 5182) */
	/* Of texts; empty: CHARSET may stand before the keys. */
	struct str charset;
};

enum { SEARCH_DEPTH = 200 };

/*
 * All arguments as one AND whose keys stand cheapest first.  False with why set
 * to words for the client; when the charset was at fault, why is "BADCHARSET".
 */
bool search_compile(struct arena *a, const struct arg *args,
	const struct search_world *w, struct search_key **key,
	const char **why);

/* Is there such a key, anywhere in the tree? */
bool search_has(const struct search_key *key, enum search_op op);

#endif
