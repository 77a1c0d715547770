/* SPDX-License-Identifier: ISC */
#ifndef UNIT_DELIVER_SUITES_H
#define UNIT_DELIVER_SUITES_H

#include <check.h>

Suite *suite_capability(void);
Suite *suite_content(void);
Suite *suite_route(void);
Suite *suite_job(void);
Suite *suite_forward(void);
Suite *suite_pipe(void);
Suite *suite_dial(void);

#endif
