/* SPDX-License-Identifier: ISC */
/*
 * A strict reader of IMAP answers, written from RFC 3501 9 and apart from the
 * code under test: each function takes its rule off the front or fails.
 */
#ifndef UNIT_MAIL_GRAMMAR_H
#define UNIT_MAIL_GRAMMAR_H

#include "base/str.h"

/* "(" ... ")" of ENVELOPE, BODY, BODYSTRUCTURE; the whole text. */
bool grammar_is_envelope(struct str s);
bool grammar_is_body(struct str s, bool extended);

#endif
