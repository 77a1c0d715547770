/* SPDX-License-Identifier: ISC */
/*
 * What `surat setup` looks at before anything is written: the machine (ports,
 * another mail system, clock, disk), and whether the world will take mail from
 * it (its name, its address's name, the way out to other servers).  Every line
 * can be mended later; none stops the setup.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sys/hop.h"
#include "sys/net.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROBE_MS = 8000, SMTP_PORT = 25, ADDRESSES_MOST = 8,
	OTHERS_SHOWN = 3 };

struct addresses {
	struct net_address v[ADDRESSES_MOST];
	size_t n;
};

static bool
say(const struct ctl *c, const char *what, bool good, struct str why)
{
	return doctor_say(c, what, good, good ? STR("") : why);
}

/* ------------------------------------------------------------ the machine */

static void
look_at_ports(const struct ctl *c)
{
	static const int ports[] = {25, 465, 587, 143, 993, 110, 995};
	for (size_t i = 0; i < sizeof ports / sizeof *ports; i++) {
		struct net_address at;
		char what[40];
		int fd = net_parse_ip(STR("0.0.0.0"), ports[i], &at) ?
			net_listen(&at) : -1;
		snprintf(what, sizeof what, "port %d is free", ports[i]);
		say(c, what, fd >= 0, str_from(strerror(errno)));
		if (fd >= 0)
			close(fd);
	}
}

/* Whose sendmail programs will call. */
static void
look_at_sendmail(const struct ctl *c)
{
	struct arena *a = c->arena;
	char *real = realpath("/usr/sbin/sendmail", NULL);
	struct str ours = str_printf(a, "%.*s/sendmail",
		STR_ARG(ctl_directory(a)));
	bool same = real != NULL && str_eq(str_from(real), ours);
	say(c, "/usr/sbin/sendmail is this suite's", same, real == NULL ?
		STR("there is none") : str_copy(a, str_from(real)));
	free(real);
}

/* Of another mail system: who was in it would miss mail. */
static void
look_at_aliases(const struct ctl *c)
{
	struct arena *a = c->arena;
	struct buf *names = buf_new(a);
	struct str text = {NULL, 0}, line, name;
	int n = 0;
	if (!file_read(a, "/etc/aliases", &text))
		text = STR("");
	while (text.n > 0 && str_cut(&text, '\n', &line)) {
		bool entry = line.n > 0 && !str_has(STR("# \t"), line.p[0]) &&
			str_has(line, ':');
		str_cut(&line, ':', &name);
		/* These setup writes by itself. */
		if (!entry || str_eq(name, STR("postmaster")) ||
			str_eq(name, STR("mailer-daemon")) ||
			str_eq(name, STR("abuse")) ||
			str_eq(name, STR("root")))
			continue;
		if (n++ < OTHERS_SHOWN)
			buf_printf(names, "%s%.*s", n > 1 ? ", " : "",
				STR_ARG(name));
	}
	say(c, "/etc/aliases has nothing to take over", n == 0,
		str_printf(a, "%.*s%s (%d entries): surat reads its own file",
			STR_ARG(buf_str(names)),
			n > OTHERS_SHOWN ? ", ..." : "", n));
}

/* -------------------------------------------------------------- the world */

/* As the host's own resolver has it; the reason when there is none. */
static const char *
find_addresses(const char *name, int port, struct addresses *out)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *all = NULL;
	char service[8];
	snprintf(service, sizeof service, "%d", port);
	int e = getaddrinfo(name, service, &hints, &all);
	out->n = 0;
	for (const struct addrinfo *i = e == 0 ? all : NULL;
		i != NULL && out->n < ADDRESSES_MOST; i = i->ai_next) {
		struct net_address *at = &out->v[out->n];
		if (i->ai_addrlen > sizeof at->sa)
			continue;
		*at = (struct net_address){.n = i->ai_addrlen};
		memcpy(&at->sa, i->ai_addr, i->ai_addrlen);
		out->n++;
	}
	if (e == 0)
		freeaddrinfo(all);
	return e == 0 ? NULL : gai_strerror(e);
}

