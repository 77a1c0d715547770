/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/arena.h"
#include "base/map.h"

#include <sys/wait.h>
#include <unistd.h>

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

/* A text of n pieces that all weigh the same for hashes that multiply by 33
 * ("Ez", "FY") or by 31 ("Aa", "BB"). */
static struct str
colliding(struct arena *a, const char *two, unsigned bits, int n)
{
	char *p = arena_alloc(a, (size_t)n * 2);
	for (int i = 0; i < n; i++)
		memcpy(p + i * 2, two + (bits >> i & 1) * 2, 2);
	return str_of(p, (size_t)n * 2);
}

/* Keys of a stranger's choice spread as any others do. */
START_TEST(chosen_keys_do_not_meet)
{
	enum { BITS = 16, MANY = 1 << BITS, MOST = 24 };
	static const char *const pairs[] = {"EzFY", "AaBB"};
	for (int k = 0; k < 2; k++) {
		struct arena *a = arena_new("test");
		struct map *m = map_new(a);
		unsigned char *met = arena_alloc(a, MANY);
		unsigned most = 0;
		for (unsigned i = 0; i < MANY; i++) {
			struct str key = colliding(a, pairs[k], i, BITS);
			unsigned n = ++met[map_hash(key) & (MANY - 1)];
			most = n > most ? n : most;
			map_set(m, key, m);
		}
		ck_assert_uint_le(most, MOST);
		ck_assert_uint_eq(map_count(m), MANY);
		arena_free(a);
	}
}
END_TEST

/* What was learned of one process says nothing about the next. */
START_TEST(each_process_has_its_key)
{
	uint64_t seen[2] = {0, 0};
	for (int i = 0; i < 2; i++) {
		int ends[2];
		ck_assert_int_eq(pipe(ends), 0);
		pid_t pid = fork();
		if (pid == 0) {
			uint64_t h = map_hash(STR("key"));
			_exit(write(ends[1], &h, sizeof h) != sizeof h);
		}
		ck_assert_int_eq(read(ends[0], &seen[i], sizeof *seen),
			sizeof *seen);
		ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
		close(ends[0]);
		close(ends[1]);
	}
	ck_assert(seen[0] != seen[1]);
}
END_TEST

Suite *
suite_map(void)
{
	return SUITE("map", set_get_remove, many_keys_come_and_go,
		walking_sees_each_once, chosen_keys_do_not_meet,
		each_process_has_its_key);
}
