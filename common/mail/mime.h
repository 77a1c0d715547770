/* SPDX-License-Identifier: ISC */
/*
 * mime: a message as a tree of parts, by offsets (RFC 2045, 2046).
 *
 * One pass over the octets, no copy, no recursion.  Whatever the input, the
 * result is a legal tree: a multipart without any part is a text/plain, an
 * unterminated part ends with its parent, nesting and number are capped (what
 * is beyond the cap is body text of the part it stands in).
 *
 * Wire form is the message with CRLF line ends: an LF without CR before it
 * counts as CRLF, everything else as it is.  Sizes for clients are wire sizes,
 * whatever line ends the stored message has.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/str.h"

struct arena;

enum {
	MIME_DEPTH_MOST = 100,
	MIME_PARTS_MOST = 10000,
	MIME_PARAMS_MOST = 64,
	MIME_BOUNDARY_MOST = 200,
};

/* A place in the message: octets stored, octets on the wire and line ends
 * before it. */
struct mime_point {
	size_t offset, wire, lines;
};

enum mime_field {
	MIME_TYPE,
	MIME_ENCODING,
	MIME_ID,
	MIME_DESCRIPTION,
	MIME_MD5,
	MIME_DISPOSITION,
	MIME_LANGUAGE,
	MIME_LOCATION,
	MIME_FIELDS,
};

struct mime_param {
	struct str name; /* lower case; "name*" when the value is coded */
	struct str value; /* unquoted; RFC 2231 pieces joined, not decoded */
};

/* A value with parameters: "text/plain; charset=x", "attachment; ..." */
struct mime_value {
	struct str value; /* as written, "text/plain" */
	struct mime_param *params;
	size_t count;
};

struct mime_part {
	struct mime_part *parent, *child, *next;
	struct mime_point start, body, end; /* header is [start, body) */
	struct str fields[MIME_FIELDS]; /* folded values; p NULL: absent */
	struct mime_value type; /* parsed Content-Type, never empty */
	struct str major, minor; /* lower case: text, plain */
	bool multipart; /* has at least one child */
	bool message; /* message/rfc822 or /global: one child, its content */
};

/* The root; parts live in the arena, views point into message. */
struct mime_part *mime_parse(struct arena *a, struct str message);

/* Parses a value with parameters; linear, at most MIME_PARAMS_MOST. */
struct mime_value mime_parse_value(struct arena *a, struct str text);

/* The parameter of that name (lower case), empty when there is none. */
struct str mime_param(const struct mime_value *v, struct str name);

enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QP, MIME_UNKNOWN };

/* By Content-Transfer-Encoding; comments and case do not matter. */
enum mime_encoding mime_encoding(const struct mime_part *p);

static inline struct str
mime_header(struct str message, const struct mime_part *p)
{
	return str_head(str_skip(message, p->start.offset),
		p->body.offset - p->start.offset);
}

static inline struct str
mime_body(struct str message, const struct mime_part *p)
{
	return str_head(str_skip(message, p->body.offset),
		p->end.offset - p->body.offset);
}

/* Every part in order: the next after p, NULL after the last. */
struct mime_part *mime_walk(struct mime_part *p);

/* Size of octets in wire form. */
size_t mime_wire_size(struct str s);

#endif
