/* SPDX-License-Identifier: ISC */
/* The suites of the queue. */
#include "suites.h"
#include "queue_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_intake, suite_dispatch,
		suite_outcome, suite_report, suite_control,
		suite_rows, suite_hostile};
	/* Processes that start, wait for the disk, and are killed: on a busy
	 * machine some of this takes its time. */
	setenv("CK_TIMEOUT_MULTIPLIER", "5", 0);
	return run_suites(suites, sizeof suites / sizeof *suites);
}
