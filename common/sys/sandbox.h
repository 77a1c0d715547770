/* SPDX-License-Identifier: ISC */
/*
 * sandbox: giving up rights for good, in the order that works: root directory
 * and ids (root only), no new privileges, Landlock, seccomp.
 *
 * Every step that the kernel offers is taken or the process ends; a step the
 * kernel does not have is skipped and said once in the log.  Ids are verified
 * after the drop: root must not come back (reliability rule S15).
 */
#ifndef SYS_SANDBOX_H
#define SYS_SANDBOX_H

#include "base/str.h"
#include "sys/service.h"

/*
 * Becomes the user for good, in the root directory when not NULL.  Needs
 * root; fatal when any part fails.  Supplementary groups are dropped.
 */
void sandbox_become(unsigned uid, unsigned gid, const char *root);

/*
 * No new privileges, no core dump, not traceable by siblings; file access
 * only below trees (NULL-ended, NULL for none) as the profile allows, and with
 * trees the C library's charsets; system calls of the profile's class.
 */
void sandbox_enter(enum sandbox_profile profile, const char *const *trees);

#endif
