/* SPDX-License-Identifier: ISC */
/* The skeleton. */
#include "sys/service.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/listen.h"
#include "sys/notify.h"
#include "sys/options.h"
#include "sys/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <sysexits.h>
#include <unistd.h>

enum { ALONE_MS = 2000 };

struct options {
	const char *config;
	struct str_list overrides;
	const char *service;
	bool inetd;
};

/* ---------------------------------------------------------- inheritance */

int
program_fd(const struct program *p, const char *name, size_t nth)
{
	for (size_t i = 0; i < p->fd_count; i++)
		if (strcmp(p->fds[i].name, name) == 0 && nth-- == 0)
			return p->fds[i].fd;
	return -1;
}

/* A systemd unit has its secrets in a directory of its own
 * (LoadCredential=). */
static int
open_credential(const struct program *p, const char *name)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	return dir == NULL ? -1 : open(str_cstr(p->arena,
		str_printf(p->arena, "%s/%s", dir, name)),
		O_RDONLY | O_CLOEXEC);
}

int
program_open(const struct program *p, const char *name, struct str path)
{
	int fd = program_fd(p, name, 0);
	if (fd < 0)
		fd = open_credential(p, name);
	return fd >= 0 ? fd : open(str_cstr(p->arena, path),
		O_RDONLY | O_CLOEXEC);
}

/* systemd names sockets after their units, or not at all. */
static void
name_sockets(struct program *p)
{
	static const char *const ours[] = {"config", "master", "queue",
		"certificate", "key"};
	for (size_t i = 0; i < p->fd_count; i++) {
		struct inherited *in = &p->fds[i];
		struct str name = str_from(in->name);
		bool known = str_starts(name, STR("ask."));
		for (size_t k = 0; k < sizeof ours / sizeof *ours; k++)
			known |= str_eq(name, str_from(ours[k]));
		if (!known)
			listen_is_tls(str_head(name, str_find(name, '.')),
				&known);
		const char *found = known ? NULL :
			listen_name(p->arena, p->conf, in->fd);
		if (found != NULL)
			in->name = found;
	}
	errno = 0;
}

/* -------------------------------------------------- the end, without suratd */

/* SIGTERM is then what the end of the link to the starter is otherwise. */
static int end_of_link = -1;

/* Processes forked from this one have it too: closing it would end nothing. */
static void
on_term(int signal)
{
	int saved = errno;
	(void)signal;
	shutdown(end_of_link, SHUT_RDWR);
	errno = saved;
}

/* For programs that answer others: theirs is to finish what was asked. */
static void
make_master(struct program *p)
{
	struct inherited *all;
	bool answers = false;
	int pair[2];
	for (size_t i = 0; i < p->fd_count; i++)
		answers |= strncmp(p->fds[i].name, "ask.", 4) == 0;
	if (!answers || program_fd(p, "master", 0) >= 0 ||
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return;
	all = arena_array(p->arena, p->fd_count + 1, sizeof *all);
	memcpy(all, p->fds, p->fd_count * sizeof *all);
	all[p->fd_count++] = (struct inherited){"master", pair[0]};
	p->fds = all;
	end_of_link = pair[1];
	signal(SIGTERM, on_term);
}

bool
program_has_successor(const struct program *p)
{
	return program_fd(p, "master", 0) >= 0 && end_of_link < 0;
}

int64_t
program_grace(const struct program *p, int64_t most)
{
	return program_has_successor(p) || most < ALONE_MS ? most : ALONE_MS;
}

/* inetd makes the client's socket standard error too: what we have to say is
 * not for the client.  True when it was so. */
static bool
leave_client(void)
{
	struct stat in, err;
	if (fstat(STDIN_FILENO, &in) != 0 || !S_ISSOCK(in.st_mode) ||
		fstat(STDERR_FILENO, &err) != 0 || in.st_dev != err.st_dev ||
		in.st_ino != err.st_ino)
		return false;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, STDERR_FILENO) < 0)
		exit(1);
	close(null);
	return true;
}

/* -------------------------------------------------------- configuration */

