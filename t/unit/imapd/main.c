/* SPDX-License-Identifier: ISC */
/* The suites of imapd. */
#include "suites.h"
#include "imapd_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_parse, suite_seqset, suite_section,
		suite_flags, suite_search, suite_match, suite_resync,
		suite_url, suite_deflate, suite_sort, suite_thread};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
