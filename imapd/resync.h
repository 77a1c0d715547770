/* SPDX-License-Identifier: ISC */
/*
 * resync: what a client says it knows of a mailbox when it selects it (RFC
 * 7162 3.2.5).
 */
#ifndef IMAPD_RESYNC_H
#define IMAPD_RESYNC_H

#include "parse.h"
#include "seqset.h"

struct resync {
	bool wanted;
	uint32_t uidvalidity;
	uint64_t modseq;
	bool all; /* it knows of all UIDs there were, else: */
	struct uid_set known;
	/* Numbers it had for some UIDs: as many in one as in the other. */
	struct uid_set match_seqs, match_uids;
};

/* "67890007 90060115194045000 41:211,214:541 (10,20 50,61)"; false when it is
 * not written like that. */
bool resync_parse(struct arena *a, const struct arg *list, struct resync *r);

/*
 * The highest UID that is still the one of the number it had: nothing below
 * was expunged that the client does not know of (RFC 7162 3.2.5.2).  0: none.
 * uid_of: the UID of a number from 1 to count, ascending.
 */
uint32_t resync_match(const struct resync *r, uint32_t count,
	uint32_t (*uid_of)(const void *ctx, uint32_t seq), const void *ctx);

#endif
