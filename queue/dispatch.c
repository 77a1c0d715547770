/* SPDX-License-Identifier: ISC */
/*
 * Agents, jobs, results.  Agents are asked from master, who gives back one end
 * of a socket pair.  A local agent belongs to its lane and gets several jobs
 * at once (it writes what waits in one transaction per mailbox); a remote one
 * has one job at a time and stays with the destination it is connected to,
 * unless another has nobody yet.
 *
 * An agent that dies takes its jobs with it.  Had it one, that message may be
 * what killed it, and three times are too many; had it several, each is tried
 * again by itself first.
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	LOCAL_JOBS_MOST = 128,
	TURN_MS = 20,
	BUMPS_MOST = 20,
	BUMPED_MS = 500, /* others have its place in lanes of their own */
	PAUSE_FIRST_MS = 100,
	PAUSE_MOST_MS = 60 * 1000,
	REFUSED_PAUSE_MS = 1000,
	IDLE_MS = 30 * 1000,
	TENURE_MS = 2000, /* of a local agent whose place is wanted */
	/* What a job may make a remote agent wait for: */
	SERVERS_MOST = 3,
	COMMANDS_MOST = 20, /* but RCPT, of a session */
	CONNECTS_MOST = 240, /* hosts and their addresses */
	BLOCK = 32 * 1024, /* octets; the agent's */
	SPARE_MS = 2000,
};

/* Its message lives as long as the job: a recipient is forgotten by the loop,
 * once its change is committed. */
struct job {
	struct list link;
	struct work *work;
	struct list rcpts;
};

static void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory", 0);
	return p;
}

void
dispatch_soon(struct queue *q)
{
	q->dispatching = true;
}

/* ------------------------------------------------------------ results */

