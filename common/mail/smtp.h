/* SPDX-License-Identifier: ISC */
/*
 * smtp: the grammar both sides of SMTP share (RFC 5321): arguments of MAIL and
 * RCPT, replies, and the transparency of DATA.
 *
 * Content within the house is what stood between the 354 and the final dot:
 * CRLF lines, dots unstuffed.  Only CRLF ends a line and only CRLF . CRLF ends
 * a message, in both directions, so that no two servers can disagree on where
 * a message ends.
 */
#ifndef MAIL_SMTP_H
#define MAIL_SMTP_H

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/address.h"

struct arena;

/* RFC 5321 4.5.3.1, with room for extensions (RFC 4954 4 for AUTH). */
enum {
	SMTP_COMMAND_MOST = 2048,
	SMTP_AUTH_MOST = 12288,
	SMTP_REPLY_MOST = 2048,
	SMTP_REPLY_LINES = 100,
	SMTP_PARAMS_MOST = 20,
};

/* --------------------------------------------------- MAIL and RCPT */

struct smtp_param {
	struct str key, value; /* value is empty without '=' */
};

struct smtp_path {
	struct address address;
	struct smtp_param params[SMTP_PARAMS_MOST];
	size_t param_count;
};

/*
 * "FROM:<path> [params]" after the verb; keyword is "FROM:" or "TO:".  A blank
 * after the colon and missing angle brackets are tolerated.  Not fine: 501
 * with the reason (5.1.7 or 5.1.3 for the path, 5.5.4 for parameters).
 */
struct status smtp_parse_path(struct arena *a, struct str args,
	struct str keyword, bool utf8, struct smtp_path *out);

/* --------------------------------------------------------- replies */

/* What a server said: several lines joined by LF. */
struct smtp_reply {
	int code;
	size_t lines;
	struct buf *text; /* without codes */
	bool done;
	bool bad; /* not a reply: the server speaks something else */
};

void smtp_reply_start(struct arena *a, struct smtp_reply *r);
/* One line without its line end.  After it r->done or r->bad may be set. */
void smtp_reply_line(struct smtp_reply *r, struct str line);
/* Class from the first digit; the enhanced code from the text when its class
 * agrees (the first digit is trusted over it), else from the context given
 * as subject and detail. */
struct status smtp_reply_status(struct arena *a, const struct smtp_reply *r,
	int subject, int detail);

/* "250-2.0.0 text" CRLF ...: a status as the server says it; enhanced: with
 * its code.  Lines of the text (LF) become lines of the reply. */
void smtp_write_reply(struct buf *out, struct status s, bool enhanced);

/* ------------------------------------------------------------ DATA */

enum smtp_bare { SMTP_REFUSE_BARE, SMTP_NORMALISE_BARE };

/*
 * The reader of a message.  Feed what comes from the client until done; input
 * after the end is not touched.  With SMTP_NORMALISE_BARE lone CR and LF
 * become CRLF; with SMTP_REFUSE_BARE they are kept as they are and `bare` is
 * set: the message must be refused after its end.  Neither ever ends it.
 */
struct smtp_data {
	enum smtp_bare policy;
	bool dots; /* stuffed dots, and one alone is the end; set by start */
	unsigned state;
	bool done;
	bool bare;
	uint64_t octets; /* given out so far */
};

void smtp_data_start(struct smtp_data *d, enum smtp_bare policy);
/* Appends to out; the octets of in that were used.  Without dots (BDAT) all of
 * them, and the end is told by smtp_data_end, which completes the last line. */
void smtp_data_end(struct smtp_data *d, struct buf *out);
size_t smtp_data_feed(struct smtp_data *d, struct str in, struct buf *out);

/*
 * The writer: stuffs dots and can emit no CR or LF but as CRLF.  Feed content
 * in any pieces, then end, which adds a missing line end and the final dot.
 */
struct smtp_stuff {
	bool line_start; /* set by smtp_stuff_start */
	bool after_cr;
};

void smtp_stuff_start(struct smtp_stuff *w);
void smtp_stuff_feed(struct smtp_stuff *w, struct str in, struct buf *out);
void smtp_stuff_end(struct smtp_stuff *w, struct buf *out);

#endif
