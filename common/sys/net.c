/* SPDX-License-Identifier: ISC */
/* Sockets and addresses; names are resolved elsewhere (resolve). */
#include "sys/net.h"
#include "base/arena.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 4096, /* the system's own limit, usually */
	LINE_MOST = 768, /* the rest is for those who come all at once */
};

static bool
to_cstr(struct str s, char *to, size_t room)
{
	if (s.n == 0 || s.n >= room || str_has(s, 0))
		return false;
	memcpy(to, s.p, s.n);
	to[s.n] = 0;
	return true;
}

bool
net_parse_ip(struct str ip, int port, struct net_address *out)
{
	char text[INET6_ADDRSTRLEN + 1];
	struct sockaddr_in v4 = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_in6 v6 = {
		.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	*out = (struct net_address){.n = 0};
	if (!to_cstr(ip, text, sizeof text))
		return false;
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(&out->sa, &v4, sizeof v4);
		out->n = sizeof v4;
	} else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
		memcpy(&out->sa, &v6, sizeof v6);
		out->n = sizeof v6;
	}
	return out->n > 0;
}

static const struct sockaddr_in *
v4_of(const struct net_address *n)
{
	return (const struct sockaddr_in *)&n->sa;
}

static const struct sockaddr_in6 *
v6_of(const struct net_address *n)
{
	return (const struct sockaddr_in6 *)&n->sa;
}

/* The address octets, IPv4-mapped ones as IPv4. */
static const uint8_t *
octets(const struct net_address *n, size_t *count)
{
	*count = 0;
	if (n->sa.ss_family == AF_INET) {
		*count = 4;
		return (const uint8_t *)&v4_of(n)->sin_addr;
	}
	if (n->sa.ss_family != AF_INET6)
		return NULL;
	const uint8_t *v6 = v6_of(n)->sin6_addr.s6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&v6_of(n)->sin6_addr)) {
		*count = 4;
		return v6 + 12;
	}
	*count = 16;
	return v6;
}

struct str
net_ip(struct arena *a, const struct net_address *n)
{
	char text[INET6_ADDRSTRLEN];
	size_t count;
	const uint8_t *o = octets(n, &count);
	if (n->sa.ss_family == AF_UNIX)
		return STR("unix");
	if (o == NULL)
		return STR("pipe");
	inet_ntop(count == 4 ? AF_INET : AF_INET6, o, text, sizeof text);
	return str_copy(a, str_from(text));
}

int
net_port(const struct net_address *n)
{
	if (n->sa.ss_family == AF_INET)
		return ntohs(v4_of(n)->sin_port);
	if (n->sa.ss_family == AF_INET6)
		return ntohs(v6_of(n)->sin6_port);
	return 0;
}

struct net_address
net_peer(int fd)
{
	struct net_address n = {.n = sizeof n.sa};
	if (getpeername(fd, (struct sockaddr *)&n.sa, &n.n) != 0)
		return (struct net_address){.n = 0};
	return n;
}

struct net_address
net_local(int fd)
{
	struct net_address n = {.n = sizeof n.sa};
	if (getsockname(fd, (struct sockaddr *)&n.sa, &n.n) != 0)
		return (struct net_address){.n = 0};
	return n;
}

bool
net_within(const struct net_address *n, struct str network)
{
	struct net_address base;
	struct str ip;
	size_t have, want;
	uint64_t bits;
	if (!str_cut(&network, '/', &ip) || !net_parse_ip(ip, 0, &base))
		return false;
	const uint8_t *a = octets(n, &have), *b = octets(&base, &want);
	if (a == NULL || have != want)
		return false;
	if (network.p == NULL)
		bits = have * 8;
	else if (!str_number(network, have * 8, &bits))
		return false;
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	uint8_t mask = (uint8_t)(0xff00 >> (bits % 8));
	return bits % 8 == 0 ||
		((a[bits / 8] ^ b[bits / 8]) & mask) == 0;
}

