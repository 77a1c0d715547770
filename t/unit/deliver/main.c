/* SPDX-License-Identifier: ISC */
/* The suites of deliver/. */
#include "suites.h"
#include "deliver_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_capability,
		suite_content, suite_route, suite_job, suite_forward, suite_pipe,
		suite_dial};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
