/* SPDX-License-Identifier: ISC */
/*
 * Agents, jobs, results.  Agents are asked from master, who gives back one end
 * of a socket pair; a local agent belongs to its lane and gets several jobs at
 * once (it writes what waits in one transaction per mailbox), a remote one has
 * one job at a time and is preferred for the destination it is connected to.
 *
 * An agent that dies takes its jobs with it: they are tried again, and a
 * message that killed its agent three times is held.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

enum { LOCAL_JOBS_MOST = 32, CRASH_DELAY = 1 };

struct agent {
	struct list of_queue, of_idle;
	struct queue *queue;
	struct peer *peer;
	struct lane *lane; /* of the job in hand, or the last one */
	bool local;
	struct list jobs;
	size_t count;
	bool asked_checkpoint;
};

struct job {
	struct list link;
	struct msg *msg;
	struct lane *lane;
	struct list rcpts;
};

static void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory", 0);
	return p;
}

/* ------------------------------------------------------------ results */

static struct job *
find_job(struct agent *g, struct str qid, int64_t number, struct rcpt **out)
{
	list_each(&g->jobs, at, save) {
		struct job *j = list_entry(at, struct job, link);
		if (!str_eq(qid, str_from(j->msg->qid)))
			continue;
		for (struct list *r = j->rcpts.next; r != &j->rcpts;
			r = r->next) {
			*out = list_entry(r, struct rcpt, of_work);
			if ((*out)->number == number)
				return j;
		}
	}
	return NULL;
}

static void
job_done(struct queue *q, struct agent *g, struct job *j)
{
	list_remove(&j->link);
	g->count--;
	j->lane->active--;
	free(j);
	if (!g->local && g->count == 0)
		list_push(&q->idle_agents, &g->of_idle);
}

static void
recovered_one(struct queue *q)
{
	if (q->recovering <= 0)
		return;
	q->recovering--;
}

static void
one_result(struct queue *q, struct agent *g, struct job *j, struct rcpt *r,
	const struct status *s, const struct msg_job_result *m)
{
	bool host = str_eq(m->scope, STR("host"));
	struct lane *l = j->lane;
	list_remove(&r->of_work);
	if (r->verify && g->local)
		recovered_one(q);
	if (status_is_later(*s) && host && !g->local && lane_failure(q, l) &&
		r->bumps++ < 20) {
		/* Its place is taken by others just now: no attempt. */
		r->msg->pending--;
		lane_add(q, r);
	} else {
		if (!host)
			lane_success(q, l);
		outcome(q, r, *s, m->remote);
	}
	if (list_is_empty(&j->rcpts))
		job_done(q, g, j);
	if (status_is_later(*s) && host && l->failures > 0)
		lane_park(q, l, *s);
}

/* One that talks nonsense may have done anything with its jobs. */
static void
throw_out(struct peer *p, const struct msg_job_result *m)
{
	log_error(m->id, "agent-malformed", LOG_NUM("peer", p->who));
	peer_close(p);
}

static void
on_result(struct peer *p, struct arena *a, struct message *m)
{
	struct agent *g = p->data;
	struct queue *q = g->queue;
	struct msg_job_result *res = &m->job_result;
	(void)a;
	if (res->number.n == 0 || res->number.n != res->status.n) {
		throw_out(p, res);
		return;
	}
	for (size_t i = 0; i < res->number.n; i++) {
		uint64_t number;
		struct status s;
		struct rcpt *r;
		if (!str_number(res->number.v[i], INT64_MAX, &number) ||
			!status_parse(res->status.v[i], &s)) {
			throw_out(p, res);
			return;
		}
		struct job *j = find_job(g, res->id, (int64_t)number, &r);
		if (j != NULL)
			one_result(q, g, j, r, &s, res);
	}
	dispatch(q);
}

static void
on_done(struct peer *p, struct arena *a, struct message *m)
{
	struct agent *g = p->data;
	(void)a;
	if (!g->asked_checkpoint)
		return;
	g->asked_checkpoint = false;
	checkpoint_answered(g->queue, m->done.status);
}

/* -------------------------------------------------------- agents go */

/* The job may be what killed it; three times and the message is held. */
static void
job_crashed(struct queue *q, struct agent *g, struct job *j)
{
	struct msg *m = j->msg;
	m->crashes++;
	struct op o = {.kind = OP_CRASHES, .message = m->id,
		.attempts = m->crashes};
	batch_add(q, &o);
	list_each(&j->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		r->verify = true;
		if (g->local)
			recovered_one(q);
		if (m->crashes >= CRASHES_MOST) {
			outcome_held(q, r, STR("its delivery ended the agent "
				"three times"));
			outcome_settled(q, m);
		} else {
			outcome_parked(q, r, STATUS(STATUS_LATER, 3, 0,
				"the delivery agent went away"),
				clock_wall() + CRASH_DELAY);
		}
	}
	job_done(q, g, j);
}

