/* SPDX-License-Identifier: ISC */
/*
 * sandbox: giving up rights for good.
 *
 * Ids and capabilities go before a program is loaded (sandbox_become, in
 * suratd's child).  The rest the program does itself, after it has opened what
 * it needs and before it reads from anybody: root directory, limits, no new
 * privileges, no dumps, Landlock, seccomp.
 *
 * Every step that the kernel offers is taken or the process ends; a step the
 * kernel does not have is skipped and said in the log.  Each drop is verified
 * (reliability rule S15).
 *
 * A system call that is not on a program's list fails with EPERM; with
 * SURAT_SECCOMP=kill in the environment, as in our tests, it ends the process.
 */
#ifndef SYS_SANDBOX_H
#define SYS_SANDBOX_H

#include "base/str.h"

#include <stdint.h>

/* What is left to a confined program: a set. */
enum sandbox_right {
	SANDBOX_NONE = 0, /* not confined: master and people's commands */
	SANDBOX_PURE = 1 << 0, /* what it holds: streams, sockets, memory */
	SANDBOX_DATA = 1 << 1, /* contents of files it holds */
	SANDBOX_READ = 1 << 2, /* paths below its own directories, to read */
	SANDBOX_WRITE = 1 << 3, /* the same, to change */
	SANDBOX_UNIX = 1 << 4, /* connecting to Unix sockets it can see */
	SANDBOX_INET = 1 << 5, /* internet sockets */
	SANDBOX_THREADS = 1 << 6, /* of its own; never processes */
	SANDBOX_CODE = 1 << 7, /* files as code: the C library's charsets */
	SANDBOX_PAM = 1 << 8, /* the kernel's audit is said not to exist */
};

enum sandbox_profile {
	SANDBOX_FILES = SANDBOX_PURE | SANDBOX_DATA,
	SANDBOX_ASKER = SANDBOX_FILES | SANDBOX_UNIX,
	SANDBOX_READER = SANDBOX_ASKER | SANDBOX_READ,
	SANDBOX_TREE = SANDBOX_READER | SANDBOX_WRITE | SANDBOX_CODE,
	SANDBOX_NETWORK = SANDBOX_READER | SANDBOX_INET,
};

struct sandbox {
	unsigned rights;
	/* Directories or files; NULL-ended, or NULL for none.  What is not
	 * there is no right to it. */
	const char *const *trees; /* to read and change */
	const char *const *readable;
	/* Directories in which a lock file may be made and any file removed,
	 * but none opened. */
	const char *const *lockable;
	/* TCP ports it may connect to, 0-ended; NULL: any (with INET). */
	const uint16_t *ports;
	unsigned files; /* most open descriptors; 0: as many as allowed */
	unsigned megabytes; /* most memory of its own; 0: a usual amount */
};

/*
 * Becomes the user for good: no capability is left, none can come back, and
 * no file executed later adds one.  With may_chroot a single right remains,
 * across exec, until sandbox_chroot: that of changing the root directory.
 * With groups it gets those that the system's files give the account, the
 * first of them instead of gid; without there are none but gid.  Needs root;
 * ends the process on any failure.
 */
void sandbox_become(unsigned uid, unsigned gid, bool may_chroot, bool groups);

/* Makes directory / and gives up the right to do so again. */
void sandbox_chroot(const char *directory);

/* Everything that needs no root.  Irrevocable; once per process. */
void sandbox_enter(const struct sandbox *s);

/*
 * A network without interfaces, for children that never need one: a
 * descriptor for sandbox_leave_network, or -1 where the kernel or the
 * container does not let us make one.  Needs root.
 */
int sandbox_empty_network(void);
void sandbox_leave_network(int empty);

#endif
