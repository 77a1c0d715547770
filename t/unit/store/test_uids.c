/* SPDX-License-Identifier: ISC */
/* Runs against a plain array that is told the same. */
#include "store_suites.h"

enum { MOST = 400 };

struct model {
	struct arena *a;
	struct uids uids;
	uint32_t v[MOST];
	uint32_t n, next;
	unsigned seed;
};

static unsigned
draw(struct model *m, unsigned below)
{
	m->seed = m->seed * 1103515245 + 12345;
	return (m->seed >> 16) % below;
}

static void
check_same(struct model *m)
{
	bool there;
	ck_assert_uint_eq(m->uids.count, m->n);
	ck_assert_uint_eq(uids_last(&m->uids), m->n == 0 ? 0 : m->v[m->n - 1]);
	ck_assert_uint_eq(uids_at(&m->uids, 0), 0);
	ck_assert_uint_eq(uids_at(&m->uids, m->n + 1), 0);
	for (uint32_t i = 0; i < m->n; i++) {
		ck_assert_uint_eq(uids_at(&m->uids, i + 1), m->v[i]);
		ck_assert_uint_eq(uids_below(&m->uids, m->v[i], &there), i);
		ck_assert(there);
	}
	uint32_t below = 0;
	for (uint32_t uid = 0; uid < m->next + 2; uid++) {
		ck_assert_uint_eq(uids_below(&m->uids, uid, &there), below);
		bool is = below < m->n && m->v[below] == uid;
		ck_assert(there == is);
		below += is;
	}
	for (size_t i = 1; i < m->uids.n; i++)
		ck_assert_uint_lt(uids_run_last(&m->uids, i - 1) + 1,
			m->uids.v[i].first);
}

static void
add_some(struct model *m)
{
	uint32_t n = 1 + draw(m, 8);
	m->next += draw(m, 3);
	if (m->n + n > MOST)
		return;
	uids_add(&m->uids, m->next, m->next + n - 1);
	while (n-- > 0)
		m->v[m->n++] = m->next++;
}

static void
cut_some(struct model *m)
{
	struct uid_set gone = {0};
	uint32_t kept = 0;
	for (uint32_t uid = draw(m, 4); uid < m->next; uid += 1 + draw(m, 9))
		uid_set_add(m->a, &gone, uid);
	uids_cut(&m->uids, &gone);
	for (uint32_t i = 0; i < m->n; i++)
		if (!uid_set_has(&gone, m->v[i]))
			m->v[kept++] = m->v[i];
	m->n = kept;
}

START_TEST(runs_are_what_they_stand_for)
{
	struct model m = {.a = arena_new("test"), .next = 1, .seed = 7};
	uids_begin(&m.uids, 0);
	for (int i = 0; i < 300; i++) {
		if (draw(&m, 3) > 0)
			add_some(&m);
		else
			cut_some(&m);
		check_same(&m);
	}
	uids_end(&m.uids);
	arena_free(m.a);
}
END_TEST

START_TEST(the_highest_uid_is_one)
{
	struct uids u;
	bool there;
	uids_begin(&u, 1);
	uids_add(&u, UINT32_MAX - 1, UINT32_MAX);
	ck_assert_uint_eq(uids_last(&u), UINT32_MAX);
	ck_assert_uint_eq(uids_at(&u, 2), UINT32_MAX);
	ck_assert_uint_eq(uids_below(&u, (uint64_t)UINT32_MAX + 1, &there), 2);
	ck_assert(!there);
	uids_end(&u);
}
END_TEST

START_TEST(runs_are_small)
{
	struct uids u;
	enum { MANY = 1000000 };
	uids_begin(&u, MANY);
	for (uint32_t i = 1; i <= MANY; i++)
		uids_add(&u, i * 2, i * 2);
	ck_assert_uint_eq(u.n, MANY);
	ck_assert_uint_le(arena_used(u.arena), MANY * 8);
	uids_end(&u);
}
END_TEST

Suite *
suite_uids(void)
{
	return SUITE("uids", runs_are_what_they_stand_for,
		the_highest_uid_is_one, runs_are_small);
}
