/* SPDX-License-Identifier: ISC */
/* syscalls: the list of system calls (seccomp); for sys/sandbox only. */
#ifndef SYS_SYSCALLS_H
#define SYS_SYSCALLS_H

/* rights: of enum sandbox_right. */
void syscalls_enter(unsigned rights);

#endif
