/* SPDX-License-Identifier: ISC */
/* Where the suite is and how to ask it; files replaced in one step. */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "sys/ipc.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Whoever waits at a keyboard can interrupt; cron cannot try again. */
enum { PATIENCE = 60 * 1000 };

const struct conf *
ctl_conf(struct ctl *c)
{
	struct buf *errors = buf_new(c->arena);
	int fd = open(c->config, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		fd = open(CONF_PUBLISHED, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		ctl_fail(EX_CONFIG, "%s: %s (see --config and SURAT_CONF)",
			c->config, strerror(errno));
	const struct conf *conf = conf_read(c->arena, fd, c->config,
		c->overrides, errors);
	close(fd);
	if (conf != NULL)
		return conf;
	fprintf(stderr, "%.*s", STR_ARG(buf_str(errors)));
	exit(EX_CONFIG);
}

static void
absent(const char *path, int err)
{
	bool nobody = err == ENOENT || err == ECONNREFUSED;
	ctl_fail(err == EACCES ? EX_NOPERM : EX_TEMPFAIL, "%s: %s%s", path,
		strerror(err), nobody ? "; is suratd running?" : "");
}

int
ctl_ask(struct ctl *c, const char *asker, const char *asked,
	const struct message *question)
{
	const struct conf *conf = ctl_conf(c);
	const char *path = str_cstr(c->arena, str_printf(c->arena,
		"%.*s/%s/%s", STR_ARG(conf->general.runtime), asker, asked));
	int fd = ipc_connect(path);
	if (fd < 0)
		absent(path, errno);
	if (ipc_send_wait(&ask_messages, fd, question, clock_in(PATIENCE)) !=
		IPC_OK)
		ctl_fail(EX_TEMPFAIL, "%s does not take questions", asked);
	return fd;
}

void
ctl_answer(struct arena *a, int conversation, struct message *answer)
{
	enum ipc_result r = ipc_recv_wait(&ask_messages, conversation, a,
		answer, clock_in(PATIENCE));
	if (r != IPC_OK)
		ctl_fail(EX_TEMPFAIL, r == IPC_AGAIN ?
			"no answer: the suite is too busy" :
			"the answer broke off");
}

int
ctl_done(struct ctl *c, int conversation)
{
	struct message m;
	ctl_answer(c->arena, conversation, &m);
	if (m.kind != MSG_done)
		ctl_fail(EX_PROTOCOL, "an unexpected answer");
	return ctl_status(m.done.status);
}

int
ctl_status(struct status s)
{
	if (status_is_fine(s))
		return EX_OK;
	fprintf(stderr, "%s: %.*s\n", program_invocation_short_name,
		STR_ARG(s.text));
	return status_is_later(s) ? EX_TEMPFAIL : EX_DATAERR;
}

struct str
ctl_directory(struct arena *a)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n <= 0)
		ctl_fail(EX_OSERR, "/proc/self/exe: %s", strerror(errno));
	path[n] = '\0';
	return str_copy(a, str_from(dirname(path)));
}

/* ---------------------------------------------------------------- files */

bool
file_read(struct arena *a, const char *path, struct str *text)
{
	struct buf *b = buf_new(a);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = whole_read(fd, b, SIZE_MAX);
	int err = errno;
	close(fd);
	errno = err;
	*text = buf_str(b);
	return ok;
}

static bool
keep_owner(int fd, const char *path, unsigned mode)
{
	struct stat st;
	if (stat(path, &st) != 0)
		return fchmod(fd, mode) == 0;
	if (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
		return false;
	return fchmod(fd, st.st_mode & 07777) == 0;
}

bool
file_replace(struct arena *a, const char *path, struct str text, unsigned mode)
{
	char *beside = str_cstr(a, str_printf(a, "%s.XXXXXX", path));
	int fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = keep_owner(fd, path, mode) && whole_write(fd, text) &&
		fsync(fd) == 0 &&
		rename(beside, path) == 0;
	int err = errno;
	close(fd);
	if (!ok)
		unlink(beside);
	errno = err;
	return ok;
}
