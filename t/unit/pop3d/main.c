/* SPDX-License-Identifier: ISC */
/* The suites of pop3d. */
#include "suites.h"
#include "pop3d_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_stuff, suite_language};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
