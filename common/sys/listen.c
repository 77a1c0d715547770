/* SPDX-License-Identifier: ISC */
/* One row a service; the rest follows from the rows and the configuration. */
#include "sys/listen.h"
#include "base/arena.h"
#include "base/buf.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

static const struct {
	const char *service, *file;
	bool tls; /* from the start */
	int port; /* by custom */
	size_t list; /* offset in struct conf */
} rows[] = {
#define LISTEN(service, file, tls, port) \
	{#service, file, tls, port, offsetof(struct conf, listen.service)}
	LISTEN(smtp, "smtpd", false, 25),
	LISTEN(submission, "smtpd", false, 587),
	LISTEN(submissions, "smtpd", true, 465),
	LISTEN(lmtp, "smtpd", false, 24),
	LISTEN(imap, "imapd", false, 143),
	LISTEN(imaps, "imapd", true, 993),
	LISTEN(pop3, "pop3d", false, 110),
	LISTEN(pop3s, "pop3d", true, 995),
};

enum { ROWS = sizeof rows / sizeof *rows };

static struct str_list
specs_of(const struct conf *c, size_t row)
{
	const void *member = (const char *)c + rows[row].list;
	return *(const struct str_list *)member;
}

static void
add(struct arena *a, struct listeners *l, size_t row, struct str spec)
{
	struct net_address at[2];
	const char *service = rows[row].service;
	size_t n;
	if (net_take_proxy(&spec))
		service = str_cstr(a, str_printf(a, "%s.proxy", service));
	if (!net_parse_listen(spec, at, &n))
		return;
	for (size_t i = 0; i < n; i++)
		l->v[l->n++] = (struct listener){
			service, rows[row].file, at[i], spec, -1};
}

struct listeners
listen_collect(struct arena *a, const struct conf *c)
{
	struct listeners l = {NULL, 0};
	size_t most = 0;
	for (size_t row = 0; row < ROWS; row++)
		most += specs_of(c, row).n * 2;
	l.v = arena_array(a, most, sizeof *l.v);
	for (size_t row = 0; row < ROWS; row++)
		for (size_t i = 0; i < specs_of(c, row).n; i++)
			add(a, &l, row, specs_of(c, row).v[i]);
	return l;
}

struct listener *
listen_at(const struct listeners *all, const struct net_address *at)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].at.n == at->n &&
			memcmp(&all->v[i].at.sa, &at->sa, at->n) == 0)
			return &all->v[i];
	return NULL;
}

static bool
may_be_missing(const struct listener *l, int err)
{
	return str_starts(l->spec, STR("*")) &&
		l->at.sa.ss_family == AF_INET6 &&
		(err == EAFNOSUPPORT || err == EADDRNOTAVAIL);
}

bool
listen_open(struct listener *l, struct buf *errors)
{
	const struct sockaddr_un *sun = (const void *)&l->at.sa;
	l->fd = net_listen(&l->at);
	if (l->fd < 0 && !may_be_missing(l, errno)) {
		buf_printf(errors, "listen.%s: %.*s: %s\n", l->service,
			STR_ARG(l->spec), strerror(errno));
		return false;
	}
	/* As with a loopback port: whoever is on this host may talk to it. */
	if (l->fd >= 0 && l->at.sa.ss_family == AF_UNIX)
		chmod(sun->sun_path, 0666);
	return true;
}

/* ----------------------------------------------------------------- names */

static int
option(int fd, int name)
{
	int value = 0;
	socklen_t n = sizeof value;
	return getsockopt(fd, SOL_SOCKET, name, &value, &n) == 0 ? value : -1;
}

/* ".../smtpd/auth": smtpd asks. */
static const char *
name_of_ask(struct arena *a, int fd)
{
	struct net_address at = net_local(fd);
	const struct sockaddr_un *sun = (const void *)&at.sa;
	struct str path;
	if (option(fd, SO_ACCEPTCONN) == 0)
		return "queue";
	if (at.sa.ss_family != AF_UNIX || at.n <= sizeof(sa_family_t))
		return NULL;
	path = str_from(sun->sun_path);
	path = str_head(path, str_find_last(path, '/'));
	path = str_skip(path, str_find_last(path, '/') + 1);
	return str_cstr(a, str_printf(a, "ask.%.*s", STR_ARG(path)));
}

const char *
listen_name(struct arena *a, const struct conf *c, int fd)
{
	struct net_address at = net_local(fd);
	struct listeners all = listen_collect(a, c);
	if (option(fd, SO_TYPE) == SOCK_SEQPACKET)
		return name_of_ask(a, fd);
	if (option(fd, SO_TYPE) != SOCK_STREAM)
		return NULL;
	const struct listener *l = listen_at(&all, &at);
	for (size_t i = 0; l == NULL && i < all.n; i++)
		if (net_port(&at) > 0 &&
			net_port(&all.v[i].at) == net_port(&at))
			l = &all.v[i];
	if (l != NULL)
		return l->service;
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].port == net_port(&at))
			return rows[i].service;
	return NULL;
}

bool
listen_is_tls(struct str service, bool *known)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (!str_eq(service, str_from(rows[i].service)))
			continue;
		*known = true;
		return rows[i].tls;
	}
	*known = false;
	return false;
}
