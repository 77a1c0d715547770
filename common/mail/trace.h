/* SPDX-License-Identifier: ISC */
/*
 * trace: the lines a message collects on its way (RFC 5321 4.4, RFC 3848,
 * RFC 6531 4.3), and what they tell about loops.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "base/buf.h"
#include "base/str.h"

struct trace {
	struct str helo; /* as the client called itself, may be hostile */
	struct str client; /* its address, "unix" or "pipe" */
	struct str reverse; /* the address's confirmed name, or empty */
	struct str host; /* us */
	struct str id; /* of the queue or session */
	struct str recipient; /* only when there is one, else empty */
	struct str date; /* RFC 5322 */
	bool lmtp, esmtp, tls, authenticated, utf8;
	struct str tls_version; /* shown as a comment, may be empty */
	bool hide_client; /* submission: where somebody reads mail is private */
};

/* "Received: ..." with folding and CRLF at the end. */
void trace_received(struct buf *out, const struct trace *t);

/* ESMTPSA and its relatives. */
struct str trace_protocol(const struct trace *t);

/* How many Received fields the header of a message has (any case). */
size_t trace_hops(struct str message);

/* Does the header have "Delivered-To: address" (case of the domain and of
 * ASCII in the local part ignored)? */
bool trace_delivered_to(struct str message, struct str address);

#endif