struct str
net_block(struct arena *a, const struct net_address *n, unsigned ipv4_bits,
	unsigned ipv6_bits)
{
	size_t count;
	const uint8_t *o = octets(n, &count);
	size_t bits = count == 4 ? ipv4_bits : ipv6_bits;
	if (o == NULL)
		return STR("");
	char *key = arena_alloc(a, count + 1);
	key[0] = count == 4 ? '4' : '6';
	if (bits > count * 8)
		bits = count * 8;
	memcpy(key + 1, o, (bits + 7) / 8);
	if (bits % 8 != 0)
		key[1 + bits / 8] &= (char)(0xff00 >> (bits % 8));
	return str_of(key, count + 1);
}

static bool
within_any(const struct net_address *n, const char *const *networks)
{
	for (; *networks != NULL; networks++)
		if (net_within(n, str_from(*networks)))
			return true;
	return false;
}

bool
net_is_loopback(const struct net_address *n)
{
	static const char *const loopback[] = {"127.0.0.0/8", "::1", NULL};
	return within_any(n, loopback);
}

bool
net_is_private(const struct net_address *n)
{
	static const char *const private[] = {"0.0.0.0/8", "10.0.0.0/8",
		"100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/3", "::/128", "::1/128",
		"fc00::/7", "fe80::/10", "ff00::/8", "2001:db8::/32", NULL};
	return within_any(n, private);
}

static bool
parse_unix(struct str path, struct net_address *out)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	if (!to_cstr(path, sun.sun_path, sizeof sun.sun_path))
		return false;
	*out = (struct net_address){.n = sizeof sun};
	memcpy(&out->sa, &sun, sizeof sun);
	return true;
}

bool
net_take_proxy(struct str *spec)
{
	if (!str_ends(*spec, STR(" proxy")))
		return false;
	*spec = str_trim(str_head(*spec, spec->n - 6));
	return true;
}

bool
net_parse_listen(struct str spec, struct net_address *list, size_t *n)
{
	uint64_t port;
	*n = 0;
	if (str_starts(spec, STR("/"))) {
		*n = 1;
		return parse_unix(spec, list);
	}
	size_t colon = str_find_last(spec, ':');
	if (colon == spec.n ||
		!str_number(str_skip(spec, colon + 1), 65535, &port))
		return false;
	struct str host = str_head(spec, colon);
	if (host.n == 0 || str_eq(host, STR("*"))) {
		*n = 2;
		return net_parse_ip(STR("0.0.0.0"), (int)port, &list[0]) &&
			net_parse_ip(STR("::"), (int)port, &list[1]);
	}
	if (str_starts(host, STR("[")) && str_ends(host, STR("]")))
		host = str_head(str_skip(host, 1), host.n - 2);
	*n = 1;
	return net_parse_ip(host, (int)port, list);
}

int
net_listen(const struct net_address *n)
{
	int one = 1, family = n->sa.ss_family;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (family == AF_UNIX)
		unlink(((const struct sockaddr_un *)&n->sa)->sun_path);
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)&n->sa, n->n) != 0 ||
		listen(fd, BACKLOG) != 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

/* What these two fields mean is another thing where nothing is connected. */
unsigned
net_line(int listening, bool *full)
{
	struct tcp_info i = {0};
	socklen_t n = sizeof i;
	*full = false;
	if (getsockopt(listening, IPPROTO_TCP, TCP_INFO, &i, &n) != 0 ||
		i.tcpi_state != TCP_LISTEN)
		return 0;
	*full = i.tcpi_unacked > LINE_MOST ||
		i.tcpi_unacked > i.tcpi_sacked / 4 * 3;
	return i.tcpi_unacked;
}

/* The last it sent is the end of the handshake. */
int64_t
net_waited(int fd)
{
	struct tcp_info i = {0};
	socklen_t n = sizeof i;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) != 0)
		return 0;
	return i.tcpi_last_ack_recv;
}