static struct job *
find_job(struct agent *g, struct str qid, int64_t number, struct rcpt **out)
{
	list_each(&g->jobs, at, save) {
		struct job *j = list_entry(at, struct job, link);
		if (!str_eq(qid, str_from(j->work->msg->qid)))
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
end_agent(struct agent *g)
{
	g->retiring = true;
	list_remove(&g->of_idle);
	peer_close(g->peer);
}

static void
retire_if_idle(struct queue *q, struct agent *g)
{
	if (!g->retiring || g->count > 0)
		return;
	if (list_is_empty(&g->delivered) && list_is_empty(&g->settling))
		end_agent(g);
	else
		checkpoint_begin(q, g);
}

/* An agent has its own patience with a server, a reply and a block of the
 * message at a time; one that has not answered when all of it must be used up,
 * at three servers, never will. */
static int64_t
patience_with(const struct queue *q, const struct msg *m)
{
	const struct conf_remote *c = &q->conf->remote;
	int64_t blocks = m->size / BLOCK + 1;
	int64_t seconds = c->greeting_timeout + c->data_timeout +
		c->command_timeout * (JOB_RECIPIENTS + COMMANDS_MOST) +
		c->block_timeout * blocks + c->final_timeout;
	return clock_in(SPARE_MS + 1000 * SERVERS_MOST *
		(seconds + c->connect_timeout * CONNECTS_MOST));
}

static void
lose_patience(void *ctx)
{
	struct agent *g = ctx;
	g->patience = NULL;
	log_error(LOG_NO_ID, "agent-silent", LOG_STR("lane", g->lane->key));
	end_agent(g);
}

static void
have_patience(struct queue *q, struct agent *g, const struct msg *m)
{
	loop_untimer(g->patience);
	g->patience = g->local || m == NULL ? NULL : loop_timer(q->loop,
		patience_with(q, m), lose_patience, g);
}

static void
job_done(struct queue *q, struct agent *g, struct job *j)
{
	list_remove(&j->link);
	g->count--;
	g->delicate = false;
	have_patience(q, g, NULL);
	g->used = clock_ms();
	lane_ended(q, j->work);
	free(j);
	if (!g->local && !g->retiring)
		list_push(&q->idle_agents, &g->of_idle);
	retire_if_idle(q, g);
	dispatch_soon(q);
}

static void
end_lane_pause(void *ctx)
{
	struct lane *l = ctx;
	l->pause = NULL;
	lane_look(l->queue, l);
}

static void
pause_lane(struct queue *q, struct lane *l, int64_t ms)
{
	if (l->pause == NULL)
		l->pause = loop_timer(
			q->loop, clock_in(ms), end_lane_pause, l);
	lane_look(q, l);
}

/* What this agent was shut in with when it started is not what is there now:
 * the next one is. */
static bool
needs_another(struct queue *q, struct agent *g, struct rcpt *r,
	const struct result *x)
{
	if (!g->local || !status_is_later(x->status) ||
		!str_eq(x->scope, STR("agent")) || r->bumps++ >= BUMPS_MOST)
		return false;
	g->retiring = true;
	if (!control_wish(q, r))
		lane_add(q, r);
	return true;
}

static void
one_result(struct queue *q, struct agent *g, struct job *j, struct rcpt *r,
	const struct result *x)
{
	bool down = !g->local && status_is_later(x->status) &&
		str_eq(x->scope, STR("host"));
	struct lane *l = j->work->lane;
	provider_meet(q, l, x->remote);
	bool bears_less = down &&
		lane_failure(q, l, x->status.reply != 0);
	list_remove(&r->of_work);
	rcpt_recovered(q, r);
	if (!down)
		lane_success(q, l);
	if (needs_another(q, g, r, x)) {
		/* No attempt. */
	} else if (bears_less && r->bumps++ < BUMPS_MOST) {
		/* Its place is taken by others just now: no attempt. */
		if (l->active == 1)
			pause_lane(q, l, BUMPED_MS);
		if (!control_wish(q, r))
			lane_add(q, r);
	} else {
		down = down && !bears_less;
		if (down)
			lane_park(q, l, x->status);
		if (down)
			outcome_down(q, r, x, l->parked_until);
		else
			outcome(q, r, g, x);
	}
	if (list_is_empty(&j->rcpts))
		job_done(q, g, j);
}

/* One that talks nonsense may have done anything with its jobs. */
static void
throw_out(struct peer *p, const struct msg_job_result *m)
{
	log_error(m->id, "agent-malformed", LOG_NUM("peer", p->who));
	end_agent(p->data);
}

/* What a server said, by way of an agent that it may have taken over, or the
 * agent itself: it goes into rows and reports, where control characters would make lines of their
 * own.  All but one are blanks here. */
static struct str
text_of_agent(struct arena *a, struct str s, char but)
{
	char *p = arena_copy(a, s.p, s.n);
	for (size_t i = 0; i < s.n; i++)
		if (((unsigned char)p[i] < ' ' || p[i] == 0x7f) && p[i] != but)
			p[i] = ' ';
	return str_of(p, s.n);
}

static void
on_result(struct peer *p, struct arena *a, struct message *m)
{
	struct agent *g = p->data;
	struct queue *q = g->queue;
	struct msg_job_result *res = &m->job_result;
	struct str remote = text_of_agent(a, res->remote, ' ');
	struct str detail = text_of_agent(a, res->detail, ' ');
	if (res->number.n == 0 || res->number.n != res->status.n) {
		throw_out(p, res);
		return;
	}
	g->useful = true;
	q->agents_failed = g->local ? q->agents_failed : 0;
	for (size_t i = 0; i < res->number.n; i++) {
		uint64_t number;
		struct rcpt *r;
		struct result x = {.remote = remote,
			.detail = detail, .scope = res->scope};
		if (g->local && i < res->forward.n)
			x.forward = text_of_agent(
				a, res->forward.v[i], '\n');
		if (!str_number(res->number.v[i], INT64_MAX, &number) ||
			!status_parse(text_of_agent(a, res->status.v[i], '\n'),
				&x.status)) {
			throw_out(p, res);
			return;
		}
		struct job *j = find_job(g, res->id, (int64_t)number, &r);
		if (j == NULL)
			continue;
		x.took = clock_wall_us() - r->started;
		one_result(q, g, j, r, &x);
	}
}

static void
on_done(struct peer *p, struct arena *a, struct message *m)
{
	struct agent *g = p->data;
	(void)a;
	if (g->syncing)
		checkpoint_answered(g->queue, g, m->done.status);
}

/* -------------------------------------------------------- agents go */

/* How many have a lane of that kind as their own. */
static size_t *
agents_like(struct queue *q, const struct lane *l)
{
	return l->pipe ? &q->pipe_agents : &q->local_agents;
}

static void
blame(struct queue *q, struct agent *g, struct msg *m)
{
	if (g->count > 1) {
		m->suspect = true;
		return;
	}
	m->crashes++;
	struct op o = {.kind = OP_CRASHES, .message = m->id,
		.attempts = m->crashes};
	batch_add(q, &o);
}

static void
return_job(struct queue *q, struct job *j)
{
	struct msg *m = j->work->msg;
	bool held = m->crashes >= CRASHES_MOST;
	list_each(&j->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		r->verify = true;
		if (held)
			outcome_held(q, r, STR("its delivery ended the agent "
				"three times"));
		else if (!control_wish(q, r))
			lane_add(q, r);
	}
	if (held)
		outcome_settled(q, m);
	lane_ended(q, j->work);
	free(j);
}

static void
end_pause(void *ctx)
{
	struct queue *q = ctx;
	q->agents_timer = NULL;
	dispatch_soon(q);
}

static void
pause_agents(struct queue *q, int64_t ms)
{
	if (q->agents_timer == NULL)
		q->agents_timer = loop_timer(
			q->loop, clock_in(ms), end_pause, q);
}

static int64_t
pause_after(int deaths)
{
	int64_t ms = PAUSE_FIRST_MS;
	for (int i = 1; i < deaths && ms < PAUSE_MOST_MS; i++)
		ms *= 2;
	return ms < PAUSE_MOST_MS ? ms : PAUSE_MOST_MS;
}

/* One that dies over and over without having done anything is not started
 * over and over without a pause. */
static void
mourn(struct queue *q, struct agent *g)
{
	bool in_hand = g->count > 0;
	if (in_hand)
		log_warn(LOG_NO_ID, "agent-lost",
			LOG_STR("lane", g->lane->key),
			LOG_NUM("jobs", g->count));
	if (g->local) {
		g->lane->agent = NULL;
		g->lane->deaths = in_hand && !g->useful
			? g->lane->deaths + 1 : 0;
		if (g->lane->deaths > 0)
			pause_lane(q, g->lane, pause_after(g->lane->deaths));
	} else if (in_hand && !g->useful) {
		pause_agents(q, pause_after(++q->agents_failed));
	}
}

static void
agent_gone(struct peer *p)
{
	struct agent *g = p->data;
	struct queue *q = g->queue;
	/* At the end they are told to go. */
	if (g->local || q->finishing == FINISH_NOT) {
		mourn(q, g);
		list_each(&g->jobs, at, save)
			blame(q, g,
				list_entry(at, struct job, link)->work->msg);
	}
	list_each(&g->jobs, at, save) {
		list_remove(at);
		return_job(q, list_entry(at, struct job, link));
	}
	have_patience(q, g, NULL);
	list_remove(&g->of_idle);
	list_remove(&g->of_queue);
	if (g->local) {
		--*agents_like(q, g->lane);
		checkpoint_lost(q, g);
		lane_look(q, g->lane);
	} else {
		q->remote_agents--;
	}
	free(g);
	dispatch_soon(q);
}

/* ------------------------------------------------------- agents come */

struct asking {
	struct queue *queue;
	struct lane *lane; /* local: for whom */
};

static void
agent_new(struct queue *q, struct lane *l, int fd)
{
	struct agent *g = must(calloc(1, sizeof *g));
	*g = (struct agent){.queue = q, .lane = l, .local = l != NULL,
		.since = clock_ms(), .used = clock_ms()};
	list_init(&g->jobs);
	list_init(&g->delivered);
	list_init(&g->settling);
	g->peer = peers_take(&q->agents, fd,
		g->local ? PEER_LOCAL_AGENT : PEER_REMOTE_AGENT);
	g->peer->data = g;
	list_add(&q->agent_list, &g->of_queue);
	if (g->local) {
		l->agent = g;
		lane_look(q, l);
	} else {
		q->remote_agents++;
		list_push(&q->idle_agents, &g->of_idle);
	}
}

static void
on_agent(void *ctx, struct arena *a, struct message *m)
{
	struct asking k = *(struct asking *)ctx;
	struct queue *q = k.queue;
	(void)a;
	free(ctx);
	if (k.lane != NULL)
		k.lane->agent_asked = false;
	else
		q->agents_asked--;
	if (m != NULL && m->kind == MSG_opened && m->fd >= 0) {
		agent_new(q, k.lane, message_take_fd(m));
		dispatch_soon(q);
		return;
	}
	log_warn(LOG_NO_ID, "no-agent", LOG_STR("why",
		m != NULL && m->kind == MSG_opened
			? m->opened.status.text
			: STR("master is away")));
	if (k.lane != NULL) {
		--*agents_like(q, k.lane);
		pause_lane(q, k.lane, REFUSED_PAUSE_MS);
	} else {
		pause_agents(q, REFUSED_PAUSE_MS);
	}
}

static void
ask_agent(struct queue *q, struct lane *l)
{
	struct asking *k = must(calloc(1, sizeof *k));
	struct message m = MESSAGE(agent_start);
	*k = (struct asking){q, l};
	m.agent_start.agent = l == NULL ? STR("remote")
		: l->pipe ? STR("pipe") : STR("local");
	if (l != NULL) {
		m.agent_start.ids = l->ids;
		m.agent_start.user = l->user;
		m.agent_start.home = l->home;
		l->agent_asked = true;
		++*agents_like(q, l);
	} else {
		m.agent_start.ids = STR("-"); /* its own, as always */
		q->agents_asked++;
	}
	asker_ask(q->master, &m, on_agent, k);
}

/* --------------------------------------------------------------- jobs */

static bool
has_own_ids(const struct lane *l)
{
	return !str_eq(l->ids, STR("-"));
}

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
	const struct msg *of = j->work->msg;
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
			(long long)of->arrival, of->qid,
			(long long)r->number, STR_ARG(q->program->hostname));
		if (r->rewrite)
			m->verify = 2;
		else if (r->verify && m->verify == 0)
			m->verify = 1;
	}
	if (!j->work->lane->local)
		m->user = m->home = m->name = (struct str_list){NULL, 0};
}

