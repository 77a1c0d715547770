/* SPDX-License-Identifier: ISC */
/* The suites of common/store. */
#include "store_suites.h"

int
main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_uids, suite_maildir,
		suite_message,
		suite_folders,
		suite_mailbox,
		suite_deliver,
		suite_sync,
		suite_rebuild,
		suite_crash,
		suite_quota,
		suite_spool,
		suite_check,
	};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
