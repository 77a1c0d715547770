/* SPDX-License-Identifier: ISC */
/*
 * map: text key to pointer, hashed with SipHash under a random key, so that
 * strangers who choose the keys cannot make it slow.
 *
 * Keys are copied; values are the caller's.  The table is malloc'ed and goes
 * with the arena it was made in; keys of removed entries are released.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/str.h"

struct map;

struct map *map_new(struct arena *a);

/* The value, or NULL. */
void *map_get(const struct map *m, struct str key);

/* Sets or replaces; value must not be NULL. */
void map_set(struct map *m, struct str key, void *value);

/* Removes and returns the value, or NULL when there was none. */
void *map_remove(struct map *m, struct str key);

size_t map_count(const struct map *m);

/* Every pair, in no order; the body may map_remove the current key only. */
bool map_next(const struct map *m, size_t *cursor, struct str *key,
	void **value);

/* SipHash-2-4 of s under this process's random key. */
uint64_t map_hash(struct str s);

#endif
