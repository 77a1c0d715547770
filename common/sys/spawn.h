/* SPDX-License-Identifier: ISC */
/*
 * spawn: starting a program of the suite with named descriptors and as whom
 * it is to run.
 *
 * The child gets its descriptors (sys/inherit), standard error, an environment
 * of our making, its own process group, and nothing else.  With ids it has
 * them (SURAT_UID), no capability and, given an empty network, no other before it is
 * loaded; with a root directory it keeps, until it has gone there (SURAT_ROOT,
 * sys/service), the right to do that.
 */
#ifndef SYS_SPAWN_H
#define SYS_SPAWN_H

#include "sys/inherit.h"

#include <sys/types.h>

struct ids {
	uid_t uid;
	gid_t gid;
	bool groups; /* those of the account (sys/sandbox) instead of gid */
};

struct spawn {
	const char *path;
	const char *name; /* its argv[0] */
	const char *argument; /* or NULL */
	const struct inherited *fds;
	size_t fd_count;
	const struct ids *ids; /* NULL: stays what we are */
	struct str home; /* SURAT_HOME; may be empty */
	struct str root; /* becomes its /; empty: none */
	int network; /* sandbox_empty_network; -1: stays in ours */
};

/* The child's pid; -1 with errno. */
pid_t spawn(const struct spawn *s);

#endif
