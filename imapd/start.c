/* SPDX-License-Identifier: ISC */
/*
 * How a session process comes by its client: from session_start, the first
 * message on its link to the starter, which carries the client's descriptor,
 * or from inetd as the user who runs it.  The tagged OK of the LOGIN or
 * AUTHENTICATE that auth accepted is said here, by the process that can keep
 * what it promises.
 */
#include "commands.h"
#include "ask/messages.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum { START_PATIENCE = 30 * 1000 };

/* Who is served, until the session itself exists. */
struct start {
	struct message message;
	int in, out;
	bool inetd;
};

/* The user's home by the system's word; HOME wins, as for any program. */
static void
start_from_inetd(struct program *p, struct start *st)
{
	const struct passwd *pw = getpwuid(getuid());
	const char *home = getenv("HOME");
	struct msg_session_start *m = &st->message.session_start;
	if (home == NULL && pw != NULL)
		home = pw->pw_dir;
	if (home == NULL || *home != '/')
		fatal("session", "no home directory");
	m->home = str_copy(p->arena, str_from(home));
	m->user =
		str_copy(p->arena, str_from(pw == NULL ? "user" : pw->pw_name));
	m->session = program_session_id(p->arena);
	st->in = STDIN_FILENO;
	st->out = STDOUT_FILENO;
	st->inetd = true;
}

static void
start_from_master(struct program *p, struct start *st, int master)
{
	enum ipc_result r = ipc_recv_wait(&ask_messages, master, p->arena,
		&st->message, clock_in(START_PATIENCE));
	if (r == IPC_CLOSED)
		exit(0);
	if (r != IPC_OK || st->message.kind != MSG_session_start ||
		st->message.fd < 0)
		fatal("session", "no session_start from the starter");
	st->in = st->out = message_take_fd(&st->message);
}

void
start_prepare(struct program *p)
{
	struct start *st = arena_one(p->arena, struct start);
	int master = program_fd(p, "master", 0);
	st->message = MESSAGE(session_start);
	if (master >= 0)
		start_from_master(p, st, master);
	else
		start_from_inetd(p, st);
	p->ctx = st;
}

const char **
start_trees(struct program *p)
{
	const struct start *st = p->ctx;
	const char **trees = arena_array(p->arena, 2, sizeof *trees);
	trees[0] = str_cstr(p->arena, st->message.session_start.home);
	return trees;
}

static void
greet(struct imap_session *s, const struct start *st)
{
	struct imap_reply r = REPLY_OK("Logged in");
	struct str text = capability_text(s);
	if (st->inetd) {
		reply_untagged(s->conn,
			"PREAUTH [CAPABILITY %.*s] "
			"%.*s surat ready",
			STR_ARG(text), STR_ARG(s->program->hostname));
		return;
	}
	r.code = str_printf(s->transaction, "CAPABILITY %.*s", STR_ARG(text));
	reply_line(s->conn, st->message.session_start.tag, r);
}

void
start_run(struct program *p)
{
	const struct start *st = p->ctx;
	const struct msg_session_start *m = &st->message.session_start;
	struct imap_session *s = session_new(p, st->in, st->out);
	s->id = m->session;
	s->user = m->user;
	s->home = m->home;
	s->tls = m->tls != 0;
	if (m->client.n > 0)
		s->client = m->client;
	s->state = IMAP_AUTH;
	log_info(s->id, "session", LOG_STR("user", s->user),
		LOG_STR("client", s->client));
	greet(s, st);
	conn_preload(s->conn, m->pending);
	session_run(s);
	log_info(s->id, "ended", LOG_NUM("commands", s->commands));
	session_free(s);
}