/* Behind a translating router no interface has it, and nothing is wrong. */
static bool
is_own(struct arena *a, const struct net_address *at, bool *any_public)
{
	struct ifaddrs *all = NULL;
	bool own = false;
	*any_public = false;
	if (getifaddrs(&all) != 0)
		return false;
	for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
		struct net_address mine = {.n = 0};
		int family = i->ifa_addr == NULL ? 0 : i->ifa_addr->sa_family;
		if (family != AF_INET && family != AF_INET6)
			continue;
		mine.n = family == AF_INET ? sizeof(struct sockaddr_in) :
			sizeof(struct sockaddr_in6);
		memcpy(&mine.sa, i->ifa_addr, mine.n);
		*any_public |= !net_is_private(&mine);
		own |= str_eq(net_ip(a, &mine), net_ip(a, at));
	}
	freeifaddrs(all);
	return own;
}

/* A name others will check: that it leads here, and back. */
static void
look_at_name(const struct ctl *c, struct str hostname)
{
	struct arena *a = c->arena;
	struct addresses all;
	const char *name = str_cstr(a, hostname);
	const char *why = find_addresses(name, SMTP_PORT, &all);
	const char *what = str_cstr(a, str_printf(a, "%s has an address",
		name));
	if (!say(c, what, all.n > 0, str_from(why == NULL ? "none" : why)))
		return;
	for (size_t i = 0; i < all.n; i++) {
		struct net_address *at = &all.v[i];
		char back[NI_MAXHOST] = "";
		bool any_public, own = is_own(a, at, &any_public);
		struct str ip = net_ip(a, at);
		say(c, str_cstr(a, str_printf(a, "%.*s is this host's",
			STR_ARG(ip))), own || !any_public,
			STR("no interface has it"));
		int e = getnameinfo((struct sockaddr *)&at->sa, at->n, back,
			sizeof back, NULL, 0, NI_NAMEREQD);
		bool same = e == 0 && str_eq_nocase(str_from(back), hostname);
		say(c, str_cstr(a, str_printf(a, "%.*s is called %s",
			STR_ARG(ip), name)), same, e != 0 ?
			str_from(gai_strerror(e)) : str_printf(a, "it is "
			"called %s: whoever gave you the address can change "
			"that", back));
	}
}

/* What it says first, or why not. */
static bool
greets(struct arena *a, const struct net_address *at, struct str *said)
{
	char text[200];
	int64_t deadline = clock_in(PROBE_MS);
	int fd = net_connect(at, NULL, deadline);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (fd < 0) {
		*said = str_from(strerror(errno));
		return false;
	}
	ssize_t n = poll(&p, 1, clock_left(deadline)) > 0 ?
		recv(fd, text, sizeof text, 0) : 0;
	struct str s = str_of(text, n > 0 ? (size_t)n : 0);
	*said = n <= 0 ? STR("it says nothing") :
		text_safe(a, str_head(s, str_find(s, '\r')));
	if (n > 0 && write(fd, "QUIT\r\n", 6) != 6)
		errno = 0;
	close(fd);
	return str_starts(s, STR("220"));
}

/* Most who rent out machines and lines block this port. */
static void
look_outward(const struct ctl *c, struct str probe)
{
	struct arena *a = c->arena;
	struct str host, said = STR("");
	struct addresses all;
	int port;
	if (!hop_parse_host(probe, &host, &port))
		ctl_fail(EX_USAGE, "%.*s is not HOST or HOST:PORT",
			STR_ARG(probe));
	port = port == 0 ? SMTP_PORT : port;
	const char *why = find_addresses(str_cstr(a, host), port, &all);
	bool good = false;
	for (size_t i = 0; i < all.n && !good; i++)
		good = greets(a, &all.v[i], &said);
	say(c, str_cstr(a, str_printf(a, "mail gets out, to port %d of %.*s",
		port, STR_ARG(host))), good, str_printf(a, "%.*s; is the port "
		"blocked? then a smarthost is needed", STR_ARG(why != NULL ?
		str_from(why) : said)));
}

void
preflight(const struct ctl *c, const struct preflight *p)
{
	static const char anchor[] = "/usr/share/dns/root.key";
	look_at_ports(c);
	look_at_sendmail(c);
	look_at_aliases(c);
	say(c, "the trust anchor of DNSSEC", access(anchor, R_OK) == 0,
		STR("dns-root-data is not installed"));
	doctor_clock(c);
	doctor_disk(c, STR("/var"));
	if (p->offline)
		return;
	look_at_name(c, p->hostname);
	/* No stranger is called whom nobody has named. */
	struct str way = p->probe != NULL ? str_from(p->probe) : p->smarthost;
	if (way.n > 0)
		look_outward(c, way);
	else
		say(c, "mail gets out", false, STR("not tried; --probe HOST "
			"does, with the mail exchanger of a large provider"));
}
