/* SPDX-License-Identifier: ISC */
/*
 * text: the content of parts: transfer decoding, charset, wire form.
 *
 * Parts are streamed: a part of any size costs a bounded amount of memory.
 */
#ifndef MAIL_TEXT_H
#define MAIL_TEXT_H

#include "base/buf.h"
#include "mail/mime.h"

/* The decoded octets (BINARY, RFC 3516); false when the encoding is unknown,
 * nothing appended then. */
bool text_decode(struct arena *a, struct str message,
	const struct mime_part *p, struct buf *out);

/* Appends s in wire form (LF without CR before it becomes CRLF); skip and
 * most select octets of the wire form, for partial fetches. */
void text_to_wire(struct buf *out, struct str s, size_t skip, size_t most);

/* The first text part (plain before HTML) as readable UTF-8 on one line, at
 * most n characters: for previews (RFC 8970).  Appends. */
void text_preview(struct arena *a, struct str message,
	struct mime_part *root, size_t n, struct buf *out);

/*
 * Does folded (charset_fold) occur in the body: in the decoded, folded text
 * of any part of text/ or of message/ that is no message, or in the header of a
 * message within?  With header, all
 * headers are searched too (the TEXT key of IMAP SEARCH).
 */
bool text_search(struct arena *a, struct str message, struct mime_part *root,
	struct str folded, bool header);

#endif
