/* SPDX-License-Identifier: ISC */
#ifndef UNIT_BASE_H
#define UNIT_BASE_H

#include <check.h>

Suite *suite_arena(void);
Suite *suite_str(void);
Suite *suite_map(void);
Suite *suite_status(void);
Suite *suite_log(void);

#endif
