/* SPDX-License-Identifier: ISC */
/*
 * Patterns against names, RFC 3501 6.3.8: every state of the pattern that the
 * name so far can be in, as a set of bits, 64 of which take a step at once.
 * State i is before octet i of the pattern; a wildcard stays where it is.
 */
#include "match.h"
#include "store/folders.h"

enum { WORDS = (MATCH_PATTERN_MOST + 64) / 64 };

struct states {
	size_t words, last;
	uint64_t at[WORDS];
	uint64_t stars[WORDS], wild[WORDS];
	/* of each octet, before which states it stands: words of them */
	uint64_t on[256 * WORDS];
};

/* Is name[at] part of a first level INBOX? */
static bool
is_inbox(struct str name, size_t at)
{
	struct str inbox = STR("INBOX");
	return at < inbox.n && str_starts(name, inbox) &&
	       (name.n == inbox.n || name.p[inbox.n] == FOLDERS_SEPARATOR);
}

static bool
is_wild(char c)
{
	return c == '*' || c == '%';
}

/* Wildcards in a row are one, a star if any of them is.  Returns how many
 * octets are left, more than there is room for: too many. */
static size_t
fold(struct str pattern, char out[MATCH_PATTERN_MOST + 1], size_t *plain)
{
	size_t n = 0;
	*plain = 0;
	for (size_t i = 0; i < pattern.n; i++) {
		char c = pattern.p[i];
		if (is_wild(c) && n > 0 && is_wild(out[n - 1])) {
			if (c == '*')
				out[n - 1] = c;
			continue;
		}
		if (n > MATCH_PATTERN_MOST)
			break;
		*plain += !is_wild(c);
		out[n++] = c;
	}
	return n;
}

static void
prepare(struct states *s, const char *pattern, size_t n)
{
	size_t words = n / 64 + 1;
	s->words = words;
	s->last = n;
	memset(s->at, 0, words * sizeof *s->at);
	memset(s->stars, 0, words * sizeof *s->stars);
	memset(s->wild, 0, words * sizeof *s->wild);
	memset(s->on, 0, 256 * words * sizeof *s->on);
	for (size_t i = 0; i < n; i++) {
		uint64_t bit = (uint64_t)1 << i % 64;
		if (is_wild(pattern[i]))
			s->wild[i / 64] |= bit;
		else
			s->on[(unsigned char)pattern[i] * words + i / 64] |= bit;
		if (pattern[i] == '*')
			s->stars[i / 64] |= bit;
	}
	/* a wildcard may stand for nothing: its state is the next one too */
	s->at[0] = 1 | (s->wild[0] & 1) << 1;
}

/* No wildcard follows another, so what enters one goes no further than the
 * next state. */
static void
step(struct states *s, const uint64_t *stays, const uint64_t *on,
	const uint64_t *or_on)
{
	uint64_t moved = 0, spread = 0;
	for (size_t i = 0; i < s->words; i++) {
		uint64_t goes = s->at[i] & (on[i] | or_on[i]);
		uint64_t next = (s->at[i] & stays[i]) | goes << 1 | moved;
		uint64_t wild = next & s->wild[i];
		s->at[i] = next | wild << 1 | spread;
		moved = goes >> 63;
		spread = wild >> 63;
	}
}

bool
match_name(struct str pattern, struct str name)
{
	struct states s;
	char folded[MATCH_PATTERN_MOST + 1];
	size_t plain, n = fold(pattern, folded, &plain);
	if (n > MATCH_PATTERN_MOST || plain > name.n)
		return false;
	prepare(&s, folded, n);
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i], other = is_inbox(name, i) ? char_lower(c) : c;
		step(&s, c == FOLDERS_SEPARATOR ? s.stars : s.wild,
			&s.on[(unsigned char)c * s.words],
			&s.on[(unsigned char)other * s.words]);
	}
	return (s.at[s.last / 64] >> s.last % 64 & 1) != 0;
}
