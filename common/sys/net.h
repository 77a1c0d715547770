/* SPDX-License-Identifier: ISC */
/*
 * net: internet sockets: addresses as text, listening, connecting.
 */
#ifndef SYS_NET_H
#define SYS_NET_H

#include "base/str.h"

#include <sys/socket.h>

struct arena;

struct net_address {
	struct sockaddr_storage sa;
	socklen_t n;
};

/* "192.0.2.1" or "2001:db8::1"; false for names and anything else. */
bool net_parse_ip(struct str ip, int port, struct net_address *out);

/* "192.0.2.1", "2001:db8::1"; "unix" for Unix sockets, "pipe" for none. */
struct str net_ip(struct arena *a, const struct net_address *n);
int net_port(const struct net_address *n);
bool net_is_loopback(const struct net_address *n);
/* Loopback, private, link-local, unspecified, multicast, documentation: not
 * an address to meet a stranger's mail exchanger at. */
bool net_is_private(const struct net_address *n);

/* Address of the other (this) end; "pipe" addresses when not a socket. */
struct net_address net_peer(int fd);
struct net_address net_local(int fd);

/* Takes the word "proxy" off the end of what to listen on: was it there? */
bool net_take_proxy(struct str *spec);

/*
 * Parses "HOST:PORT": HOST an IPv4 address, [IPv6], or * (empty) for every
 * address of both families; or an absolute path for a Unix stream socket.
 * Appends what to bind to list (at most 2).  False when it is none of that.
 */
bool net_parse_listen(struct str spec, struct net_address *list, size_t *n);

/* A listening, non-blocking stream socket; -1 with errno. */
int net_listen(const struct net_address *n);

/* How many are connected and wait to be accepted; full when whoever comes now
 * should rather be told so: beyond what the system lets wait it drops them
 * without a word.  0 where it cannot be known (Unix sockets). */
unsigned net_line(int listening, bool *full);

/* How long, in ms, who was just accepted has stood there, or kept silent when it
 * spoke meanwhile; 0 where it cannot be known. */
int64_t net_waited(int fd);

/* Connects until the deadline, from source when not NULL; -1 with errno
 * (ETIMEDOUT when the deadline passed). */
int net_connect(const struct net_address *to, const struct net_address *source,
	int64_t deadline);

/*
 * Connects to the first of several addresses that answers (RFC 8305): begins
 * with the first, adds the next whenever `stagger` ms have passed or one has
 * failed, and drops the others when one is there.
 */
struct net_dial {
	const struct net_address *to;
	size_t n;
	/* Local addresses by family; n 0: the system chooses. */
	struct net_address source4, source6;
	int64_t stagger; /* ms between two beginnings */
	int64_t patience; /* ms each may take */
	/* Results.  errors has n elements: errno of those that failed, 0 of
	 * those that were not tried or not over. */
	int *errors;
	size_t winner;
};

enum { NET_DIAL_MOST = 16 };

/* The connected descriptor, d->winner says whose; -1 when all failed. */
int net_dial(struct net_dial *d);

/* Is this one of the host's own addresses? */
bool net_is_ours(const struct net_address *n);

/* Is the address within "192.0.2.0/24", "2001:db8::/32" or equal to a bare
 * address?  False also when the network cannot be parsed. */
bool net_within(const struct net_address *n, struct str network);

/* The network of that many leading bits the address is in, as octets fit for
 * the key of a table: family, then the bits.  Empty when not an internet
 * address. */
struct str net_block(struct arena *a, const struct net_address *n,
	unsigned ipv4_bits, unsigned ipv6_bits);

#endif