static struct status
fill_job(struct queue *q, struct arena *a, struct message *out,
	const struct job *j, size_t n)
{
	struct msg *m = j->work->msg;
	const struct lane *l = j->work->lane;
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
	if (!l->local || l->pipe)
		to->destination = first->destination;
	to->own = l->local && has_own_ids(l);
	fill_rcpts(q, a, to, j, n);
	return msg_content(q, a, m, &to->content, &out->fd);
}

/* What no attempt can mend waits for a person; the rest for another time. */
static void
cannot_send(struct queue *q, struct agent *g, struct job *j, struct status s)
{
	struct msg *m = j->work->msg;
	struct result x = {.status = s};
	list_each(&j->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		list_remove(at);
		if (s.class == STATUS_NEVER)
			outcome_held(q, r, s.text);
		else
			outcome(q, r, NULL, &x);
	}
	job_done(q, g, j);
	outcome_settled(q, m);
}

static bool
is_delicate(const struct msg *m)
{
	return m->suspect || m->crashes > 0;
}

/* With a rate, what a tenth of a minute allows, and then a pause. */
static size_t
job_size(const struct lane *l)
{
	int64_t n = l->rate == 0 ? JOB_RECIPIENTS : l->rate / 10;
	return n < 1 ? 1 : n < JOB_RECIPIENTS ? (size_t)n : JOB_RECIPIENTS;
}

