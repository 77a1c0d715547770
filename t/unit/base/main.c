/* SPDX-License-Identifier: ISC */
/* The suites of common/base. */
#include "suites.h"
#include "base.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_arena, suite_str, suite_map, suite_status, suite_log};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
