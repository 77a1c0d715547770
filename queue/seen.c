/* SPDX-License-Identifier: ISC */
/*
 * Where a message goes already.  A message may have a hundred thousand
 * recipients, and many such messages may be in memory: eight octets each, and
 * the hash is keyed, so that no stranger can choose two that look alike.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdlib.h>

enum { FIRST = 16 };

struct seen {
	uint64_t *hashes; /* 0: free */
	size_t cap, count;
};

static void
release(void *ctx)
{
	free(((struct seen *)ctx)->hashes);
}

struct seen *
seen_new(struct arena *a)
{
	struct seen *s = arena_one(a, struct seen);
	arena_hook(a, release, s);
	return s;
}

static bool
put(struct seen *s, uint64_t hash)
{
	size_t at = hash & (s->cap - 1);
	for (; s->hashes[at] != 0; at = (at + 1) & (s->cap - 1))
		if (s->hashes[at] == hash)
			return false;
	s->hashes[at] = hash;
	s->count++;
	return true;
}

static void
grow(struct seen *s)
{
	struct seen bigger = {.cap = s->cap == 0 ? FIRST : s->cap * 2};
	bigger.hashes = calloc(bigger.cap, sizeof *bigger.hashes);
	if (bigger.hashes == NULL)
		fatal("out of memory", 0);
	for (size_t i = 0; i < s->cap; i++)
		if (s->hashes[i] != 0)
			put(&bigger, s->hashes[i]);
	free(s->hashes);
	*s = bigger;
}

bool
seen_add(struct seen *s, struct str text)
{
	uint64_t hash = map_hash(text);
	if ((s->count + 1) * 3 > s->cap * 2)
		grow(s);
	return put(s, hash == 0 ? 1 : hash);
}
