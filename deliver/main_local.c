/* SPDX-License-Identifier: ISC */
/*
 * deliver-local: puts mail into mailboxes, as the user whose they are.
 *
 * The queue is the only one it talks to, over the descriptor "queue": jobs in,
 * results out, and now and then a checkpoint.  Or it is auth, which wants to
 * know whether there is room in a mailbox.  All jobs that wait are taken as
 * one batch (inbox.h).  It ends when the queue does; what it had not answered
 * is handed out again, and recognised.
 */
#include "forward.h"
#include "inbox.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/deliver.h"
#include "store/spool.h"
#include "store/store.h"
#include "sys/ipc.h"
#include "sys/service.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct local_agent {
	int queue;
	struct inbox *inbox;
	bool over; /* the queue is gone */
};

/* What it is shut in with. */
struct enclosure {
	struct spool *spool; /* NULL: Maildirs */
	const char *tree; /* where these are */
	struct stat then; /* of it; zeros: it was not there */
};

static void
send_reply(void *ctx, struct message *m)
{
	struct local_agent *g = ctx;
	if (ipc_send_wait(&ask_messages, g->queue, m, CLOCK_FOREVER) != IPC_OK)
		g->over = true;
}

static void
checkpoint(struct local_agent *g)
{
	struct message m = MESSAGE(done);
	m.done.status = inbox_checkpoint(g->inbox);
	if (!status_is_fine(m.done.status))
		log_error(LOG_NO_ID, "sync-failed",
			LOG_STR("why", m.done.status.text));
	send_reply(g, &m);
}

static void
answer_room(struct local_agent *g, const struct msg_room *q)
{
	struct message m = MESSAGE(done);
	m.done.status = inbox_room(g->inbox, q);
	send_reply(g, &m);
}

/* False: nothing more waits, or what came is no job and is in *other. */
static bool
take_job(struct local_agent *g, bool wait, struct message *other)
{
	struct message m = MESSAGE(done);
	struct arena *a = inbox_arena(g->inbox);
	enum ipc_result r = wait
		? ipc_recv_wait(&ask_messages, g->queue, a, &m, CLOCK_FOREVER)
		: ipc_recv(&ask_messages, g->queue, a, &m);
	if (r == IPC_AGAIN)
		return false;
	if (r == IPC_OK && m.kind == MSG_job && inbox_add(g->inbox, &m))
		return true;
	if (r == IPC_BAD || (r == IPC_OK && m.kind != MSG_checkpoint &&
		m.kind != MSG_room))
		fatal("queue", "a message that is not for a local agent");
	g->over = r == IPC_CLOSED;
	*other = m;
	return false;
}

static void
turn(struct local_agent *g)
{
	struct message other = MESSAGE(done);
	bool more = take_job(g, true, &other);
	while (more && !inbox_is_full(g->inbox))
		more = take_job(g, false, &other);
	/* its text is the batch's */
	if (other.kind == MSG_room && !g->over)
		answer_room(g, &other.room);
	inbox_deliver(g->inbox, send_reply, g);
	if (other.kind == MSG_checkpoint && !g->over)
		checkpoint(g);
	message_drop(&other);
}

/* The next queue has an agent of its own for what this one had in hand, and
 * that one looks for what was done: after it, nothing more may be. */
static bool
queue_lives(void *ctx)
{
	const struct local_agent *g = ctx;
	struct pollfd p = {.fd = g->queue};
	return poll(&p, 1, 0) == 0;
}

static void
run(struct program *p)
{
	struct local_agent g = {.queue = program_fd(p, "queue", 0)};
	const struct enclosure *e = p->ctx;
	const struct delivery_rules rules = {
		.each = str_eq(p->conf->queue.durability, STR("each")),
		.is_wanted = queue_lives, .ctx = &g};
	if (g.queue < 0)
		fatal("queue", "no link to the queue was handed over");
	g.inbox = inbox_new(p->arena, &rules);
	if (p->conf->address.forward)
		inbox_forward(g.inbox, p->conf->general.plus,
			p->conf->pipe.forward);
	inbox_limit(g.inbox, p->conf);
	if (e->spool != NULL)
		inbox_spool(g.inbox, e->spool);
	if (e->tree != NULL)
		inbox_tree(g.inbox, str_cstr(p->arena, program_path(p,
			str_from(e->tree))), &e->then);
	while (!g.over)
		turn(&g);
	inbox_free(g.inbox);
}

