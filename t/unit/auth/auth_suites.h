/* SPDX-License-Identifier: ISC */
/* Suites of auth/, and a small auth for them: a configuration and tables from
 * texts. */
#ifndef UNIT_AUTH_SUITES_H
#define UNIT_AUTH_SUITES_H

#include "auth/auth.h"

#include <check.h>

Suite *suite_users(void);
Suite *suite_aliases(void);
Suite *suite_password(void);
Suite *suite_lookup(void);
Suite *suite_login(void);
Suite *suite_table(void);
Suite *suite_decide(void);
Suite *suite_limits(void);

/* An auth with this configuration, these users and aliases; a mistake in any
 * of them fails the test. */
struct auth *test_auth(struct arena *a, const char *conf, const char *users,
	const char *aliases);

/* A temporary file with this text; the test removes it. */
const char *test_file(struct arena *a, const char *text);

#endif