static void
help(const struct service *s)
{
	bool serves = s->serve != NULL || s->inetd;
	printf("usage: %s [--config FILE] [--set SECTION.OPTION=VALUE]...%s"
		"\n\n%s\n\nIt is started by suratd or by a systemd unit with "
		"its sockets%s.\nSee %s(8).\n", s->name, serves ?
		" [-i [--service NAME]]" : "", s->usage == NULL ? "" : s->usage,
		serves ? "; -i serves one client\non standard input and "
		"output (inetd)" : "", s->name);
	exit(0);
}

/* What is left is the program's own, which knows these words: another one is
 * a mistake that would start something else than was meant. */
static void
refuse_strange(const struct program *p)
{
	if (p->argc == 0 || (p->argc == 1 &&
		(strcmp(p->argv[0], "--check") == 0 ||
			strcmp(p->argv[0], "--session") == 0)))
		return;
	fprintf(stderr, "%s: there is no option %s; see --help\n", p->name,
		p->argv[p->argc - 1]);
	exit(EX_USAGE);
}

static void
parse_options(const struct service *s, struct program *p, struct options *o)
{
	bool wants_help = false;
	const struct option_row rows[] = {
		{"--help", OPTION_FLAG, &wants_help},
		{"--config", OPTION_TEXT, &o->config},
		{"--set", OPTION_LIST, &o->overrides},
		{"--service", OPTION_TEXT, &o->service},
		{"-i", OPTION_FLAG, &o->inetd},
	};
	/* The last two are for those who serve clients. */
	bool serves = s->serve != NULL || s->inetd;
	size_t count = sizeof rows / sizeof *rows - (serves ? 0 : 2);
	p->argv++;
	p->argc = options_take(p->arena, p->argc - 1, p->argv, rows, count,
		NULL);
	if (wants_help)
		help(s);
	refuse_strange(p);
}

static int
open_config(const struct program *p, const struct options *o)
{
	int fd = program_fd(p, "config", 0);
	if (fd >= 0) {
		/* The same open file serves every child: read from the
		 * start, whoever read before. */
		char path[40];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		return open(path, O_RDONLY | O_CLOEXEC);
	}
	fd = open(o->config, O_RDONLY | O_CLOEXEC);
	/* inetd's programs and ssh's are nobody who may read passwords. */
	return fd >= 0 || errno != EACCES ? fd :
		open(CONF_PUBLISHED, O_RDONLY | O_CLOEXEC);
}

static void
load_config(struct program *p, const struct options *o)
{
	struct buf *errors = buf_new(p->arena);
	int fd = open_config(p, o);
	if (fd < 0)
		fatal("configuration", o->config);
	p->conf = conf_read(p->arena, fd, o->config, o->overrides, errors);
	close(fd);
	if (p->conf == NULL)
		fatal("configuration",
			str_cstr(p->arena, str_trim(buf_str(errors))));
	p->hostname = conf_hostname(p->arena, p->conf);
}

void
service_log(const char *name, const struct conf_log *c)
{
	static const struct {
		const char *word;
		int level;
	} levels[] = {{"error", LOG_ERR}, {"warning", LOG_WARNING},
		{"info", LOG_INFO}, {"debug", LOG_DEBUG}};
	log_open(name,
		str_eq(c->target, STR("stderr")) ? LOG_TO_STDERR
						 : LOG_TO_SYSLOG,
		str_eq(c->format, STR("json")) ? LOG_AS_JSON : LOG_AS_TEXT);
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
		if (str_eq(c->level, str_from(levels[i].word)))
			log_level(levels[i].level);
}

/* --------------------------------------------------------- confinement */

static void
change_root(struct program *p)
{
	const char *root = getenv("SURAT_ROOT");
	if (root == NULL)
		return;
	sandbox_chroot(root);
	p->root = str_from(root);
	/* What asks has its sockets there and nothing else. */
	p->sockets = STR("");
	unsetenv("SURAT_ROOT");
}

struct str
program_path(const struct program *p, struct str path)
{
	if (p->root.n == 0 || !str_starts(path, p->root))
		return path;
	struct str rest = str_skip(path, p->root.n);
	return rest.n == 0 ? STR("/") : rest;
}

