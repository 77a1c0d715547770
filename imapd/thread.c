/* SPDX-License-Identifier: ISC */
/*
 * ORDEREDSUBJECT and REFERENCES, RFC 5256 3, and REFS.
 *
 * Nodes are the messages, then one for each id that is named and not there.
 * A node's parent is what the last link said; links that close a circle go at
 * the end, the youngest of each, so that no walk is longer than there are
 * nodes.  Nodes without a message are left out by asking each message for its
 * nearest ancestor that has one.
 */
#include "thread.h"
#include "base/arena.h"
#include "base/map.h"

#include <assert.h>
#include <stdlib.h>

enum { NONE = THREAD_NONE };

/* One link, from child to parent. */
struct node {
	uint32_t parent;
	uint32_t age;      /* of the link */
	uint32_t resolved; /* of one without a message: what stands for it */
	uint32_t children; /* at the top, without a message: how many */
	unsigned char mark;
	int64_t date;   /* siblings are sorted by */
	uint32_t place; /* and those of one date */
	struct str subject;
	bool is_reply;
};

struct threads {
	struct arena *arena;
	enum thread_algorithm how;
	const struct thread_message *messages;
	size_t count; /* of messages */
	struct node *v;
	size_t n, room;
	struct map *ids; /* to number + 1 */
	uint32_t links;
};

/* ----------------------------------------------------------------- nodes */

static uint32_t
new_node(struct threads *t)
{
	if (t->n == t->room) {
		struct node *old = t->v;
		t->room = t->room * 2 + 64;
		t->v = arena_array(t->arena, t->room, sizeof *t->v);
		if (t->n > 0)
			memcpy(t->v, old, t->n * sizeof *old);
	}
	assert(t->n < NONE);
	t->v[t->n] = (struct node){
		.parent = NONE, .resolved = NONE, .date = INT64_MAX,
		.place = (uint32_t)t->n};
	return (uint32_t)t->n++;
}

static bool
has_message(const struct threads *t, uint32_t i)
{
	return i < t->count;
}

static void
name_node(struct threads *t, struct str id, uint32_t i)
{
	map_set(t->ids, id, (void *)((uintptr_t)i + 1));
}

static uint32_t
find_node(struct threads *t, struct str id)
{
	uintptr_t at = (uintptr_t)map_get(t->ids, id);
	if (at > 0)
		return (uint32_t)(at - 1);
	uint32_t i = new_node(t);
	name_node(t, id, i);
	return i;
}

/* All messages first; one whose id another has stands for itself. */
static void
add_messages(struct threads *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		const struct thread_message *m = &t->messages[i];
		uint32_t at = new_node(t);
		struct node *node = &t->v[at];
		node->date = t->how == THREAD_REFS ? m->arrived : m->sent;
		node->subject = m->subject;
		node->is_reply = m->is_reply;
		if (m->id.n > 0 && map_get(t->ids, m->id) == NULL)
			name_node(t, m->id, i);
	}
}

/* ----------------------------------------------------------------- links */

static void
link_to(struct threads *t, uint32_t child, uint32_t parent)
{
	t->v[child].parent = child == parent ? NONE : parent;
	t->v[child].age = ++t->links;
}

/* RFC 5256 3, REFERENCES, step 1. */
static void
link_message(struct threads *t, uint32_t i)
{
	struct str refs = t->messages[i].references, id;
	uint32_t before = NONE;
	while (str_word(&refs, &id)) {
		uint32_t at = find_node(t, id);
		if (before != NONE && t->v[at].parent == NONE)
			link_to(t, at, before);
		before = at;
	}
	link_to(t, i, before);
}

/* The youngest link of the circle that i is in. */
static void
break_circle(struct threads *t, uint32_t i)
{
	uint32_t youngest = i;
	for (uint32_t k = t->v[i].parent; k != i; k = t->v[k].parent)
		if (t->v[k].age > t->v[youngest].age)
			youngest = k;
	t->v[youngest].parent = NONE;
}

/* Walks up from every node, to where somebody has been. */
static void
break_circles(struct threads *t)
{
	enum { NEW, UNDER_WAY, DONE };
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t k = i;
		while (k != NONE && t->v[k].mark == NEW) {
			t->v[k].mark = UNDER_WAY;
			k = t->v[k].parent;
		}
		bool circle = k != NONE && t->v[k].mark == UNDER_WAY;
		for (uint32_t j = i; j != NONE && t->v[j].mark == UNDER_WAY;
			j = t->v[j].parent)
			t->v[j].mark = DONE;
		if (circle)
			break_circle(t, k);
	}
}

