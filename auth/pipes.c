/* SPDX-License-Identifier: ISC */
/* The system knows accounts by their files, which are out of reach later. */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "sys/argv.h"

#include <errno.h>
#include <pwd.h>

/* The agents' own id needs no asking for. */
#define OWN_USER STR("_suratpipe")

static void
find_user(struct auth *x, struct pipe_user *u, struct str user,
	struct buf *errors)
{
	u->ids = STR("-");
	u->home = STR("");
	u->known = str_eq(user, OWN_USER);
	if (u->known)
		return;
	const struct passwd *pw = getpwnam(str_cstr(x->arena, user));
	u->known = pw != NULL && pw->pw_uid != 0 && pw->pw_gid != 0;
	if (!u->known) {
		buf_printf(errors, "pipe.commands: %.*s runs as %.*s, who %s\n",
			STR_ARG(u->name), STR_ARG(user),
			pw == NULL ? "does not exist" : "is root");
		return;
	}
	u->ids = str_printf(x->arena, "%u:%u", (unsigned)pw->pw_uid,
		(unsigned)pw->pw_gid);
	u->home = str_copy(x->arena, str_from(pw->pw_dir));
}

void
pipes_open(struct auth *x, struct buf *errors)
{
	const struct str_list *lines = &x->conf->pipe.commands;
	struct argv c;
	x->pipe_users = arena_array(x->arena, lines->n, sizeof(
		struct pipe_user));
	for (size_t i = 0; i < lines->n; i++) {
		if (!argv_parse(lines->v[i], &c))
			continue;
		x->pipe_users[i].name = c.name;
		find_user(x, &x->pipe_users[i], c.user, errors);
	}
	errno = 0;
}

const struct pipe_user *
pipes_find(const struct auth *x, struct str command)
{
	for (size_t i = 0; i < x->conf->pipe.commands.n; i++)
		if (x->pipe_users[i].known &&
			str_eq(x->pipe_users[i].name, command))
			return &x->pipe_users[i];
	return NULL;
}