static void
send_job(struct queue *q, struct agent *g, struct lane *l)
{
	struct arena *a = arena_new("job");
	struct job *j = must(calloc(1, sizeof *j));
	struct message m;
	struct work *w = lane_next(l);
	list_init(&j->rcpts);
	j->work = w;
	size_t n = lane_take(q, w, &j->rcpts, job_size(l));
	int64_t now = clock_wall_us();
	list_each(&j->rcpts, at, save) {
		struct rcpt *r = list_entry(at, struct rcpt, of_work);
		r->started = now;
		rcpt_move(q, r, RCPT_ACTIVE);
	}
	list_remove(&g->of_idle);
	list_add(&g->jobs, &j->link);
	g->lane = l;
	g->count++;
	g->delicate = is_delicate(w->msg);
	have_patience(q, g, w->msg);
	if (l->rate > 0)
		pause_lane(q, l, (int64_t)n * 60000 / l->rate);
	lane_began(q, w);
	struct status s = fill_job(q, a, &m, j, n);
	if (status_is_fine(s)) {
		peer_send(g->peer, &m);
		if (w->msg->unsent == 0)
			msg_drop_content(q, w->msg);
	} else {
		cannot_send(q, g, j, s);
	}
	message_drop(&m);
	arena_free(a);
}

