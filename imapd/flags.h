/* SPDX-License-Identifier: ISC */
/*
 * flags: message flags on the wire (RFC 3501 2.3.2).
 */
#ifndef IMAPD_FLAGS_H
#define IMAPD_FLAGS_H

#include "parse.h"
#include "store/message.h"

enum { FLAGS_KEYWORDS_MOST = 100, FLAGS_KEYWORD_MOST = 200 };

struct flags {
	unsigned bits;
	struct str_list keywords;
};

/* Flags as arguments, one after the other; \Recent is passed over where
 * recent is set (APPEND by careless clients), else refused.  False: *why. */
bool flags_parse(struct arena *a, const struct arg *arg, bool recent,
	struct flags *out, const char **why);

/* The bit of a system flag, or of a keyword that is one to the store; 0. */
unsigned flags_bit(struct str name);

/* "\Seen $Junk", without parentheses. */
void flags_print(
	struct buf *out, unsigned bits, struct str keywords, bool recent);

/* "\Answered \Flagged ... $Junk": what there is, for FLAGS and
 * PERMANENTFLAGS. */
void flags_print_all(struct buf *out, const struct str_list *keywords);

#endif
