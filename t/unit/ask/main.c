/* SPDX-License-Identifier: ISC */
/* The suites of common/ask, and of sys/ipc, which needs a vocabulary. */
#include "suites.h"

Suite *suite_messages(void);
Suite *suite_peers(void);

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_messages, suite_peers};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
