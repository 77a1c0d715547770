/* SPDX-License-Identifier: ISC */
/*
 * Open addressing with linear probing and tombstones, at most two thirds
 * full.  SipHash as by Aumasson and Bernstein, 2012.
 */
#include "base/map.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/random.h>

struct slot {
	char *key;
	size_t n;
	uint64_t hash;
	void *value;
};

struct map {
	struct slot *slots;
	size_t cap;
	size_t used;
	size_t count;
};

static char tombstone[1];

static uint64_t
rotl(uint64_t x, int by)
{
	return (x << by) | (x >> (64 - by));
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static const uint64_t *
random_key(void)
{
	static uint64_t key[2];
	static bool have;
	if (!have) {
		if (getrandom(key, sizeof key, 0) != sizeof key)
			fatal("getrandom", "no random key for hash tables");
		have = true;
	}
	return key;
}

uint64_t
map_hash(struct str s)
{
	const uint64_t *k = random_key();
	uint64_t v[4] = {
		k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
		k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573};
	for (size_t i = 0;; i += 8) {
		uint64_t word = 0;
		size_t left = s.n - i;
		if (left > 0)
			memcpy(&word, s.p + i, left < 8 ? left : 8);
		if (left < 8)
			word |= (uint64_t)(s.n & 0xff) << 56;
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static void
release(void *ctx)
{
	struct map *m = ctx;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].key != tombstone)
			free(m->slots[i].key);
	free(m->slots);
}

struct map *
map_new(struct arena *a)
{
	struct map *m = arena_one(a, struct map);
	arena_hook(a, release, m);
	return m;
}

/* The slot of the key, or the free slot where it would go. */
static struct slot *
find(const struct map *m, struct str key, uint64_t hash)
{
	struct slot *free_slot = NULL;
	for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		struct slot *s = &m->slots[i];
		if (s->key == NULL)
			return free_slot != NULL ? free_slot : s;
		if (s->key == tombstone) {
			if (free_slot == NULL)
				free_slot = s;
		} else if (s->hash == hash &&
			str_eq(str_of(s->key, s->n), key)) {
			return s;
		}
	}
}

static bool
is_live(const struct slot *s)
{
	return s->key != NULL && s->key != tombstone;
}

static void
grow(struct map *m)
{
	struct map bigger = {.cap = 16};
	while (bigger.cap < (m->count + 1) * 2)
		bigger.cap *= 2;
	bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
	if (bigger.slots == NULL)
		fatal("out of memory", 0);
	for (size_t i = 0; i < m->cap; i++) {
		struct slot *s = &m->slots[i];
		if (!is_live(s))
			continue;
		*find(&bigger, str_of(s->key, s->n), s->hash) = *s;
		bigger.count++;
	}
	bigger.used = bigger.count;
	free(m->slots);
	*m = bigger;
}

void *
map_get(const struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	struct slot *s = find(m, key, map_hash(key));
	return is_live(s) ? s->value : NULL;
}

void
map_set(struct map *m, struct str key, void *value)
{
	uint64_t hash = map_hash(key);
	if ((m->used + 1) * 3 > m->cap * 2)
		grow(m);
	struct slot *s = find(m, key, hash);
	if (!is_live(s)) {
		if (s->key == NULL)
			m->used++;
		s->key = malloc(key.n + 1);
		if (s->key == NULL)
			fatal("out of memory", 0);
		if (key.n > 0)
			memcpy(s->key, key.p, key.n);
		s->n = key.n;
		s->hash = hash;
		m->count++;
	}
	s->value = value;
}

void *
map_remove(struct map *m, struct str key)
{
	if (m->count == 0)
		return NULL;
	struct slot *s = find(m, key, map_hash(key));
	if (!is_live(s))
		return NULL;
	void *value = s->value;
	free(s->key);
	*s = (struct slot){.key = tombstone};
	m->count--;
	return value;
}

size_t
map_count(const struct map *m)
{
	return m->count;
}

bool
map_next(const struct map *m, size_t *cursor, struct str *key, void **value)
{
	while (*cursor < m->cap) {
		struct slot *s = &m->slots[(*cursor)++];
		if (!is_live(s))
			continue;
		*key = str_of(s->key, s->n);
		*value = s->value;
		return true;
	}
	return false;
}
