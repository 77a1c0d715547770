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
#include "base/log.h"
#include "sys/keep.h"
#include "sys/loop.h"
#include "sys/notify.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SWEEP_EVERY = 10 * 1000 };

struct pool {
	const struct service *service;
	struct program *program;
	char **argv;
	struct loop *loop;
	struct keeper keep;
};

static int64_t
number(const struct pool *p, size_t offset)
{
	const void *member = (const char *)p->program->conf + offset;
	return *(const int64_t *)member;
}

/* ------------------------------------------------------------- starting */

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
	inherit_export(a, v, n);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(p->argv[0], p->argv);
	execv("/proc/self/exe", p->argv);
	fatal("exec", p->argv[0]);
}

static bool
start(struct pool *p)
{
	int pair[2];
	if (!keeper_pair(pair))
		return false;
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		unsetenv("NOTIFY_SOCKET");
		become(p, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return false;
	}
	keeper_add(&p->keep, pid, pair[0], STR(""));
	return true;
}

static void
tend(struct keeper *k)
{
	struct pool *p = k->ctx;
	while (k->pause == NULL && keeper_size(k) <
			number(p, p->service->most) &&
		keeper_size(k) - k->in[KEPT_BUSY] <
			number(p, p->service->idle))
		if (!start(p))
			keeper_pause(k);
}

static void
sweep(void *ctx)
{
	struct pool *p = ctx;
	keeper_sweep(&p->keep, number(p, p->service->idle));
	loop_timer(p->loop, clock_in(SWEEP_EVERY), sweep, p);
}

/* -------------------------------------------------------------- signals */

static void
on_signal(void *ctx, int fd, unsigned events)
{
	struct pool *p = ctx;
	struct signalfd_siginfo info;
	int status;
	pid_t pid;
	(void)events;
	while (read(fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGHUP) {
			notify_starter("RELOADING=1");
			become(p, -1);
		}
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		keeper_bury(&p->keep, pid, status, false, true);
}

static void
watch_signals(struct pool *p)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		fatal("signalfd", NULL);
	loop_watch(p->loop, fd, LOOP_READ, on_signal, p);
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
	p.loop = loop_new(program->arena);
	p.keep = (struct keeper){.loop = p.loop, .name = s->name,
		.workers = true, .changed = tend, .ctx = &p};
	keeper_init(&p.keep);
	watch_signals(&p);
	tend(&p.keep);
	sweep(&p);
	notify_starter("READY=1");
	loop_run(p.loop);
	exit(0);
}