/* ---------------------------------------------------------- local lanes */

/* An agent of this kind is one of those that make place for each other. */
static bool
may_go(const struct agent *g, bool pipe)
{
	return g->local && g->lane->pipe == pipe &&
		(pipe || has_own_ids(g->lane));
}

/* Somebody's place is wanted: one that is idle, else the one that has had its
 * place longest, after what it has in hand. */
static void
make_place(struct queue *q, bool pipe)
{
	struct agent *victim = NULL;
	list_each(&q->agent_list, at, save) {
		struct agent *g = list_entry(at, struct agent, of_queue);
		if (!may_go(g, pipe))
			continue;
		if (g->retiring)
			return;
		bool idle = g->count == 0 && g->lane->waiting == 0;
		if (idle || (victim == NULL &&
			clock_ms() - g->since > TENURE_MS))
			victim = g;
		if (idle)
			break;
	}
	if (victim == NULL)
		return;
	victim->retiring = true;
	retire_if_idle(q, victim);
}

static void
want_local(struct queue *q, struct lane *l)
{
	/* Master lets some more live, for those that are going. */
	size_t most = l->pipe ? (size_t)q->conf->pipe.agents
		: 2 * (size_t)q->conf->queue.local_agents + 4;
	if (l->agent_asked)
		return;
	if ((!l->pipe && !has_own_ids(l)) || *agents_like(q, l) < most)
		ask_agent(q, l);
	else
		make_place(q, l->pipe);
}

static bool
may_take(const struct agent *g, const struct lane *l)
{
	return l->waiting > 0 && !g->retiring && !g->delicate &&
		!peer_is_closing(g->peer) &&
		g->count < (l->pipe ? 1 : LOCAL_JOBS_MOST) &&
		(g->count == 0 || !is_delicate(lane_next(l)->msg));
}

static void
end_turn(void *ctx)
{
	struct queue *q = ctx;
	q->turn_timer = NULL;
	dispatch_soon(q);
}

/*
 * A mailbox costs its agent one transaction per batch, whatever is in it:
 * what comes soon after a turn waits for the next, so that the rest of a burst
 * goes together.  The first of a burst, or mail now and then, waits for
 * nothing.
 */
static bool
is_early(struct queue *q, struct lane *l)
{
	int64_t now = clock_ms();
	if (now >= l->next_turn) {
		l->next_turn = now + TURN_MS;
		return false;
	}
	if (q->turn_timer == NULL)
		q->turn_timer = loop_timer(q->loop, l->next_turn, end_turn, q);
	return true;
}

static void
serve_local(struct queue *q, struct lane *l)
{
	if (l->agent == NULL)
		want_local(q, l);
	if (l->agent == NULL || !may_take(l->agent, l) ||
		(!l->pipe && is_early(q, l)))
		return;
	while (l->agent != NULL && may_take(l->agent, l))
		send_job(q, l->agent, l);
}

/* --------------------------------------------------------- remote lanes */

/* One that is connected there, else the one that was idle longest. */
static struct agent *
idle_agent(struct queue *q, const struct lane *l)
{
	list_each(&q->idle_agents, at, save) {
		struct agent *g = list_entry(at, struct agent, of_idle);
		if (peer_is_closing(g->peer))
			list_remove(at);
		else if (g->lane == l)
			return g;
	}
	return list_is_empty(&q->idle_agents) ? NULL
		: list_entry(q->idle_agents.prev, struct agent, of_idle);
}

