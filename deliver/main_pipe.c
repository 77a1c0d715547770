/* SPDX-License-Identifier: ISC */
/*
 * deliver-pipe: gives queued mail to commands (pipe.h).
 *
 * The queue is the only one the agent talks to, but for its runner.  One job at
 * a time, a run for each recipient, unless the command takes all of them at
 * once; each run is answered when it is over.
 */
#include "mapped.h"
#include "pipe.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/mbox.h"
#include "mail/trace.h"
#include "store/message.h"
#include "sys/ipc.h"
#include "sys/service.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { JOB_MOST = 1 << 30 };

struct pipe_agent {
	const struct conf *conf;
	int queue, runner;
	bool over; /* the queue is gone */
};

/* --------------------------------------------------------------- contents */

/*
 * What the command reads, lines ended by LF: the envelope's sender, and where
 * it is for one recipient that one (against loops), before the message.  What
 * stands behind a bar in aliases and .forward files (procmail, vacation) has
 * always begun with a line that says "From " too.
 */
static int
make_message(struct arena *a, const struct msg_job *j, struct str content)
{
	struct buf *all = buf_new(a), *head = buf_new(a);
	char before = '\0';
	if (str_starts(j->destination, STR("|")))
		mbox_from_line(all, j->sender, j->arrival);
	buf_printf(head, "Return-Path: <%.*s>\r\n", STR_ARG(j->sender));
	if (j->rcpt.n == 1)
		buf_printf(head, "Delivered-To: %.*s\r\n",
			STR_ARG(j->rcpt.v[0]));
	message_to_disk(all, buf_str(head), &before);
	message_to_disk(all, content, &before);
	return ipc_memory_file("message", buf_str(all));
}

/* ------------------------------------------------------------------- runs */

/* The queue is watched too: with it goes the reason for what is running. */
static bool
wait_runner(struct pipe_agent *g)
{
	struct pollfd p[] = {{.fd = g->runner, .events = POLLIN},
		{.fd = g->queue}};
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	g->over = g->over || p[1].revents != 0;
	return !g->over;
}

static struct status
ask_runner(struct pipe_agent *g, struct arena *a, const struct msg_job *j,
	int fd)
{
	struct message m = MESSAGE(job), r = MESSAGE(done);
	struct status s;
	m.job = *j;
	m.job.content = STR("");
	m.fd = fd;
	if (ipc_send_wait(&ask_messages, g->runner, &m, CLOCK_FOREVER) !=
		IPC_OK)
		fatal("runner", "it is gone");
	if (!wait_runner(g))
		return STATUS(STATUS_LATER, 3, 2, "the queue is gone");
	if (ipc_recv_wait(&ask_messages, g->runner, a, &r, CLOCK_FOREVER) !=
			IPC_OK ||
		r.kind != MSG_job_result || r.job_result.status.n != 1 ||
		!status_parse(r.job_result.status.v[0], &s))
		fatal("runner", "it is gone, or talks nonsense");
	return s;
}

static void
report(struct pipe_agent *g, struct arena *a, const struct msg_job *j,
	struct status s)
{
	struct message m = MESSAGE(job_result);
	struct msg_job_result *r = &m.job_result;
	size_t n = j->number.n;
	r->id = j->id;
	r->number = j->number;
	r->status = (struct str_list){arena_array(a, n, sizeof(struct str)),
		n};
	r->scope = STR("recipient");
	r->detail = str_printf(a, "command=%.*s", STR_ARG(j->destination));
	for (size_t i = 0; i < n; i++) {
		r->status.v[i] = status_format(a, s);
		log_info(j->id, status_is_fine(s) ? "piped" : "not-piped",
			LOG_STR("to", j->rcpt.v[i]),
			LOG_STR("command", j->destination),
			LOG_STR("status", r->status.v[i]));
	}
	if (ipc_send_wait(&ask_messages, g->queue, &m, CLOCK_FOREVER) !=
		IPC_OK)
		g->over = true;
}

