/* SPDX-License-Identifier: ISC */
/* The suites of the queue. */
#include "suites.h"
#include "queue_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_intake, suite_dispatch,
		suite_outcome, suite_report, suite_control, suite_hostile};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