/* Agents stay where they are connected, while nobody waits without one. */
static void
serve_own(struct queue *q)
{
	list_each(&q->idle_agents, at, save) {
		struct agent *g = list_entry(at, struct agent, of_idle);
		struct lane *l = g->lane;
		if (l != NULL && l->ready_as == READY_MORE &&
			!peer_is_closing(g->peer) && provider_has_room(l) &&
			!list_is_empty(&l->of_ready))
			send_job(q, g, l);
	}
}

/* The last ones are kept for destinations that have none. */
static size_t
reserve(const struct queue *q)
{
	return (size_t)q->conf->queue.remote_agents / 5;
}

static size_t
startable(const struct queue *q)
{
	size_t most = (size_t)q->conf->queue.remote_agents;
	size_t have = q->remote_agents + q->agents_asked;
	return q->agents_timer == NULL && have < most ? most - have : 0;
}

static size_t
idle_count(struct queue *q)
{
	size_t n = 0;
	list_each(&q->idle_agents, at, save)
		n++;
	return n;
}

/* False when no agent is left for a lane of this kind. */
static bool
serve_next(struct queue *q, enum ready kind)
{
	struct lane *l = list_first(&q->ready[kind], struct lane, of_ready);
	struct agent *g = l == NULL ? NULL : idle_agent(q, l);
	if (g == NULL || (kind == READY_MORE &&
		idle_count(q) + startable(q) <= reserve(q)))
		return false;
	/* Out of turn while its provider has no room, else to the end. */
	list_remove(&l->of_ready);
	lane_look(q, l);
	if (!list_is_empty(&l->of_ready))
		send_job(q, g, l);
	return true;
}

static void
want_remote(struct queue *q)
{
	size_t wanted = 0, most = (size_t)q->conf->queue.remote_agents;
	for (int kind = READY_FIRST; kind <= READY_MORE; kind++)
		list_each(&q->ready[kind], at, save) {
			if (wanted >= most)
				break;
			wanted++;
		}
	/* For lanes that have one already the reserve is not touched. */
	size_t spare = list_is_empty(&q->ready[READY_FIRST]) ? reserve(q) : 0;
	while (q->agents_asked < wanted && startable(q) > spare)
		ask_agent(q, NULL);
}

static void
serve_remote(struct queue *q)
{
	while (serve_next(q, READY_FIRST))
		;
	serve_own(q);
	while (serve_next(q, READY_MORE))
		;
	want_remote(q);
}

void
dispatch(struct queue *q)
{
	q->dispatching = false;
	if (q->finishing != FINISH_NOT || batch_is_full(q))
		return;
	list_each(&q->ready[READY_LOCAL], at, save)
		serve_local(q, list_entry(at, struct lane, of_ready));
	serve_remote(q);
}

size_t
dispatch_jobs_out(const struct queue *q)
{
	size_t n = 0;
	list_each(&q->agent_list, at, save)
		n += list_entry(at, struct agent, of_queue)->count;
	return n;
}

void
dispatch_hang_up(struct queue *q)
{
	list_each(&q->agent_list, at, save) {
		struct agent *g = list_entry(at, struct agent, of_queue);
		if (!g->local && g->count > 0)
			shutdown(peer_fd(g->peer), SHUT_WR);
	}
}

/* ---------------------------------------------------------------- sweep */

void
dispatch_settled(struct queue *q, struct agent *g)
{
	retire_if_idle(q, g);
}

void
dispatch_sweep(struct queue *q)
{
	int64_t before = clock_ms() - IDLE_MS;
	list_each(&q->agent_list, at, save) {
		struct agent *g = list_entry(at, struct agent, of_queue);
		if (g->count > 0 || g->used > before)
			continue;
		if (!g->local)
			end_agent(g);
		else if (may_go(g, g->lane->pipe) && g->lane->waiting == 0)
			g->retiring = true;
		if (g->local)
			retire_if_idle(q, g);
	}
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
	for (int i = 0; i < READY_KINDS; i++)
		list_init(&q->ready[i]);
	q->lanes = map_new(q->arena);
	q->providers = map_new(q->arena);
}
