/* SPDX-License-Identifier: ISC */
/* Both ends of sd_listen_fds(3). */
#include "sys/inherit.h"
#include "base/arena.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 256 };

/* LISTEN_PID may be 0 from a starter that does not know our pid yet. */
static size_t
count_inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t p, n;
	if (pid == NULL || count == NULL ||
		!str_number(str_from(pid), INT32_MAX, &p) ||
		!str_number(str_from(count), MOST, &n))
		return 0;
	return p == 0 || p == (uint64_t)getpid() ? (size_t)n : 0;
}

struct inheritance
inherit_take(struct arena *a)
{
	struct str names = str_from(getenv("LISTEN_FDNAMES")), name;
	struct inheritance in = {NULL, count_inherited()};
	in.v = arena_array(a, in.n, sizeof *in.v);
	for (size_t i = 0; i < in.n; i++) {
		if (!str_cut(&names, ':', &name))
			name = STR("unknown");
		in.v[i].name = str_cstr(a, name);
		in.v[i].fd = FIRST + (int)i;
		fcntl(in.v[i].fd, F_SETFD, FD_CLOEXEC);
	}
	/* What nobody named is nobody's business (S16). */
	close_range(FIRST + (unsigned)in.n, ~0u, 0);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	errno = 0;
	return in;
}

struct str
inherit_names(struct arena *a, const struct inherited *v, size_t n)
{
	struct str_list list = {arena_array(a, n, sizeof *list.v), n};
	for (size_t i = 0; i < n; i++)
		list.v[i] = str_from(v[i].name);
	return str_join(a, list, STR(":"));
}

void
inherit_export(struct arena *a, const struct inherited *v, size_t n)
{
	setenv("LISTEN_FDS", str_cstr(a, str_printf(a, "%zu", n)), 1);
	setenv("LISTEN_FDNAMES", str_cstr(a, inherit_names(a, v, n)), 1);
	setenv("LISTEN_PID", str_cstr(a, str_printf(a, "%d",
		(int)getpid())), 1);
}

/* From anywhere to 3, 4, ...: first out of the way, then into place. */
void
inherit_place(const struct inherited *v, size_t n, int *scratch)
{
	int count = (int)n, null = open("/dev/null", O_RDWR);
	for (int i = 0; i < count; i++)
		scratch[i] = fcntl(v[i].fd, F_DUPFD, FIRST + count);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	for (int i = 0; i < count; i++)
		if (scratch[i] < 0 || dup2(scratch[i], FIRST + i) < 0)
			fatal("descriptors of a child", v[i].name);
	close_range((unsigned)(FIRST + count), ~0u, 0);
}