/*
 * Step 3: a node without a message stands nowhere but at the top, with
 * several children.  What a message finds above itself: another message, or
 * the topmost node; remembered on the way, so that every link is walked twice.
 */
static uint32_t
resolve(struct threads *t, uint32_t i)
{
	uint32_t top = i;
	while (!has_message(t, top) && t->v[top].resolved == NONE &&
		t->v[top].parent != NONE)
		top = t->v[top].parent;
	if (!has_message(t, top) && t->v[top].resolved != NONE)
		top = t->v[top].resolved;
	while (i != top && !has_message(t, i) && t->v[i].resolved == NONE) {
		uint32_t up = t->v[i].parent;
		t->v[i].resolved = top;
		i = up;
	}
	return top;
}

static void
drop_empty(struct threads *t)
{
	uint32_t *up = arena_array(t->arena, t->count, sizeof *up);
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t parent = t->v[i].parent;
		up[i] = parent == NONE ? NONE : resolve(t, parent);
		if (up[i] != NONE)
			t->v[up[i]].children++;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t parent = up[i];
		bool alone = parent != NONE && !has_message(t, parent) &&
			t->v[parent].children == 1;
		t->v[i].parent = alone ? NONE : parent;
	}
	for (size_t i = t->count; i < t->n; i++)
		t->v[i].parent = NONE;
}

/* -------------------------------------------------------------- siblings */

struct sibling {
	uint32_t parent, at;
	uint32_t place;
	int64_t date;
};

static int
by_parent(const void *x, const void *y)
{
	const struct sibling *a = x, *b = y;
	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	if (a->date != b->date)
		return a->date < b->date ? -1 : 1;
	return a->place < b->place ? -1 : a->place > b->place;
}

/* Nodes that are in the forest: messages, and what has several children. */
static struct sibling *
sort_siblings(struct threads *t, size_t *n)
{
	struct sibling *all = arena_array(t->arena, t->n, sizeof *all);
	*n = 0;
	for (uint32_t i = 0; i < t->n; i++)
		if (has_message(t, i) || t->v[i].children > 1)
			all[(*n)++] = (struct sibling){
				t->v[i].parent, i, t->v[i].place, t->v[i].date};
	if (*n > 0)
		qsort(all, *n, sizeof *all, by_parent);
	return all;
}

static bool
is_before(const struct node *a, const struct node *b)
{
	return a->date != b->date ? a->date < b->date : a->place < b->place;
}

/* A node without a message has the date, place and subject of its first child
 * (RFC 5256 3, steps 4 and 5); every child is a message. */
static void
date_empty(struct threads *t)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t parent = t->v[i].parent;
		if (parent == NONE || has_message(t, parent) ||
			!is_before(&t->v[i], &t->v[parent]))
			continue;
		t->v[parent].date = t->v[i].date;
		t->v[parent].place = t->v[i].place;
		t->v[parent].subject = t->v[i].subject;
	}
}

/* REFS: a thread is as old as its newest message. */
static void
date_by_newest(struct threads *t)
{
	int64_t *newest = arena_array(t->arena, t->n, sizeof *newest);
	uint32_t *root = arena_array(t->arena, t->n, sizeof *root);
	for (uint32_t i = 0; i < t->n; i++) {
		newest[i] = INT64_MIN;
		root[i] = NONE;
	}
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t top = i;
		while (root[top] == NONE && t->v[top].parent != NONE)
			top = t->v[top].parent;
		top = root[top] == NONE ? top : root[top];
		for (uint32_t k = i; k != top && root[k] == NONE;
			k = t->v[k].parent)
			root[k] = top;
		if (t->v[i].date > newest[top])
			newest[top] = t->v[i].date;
	}
	for (uint32_t i = 0; i < t->n; i++)
		if (newest[i] != INT64_MIN)
			t->v[i].date = newest[i];
}

/* -------------------------------------------------------------- subjects */

/* Step 5 B: the message that others of its subject go to is one without a
 * reply's marks if there is one, or a node without a message. */
static void
note_subject(struct threads *t, struct map *table, uint32_t i)
{
	struct str subject = t->v[i].subject;
	uintptr_t at = (uintptr_t)map_get(table, subject);
	uint32_t had = (uint32_t)(at - 1);
	bool better = at == 0 ||
		(has_message(t, had) && !has_message(t, i)) ||
		(has_message(t, had) && t->v[had].is_reply &&
			!t->v[i].is_reply);
	if (better)
		map_set(table, subject, (void *)((uintptr_t)i + 1));
}

static void
put_below(struct threads *t, uint32_t child, uint32_t parent)
{
	t->v[child].parent = parent;
	t->v[parent].children++;
}