static void
agent_gone(struct peer *p)
{
	struct agent *g = p->data;
	struct queue *q = g->queue;
	/* Only the first job was in hand; the others merely waited. */
	bool first = true;
	if (g->count > 0)
		log_warn(LOG_NO_ID, "agent-lost", LOG_NUM("jobs", g->count));
	list_each(&g->jobs, at, save) {
		struct job *j = list_entry(at, struct job, link);
		if (!first)
			j->msg->crashes--;
		job_crashed(q, g, j);
		first = false;
	}
	list_remove(&g->of_idle);
	list_remove(&g->of_queue);
	if (g->local) {
		g->lane->agent = NULL;
		checkpoint_lost(q, g->lane);
	} else {
		q->remote_agents--;
	}
	if (g->asked_checkpoint)
		checkpoint_answered(q, STATUS(STATUS_LATER, 3, 0,
			"the agent is gone"));
	free(g);
	dispatch(q);
}

/* ------------------------------------------------------- agents come */

struct asking {
	struct queue *queue;
	struct lane *lane; /* local: for whom */
};

static void
on_agent(void *ctx, struct arena *a, struct message *m)
{
	struct asking *k = ctx;
	struct queue *q = k->queue;
	struct lane *l = k->lane;
	(void)a;
	free(k);
	if (l != NULL)
		l->agent_asked = false;
	else
		q->agents_asked--;
	if (m == NULL || m->kind != MSG_opened || m->fd < 0) {
		log_warn(LOG_NO_ID, "no-agent", LOG_STR("why",
			m != NULL && m->kind == MSG_opened
				? m->opened.status.text
				: STR("master is away")));
		load_soon(q);
		return;
	}
	struct agent *g = must(calloc(1, sizeof *g));
	g->queue = q;
	g->lane = l;
	g->local = l != NULL;
	list_init(&g->jobs);
	g->peer = peers_take(&q->agents, message_take_fd(m),
		g->local ? PEER_LOCAL_AGENT : PEER_REMOTE_AGENT);
	g->peer->data = g;
	list_add(&q->agent_list, &g->of_queue);
	if (g->local) {
		l->agent = g;
	} else {
		q->remote_agents++;
		list_push(&q->idle_agents, &g->of_idle);
	}
	dispatch(q);
}

static void
ask_agent(struct queue *q, struct lane *l)
{
	struct asking *k = must(calloc(1, sizeof *k));
	struct message m = MESSAGE(agent_start);
	*k = (struct asking){q, l->local ? l : NULL};
	m.agent_start.agent = l->local ? STR("local") : STR("remote");
	if (l->local) {
		m.agent_start.ids = l->ids;
		m.agent_start.user = l->user;
		m.agent_start.home = l->home;
		l->agent_asked = true;
	} else {
		q->agents_asked++;
	}
	asker_ask(q->master, &m, on_agent, k);
}

/* --------------------------------------------------------------- jobs */

static struct str_list
column(struct arena *a, size_t n)
{
	return (struct str_list){arena_array(a, n, sizeof(struct str)), n};
}

static void
fill_rcpts(struct queue *q, struct arena *a, struct msg_job *m,
	const struct job *j, size_t n)
{
	struct str_list *lists[] = {&m->number, &m->rcpt, &m->orcpt,
		&m->notify, &m->user, &m->home, &m->name};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		*lists[i] = column(a, n);
	size_t i = 0;
	for (const struct list *at = j->rcpts.next; at != &j->rcpts;
		at = at->next, i++) {
		const struct rcpt *r = list_entry(at, struct rcpt, of_work);
		m->number.v[i] = str_printf(a, "%lld", (long long)r->number);
		m->rcpt.v[i] = r->address;
		m->orcpt.v[i] = r->orcpt;
		m->notify.v[i] = r->notify;
		m->user.v[i] = r->user;
		m->home.v[i] = r->home;
		m->name.v[i] = str_printf(a, "%lld.%s_%lld.%.*s",
			(long long)j->msg->arrival, j->msg->qid,
			(long long)r->number, STR_ARG(q->program->hostname));
		m->verify = m->verify || r->verify;
	}
	if (!j->lane->local)
		m->user = m->home = m->name = (struct str_list){NULL, 0};
}

