/* SPDX-License-Identifier: ISC */
/*
 * SORT's criteria as a table, and comparing by them; RFC 5256 3 (sort-key),
 * RFC 5957 3.  By the first eight octets of the first key, which stand in line,
 * digit by digit; what is the same in those by comparing.
 */
#include "sort.h"
#include "base/buf.h"

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

/*
 * A record: the modseq, then each key's value, a number or the length of a text
 * with the text, filled up to eight octets.
 */
enum { UNIT = 8 };

static void
add_number(struct buf *b, uint64_t n)
{
	memcpy(buf_room(b, sizeof n), &n, sizeof n);
	buf_grew(b, sizeof n);
}

static void
add_text(struct buf *b, struct str s)
{
	size_t padded = (s.n + UNIT - 1) / UNIT * UNIT;
	add_number(b, s.n);
	char *to = buf_room(b, padded);
	if (s.n > 0)
		memcpy(to, s.p, s.n);
	buf_grew(b, padded);
}

static uint64_t
take_number(const char **at)
{
	uint64_t n;
	memcpy(&n, *at, sizeof n);
	*at += sizeof n;
	return n;
}

static struct str
take_text(const char **at)
{
	size_t n = (size_t)take_number(at);
	struct str s = str_of(*at, n);
	*at += (s.n + UNIT - 1) / UNIT * UNIT;
	return s;
}

static uint64_t
number_of(const void *member)
{
	uint64_t n;
	memcpy(&n, member, sizeof n);
	return n;
}

static struct str
text_of(const void *member)
{
	struct str s;
	memcpy(&s, member, sizeof s);
	return s;
}

/* In the order of signed numbers. */
static uint64_t
bias(uint64_t n)
{
	return n ^ (uint64_t)1 << 63;
}

/* The first octets, as a number. */
static uint64_t
head_of(struct str s)
{
	uint64_t n = 0;
	for (size_t i = 0; i < sizeof n; i++)
		n = n << 8 | (i < s.n ? (unsigned char)s.p[i] : 0);
	return n;
}

static uint64_t
prefix_of(const struct sort_order *o, const struct message_row *row)
{
	const char *at = (const char *)row + keys[o->v[0].key].offset;
	uint64_t prefix = keys[o->v[0].key].kind == NUMBER
		? bias(number_of(at)) : head_of(text_of(at));
	return o->v[0].reverse ? ~prefix : prefix;
}

/* What is reserved and not used is never touched. */
void
sort_begin(struct sorting *q, struct arena *a, const struct sort_order *order,
	size_t count)
{
	enum { USUAL_RECORD = 64 };
	*q = (struct sorting){.order = order, .entries = buf_new(a),
		.records = buf_new(a)};
	buf_room(q->entries, 2 * count * sizeof(struct sort_entry));
	buf_room(q->records, count * USUAL_RECORD);
}

void
sort_add(struct sorting *q, const struct message_row *row)
{
	const struct sort_order *o = q->order;
	struct sort_entry e = {.uid = row->uid, .prefix = prefix_of(o, row),
		.at = (uint32_t)(q->records->n / UNIT)};
	memcpy(buf_room(q->entries, sizeof e), &e, sizeof e);
	buf_grew(q->entries, sizeof e);
	q->n++;
	add_number(q->records, row->modseq);
	for (size_t i = 0; i < o->n; i++) {
		const char *at = (const char *)row + keys[o->v[i].key].offset;
		if (keys[o->v[i].key].kind == NUMBER)
			add_number(q->records, number_of(at));
		else
			add_text(q->records, text_of(at));
	}
}

static const char *
record(const struct sorting *q, const struct sort_entry *e)
{
	return q->records->p + (size_t)e->at * UNIT;
}

uint64_t
sort_modseq(const struct sorting *q, const struct sort_entry *e)
{
	const char *at = record(q, e);
	return take_number(&at);
}

static int
compare_value(enum kind kind, const char **a, const char **b)
{
	if (kind == TEXT) {
		struct str x = take_text(a), y = take_text(b);
		return str_cmp(x, y);
	}
	uint64_t x = bias(take_number(a)), y = bias(take_number(b));
	return x < y ? -1 : x > y;
}

/* Equal in everything: by number (RFC 5256 3). */
static int
compare(const void *x, const void *y, void *ctx)
{
	const struct sort_entry *a = x, *b = y;
	const struct sorting *q = ctx;
	const struct sort_order *o = q->order;
	const char *p = record(q, a) + UNIT, *r = record(q, b) + UNIT;
	for (size_t i = 0; i < o->n; i++) {
		int d = compare_value(keys[o->v[i].key].kind, &p, &r);
		if (d != 0)
			return o->v[i].reverse ? -d : d;
	}
	return a->uid < b->uid ? -1 : a->uid > b->uid;
}

/* --------------------------------------------------------------- sorting */

enum { DIGITS = 256, DIGIT_BITS = 8 };

/* Stable, so from the lowest digit to the highest. */
static void
sort_by_digit(const struct sort_entry *from, struct sort_entry *to, size_t n,
	unsigned shift)
{
	size_t at[DIGITS] = {0}, sum = 0;
	for (size_t i = 0; i < n; i++)
		at[from[i].prefix >> shift & (DIGITS - 1)]++;
	for (size_t i = 0; i < DIGITS; i++) {
		size_t count = at[i];
		at[i] = sum;
		sum += count;
	}
	for (size_t i = 0; i < n; i++)
		to[at[from[i].prefix >> shift & (DIGITS - 1)]++] = from[i];
}

/* Between the two halves of the buffer. */
static struct sort_entry *
sort_by_prefix(struct sorting *q)
{
	uint64_t differ = 0;
	buf_room(q->entries, q->entries->n);
	struct sort_entry *v = (void *)q->entries->p, *other = v + q->n;
	for (size_t i = 1; i < q->n; i++)
		differ |= v[i].prefix ^ v[0].prefix;
	for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
		if ((differ >> shift & (DIGITS - 1)) == 0)
			continue;
		sort_by_digit(v, other, q->n, shift);
		struct sort_entry *sorted = other;
		other = v;
		v = sorted;
	}
	return v;
}

const struct sort_entry *
sort_run(struct sorting *q)
{
	struct sort_entry *v = sort_by_prefix(q);
	for (size_t i = 0, end; i < q->n; i = end) {
		for (end = i + 1; end < q->n &&
			v[end].prefix == v[i].prefix;)
			end++;
		if (end - i > 1)
			qsort_r(&v[i], end - i, sizeof *v, compare, q);
	}
	return v;
}
