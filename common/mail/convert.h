/* SPDX-License-Identifier: ISC */
/*
 * convert: a message in another transfer encoding, for a server that cannot
 * take it as it is (RFC 6152 3, RFC 2045 6, RFC 5321 4.5.3.1.6).
 *
 * Only parts that need it are encoded, text as quoted-printable, the rest as
 * base64; what a reader decodes is the same octets.  Header lines are folded
 * at blanks; 8-bit text in unstructured fields becomes encoded words.  What
 * must not be touched (signed or encrypted parts, fragments) or cannot be
 * (8-bit octets in an address) makes the conversion fail.
 */
#ifndef MAIL_CONVERT_H
#define MAIL_CONVERT_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

struct arena;

enum { CONVERT_LINE_MOST = 998 };

/* What the result must not have. */
enum convert_avoid {
	CONVERT_8BIT = 1, /* octets above 127 */
	CONVERT_LONG = 2, /* lines above CONVERT_LINE_MOST */
	CONVERT_BINARY = 4, /* NUL, CR or LF but as CRLF */
};

/* Appends to out.  Not fine: never 5.6.3 (5.6.0 for lines) with the reason;
 * what is in out then is of no use. */
struct status convert_message(struct arena *a, struct str message,
	unsigned avoid, struct buf *out);

#endif
