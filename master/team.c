/* SPDX-License-Identifier: ISC */
/*
 * Teams: what each child is started with, and when another one is wanted.
 * Agents and sessions are nobody's to restart: who asked will ask again.
 */
#include "master.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	RETIRE_PATIENCE = 20 * 1000,
	SWEEP_EVERY = 10 * 1000,
	FDS_MOST = 64,
};

static void
on_change(struct keeper *k)
{
	struct team *t = k->ctx;
	team_tend(t);
	ready_look(t->master);
	stop_look(t->master);
}

void
teams_init(struct master *m)
{
	const struct role *roles = role_table(&m->team_count);
	for (size_t i = 0; i < m->team_count; i++) {
		struct team *t = &m->teams[i];
		*t = (struct team){.master = m, .role = &roles[i]};
		t->keep = (struct keeper){.loop = m->loop,
			.name = roles[i].name, .changed = on_change, .ctx = t,
			.workers = roles[i].kind == ROLE_POOL};
		keeper_init(&t->keep);
	}
}

struct team *
team_of(struct master *m, const struct role *role)
{
	size_t count;
	return &m->teams[role - role_table(&count)];
}

/* ------------------------------------------------------------- starting */

int64_t
team_number(const struct team *t, size_t offset)
{
	const void *member = (const char *)t->master->now->conf + offset;
	return *(const int64_t *)member;
}

static size_t
add_sockets(const struct team *t, struct inherited *fds)
{
	const struct master *m = t->master;
	const struct generation *g = m->now;
	size_t n = 0;
	for (size_t i = 0; i < g->listeners.n && n < FDS_MOST; i++) {
		const struct listener *l = &g->listeners.v[i];
		if (t->role->kind == ROLE_POOL && l->fd >= 0 &&
			strcmp(l->file, t->role->file) == 0)
			fds[n++] = (struct inherited){l->service, l->fd};
	}
	return n;
}

static size_t
add_asks(struct arena *a, const struct team *t, struct inherited *fds)
{
	const struct master *m = t->master;
	size_t n = 0;
	for (size_t i = 0; i < m->ask_count && n < FDS_MOST; i++)
		if (t->role->kind <= ROLE_POOL &&
			strcmp(m->asks[i].asked, t->role->file) == 0)
			fds[n++] = (struct inherited){
				str_cstr(a, str_printf(a, "ask.%s",
					m->asks[i].asker)), m->asks[i].fd};
	return n;
}

/* Files that only root may read, for those who need them.  One that cannot be
 * opened is missed, and complained of, by the program. */
static size_t
add_files(struct arena *a, const struct team *t, struct inherited *fds)
{
	const struct conf_tls *c = &t->master->now->conf->tls;
	const struct {
		unsigned flag;
		const char *name;
		struct str path;
	} rows[] = {{ROLE_CERTIFICATE, "certificate", c->certificate},
		{ROLE_KEY, "key", c->key}};
	size_t n = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if ((t->role->flags & rows[i].flag) == 0 || rows[i].path.n == 0)
			continue;
		int fd = open(str_cstr(a, rows[i].path), O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			fds[n++] = (struct inherited){rows[i].name,
				arena_own_fd(a, fd)};
	}
	return n;
}

/* Where the child's own part of the world lies, when it is root's child. */
static void
set_place(struct arena *a, const struct team *t, const struct start *with,
	struct spawn *s)
{
	struct str runtime = t->master->now->conf->general.runtime;
	s->ids = with->ids != NULL ? with->ids : &t->ids;
	if (t->role->root != NULL)
		s->root = str_printf(a, "%.*s/%s", STR_ARG(runtime),
			t->role->root);
	else if (with->enclosed)
		s->root = with->home;
}

