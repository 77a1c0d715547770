/* SPDX-License-Identifier: ISC */
/*
 * Is there room in an account?  Only who may open it knows: a local agent,
 * which master starts for us as it does for the queue, and which is kept for
 * the next question.  Nobody waits here: the answer for RCPT is put by until
 * the agent's word comes.  Where none comes the mail is taken, and delivery
 * decides.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"

#include <stdlib.h>

enum { AGENTS_MOST = 64, IDLE_MS = 60 * 1000 };

/* What RCPT was answered, but for this. */
struct kept_answer {
	struct list link; /* of its agent, in order */
	struct peer *peer; /* NULL: gone */
	struct arena *arena;
	struct message room, answer;
};

struct room_agent {
	struct list link; /* of all */
	struct auth *auth;
	struct arena *arena;
	struct str ids, home;
	struct peer *peer; /* NULL: being started */
	struct list kept;
	struct loop_timer *idle;
	bool used; /* since the timer began */
};

struct rooms {
	struct peers peers; /* the agents; a peer's data is its agent */
	struct list agents;
	size_t count;
};

/* ---------------------------------------------------------------- answers */

static void
copy_text(struct arena *a, struct str *s)
{
	*s = str_copy(a, *s);
}

static void
copy_answer(struct arena *a, struct msg_rcpt_result *r)
{
	struct str *texts[] = {&r->status.text, &r->address, &r->hold,
		&r->rule, &r->ids, &r->home, &r->limits};
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		copy_text(a, texts[i]);
	struct str_list why = {arena_array(a, r->why.n, sizeof *why.v), 0};
	for (; why.n < r->why.n; why.n++)
		why.v[why.n] = str_copy(a, r->why.v[why.n]);
	r->why = why;
}

/* Where the mailbox lies concerns nobody else. */
static void
send_answer(struct peer *p, struct message *m)
{
	struct msg_rcpt_result *r = &m->rcpt_result;
	r->ids = r->home = r->limits = STR("");
	r->size = 0;
	peer_send(p, m);
}

static void
let_go(struct kept_answer *k)
{
	if (k->peer != NULL)
		send_answer(k->peer, &k->answer);
	list_remove(&k->link);
	arena_free(k->arena);
	free(k);
}

/* ----------------------------------------------------------------- agents */

static void
drop_agent(struct room_agent *g)
{
	list_each(&g->kept, at, save)
		let_go(list_entry(at, struct kept_answer, link));
	if (g->idle != NULL)
		loop_untimer(g->idle);
	list_remove(&g->link);
	g->auth->rooms->count--;
	arena_free(g->arena);
	free(g);
}

/* What it had not taken is let go when it has answered the rest. */
static void
on_deaf(struct peer *p)
{
	(void)p;
}

static void
on_lost(struct peer *p)
{
	drop_agent(p->data);
}

static void
on_done(struct peer *p, struct arena *a, struct message *m)
{
	struct room_agent *g = p->data;
	struct kept_answer *k = list_first(&g->kept, struct kept_answer, link);
	(void)a;
	if (k == NULL)
		return;
	struct status st = m->done.status;
	/* busy, or damaged: that is not for the sender to know */
	if (!status_is_fine(st) && st.subject == 2 && st.detail == 2)
		k->answer.rcpt_result.status = st;
	else if (!status_is_fine(st))
		log_warn(LOG_NO_ID, "room-unknown", LOG_STR("home",
			k->room.room.home), LOG_STR("why", st.text));
	let_go(k);
}

static const struct peer_row rows[] = {{MSG_done, ~0u, on_done}};

static void idle(void *ctx);

static void
watch_idle(struct room_agent *g)
{
	g->used = false;
	g->idle = loop_timer(g->auth->loop, clock_in(IDLE_MS), idle, g);
}

static void
idle(void *ctx)
{
	struct room_agent *g = ctx;
	if (g->used || !list_is_empty(&g->kept)) {
		watch_idle(g);
		return;
	}
	g->idle = NULL;
	peer_close(g->peer);
}

