/* SPDX-License-Identifier: ISC */
/*
 * maildrop: INBOX as one POP3 session sees it: messages by number, fixed when
 * the session began (RFC 1939 3), whatever IMAP sessions, deliveries and
 * other POP3 sessions do meanwhile.
 *
 * What always holds:
 *  - a message has one of these fates: there, deleted by this client, or gone
 *    (deleted by somebody else, noticed when it was asked for);
 *  - count and octets are those of the messages that are there;
 *  - nothing is deleted before maildrop_update;
 *  - in memory are one octet a message and a window of index rows, so that
 *    RETR after RETR costs one query for every so many messages.
 */
#ifndef POP3D_MAILDROP_H
#define POP3D_MAILDROP_H

#include "base/status.h"
#include "base/str.h"
#include "store/message.h"
#include "sys/conf.h"

struct arena;
struct maildrop;

enum drop_refusal {
	DROP_FINE,
	DROP_FAILED, /* the status says why */
	DROP_IN_USE,
	DROP_TOO_OFTEN,
};

struct store;

/* Of an open store.  The drop lives in the arena and needs maildrop_close
 * unless it was refused. */
enum drop_refusal maildrop_open(struct arena *a, struct store *store,
	const struct conf_pop3 *conf, struct maildrop **out,
	struct status *why);
/* Without maildrop_update before, nothing is deleted. */
void maildrop_close(struct maildrop *d);
/* Before that: lets flags and files follow for a moment.  Until it says true
 * other programs see what was deleted; what is left by then is the next
 * session's to do. */
bool maildrop_settle(struct maildrop *d, int64_t ms);

/* Messages that are there, and their octets on the wire; the highest number,
 * whatever became of it. */
uint32_t maildrop_count(const struct maildrop *d);
uint64_t maildrop_octets(const struct maildrop *d);
uint32_t maildrop_last(const struct maildrop *d);

enum drop_fate {
	DROP_THERE,
	DROP_NONE, /* no such number */
	DROP_DELETED,
	DROP_GONE,
};

enum drop_fate maildrop_fate(const struct maildrop *d, uint32_t number);

/* "%08x%08x" of UID and UIDVALIDITY: never used again for another message,
 * and what Dovecot says by default, so that clients of a Maildir moved from
 * there download nothing twice. */
enum { DROP_UIDL = 16 };
void maildrop_uidl(const struct maildrop *d, uint32_t number,
	char uidl[DROP_UIDL]);

/* The size on the wire of a message; looks, and so may find that it is
 * gone. */
enum drop_fate maildrop_size(struct maildrop *d, uint32_t number,
	uint64_t *size);

/* Number and size of every message that is there, in one scan. */
typedef void (*drop_each_fn)(void *ctx, uint32_t number, uint64_t size);
struct status maildrop_each(struct maildrop *d, drop_each_fn fn, void *ctx);

enum drop_fate maildrop_delete(struct maildrop *d, uint32_t number);
/* Takes every deletion back. */
void maildrop_reset(struct maildrop *d);

/* An open message: its octets as they lie on disk, from fd, or mapped when
 * fd is -1.  The descriptor is the caller's, octets live in the arena. */
struct drop_file {
	uint64_t size; /* on the wire */
	int fd;
	uint64_t left; /* to be read from fd */
	struct str octets;
};
/* Fine and not THERE: gone. */
struct status maildrop_read(struct maildrop *d, struct arena *a,
	uint32_t number, struct drop_file *file, enum drop_fate *fate);

/* It was sent as a whole. */
void maildrop_retrieved(struct maildrop *d, uint32_t number);

/* Removes what was deleted.  Not fine: it is all still there. */
struct status maildrop_update(struct maildrop *d, struct arena *a);
/* How many that were. */
uint32_t maildrop_removed(const struct maildrop *d);

#endif
