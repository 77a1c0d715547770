/* SPDX-License-Identifier: ISC */
#ifndef UNIT_QUEUE_SUITES_H
#define UNIT_QUEUE_SUITES_H

#include "suites.h"

Suite *suite_intake(void);
Suite *suite_dispatch(void);
Suite *suite_outcome(void);
Suite *suite_report(void);
Suite *suite_control(void);
Suite *suite_rows(void);
Suite *suite_hostile(void);

#endif
