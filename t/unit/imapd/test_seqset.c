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
		struct uid_set set;
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

START_TEST(walk)
{
	struct arena *a = arena_new("test");
	struct uid_set set;
	struct seqset_cursor c = {0};
	uint32_t want[] = {2, 3, 4, 8, UINT32_MAX - 1, UINT32_MAX}, n;
	ck_assert(seqset_parse(a, STR("8,2:4,4294967294:4294967295"), &set));
	seqset_resolve(&set, 10);
	for (size_t i = 0; i < 6; i++) {
		ck_assert(seqset_next(&set, &c, &n));
		ck_assert_uint_eq(n, want[i]);
	}
	ck_assert(!seqset_next(&set, &c, &n));
	ck_assert_uint_eq(seqset_last(&set), UINT32_MAX);
	seqset_parse(a, STR("*"), &set);
	seqset_resolve(&set, 0);
	ck_assert_uint_eq(seqset_last(&set), 0);
	arena_free(a);
}
END_TEST

START_TEST(limits)
{
	struct arena *a = arena_new("test");
	static const struct {
		const char *text, *limited;
	} cases[] = {{"1:9", "1:5"}, {"7:9", ""}, {"1,5:7,9", "1,5"},
		{"2", "2"}};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct uid_set set;
		struct buf *out = buf_new(a);
		ck_assert(seqset_parse(a, str_from(cases[i].text), &set));
		seqset_resolve(&set, 20);
		seqset_limit(&set, 5);
		seqset_print(&set, out);
		ck_assert_str_eq(str_cstr(a, buf_str(out)), cases[i].limited);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_seqset(void)
{
	return SUITE("seqset", sets, walk, limits);
}
