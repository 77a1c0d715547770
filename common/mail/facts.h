/* SPDX-License-Identifier: ISC */
/*
 * facts: everything the index keeps of a message, found in one go at
 * delivery, so that no client's command ever has to open a file for it.
 *
 * Folded texts are for SEARCH: decoded (RFC 2047) and folded (charset_fold).
 * Sort keys follow RFC 5256: of addresses the mailbox of the first one;
 * display keys (RFC 5957) its display name or address; all folded.  envelope,
 * body and bodystructure are the very octets of the IMAP answer (RFC 3501
 * 7.4.2), without the item name before them.
 */
#ifndef MAIL_FACTS_H
#define MAIL_FACTS_H

#include "base/str.h"

struct arena;

enum { FACTS_REFERENCES_MOST = 50, FACTS_PREVIEW_MOST = 200 };

struct facts {
	uint64_t size; /* octets as given */
	uint64_t wire_size; /* with CRLF line ends: RFC822.SIZE */
	uint64_t header_size; /* as given, with the empty line */
	bool has_date;
	int64_t sent; /* Date as seconds since 1970 */
	int sent_zone; /* minutes east */
	/* folded, decoded texts of whole headers */
	struct str from, to, cc, bcc, subject;
	/* sort keys */
	struct str sort_from, sort_to, sort_cc, sort_subject;
	struct str display_from, display_to;
	bool is_reply; /* base subject extraction took something off */
	/* ids without brackets; references oldest first, the parent last */
	struct str message_id;
	struct str_list references;
	struct str envelope, body, bodystructure;
	struct str preview; /* UTF-8, one line (RFC 8970) */
	/* Fields of the names that clients list messages by, as they stand;
	 * p is NULL when they are too long to be kept. */
	struct str fields;
	bool has_attachment;
};

enum { FACTS_FIELDS_MOST = 8 * 1024 };

/* Is this one of those names?  In any case. */
bool facts_keeps(struct str name);

/* Views and texts live in the arena or in the message. */
void facts_find(struct arena *a, struct str message, struct facts *out);

/* RFC 5256 2.1: the base subject of a decoded subject, folded. */
struct str facts_base_subject(struct arena *a, struct str subject,
	bool *is_reply);

#endif
