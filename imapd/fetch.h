/* SPDX-License-Identifier: ISC */
/*
 * fetch: the octets of messages, for FETCH and for SEARCH in texts.
 *
 * A session keeps the message it read last: clients fetch large bodies in
 * pieces, one command a piece, and the message is opened and taken apart
 * once.
 */
#ifndef IMAPD_FETCH_H
#define IMAPD_FETCH_H

#include "imapd.h"
#include "section.h"
#include "mail/mime.h"
#include "store/mailbox.h"

struct body {
	struct arena *arena;
	uint32_t uid;
	struct message_file file;
	struct mime_part *root; /* see body_tree */
	/* The stretch written last, its size on the wire, and how far into it
	 * that went: the next piece mostly begins there. */
	struct str raw;
	uint64_t size, at;
	struct message_wire wire;
	/* The part decoded last (fetch_binary.c). */
	struct arena *decoded_arena;
	const struct mime_part *decoded_part;
	struct buf *decoded;
};

/* The message of a row read with WANT_FILE, until the next call.  Where it
 * fails it is NULL, and the row's texts, if they were a scan's, are void. */
struct status body_open(struct imap_session *s, const struct message_row *row,
	struct body **out);
/* What a scan had to leave out (mailbox_scan.unread): later, with the reason,
 * or fine when it is gone by now, of which the client hears anyway. */
struct status body_unread(struct imap_session *s, uint32_t uid);
/* Its parts. */
struct mime_part *body_tree(struct body *b);
/* Forgets it; harmless when there is none. */
void body_close(struct imap_session *s);

/* The part a section is of; NULL: there is none. */
const struct mime_part *body_part(struct body *b, const struct section *section);

/* What a section names, as it lies on disk; false: there is no such part.
 * Fields picked out of a header are in the arena. */
bool body_section(struct arena *a, struct body *b,
	const struct section *section, struct str *raw);

/* The fields a section names, from the text of a header. */
struct str body_pick(struct arena *a, struct str header,
	const struct section *section);

/* " {n}" and the octets in wire form, of which from and most (if partial)
 * pick a stretch. */
void body_write(struct conn *c, struct body *b, struct str raw,
	const struct section *section);

/*
 * BINARY (RFC 3516): the part's octets without their transfer encoding, as
 * " {n}" or, where there is a NUL, " ~{n}"; their number.  Never 5.6.3 when
 * nobody knows the encoding.  A part that is not there is NIL, and of size 0.
 */
struct status binary_write(struct imap_session *s, struct body *b,
	const struct section *section);
struct status binary_size(
	struct body *b, const struct section *section, uint64_t *size);
/* For body_close. */
void binary_forget(struct body *b);

#endif
