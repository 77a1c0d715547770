/* SPDX-License-Identifier: ISC */
/*
 * Patterns against names, RFC 3501 6.3.8: every state of the pattern that the
 * name so far can be in, as a set, so that no pattern costs more than its
 * length for each octet of the name.
 */
#include "match.h"
#include "store/folders.h"

/* Is name[at] part of a first level INBOX? */
static bool
is_inbox(struct str name, size_t at)
{
	struct str inbox = STR("INBOX");
	return at < inbox.n && str_starts(name, inbox) &&
	       (name.n == inbox.n || name.p[inbox.n] == FOLDERS_SEPARATOR);
}

static bool
is_same(char p, struct str name, size_t at)
{
	char c = name.p[at];
	return p == c || (is_inbox(name, at) && char_lower(p) == char_lower(c));
}

/* A wildcard may stand for nothing: its state is the next one too. */
static void
spread(struct str pattern, bool *at)
{
	for (size_t i = 0; i < pattern.n; i++)
		if (at[i] && (pattern.p[i] == '*' || pattern.p[i] == '%'))
			at[i + 1] = true;
}

bool
match_name(struct str pattern, struct str name)
{
	bool at[MATCH_PATTERN_MOST + 1] = {true};
	if (pattern.n > MATCH_PATTERN_MOST)
		return false;
	spread(pattern, at);
	for (size_t n = 0; n < name.n; n++) {
		/* from the end, so that at[i] is of the octet before */
		for (size_t i = pattern.n + 1; i-- > 0;) {
			char p = i < pattern.n ? pattern.p[i] : '\0';
			bool stays = p == '*' ||
				     (p == '%' &&
					     name.p[n] != FOLDERS_SEPARATOR);
			bool comes = i > 0 && at[i - 1] &&
				     pattern.p[i - 1] != '*' &&
				     pattern.p[i - 1] != '%' &&
				     is_same(pattern.p[i - 1], name, n);
			at[i] = (at[i] && stays) || comes;
		}
		spread(pattern, at);
	}
	return at[pattern.n];
}
