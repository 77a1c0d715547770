/* SPDX-License-Identifier: ISC */
/*
 * suratd starts itself again, from a file that has been replaced, without
 * closing a listening socket: they go along as inherited descriptors, and the
 * children it still has, which are told to finish by their links closing, go
 * along as numbers.  The new program is asked beforehand whether it would
 * start with this configuration.
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Children beyond are sessions that nobody waits for. */
enum { CHILDREN_MOST = 5000, ANSWERS_MS = 10 * 1000 };

bool
upgrade_is_due(const struct master *m)
{
	return generation_mark(m->exe) != m->exe_mark;
}

static char **
arguments(const struct master *m, struct arena *a, const char *more)
{
	size_t n = 0;
	while (m->argv[n] != NULL)
		n++;
	char **argv = arena_array(a, n + 2, sizeof *argv);
	memcpy(argv, m->argv, n * sizeof *argv);
	argv[n] = (char *)(uintptr_t)more;
	return argv;
}

static bool
is_approved(const struct master *m, struct arena *a)
{
	char **argv = arguments(m, a, "-n");
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		execv(m->exe, argv);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0;
}

static size_t
collect(const struct master *m, struct arena *a, struct inherited *v)
{
	size_t n = 0;
	for (size_t i = 0; i < m->now->listeners.n; i++)
		if (m->now->listeners.v[i].fd >= 0)
			v[n++] = (struct inherited){
				m->now->listeners.v[i].service,
				m->now->listeners.v[i].fd};
	for (size_t i = 0; i < m->ask_count; i++)
		v[n++] = (struct inherited){str_cstr(a, str_printf(a,
			"ask.%s.%s", m->asks[i].asker, m->asks[i].asked)),
			m->asks[i].fd};
	return n;
}

static char *
children(const struct master *m, struct arena *a)
{
	pid_t *pids = arena_array(a, CHILDREN_MOST, sizeof *pids);
	struct buf *text = buf_new(a);
	for (size_t i = 0; i < m->team_count; i++) {
		size_t n = keeper_pids(&m->teams[i].keep, pids, CHILDREN_MOST);
		for (size_t k = 0; k < n; k++)
			buf_printf(text, "%s %d ", m->teams[i].role->name,
				(int)pids[k]);
	}
	return str_cstr(a, buf_str(text));
}

/* Nobody's question is left unanswered. */
static void
go(void *ctx)
{
	struct master *m = ctx;
	struct arena *a = arena_new("upgrade");
	struct inherited *v = arena_array(a, m->now->listeners.n +
		m->ask_count, sizeof *v);
	size_t n = collect(m, a, v);
	setenv("SURAT_CHILDREN", children(m, a), 1);
	inherit_place(v, n, arena_array(a, n, sizeof(int)));
	inherit_export(a, v, n);
	execv(m->exe, m->argv);
	fatal("exec", m->exe);
}

bool
upgrade(struct master *m)
{
	struct arena *a = arena_new("upgrade");
	bool approved = is_approved(m, a);
	arena_free(a);
	if (!approved)
		return false;
	log_info(LOG_NO_ID, "upgrading", LOG_CSTR("program", m->exe));
	peers_retire(&m->peers, ANSWERS_MS, go);
	return true;
}

void
upgrade_adopt(struct master *m)
{
	struct str rest = str_from(getenv("SURAT_CHILDREN")), name, number;
	uint64_t pid;
	m->again = rest.p != NULL;
	while (str_word(&rest, &name) && str_word(&rest, &number)) {
		const struct role *role = role_find(name);
		if (role != NULL && str_number(number, INT32_MAX, &pid))
			keeper_add(&team_of(m, role)->keep, (pid_t)pid, -1,
				STR(""));
	}
	for (size_t i = 0; i < m->team_count; i++)
		team_retire(&m->teams[i]);
	unsetenv("SURAT_CHILDREN");
}
