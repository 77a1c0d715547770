/* SPDX-License-Identifier: ISC */
/*
 * Accepting.  Whatever the way, the program sees one client after another, and
 * nothing of the header a load balancer puts before it.
 */
#include "sys/serve.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/listen.h"
#include "sys/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CLIENTS_BEFORE_RETIRING = 100, PROXY_PATIENCE = 10 * 1000,
	BREATH_MS = 100, WAIT_MOST = 30 * 1000 };

/* "smtp" or "smtp.proxy": what is spoken there, and how it begins. */
static bool
take_service(const struct service *s, const char *name, struct client *c)
{
	struct str service = str_from(name);
	c->proxy = str_ends(service, STR(".proxy"));
	if (c->proxy)
		service = str_head(service, service.n - 6);
	bool known;
	c->service = service;
	c->tls = listen_is_tls(service, &known);
	return known || (s->answers && str_starts(service, STR("ask.")));
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
		if (!take_service(s->service, in->name, &any))
			continue;
		fcntl(in->fd, F_SETFL, fcntl(in->fd, F_GETFL) | O_NONBLOCK);
		watch(s, in->fd, EPOLLIN | EPOLLEXCLUSIVE, i);
		count++;
	}
	if (s->master >= 0)
		watch(s, s->master, EPOLLIN | EPOLLRDHUP, UINT64_MAX);
	return count;
}

/* What has come already is read: a close would take our words back else. */
static void
turn_away(const struct program *p, const struct client *c)
{
	/* RFC 8446 6.2: internal_error, which is no fault of the client's */
	static const char alert[] = {21, 3, 3, 0, 2, 2, 80};
	struct arena *a = arena_new("refusal");
	const char *text = p->service->too_busy;
	char unread[4096];
	log_info(LOG_NO_ID, "too-busy", LOG_STR("client", net_ip(a, &c->peer)),
		LOG_STR("service", c->service));
	send(c->out, c->tls ? alert : text,
		c->tls ? sizeof alert : strlen(text),
		MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(c->out, SHUT_WR);
	while (recv(c->in, unread, sizeof unread, MSG_DONTWAIT) > 0)
		;
	close(c->in);
	arena_free(a);
}

static bool
take_client(const struct program *p, const struct inherited *in,
	struct client *c)
{
	int fd = accept4(in->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return false;
	*c = (struct client){.in = fd, .out = fd, .peer = net_peer(fd),
		.local = net_local(fd)};
	take_service(p->service, in->name, c);
	return true;
}

/* All workers have enough to do, or there would be no line.  Who is told so
 * can come again; who is dropped by the system knows nothing. */
static size_t
shorten_line(const struct program *p, const struct inherited *in)
{
	struct client c;
	bool full;
	size_t waiting = net_line(in->fd, &full);
	while (full && p->service->too_busy != NULL &&
		take_client(p, in, &c)) {
		turn_away(p, &c);
		waiting = net_line(in->fd, &full);
	}
	return waiting;
}

/* Who has waited that long may not be there any more; those behind it are. */
static bool
is_late(const struct service *s, const struct client *c)
{
	return s->too_busy != NULL && net_waited(c->in) > WAIT_MOST;
}

size_t
serve_line(const struct program *p)
{
	size_t waiting = 0;
	for (size_t i = 0; p->service != NULL && i < p->fd_count; i++)
		waiting += shorten_line(p, &p->fds[i]);
	return waiting;
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
		shorten_line(s->program, in);
		if (take_client(s->program, in, c)) {
			if (!is_late(s->service, c))
				return true;
			turn_away(s->program, c);
			continue;
		}
		/* Another worker was faster; or there are no more descriptors
		 * on this host, and nobody is served by spinning. */
		if (errno != EAGAIN && errno != ECONNABORTED)
			usleep(BREATH_MS * 1000);
	}
}

void
serve_tell(const struct program *p, const char *state)
{
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		send(master, state, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
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

void
serve_inetd(const struct service *s, struct program *p, const char *name)
{
	struct client c = {.in = STDIN_FILENO, .out = STDOUT_FILENO,
		.inetd = true, .peer = net_peer(STDIN_FILENO),
		.local = net_local(STDIN_FILENO)};
	/* imap for imapd, and so on */
	struct str custom = str_from(s->name);
	if (name == NULL)
		name = listen_name(p->arena, p->conf, STDIN_FILENO);
	if (name == NULL)
		name = str_cstr(p->arena, str_head(custom, custom.n - 1));
	if (!take_service(s, name, &c))
		fatal("no such service", name);
	if (!c.proxy || unwrap(p, &c))
		s->serve(p, &c);
}

void
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
	serve_tell(p, "-");
	while (left-- > 0 && next_client(&server, &c)) {
		serve_tell(p, "+");
		if ((!c.proxy || unwrap(p, &c)) &&
			s->serve(p, &c) == SERVED_RETIRE)
			break;
		serve_tell(p, "-");
	}
}
