/* SPDX-License-Identifier: ISC */
/* The suites of common/sys. */
#include "suites.h"
#include "sys.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_conf, suite_conn, suite_loop, suite_net, suite_hop,
		suite_policy, suite_keep, suite_argv, suite_whole,
		suite_frames};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
