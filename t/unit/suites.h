/* SPDX-License-Identifier: ISC */
/*
 * Each room's main.c lists its suites and calls this.  Verbose only about
 * what failed; the exit status says whether anything did.
 */
#ifndef UNIT_SUITES_H
#define UNIT_SUITES_H

#include "base/str.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Where tests put their files; in memory where there is room: what is tested
 * is not the disk. */
static inline const char *
test_top(void)
{
	enum { ROOM = 512 << 20 };
	struct statvfs fs;
	const char *given = getenv("TMPDIR");
	if (given != NULL && strlen(given) < 30)
		return given;
	if (statvfs("/dev/shm", &fs) == 0 && access("/dev/shm", W_OK) == 0 &&
		(uint64_t)fs.f_bavail * fs.f_bsize > ROOM)
		return "/dev/shm";
	return "/tmp";
}

static inline int
run_suites(Suite *(*const suites[])(void), size_t count)
{
	SRunner *sr = srunner_create(suites[0]());
	for (size_t i = 1; i < count; i++)
		srunner_add_suite(sr, suites[i]());
	srunner_run_all(sr, CK_NORMAL);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A suite of one case from a list of tests. */
static inline Suite *
suite_of(const char *name, const TTest *const tests[], size_t count)
{
	Suite *s = suite_create(name);
	TCase *c = tcase_create(name);
	tcase_set_timeout(c, 60);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(c, tests[i]);
	suite_add_tcase(s, c);
	return s;
}

#define SUITE(name, ...) \
	suite_of(name, (const TTest *const[]){__VA_ARGS__}, \
		sizeof((const TTest *const[]){__VA_ARGS__}) / \
			sizeof(const TTest *))

#define ck_assert_view(view, literal) \
	do { \
		struct str got_ = (view), want_ = STR(literal); \
		ck_assert_msg(str_eq(got_, want_), "\"%.*s\" is not \"%.*s\"", \
			STR_ARG(got_), STR_ARG(want_)); \
	} while (0)

#endif
