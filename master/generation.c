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
#include "base/map.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LONGEST_ASK_PATH = sizeof "/deliver/resolve" };

/* ------------------------------------------------------------- listeners */

struct listeners
generation_given(struct arena *a, const struct inheritance *in)
{
	struct listeners l = {arena_array(a, in->n, sizeof *l.v), 0};
	for (size_t i = 0; i < in->n; i++)
		if (strncmp(in->v[i].name, "ask.", 4) != 0)
			l.v[l.n++] = (struct listener){
				.service = in->v[i].name, .file = "",
				.at = net_local(in->v[i].fd),
				.fd = in->v[i].fd};
	return l;
}

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

const char *
generation_program(struct arena *a, const struct generation *g,
	const struct role *role)
{
	struct str dir = g->conf->general.libexec;
	char exe[4096];
	if (dir.n == 0) {
		ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
		exe[n > 0 ? n : 0] = '\0';
		dir = str_from(dirname(exe));
	}
	return str_cstr(a, str_printf(a, "%.*s/%s", STR_ARG(dir), role->file));
}

bool
generation_serves(const struct generation *g, const char *file)
{
	for (size_t i = 0; i < g->listeners.n; i++)
		if (strcmp(g->listeners.v[i].file, file) == 0)
			return true;
	return false;
}

uint64_t
generation_mark(const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return 0;
	const uint64_t parts[] = {st.st_dev, st.st_ino, (uint64_t)st.st_size,
		(uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec};
	return map_hash(str_of((const char *)parts, sizeof parts)) | 1;
}

uint64_t
generation_tls_mark(const struct conf *c)
{
	struct arena *a = arena_new("mark");
	uint64_t mark = generation_mark(str_cstr(a, c->tls.certificate)) * 31 +
		generation_mark(str_cstr(a, c->tls.key));
	arena_free(a);
	return mark;
}

static bool
check_programs(struct generation *g, struct buf *errors)
{
	size_t count;
	const struct role *roles = role_table(&count);
	bool ok = true;
	for (size_t i = 0; i < count; i++) {
		const char *path = generation_program(g->arena, g, &roles[i]);
		g->marks[i] = generation_mark(path);
		if ((roles[i].kind == ROLE_POOL &&
			!generation_serves(g, roles[i].file)) ||
			access(path, X_OK) == 0)
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

/* ----------------------------------------------------------------- world */

static int
open_file(struct generation *g, struct str path)
{
	int fd = path.n == 0 ? -1 :
		open(str_cstr(g->arena, path), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fd : arena_own_fd(g->arena, fd);
}

/* Whether they belong together only keys can say: nobody else of ours parses
 * such files. */
static bool
check_pair(struct generation *g, const struct ids *ids, struct buf *errors)
{
	const struct conf_tls *c = &g->conf->tls;
	struct inherited fds[] = {{"config", g->config},
		{"certificate", open_file(g, c->certificate)},
		{"key", open_file(g, c->key)}};
	struct spawn s = {.name = "keys", .argument = "--check", .fds = fds,
		.fd_count = sizeof fds / sizeof *fds, .ids = ids,
		.network = -1, .path = generation_program(g->arena, g,
			role_find(STR("keys")))};
	int status = -1;
	if (c->certificate.n == 0)
		return true;
	pid_t pid = spawn(&s);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		buf_printf(errors, "tls: %.*s and %.*s cannot be used; keys "
			"says why\n", STR_ARG(c->certificate),
			STR_ARG(c->key));
	return status == 0;
}

static bool
check_world(struct master *m, struct generation *g, struct buf *errors)
{
	const struct conf *c = g->conf;
	struct sockaddr_un sun;
	struct ids ids[ROLES_MOST];
	bool ok = check_programs(g, errors);
	ok = check_file(g->arena, "general.users", c->general.users, errors) &&
		ok;
	if (c->general.runtime.n + LONGEST_ASK_PATH > sizeof sun.sun_path) {
		buf_printf(errors, "general.runtime: %.*s is too long for "
			"socket names\n", STR_ARG(c->general.runtime));
		ok = false;
	}
	if (m->root && !roles_identify(ids, errors))
		return false;
	bool files = check_file(g->arena, "tls.certificate",
		c->tls.certificate, errors);
	files = check_file(g->arena, "tls.key", c->tls.key, errors) && files;
	/* keys is the first role. */
	return files && ok && check_pair(g, m->root ? ids : NULL, errors);
}

struct generation *
generation_read(struct master *m, struct buf *errors)
{
	const struct source *from = &m->source;
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
		g->tls_mark = generation_tls_mark(g->conf);
		take_snapshots(g);
		if (check_world(m, g, errors))
			return g;
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
