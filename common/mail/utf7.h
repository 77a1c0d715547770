/* SPDX-License-Identifier: ISC */
/*
 * utf7: mailbox names on the wire (RFC 3501 5.1.3, modified UTF-7) and in the
 * house (UTF-8).  Strict: exactly one spelling of a name is accepted.
 */
#ifndef MAIL_UTF7_H
#define MAIL_UTF7_H

#include "base/buf.h"
#include "base/str.h"

/* Appends UTF-8; false (out as before) for anything not canonical: needless
 * or adjacent shifts, coded printable ASCII, lone surrogates, stray bits. */
bool utf7_to_utf8(struct buf *out, struct str name);

/* Appends; false (out as before) when the name is not UTF-8. */
bool utf7_from_utf8(struct buf *out, struct str name);

#endif