/* Step 5 C.  merged: nodes without a message whose children go to another. */
static void
join_subject(struct threads *t, struct map *table, uint32_t *merged, uint32_t i)
{
	struct str subject = t->v[i].subject;
	uint32_t had = (uint32_t)((uintptr_t)map_get(table, subject) - 1);
	if (had == i)
		return;
	if (!has_message(t, had) && !has_message(t, i)) {
		merged[i] = had;
	} else if (!has_message(t, had) ||
		(t->v[i].is_reply && !t->v[had].is_reply)) {
		put_below(t, i, had);
	} else {
		uint32_t both = new_node(t);
		t->v[both].subject = subject;
		put_below(t, had, both);
		put_below(t, i, both);
		map_set(table, subject, (void *)((uintptr_t)both + 1));
	}
}

static void
merge_empty(struct threads *t, const uint32_t *merged, size_t n)
{
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t parent = t->v[i].parent;
		if (parent == NONE || parent >= n || merged[parent] == NONE)
			continue;
		t->v[parent].children = 0;
		put_below(t, i, merged[parent]);
	}
}

/* Step 5, over the top level in the order of step 4. */
static void
join_subjects(struct threads *t)
{
	struct map *table = map_new(t->arena);
	size_t n, had = t->n;
	struct sibling *all = sort_siblings(t, &n);
	uint32_t *merged = arena_array(t->arena, had, sizeof *merged);
	for (size_t i = 0; i < had; i++)
		merged[i] = NONE;
	for (size_t i = 0; i < n; i++)
		if (all[i].parent == NONE && t->v[all[i].at].subject.n > 0)
			note_subject(t, table, all[i].at);
	for (size_t i = 0; i < n; i++)
		if (all[i].parent == NONE && t->v[all[i].at].subject.n > 0)
			join_subject(t, table, merged, all[i].at);
	merge_empty(t, merged, had);
	date_empty(t);
}

/* ---------------------------------------------------------------- forest */

/* Siblings stand side by side after sorting, parents behind their children or
 * not: only indexes are put in. */
static struct thread_forest
grow(struct threads *t)
{
	size_t n;
	struct sibling *all = sort_siblings(t, &n);
	struct thread_node *v = arena_array(t->arena, t->n, sizeof *v);
	struct thread_forest forest = {v, NONE};
	for (uint32_t i = 0; i < t->n; i++)
		v[i] = (struct thread_node){
			has_message(t, i) ? t->messages[i].uid : 0,
			t->v[i].parent, NONE, NONE};
	for (size_t i = n; i-- > 0;) {
		uint32_t *first = all[i].parent == NONE
			? &forest.first : &v[all[i].parent].first;
		v[all[i].at].next = *first;
		*first = all[i].at;
	}
	return forest;
}

static struct thread_forest
by_references(struct threads *t)
{
	t->ids = map_new(t->arena);
	add_messages(t);
	for (uint32_t i = 0; i < t->count; i++)
		link_message(t, i);
	break_circles(t);
	drop_empty(t);
	date_empty(t);
	if (t->how == THREAD_REFERENCES)
		join_subjects(t);
	else
		date_by_newest(t);
	return grow(t);
}

/* -------------------------------------------------------- ordered subject */

static int
by_subject(const void *x, const void *y, void *ctx)
{
	const struct thread_message *m = ctx;
	const uint32_t *i = x, *k = y;
	int d = str_cmp(m[*i].subject, m[*k].subject);
	if (d != 0)
		return d;
	if (m[*i].sent != m[*k].sent)
		return m[*i].sent < m[*k].sent ? -1 : 1;
	return *i < *k ? -1 : *i > *k;
}

/* The oldest of each subject, and the others below it. */
static struct thread_forest
by_subjects(struct threads *t)
{
	const struct thread_message *m = t->messages;
	uint32_t *order = arena_array(t->arena, t->count, sizeof *order);
	add_messages(t);
	for (uint32_t i = 0; i < t->count; i++)
		order[i] = i;
	if (t->count > 0)
		qsort_r(order, t->count, sizeof *order, by_subject,
			(void *)(uintptr_t)m);
	for (size_t i = 0, top = 0; i < t->count; i++) {
		if (!str_eq(m[order[i]].subject, m[order[top]].subject))
			top = i;
		if (i != top)
			t->v[order[i]].parent = order[top];
	}
	return grow(t);
}

struct thread_forest
thread_run(struct arena *a, enum thread_algorithm how,
	const struct thread_message *messages, size_t n)
{
	struct threads t = {
		.arena = a, .how = how, .messages = messages, .count = n};
	if (how != THREAD_ORDEREDSUBJECT)
		return by_references(&t);
	t.ids = map_new(a);
	return by_subjects(&t);
}
