/* SPDX-License-Identifier: ISC */
/*
 * proxy: the header a load balancer puts before a connection it passes on
 * (PROXY protocol, version 2): who the client really is.
 *
 * Nothing behind the header is read: what follows is the client's, and may be
 * TLS.  Only hosts that were named are to be believed; that is the caller's
 * business.
 */
#ifndef SYS_PROXY_H
#define SYS_PROXY_H

#include "sys/net.h"

enum { PROXY_HEADER = 16 };

enum proxy_result {
	PROXY_CLIENT, /* peer and local are set */
	PROXY_LOCAL, /* the balancer itself: a health check */
	PROXY_BAD, /* no such header, or not in time */
};

/* The octets behind the first PROXY_HEADER ones; -1 when those are not the
 * beginning of a header. */
int proxy_length(const unsigned char head[PROXY_HEADER]);

/* A whole header. */
enum proxy_result proxy_parse(struct str header, struct net_address *peer,
	struct net_address *local);

/* Takes a header off a connected socket, until the deadline. */
enum proxy_result proxy_read(int fd, int64_t deadline,
	struct net_address *peer, struct net_address *local);

#endif
