/* SPDX-License-Identifier: ISC */
/*
 * Children: started when their team lacks them, counted by what they say on
 * their link, started again when they die.
 *
 * Back-off is for programs that do not come up: a child that dies within
 * moments of its start, without having served anybody, makes its team wait 1,
 * 2, 4 and so on to 60 seconds, and from a tenth of a second on when it had
 * said that it was up.  One that dies later, or is killed, is replaced at once;
 * a client who can crash a worker pays a connection for each.
 */
#include "master.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	QUICK_DEATH = 2000, /* ms after the start */
	PAUSE_FIRST = 1000, /* for one that did not come up, */
	PAUSE_AFTER = 100, /* and for one that had */
	PAUSE_MOST = 60 * 1000,
	RETIRE_PATIENCE = 20 * 1000,
	NUDGE_PATIENCE = 5 * 1000, /* between SIGTERM and SIGKILL */
	SURPLUS_AFTER = 60 * 1000, /* an idle worker too many goes home */
	SWEEP_EVERY = 10 * 1000,
	WORDS_PER_TURN = 64,
	FDS_MOST = 64,
};

void
teams_init(struct master *m)
{
	const struct role *roles = role_table(&m->team_count);
	for (size_t i = 0; i < m->team_count; i++) {
		m->teams[i] = (struct team){.master = m, .role = &roles[i]};
		list_init(&m->teams[i].children);
	}
	for (size_t i = 0; i < PID_BUCKETS; i++)
		list_init(&m->by_pid[i]);
}

struct team *
team_of(struct master *m, const struct role *role)
{
	size_t count;
	return &m->teams[role - role_table(&count)];
}

int64_t
team_size(const struct team *t)
{
	return t->in[CHILD_STARTING] + t->in[CHILD_IDLE] + t->in[CHILD_BUSY];
}

static void
enter(struct child *c, enum child_state state)
{
	c->team->in[c->state]--;
	c->team->in[state]++;
	c->state = state;
	c->since = clock_ms();
}

/* ------------------------------------------------------------- starting */

static int64_t
number(const struct team *t, size_t offset)
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
		if (t->role->kind == ROLE_SINGLE &&
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
	struct spawn s = {.role = t->role, .fds = fds, .home = with->home};
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
	pid_t pid = spawn(m, &s);
	arena_free(a);
	return pid;
}

static void on_link(void *ctx, int fd, unsigned events);

static void
enlist(struct team *t, pid_t pid, int fd)
{
	struct master *m = t->master;
	struct arena *a = arena_new("child");
	struct child *c = arena_one(a, struct child);
	*c = (struct child){.arena = a, .team = t, .pid = pid, .fd = fd,
		.started = clock_ms(), .since = clock_ms()};
	t->in[c->state]++;
	t->since = clock_wall();
	m->children++;
	c->watch = loop_watch(m->loop, fd, LOOP_READ, on_link, c);
	list_add(&t->children, &c->link);
	list_add(&m->by_pid[(unsigned)pid % PID_BUCKETS], &c->by_pid);
	log_debug(LOG_NO_ID, "started", LOG_CSTR("name", t->role->name),
		LOG_NUM("child", pid));
}

bool
team_start(struct team *t, const struct start *with)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
		log_error(LOG_NO_ID, "no-link", LOG_CSTR("why",
			strerror(errno)));
		return false;
	}
	ipc_roomy(pair[0]);
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
	enlist(t, pid, pair[0]);
	return true;
}

/* -------------------------------------------------------------- tending */

static bool
lacks(const struct team *t)
{
	const struct role *r = t->role;
	int64_t size = team_size(t);
	if (r->kind == ROLE_SINGLE)
		return size == 0 && (t->in[CHILD_RETIRED] == 0 ||
			(r->flags & ROLE_LINGERS));
	return r->kind == ROLE_POOL &&
		generation_serves(t->master->now, r->file) &&
		size < number(t, r->most) &&
		size - t->in[CHILD_BUSY] < number(t, r->idle) &&
		(t->master->recovered || !(r->flags & ROLE_RECOVERED));
}

static void
pause_over(void *ctx)
{
	struct team *t = ctx;
	t->pause = NULL;
	team_tend(t);
}

static void
back_off(struct team *t, int64_t first)
{
	int64_t shift = t->failures > 10 ? 10 : t->failures;
	int64_t ms = shift == 0 ? first : first << (shift - 1);
	if (t->pause == NULL)
		t->pause = loop_timer(t->master->loop,
			clock_in(ms < PAUSE_MOST ? ms : PAUSE_MOST),
			pause_over, t);
}

void
team_tend(struct team *t)
{
	const struct start plain = {.queue = -1};
	while (!t->master->stopping && t->pause == NULL && lacks(t))
		if (!team_start(t, &plain))
			back_off(t, PAUSE_FIRST);
}

void
teams_tend(struct master *m)
{
	for (size_t i = 0; i < m->team_count; i++)
		team_tend(&m->teams[i]);
}

/* ------------------------------------------------------------- retiring */

static void
kill_child(void *ctx)
{
	struct child *c = ctx;
	c->patience = NULL;
	kill(-c->pid, SIGKILL);
}

static void
nudge_child(void *ctx)
{
	struct child *c = ctx;
	kill(c->pid, SIGTERM);
	c->patience = loop_timer(c->team->master->loop,
		clock_in(NUDGE_PATIENCE), kill_child, c);
}