static void
started(void *ctx, struct arena *a, struct message *m)
{
	struct room_agent *g = ctx;
	(void)a;
	int fd = m != NULL && m->kind == MSG_opened &&
			status_is_fine(m->opened.status)
		? message_take_fd(m) : -1;
	if (fd < 0) {
		log_error(LOG_NO_ID, "no-agent", LOG_STR("home", g->home),
			LOG_STR("why", m != NULL && m->kind == MSG_opened
				? m->opened.status.text
				: STR("master is away")));
		drop_agent(g);
		return;
	}
	g->peer = peers_take(&g->auth->rooms->peers, fd, ~0u);
	g->peer->data = g;
	watch_idle(g);
	list_each(&g->kept, at, save)
		peer_send(g->peer,
			&list_entry(at, struct kept_answer, link)->room);
}

static struct room_agent *
start_agent(struct auth *x, const struct msg_rcpt_result *r)
{
	struct arena *a = arena_new("room");
	struct room_agent *g = calloc(1, sizeof *g);
	struct message m = MESSAGE(agent_start);
	if (g == NULL)
		fatal("out of memory", NULL);
	*g = (struct room_agent){.auth = x, .arena = a,
		.ids = str_copy(a, r->ids), .home = str_copy(a, r->home)};
	list_init(&g->kept);
	list_add(&x->rooms->agents, &g->link);
	x->rooms->count++;
	m.agent_start = (struct msg_agent_start){.agent = STR("local"),
		.ids = g->ids, .home = g->home};
	asker_ask(x->master, &m, started, g);
	return g;
}

/* Those who share an id share an agent.  NULL: there are too many. */
static struct room_agent *
agent_for(struct auth *x, const struct msg_rcpt_result *r)
{
	list_each(&x->rooms->agents, at, save) {
		struct room_agent *g = list_entry(at, struct room_agent, link);
		bool closing = g->peer != NULL && peer_is_closing(g->peer);
		if (!closing && str_eq(g->ids, r->ids) &&
			(str_eq(r->ids, STR("-")) || str_eq(g->home, r->home)))
			return g;
	}
	return x->rooms->count < AGENTS_MOST ? start_agent(x, r) : NULL;
}

/* ---------------------------------------------------------------- asking */

struct rooms *
rooms_new(struct arena *a, struct loop *l)
{
	struct rooms *r = arena_one(a, struct rooms);
	list_init(&r->agents);
	r->peers = (struct peers){.loop = l, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = r,
		.on_deaf = on_deaf, .on_close = on_lost};
	return r;
}

void
rooms_answer(struct auth *x, struct peer *p, struct message *answer)
{
	const struct msg_rcpt_result *r = &answer->rcpt_result;
	struct room_agent *g = NULL;
	if (answer->kind == MSG_rcpt_result && status_is_fine(r->status) &&
		r->home.n > 0)
		g = agent_for(x, r);
	if (g == NULL) {
		if (answer->kind == MSG_rcpt_result)
			send_answer(p, answer);
		else
			peer_send(p, answer);
		return;
	}
	struct kept_answer *k = calloc(1, sizeof *k);
	if (k == NULL)
		fatal("out of memory", NULL);
	*k = (struct kept_answer){.peer = p, .arena = arena_new("answer"),
		.answer = *answer, .room = MESSAGE(room)};
	copy_answer(k->arena, &k->answer.rcpt_result);
	k->room.room = (struct msg_room){
		.home = k->answer.rcpt_result.home,
		.limits = k->answer.rcpt_result.limits,
		.size = k->answer.rcpt_result.size};
	list_add(&g->kept, &k->link);
	g->used = true;
	if (g->peer != NULL)
		peer_send(g->peer, &k->room);
}

void
rooms_forget(struct auth *x, struct peer *p)
{
	list_each(&x->rooms->agents, at, save) {
		struct room_agent *g = list_entry(at, struct room_agent, link);
		list_each(&g->kept, of, next) {
			struct kept_answer *k =
				list_entry(of, struct kept_answer, link);
			if (k->peer == p)
				k->peer = NULL;
		}
	}
}
