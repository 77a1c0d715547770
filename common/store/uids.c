/* SPDX-License-Identifier: ISC */
/* Runs of UIDs in an array that grows at its end and is made anew when
 * something in the middle goes. */
#include "store/uids.h"
#include "base/arena.h"

void
uids_begin(struct uids *u, size_t room)
{
	*u = (struct uids){.arena = arena_new("uids"), .room = room};
	arena_limit(u->arena, (size_t)64 << 30);
	u->v = arena_array(u->arena, room, sizeof *u->v);
}

void
uids_end(struct uids *u)
{
	arena_free(u->arena);
	*u = (struct uids){0};
}

uint32_t
uids_run_last(const struct uids *u, size_t run)
{
	uint32_t after = run + 1 < u->n ? u->v[run + 1].before : u->count;
	return u->v[run].first + (after - u->v[run].before - 1);
}

uint32_t
uids_last(const struct uids *u)
{
	return u->n == 0 ? 0 : uids_run_last(u, u->n - 1);
}

static void
grow(struct uids *u)
{
	struct uids more;
	uids_begin(&more, u->room + u->room / 8 + 16);
	if (u->n > 0)
		memcpy(more.v, u->v, u->n * sizeof *u->v);
	more.n = u->n;
	more.count = u->count;
	arena_free(u->arena);
	*u = more;
}

void
uids_add(struct uids *u, uint32_t first, uint32_t last)
{
	if (u->n == 0 || uids_last(u) + 1 != first) {
		if (u->n == u->room)
			grow(u);
		u->v[u->n++] = (struct uid_run){first, u->count};
	}
	u->count += last - first + 1;
}

/* One run without what is gone of it, from range *at on. */
static void
add_rest(struct uids *u, struct uid_range run, const struct uid_set *gone,
	size_t *at)
{
	uint64_t from = run.first;
	while (*at < gone->n && gone->v[*at].last < run.first)
		++*at;
	for (size_t k = *at; k < gone->n && gone->v[k].first <= run.last; k++) {
		if (gone->v[k].first > from)
			uids_add(u, (uint32_t)from, gone->v[k].first - 1);
		from = (uint64_t)gone->v[k].last + 1;
	}
	if (from <= run.last)
		uids_add(u, (uint32_t)from, run.last);
}

void
uids_cut(struct uids *u, const struct uid_set *gone)
{
	struct uids rest;
	size_t at = 0;
	uids_begin(&rest, u->n + gone->n);
	for (size_t i = 0; i < u->n; i++)
		add_rest(&rest,
			(struct uid_range){u->v[i].first, uids_run_last(u, i)},
			gone, &at);
	arena_free(u->arena);
	*u = rest;
}

size_t
uids_find(const struct uids *u, uint64_t uid)
{
	size_t low = 0, high = u->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (uids_run_last(u, middle) < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t
uids_at(const struct uids *u, uint32_t seq)
{
	size_t low = 0, high = u->n;
	if (seq == 0 || seq > u->count)
		return 0;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (u->v[middle].before < seq)
			low = middle;
		else
			high = middle;
	}
	return u->v[low].first + (seq - 1 - u->v[low].before);
}

uint32_t
uids_below(const struct uids *u, uint64_t uid, bool *there)
{
	size_t run = uids_find(u, uid);
	*there = run < u->n && u->v[run].first <= uid;
	if (run == u->n)
		return u->count;
	return u->v[run].before +
	       (*there ? (uint32_t)(uid - u->v[run].first) : 0);
}
