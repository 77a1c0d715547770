/* SPDX-License-Identifier: ISC */
/* The suites of common/mail. */
#include "suites.h"
#include "mail.h"

int
main(void)
{
#define NAME(name) suite_##name,
	static Suite *(*const suites[])(void) = {MAIL_SUITES(NAME)};
#undef NAME
	return run_suites(suites, sizeof suites / sizeof *suites);
}