static void
run_once(struct pipe_agent *g, struct arena *a, const struct msg_job *j,
	struct str content)
{
	if (j->rcpt.n == 1 && trace_delivered_to(content, j->rcpt.v[0])) {
		report(g, a, j, STATUS(STATUS_NEVER, 4, 6,
			"mail loop: it was delivered here before"));
		return;
	}
	int fd = make_message(a, j, content);
	struct status s = ask_runner(g, a, j, fd);
	close(fd);
	if (!g->over)
		report(g, a, j, s);
}

/* One recipient of many. */
static struct msg_job
only(const struct msg_job *all, size_t i)
{
	struct msg_job j = *all;
	struct str_list *lists[] = {&j.number, &j.rcpt, &j.orcpt, &j.notify,
		&j.user, &j.home};
	for (size_t k = 0; k < sizeof lists / sizeof *lists; k++)
		*lists[k] = (struct str_list){lists[k]->v + i, 1};
	return j;
}

static void
serve(struct pipe_agent *g, struct arena *a, struct message *m)
{
	const struct msg_job *j = &m->job;
	struct str content;
	struct status s = mapped_lines(a, m, &content);
	if (!status_is_fine(s)) {
		report(g, a, j, s);
		return;
	}
	if (pipe_is_together(g->conf, j->destination)) {
		run_once(g, a, j, content);
		return;
	}
	for (size_t i = 0; i < j->number.n && !g->over; i++) {
		struct arena *one = arena_new("recipient");
		struct msg_job part = only(j, i);
		arena_limit(one, JOB_MOST);
		run_once(g, one, &part, content);
		arena_free(one);
	}
}

static bool
is_job(const struct message *m)
{
	const struct msg_job *j = &m->job;
	size_t n = j->number.n;
	return m->kind == MSG_job && n > 0 && j->destination.n > 0 &&
		j->rcpt.n == n && j->orcpt.n == n && j->notify.n == n &&
		j->user.n == n && j->home.n == n;
}

static void
turn(struct pipe_agent *g)
{
	struct message m = MESSAGE(done);
	struct arena *a = arena_new("job");
	arena_limit(a, JOB_MOST);
	enum ipc_result r = ipc_recv_wait(
		&ask_messages, g->queue, a, &m, CLOCK_FOREVER);
	if (r == IPC_CLOSED)
		g->over = true;
	else if (r == IPC_OK && is_job(&m))
		serve(g, a, &m);
	else
		fatal("queue", "a message that is not for a pipe agent");
	message_drop(&m);
	arena_free(a);
}

/* ---------------------------------------------------------------- service */

static void
prepare(struct program *p)
{
	int pair[2];
	struct pipe_agent *g = arena_one(p->arena, struct pipe_agent);
	p->ctx = g;
	ipc_pair(pair);
	pid_t pid = fork();
	if (pid < 0)
		fatal("fork", NULL);
	if (pid == 0) {
		for (size_t i = 0; i < p->fd_count; i++)
			close(p->fds[i].fd);
		close(pair[0]);
		pipe_runner(p, pair[1]);
	}
	close(pair[1]);
	g->runner = pair[0];
}

static void
run(struct program *p)
{
	struct pipe_agent *g = p->ctx;
	g->conf = p->conf;
	g->queue = program_fd(p, "queue", 0);
	if (g->queue < 0)
		fatal("queue", "no link to the queue was handed over");
	while (!g->over)
		turn(g);
}

static const struct service service = {
	.name = "deliver-pipe",
	.profile = SANDBOX_FILES,
	.prepare = prepare,
	.run = run,
	.files = 64,
	.usage = "Gives queued mail to commands.  Started by suratd for the "
		 "queue, whose end of a socket it inherits.",
};

int
main(int argc, char **argv)
{
	return service_main(&service, argc, argv);
}
