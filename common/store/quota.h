/* SPDX-License-Identifier: ISC */
/*
 * quota: how much an account may hold, and how much it does.
 *
 * What is used is the sum of the folders' rows, so it is current with every
 * writer; what foreign programs did is taken in before anything is refused
 * for want of room, and before the figures are shown.
 *
 * Limits of an account are auth's word (surat-users(5)).  It comes with every
 * login and every question at RCPT, and is noted in the index, where delivery
 * finds it; who has never heard it goes by surat.conf.  From then on APPEND,
 * COPY and delivery refuse what does not fit:
 *
 *	imapd	quota_note when a session begins; quota_room before it asks for
 *		a literal (RFC 9208: NO [OVERQUOTA]); append_commit and
 *		mailbox_copy refuse by themselves; quota_usage for GETQUOTA,
 *		STORAGE in units of 1024 octets
 *	deliver-local	store_deliver refuses each message that does not fit
 *	RCPT	auth has a local agent ask quota_room for one message of the
 *		announced SIZE
 *
 * Moving within the account needs no room.  An account that is over its
 * limits, because they were lowered or others filled it, may be read and
 * emptied.
 *
 * Refusals are never 5.2.2 (552), or later 4.2.2 (452) when the limits say
 * that mail is to wait.
 */
#ifndef STORE_QUOTA_H
#define STORE_QUOTA_H

#include "base/status.h"
#include "base/str.h"

struct arena;
struct conf;
struct store;

enum { QUOTA_WARN_PERCENT = 90 };

struct quota {
	uint64_t octets; /* of files; 0: no limit */
	uint64_t messages; /* 0: no limit */
	unsigned warn; /* percent of either; 0: 90 */
	bool later;
};

/* For an account of which nothing is noted.  Copied; all zero takes limits
 * off. */
void quota_set(struct store *s, const struct quota *q);
/* Those of surat.conf, general.quota and the like. */
void quota_configure(struct store *s, const struct conf *c);

/* "octets messages warn later", as auth writes them (users_limits); false for
 * anything else. */
bool quota_parse(struct str text, struct quota *out);
/* They hold for this account from now on, for everybody. */
struct status quota_note(struct store *s, struct arena *a,
	const struct quota *q);

enum quota_level { QUOTA_FINE, QUOTA_WARN, QUOTA_FULL };

struct quota_usage {
	uint64_t octets, messages;
	struct quota limits;
	enum quota_level level; /* FULL: a limit is reached */
};

/* Foreign changes are taken in first. */
struct status quota_usage(struct store *s, struct arena *a,
	struct quota_usage *out);

/* The level by what rows say: cheap. */
enum quota_level quota_level(struct store *s, struct arena *a);

/* Is there room for so many more?  Fine without limits, at no cost.  No
 * messages: of one that takes the place of another, so many octets larger;
 * where it is not, even an account that is over its limits has room. */
struct status quota_room(struct store *s, struct arena *a, uint64_t messages,
	uint64_t octets);

#endif
