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
	struct mime_part *root;
};

/* The message of that UID in the selected mailbox, until the next call. */
struct status body_open(
	struct imap_session *s, uint32_t uid, struct body **out);
/* Forgets it; harmless when there is none. */
void body_close(struct imap_session *s);

/* What a section names, as it lies on disk; false: there is no such part.
 * Fields picked out of a header are in the arena. */
bool body_section(struct arena *a, const struct body *b,
	const struct section *section, struct str *raw);

/* " {n}" and the octets in wire form, of which from and most (if partial)
 * pick a stretch. */
void body_write(struct conn *c, const struct body *b, struct str raw,
	const struct section *section);

#endif
