/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "base.h"
#include "base/arena.h"
#include "base/buf.h"

#include <fcntl.h>
#include <unistd.h>

START_TEST(memory_is_zeroed_and_aligned)
{
	struct arena *a = arena_new("test");
	for (size_t n = 0; n < 5000; n += 7) {
		unsigned char *p = arena_alloc(a, n);
		ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < n; i++)
			ck_assert_int_eq(p[i], 0);
		memset(p, 0xff, n);
	}
	arena_free(a);
}
END_TEST

START_TEST(rewind_gives_memory_back_zeroed)
{
	struct arena *a = arena_new("test");
	struct arena_mark m = arena_mark(a);
	char *first = arena_alloc(a, 100);
	memset(first, 'x', 100);
	for (int i = 0; i < 100; i++)
		arena_alloc(a, 100000 / 4);
	arena_rewind(a, m);
	ck_assert_uint_eq(arena_used(a), 0);
	char *again = arena_alloc(a, 100);
	ck_assert_ptr_eq(first, again);
	ck_assert_int_eq(again[99], 0);
	arena_free(a);
}
END_TEST

/* In a build with AddressSanitizer; elsewhere there is none to ask. */
extern int __asan_address_is_poisoned(const void *) __attribute__((weak));

/* A pointer kept past the rewind is found out at its first use, and so is one
 * past the end of what was asked for. */
START_TEST(what_was_given_back_is_poisoned)
{
	struct arena *a = arena_new("test");
	struct arena_mark m = arena_mark(a);
	char *small = arena_alloc(a, 24);
	char *large = arena_alloc(a, 20000);
	if (__asan_address_is_poisoned == NULL) {
		arena_free(a);
		return;
	}
	ck_assert(!__asan_address_is_poisoned(small + 23));
	ck_assert(__asan_address_is_poisoned(small + 24));
	arena_rewind(a, m);
	ck_assert(__asan_address_is_poisoned(small));
	ck_assert(__asan_address_is_poisoned(large));
	ck_assert_ptr_eq(arena_alloc(a, 8), small);
	ck_assert(!__asan_address_is_poisoned(small + 7));
	ck_assert(__asan_address_is_poisoned(small + 16));
	arena_free(a);
}
END_TEST

static char order[8];

static void
note(void *ctx)
{
	strcat(order, ctx);
}

START_TEST(hooks_run_last_first_and_only_past_the_mark)
{
	struct arena *a = arena_new("test");
	order[0] = 0;
	arena_hook(a, note, (char[]){"a"});
	struct arena_mark m = arena_mark(a);
	arena_hook(a, note, (char[]){"b"});
	arena_hook(a, note, (char[]){"c"});
	arena_rewind(a, m);
	ck_assert_str_eq(order, "cb");
	arena_free(a);
	ck_assert_str_eq(order, "cba");
}
END_TEST

START_TEST(descriptors_go_with_the_arena)
{
	struct arena *a = arena_new("test");
	int fd = arena_own_fd(a, open("/dev/null", O_RDONLY));
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	arena_free(a);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

START_TEST(past_the_limit_the_process_ends)
{
	struct arena *a = arena_new("test");
	arena_limit(a, 1000);
	arena_alloc(a, 1001);
}
END_TEST

START_TEST(array_product_may_not_overflow)
{
	arena_array(arena_new("test"), SIZE_MAX / 2, 3);
}
END_TEST

START_TEST(buffer_grows_and_drops)
{
	struct arena *a = arena_new("test");
	struct buf *b = buf_new(a);
	for (int i = 0; i < 1000; i++)
		buf_addn(b, (uint64_t)i);
	ck_assert_uint_eq(b->n, 10 + 180 + 2700);
	buf_drop(b, b->n - 3);
	ck_assert_view(buf_str(b), "999");
	buf_printf(b, "-%d-", 7);
	buf_addn(b, UINT64_MAX);
	ck_assert_view(buf_str(b), "999-7-18446744073709551615");
	buf_clear(b);
	buf_addn(b, 0);
	ck_assert_view(buf_str(b), "0");
	arena_free(a);
}
END_TEST

Suite *
suite_arena(void)
{
	Suite *s = SUITE("arena", memory_is_zeroed_and_aligned,
		rewind_gives_memory_back_zeroed,
		what_was_given_back_is_poisoned,
		hooks_run_last_first_and_only_past_the_mark,
		descriptors_go_with_the_arena, buffer_grows_and_drops);
	TCase *ends = tcase_create("ends");
	tcase_add_exit_test(ends, past_the_limit_the_process_ends, 75);
	tcase_add_exit_test(ends, array_product_may_not_overflow, 75);
	suite_add_tcase(s, ends);
	return s;
}
