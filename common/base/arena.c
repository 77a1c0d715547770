/* SPDX-License-Identifier: ISC */
/*
 * Blocks from malloc in a chain, filled from the front.  Blocks double up to
 * a quarter MiB so that a session costs one page and a large message few
 * calls; a rewind keeps the first block and one of those after it, the usual
 * transaction never sees malloc again.
 */
#include "base/arena.h"
#include "base/log.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
	FIRST_BLOCK = 2048,
	LARGEST_BLOCK = 256 * 1024,
	LARGEST_SPARE = 32 * 1024, /* what an idle session may keep */
	DEFAULT_LIMIT = 64 * 1024 * 1024,
};

struct block {
	struct block *prev;
	size_t size;
	size_t used;
	max_align_t data[];
};

struct hook {
	struct hook *prev;
	void (*fn)(void *);
	void *ctx;
};

struct arena {
	const char *name;
	struct block *top;
	struct block *spare; /* the last one given back, or NULL */
	struct hook *hooks;
	size_t total;
	size_t limit;
};

static struct block *
block_new(size_t size, struct block *prev)
{
	struct block *b = malloc(sizeof *b + size);
	if (b == NULL)
		fatal("out of memory", 0);
	b->prev = prev;
	b->size = size;
	b->used = 0;
	ASAN_POISON_MEMORY_REGION(b->data, size);
	return b;
}

struct arena *
arena_new(const char *name)
{
	struct arena *a = calloc(1, sizeof *a);
	if (a == NULL)
		fatal("out of memory", 0);
	a->name = name;
	a->limit = DEFAULT_LIMIT;
	a->top = block_new(FIRST_BLOCK, NULL);
	return a;
}

void
arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	arena_rewind(a, (struct arena_mark){0});
	free(a->spare);
	free(a->top);
	free(a);
}

static size_t
next_block_size(const struct arena *a, size_t need)
{
	size_t size = a->top->size * 2;
	if (size > LARGEST_BLOCK)
		size = LARGEST_BLOCK;
	return size > need ? size : need;
}

static void
grow(struct arena *a, size_t need)
{
	struct block *b = a->spare;
	if (b == NULL || b->size < need) {
		a->top = block_new(next_block_size(a, need), a->top);
		return;
	}
	a->spare = NULL;
	b->prev = a->top;
	b->used = 0;
	a->top = b;
}

/* Not zeroed. */
static char *
take(struct arena *a, size_t n)
{
	if (n > a->limit || a->total + n > a->limit)
		fatal(a->name, "memory limit of this arena reached");
	size_t step = (n + _Alignof(max_align_t) - 1) &
		~(_Alignof(max_align_t) - 1);
	if (step == 0)
		step = _Alignof(max_align_t);
	if (a->top->size - a->top->used < step)
		grow(a, step);
	char *p = (char *)a->top->data + a->top->used;
	a->top->used += step;
	a->total += n;
	ASAN_UNPOISON_MEMORY_REGION(p, n == 0 ? 1 : n);
	return p;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	return memset(take(a, n), 0, n);
}

void *
arena_array(struct arena *a, size_t count, size_t size)
{
	size_t n;
	if (__builtin_mul_overflow(count, size, &n))
		fatal(a->name, "array too large");
	return arena_alloc(a, n);
}

void *
arena_copy(struct arena *a, const void *p, size_t n)
{
	void *copy = take(a, n);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

size_t
arena_used(const struct arena *a)
{
	return a->total;
}

void
arena_limit(struct arena *a, size_t bytes)
{
	a->limit = bytes;
}

struct arena_mark
arena_mark(struct arena *a)
{
	return (struct arena_mark){
		.block = a->top,
		.used = a->top->used,
		.total = a->total,
		.hook = a->hooks,
	};
}

/* One is kept for the next time, the larger one. */
static void
give_back(struct arena *a, struct block *b)
{
	if (b->size > LARGEST_SPARE ||
		(a->spare != NULL && a->spare->size >= b->size)) {
		free(b);
		return;
	}
	free(a->spare);
	a->spare = b;
	ASAN_POISON_MEMORY_REGION(b->data, b->size);
}

void
arena_rewind(struct arena *a, struct arena_mark m)
{
	while (a->hooks != m.hook) {
		struct hook *h = a->hooks;
		a->hooks = h->prev;
		h->fn(h->ctx);
	}
	while (a->top != m.block && a->top->prev != NULL) {
		struct block *b = a->top;
		a->top = b->prev;
		give_back(a, b);
	}
	a->top->used = m.used;
	a->total = m.total;
	ASAN_POISON_MEMORY_REGION(
		(char *)a->top->data + m.used, a->top->size - m.used);
}

void
arena_hook(struct arena *a, void (*fn)(void *), void *ctx)
{
	struct hook *h = arena_one(a, struct hook);
	h->prev = a->hooks;
	h->fn = fn;
	h->ctx = ctx;
	a->hooks = h;
}

static void
close_fd(void *ctx)
{
	close((int)(intptr_t)ctx);
}

int
arena_own_fd(struct arena *a, int fd)
{
	arena_hook(a, close_fd, (void *)(intptr_t)fd);
	return fd;
}
