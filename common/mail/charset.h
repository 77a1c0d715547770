/* SPDX-License-Identifier: ISC */
/*
 * charset: text in any charset iconv knows as UTF-8, and UTF-8 as search and
 * comparison need it.
 *
 * Reading mail must never fail: an unknown charset is taken for windows-1252
 * when it is not UTF-8 already, and what cannot be converted becomes U+FFFD.
 */
#ifndef MAIL_CHARSET_H
#define MAIL_CHARSET_H

#include "base/buf.h"
#include "base/str.h"

struct arena;

/* Appends text as valid UTF-8.  An empty charset means US-ASCII, in which
 * octets beyond it are guessed: UTF-8 if well formed. */
void charset_to_utf8(struct arena *a, struct str charset, struct str text,
	struct buf *out);

/*
 * The same for text that comes in pieces: a character cut in two by the end
 * of a piece waits for the next one, and a charset's shifts last from piece
 * to piece.  The stream belongs to the arena.
 */
struct charset_stream;
struct charset_stream *charset_open(struct arena *a, struct str charset);
void charset_feed(struct charset_stream *s, struct str piece, struct buf *out);
/* What still waits can no longer become a character: U+FFFD. */
void charset_end(struct charset_stream *s, struct buf *out);

/* Does iconv know it (or is it one of those known by heart)? */
bool charset_is_known(struct arena *a, struct str charset);

/* Well-formed UTF-8? */
bool charset_is_utf8(struct str text);

/*
 * Folded for search and sorting as i;unicode-casemap (RFC 5051) has it: each
 * character in titlecase, decomposed; any run of blanks and line ends as one
 * blank.  Folded texts compare octet by octet.  Appends.
 */
void charset_fold(struct buf *out, struct str utf8);

/* NFC; invalid input is returned as it is. */
struct str charset_nfc(struct arena *a, struct str utf8);

/* The first n octets (characters) at most, not cutting a character. */
struct str charset_head(struct str utf8, size_t n);
struct str charset_head_chars(struct str utf8, size_t n);

#endif
