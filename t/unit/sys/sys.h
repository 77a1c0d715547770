/* SPDX-License-Identifier: ISC */
#ifndef UNIT_SYS_H
#define UNIT_SYS_H

#include <check.h>

Suite *suite_conf(void);
Suite *suite_conn(void);
Suite *suite_loop(void);
Suite *suite_net(void);
Suite *suite_hop(void);
Suite *suite_policy(void);
Suite *suite_keep(void);
Suite *suite_argv(void);
Suite *suite_whole(void);
Suite *suite_frames(void);

#endif