/* The port aside: the system's word on what can be bound here. */
bool
net_is_ours(const struct net_address *n)
{
	struct net_address at = *n;
	int fd = socket(n->sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (n->sa.ss_family == AF_INET)
		((struct sockaddr_in *)&at.sa)->sin_port = 0;
	else
		((struct sockaddr_in6 *)&at.sa)->sin6_port = 0;
	bool ours = bind(fd, (const struct sockaddr *)&at.sa, at.n) == 0;
	close(fd);
	return ours;
}

/* -------------------------------------------------------------- connect */

/* A connection begun: its descriptor, connected when *over; -1 with errno. */
static int
begin(const struct net_address *to, const struct net_address *source,
	bool *over)
{
	int one = 1, err = 0;
	int fd = socket(to->sa.ss_family,
		SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (to->sa.ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (source != NULL && source->sa.ss_family == to->sa.ss_family &&
		bind(fd, (const struct sockaddr *)&source->sa, source->n) != 0)
		err = errno;
	else if (connect(fd, (const struct sockaddr *)&to->sa, to->n) != 0)
		err = errno;
	*over = err == 0;
	if (err == 0 || err == EINPROGRESS)
		return fd;
	close(fd);
	errno = err;
	return -1;
}

static int
connect_wait(int fd, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	int err = 0, n;
	socklen_t size = sizeof err;
	do
		n = poll(&p, 1, clock_left(deadline));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return ETIMEDOUT;
	if (n < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) != 0)
		return errno;
	return err;
}

int
net_connect(const struct net_address *to, const struct net_address *source,
	int64_t deadline)
{
	bool over;
	int fd = begin(to, source, &over);
	int err = fd < 0 || over ? 0 : connect_wait(fd, deadline);
	if (fd < 0 || err == 0)
		return fd;
	close(fd);
	errno = err;
	return -1;
}

/* ----------------------------------------------------------------- dial */

struct dialling {
	struct net_dial *d;
	struct pollfd polls[NET_DIAL_MOST]; /* fd -1: failed or not begun */
	int64_t until[NET_DIAL_MOST];
	size_t begun, running;
	int64_t next; /* when another one is begun */
	bool won;
};

static void
failed(struct dialling *g, size_t i, int err)
{
	if (g->polls[i].fd >= 0) {
		close(g->polls[i].fd);
		g->running--;
	}
	g->polls[i].fd = -1;
	g->d->errors[i] = err;
	g->next = clock_ms();
}

static void
begin_next(struct dialling *g)
{
	struct net_dial *d = g->d;
	size_t i = g->begun++;
	const struct net_address *source = d->to[i].sa.ss_family == AF_INET6
		? &d->source6 : &d->source4;
	g->polls[i] = (struct pollfd){.events = POLLOUT};
	g->until[i] = clock_in(d->patience);
	g->next = clock_in(d->stagger);
	g->polls[i].fd = begin(&d->to[i], source, &g->won);
	if (g->polls[i].fd < 0) {
		failed(g, i, errno);
		return;
	}
	g->running++;
	d->winner = i;
}

/* Until something happens, or has to. */
static void
wait_all(struct dialling *g)
{
	int64_t until = g->begun < g->d->n ? g->next : CLOCK_FOREVER;
	for (size_t i = 0; i < g->begun; i++)
		if (g->polls[i].fd >= 0 && g->until[i] < until)
			until = g->until[i];
	poll(g->polls, (nfds_t)g->begun, clock_left(until));
}

static void
look_all(struct dialling *g)
{
	for (size_t i = 0; i < g->begun && !g->won; i++) {
		int err = 0;
		socklen_t size = sizeof err;
		if (g->polls[i].fd < 0)
			continue;
		if (g->polls[i].revents == 0) {
			if (clock_left(g->until[i]) == 0)
				failed(g, i, ETIMEDOUT);
			continue;
		}
		if (getsockopt(g->polls[i].fd, SOL_SOCKET, SO_ERROR, &err,
			&size) != 0)
			err = errno;
		if (err != 0)
			failed(g, i, err);
		else
			g->won = true;
		if (g->won)
			g->d->winner = i;
	}
}

int
net_dial(struct net_dial *d)
{
	struct dialling g = {.d = d};
	if (d->n > NET_DIAL_MOST)
		d->n = NET_DIAL_MOST;
	memset(d->errors, 0, d->n * sizeof *d->errors);
	while (!g.won && (g.running > 0 || g.begun < d->n)) {
		if (g.begun < d->n &&
			(g.running == 0 || clock_left(g.next) == 0)) {
			begin_next(&g);
			continue;
		}
		wait_all(&g);
		look_all(&g);
	}
	for (size_t i = 0; i < g.begun; i++)
		if (g.polls[i].fd >= 0 && !(g.won && i == d->winner))
			close(g.polls[i].fd);
	return g.won ? g.polls[d->winner].fd : -1;
}
