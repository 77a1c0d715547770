/* SPDX-License-Identifier: ISC */
/* The skeleton. */
#include "sys/service.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/notify.h"
#include "sys/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_INHERITED = 3, FDS_MOST = 256, CLIENTS_BEFORE_RETIRING = 100,
	PROXY_PATIENCE = 10 * 1000, BREATH_MS = 100 };

struct options {
	const char *config;
	struct str_list overrides;
	const char *service;
	bool inetd;
};

/* ---------------------------------------------------------- inheritance */

/* LISTEN_PID may be 0 from a starter that does not know our pid yet. */
static size_t
count_inherited(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t p, n;
	if (pid == NULL || count == NULL ||
		!str_number(str_from(pid), INT32_MAX, &p) ||
		!str_number(str_from(count), FDS_MOST, &n))
		return 0;
	return p == 0 || p == (uint64_t)getpid() ? (size_t)n : 0;
}

static void
inherit(struct program *p)
{
	struct str names = str_from(getenv("LISTEN_FDNAMES")), name;
	p->fd_count = count_inherited();
	p->fds = arena_array(p->arena, p->fd_count, sizeof *p->fds);
	for (size_t i = 0; i < p->fd_count; i++) {
		if (!str_cut(&names, ':', &name))
			name = STR("unknown");
		p->fds[i].name = str_cstr(p->arena, name);
		p->fds[i].fd = FIRST_INHERITED + (int)i;
		fcntl(p->fds[i].fd, F_SETFD, FD_CLOEXEC);
	}
	/* What nobody named is nobody's business (S16). */
	close_range(FIRST_INHERITED + (unsigned)p->fd_count, ~0u, 0);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	errno = 0;
}

int
program_fd(const struct program *p, const char *name, size_t nth)
{
	for (size_t i = 0; i < p->fd_count; i++)
		if (strcmp(p->fds[i].name, name) == 0 && nth-- == 0)
			return p->fds[i].fd;
	return -1;
}

int
program_open(const struct program *p, const char *name, struct str path)
{
	int fd = program_fd(p, name, 0);
	return fd >= 0 ? fd : open(str_cstr(p->arena, path),
		O_RDONLY | O_CLOEXEC);
}

/* -------------------------------------------------------- configuration */

static void
help(const struct service *s)
{
	printf("usage: %s [--config FILE] [--set SECTION.OPTION=VALUE]... "
		"[-i [--service NAME]]\n\n%s\n\nIt is started by suratd or "
		"by a systemd unit with its sockets; -i serves one\nclient on "
		"standard input and output (inetd).  See %s(8).\n",
		s->name, s->usage == NULL ? "" : s->usage, s->name);
	exit(0);
}

static const char *
argument(const struct service *s, int argc, char **argv, int *i)
{
	if (*i + 1 < argc)
		return argv[++*i];
	fprintf(stderr, "%s: %s needs an argument; see %s --help\n", s->name,
		argv[*i], s->name);
	exit(64);
}

static void
parse_options(const struct service *s, struct program *p, struct options *o)
{
	int argc = p->argc, kept = 0;
	char **argv = p->argv;
	o->overrides.v = arena_array(p->arena, (size_t)argc,
		sizeof *o->overrides.v);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			help(s);
		else if (strcmp(argv[i], "--config") == 0)
			o->config = argument(s, argc, argv, &i);
		else if (strcmp(argv[i], "--set") == 0)
			o->overrides.v[o->overrides.n++] =
				str_from(argument(s, argc, argv, &i));
		else if (strcmp(argv[i], "--service") == 0)
			o->service = argument(s, argc, argv, &i);
		else if (strcmp(argv[i], "-i") == 0)
			o->inetd = true;
		else
			argv[kept++] = argv[i];
	}
	p->argc = kept;
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
	return open(o->config, O_RDONLY | O_CLOEXEC);
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
	p->hostname = p->conf->general.hostname;
	if (p->hostname.n == 0) {
		char name[256] = "localhost";
		gethostname(name, sizeof name - 1);
		p->hostname = str_copy(p->arena, str_from(name));
	}
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
	sandbox_enter(&box);
}

/* -------------------------------------------------------------- serving */

static const struct {
	const char *name;
	bool tls;
} stream_services[] = {
	{"smtp", false}, {"submission", false}, {"submissions", true},
	{"lmtp", false}, {"imap", false}, {"imaps", true}, {"pop3", false},
	{"pop3s", true},
};

/* "smtp" or "smtp.proxy": what is spoken there, and how it begins. */
static bool
take_service(const char *name, struct client *c)
{
	struct str service = str_from(name);
	c->proxy = str_ends(service, STR(".proxy"));
	if (c->proxy)
		service = str_head(service, service.n - 6);
	for (size_t i = 0;
		i < sizeof stream_services / sizeof *stream_services; i++) {
		if (!str_eq(service, str_from(stream_services[i].name)))
			continue;
		c->service = service;
		c->tls = stream_services[i].tls;
		return true;
	}
	return false;
}

struct server {
	const struct service *service;
	struct program *program;
	int master;
	int epoll;
};

/* Each listening socket wakes one waiting process, not all of them. */
static void
watch(struct server *s, int fd, uint32_t events, uint64_t index)
{
	struct epoll_event e = {.events = events, .data.u64 = index};
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) != 0)
		fatal("epoll_ctl", NULL);
}

