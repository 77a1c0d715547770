/* SPDX-License-Identifier: ISC */
/*
 * language: what the server says to people, in the languages it knows (RFC
 * 6856 3).  A number sign in a text stands for the next number of the reply.
 */
#ifndef POP3D_LANGUAGE_H
#define POP3D_LANGUAGE_H

#include "base/buf.h"
#include "base/str.h"

enum say {
	SAY_NOTHING,
	SAY_READY,
	SAY_WELCOME, /* messages, octets */
	SAY_BYE,
	SAY_DONE,
	SAY_CAPABILITIES,
	SAY_MECHANISMS,
	SAY_LANGUAGES,
	SAY_LANGUAGE,
	SAY_NO_LANGUAGE,
	SAY_UTF8,
	SAY_BEGIN_TLS,
	SAY_TLS_ACTIVE,
	SAY_NO_TLS,
	SAY_TLS_FIRST,
	SAY_PASSWORD,
	SAY_REFUSED,
	SAY_TOO_MANY_FAILURES,
	SAY_NOT_NOW, /* logins cannot be judged, try again */
	SAY_CANCELLED,
	SAY_NO_MECHANISM,
	SAY_NO_MAILDROP,
	SAY_IN_USE,
	SAY_TOO_OFTEN,
	SAY_MESSAGES, /* messages, octets */
	SAY_OCTETS, /* octets */
	SAY_DELETED,
	SAY_NO_MESSAGE,
	SAY_WAS_DELETED,
	SAY_GONE,
	SAY_UNREADABLE,
	SAY_NOT_REMOVED,
	SAY_UNKNOWN,
	SAY_WRONG_STATE,
	SAY_NO_ARGUMENTS,
	SAY_ARGUMENTS,
	SAY_LINE_TOO_LONG,
	SAY_TOO_MANY_ERRORS,
	SAY_COUNT
};

struct language {
	const char *tag; /* RFC 5646 */
	const char *name; /* in the language itself */
	unsigned column;
};

/* The nth, NULL past the last; the first is i-default. */
const struct language *language_nth(size_t n);
/* By a language range (RFC 4647 3.4), "*" the first; NULL: none fits. */
const struct language *language_find(struct str range);

/* The text with its numbers. */
void language_say(const struct language *l, enum say text,
	const uint64_t numbers[2], struct buf *out);

#endif
