/* SPDX-License-Identifier: ISC */
/*
 * dsn: delivery status notifications (RFC 3461, 3464) as whole messages in the
 * form of RFC 6522, in that of RFC 6533 where an address needs UTF-8.
 *
 * A report is a function of its input: dates, ids and the boundary come from
 * the caller, so that the same failure makes the same report twice.
 */
#ifndef MAIL_DSN_H
#define MAIL_DSN_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

struct arena;
struct template;

enum dsn_action {
	DSN_FAILED,
	DSN_DELAYED,
	DSN_DELIVERED,
	DSN_RELAYED,
	DSN_EXPANDED,
	DSN_ACTIONS
};

struct dsn_recipient {
	struct str address; /* where delivery was tried */
	struct str original; /* ORCPT as given ("rfc822;..."), or empty */
	enum dsn_action action;
	struct status status;
	struct str remote; /* the host that said so, or empty */
	int64_t will_retry_until; /* delayed: seconds since 1970, else 0 */
};

struct dsn {
	struct str host; /* the reporting MTA */
	struct str id; /* queue id of the message reported on */
	struct str to; /* its sender */
	struct str envid; /* xtext as given, or empty */
	int64_t arrival; /* seconds since 1970 */
	int64_t now;
	struct str message_id; /* of the report, without brackets */
	struct str boundary;
	bool utf8; /* addresses or headers are not ASCII */
	/* Its words, one after the other, the first for the subject; NULL:
	 * English. */
	const struct template *const *languages;
	size_t language_count;
	bool headers_only; /* RET=HDRS, or too large to return */
	const struct dsn_recipient *recipients;
	size_t count;
	struct str original; /* the message, or its beginning */
};

void dsn_write(struct arena *a, struct buf *out, const struct dsn *d);

#endif
