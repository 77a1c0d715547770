/* SPDX-License-Identifier: ISC */
/*
 * One configuration: read, checked against the world as it is (programs,
 * certificate, users), kept as sealed memory files that every child reads,
 * with the sockets it listens on.  Nothing of the running suite changes until
 * a new generation has been read and all its sockets are open.
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { LONGEST_ASK_PATH = sizeof "/deliver/resolve" };

/* ------------------------------------------------------------- listeners */

static const struct {
	const char *service;
	const char *file;
	size_t list; /* offset in struct conf */
} listens[] = {
#define LISTEN(service, file) {#service, file, offsetof(struct conf, \
	listen.service)}
	LISTEN(smtp, "smtpd"), LISTEN(submission, "smtpd"),
	LISTEN(submissions, "smtpd"), LISTEN(lmtp, "smtpd"),
	LISTEN(imap, "imapd"), LISTEN(imaps, "imapd"), LISTEN(pop3, "pop3d"),
	LISTEN(pop3s, "pop3d"),
};

enum { LISTENS = sizeof listens / sizeof *listens };

static struct str_list
listen_list(const struct conf *c, size_t row)
{
	const void *member = (const char *)c + listens[row].list;
	return *(const struct str_list *)member;
}

static void
add_listeners(struct generation *g, size_t row, struct str spec)
{
	struct net_address at[2];
	const char *service = listens[row].service;
	size_t n;
	if (net_take_proxy(&spec))
		service = str_cstr(g->arena, str_printf(
			g->arena, "%s.proxy", service));
	if (!net_parse_listen(spec, at, &n))
		return;
	for (size_t i = 0; i < n; i++)
		g->listeners[g->listener_count++] = (struct listener){
			service, listens[row].file, at[i], spec, -1};
}

static void
collect_listeners(struct generation *g)
{
	size_t specs = 0;
	for (size_t row = 0; row < LISTENS; row++)
		specs += listen_list(g->conf, row).n;
	g->listeners = arena_array(g->arena, specs * 2, sizeof *g->listeners);
	for (size_t row = 0; row < LISTENS; row++) {
		struct str_list list = listen_list(g->conf, row);
		for (size_t i = 0; i < list.n; i++)
			add_listeners(g, row, list.v[i]);
	}
}

static int
kept_from(const struct generation *old, const struct listener *l)
{
	for (size_t i = 0; old != NULL && i < old->listener_count; i++) {
		const struct listener *o = &old->listeners[i];
		/* A socket is a socket, whatever is spoken there now. */
		if (o->fd >= 0 && o->at.n == l->at.n &&
			memcmp(&o->at.sa, &l->at.sa, o->at.n) == 0)
			return o->fd;
	}
	return -1;
}

/* A host without IPv6 is no reason to refuse "*:25". */
static bool
may_be_missing(const struct listener *l, int err)
{
	return str_starts(l->spec, STR("*")) &&
		l->at.sa.ss_family == AF_INET6 &&
		(err == EAFNOSUPPORT || err == EADDRNOTAVAIL);
}

static bool
open_listener(struct listener *l, struct buf *errors)
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

static void
close_new(struct generation *g, const struct generation *old)
{
	for (size_t i = 0; i < g->listener_count; i++) {
		struct listener *l = &g->listeners[i];
		if (l->fd >= 0 && kept_from(old, l) != l->fd)
			close(l->fd);
		l->fd = -1;
	}
}

bool
generation_listen(struct generation *g, struct generation *old,
	struct buf *errors)
{
	bool ok = true;
	for (size_t i = 0; i < g->listener_count; i++) {
		struct listener *l = &g->listeners[i];
		l->fd = kept_from(old, l);
		if (l->fd < 0)
			ok = open_listener(l, errors) && ok;
	}
	if (!ok) {
		close_new(g, old);
		return false;
	}
	for (size_t i = 0; old != NULL && i < old->listener_count; i++)
		for (size_t j = 0; j < g->listener_count; j++)
			if (old->listeners[i].fd == g->listeners[j].fd)
				old->listeners[i].fd = -1;
	return true;
}

/* ---------------------------------------------------------------- checks */