static const char *const *
inside(struct program *p, const char **paths)
{
	for (const char **v = paths; v != NULL && *v != NULL; v++)
		*v = str_cstr(p->arena, program_path(p, str_from(*v)));
	return (const char *const *)paths;
}

void
program_confine(struct program *p, unsigned rights,
	const char *const *readable)
{
	change_root(p);
	sandbox_enter(&(struct sandbox){.rights = rights,
		.readable = readable});
}

/* The C library would look for the time zone again and again, and later in
 * vain: with a name of its own it looks once. */
static void
fix_time_zone(void)
{
	setenv("TZ", ":/etc/localtime", 0);
	tzset();
}

static void
confine(const struct service *s, struct program *p)
{
	const char **trees = s->trees == NULL ? NULL : s->trees(p);
	const char **readable = s->readable == NULL ? NULL : s->readable(p);
	const char **lockable = s->lockable == NULL ? NULL : s->lockable(p);
	struct sandbox box = {.rights = s->profile, .files = s->files,
		.megabytes = s->megabytes};
	if (s->ports != NULL)
		box.ports = s->ports(p);
	if (s->asker != NULL)
		p->sockets = str_printf(p->arena, "%.*s/%s",
			STR_ARG(p->conf->general.runtime), s->asker);
	fix_time_zone();
	change_root(p);
	box.trees = inside(p, trees);
	box.readable = inside(p, readable);
	box.lockable = inside(p, lockable);
	sandbox_enter(&box);
}

/* Before a program is confined it can reach the starter's socket. */
static void
tell_ready(const struct program *p)
{
	if (program_fd(p, "master", 0) < 0 || end_of_link >= 0)
		notify_starter("READY=1");
}

static void
work(const struct service *s, struct program *p, const struct options *o)
{
	if (s->run != NULL) {
		serve_tell(p, "-");
		s->run(p);
	} else if (o->inetd) {
		serve_inetd(s, p, o->service);
	} else {
		serve_clients(s, p);
	}
}


int
service_main(const struct service *s, int argc, char **argv)
{
	struct program p = {.name = s->name, .service = s, .argc = argc, .argv = argv,
		.arena = arena_new(s->name)};
	struct options o = {.config = conf_file()};
	/* Taking options out moves what is left; workers get all. */
	char **all = arena_array(p.arena, (size_t)argc + 1, sizeof *all);
	memcpy(all, argv, (size_t)argc * sizeof *all);
	signal(SIGPIPE, SIG_IGN);
	bool no_stderr = leave_client();
	log_open(s->name, no_stderr ? LOG_TO_SYSLOG : LOG_TO_STDERR,
		LOG_AS_TEXT);
	struct inheritance in = inherit_take(p.arena);
	p.fds = in.v;
	p.fd_count = in.n;
	parse_options(s, &p, &o);
	load_config(&p, &o);
	struct conf_log log = p.conf->log;
	if (no_stderr)
		log.target = STR("syslog");
	service_log(s->name, &log);
	umask(077);
	name_sockets(&p);
	if (s->serve != NULL && !o.inetd && program_fd(&p, "master", 0) < 0)
		pool_run(s, &p, all);
	make_master(&p);
	if (s->prepare != NULL)
		s->prepare(&p);
	tell_ready(&p);
	confine(s, &p);
	work(s, &p, &o);
	arena_free(p.arena);
	return 0;
}

int
program_stop_fd(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd >= 0)
		sigprocmask(SIG_BLOCK, &set, NULL);
	errno = 0;
	return fd;
}

struct str
program_session_id(struct arena *a)
{
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	char *id = arena_alloc(a, 12);
	uint32_t noise;
	uint64_t bits = (uint64_t)clock_wall() << 25;
	if (getrandom(&noise, sizeof noise, 0) != sizeof noise)
		fatal("getrandom", NULL);
	bits |= noise & ((1u << 25) - 1);
	for (int i = 11; i >= 0; i--, bits >>= 5)
		id[i] = digits[bits & 31];
	return str_of(id, 12);
}
