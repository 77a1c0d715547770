/* SPDX-License-Identifier: ISC */
/*
 * appending: messages on their way from the client into a mailbox, for APPEND
 * and REPLACE.
 *
 * A message is what the grammar calls append-message: flags, a date, and then
 * a literal, a literal8 (RFC 3516), UTF8 (...) (RFC 6855) or CATENATE (...)
 * (RFC 4469).  A literal goes to its file in pieces, whatever its size; the
 * others are held in memory, as what comes in a literal8 and no line can carry
 * is encoded before it is stored.  All that can be refused is refused before a waiting
 * client is told to send; what fails afterwards is read to its end and
 * dropped.
 *
 *	appending_begin -> [ appending_message ]+ -> appending_commit
 *
 * Each returns false with p->why as the reply; everything is undone then.
 */
#ifndef IMAPD_APPENDING_H
#define IMAPD_APPENDING_H

#include "imapd.h"
#include "store/mailbox.h"

enum {
	APPENDING_MESSAGES = 1000, /* of one command */
	APPENDING_PARTS = 1000,    /* of CATENATE in one command */
};

struct appending {
	struct imap_session *s;
	struct append *append;
	struct append_result result;
	struct imap_reply why;
	size_t messages, parts;
	uint64_t total; /* octets of messages before this one */
	/* What leaves by REPLACE: 1, and how large it is on the wire. */
	size_t leaving;
	uint64_t freed;
	/* Of the message in hand: */
	uint64_t size;
	bool eight; /* some of it came as literal8 */
	struct status status; /* what the store says of it */
	struct arena *arena;  /* of whole; NULL: it goes to the store */
	struct buf *whole;
	/* The mailbox URLs were about last, unless it is selected. */
	struct arena *source_arena;
	struct mailbox *source;
	struct str source_name;
};

/* The next argument names the mailbox. */
bool appending_begin(struct appending *p, struct imap_session *s);
bool appending_message(struct appending *p);
/* p->result; the mailbox has all of them or none. */
bool appending_commit(struct appending *p);

/* "APPENDUID 1 2:3" */
struct str appending_code(const struct appending *p);

/* For catenate.c. */
bool appending_refuse(struct appending *p, struct imap_reply why);
bool appending_refuse_words(struct appending *p, const char *words);
/* So many octets more: may the message have them? */
bool appending_room(struct appending *p, uint64_t more);
void appending_put(struct appending *p, struct str octets);
/* The literal that is next, with what follows it. */
enum appending_form { LITERAL_WHOLE, LITERAL_TEXT, LITERAL_UTF8 };
bool appending_literal(struct appending *p, enum appending_form form);
/* "(~{n}...)", behind the word UTF8. */
bool appending_utf8(struct appending *p);

/* CATENATE's parts, from its parenthesis to the other. */
bool catenate_parts(struct appending *p);
void catenate_close(struct appending *p);

#endif