static pid_t
launch(struct team *t, const struct start *with, int link)
{
	const struct master *m = t->master;
	bool secrets = t->role->flags & ROLE_SECRETS;
	struct arena *a = arena_new("launch");
	struct inherited *fds = arena_array(a, 2 * FDS_MOST + 5, sizeof *fds);
	struct spawn s = {.name = t->role->file,
		.argument = t->role->argument, .fds = fds, .home = with->home,
		.path = generation_program(a, m->now, t->role),
		.network = t->role->flags & ROLE_NETWORK ? -1 : m->no_network};
	s.fd_count = add_sockets(t, fds);
	s.fd_count += add_asks(a, t, fds + s.fd_count);
	s.fd_count += add_files(a, t, fds + s.fd_count);
	fds[s.fd_count++] = (struct inherited){"config",
		secrets ? m->now->secret : m->now->config};
	fds[s.fd_count++] = (struct inherited){"master", link};
	if (with->queue >= 0)
		fds[s.fd_count++] = (struct inherited){"queue", with->queue};
	if (m->root)
		set_place(a, t, with, &s);
	pid_t pid = spawn(&s);
	arena_free(a);
	return pid;
}

bool
team_start(struct team *t, const struct start *with)
{
	int pair[2];
	if (!keeper_pair(pair)) {
		log_error(LOG_NO_ID, "no-link", LOG_CSTR("why",
			strerror(errno)));
		return false;
	}
	bool told = with->first == NULL ||
		ipc_send(&ask_messages, pair[0], with->first) == IPC_OK;
	pid_t pid = told ? launch(t, with, pair[1]) : -1;
	close(pair[1]);
	if (pid < 0) {
		log_error(LOG_NO_ID, "not-started",
			LOG_CSTR("name", t->role->name),
			LOG_CSTR("why", strerror(errno)));
		close(pair[0]);
		return false;
	}
	keeper_add(&t->keep, pid, pair[0], with->key);
	return true;
}

/* -------------------------------------------------------------- tending */

static bool
lacks(const struct team *t)
{
	const struct role *r = t->role;
	const struct keeper *k = &t->keep;
	int64_t size = keeper_size(k);
	if (r->kind == ROLE_SINGLE)
		return size == 0 && (k->in[KEPT_RETIRED] == 0 ||
			(r->flags & ROLE_LINGERS));
	return r->kind == ROLE_POOL &&
		generation_serves(t->master->now, r->file) &&
		size < team_number(t, r->most) &&
		size - k->in[KEPT_BUSY] < team_number(t, r->idle) &&
		(t->master->recovered || !(r->flags & ROLE_RECOVERED));
}

void
team_tend(struct team *t)
{
	const struct start plain = {.queue = -1};
	while (!t->master->stopping && !t->master->launcher && t->keep.pause == NULL && lacks(t))
		if (!team_start(t, &plain))
			keeper_pause(&t->keep);
}

void
teams_tend(struct master *m)
{
	for (size_t i = 0; i < m->team_count; i++)
		team_tend(&m->teams[i]);
}

/* Somebody waits for the end of a single; a worker or session may take as
 * long as its client does. */
void
team_retire(struct team *t)
{
	const struct role *r = t->role;
	bool awaited = r->kind == ROLE_SINGLE && !(r->flags & ROLE_LINGERS);
	keeper_retire(&t->keep, awaited ? RETIRE_PATIENCE : 0);
}

void
teams_sweep(void *ctx)
{
	struct master *m = ctx;
	for (size_t i = 0; i < m->team_count; i++)
		keeper_sweep(&m->teams[i].keep,
			m->teams[i].role->kind != ROLE_POOL ? 0 :
			team_number(&m->teams[i], m->teams[i].role->idle));
	loop_timer(m->loop, clock_in(SWEEP_EVERY), teams_sweep, m);
}

void
teams_reap(struct master *m)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < m->team_count; i++) {
			struct team *t = &m->teams[i];
			bool replaced = t->role->kind == ROLE_SINGLE ||
				t->role->kind == ROLE_POOL;
			if (!keeper_bury(&t->keep, pid, status, m->stopping,
				replaced))
				continue;
			ready_despair(m, t);
			break;
		}
}

int64_t
teams_children(const struct master *m)
{
	int64_t n = 0;
	for (size_t i = 0; i < m->team_count; i++)
		n += keeper_size(&m->teams[i].keep) +
			m->teams[i].keep.in[KEPT_RETIRED];
	return n;
}

void
teams_signal(struct master *m, int signal)
{
	for (size_t i = 0; i < m->team_count; i++)
		keeper_signal(&m->teams[i].keep, signal);
}
