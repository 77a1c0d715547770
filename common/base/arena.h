/* SPDX-License-Identifier: ISC */
/*
 * arena: memory with one lifetime.
 *
 * What is allocated here is never released by itself; it goes when the arena
 * is rewound to a mark or freed.  A process keeps three: one for itself, one
 * for its session, one for the transaction in hand.
 *
 * What always holds:
 *  - memory comes zeroed and aligned for any type;
 *  - allocation never returns NULL.  Out of memory, and an arena grown past
 *    its limit, end the process (which is one session) by fatal();
 *  - clean-up hooks run last-registered-first, before the memory they may
 *    point into goes away.  Descriptors ride on hooks (arena_own_fd).
 *
 * A function that allocates takes the arena as its first argument, so that
 * the lifetime of its result is visible at the call.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

/* A point to go back to.  Marks nest; an outer rewind voids inner marks. */
struct arena_mark {
	void *block;
	size_t used;
	size_t total;
	void *hook;
};

/* A new, empty arena; name is for error messages and is not copied. */
struct arena *arena_new(const char *name);

/* Runs every hook, releases everything, the arena included.  NULL is fine. */
void arena_free(struct arena *a);

/* n bytes, zeroed.  n may be 0 (a valid pointer that must not be read). */
void *arena_alloc(struct arena *a, size_t n);

/* count * size bytes, zeroed; an overflowing product is fatal. */
void *arena_array(struct arena *a, size_t count, size_t size);

/* A copy of n bytes at p. */
void *arena_copy(struct arena *a, const void *p, size_t n);

/* Bytes asked for since the start, after rewinds. */
size_t arena_used(const struct arena *a);

/* Past this many bytes the process ends; the default is 64 MiB. */
void arena_limit(struct arena *a, size_t bytes);

struct arena_mark arena_mark(struct arena *a);
void arena_rewind(struct arena *a, struct arena_mark m);

/* fn(ctx) runs when the arena is rewound past this point or freed. */
void arena_hook(struct arena *a, void (*fn)(void *), void *ctx);

/* Closes fd with the arena; returns fd. */
int arena_own_fd(struct arena *a, int fd);

/* One zeroed object of a type. */
#define arena_one(a, type) ((type *)arena_alloc((a), sizeof(type)))

#endif
