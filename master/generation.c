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

/* A socket is a socket, whatever is spoken there now. */
static int
kept_from(const struct generation *old, const struct listener *l)
{
	const struct listener *o = old == NULL ? NULL :
		listen_at(&old->listeners, &l->at);
	return o == NULL ? -1 : o->fd;
}

static void
close_new(struct generation *g, const struct generation *old)
{
	for (size_t i = 0; i < g->listeners.n; i++) {
		struct listener *l = &g->listeners.v[i];
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
	for (size_t i = 0; i < g->listeners.n; i++) {
		struct listener *l = &g->listeners.v[i];
		l->fd = kept_from(old, l);
		if (l->fd < 0)
			ok = listen_open(l, errors) && ok;
	}
	if (!ok) {
		close_new(g, old);
		return false;
	}
	for (size_t i = 0; old != NULL && i < old->listeners.n; i++)
		if (listen_at(&g->listeners, &old->listeners.v[i].at) != NULL)
			old->listeners.v[i].fd = -1;
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

bool
generation_serves(const struct generation *g, const char *file)
{
	for (size_t i = 0; i < g->listeners.n; i++)
		if (strcmp(g->listeners.v[i].file, file) == 0)
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
			!generation_serves(g, roles[i].file))
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
		g->listeners = listen_collect(a, g->conf);
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
	for (size_t i = 0; i < g->listeners.n; i++) {
		int fd = g->listeners.v[i].fd;
		if (fd < 0)
			continue;
		/* Workers of this generation hold it too: close would leave
		 * it listening with nobody to accept. */
		shutdown(fd, SHUT_RDWR);
		close(fd);
	}
	arena_free(g->arena);
}
