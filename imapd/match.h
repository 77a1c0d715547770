/* SPDX-License-Identifier: ISC */
/*
 * match: patterns of LIST and LSUB (RFC 3501 6.3.8): `*` for anything, `%` for
 * anything within one level.
 */
#ifndef IMAPD_MATCH_H
#define IMAPD_MATCH_H

#include "base/str.h"

/* Room for every pattern of a name; longer ones match nothing. */
enum { MATCH_PATTERN_MOST = 2047 };

/* Both in UTF-8.  The level INBOX matches in any spelling.  Time is bounded by
 * the length of the name times a 64th of the pattern's, which counts no more
 * than twice the name's. */
bool match_name(struct str pattern, struct str name);

#endif
