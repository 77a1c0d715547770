/* SPDX-License-Identifier: ISC */
/*
 * inherit: named descriptors from the starter and to children, in systemd's
 * way (sd_listen_fds(3)): from number 3 on, LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES.
 */
#ifndef SYS_INHERIT_H
#define SYS_INHERIT_H

#include "base/str.h"

struct arena;

struct inherited {
	const char *name;
	int fd;
};

struct inheritance {
	struct inherited *v;
	size_t n;
};

/* What was handed over; the variables are gone then, and every descriptor
 * that was not named is closed. */
struct inheritance inherit_take(struct arena *a);

/* "smtp:submission:config": the names for LISTEN_FDNAMES. */
struct str inherit_names(struct arena *a, const struct inherited *v, size_t n);
/* Into this process's own variables, for what it executes next. */
void inherit_export(struct arena *a, const struct inherited *v, size_t n);

/*
 * In a child before exec: puts them at 3, 4, ... in this order, standard input
 * and output at /dev/null, and closes everything else but standard error.
 * scratch has room for n.
 */
void inherit_place(const struct inherited *v, size_t n, int *scratch);

#endif
