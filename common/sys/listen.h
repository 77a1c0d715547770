/* SPDX-License-Identifier: ISC */
/*
 * listen: the stream sockets of the configuration: which service is spoken
 * where, and which program accepts there.
 */
#ifndef SYS_LISTEN_H
#define SYS_LISTEN_H

#include "sys/conf.h"
#include "sys/net.h"

struct arena;
struct buf;

struct listener {
	const char *service; /* smtp, imaps, ...; "smtp.proxy": see sys/proxy */
	const char *file; /* the program that accepts */
	struct net_address at;
	struct str spec; /* as configured */
	int fd; /* -1 */
};

struct listeners {
	struct listener *v;
	size_t n;
};

/* Every address of the configuration, none of them open. */
struct listeners listen_collect(struct arena *a, const struct conf *c);

/* The one at this address; NULL. */
struct listener *listen_at(const struct listeners *all,
	const struct net_address *at);

/* Opens it; false with a complaint.  A host without IPv6 is no reason to
 * refuse "*": then true, and fd is -1. */
bool listen_open(struct listener *l, struct buf *errors);

/*
 * What an inherited socket is for, when its starter gave it no name of ours:
 * "ask.<asker>" for RUNTIME/<asker>/<asked>, "queue" for a conversation that
 * is open already, a service by the address, else by the port.  NULL when it
 * is none of that.
 */
const char *listen_name(struct arena *a, const struct conf *c, int fd);

/* Does that service begin with TLS?  False in *known when it is none. */
bool listen_is_tls(struct str service, bool *known);

#endif
