/* SPDX-License-Identifier: ISC */
/* Growing bytes: doubling, so that n appends cost O(n). */
#include "base/buf.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { SMALLEST = 256, USUAL_LINE = 128 };

static void
release(void *ctx)
{
	struct buf *b = ctx;
	free(b->p);
}

struct buf *
buf_new(struct arena *a)
{
	struct buf *b = arena_one(a, struct buf);
	arena_hook(a, release, b);
	return b;
}

char *
buf_room(struct buf *b, size_t n)
{
	size_t need;
	if (__builtin_add_overflow(b->n, n, &need))
		fatal("buffer", "too large");
	if (need > b->cap || b->p == NULL) {
		size_t cap = b->cap < SMALLEST ? SMALLEST : b->cap * 2;
		if (cap < need)
			cap = need;
		char *p = realloc(b->p, cap);
		if (p == NULL)
			fatal("out of memory", 0);
		b->p = p;
		b->cap = cap;
	}
	return b->p + b->n;
}

void
buf_grew(struct buf *b, size_t n)
{
	b->n += n;
}

void
buf_add(struct buf *b, struct str s)
{
	if (s.n == 0)
		return;
	memcpy(buf_room(b, s.n), s.p, s.n);
	b->n += s.n;
}

void
buf_addc(struct buf *b, char c)
{
	*buf_room(b, 1) = c;
	b->n++;
}

void
buf_adds(struct buf *b, const char *cstr)
{
	buf_add(b, str_from(cstr));
}

void
buf_addn(struct buf *b, uint64_t number)
{
	char digits[STR_DIGITS];
	buf_add(b, str_digits(digits, number));
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t room = USUAL_LINE;
	for (;;) {
		char *to = buf_room(b, room);
		va_start(ap, fmt);
		int n = vsnprintf(to, room, fmt, ap);
		va_end(ap);
		if (n < 0)
			fatal("buf_printf", fmt);
		if ((size_t)n < room) {
			b->n += (size_t)n;
			return;
		}
		room = (size_t)n + 1;
	}
}

void
buf_drop(struct buf *b, size_t n)
{
	if (n >= b->n) {
		b->n = 0;
		return;
	}
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
}

void
buf_shrink(struct buf *b, size_t most)
{
	if (b->n > 0 || b->cap <= most)
		return;
	free(b->p);
	*b = (struct buf){0};
}
