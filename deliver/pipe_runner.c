/* SPDX-License-Identifier: ISC */
/*
 * One command at a time.  It has the message on its standard input, a file;
 * what it writes to standard output and error comes back here.  It has no
 * other descriptor, an environment of its own, no terminal, a session of its
 * own, and nothing it starts can gain rights (no new privileges).
 */
#include "pipe.h"
#include "forward.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/encode.h"
#include "sys/ipc.h"
#include "sys/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	OUTPUT_MOST = 4096,
	VARIABLES_MOST = 20,
	GRACE_MS = 2000, /* between being asked to end and being killed */
	FILES_MOST = 1024,
	NOT_STARTED = 127,
};

struct run {
	struct arena *arena;
	const struct conf *conf;
	int agent; /* nobody waits for the command when it has gone */
	char **argv, **environment;
	const char *home;
	int message;
	int output; /* our end */
	pid_t pid;
	int process; /* its descriptor */
	struct buf *said;
	struct pipe_end end;
};

/* ------------------------------------------------------------ environment */

struct environment {
	struct arena *arena;
	char **v;
	size_t n;
};

/* Scripts forget their quotes: what a shell could take for its own does not
 * get into a variable (as Postfix does it). */
static bool
is_harmless(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || (unsigned char)c >= 0x80 ||
		str_has(STR("!@%-_=+:,./"), c);
}

static void
put(struct environment *e, const char *name, struct str value)
{
	char *text = str_cstr(e->arena,
		str_printf(e->arena, "%s=%.*s", name, STR_ARG(value)));
	e->v[e->n++] = text;
}

static void
put_filtered(struct environment *e, const char *name, struct str value)
{
	char *text = str_cstr(e->arena, value);
	for (char *p = text; *p != '\0'; p++)
		if (!is_harmless(*p))
			*p = '_';
	put(e, name, str_from(text));
}

/* What stands behind "rfc822;" or "utf-8;", or the recipient itself. */
static struct str
original(struct arena *a, const struct msg_job *j)
{
	struct str text = j->orcpt.v[0], type;
	struct buf *plain = buf_new(a);
	str_cut(&text, ';', &type);
	return text.n > 0 && orcpt_decode(plain, type, text) ? buf_str(plain)
		: j->rcpt.v[0];
}

static void
put_account(struct run *r, struct environment *e, const struct msg_job *j)
{
	const struct passwd *pw = getpwuid(getuid());
	struct str name = pw != NULL ? str_from(pw->pw_name) : STR("");
	struct str home = j->home.v[0];
	if (home.n == 0 && pw != NULL)
		home = str_from(pw->pw_dir);
	r->home = str_cstr(r->arena, home);
	put(e, "HOME", str_from(r->home));
	put(e, "USER", name);
	put(e, "LOGNAME", name);
}

static void
fill_environment(struct run *r, const struct msg_job *j)
{
	struct str user, extension, domain, to = j->rcpt.v[0];
	struct environment e = {.arena = r->arena, .v = arena_array(
		r->arena, VARIABLES_MOST, sizeof *e.v)};
	put(&e, "PATH", STR("/usr/local/bin:/usr/bin:/bin"));
	put(&e, "SHELL", STR("/bin/sh"));
	put(&e, "LANG", STR("C"));
	if (getenv("TZ") != NULL)
		put(&e, "TZ", str_from(getenv("TZ")));
	put_account(r, &e, j);
	pipe_split(to, r->conf->general.plus, &user, &extension, &domain);
	if (j->user.v[0].n > 0)
		extension = forward_extension(
			to, j->user.v[0], r->conf->general.plus);
	put_filtered(&e, "SENDER", j->sender);
	put_filtered(&e, "RECIPIENT", to);
	put_filtered(&e, "ORIGINAL_RECIPIENT", original(r->arena, j));
	put_filtered(&e, "LOCAL", str_head(to, str_find_last(to, '@')));
	put_filtered(&e, "EXTENSION", extension);
	put_filtered(&e, "DOMAIN", domain);
	put_filtered(&e, "QUEUE_ID", j->id);
	e.v[e.n] = NULL;
	r->environment = e.v;
}

/* --------------------------------------------------------------- the child */

static void
limit(int resource, rlim_t most)
{
	struct rlimit l;
	if (getrlimit(resource, &l) != 0)
		return;
	if (most < l.rlim_max)
		l.rlim_max = most;
	if (l.rlim_cur > l.rlim_max)
		l.rlim_cur = l.rlim_max;
	setrlimit(resource, &l);
}

static void
limit_all(const struct run *r)
{
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_NOFILE, FILES_MOST);
	limit(RLIMIT_DATA, (rlim_t)r->conf->pipe.memory);
	limit(RLIMIT_CPU, (rlim_t)r->conf->pipe.timeout);
}

