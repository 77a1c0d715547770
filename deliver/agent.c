/* SPDX-License-Identifier: ISC */
/*
 * The agent and its queue: jobs in, results out, and the wait between two
 * jobs, in which the connection to the last server is kept.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

enum { JOB_MOST = 512 * 1024 * 1024 };

/* -------------------------------------------------------------- results */

static const char *const scopes[] = {[SCOPE_HOST] = "host",
	[SCOPE_MESSAGE] = "message", [SCOPE_RECIPIENT] = "recipient"};

/* One result for all that have scope, host and detail in common. */
static bool
is_like(const struct target *x, const struct target *y)
{
	return x->state == TARGET_DONE && x->scope == y->scope &&
		str_eq(x->host, y->host) && str_eq(x->detail, y->detail);
}

static void
log_target(const struct job *j, const struct target *x, struct str status)
{
	static const char *const events[] = {[STATUS_FINE] = "sent",
		[STATUS_LATER] = "not-now", [STATUS_NEVER] = "refused"};
	log_info(j->m.id, events[x->status.class], LOG_STR("to", x->address),
		LOG_STR("host", x->host), LOG_STR("how", x->detail),
		LOG_STR("status", status));
}

static void
report_like(struct remote *g, struct job *j, const struct target *first)
{
	struct message m = MESSAGE(job_result);
	struct msg_job_result *r = &m.job_result;
	struct arena *a = j->arena;
	r->id = j->m.id;
	r->remote = first->host;
	r->scope = str_from(scopes[first->scope]);
	r->detail = first->detail;
	r->number.v = arena_array(a, j->count, sizeof *r->number.v);
	r->status.v = arena_array(a, j->count, sizeof *r->status.v);
	struct target like = *first;
	for (size_t i = 0; i < j->count; i++) {
		struct target *x = &j->targets[i];
		if (!is_like(x, &like))
			continue;
		struct str status = status_format(a, x->status);
		r->number.v[r->number.n++] = j->m.number.v[i];
		r->status.v[r->status.n++] = status;
		log_target(j, x, status);
		x->state = TARGET_REPORTED;
	}
	if (ipc_send_wait(&ask_messages, g->queue, &m, CLOCK_FOREVER) !=
		IPC_OK)
		g->over = true;
}

void
remote_report(struct remote *g, struct job *j)
{
	for (size_t i = 0; i < j->count && !g->over; i++)
		if (j->targets[i].state == TARGET_DONE)
			report_like(g, j, &j->targets[i]);
}

/* ----------------------------------------------------------------- jobs */

static struct job *
receive(struct remote *g, bool wait)
{
	struct message m = MESSAGE(done);
	struct arena *a = arena_new("job");
	arena_limit(a, JOB_MOST);
	enum ipc_result r = wait
		? ipc_recv_wait(&ask_messages, g->queue, a, &m, CLOCK_FOREVER)
		: ipc_recv(&ask_messages, g->queue, a, &m);
	struct job *j = NULL;
	if (r == IPC_CLOSED)
		g->over = true;
	if (r == IPC_BAD || (r == IPC_OK && m.kind != MSG_job))
		fatal("queue", "a message that is not for a remote agent");
	if (r == IPC_OK)
		j = job_new(a, &m);
	if (r == IPC_OK && j == NULL)
		fatal("queue", "a job whose lists do not fit together");
	if (j == NULL)
		arena_free(a);
	return j;
}

bool
remote_is_alone(struct remote *g)
{
	struct pollfd p = {.fd = g->queue, .events = 0};
	if (poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR)) != 0)
		g->over = true;
	return g->over;
}

/* -------------------------------------------------------------- leaving */

static volatile sig_atomic_t may_leave;
static int watched = -1;

/* What it has in hand the queue, or its successor, gives to another. */
static void
leave_if_told(int signal)
{
	struct pollfd p = {.fd = watched, .events = POLLRDHUP};
	int saved = errno;
	(void)signal;
	if (may_leave && poll(&p, 1, 0) > 0)
		_exit(EX_OK);
	errno = saved;
}

void
remote_may_leave(bool may)
{
	may_leave = may;
	if (may)
		leave_if_told(SIGIO);
}

void
remote_watch(int queue)
{
	struct sigaction act = {.sa_handler = leave_if_told,
		.sa_flags = SA_RESTART};
	int flags = fcntl(queue, F_GETFL);
	watched = queue;
	if (flags < 0 || sigaction(SIGIO, &act, NULL) != 0 ||
		fcntl(queue, F_SETOWN, getpid()) != 0 ||
		fcntl(queue, F_SETFL, flags | O_ASYNC) != 0)
		fatal("queue", "its end cannot be watched for");
}

/* ----------------------------------------------------------- one by one */

/* The next job, or NULL when something else happened. */
static struct job *
wait_job(struct remote *g)
{
	struct session *s = g->session;
	if (s == NULL)
		return receive(g, true);
	enum conn_wait w = conn_wait(s->conn, g->queue,
		clock_in(g->conf->remote.idle * 1000));
	if (w == WAIT_OTHER)
		return receive(g, false);
	/* A server that speaks unasked says 421, or has gone. */
	if (w != WAIT_DEADLINE)
		session_break(s, 4, 2, "it closed the connection");
	relay_end_session(g);
	return NULL;
}

void
remote_serve(struct remote *g)
{
	struct job *j = wait_job(g);
	if (j == NULL)
		return;
	relay(g, j);
	remote_may_leave(false);
	job_free(j);
}
