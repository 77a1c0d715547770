/* SPDX-License-Identifier: ISC */
/* The suites of resolve/. */
#include "suites.h"

Suite *suite_record(void);
Suite *suite_answer(void);

int
main(void)
{
	static Suite *(*const suites[])(void) = {suite_record, suite_answer};
	return run_suites(suites, sizeof suites / sizeof *suites);
}
