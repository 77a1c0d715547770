/* SPDX-License-Identifier: ISC */
/*
 * match: patterns of LIST and LSUB (RFC 3501 6.3.8): `*` for anything, `%` for
 * anything within one level.
 */
#ifndef IMAPD_MATCH_H
#define IMAPD_MATCH_H

#include "base/str.h"

enum { MATCH_PATTERN_MOST = 2000 };

/* Both in UTF-8.  The level INBOX matches in any spelling.  Time is bounded by
 * the product of the lengths. */
bool match_name(struct str pattern, struct str name);

#endif
