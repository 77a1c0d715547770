/* SPDX-License-Identifier: ISC */
/* RETURN options and what they take of an order; RFC 4731, RFC 5182, RFC 5267 3,
 * RFC 9394. */
#include "result.h"
#include "seqset.h"
#include "base/arena.h"

/* --------------------------------------------------------------- options */

/* nz-number ":" nz-number, in any order; behind a minus each, counted from
 * the end. */
bool
partial_parse(const struct arg *arg, struct partial *p)
{
	struct str rest, part[2];
	uint64_t n[2];
	if (!arg_atom(arg, &rest))
		return false;
	*p = (struct partial){.text = rest, .from_end = str_starts(rest,
						     STR("-"))};
	if (!str_cut(&rest, ':', &part[0]))
		return false;
	part[1] = rest;
	for (int i = 0; i < 2; i++) {
		if (p->from_end != str_starts(part[i], STR("-")))
			return false;
		part[i] = str_skip(part[i], p->from_end);
		if (!str_number(part[i], UINT32_MAX, &n[i]) || n[i] == 0)
			return false;
	}
	p->first = (uint32_t)(n[0] < n[1] ? n[0] : n[1]);
	p->last = (uint32_t)(n[0] < n[1] ? n[1] : n[0]);
	return true;
}

static bool
take_option(struct result_options *o, const struct arg **word)
{
	static const struct {
		const char *name;
		unsigned item;
	} options[] = {
		{"MIN", RESULT_MIN},
		{"MAX", RESULT_MAX},
		{"ALL", RESULT_ALL},
		{"COUNT", RESULT_COUNT},
		{"PARTIAL", RESULT_PARTIAL},
		{"SAVE", RESULT_SAVE},
	};
	size_t i = 0;
	while (i < sizeof options / sizeof *options &&
		!arg_is(*word, options[i].name))
		i++;
	if (i == sizeof options / sizeof *options)
		return false;
	bool again = (o->items & options[i].item) != 0;
	o->items |= options[i].item;
	if (options[i].item != RESULT_PARTIAL)
		return true;
	*word = (*word)->next;
	return !again && partial_parse(*word, &o->partial);
}

/* RFC 9394 3.1: not both PARTIAL and ALL. */
bool
result_parse(const struct arg **args, struct result_options *o)
{
	const unsigned both = RESULT_PARTIAL | RESULT_ALL;
	const struct arg *word;
	*o = (struct result_options){0};
	if (!arg_is(*args, "RETURN"))
		return true;
	if (!arg_list((*args)->next, &word))
		return false;
	*args = (*args)->next->next;
	o->extended = true;
	if (word == NULL)
		o->items = RESULT_ALL;
	for (; word != NULL; word = word->next)
		if (!take_option(o, &word))
			return false;
	return (o->items & both) != both;
}

/* ----------------------------------------------------------------- order */

static void
add_run(struct arena *a, struct uid_set *order, struct uid_range run)
{
	/* grows at powers of two */
	if ((order->n & (order->n - 1)) == 0) {
		struct uid_range *v =
			arena_array(a, order->n * 2 + 1, sizeof *v);
		if (order->n > 0)
			memcpy(v, order->v, order->n * sizeof *v);
		order->v = v;
	}
	order->v[order->n++] = run;
}

void
result_add(struct arena *a, struct result *r, uint32_t uid, uint64_t modseq)
{
	struct uid_set *order = &r->order;
	if (order->n == 0)
		r->first_modseq = modseq;
	r->last_modseq = modseq;
	if (modseq > r->modseq)
		r->modseq = modseq;
	if (order->n > 0 && order->v[order->n - 1].last + 1 == uid)
		order->v[order->n - 1].last = uid;
	else
		add_run(a, order, (struct uid_range){uid, uid});
}

/* Positions from first to last, counted from 1. */
static struct uid_set
slice(struct arena *a, const struct uid_set *order, uint64_t first,
	uint64_t last)
{
	struct uid_set out = {0};
	uint64_t before = 0;
	for (size_t i = 0; i < order->n && before < last; i++) {
		struct uid_range r = order->v[i];
		uint64_t n = (uint64_t)r.last - r.first + 1;
		uint64_t from = first > before + 1 ? first - before - 1 : 0;
		uint64_t to = last < before + n ? last - before : n;
		if (from < to)
			add_run(a, &out,
				(struct uid_range){r.first + (uint32_t)from,
					r.first + (uint32_t)(to - 1)});
		before += n;
	}
	return out;
}

struct uid_set
partial_pick(struct arena *a, const struct uid_set *order,
	const struct partial *p)
{
	uint64_t count = uid_set_count(order);
	if (!p->from_end)
		return slice(a, order, p->first, p->last);
	if (p->first > count)
		return (struct uid_set){0};
	return slice(a, order, p->last > count ? 1 : count - p->last + 1,
		count - p->first + 1);
}

static void
add_runs(struct arena *a, struct uid_set *to, const struct uid_set *from)
{
	for (size_t i = 0; i < from->n; i++)
		add_run(a, to, from->v[i]);
}

struct uid_set
result_saved(struct arena *a, const struct result *r)
{
	const struct uid_set *order = &r->order;
	unsigned items = r->options.items & ~(unsigned)RESULT_SAVE;
	bool some = items != 0 && !(items & (RESULT_ALL | RESULT_COUNT));
	struct uid_set out = {0}, part = {0};
	uint64_t count = uid_set_count(order);
	if (!some) {
		add_runs(a, &out, order);
		seqset_resolve(&out, UINT32_MAX);
		return out;
	}
	if (items & RESULT_PARTIAL)
		part = partial_pick(a, order, &r->options.partial);
	add_runs(a, &out, &part);
	part = (items & RESULT_MIN) ? slice(a, order, 1, 1)
				    : (struct uid_set){0};
	add_runs(a, &out, &part);
	part = (items & RESULT_MAX) ? slice(a, order, count, count)
				    : (struct uid_set){0};
	add_runs(a, &out, &part);
	seqset_resolve(&out, UINT32_MAX);
	return out;
}

uint64_t
result_modseq(const struct result *r)
{
	unsigned items = r->options.items & ~(unsigned)RESULT_SAVE;
	uint64_t first = (items & RESULT_MIN) ? r->first_modseq : 0;
	uint64_t last = (items & RESULT_MAX) ? r->last_modseq : 0;
	if (items == 0 || (items & ~(unsigned)(RESULT_MIN | RESULT_MAX)))
		return r->modseq;
	return first > last ? first : last;
}
