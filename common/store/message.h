/* SPDX-License-Identifier: ISC */
/*
 * message: what is known of a message, and its octets.
 *
 * A row is what the index has.  It was complete when the message arrived:
 * sizes, dates, sort keys, the ENVELOPE and BODYSTRUCTURE as the client will
 * see them.  Only where an index is made anew of what names say, the rest is
 * read from the files when somebody asks (describe.c); readers of rows never
 * see the difference.
 *
 * On disk a message has LF line ends, as every Maildir program expects; on
 * the wire CRLF.  An LF that has a CR before it (foreign files) is a CRLF
 * already, and a CRLF that has a CR before it stays one on disk.  The wire form
 * of a file is therefore a function of its octets, row.size is its length, and
 * what came with CRLF line ends goes out as it came, whatever else is in it.
 */
#ifndef STORE_MESSAGE_H
#define STORE_MESSAGE_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct buf;

/* System flags; the bits are what message.flags holds. */
enum message_flag {
	FLAG_SEEN = 1 << 0,
	FLAG_ANSWERED = 1 << 1,
	FLAG_FLAGGED = 1 << 2,
	FLAG_DELETED = 1 << 3,
	FLAG_DRAFT = 1 << 4,
	FLAG_FORWARDED = 1 << 5, /* the keyword $Forwarded, Maildir's P */
	FLAG_SYSTEM = 0x1f, /* those that IMAP writes with a backslash */
};

/* A range of UIDs (or sequence numbers), both ends in it.  A set is an array
 * of them, ascending and disjoint. */
struct uid_range {
	uint32_t first, last;
};

struct uid_set {
	struct uid_range *v;
	size_t n;
};

/* Adds a UID not below the last; the array grows in the arena. */
void uid_set_add(struct arena *a, struct uid_set *set, uint32_t uid);
/* The same of a range that begins above the last. */
void uid_set_add_range(
	struct arena *a, struct uid_set *set, uint32_t first, uint32_t last);
bool uid_set_has(const struct uid_set *set, uint32_t uid);
/* What is in x and not in y; in both. */
struct uid_set uid_set_minus(
	struct arena *a, const struct uid_set *x, const struct uid_set *y);
struct uid_set uid_set_and(
	struct arena *a, const struct uid_set *x, const struct uid_set *y);
uint64_t uid_set_count(const struct uid_set *set);

/* What to fetch of a row: uid, modseq, flags and keywords come too, but of
 * these only the uid with WANT_UID. */
enum message_want {
	WANT_DATES = 1 << 0, /* date, zone, saved */
	WANT_SIZES = 1 << 1, /* size, file_size */
	WANT_FILE = 1 << 2, /* name, info, in_new */
	WANT_SORT_CC = 1 << 3, /* these of themselves: a text costs time */
	WANT_SORT_FROM = 1 << 4,
	WANT_SORT_SUBJECT = 1 << 5,
	WANT_SORT_TO = 1 << 6,
	WANT_DISPLAY = 1 << 7, /* display_* */
	WANT_THREAD = 1 << 8,
	/* message_id, references, subject, sort_subject */
	WANT_THREADING = 1 << 9,
	WANT_ENVELOPE = 1 << 10,
	WANT_BODY = 1 << 11,
	WANT_STRUCTURE = 1 << 12,
	WANT_PREVIEW = 1 << 13,
	WANT_HEADERS = 1 << 14, /* the folded header texts */
	WANT_FIELDS = 1 << 15,
	WANT_SENT = 1 << 16,
	WANT_UID = 1 << 17,
};

struct message_row {
	uint32_t uid;
	unsigned flags;
	uint64_t modseq;
	struct str keywords; /* "$Junk work", sorted; empty for none */

	int64_t date; /* INTERNALDATE, seconds since 1970 */
	int zone; /* its zone, minutes east */
	int64_t sent; /* the Date field, UTC; date when it has none */
	int64_t saved; /* when it came into this folder */
	uint64_t size; /* octets on the wire */
	uint64_t file_size;

	struct str name; /* base name, up to the colon */
	struct str info; /* the rest: ":2,FS" or empty */
	bool in_new;

	struct str sort_from, sort_to, sort_cc, sort_subject; /* RFC 5256 */
	struct str display_from, display_to; /* RFC 5957 */
	uint64_t thread; /* same for a message and its replies */

	struct str envelope; /* "(...)", RFC 3501 7.4.2 */
	struct str body;
	struct str structure;
	struct str preview; /* UTF-8, at most 256 octets */
	/* Header fields of the names that facts_keeps (mail/facts.h), as they
	 * lie on disk; p is NULL when they are only in the file. */
	struct str fields;

	/* Decoded to UTF-8 and case-folded, without line breaks. */
	struct str from, to, cc, bcc, subject;
	/* Without brackets; references oldest first, one blank between, the
	 * parent last. */
	struct str message_id, references;
};

/* The id its copies share (RFC 8474, EMAILID), of a row read with WANT_FILE:
 * 63 bits that no other message has. */
uint64_t message_email(const struct message_row *row);

/* Copies the texts of a row that was read with want to the arena. */
void message_keep(struct arena *a, unsigned want, struct message_row *row);

/* ---------------------------------------------------------------- octets */
/* An open message.  raw is what lies on disk. */
struct message_file {
	struct str raw;
	uint64_t size; /* on the wire */
	bool is_wire; /* raw needs no change to be sent */
};

/*
 * Wire form of a stretch of disk octets, piece by piece: begin with
 * {.raw = octets}.  message_wire_fill writes at most room octets and says how
 * many, 0 at the end; message_wire_skip passes over n octets of wire form.
 */
struct message_wire {
	struct str raw;
	size_t at;
	char before; /* the octet before at */
	bool owe_lf; /* a CR was written, its LF was not yet */
};
size_t message_wire_fill(struct message_wire *w, char *to, size_t room);
void message_wire_skip(struct message_wire *w, uint64_t n);
/* Length of the wire form. */
uint64_t message_wire_size(struct str raw);
/* Wire form to disk form, appended: CRLF becomes LF.  Of a message in pieces,
 * none may end between CR and LF; before is the octet before the piece, NUL for
 * the first, and is kept. */
void message_to_disk(struct buf *out, struct str wire, char *before);

#endif