static void
stop_hearing(struct child *c)
{
	if (c->watch != NULL)
		loop_unwatch(c->watch);
	c->watch = NULL;
}

static void
close_link(struct child *c)
{
	stop_hearing(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Somebody waits for the end of a single; a worker or session may take as
 * long as its client does. */
void
child_retire(struct child *c)
{
	const struct role *r = c->team->role;
	if (c->state == CHILD_RETIRED)
		return;
	enter(c, CHILD_RETIRED);
	close_link(c);
	if (r->kind == ROLE_SINGLE && !(r->flags & ROLE_LINGERS))
		c->patience = loop_timer(c->team->master->loop,
			clock_in(RETIRE_PATIENCE), nudge_child, c);
}

void
team_retire(struct team *t)
{
	list_each(&t->children, at, save)
		child_retire(list_entry(at, struct child, link));
}

/* ---------------------------------------------------------- what they say */

static void
heard(struct child *c, char said)
{
	bool pool = c->team->role->kind == ROLE_POOL;
	if (c->state == CHILD_RETIRED)
		return;
	if (said == '-') {
		enter(c, pool ? CHILD_IDLE : CHILD_BUSY);
	} else if (said == '+' && pool) {
		enter(c, CHILD_BUSY);
		c->served++;
		c->team->served++;
	}
}

static void
on_link(void *ctx, int fd, unsigned events)
{
	struct child *c = ctx;
	char said;
	ssize_t n = 1;
	(void)events;
	for (int i = 0; i < WORDS_PER_TURN && n > 0; i++) {
		n = recv(fd, &said, 1, MSG_DONTWAIT);
		if (n > 0)
			heard(c, said);
	}
	/* Its end of the link is gone, so is it; SIGCHLD says how. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		stop_hearing(c);
	team_tend(c->team);
	ready_look(c->team->master);
}

/* Idle longest first: they stand in the order of their start. */
static void
sweep_team(struct team *t)
{
	int64_t surplus = t->in[CHILD_IDLE] - number(t, t->role->idle);
	int64_t before = clock_ms() - SURPLUS_AFTER;
	list_each(&t->children, at, save) {
		struct child *c = list_entry(at, struct child, link);
		if (surplus <= 0)
			return;
		if (c->state != CHILD_IDLE || c->since > before)
			continue;
		child_retire(c);
		surplus--;
	}
}

void
teams_sweep(void *ctx)
{
	struct master *m = ctx;
	for (size_t i = 0; i < m->team_count; i++)
		if (m->teams[i].role->kind == ROLE_POOL)
			sweep_team(&m->teams[i]);
	loop_timer(m->loop, clock_in(SWEEP_EVERY), teams_sweep, m);
}

/* --------------------------------------------------------------- the dead */

static void
report(const struct child *c, int status)
{
	bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool told = c->state == CHILD_RETIRED || c->team->master->stopping;
	bool ours = WIFSIGNALED(status) && (WTERMSIG(status) == SIGTERM ||
		WTERMSIG(status) == SIGKILL);
	if (fine || (told && ours))
		return;
	log_warn(LOG_NO_ID, "died", LOG_CSTR("name", c->team->role->name),
		LOG_NUM("child", c->pid), LOG_CSTR("how",
			WIFSIGNALED(status) ? "signal" : "exit"),
		LOG_NUM("code", WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status)));
}

/* SIGKILL is somebody's decision, not a fault that the next start will show
 * again. */
static bool
is_fault(int status)
{
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

/* Agents and sessions are nobody's to restart: who asked will ask again. */
static void
mourn(struct child *c, int status)
{
	struct team *t = c->team;
	bool kept = t->role->kind == ROLE_SINGLE || t->role->kind == ROLE_POOL;
	if (!kept || c->state == CHILD_RETIRED || t->master->stopping)
		return;
	if (c->served == 0 || t->role->kind == ROLE_SINGLE)
		t->restarts++;
	if (c->served > 0 || clock_ms() - c->started >= QUICK_DEATH ||
		!is_fault(status)) {
		t->failures = 0;
		return;
	}
	t->failures++;
	back_off(t, c->state == CHILD_STARTING ? PAUSE_FIRST : PAUSE_AFTER);
	ready_despair(t->master, t);
}

static void
bury(struct child *c, int status)
{
	struct team *t = c->team;
	struct master *m = t->master;
	report(c, status);
	mourn(c, status);
	t->in[c->state]--;
	m->children--;
	loop_untimer(c->patience);
	close_link(c);
	list_remove(&c->link);
	list_remove(&c->by_pid);
	arena_free(c->arena);
	team_tend(t);
	stop_look(m);
}

static struct child *
by_pid(struct master *m, pid_t pid)
{
	struct list *bucket = &m->by_pid[(unsigned)pid % PID_BUCKETS];
	list_each(bucket, at, save) {
		struct child *c = list_entry(at, struct child, by_pid);
		if (c->pid == pid)
			return c;
	}
	return NULL;
}

void
teams_reap(struct master *m)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = by_pid(m, pid);
		if (c != NULL)
			bury(c, status);
	}
}

/* The whole group: a child's own children end with it. */
void
team_signal(struct team *t, int signal)
{
	list_each(&t->children, at, save)
		kill(-list_entry(at, struct child, link)->pid, signal);
}

void
teams_signal(struct master *m, int signal)
{
	for (size_t i = 0; i < m->team_count; i++)
		team_signal(&m->teams[i], signal);
}
