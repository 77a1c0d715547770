/* SPDX-License-Identifier: ISC */
/* The suites of ctl/. */
#include "suites.h"
#include "ctl_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_letter, suite_users};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
