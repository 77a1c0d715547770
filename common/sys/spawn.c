/* SPDX-License-Identifier: ISC */
/* fork and exec. */
#include "sys/spawn.h"
#include "base/arena.h"
#include "base/log.h"
#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VARIABLES_MOST = 16, NOT_LOADED = 127 };

/* What a child may learn of our environment: the time zone, and what the
 * tests and the sanitizers want. */
static const char *const passed_on[] = {
	"TZ", "SURAT_SECCOMP", "ASAN_OPTIONS", "UBSAN_OPTIONS",
	"LSAN_OPTIONS"};

struct environment {
	struct arena *arena;
	char *v[VARIABLES_MOST];
	size_t n;
};

static void
put(struct environment *e, const char *name, struct str value)
{
	e->v[e->n++] = str_cstr(e->arena,
		str_printf(e->arena, "%s=%.*s", name, STR_ARG(value)));
}

/* The last variable is the pid, which only the child knows. */
static void
fill(struct environment *e, const struct spawn *s)
{
	put(e, "PATH", STR("/usr/sbin:/usr/bin:/sbin:/bin"));
	for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
		if (getenv(passed_on[i]) != NULL)
			put(e, passed_on[i], str_from(getenv(passed_on[i])));
	put(e, "LISTEN_FDS", str_printf(e->arena, "%zu", s->fd_count));
	put(e, "LISTEN_FDNAMES", inherit_names(e->arena, s->fds, s->fd_count));
	if (s->ids != NULL)
		put(e, "SURAT_UID", str_printf(e->arena, "%u",
			(unsigned)s->ids->uid));
	if (s->home.n > 0)
		put(e, "SURAT_HOME", s->home);
	if (s->root.n > 0)
		put(e, "SURAT_ROOT", s->root);
	put(e, "LISTEN_PID", STR("0000000000"));
}

static void
settle(void)
{
	sigset_t none;
	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	umask(077);
	if (chdir("/") != 0)
		fatal("chdir", "/");
}

static void
give_up(const struct spawn *s)
{
	if (s->ids == NULL)
		return;
	sandbox_leave_network(s->network);
	sandbox_become(
		s->ids->uid, s->ids->gid, s->root.n > 0, s->ids->groups);
}

static void
become(const struct spawn *s, struct environment *e, int *scratch)
{
	char *argv[] = {(char *)(uintptr_t)s->name,
		(char *)(uintptr_t)s->argument, NULL};
	settle();
	give_up(s);
	inherit_place(s->fds, s->fd_count, scratch);
	snprintf(e->v[e->n - 1], sizeof "LISTEN_PID=0000000000",
		"LISTEN_PID=%d", (int)getpid());
	execve(s->path, argv, e->v);
	log_error(LOG_NO_ID, "not-started", LOG_CSTR("file", s->path),
		LOG_CSTR("why", strerror(errno)));
	_exit(NOT_LOADED);
}

pid_t
spawn(const struct spawn *s)
{
	struct arena *a = arena_new("spawn");
	struct environment e = {.arena = a};
	int *scratch = arena_array(a, s->fd_count, sizeof *scratch);
	fill(&e, s);
	pid_t pid = fork();
	if (pid == 0)
		become(s, &e, scratch);
	int err = errno;
	if (pid > 0)
		setpgid(pid, pid);
	arena_free(a);
	errno = err;
	return pid;
}