static void
reset_signals(void)
{
	sigset_t none;
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* What goes wrong here is said where a command's words go. */
static void __attribute__((noreturn))
become(const struct run *r, int output)
{
	setsid();
	reset_signals();
	limit_all(r);
	umask(077);
	if (chdir(r->home) != 0 && chdir("/") != 0)
		_exit(NOT_STARTED);
	if (lseek(r->message, 0, SEEK_SET) != 0 ||
		dup2(r->message, STDIN_FILENO) < 0 ||
		dup2(output, STDOUT_FILENO) < 0 ||
		dup2(output, STDERR_FILENO) < 0 ||
		close_range(STDERR_FILENO + 1, ~0u, 0) != 0)
		_exit(NOT_STARTED);
	execve(r->argv[0], r->argv, r->environment);
	dprintf(STDERR_FILENO, "%s: %s\n", r->argv[0], strerror(errno));
	_exit(NOT_STARTED);
}

static bool
start(struct run *r)
{
	int ends[2];
	pid_t us = getpid();
	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	r->pid = fork();
	if (r->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (getppid() != us)
			_exit(NOT_STARTED);
		become(r, ends[1]);
	}
	close(ends[1]);
	r->output = ends[0];
	r->process = r->pid < 0 ? -1 : pidfd_open(r->pid, 0);
	if (r->process >= 0 && fcntl(r->output, F_SETFL, O_NONBLOCK) == 0)
		return true;
	if (r->pid > 0)
		kill(r->pid, SIGKILL);
	close(r->output);
	return false;
}

/* ------------------------------------------------------------- supervision */

static void
signal_all(const struct run *r, int signal_)
{
	if (kill(-r->pid, signal_) != 0)
		kill(r->pid, signal_);
}

/* Keeps the beginning; the rest is read so that nobody waits to be rid of it.
 * False when there will be no more. */
static bool
read_output(struct run *r)
{
	char part[4096];
	ssize_t n;
	while ((n = read(r->output, part, sizeof part)) > 0) {
		size_t room = OUTPUT_MOST - r->said->n;
		buf_add(r->said, str_head(str_of(part, (size_t)n), room));
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Its time is over: asked to end, then made to. */
static int64_t
hurry(struct run *r)
{
	signal_all(r, r->end.late ? SIGKILL : SIGTERM);
	r->end.late = true;
	return clock_in(GRACE_MS);
}

static void
wait_end(struct run *r)
{
	int64_t deadline = clock_in(r->conf->pipe.timeout * 1000);
	struct pollfd p[] = {{.fd = r->process, .events = POLLIN},
		{.fd = r->agent}, {.fd = r->output, .events = POLLIN}};
	for (;;) {
		int64_t left = clock_left(deadline);
		poll(p, 3, left > 60000 ? 60000 : (int)left);
		if (p[1].revents != 0) {
			signal_all(r, SIGKILL);
			_exit(0);
		}
		if (p[2].revents != 0 && !read_output(r))
			p[2].fd = -1;
		if (p[0].revents != 0)
			break;
		if (clock_left(deadline) <= 0)
			deadline = hurry(r);
	}
	if (r->end.late)
		signal_all(r, SIGKILL);
	while (waitpid(r->pid, &r->end.status, 0) < 0 && errno == EINTR)
		;
	read_output(r);
}

static struct status
run_command(struct run *r)
{
	r->said = buf_new(r->arena);
	if (!start(r))
		return status_errno(r->arena, "start of a command", errno);
	wait_end(r);
	close(r->process);
	close(r->output);
	r->end.output = buf_str(r->said);
	return pipe_status(r->arena, &r->end);
}

/* -------------------------------------------------------------------- jobs */

static bool
is_job(const struct message *m)
{
	const struct msg_job *j = &m->job;
	size_t n = j->number.n;
	return m->kind == MSG_job && m->fd >= 0 && n > 0 && j->rcpt.n == n &&
		j->orcpt.n == n && j->user.n == n && j->home.n == n;
}

static struct status
serve(const struct conf *c, int agent, struct arena *a, struct message *m)
{
	struct run r = {.arena = a, .conf = c, .agent = agent,
		.message = message_take_fd(m)};
	struct status s = pipe_find(a, c, &m->job, &r.argv);
	if (status_is_fine(s)) {
		fill_environment(&r, &m->job);
		s = run_command(&r);
	}
	close(r.message);
	return s;
}

static void
answer(int agent, struct arena *a, const struct msg_job *j, struct status s)
{
	struct message m = MESSAGE(job_result);
	struct str text = status_format(a, s);
	m.job_result.id = j->id;
	m.job_result.number = (struct str_list){j->number.v, 1};
	m.job_result.status = (struct str_list){&text, 1};
	if (ipc_send_wait(&ask_messages, agent, &m, CLOCK_FOREVER) != IPC_OK)
		_exit(0);
}

void
pipe_runner(struct program *p, int fd)
{
	prctl(PR_SET_NAME, "pipe-runner");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		fatal("prctl", "no new privileges");
	for (;;) {
		struct message m;
		struct arena *a = arena_new("run");
		if (ipc_recv_wait(&ask_messages, fd, a, &m, CLOCK_FOREVER) !=
			IPC_OK)
			_exit(0);
		if (!is_job(&m))
			fatal("agent", "a message that is not for the runner");
		answer(fd, a, &m.job, serve(p->conf, fd, a, &m));
		arena_free(a);
	}
}
