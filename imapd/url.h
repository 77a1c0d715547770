/* SPDX-License-Identifier: ISC */
/*
 * url: which octets of which message of this account an IMAP URL names (RFC
 * 5092), as CATENATE may (RFC 4469).
 *
 * Two forms are taken: "/mailbox[;UIDVALIDITY=n]/;UID=n" and, of the selected
 * mailbox, ";UID=n" or "/;UID=n"; each perhaps with "/;SECTION=..." and
 * "/;PARTIAL=from[.most]" behind it.  Other servers and URLs of others
 * (imap://, ;URLAUTH=) are no business of this one.
 */
#ifndef IMAPD_URL_H
#define IMAPD_URL_H

#include "section.h"

struct url {
	struct str mailbox;   /* UTF-8; empty: the selected one */
	uint32_t uidvalidity; /* 0: not said */
	uint32_t uid;
	struct section section;
};

/* False when it is none of those. */
bool url_parse(struct arena *a, struct str text, struct url *out);

#endif
