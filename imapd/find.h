/* SPDX-License-Identifier: ISC */
/*
 * find: the messages that match search criteria, for SEARCH, SORT and THREAD.
 */
#ifndef IMAPD_FIND_H
#define IMAPD_FIND_H

#include "imapd.h"
#include "search.h"
#include "store/message.h"

/* Criteria from arguments; charset as in struct search_world. */
bool find_compile(struct imap_session *s, struct str charset,
	const struct arg *args, struct search_key **key,
	struct imap_reply *why);

/* Called for each match, by ascending UID; the texts of the row hold until it
 * returns. */
typedef void (*find_fn)(void *ctx, const struct message_row *row);

/* want: what the rows must have (enum message_want); WANT_UID: they may have
 * no flags and no modseq. */
struct status find_messages(struct imap_session *s, struct search_key *key,
	unsigned want, find_fn found, void *ctx);

#endif
