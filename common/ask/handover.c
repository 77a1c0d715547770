/* SPDX-License-Identifier: ISC */
/* The client, and whose it is, by the starter's word or the system's. */
#include "ask/handover.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/conn.h"
#include "sys/ipc.h"
#include "sys/net.h"
#include "sys/serve.h"
#include "sys/service.h"

#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum { PATIENCE = 30 * 1000, RETURN_PATIENCE = 5 * 1000 };

/* inetd and tcpserver run us as somebody, but the client is a stranger. */
static bool
is_from_network(void)
{
	int family = net_peer(STDIN_FILENO).sa.ss_family;
	return family == AF_INET || family == AF_INET6;
}

bool
handover_is_session(int argc, char **argv)
{
	bool session = false, inetd = false, service = false;
	for (int i = 1; i < argc; i++) {
		session |= strcmp(argv[i], "--session") == 0;
		inetd |= strcmp(argv[i], "-i") == 0;
		service |= strcmp(argv[i], "--service") == 0;
	}
	return session || (inetd && !service && !is_from_network());
}

/* The user's home by the system's word; HOME wins, as for any program. */
static void
from_inetd(struct program *p, struct handover *h)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *home = getenv("HOME");
	struct msg_session_start *m = &h->message.session_start;
	if (home == NULL && pw != NULL)
		home = pw->pw_dir;
	if (home == NULL || *home != '/')
		fatal("session", "no home directory");
	m->home = str_copy(p->arena, str_from(home));
	m->user =
		str_copy(p->arena, str_from(pw == NULL ? "user" : pw->pw_name));
	m->session = program_session_id(p->arena);
	h->in = STDIN_FILENO;
	h->out = STDOUT_FILENO;
	h->inetd = true;
}

static void
from_master(struct program *p, struct handover *h, int master)
{
	enum ipc_result r = ipc_recv_wait(
		&ask_messages, master, p->arena, &h->message, clock_in(PATIENCE));
	if (r == IPC_CLOSED)
		exit(0);
	if (r != IPC_OK || h->message.kind != MSG_session_start ||
		h->message.fd < 0)
		fatal("session", "no session_start from the starter");
	h->in = h->out = message_take_fd(&h->message);
}

void
handover_prepare(struct program *p)
{
	struct handover *h = arena_one(p->arena, struct handover);
	int master = program_fd(p, "master", 0);
	h->message = MESSAGE(session_start);
	h->start = &h->message.session_start;
	if (master >= 0)
		from_master(p, h, master);
	else
		from_inetd(p, h);
	p->ctx = h;
}

/* A client that the starter has sent is served, whatever stop says. */
static bool
wait_for(int master, int stop)
{
	struct pollfd p[] = {{.fd = master, .events = POLLIN},
		{.fd = stop, .events = POLLIN}};
	while (poll(p, 2, -1) < 0)
		;
	return p[0].revents & POLLIN;
}

static bool
is_ours(const struct handover *h, const struct msg_session_start *before)
{
	return h->message.kind == MSG_session_start && h->message.fd >= 0 &&
		str_eq(h->start->user, before->user) &&
		str_eq(h->start->home, before->home);
}

bool
handover_next(struct program *p, int stop)
{
	struct handover *h = p->ctx;
	int master = program_fd(p, "master", 0);
	if (master < 0)
		return false;
	struct arena *a = arena_new("client");
	const struct msg_session_start before = {
		.user = str_copy(a, h->start->user),
		.home = str_copy(a, h->start->home)};
	arena_free(h->client);
	h->client = a;
	serve_tell(p, "-");
	if (!wait_for(master, stop) || ipc_recv(&ask_messages, master, a,
		&h->message) != IPC_OK)
		return false;
	if (!is_ours(h, &before))
		fatal("session", "somebody else's client from the starter");
	h->in = h->out = message_take_fd(&h->message);
	return true;
}

void
handover_return(struct conn *c)
{
	struct message m = MESSAGE(tls_back);
	int pair[2];
	m.fd = conn_fd(c);
	m.tls_back.pending = conn_pending(c);
	ipc_pair(pair);
	if (ipc_send(&ask_messages, pair[0], &m) != IPC_OK ||
		!ipc_write_fd(m.fd, pair[1], clock_in(RETURN_PATIENCE)))
		log_warn(LOG_NO_ID, "not-back");
	close(pair[0]);
	close(pair[1]);
}

const struct handover *
handover_of(const struct program *p)
{
	return p->ctx;
}

const char **
handover_trees(struct program *p)
{
	const char **trees = arena_array(p->arena, 2, sizeof *trees);
	trees[0] = str_cstr(p->arena, str_printf(p->arena, "%.*s/Maildir",
		STR_ARG(handover_of(p)->start->home)));
	return trees;
}
