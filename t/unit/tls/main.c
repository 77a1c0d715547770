/* SPDX-License-Identifier: ISC */
/* The suites of tls/. */
#include "suites.h"

Suite *suite_key_sign(void);

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_key_sign};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
