/* SPDX-License-Identifier: ISC */
/*
 * SORT's criteria as a table, and comparing by them; RFC 5256 3 (sort-key),
 * RFC 5957 3.  One n log n sort over entries whose first eight octets of the
 * first key stand in line.
 */
#include "sort.h"
#include "base/arena.h"

#include <stdlib.h>

enum kind { NUMBER, TEXT };

#define KEY(name, want, kind, member)                                          \
	{name, want, kind, offsetof(struct message_row, member)}

/* A message without a Date field has its arrival there (RFC 5256 2.2). */
static const struct {
	const char *name;
	unsigned want;
	enum kind kind;
	size_t offset;
} keys[SORT_KEYS] = {
	KEY("ARRIVAL", WANT_DATES, NUMBER, date),
	KEY("CC", WANT_SORT_CC, TEXT, sort_cc),
	KEY("DATE", WANT_SENT, NUMBER, sent),
	KEY("DISPLAYFROM", WANT_DISPLAY, TEXT, display_from),
	KEY("DISPLAYTO", WANT_DISPLAY, TEXT, display_to),
	KEY("FROM", WANT_SORT_FROM, TEXT, sort_from),
	KEY("SIZE", WANT_SIZES, NUMBER, size),
	KEY("SUBJECT", WANT_SORT_SUBJECT, TEXT, sort_subject),
	KEY("TO", WANT_SORT_TO, TEXT, sort_to),
};

/* A key that was there already decides nothing any more. */
static void
add_key(struct sort_order *o, size_t key, bool reverse)
{
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i].key == key)
			return;
	o->v[o->n].key = (unsigned char)key;
	o->v[o->n++].reverse = reverse;
	o->want |= keys[key].want;
}

bool
sort_parse(const struct arg *list, struct sort_order *o)
{
	const struct arg *word;
	*o = (struct sort_order){0};
	if (!arg_list(list, &word) || word == NULL)
		return false;
	for (; word != NULL; word = word->next) {
		bool reverse = arg_is(word, "REVERSE");
		size_t i = 0;
		if (reverse)
			word = word->next;
		while (i < SORT_KEYS && !arg_is(word, keys[i].name))
			i++;
		if (i == SORT_KEYS)
			return false;
		add_key(o, i, reverse);
	}
	return true;
}

/* --------------------------------------------------------------- entries */

static struct sort_value
value_of(struct sorting *q, const struct message_row *row, size_t key)
{
	const char *at = (const char *)row + keys[key].offset;
	struct sort_value v = {0};
	if (keys[key].kind == NUMBER)
		memcpy(&v.number, at, sizeof v.number);
	else
		v.text = str_copy(
			q->arena, *(const struct str *)(const void *)at);
	return v;
}

/* Unsigned, in the order of the values as far as it goes. */
static uint64_t
prefix_of(const struct sort_value *v, enum kind kind)
{
	uint64_t n = 0;
	if (kind == NUMBER)
		return (uint64_t)v->number ^ (uint64_t)1 << 63;
	for (size_t i = 0; i < sizeof n; i++)
		n = n << 8 | (i < v->text.n ? (unsigned char)v->text.p[i] : 0);
	return n;
}

void
sort_add(struct sorting *q, const struct message_row *row)
{
	if (q->n == q->room) {
		struct sort_entry *old = q->v;
		q->room = q->room * 2 + 64;
		q->v = arena_array(q->arena, q->room, sizeof *q->v);
		if (q->n > 0)
			memcpy(q->v, old, q->n * sizeof *old);
	}
	struct sort_value *values =
		arena_array(q->arena, q->order->n, sizeof *values);
	for (size_t i = 0; i < q->order->n; i++)
		values[i] = value_of(q, row, q->order->v[i].key);
	uint64_t prefix =
		prefix_of(&values[0], keys[q->order->v[0].key].kind);
	q->v[q->n++] = (struct sort_entry){
		.prefix = q->order->v[0].reverse ? ~prefix : prefix,
		.values = values,
		.modseq = row->modseq,
		.uid = row->uid,
	};
}

static int
compare_value(const struct sort_value *a, const struct sort_value *b)
{
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return str_cmp(a->text, b->text);
}

/* Equal in everything: by number (RFC 5256 3). */
static int
compare(const void *x, const void *y, void *ctx)
{
	const struct sort_entry *a = x, *b = y;
	const struct sort_order *o = ctx;
	if (a->prefix != b->prefix)
		return a->prefix < b->prefix ? -1 : 1;
	for (size_t i = 0; i < o->n; i++) {
		int d = compare_value(&a->values[i], &b->values[i]);
		if (d != 0)
			return o->v[i].reverse ? -d : d;
	}
	return a->uid < b->uid ? -1 : a->uid > b->uid;
}

void
sort_run(struct sorting *q)
{
	if (q->n > 0)
		qsort_r(q->v, q->n, sizeof *q->v, compare,
			(void *)(uintptr_t)q->order);
}