static size_t
watch_all(struct server *s)
{
	size_t count = 0;
	struct client any;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		fatal("epoll_create1", NULL);
	for (size_t i = 0; i < s->program->fd_count; i++) {
		const struct inherited *in = &s->program->fds[i];
		if (!take_service(in->name, &any))
			continue;
		fcntl(in->fd, F_SETFL, fcntl(in->fd, F_GETFL) | O_NONBLOCK);
		watch(s, in->fd, EPOLLIN | EPOLLEXCLUSIVE, i);
		count++;
	}
	if (s->master >= 0)
		watch(s, s->master, EPOLLIN | EPOLLRDHUP, UINT64_MAX);
	return count;
}

/* False when this process shall end: the starter is gone or wants it to. */
static bool
next_client(struct server *s, struct client *c)
{
	for (;;) {
		struct epoll_event e;
		int n = epoll_wait(s->epoll, &e, 1, -1);
		if (n < 0 && errno != EINTR)
			fatal("epoll_wait", NULL);
		if (n <= 0)
			continue;
		if (e.data.u64 == UINT64_MAX)
			return false;
		const struct inherited *in = &s->program->fds[e.data.u64];
		int fd = accept4(in->fd, NULL, NULL, SOCK_CLOEXEC);
		/* Another worker was faster; or there are no more descriptors
		 * on this host, and nobody is served by spinning. */
		if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
			usleep(BREATH_MS * 1000);
		if (fd < 0)
			continue;
		*c = (struct client){.in = fd, .out = fd,
			.peer = net_peer(fd), .local = net_local(fd)};
		take_service(in->name, c);
		return true;
	}
}

static void
tell_master(const struct program *p, const char *state)
{
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		send(master, state, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Before a program is confined it can reach the starter's socket. */
static void
tell_ready(const struct program *p)
{
	if (program_fd(p, "master", 0) < 0)
		notify_starter("READY=1");
}

static void
serve_inetd(const struct service *s, struct program *p, const char *name)
{
	struct client c = {.in = STDIN_FILENO, .out = STDOUT_FILENO,
		.inetd = true, .peer = net_peer(STDIN_FILENO),
		.local = net_local(STDIN_FILENO)};
	/* Without --service: imap for imapd, and so on. */
	struct str service = str_from(s->name);
	service = str_head(service, service.n - 1);
	if (name != NULL)
		service = str_from(name);
	if (!take_service(str_cstr(p->arena, service), &c))
		fatal("no such service", name);
	s->serve(p, &c);
}

static bool
may_proxy(const struct program *p, const struct client *c)
{
	const struct str_list *l = &p->conf->listen.proxy_from;
	for (size_t i = 0; i < l->n; i++)
		if (net_within(&c->peer, l->v[i]))
			return true;
	return false;
}

/* Who the client really is; false when that cannot be known. */
static bool
unwrap(const struct program *p, struct client *c)
{
	struct arena *a = arena_new("proxy");
	struct str from = net_ip(a, &c->peer);
	bool allowed = may_proxy(p, c);
	enum proxy_result r = !allowed ? PROXY_BAD : proxy_read(c->in,
		clock_in(PROXY_PATIENCE), &c->peer, &c->local);
	if (r == PROXY_BAD)
		log_warn(LOG_NO_ID, "proxy-refused", LOG_STR("from", from),
			LOG_CSTR("why", allowed ? "no header" :
				"not in listen.proxy_from"));
	arena_free(a);
	if (r == PROXY_BAD)
		close(c->in);
	return r != PROXY_BAD;
}

static void
serve_clients(const struct service *s, struct program *p)
{
	struct server server = {.service = s, .program = p,
		.master = program_fd(p, "master", 0)};
	unsigned left = s->max_clients > 0 ? s->max_clients
					   : CLIENTS_BEFORE_RETIRING;
	struct client c;
	if (watch_all(&server) == 0)
		fatal("no sockets", "start it from suratd or a systemd unit, "
			"or with -i from inetd");
	tell_master(p, "-");
	while (left-- > 0 && next_client(&server, &c)) {
		tell_master(p, "+");
		if ((!c.proxy || unwrap(p, &c)) &&
			s->serve(p, &c) == SERVED_RETIRE)
			break;
		tell_master(p, "-");
	}
}

int
service_main(const struct service *s, int argc, char **argv)
{
	struct program p = {.name = s->name, .argc = argc, .argv = argv,
		.arena = arena_new(s->name)};
	struct options o = {.config = getenv("SURAT_CONF")};
	if (o.config == NULL)
		o.config = "/etc/surat/surat.conf";
	signal(SIGPIPE, SIG_IGN);
	log_open(s->name, LOG_TO_STDERR, LOG_AS_TEXT);
	inherit(&p);
	parse_options(s, &p, &o);
	load_config(&p, &o);
	service_log(s->name, &p.conf->log);
	umask(077);
	if (s->prepare != NULL)
		s->prepare(&p);
	tell_ready(&p);
	confine(s, &p);
	if (s->run != NULL) {
		tell_master(&p, "-");
		s->run(&p);
	} else if (o.inetd) {
		serve_inetd(s, &p, o.service);
	} else {
		serve_clients(s, &p);
	}
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
