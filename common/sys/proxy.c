/* SPDX-License-Identifier: ISC */
/* Sixteen fixed octets, then addresses of the family they name, then TLVs,
 * which are passed over. */
#include "sys/proxy.h"
#include "base/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

static const unsigned char signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
	0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

enum { LOCAL = 0x20, PROXY = 0x21, TCP4 = 0x11, TCP6 = 0x21 };

enum { TCP4_OCTETS = 12, TCP6_OCTETS = 36, LENGTH_MOST = 65535 };

int
proxy_length(const unsigned char head[PROXY_HEADER])
{
	if (memcmp(head, signature, sizeof signature) != 0 ||
		(head[12] != LOCAL && head[12] != PROXY))
		return -1;
	return head[14] << 8 | head[15];
}

static struct net_address
make_v4(const unsigned char *ip, const unsigned char *port)
{
	struct net_address n = {.n = sizeof(struct sockaddr_in)};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	memcpy(&v4.sin_addr, ip, 4);
	memcpy(&v4.sin_port, port, 2);
	memcpy(&n.sa, &v4, sizeof v4);
	return n;
}

static struct net_address
make_v6(const unsigned char *ip, const unsigned char *port)
{
	struct net_address n = {.n = sizeof(struct sockaddr_in6)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	memcpy(&v6.sin6_addr, ip, 16);
	memcpy(&v6.sin6_port, port, 2);
	memcpy(&n.sa, &v6, sizeof v6);
	return n;
}

enum proxy_result
proxy_parse(struct str header, struct net_address *peer,
	struct net_address *local)
{
	const unsigned char *p = (const unsigned char *)header.p;
	if (header.n < PROXY_HEADER)
		return PROXY_BAD;
	int length = proxy_length(p);
	if (length < 0 || (size_t)length != header.n - PROXY_HEADER)
		return PROXY_BAD;
	if (p[12] == LOCAL)
		return PROXY_LOCAL;
	const unsigned char *at = p + PROXY_HEADER;
	if (p[13] == TCP4 && length >= TCP4_OCTETS) {
		*peer = make_v4(at, at + 8);
		*local = make_v4(at + 4, at + 10);
		return PROXY_CLIENT;
	}
	if (p[13] == TCP6 && length >= TCP6_OCTETS) {
		*peer = make_v6(at, at + 32);
		*local = make_v6(at + 16, at + 34);
		return PROXY_CLIENT;
	}
	/* A client that has no internet address is none of ours. */
	return PROXY_BAD;
}

/* Exactly n octets. */
static bool
take(int fd, unsigned char *to, size_t n, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (n > 0) {
		int ready = poll(&p, 1, clock_left(deadline));
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return false;
		ssize_t got = read(fd, to, n);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0)
			return false;
		to += got;
		n -= (size_t)got;
	}
	return true;
}

enum proxy_result
proxy_read(int fd, int64_t deadline, struct net_address *peer,
	struct net_address *local)
{
	static unsigned char header[PROXY_HEADER + LENGTH_MOST];
	if (!take(fd, header, PROXY_HEADER, deadline))
		return PROXY_BAD;
	int length = proxy_length(header);
	if (length < 0 || !take(fd, header + PROXY_HEADER, (size_t)length,
		deadline))
		return PROXY_BAD;
	return proxy_parse(str_of(header, PROXY_HEADER + (size_t)length),
		peer, local);
}
