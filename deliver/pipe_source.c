/* SPDX-License-Identifier: ISC */
/*
 * A job only says which command it wants.  Whether there is such a command is
 * read here each time: in the configuration, in the aliases, in the user's
 * .forward.  So nobody who can write jobs can invent one.
 */
#include "pipe.h"
#include "forward.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/target.h"
#include "sys/argv.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIASES_MOST = 64 << 20 };

/* Started by root as somebody, it is known as whom; else there is one id. */
static bool
runs_as(struct arena *a, struct str user)
{
	const struct passwd *pw;
	if (getenv("SURAT_UID") == NULL)
		return true;
	pw = getpwnam(str_cstr(a, user));
	return pw != NULL && pw->pw_uid == getuid();
}

static struct status
nowhere(struct arena *a, struct str command)
{
	return status_later(3, 5, str_printf(a,
		"there is no such command any more: %.*s", STR_ARG(command)));
}

/* ---------------------------------------------------------------- aliases */

/* Written by nobody but root; without root by whom everything belongs to. */
static bool
is_trusted(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
		(st.st_uid == 0 || (st.st_uid == geteuid() &&
			getenv("SURAT_UID") == NULL)) &&
		(st.st_mode & S_IWOTH) == 0;
}

static bool
has_target(struct arena *a, struct str text, struct str command)
{
	struct str entry, name;
	int line, next = 1;
	while (target_entry(a, &text, &entry, &line, &next)) {
		if (!target_name(a, &entry, &name))
			continue;
		while (entry.n > 0) {
			struct str t = target_take(&entry), found;
			if (target_is_command(t) &&
				target_command(a, t, &found) &&
				str_eq(found, command))
				return true;
		}
	}
	return false;
}

static struct status
find_in_aliases(struct arena *a, const struct conf *c, struct str command)
{
	struct buf *text = buf_new(a);
	int fd = open(str_cstr(a, c->general.aliases),
		O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool trusted = fd >= 0 && is_trusted(fd);
	bool found = trusted && whole_read(fd, text, ALIASES_MOST) &&
		c->pipe.aliases &&
		runs_as(a, STR("_suratpipe")) &&
		has_target(a, buf_str(text), command);
	if (fd >= 0)
		close(fd);
	if (!trusted)
		return STATUS(STATUS_LATER, 3, 5, "general.aliases cannot be "
			"read, or others than root may write to it");
	return found ? status_fine() : nowhere(a, command);
}

/* --------------------------------------------------------------- .forward */

static struct status
find_in_forward(struct arena *a, const struct conf *c,
	const struct msg_job *j)
{
	const struct forward_rules rules = {j->user.v[0], c->general.plus,
		c->pipe.forward, j->id};
	struct str all, piece;
	if (forward_find(a, j->home.v[0], j->rcpt.v[0], &rules, &all) !=
		FORWARD_FOUND)
		return nowhere(a, j->destination);
	while (str_cut(&all, '\n', &piece))
		if (str_eq(piece, j->destination))
			return status_fine();
	return nowhere(a, j->destination);
}

/* A shell reads these, as everywhere; nothing of a message is in the text. */
static struct status
find_line(struct arena *a, const struct conf *c, const struct msg_job *j,
	char ***argv)
{
	char **v = arena_array(a, 4, sizeof *v);
	v[0] = str_cstr(a, STR("/bin/sh"));
	v[1] = str_cstr(a, STR("-c"));
	v[2] = str_cstr(a, str_skip(j->destination, 1));
	*argv = v;
	return j->user.v[0].n > 0 ? find_in_forward(a, c, j)
		: find_in_aliases(a, c, j->destination);
}

/* ------------------------------------------------------------------ named */

void
pipe_split(struct str address, struct str plus, struct str *user,
	struct str *extension, struct str *domain)
{
	size_t at = str_find_last(address, '@'), n = 1;
	struct str local = str_head(address, at);
	*domain = str_skip(address, at + 1);
	while (n < local.n && !str_has(plus, local.p[n]))
		n++;
	*user = str_head(local, n);
	*extension = str_skip(local, n + 1);
}

static struct status
find_named(struct arena *a, const struct conf *c, const struct msg_job *j,
	char ***argv)
{
	struct argv named;
	struct argv_values v = {.sender = j->sender,
		.recipient = j->rcpt.v[0], .original = j->orcpt.v[0],
		.queue_id = j->id, .recipients = j->rcpt,
		.size = str_printf(a, "%lld", (long long)j->size)};
	if (!argv_find(c->pipe.commands, j->destination, &named))
		return nowhere(a, j->destination);
	if (!runs_as(a, named.user))
		return STATUS(STATUS_LATER, 3, 5,
			"the command runs as somebody else");
	v.local = str_head(v.recipient, str_find_last(v.recipient, '@'));
	pipe_split(v.recipient, c->general.plus, &v.user, &v.extension,
		&v.domain);
	*argv = argv_fill(a, &named, &v);
	return *argv != NULL ? status_fine() : STATUS(STATUS_NEVER, 1, 3,
		"the address cannot be given to a command");
}

struct status
pipe_find(struct arena *a, const struct conf *c, const struct msg_job *j,
	char ***argv)
{
	return str_starts(j->destination, STR("|"))
		? find_line(a, c, j, argv) : find_named(a, c, j, argv);
}

bool
pipe_is_together(const struct conf *c, struct str command)
{
	struct argv named;
	return argv_find(c->pipe.commands, command, &named) && named.together;
}
