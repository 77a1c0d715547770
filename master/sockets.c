/* SPDX-License-Identifier: ISC */
/*
 * RUNTIME and what lies in it: a directory per asker, which is that asker's
 * root directory when it is confined, and in it a socket per program it may
 * ask.  Only the asker may connect; sendmail's directory is everybody's, the
 * kernel says who calls.  The sockets outlive the programs that answer, so
 * that a question asked while one is restarted waits instead of failing.
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const struct {
	const char *asker, *asked;
} links[] = {
#define LINK_ROW(asker, asked) {#asker, #asked},
	ASK_LINKS(LINK_ROW)
#undef LINK_ROW
};

enum { LINKS = sizeof links / sizeof *links };

static bool
complain(struct buf *errors, const char *path)
{
	buf_printf(errors, "%s: %s\n", path, strerror(errno));
	return false;
}

static char *
path_of(const struct master *m, const char *name)
{
	return str_cstr(m->arena, str_printf(m->arena, "%.*s/%s",
		STR_ARG(m->now->conf->general.runtime), name));
}

/* With the mode and owner asked for, whether new or not.  The mode first: that
 * of another's directory only a capability we may lack would let us change. */
static bool
make_directory(const char *path, mode_t mode, const struct ids *owner,
	struct buf *errors)
{
	struct stat st;
	if (mkdir(path, mode) != 0 && errno != EEXIST)
		return complain(errors, path);
	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return complain(errors, path);
	}
	if (chmod(path, mode) != 0 || (owner != NULL &&
		chown(path, owner->uid, owner->gid) != 0))
		return complain(errors, path);
	return true;
}

bool
sockets_lock(const struct master *m, struct buf *errors)
{
	const struct ids owner = {0, 0};
	struct flock lock = {.l_type = F_WRLCK}; /* no child's, unlike flock */
	const char *path = path_of(m, "suratd.lock");
	if (!make_directory(str_cstr(m->arena, m->now->conf->general.runtime),
		0755, m->root ? &owner : NULL, errors))
		return false;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return complain(errors, path);
	arena_own_fd(m->arena, fd);
	if (fcntl(fd, F_SETLK, &lock) != 0) {
		buf_printf(errors, "%s: another suratd runs here\n", path);
		return false;
	}
	if (ftruncate(fd, 0) == 0)
		dprintf(fd, "%d\n", (int)getpid());
	return true;
}

/* The ids of who asks; NULL when not root or for people's commands. */
static const struct ids *
asker_ids(struct master *m, const char *asker)
{
	const struct role *role = role_asker(asker);
	return m->root && role != NULL ? &team_of(m, role)->ids : NULL;
}

static bool
is_everybodys(const char *asker)
{
	return ask_peer_bit(str_from(asker)) == PEER_LOCAL;
}

/*
 * The directory stays master's, so that a program whose root it is can add
 * nothing to it; its group may look.
 */
static bool
make_asker(struct master *m, const char *asker, struct buf *errors)
{
	const struct ids *ids = asker_ids(m, asker);
	struct ids owner = {0, ids != NULL ? ids->gid : 0};
	return make_directory(path_of(m, asker),
		is_everybodys(asker) ? 0755 : 0750, m->root ? &owner : NULL,
		errors);
}

/* One that was handed over: by systemd, or by who we were before. */
static int
given_link(const struct master *m, const char *path)
{
	for (size_t k = 0; k < m->given.n; k++) {
		struct net_address at = net_local(m->given.v[k].fd);
		const struct sockaddr_un *sun = (const void *)&at.sa;
		if (at.sa.ss_family == AF_UNIX &&
			strcmp(sun->sun_path, path) == 0)
			return m->given.v[k].fd;
	}
	return -1;
}

static bool
make_link(struct master *m, size_t i, struct buf *errors)
{
	const struct ids *ids = asker_ids(m, links[i].asker);
	const char *path = str_cstr(m->arena, str_printf(m->arena, "%s/%s",
		path_of(m, links[i].asker), links[i].asked));
	int given = given_link(m, path);
	if (given >= 0)
		m->asks[m->ask_count++] = (struct ask_socket){
			links[i].asker, links[i].asked, given};
	if (given >= 0 || m->launcher)
		return true;
	int fd = ipc_listen(path, is_everybodys(links[i].asker) ? 0666 : 0600);
	if (fd < 0)
		return complain(errors, path);
	m->asks[m->ask_count++] = (struct ask_socket){
		links[i].asker, links[i].asked, arena_own_fd(m->arena, fd)};
	return ids == NULL || chown(path, ids->uid, ids->gid) == 0 ||
		complain(errors, path);
}

/* What roles keep: the queue's directory and the virtual users' mail root.
 * What is there already is somebody's decision and stays as it is. */
static bool
make_state(struct master *m, struct buf *errors)
{
	const struct conf_general *g = &m->now->conf->general;
	const struct {
		struct str path;
		const char *role;
	} rows[] = {{g->state, "queue"}, {g->mail, "deliver-local"}};
	bool ok = true;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct role *role = role_find(str_from(rows[i].role));
		const char *path = str_cstr(m->arena, rows[i].path);
		if (access(path, F_OK) != 0)
			ok = make_directory(path, 0700, m->root ?
				&team_of(m, role)->ids : NULL, errors) && ok;
	}
	return ok;
}

bool
sockets_make(struct master *m, struct buf *errors)
{
	struct ids owner = {0, 0};
	bool ok = make_state(m, errors);
	ok = make_directory(path_of(m, "empty"), 0755,
		m->root ? &owner : NULL, errors) && ok;
	m->asks = arena_array(m->arena, LINKS, sizeof *m->asks);
	for (size_t i = 0; i < LINKS && ok; i++)
		ok = make_asker(m, links[i].asker, errors) &&
			make_link(m, i, errors);
	return ok;
}

/* A failure costs ordinary users sendmail without an option -C, no more. */
void
sockets_publish(const struct master *m)
{
	struct arena *a = arena_new("publish");
	struct str dir = m->now->conf->general.runtime, text = m->now->public;
	const char *path = str_cstr(a, str_printf(a, "%.*s/sendmail/surat.conf",
		STR_ARG(dir)));
	const char *beside = str_cstr(a, str_printf(a, "%s.new", path));
	unlink(beside);
	int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0 && write(fd, text.p, text.n) == (ssize_t)text.n &&
		fchmod(fd, 0644) == 0 && rename(beside, path) == 0;
	if (!ok)
		log_warn(LOG_NO_ID, "not-published", LOG_CSTR("file", path),
			LOG_CSTR("why", strerror(errno)));
	if (fd >= 0)
		close(fd);
	arena_free(a);
}
