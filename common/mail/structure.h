/* SPDX-License-Identifier: ISC */
/*
 * structure: ENVELOPE, BODY and BODYSTRUCTURE as IMAP writes them (RFC 3501
 * 7.4.2 and 9), byte for byte.
 *
 * Always parseable: every positional field is there, strings are quoted when
 * they are short printable ASCII and literals otherwise; NUL cannot be sent
 * and becomes 0x80, CR and LF inside a value are gone by unfolding.  Encoded
 * words pass undecoded.
 *
 * The arena is only worked in and left as it was; out must have been made
 * before the call.
 */
#ifndef MAIL_STRUCTURE_H
#define MAIL_STRUCTURE_H

#include "base/buf.h"
#include "mail/mime.h"

/* "(date subject from sender reply-to to cc bcc in-reply-to message-id)" */
void structure_envelope(struct arena *a, struct buf *out, struct str header);

/* BODYSTRUCTURE, or BODY without extension data. */
void structure_body(struct arena *a, struct buf *out, struct str message,
	const struct mime_part *root, bool extended);

/* An IMAP string: quoted or literal; "NIL" for a NULL pointer. */
void structure_nstring(struct buf *out, struct str s);

#endif
