/* SPDX-License-Identifier: ISC */
#ifndef UNIT_CTL_SUITES_H
#define UNIT_CTL_SUITES_H

#include <check.h>

Suite *suite_letter(void);
Suite *suite_users(void);

#endif
