/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/seqset.h"
#include "base/arena.h"
#include "base/buf.h"

struct row {
	const char *text;
	uint32_t largest;
	const char *resolved; /* NULL: no set */
};

static const struct row rows[] = {
	{"1", 9, "1"},
	{"1:3,2,4", 9, "1:4"},
	{"7,5:6,1", 9, "1,5:7"},
	{"3:1", 9, "1:3"},
	{"*", 9, "9"},
	{"*:7", 9, "7:9"},
	{"20:*", 9, "9:20"},
	{"4294967295:*", 9, "9:4294967295"},
	{"4294967295,1", 9, "1,4294967295"},
	{"4294967294:4294967295,4294967295", 9, "4294967294:4294967295"},
	{"*", 0, ""},
	{"1:*", 0, ""},
	{"1:2", 0, "1:2"},
	{"", 9, NULL},
	{"0", 9, NULL},
	{"0:3", 9, NULL},
	{"1:", 9, NULL},
	{"1,", 9, NULL},
	{"1,,2", 9, NULL},
	{"1:2:3", 9, NULL},
	{"a", 9, NULL},
	{"+1", 9, NULL},
	{"4294967296", 9, NULL},
};

START_TEST(sets)
{
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct row *row = &rows[i];
		struct seqset set;
		bool ok = seqset_parse(a, str_from(row->text), &set);
		ck_assert_msg(ok == (row->resolved != NULL), "%s", row->text);
		if (!ok)
			continue;
		struct buf *out = buf_new(a);
		seqset_resolve(&set, row->largest);
		seqset_print(&set, out);
		ck_assert_str_eq(str_cstr(a, buf_str(out)), row->resolved);
	}
	arena_free(a);
}
END_TEST

START_TEST(membership_and_walk)
{
	struct arena *a = arena_new("test");
	struct seqset set;
	struct seqset_cursor c = {0};
	uint32_t want[] = {2, 3, 4, 8, UINT32_MAX - 1, UINT32_MAX}, n;
	ck_assert(seqset_parse(a, STR("8,2:4,4294967294:4294967295"), &set));
	seqset_resolve(&set, 10);
	for (size_t i = 0; i < 6; i++) {
		ck_assert(seqset_next(&set, &c, &n));
		ck_assert_uint_eq(n, want[i]);
		ck_assert(seqset_has(&set, n));
	}
	ck_assert(!seqset_next(&set, &c, &n));
	ck_assert(!seqset_has(&set, 1));
	ck_assert(!seqset_has(&set, 5));
	ck_assert(!seqset_has(&set, 9));
	ck_assert_uint_eq(seqset_count(&set), 6);
	ck_assert_uint_eq(seqset_last(&set), UINT32_MAX);
	arena_free(a);
}
END_TEST

START_TEST(building)
{
	struct arena *a = arena_new("test");
	struct seqset set = seqset_new(a);
	struct buf *out = buf_new(a);
	ck_assert_uint_eq(seqset_last(&set), 0);
	for (uint32_t i = 1; i <= 1000; i++)
		seqset_add(&set, i);
	ck_assert_uint_eq(set.n, 1);
	for (uint32_t i = 2000; i <= 2100; i += 2)
		seqset_add(&set, i);
	ck_assert_uint_eq(set.n, 52);
	seqset_add_range(&set, 2101, 2200);
	seqset_print(&set, out);
	ck_assert(str_starts(buf_str(out), STR("1:1000,2000,2002,")));
	ck_assert(str_ends(buf_str(out), STR(",2098,2100:2200")));
	arena_free(a);
}
END_TEST

Suite *
suite_seqset(void)
{
	return SUITE("seqset", sets, membership_and_walk, building);
}
