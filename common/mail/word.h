/* SPDX-License-Identifier: ISC */
/*
 * word: words of a header in other charsets: encoded words (RFC 2047, with
 * RFC 2231 5 language tags) and coded parameters (RFC 2231 4), as UTF-8.
 */
#ifndef MAIL_WORD_H
#define MAIL_WORD_H

#include "base/buf.h"
#include "base/str.h"
#include "mail/mime.h"

/*
 * Appends an unstructured value: unfolded, encoded words decoded, blanks
 * between two of them dropped, text of one charset joined before conversion
 * (some mailers cut characters in two).  Octets beyond ASCII outside encoded
 * words are guessed as UTF-8 or windows-1252.  Linear.
 */
void word_decode(struct arena *a, struct buf *out, struct str value);

/* The parameter's value in UTF-8: name* decoded, else encoded words, which do
 * not belong in parameters but are sent there.  Empty when absent. */
struct str word_param(struct arena *a, const struct mime_value *v,
	struct str name);

/* Encoded words (UTF-8, base64) where the text needs them, else as it is. */
void word_encode(struct buf *out, struct str utf8);

#endif