/* Started for one account, its file is known; else it is each user's, whose
 * ids are one. */
static void
prepare(struct program *p)
{
	struct str directory = p->conf->general.mbox;
	const struct passwd *pw;
	struct enclosure *e = arena_one(p->arena, struct enclosure);
	p->ctx = e;
	if (directory.n == 0)
		return;
	struct spool *s = e->spool = arena_one(p->arena, struct spool);
	s->directory = directory;
	if (getenv("SURAT_HOME") == NULL)
		return;
	pw = getpwuid(getuid());
	if (pw == NULL)
		fatal("mbox", "the user is nobody the system knows");
	s->name = str_copy(p->arena, str_from(pw->pw_name));
	s->shut_in = true;
	if (!spool_prepare(p->arena, s))
		log_error(LOG_NO_ID, "no-mbox", LOG_STR("name", s->name),
			LOG_CSTR("why", strerror(errno)));
	errno = 0;
}

static void
note_tree(struct program *p, const char *tree)
{
	struct enclosure *e = p->ctx;
	e->tree = str_cstr(p->arena, str_from(tree));
	if (stat(tree, &e->then) != 0)
		log_error(LOG_NO_ID, "no-mail-root", LOG_CSTR("path", tree),
			LOG_CSTR("why", strerror(errno)));
	errno = 0;
}

/* The mailbox of the user it is started for; the mail root, and the directory
 * of mbox files, of those who share an id. */
static const char **
trees(struct program *p)
{
	const char **v = arena_array(p->arena, 3, sizeof *v);
	const char *home = getenv("SURAT_HOME");
	struct enclosure *e = p->ctx;
	const struct spool *s = e->spool;
	if (home == NULL) {
		v[0] = str_cstr(p->arena, p->conf->general.mail);
		note_tree(p, v[0]);
		if (s != NULL)
			v[1] = str_cstr(p->arena, s->directory);
		return v;
	}
	if (s != NULL) {
		v[0] = str_cstr(p->arena, str_printf(p->arena, "%.*s/%.*s",
			STR_ARG(s->directory), STR_ARG(s->name)));
		return v;
	}
	if (!store_make_home(p->arena, str_from(home)))
		log_error(LOG_NO_ID, "no-home", LOG_CSTR("home", home),
			LOG_CSTR("why", strerror(errno)));
	v[0] = str_cstr(p->arena, str_printf(p->arena, "%s/Maildir", home));
	note_tree(p, v[0]);
	return v;
}

/* Of the rest of a home what says where mail is to go. */
static const char **
readable(struct program *p)
{
	const char *home = getenv("SURAT_HOME");
	return home == NULL || !p->conf->address.forward ? NULL
		: forward_files(p->arena, str_from(home));
}

/* Where the lock of an mbox file stands. */
static const char **
lockable(struct program *p)
{
	const struct enclosure *e = p->ctx;
	const struct spool *s = e->spool;
	const char **v = arena_array(p->arena, 2, sizeof *v);
	if (s != NULL)
		v[0] = str_cstr(p->arena, s->directory);
	return v;
}

static const struct service service = {
	.name = "deliver-local",
	.profile = SANDBOX_TREE,
	.prepare = prepare,
	.lockable = lockable,
	.trees = trees,
	.readable = readable,
	.run = run,
	.usage = "Delivers queued mail into mailboxes.  Started by suratd for "
		 "the queue, whose end of a socket it inherits.",
};

int
main(int argc, char **argv)
{
	return service_main(&service, argc, argv);
}
