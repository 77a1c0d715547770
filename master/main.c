/* SPDX-License-Identifier: ISC */
/*
 * suratd stays in the foreground; systemd, runit or a shell puts it where it
 * belongs.  Everything that can be wrong is found before the first child is
 * started: configuration, programs, users, sockets.
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/loop.h"
#include "sys/notify.h"
#include "sys/options.h"
#include "sys/sandbox.h"
#include "sys/service.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* After that long imapd and pop3d serve what is there. */
enum { RECOVERY_PATIENCE = 30 * 1000, LOOK_EVERY = 10 * 1000 };

static const char usage[] =
	"usage: suratd [--config FILE] [--set SECTION.OPTION=VALUE]... "
	"[--announce] [--launcher] [-n]\n\n"
	"Starts the mail suite and keeps it running.\n"
	"  --config FILE  read FILE instead of /etc/surat/surat.conf\n"
	"  --set S.O=V    overrides one option\n"
	"  --announce     one line on standard output when all is ready\n"
	"  --launcher     only agents and sessions; systemd has the rest\n"
	"  -n             check the configuration and exit\n"
	"SIGHUP reloads, SIGTERM ends.  See suratd(8).\n";

/* *check: nothing is to be started. */
static void
parse_options(struct master *m, int argc, char **argv, bool *check)
{
	bool help = false;
	const struct option_row rows[] = {
		{"--help", OPTION_FLAG, &help},
		{"--config", OPTION_TEXT, &m->source.file},
		{"--set", OPTION_LIST, &m->source.overrides},
		{"--announce", OPTION_FLAG, &m->announce},
		{"--launcher", OPTION_FLAG, &m->launcher},
		{"-n", OPTION_FLAG, check},
	};
	int left = options_take(m->arena, argc, argv, rows,
		sizeof rows / sizeof *rows, "suratd --help");
	if (!help && left == 0)
		return;
	fputs(usage, help ? stdout : stderr);
	exit(help ? EX_OK : EX_USAGE);
}

static void
give_up(struct buf *errors)
{
	fprintf(stderr, "%.*s", STR_ARG(buf_str(errors)));
	exit(EX_CONFIG);
}

/* A link per child, and tls has two descriptors per client. */
static void
raise_limits(void)
{
	struct rlimit l;
	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

/* --------------------------------------------------------------- signals */

static void
on_signal(void *ctx, int fd, unsigned events)
{
	struct master *m = ctx;
	struct signalfd_siginfo info;
	(void)events;
	while (read(fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			stop_begin(m, 0);
		if (info.ssi_signo == SIGHUP && !m->stopping) {
			struct arena *a = arena_new("reload");
			control_reload(m, a);
			arena_free(a);
		}
	}
	/* Signals of one kind merge: look for every dead child each time. */
	teams_reap(m);
}

static void
watch_signals(struct master *m)
{
	static const int wanted[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		sigaddset(&set, wanted[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		fatal("signalfd", NULL);
	loop_watch(m->loop, arena_own_fd(m->arena, fd), LOOP_READ, on_signal,
		m);
}

/* ----------------------------------------------------------------- start */

static void
recovery_over(void *ctx)
{
	struct master *m = ctx;
	if (m->recovered || m->stopping)
		return;
	log_warn(LOG_NO_ID, "recovery-slow", LOG_CSTR("now",
		"mailboxes are served before the queue has recovered"));
	m->recovered = true;
	teams_tend(m);
	ready_look(m);
}

static void
identify(struct master *m)
{
	struct ids ids[ROLES_MOST];
	struct buf *errors = buf_new(m->arena);
	if (!m->root)
		return;
	if (!roles_identify(ids, errors))
		give_up(errors);
	for (size_t i = 0; i < m->team_count; i++)
		m->teams[i].ids = ids[i];
}

/* Certificates are renewed by programs that know nothing of us.  Not acted on
 * before two looks see the same: a pair is written one file at a time.  A
 * launcher has no use for them. */
static void
look_at_certificate(void *ctx)
{
	struct master *m = ctx;
	uint64_t mark = generation_tls_mark(m->now->conf);
	if (mark != m->now->tls_mark && mark == m->tls_seen &&
		mark != m->tls_refused && !m->stopping && !m->launcher) {
		struct arena *a = arena_new("certificate");
		log_info(LOG_NO_ID, "certificate-changed");
		if (!status_is_fine(control_reload(m, a)))
			m->tls_refused = mark;
		arena_free(a);
	}
	m->tls_seen = mark;
	loop_timer(m->loop, clock_in(LOOK_EVERY), look_at_certificate, m);
}

static void
say_alive(void *ctx)
{
	struct master *m = ctx;
	notify_starter("WATCHDOG=1");
	loop_timer(m->loop, clock_in(notify_watchdog()), say_alive, m);
}

static void
open_everything(struct master *m)
{
	struct buf *errors = buf_new(m->arena);
	struct generation given = {.listeners =
		generation_given(m->arena, &m->given)};
	if (!sockets_lock(m, errors) || !sockets_make(m, errors) ||
		(!m->launcher && !generation_listen(m->now, &given, errors)))
		give_up(errors);
	/* What the configuration does not want any more. */
	for (size_t i = 0; i < given.listeners.n; i++)
		if (given.listeners.v[i].fd >= 0)
			close(given.listeners.v[i].fd);
}

static void
run(struct master *m)
{
	m->loop = loop_new(m->arena);
	teams_init(m);
	identify(m);
	m->no_network = m->root ? sandbox_empty_network() : -1;
	open_everything(m);
	upgrade_adopt(m);
	sockets_publish(m);
	watch_signals(m);
	control_open(m);
	log_info(LOG_NO_ID, "starting", LOG_CSTR("config", m->source.file),
		LOG_CSTR("mode", m->root ? "root" : "unprivileged"));
	teams_tend(m);
	teams_sweep(m);
	loop_timer(m->loop, clock_in(RECOVERY_PATIENCE), recovery_over, m);
	look_at_certificate(m);
	if (notify_watchdog() > 0)
		say_alive(m);
	ready_look(m);
	loop_run(m->loop);
}

/* As it was, for who starts us again. */
static char **
copy(struct arena *a, int argc, char **argv)
{
	char **v = arena_array(a, (size_t)argc + 1, sizeof *v);
	memcpy(v, argv, (size_t)argc * sizeof *v);
	return v;
}

int
main(int argc, char **argv)
{
	struct arena *a = arena_new("master");
	struct buf *errors = buf_new(a);
	struct master *m = arena_one(a, struct master);
	bool check = false;
	log_open("suratd", LOG_TO_STDERR, LOG_AS_TEXT);
	*m = (struct master){.arena = a, .given = inherit_take(a),
		.source.file = conf_file(),
		.exe = realpath("/proc/self/exe", NULL),
		.argv = copy(a, argc, argv), .root = geteuid() == 0,
		.no_network = -1};
	m->exe_mark = generation_mark(m->exe);
	parse_options(m, argc - 1, argv + 1, &check);
	umask(077);
	raise_limits();
	m->now = generation_read(m, errors);
	if (m->now == NULL)
		give_up(errors);
	if (check)
		return EX_OK;
	service_log("suratd", &m->now->conf->log);
	run(m);
	log_info(LOG_NO_ID, "stopped");
	int status = m->exit_status;
	generation_free(m->now);
	arena_free(a);
	return status;
}
