/* SPDX-License-Identifier: ISC */
/*
 * stuff: a message as it lies on disk (store/message.h) to what a multi-line
 * response has of it (RFC 1939 3): CRLF line ends, a dot before every line
 * that begins with one, a dot at the end.  Also as much of it as TOP wants.
 *
 * Nothing else is changed, no octet dropped: what the client has after taking
 * the dots out is the message's wire form, whose length the index knows.
 * Only the end of a last line that has none is added, which the framing needs
 * and no size counts.
 */
#ifndef POP3D_STUFF_H
#define POP3D_STUFF_H

#include "base/buf.h"
#include "base/str.h"

struct stuff {
	uint64_t length; /* of the line so far */
	char before; /* the last octet fed */
	bool top; /* TOP: the header, then so many lines */
	bool body;
	uint64_t lines;
	bool done; /* TOP has what it wants: nothing more is taken */
};

void stuff_start(struct stuff *w);
void stuff_top(struct stuff *w, uint64_t lines);
/* Appends the next octets of the file, in pieces of any size. */
void stuff_feed(struct stuff *w, struct str octets, struct buf *out);
/* The end of the last line, for TOP the end of the header where it is
 * missing (RFC 1939 7 wants one), and the final dot. */
void stuff_end(struct stuff *w, struct buf *out);

#endif
