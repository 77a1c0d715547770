/* SPDX-License-Identifier: ISC */
/*
 * header: the header of a message (RFC 5322 2.2), field by field.
 *
 * Lines may end in CRLF, LF, or both mixed; a line that begins with a blank
 * continues the one before.  A line that is neither a field nor a
 * continuation ends the header as an empty line would, without being part of
 * it: a body must never be read as header, nor the other way round.
 */
#ifndef MAIL_HEADER_H
#define MAIL_HEADER_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

struct header_field {
	struct str whole; /* with its line ends, as it stands */
	struct str name; /* without blanks before the colon */
	struct str value; /* after the colon, still folded, trimmed */
};

/* Without the line that parts messages of an mbox ("From " or ">From "), which
 * whoever split one left before the fields: it is none, and ends no header. */
struct str header_begin(struct str header);

/* Takes one field off the front of *rest.  False at the end of the header;
 * *rest then begins after the empty line (or at the line that ended it). */
bool header_next(struct str *rest, struct header_field *field);

/* The octets of the header with the empty line; the rest is the body. */
size_t header_length(struct str message);

/* The first field of that name, or false. */
bool header_find(struct str header, struct str name, struct str *value);

/* The value on one line: each fold becomes what stands after its line end,
 * CR and LF are gone. */
struct str header_unfold(struct arena *a, struct str value);

/* ------------------------------------------------------------ addresses */

/* One address as ENVELOPE shows it (RFC 3501 7.4.2): NULL pointers are NIL.
 * A group begins with only mailbox set and ends with nothing set. */
struct header_address {
	struct str name; /* phrase or comment, unquoted, encoded words kept */
	struct str route;
	struct str mailbox;
	struct str host;
	bool group; /* begins or ends one: tells "root" from "friends:" */
};

struct header_addresses {
	struct header_address *v;
	size_t n;
};

enum { HEADER_ADDRESSES_MOST = 1000 };

/* RFC 5322 3.4 with obsolete forms; what cannot be an address is skipped.
 * Linear; at most HEADER_ADDRESSES_MOST entries. */
struct header_addresses header_parse_addresses(struct arena *a,
	struct str value);

/* <id> tokens of Message-ID, In-Reply-To, References, without brackets and
 * blanks, in order; at most 200. */
struct str_list header_message_ids(struct arena *a, struct str value);

#endif
