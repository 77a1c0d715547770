/* SPDX-License-Identifier: ISC */
/*
 * Sets of numbers on the wire, RFC 3501 9 (sequence-set, seq-range,
 * seq-number).  Which messages the numbers stand for is the business of
 * store/mailbox.
 */
#include "seqset.h"
#include "base/arena.h"
#include "base/buf.h"

#include <stdlib.h>

/* seq-number = nz-number / "*" */
static bool
parse_number(struct str text, uint32_t *number)
{
	uint64_t n;
	if (str_eq(text, STR("*"))) {
		*number = SEQSET_LAST;
		return true;
	}
	if (!str_number(text, UINT32_MAX, &n) || n == 0)
		return false;
	*number = (uint32_t)n;
	return true;
}

static bool
parse_range(struct str text, struct uid_range *r)
{
	size_t colon = str_find(text, ':');
	if (!parse_number(str_head(text, colon), &r->first))
		return false;
	r->last = r->first;
	return colon == text.n ||
	       parse_number(str_skip(text, colon + 1), &r->last);
}

static size_t
count_ranges(struct str text)
{
	size_t n = 1;
	for (size_t i = 0; i < text.n; i++)
		n += text.p[i] == ',';
	return n;
}

bool
seqset_parse(struct arena *a, struct str text, struct uid_set *set)
{
	struct str piece;
	set->v = arena_array(a, count_ranges(text), sizeof *set->v);
	set->n = 0;
	while (str_cut(&text, ',', &piece))
		if (!parse_range(piece, &set->v[set->n++]))
			return false;
	return set->n > 0;
}

bool
seqset_parse_known(struct arena *a, struct str text, struct uid_set *set)
{
	if (!seqset_parse(a, text, set))
		return false;
	for (size_t i = 0; i < set->n; i++)
		if (set->v[i].first == SEQSET_LAST ||
			set->v[i].last == SEQSET_LAST)
			return false;
	seqset_resolve(set, UINT32_MAX);
	return true;
}

static int
by_first(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

static bool
touches(const struct uid_range *before, uint32_t first)
{
	return before->last == UINT32_MAX || first <= before->last + 1;
}

/* n:m means the same as m:n (RFC 3501 9). */
static bool
resolve_range(struct uid_range *r, uint32_t largest)
{
	uint32_t first = r->first == SEQSET_LAST ? largest : r->first;
	uint32_t last = r->last == SEQSET_LAST ? largest : r->last;
	if (first == 0 || last == 0)
		return false;
	r->first = first < last ? first : last;
	r->last = first < last ? last : first;
	return true;
}

void
seqset_resolve(struct uid_set *set, uint32_t largest)
{
	size_t n = 0, kept = 0;
	for (size_t i = 0; i < set->n; i++)
		if (resolve_range(&set->v[i], largest))
			set->v[n++] = set->v[i];
	set->n = n;
	if (n == 0)
		return;
	qsort(set->v, n, sizeof *set->v, by_first);
	for (size_t i = 1; i < n; i++) {
		struct uid_range *r = &set->v[kept];
		if (!touches(r, set->v[i].first))
			set->v[++kept] = set->v[i];
		else if (set->v[i].last > r->last)
			r->last = set->v[i].last;
	}
	set->n = kept + 1;
}

void
seqset_limit(struct uid_set *set, uint32_t most)
{
	while (set->n > 0 && set->v[set->n - 1].first > most)
		set->n--;
	if (set->n > 0 && set->v[set->n - 1].last > most)
		set->v[set->n - 1].last = most;
}

uint32_t
seqset_last(const struct uid_set *set)
{
	return set->n == 0 ? 0 : set->v[set->n - 1].last;
}

void
seqset_print(const struct uid_set *set, struct buf *out)
{
	for (size_t i = 0; i < set->n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		buf_addn(out, set->v[i].first);
		if (set->v[i].last == set->v[i].first)
			continue;
		buf_addc(out, ':');
		buf_addn(out, set->v[i].last);
	}
}

bool
seqset_next(
	const struct uid_set *set, struct seqset_cursor *c, uint32_t *number)
{
	if (c->at >= set->n)
		return false;
	const struct uid_range *r = &set->v[c->at];
	*number = c->next > r->first ? c->next : r->first;
	c->next = *number + 1;
	if (*number == r->last)
		*c = (struct seqset_cursor){c->at + 1, 0};
	return true;
}
