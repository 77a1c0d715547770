/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/arena.h"
#include "base/map.h"

START_TEST(set_get_remove)
{
	struct arena *a = arena_new("test");
	struct map *m = map_new(a);
	int x, y;
	ck_assert_ptr_null(map_get(m, STR("k")));
	ck_assert_ptr_null(map_remove(m, STR("k")));
	map_set(m, STR("k"), &x);
	map_set(m, STR("k\0"), &y);
	ck_assert_ptr_eq(map_get(m, STR("k")), &x);
	ck_assert_ptr_eq(map_get(m, STR("k\0")), &y);
	map_set(m, STR("k"), &y);
	ck_assert_uint_eq(map_count(m), 2);
	ck_assert_ptr_eq(map_remove(m, STR("k")), &y);
	ck_assert_ptr_null(map_get(m, STR("k")));
	ck_assert_uint_eq(map_count(m), 1);
	arena_free(a);
}
END_TEST

START_TEST(many_keys_come_and_go)
{
	struct arena *a = arena_new("test");
	struct map *m = map_new(a);
	char *value = arena_alloc(a, 1);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2000; i++)
			map_set(m, str_printf(a, "%d/%d", round, i), value);
		for (int i = 0; i < 2000; i++)
			ck_assert_ptr_eq(map_remove(m,
				str_printf(a, "%d/%d", round, i)), value);
	}
	ck_assert_uint_eq(map_count(m), 0);
	arena_free(a);
}
END_TEST

START_TEST(walking_sees_each_once)
{
	struct arena *a = arena_new("test");
	struct map *m = map_new(a);
	size_t cursor = 0, seen = 0;
	struct str key;
	void *value;
	for (int i = 0; i < 100; i++)
		map_set(m, str_printf(a, "%d", i), m);
	while (map_next(m, &cursor, &key, &value)) {
		map_remove(m, key);
		seen++;
	}
	ck_assert_uint_eq(seen, 100);
	ck_assert_uint_eq(map_count(m), 0);
	arena_free(a);
}
END_TEST

Suite *
suite_map(void)
{
	return SUITE("map", set_get_remove, many_keys_come_and_go,
		walking_sees_each_once);
}