struct str
program_directory(struct arena *a, const struct conf *c)
{
	char path[4096];
	if (c->general.libexec.n > 0)
		return c->general.libexec;
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n <= 0)
		fatal("where am I", "/proc/self/exe cannot be read");
	path[n] = '\0';
	return str_copy(a, str_from(dirname(path)));
}

static bool
has_listeners(const struct generation *g, const char *file)
{
	for (size_t i = 0; i < g->listener_count; i++)
		if (strcmp(g->listeners[i].file, file) == 0)
			return true;
	return false;
}

static bool
check_programs(struct generation *g, struct buf *errors)
{
	size_t count;
	const struct role *roles = role_table(&count);
	struct str dir = program_directory(g->arena, g->conf);
	bool ok = true;
	for (size_t i = 0; i < count; i++) {
		const char *path = str_cstr(g->arena, str_printf(g->arena,
			"%.*s/%s", STR_ARG(dir), roles[i].file));
		if (roles[i].kind == ROLE_POOL &&
			!has_listeners(g, roles[i].file))
			continue;
		if (access(path, X_OK) == 0)
			continue;
		buf_printf(errors, "%s: %s: see general.libexec\n", path,
			strerror(errno));
		ok = false;
	}
	return ok;
}

static bool
check_file(struct arena *a, const char *option, struct str path,
	struct buf *errors)
{
	int fd = path.n == 0 ? -1 : open(str_cstr(a, path),
		O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || path.n == 0)
		return true;
	buf_printf(errors, "%s: %.*s: %s\n", option, STR_ARG(path),
		strerror(errno));
	return false;
}

static bool
check_world(struct generation *g, bool root, struct buf *errors)
{
	const struct conf *c = g->conf;
	struct sockaddr_un sun;
	struct ids ids[ROLES_MOST];
	bool ok = check_programs(g, errors);
	ok = check_file(g->arena, "tls.certificate", c->tls.certificate,
		errors) && ok;
	ok = check_file(g->arena, "tls.key", c->tls.key, errors) && ok;
	ok = check_file(g->arena, "general.users", c->general.users, errors) &&
		ok;
	if (c->general.runtime.n + LONGEST_ASK_PATH > sizeof sun.sun_path) {
		buf_printf(errors, "general.runtime: %.*s is too long for "
			"socket names\n", STR_ARG(c->general.runtime));
		ok = false;
	}
	return (!root || roles_identify(ids, errors)) && ok;
}

/* ------------------------------------------------------------- snapshots */

static void
take_snapshots(struct generation *g)
{
	struct buf *all = buf_new(g->arena), *public = buf_new(g->arena);
	struct conf c = *g->conf;
	conf_write(&c, all);
	c.remote.smarthost_password = STR("");
	c.remote.sender_smarthosts.n = 0;
	conf_write(&c, public);
	g->text = buf_str(all);
	g->public = buf_str(public);
	g->secret = arena_own_fd(g->arena,
		ipc_memory_file("surat.conf", g->text));
	g->config = arena_own_fd(g->arena,
		ipc_memory_file("surat.conf", g->public));
}

struct generation *
generation_read(const struct source *from, bool root, struct buf *errors)
{
	struct arena *a = arena_new("generation");
	struct generation *g = arena_one(a, struct generation);
	int fd = open(from->file, O_RDONLY | O_CLOEXEC);
	g->arena = a;
	if (fd < 0)
		buf_printf(errors, "%s: %s\n", from->file, strerror(errno));
	else
		g->conf = conf_read(a, fd, from->file, from->overrides,
			errors);
	if (fd >= 0)
		close(fd);
	if (g->conf != NULL) {
		collect_listeners(g);
		if (check_world(g, root, errors)) {
			take_snapshots(g);
			return g;
		}
	}
	arena_free(a);
	return NULL;
}

void
generation_free(struct generation *g)
{
	for (size_t i = 0; i < g->listener_count; i++) {
		if (g->listeners[i].fd < 0)
			continue;
		/* Workers of this generation hold it too: close would leave
		 * it listening with nobody to accept. */
		shutdown(g->listeners[i].fd, SHUT_RDWR);
		close(g->listeners[i].fd);
	}
	arena_free(g->arena);
}