static struct status
fill_job(struct queue *q, struct arena *a, struct message *out,
	const struct job *j, size_t n)
{
	struct msg *m = j->msg;
	struct msg_job *to = &out->job;
	const struct rcpt *first = list_first(&j->rcpts, struct rcpt, of_work);
	*out = MESSAGE(job);
	to->id = str_from(m->qid);
	to->sender = m->sender;
	to->arrival = m->arrival;
	to->ret = m->ret;
	to->envid = m->envid;
	to->body_type = m->body_type;
	to->utf8 = m->utf8;
	to->requiretls = m->requiretls;
	to->size = m->size;
	if (!j->lane->local)
		to->destination = first->destination;
	fill_rcpts(q, a, to, j, n);
	return msg_content(q, a, m, &to->content, &out->fd);
}

static void
cannot_send(struct queue *q, struct agent *g, struct job *j, struct status s)
{
	list_each(&j->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		outcome(q, r, s, STR(""));
	}
	job_done(q, g, j);
}

static void
send_job(struct queue *q, struct agent *g, struct lane *l)
{
	struct arena *a = arena_new("job");
	struct job *j = must(calloc(1, sizeof *j));
	struct message m;
	list_init(&j->rcpts);
	size_t n = lane_take(l, &j->rcpts, JOB_RECIPIENTS);
	j->msg = list_first(&j->rcpts, struct rcpt, of_work)->msg;
	j->lane = l;
	list_each(&j->rcpts, at, save)
		list_entry(at, struct rcpt, of_work)->where = RCPT_ACTIVE;
	list_remove(&g->of_idle);
	list_add(&g->jobs, &j->link);
	g->lane = l;
	g->count++;
	l->active++;
	struct status s = fill_job(q, a, &m, j, n);
	if (status_is_fine(s))
		peer_send(g->peer, &m);
	else
		cannot_send(q, g, j, s);
	message_drop(&m);
	arena_free(a);
}

static void
serve_local(struct queue *q, struct lane *l)
{
	if (l->agent == NULL) {
		if (!l->agent_asked)
			ask_agent(q, l);
		return;
	}
	while (l->waiting > 0 && l->agent != NULL &&
		l->agent->count < LOCAL_JOBS_MOST)
		send_job(q, l->agent, l);
}

/* One that is connected there, else any that has nothing to do. */
static struct agent *
idle_agent(struct queue *q, const struct lane *l)
{
	list_each(&q->idle_agents, at, save) {
		struct agent *g = list_entry(at, struct agent, of_idle);
		if (g->lane == l)
			return g;
	}
	return list_is_empty(&q->idle_agents) ? NULL
		: list_entry(q->idle_agents.prev, struct agent, of_idle);
}

static void
serve_remote(struct queue *q, struct lane *l)
{
	size_t most = (size_t)q->conf->queue.remote_agents;
	size_t limit = l->failures > 0 ? 1 : (size_t)l->limit;
	while (l->waiting > 0 && l->active < limit) {
		struct agent *g = idle_agent(q, l);
		if (g == NULL) {
			if (q->remote_agents + q->agents_asked < most &&
				q->agents_asked < l->waiting)
				ask_agent(q, l);
			return;
		}
		send_job(q, g, l);
	}
}

void
dispatch(struct queue *q)
{
	/* Each turn begins with another lane. */
	struct lane *first = list_first(&q->lane_list, struct lane, of_queue);
	if (first == NULL)
		return;
	list_remove(&first->of_queue);
	list_add(&q->lane_list, &first->of_queue);
	list_each(&q->lane_list, at, save) {
		struct lane *l = list_entry(at, struct lane, of_queue);
		if (l->waiting == 0)
			continue;
		if (l->local)
			serve_local(q, l);
		else
			serve_remote(q, l);
	}
}

size_t
dispatch_checkpoint(struct queue *q)
{
	struct message m = MESSAGE(checkpoint);
	size_t asked = 0;
	m.checkpoint.turn = ++q->turn;
	list_each(&q->agent_list, at, save) {
		struct agent *g = list_entry(at, struct agent, of_queue);
		if (!g->local)
			continue;
		g->asked_checkpoint = true;
		peer_send(g->peer, &m);
		asked++;
	}
	return asked;
}

static const struct peer_row rows[] = {
	{MSG_job_result, PEER_LOCAL_AGENT | PEER_REMOTE_AGENT, on_result},
	{MSG_done, PEER_LOCAL_AGENT, on_done},
};

void
dispatch_start(struct queue *q)
{
	q->agents = (struct peers){.loop = q->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = q,
		.on_close = agent_gone};
	list_init(&q->agent_list);
	list_init(&q->idle_agents);
	list_init(&q->lane_list);
	q->lanes = map_new(q->arena);
}
