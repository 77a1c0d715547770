/* SPDX-License-Identifier: ISC */
/*
 * Sets of numbers, RFC 3501 9 (sequence-set, seq-range, seq-number).  Which
 * messages the numbers stand for is the business of view.c.
 */
#include "seqset.h"
#include "base/arena.h"
#include "base/buf.h"

#include <stdlib.h>

enum { FIRST_ROOM = 8 };

struct seqset
seqset_new(struct arena *a)
{
	return (struct seqset){.arena = a};
}

static void
append(struct seqset *set, struct seqset_range r)
{
	if (set->n == set->room) {
		size_t room = set->room == 0 ? FIRST_ROOM : set->room * 2;
		struct seqset_range *v =
			arena_array(set->arena, room, sizeof *v);
		if (set->n > 0)
			memcpy(v, set->v, set->n * sizeof *v);
		set->v = v;
		set->room = room;
	}
	set->v[set->n++] = r;
}

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
parse_range(struct str text, struct seqset_range *r)
{
	size_t colon = str_find(text, ':');
	if (!parse_number(str_head(text, colon), &r->first))
		return false;
	r->last = r->first;
	return colon == text.n ||
	       parse_number(str_skip(text, colon + 1), &r->last);
}

bool
seqset_parse(struct arena *a, struct str text, struct seqset *set)
{
	struct str piece;
	*set = seqset_new(a);
	while (str_cut(&text, ',', &piece)) {
		struct seqset_range r;
		if (!parse_range(piece, &r))
			return false;
		append(set, r);
	}
	return set->n > 0;
}

static int
by_first(const void *a, const void *b)
{
	const struct seqset_range *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

static bool
touches(const struct seqset_range *before, uint32_t first)
{
	return before->last == UINT32_MAX || first <= before->last + 1;
}

/* n:m means the same as m:n (RFC 3501 9). */
static bool
resolve_range(struct seqset_range *r, uint32_t largest)
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
seqset_resolve(struct seqset *set, uint32_t largest)
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
		struct seqset_range *r = &set->v[kept];
		if (!touches(r, set->v[i].first))
			set->v[++kept] = set->v[i];
		else if (set->v[i].last > r->last)
			r->last = set->v[i].last;
	}
	set->n = kept + 1;
}

uint32_t
seqset_last(const struct seqset *set)
{
	return set->n == 0 ? 0 : set->v[set->n - 1].last;
}

/* Index of the first range that ends at or after the number. */
static size_t
locate(const struct seqset *set, uint32_t number)
{
	size_t low = 0, high = set->n;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (set->v[middle].last < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
seqset_has(const struct seqset *set, uint32_t number)
{
	size_t at = locate(set, number);
	return at < set->n && set->v[at].first <= number;
}

uint64_t
seqset_count(const struct seqset *set)
{
	uint64_t n = 0;
	for (size_t i = 0; i < set->n; i++)
		n += (uint64_t)set->v[i].last - set->v[i].first + 1;
	return n;
}

void
seqset_add_range(struct seqset *set, uint32_t first, uint32_t last)
{
	struct seqset_range *r = set->n == 0 ? NULL : &set->v[set->n - 1];
	if (r != NULL && r->last != UINT32_MAX && first == r->last + 1)
		r->last = last;
	else
		append(set, (struct seqset_range){first, last});
}

void
seqset_add(struct seqset *set, uint32_t number)
{
	seqset_add_range(set, number, number);
}

void
seqset_print(const struct seqset *set, struct buf *out)
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
seqset_next(const struct seqset *set, struct seqset_cursor *c, uint32_t *number)
{
	if (c->at >= set->n)
		return false;
	const struct seqset_range *r = &set->v[c->at];
	*number = c->next > r->first ? c->next : r->first;
	c->next = *number + 1;
	if (*number == r->last)
		*c = (struct seqset_cursor){c->at + 1, 0};
	return true;
}
