/* SPDX-License-Identifier: ISC */
/* serve: how a program that serves clients comes by them; for sys/service. */
#ifndef SYS_SERVE_H
#define SYS_SERVE_H

#include "sys/service.h"

/* The one client on standard input and output; service NULL: what its port
 * says, else the program's name. */
void serve_inetd(const struct service *s, struct program *p,
	const char *service);

/* One client after another from the inherited sockets, until the starter has
 * gone or enough were served. */
void serve_clients(const struct service *s, struct program *p);

/* How many wait at our sockets because all workers are busy; who is too many is
 * turned away.  For a worker that waits for its client: when all do, nobody
 * else looks. */
size_t serve_line(const struct program *p);

/* "-" or "+" to the starter, see sys/service. */
void serve_tell(const struct program *p, const char *state);

/*
 * Without suratd: keeps workers of this program, each of which has its
 * starter in us.  argv is for them.  SIGHUP: this program starts again, from
 * its file and with its configuration as they are then; workers finish.
 * Returns only when there is nothing to serve.
 */
void pool_run(const struct service *s, struct program *p, char **argv);

#endif
