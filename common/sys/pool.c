/* SPDX-License-Identifier: ISC */
/*
 * Workers without suratd: the sockets are a systemd unit's, and this process,
 * which has the unit's id and no other, starts itself again for each worker:
 * a fresh address space, and the same protocol ("-", "+", the end of a link)
 * as between suratd and its workers.
 */
#include "sys/serve.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "sys/loop.h"
#include "sys/notify.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUICK_DEATH = 2000, PAUSE = 1000, SURPLUS_AFTER = 60 * 1000 };

struct pool {
	const struct service *service;
	struct program *program;
	char **argv;
	struct loop *loop;
	struct list workers;
	int64_t size, busy;
	bool pausing;
};

struct worker {
	struct list link;
	struct pool *pool;
	struct arena *arena;
	pid_t pid;
	int fd;
	struct loop_watch *watch;
	int64_t started, since;
	bool busy, retired;
};

static void tend(struct pool *p);

static int64_t
number(const struct pool *p, size_t offset)
{
	const void *member = (const char *)p->program->conf + offset;
	return *(const int64_t *)member;
}

/* ------------------------------------------------------------- starting */

static void
set_variables(struct arena *a, const struct inherited *v, size_t n)
{
	setenv("LISTEN_FDS", str_cstr(a, str_printf(a, "%zu", n)), 1);
	setenv("LISTEN_FDNAMES", str_cstr(a, inherit_names(a, v, n)), 1);
	setenv("LISTEN_PID", str_cstr(a, str_printf(a, "%d",
		(int)getpid())), 1);
}

/* This program again, with our sockets and perhaps a link to us. */
static void __attribute__((noreturn))
become(struct pool *p, int link)
{
	struct arena *a = arena_new("exec");
	size_t n = p->program->fd_count;
	struct inherited *v = arena_array(a, n + 1, sizeof *v);
	int *scratch = arena_array(a, n + 1, sizeof *scratch);
	sigset_t none;
	memcpy(v, p->program->fds, n * sizeof *v);
	if (link >= 0)
		v[n++] = (struct inherited){"master", link};
	inherit_place(v, n, scratch);
	set_variables(a, v, n);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(p->argv[0], p->argv);
	execvp("/proc/self/exe", p->argv);
	fatal("exec", p->argv[0]);
}

static void on_link(void *ctx, int fd, unsigned events);

static bool
start(struct pool *p)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		unsetenv("NOTIFY_SOCKET");
		become(p, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return false;
	}
	struct arena *a = arena_new("worker");
	struct worker *w = arena_one(a, struct worker);
	*w = (struct worker){.pool = p, .arena = a, .pid = pid,
		.fd = arena_own_fd(a, pair[0]), .started = clock_ms(),
		.since = clock_ms()};
	w->watch = loop_watch(p->loop, w->fd, LOOP_READ, on_link, w);
	list_add(&p->workers, &w->link);
	p->size++;
	return true;
}

/* -------------------------------------------------------------- keeping */

static void
pause_over(void *ctx)
{
	struct pool *p = ctx;
	p->pausing = false;
	tend(p);
}

static void
pause_pool(struct pool *p)
{
	if (!p->pausing)
		loop_timer(p->loop, clock_in(PAUSE), pause_over, p);
	p->pausing = true;
}

static void
tend(struct pool *p)
{
	while (!p->pausing && p->size < number(p, p->service->most) &&
		p->size - p->busy < number(p, p->service->idle))
		if (!start(p))
			pause_pool(p);
}

static void
bury(struct worker *w)
{
	struct pool *p = w->pool;
	int status = 0;
	waitpid(w->pid, &status, 0);
	if (status != 0)
		log_warn(LOG_NO_ID, "died", LOG_NUM("child", w->pid),
			LOG_NUM("status", status));
	if (status != 0 && clock_ms() - w->started < QUICK_DEATH)
		pause_pool(p);
	if (w->busy)
		p->busy--;
	p->size--;
	loop_unwatch(w->watch);
	list_remove(&w->link);
	arena_free(w->arena);
	tend(p);
}

static void
on_link(void *ctx, int fd, unsigned events)
{
	struct worker *w = ctx;
	char said;
	(void)events;
	ssize_t n = recv(fd, &said, 1, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		bury(w);
		return;
	}
	bool busy = n == 1 && said == '+';
	if (n != 1 || busy == w->busy)
		return;
	w->busy = busy;
	w->since = clock_ms();
	w->pool->busy += busy ? 1 : -1;
	tend(w->pool);
}

/* One at a time: what a storm left goes home slowly. */
static void
sweep(void *ctx)
{
	struct pool *p = ctx;
	bool surplus = p->size - p->busy > number(p, p->service->idle);
	list_each(&p->workers, at, save) {
		struct worker *w = list_entry(at, struct worker, link);
		if (!surplus || w->busy || w->retired ||
			clock_ms() - w->since < SURPLUS_AFTER)
			continue;
		w->retired = true;
		shutdown(w->fd, SHUT_WR);
		break;
	}
	loop_timer(p->loop, clock_in(1000), sweep, p);
}

/* -------------------------------------------------------------- signals */

static void
on_hup(void *ctx, int fd, unsigned events)
{
	(void)fd, (void)events;
	notify_starter("RELOADING=1");
	become(ctx, -1);
}

static void
watch_hup(struct pool *p)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fatal("signalfd", NULL);
	loop_watch(p->loop, fd, LOOP_READ, on_hup, p);
}

static bool
has_sockets(const struct program *p)
{
	int on = 0;
	socklen_t n = sizeof on;
	for (size_t i = 0; i < p->fd_count; i++)
		if (getsockopt(p->fds[i].fd, SOL_SOCKET, SO_ACCEPTCONN, &on,
			&n) == 0 && on)
			return true;
	return false;
}

void
pool_run(const struct service *s, struct program *program, char **argv)
{
	struct pool p = {.service = s, .program = program, .argv = argv};
	if (s->most == 0 || !has_sockets(program))
		return;
	list_init(&p.workers);
	p.loop = loop_new(program->arena);
	watch_hup(&p);
	tend(&p);
	sweep(&p);
	notify_starter("READY=1");
	loop_run(p.loop);
	exit(0);
}
