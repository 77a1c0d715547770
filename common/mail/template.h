/* SPDX-License-Identifier: ISC */
/*
 * template: what delivery reports say to people, in one language.
 *
 * A language is a set of texts with {names} in them.  English and Indonesian
 * are built in; a file has others, or other words for these:
 *
 *	# a comment
 *	intro: This is the mail system at {host}.
 *	failed-text: The first line
 *	 the second
 *	 .
 *	 the fourth; the third is empty
 *
 * Lines stay as they are written, so that they suit languages without blanks.
 * Whatever a file says, no line of a report exceeds RFC 5322 2.1.1, and no
 * text becomes a field: what could is refused with the line's number.
 */
#ifndef MAIL_TEMPLATE_H
#define MAIL_TEMPLATE_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

enum template_text {
	TEMPLATE_INTRO,
	TEMPLATE_RECIPIENT,
	TEMPLATE_REMOTE, /* the same, where another host said why */
	TEMPLATE_UNTIL,
	TEMPLATE_ACTIONS /* three of each dsn_action: */
};

enum template_part {
	TEMPLATE_NAME,
	TEMPLATE_SUBJECT,
	TEMPLATE_TEXT,
	TEMPLATE_PARTS
};

enum {
	TEMPLATE_TEXTS = TEMPLATE_ACTIONS + 5 * TEMPLATE_PARTS,
	TEMPLATE_MOST = 64 * 1024, /* octets of a file */
};

struct template {
	struct str tag; /* RFC 5646 */
	struct str texts[TEMPLATE_TEXTS]; /* UTF-8, lines ended by LF */
};

/* What stands for a name; the list ends with an empty name. */
struct template_value {
	const char *name;
	struct str text;
};

/* The language built in, or NULL. */
const struct template *template_builtin(struct str tag);

/*
 * Reads a file over *t: what it does not say stays as it was.  False when
 * anything is wrong, with all mistakes as lines "NAME:LINE: what" appended to
 * errors; *t is not to be used then.  Texts belong to the arena.
 */
bool template_parse(struct arena *a, struct template *t, struct str file,
	const char *name, struct buf *errors);

/* Appends a text with its names replaced, lines ended by CRLF but the last. */
void template_write(struct buf *out, struct str text,
	const struct template_value *values);

#endif
