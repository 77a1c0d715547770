/* SPDX-License-Identifier: ISC */
/*
 * buf: bytes that grow.
 *
 * The storage is one malloc'ed block that goes with the arena the buffer was
 * made in; rewinding that arena past buf_new voids the buffer.  buf_str views
 * hold until the next append.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
	char *p;
	size_t n;
	size_t cap;
};

/* The struct and its bytes belong to the arena. */
struct buf *buf_new(struct arena *a);

void buf_add(struct buf *b, struct str s);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *cstr);
void buf_addn(struct buf *b, uint64_t number);
void buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Room for n more octets, to be written at the result; then buf_grew. */
char *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t n);

/* Drops the first n octets; empties, keeping the storage. */
void buf_drop(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* Gives an empty buffer's storage back when it is larger than this. */
void buf_shrink(struct buf *b, size_t most);

static inline struct str
buf_str(const struct buf *b)
{
	return (struct str){b->p, b->n};
}

#endif
