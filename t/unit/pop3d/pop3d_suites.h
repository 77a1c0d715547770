/* SPDX-License-Identifier: ISC */
#ifndef POP3D_SUITES_H
#define POP3D_SUITES_H

#include <check.h>

Suite *suite_language(void);
Suite *suite_stuff(void);

#endif
