/* SPDX-License-Identifier: ISC */
/*
 * encode: octets as text: base64 (RFC 4648 4, RFC 2045 6.8),
 * quoted-printable (RFC 2045 6.7), xtext (RFC 3461 4), hex.
 *
 * Strict decoders answer false to anything not exactly in the grammar (SASL,
 * xtext); the streaming ones for message bodies never fail, as readers of mail
 * must not: what is no code is skipped or taken as it is.
 */
#ifndef MAIL_ENCODE_H
#define MAIL_ENCODE_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

/* Without line breaks. */
void base64_encode(struct buf *out, struct str octets);
/* In lines of 76 characters, each ended by CRLF. */
void base64_encode_lines(struct buf *out, struct str octets);
/* Padding required, no blanks, no stray bits; false leaves out as it was. */
bool base64_decode(struct buf *out, struct str text);

/* Every line at most 76 characters; CRLF stays a line end when text is set,
 * else it is coded too.  Lines end by CRLF. */
void qp_encode(struct buf *out, struct str octets, bool text);

/* Streaming: feed pieces in any size, then end. */
struct base64_stream {
	uint32_t bits;
	unsigned have;
};
void base64_feed(struct base64_stream *s, struct str in, struct buf *out);

struct qp_stream {
	char held[80]; /* an unfinished = sequence */
	unsigned held_count;
	size_t blanks; /* white space that may be trailing */
	char blank[80];
};
void qp_feed(struct qp_stream *s, struct str in, struct buf *out);
void qp_end(struct qp_stream *s, struct buf *out);

/* RFC 3461 4: all but printable ASCII, '+' and '=' as +HH. */
void xtext_encode(struct buf *out, struct str octets);
bool xtext_decode(struct buf *out, struct str text);

/*
 * ORCPT of an address: "rfc822;" and xtext (RFC 3461 4.2), or, beyond ASCII,
 * "utf-8;" and the form of RFC 6533 3 that goes everywhere: "j\x{F6}rg@a.b".
 */
void orcpt_encode(struct buf *out, struct str address);
/* What stands behind the type; both forms of RFC 6533 3, and xtext.  False
 * when it is none of them. */
bool orcpt_decode(struct buf *out, struct str type, struct str coded);
/* The same value for servers without SMTPUTF8. */
void orcpt_to_ascii(struct buf *out, struct str orcpt);

/* Lower case. */
void hex_encode(struct buf *out, struct str octets);
bool hex_decode(struct buf *out, struct str text);

#endif
