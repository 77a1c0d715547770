/* SPDX-License-Identifier: ISC */
/*
 * Connections on the loop.  Input: a bounded number of messages per turn and
 * peer, so that one who talks much cannot starve the rest.  Output: straight
 * to the socket; what it does not take waits as encoded bytes.
 */
#include "ask/peers.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGES_PER_TURN = 64,
	ACCEPTS_PER_TURN = 64,
	BREATH_MS = 200,
	TELL_EVERY_MS = 60 * 1000,
	WAITING_MOST = 64 * 1024 * 1024,
};

struct waiting {
	struct list link;
	int fd;
	size_t n;
	char bytes[];
};

struct connection {
	struct peer peer; /* first: a peer is its connection */
	struct list of_peers;
	int fd;
	unsigned uid; /* PEER_LOCAL: whose it is */
	int open; /* questions not answered yet */
	bool closing;
	bool leaving, heard_all; /* of one that retires */
	bool deaf; /* the other end takes no more, but may still answer */
	struct loop_timer *settling;
	struct loop_watch *watch;
	struct list output;
	size_t output_octets;
	struct arena *arena;
};

struct listening {
	struct list of_peers;
	struct peers *peers;
	struct loop_watch *watch;
	unsigned who;
	int64_t told; /* boot clock: that somebody had too many */
};

struct peers_state {
	struct list connections, listenings;
	loop_timer_fn retired; /* NULL: not retiring */
	struct loop_timer *patience;
};

static struct connection *
of(struct peer *p)
{
	return (struct connection *)p;
}

static void *
must(void *p)
{
	if (p == NULL)
		fatal("out of memory", 0);
	return p;
}

static struct peers_state *
state_of(struct peers *ps)
{
	if (ps->state == NULL) {
		ps->state = must(calloc(1, sizeof *ps->state));
		list_init(&ps->state->connections);
		list_init(&ps->state->listenings);
	}
	return ps->state;
}

static void
forget(struct connection *c, struct waiting *w)
{
	list_remove(&w->link);
	c->output_octets -= w->n;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

static void
retired(void *ctx)
{
	struct peers *ps = ctx;
	loop_timer_fn fn = ps->state->retired;
	ps->state->patience = NULL;
	ps->state->retired = NULL;
	fn(ps->ctx);
}

static void
destroy(void *ctx)
{
	struct connection *c = ctx;
	struct peers *ps = c->peer.peers;
	list_remove(&c->of_peers);
	loop_untimer(c->settling);
	if (c->peer.peers->on_close != NULL)
		c->peer.peers->on_close(&c->peer);
	list_each(&c->output, at, save)
		forget(c, list_entry(at, struct waiting, link));
	loop_unwatch(c->watch);
	close(c->fd);
	arena_free(c->arena);
	free(c);
	if (ps->state->retired != NULL &&
		list_is_empty(&ps->state->connections)) {
		loop_untimer(ps->state->patience);
		retired(ps);
	}
}

/* Not at once: whoever called may still use the peer in this turn. */
void
peer_close(struct peer *p)
{
	struct connection *c = of(p);
	if (c->closing)
		return;
	c->closing = true;
	loop_watch_set(c->watch, 0);
	loop_timer(p->peers->loop, clock_ms(), destroy, c);
}

bool
peer_is_closing(const struct peer *p)
{
	const struct connection *c = (const struct connection *)p;
	return c->closing || c->deaf;
}

int
peer_fd(const struct peer *p)
{
	return ((const struct connection *)p)->fd;
}

/* ------------------------------------------------------------- retiring */

static bool
is_unfinished(const struct connection *c)
{
	const struct peers *ps = c->peer.peers;
	return c->open > 0 || !list_is_empty(&c->output) ||
		(ps->is_busy != NULL && ps->is_busy(&c->peer));
}

/* What it sends from now on fails at its own end, so that it can ask somebody
 * else; what it had sent before can still be read. */
static void
settle(void *ctx)
{
	struct connection *c = ctx;
	c->settling = NULL;
	if (c->closing || is_unfinished(c))
		return;
	if (c->heard_all) {
		peer_close(&c->peer);
	} else if (!c->leaving) {
		c->leaving = true;
		shutdown(c->fd, SHUT_RD);
	}
}

/* At the end of the turn: the program may be about to finish something. */
static void
settle_soon(struct connection *c)
{
	if (c->peer.peers->state->retired != NULL && c->settling == NULL)
		c->settling = loop_timer(
			c->peer.peers->loop, clock_ms(), settle, c);
}

void
peers_retire(struct peers *ps, int64_t ms, loop_timer_fn fn)
{
	struct peers_state *s = state_of(ps);
	list_each(&s->listenings, at, save)
		loop_unwatch(list_entry(at, struct listening, of_peers)->watch);
	list_init(&s->listenings);
	s->retired = fn;
	s->patience = loop_timer(ps->loop, clock_in(
		list_is_empty(&s->connections) ? 0 : ms), retired, ps);
	list_each(&s->connections, at2, save2)
		settle(list_entry(at2, struct connection, of_peers));
}

/* --------------------------------------------------------------- input */

static void
dispatch(struct connection *c, struct message *m)
{
	struct peers *ps = c->peer.peers;
	for (size_t i = 0; i < ps->count; i++) {
		const struct peer_row *row = &ps->rows[i];
		if (row->kind != m->kind || (row->from & c->peer.who) == 0)
			continue;
		c->open++;
		row->fn(&c->peer, c->arena, m);
		return;
	}
	log_warn(LOG_NO_ID, "message-refused", LOG_NUM("kind", m->kind),
		LOG_NUM("peer", c->peer.who));
	peer_close(&c->peer);
}

static void
hear_no_more(struct connection *c)
{
	c->heard_all = true;
	loop_watch_set(c->watch, list_is_empty(&c->output) ? 0 : LOOP_WRITE);
	settle_soon(c);
}

static void
read_some(struct connection *c)
{
	struct message m;
	for (int i = 0; i < MESSAGES_PER_TURN && !c->closing; i++) {
		struct arena_mark mark = arena_mark(c->arena);
		enum ipc_result r = ipc_recv(
			&ask_messages, c->fd, c->arena, &m);
		if (r == IPC_OK) {
			dispatch(c, &m);
			message_drop(&m);
		} else if (r == IPC_BAD) {
			log_warn(LOG_NO_ID, "message-malformed",
				LOG_NUM("peer", c->peer.who));
		}
		arena_rewind(c->arena, mark);
		if (r == IPC_AGAIN)
			return;
		if (r == IPC_CLOSED && c->leaving)
			hear_no_more(c);
		else if (r != IPC_OK)
			peer_close(&c->peer);
		if (r == IPC_CLOSED)
			return;
	}
}

/* Whoever was asked, and retires, has not looked at all of it yet: it closes
 * when it has answered. */
static void
cannot_send(struct connection *c)
{
	if (c->peer.peers->on_deaf == NULL) {
		peer_close(&c->peer);
		return;
	}
	c->deaf = true;
	shutdown(c->fd, SHUT_WR);
	loop_watch_set(c->watch, LOOP_READ);
	c->peer.peers->on_deaf(&c->peer);
}

static void
write_some(struct connection *c)
{
	list_each(&c->output, at, save) {
		struct waiting *w = list_entry(at, struct waiting, link);
		enum ipc_result r = ipc_send_bytes(
			c->fd, str_of(w->bytes, w->n), w->fd);
		if (r == IPC_AGAIN)
			return;
		if (r != IPC_OK) {
			cannot_send(c);
			return;
		}
		forget(c, w);
	}
	loop_watch_set(c->watch, c->heard_all ? 0 : LOOP_READ);
	settle_soon(c);
}

static void
on_event(void *ctx, int fd, unsigned events)
{
	struct connection *c = ctx;
	(void)fd;
	if (c->closing)
		return;
	if (events & LOOP_WRITE)
		write_some(c);
	if ((events & LOOP_HANGUP) && c->heard_all)
		peer_close(&c->peer);
	else if (events & (LOOP_READ | LOOP_HANGUP))
		read_some(c);
}

struct peer *
peers_take(struct peers *ps, int fd, unsigned who)
{
	struct connection *c = must(calloc(1, sizeof *c));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	ipc_roomy(fd);
	c->peer = (struct peer){.peers = ps, .who = who};
	c->fd = fd;
	c->arena = arena_new("peer");
	list_init(&c->output);
	c->watch = loop_watch(ps->loop, fd, LOOP_READ, on_event, c);
	list_add(&state_of(ps)->connections, &c->of_peers);
	return &c->peer;
}

static void
listen_again(void *ctx)
{
	struct listening *l = ctx;
	loop_watch_set(l->watch, LOOP_READ);
}

/* Out of descriptors or memory: who waits at the door waits a little more, and
 * nobody spins. */
static void
out_of_breath(struct listening *l)
{
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS &&
		errno != ENOMEM)
		return;
	log_warn(LOG_NO_ID, "cannot-accept", LOG_CSTR("why", strerror(errno)));
	loop_watch_set(l->watch, 0);
	loop_timer(l->peers->loop, clock_in(BREATH_MS), listen_again, l);
}

/* Anybody can ask here, and must not take everybody's place. */
static bool
is_too_many(struct listening *l, int fd, unsigned *uid)
{
	const struct peers *ps = l->peers;
	unsigned gid;
	int pid;
	size_t n = 0;
	if (l->who != PEER_LOCAL || ps->user_most == 0 ||
		!ipc_peer_ids(fd, uid, &gid, &pid))
		return false;
	list_each(&ps->state->connections, at, save) {
		const struct connection *c =
			list_entry(at, struct connection, of_peers);
		n += c->peer.who == PEER_LOCAL && c->uid == *uid;
	}
	if (n < ps->user_most)
		return false;
	if (l->told == 0 || clock_ms() - l->told > TELL_EVERY_MS) {
		l->told = clock_ms();
		log_warn(LOG_NO_ID, "too-many-connections",
			LOG_NUM("uid", *uid), LOG_NUM("most", ps->user_most));
	}
	return true;
}

static void
on_accept(void *ctx, int fd, unsigned events)
{
	struct listening *l = ctx;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int client = accept4(fd, NULL, NULL,
			SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (client < 0) {
			out_of_breath(l);
			return;
		}
		unsigned uid = 0;
		if (is_too_many(l, client, &uid)) {
			close(client);
			continue;
		}
		of(peers_take(l->peers, client, l->who))->uid = uid;
	}
}

void
peers_listen(struct peers *ps, int listening, unsigned who)
{
	struct listening *l = must(calloc(1, sizeof *l));
	*l = (struct listening){.peers = ps, .who = who};
	fcntl(listening, F_SETFL, fcntl(listening, F_GETFL) | O_NONBLOCK);
	l->watch = loop_watch(ps->loop, listening, LOOP_READ, on_accept, l);
	list_add(&state_of(ps)->listenings, &l->of_peers);
}

/* False when too much waits already. */
static bool
keep(struct connection *c, const struct message *m)
{
	struct arena_mark mark = arena_mark(c->arena);
	struct buf *out = buf_new(c->arena);
	ipc_encode(&ask_messages, m, out);
	bool room = c->output_octets + out->n <= WAITING_MOST;
	if (room) {
		struct waiting *w = must(malloc(sizeof *w + out->n));
		w->n = out->n;
		w->fd = m->fd < 0 ? -1 : fcntl(m->fd, F_DUPFD_CLOEXEC, 3);
		memcpy(w->bytes, out->p, out->n);
		list_add(&c->output, &w->link);
		c->output_octets += w->n;
		loop_watch_set(c->watch, c->heard_all
			? LOOP_WRITE : LOOP_READ | LOOP_WRITE);
	}
	arena_rewind(c->arena, mark);
	return room;
}

/* A row of a list is followed by another, or by the end of it. */
static bool
is_last(const struct message *m)
{
	const char *name = ask_messages.defs[m->kind].name;
	return !str_ends(str_from(name), STR("_row"));
}

void
peer_send(struct peer *p, const struct message *m)
{
	struct connection *c = of(p);
	if (c->closing)
		return;
	enum ipc_result r = IPC_AGAIN;
	if (c->open > 0 && is_last(m))
		c->open--;
	settle_soon(c);
	if (list_is_empty(&c->output))
		r = ipc_send(&ask_messages, c->fd, m);
	if (r == IPC_AGAIN && !keep(c, m))
		peer_close(p);
	else if (r != IPC_OK && r != IPC_AGAIN)
		cannot_send(c);
}

/* -------------------------------------------------------------- asking */

/* Answers come in the order of the questions of one connection; a restarted
 * process has another connection and knows nothing of the old one's. */
struct question {
	struct list link;
	const struct peer *to; /* NULL: could not be sent */
	answer_fn fn;
	void *ctx;
};

struct asker {
	struct peers peers;
	char *path;
	struct peer *peer;
	struct list asked;
};

static void
end_question(struct question *q, struct arena *a, struct message *m)
{
	struct question copy = *q;
	list_remove(&q->link);
	free(q);
	copy.fn(copy.ctx, a, m);
}

static void
on_answer(struct peer *p, struct arena *a, struct message *m)
{
	struct asker *k = p->peers->ctx;
	list_each(&k->asked, at, save) {
		struct question *q = list_entry(at, struct question, link);
		if (q->to != p)
			continue;
		end_question(q, a, m);
		return;
	}
}

/* Those of this connection, asked before: their functions may ask again at
 * once. */
static void
fail_those(struct asker *k, const struct peer *to)
{
	struct list lost;
	list_init(&lost);
	list_each(&k->asked, at, save) {
		if (list_entry(at, struct question, link)->to != to)
			continue;
		list_remove(at);
		list_add(&lost, at);
	}
	list_each(&lost, at, save)
		end_question(list_entry(at, struct question, link), NULL,
			NULL);
}

static void
on_lost(struct peer *p)
{
	struct asker *k = p->peers->ctx;
	if (k->peer == p)
		k->peer = NULL;
	fail_those(k, p);
}

static bool
connect_asker(struct asker *k)
{
	if (k->peer != NULL && peer_is_closing(k->peer))
		k->peer = NULL;
	if (k->peer != NULL)
		return true;
	int fd = ipc_connect(k->path);
	if (fd >= 0)
		k->peer = peers_take(&k->peers, fd, ~0u);
	return fd >= 0;
}

/* What still waited for room on the way: the last it was asked. */
static void
ask_successor(struct peer *p)
{
	struct asker *k = p->peers->ctx;
	struct connection *from = of(p), *to;
	if (list_is_empty(&from->output))
		return;
	if (!connect_asker(k)) {
		peer_close(p);
		return;
	}
	to = of(k->peer);
	for (struct list *q = k->asked.prev; !list_is_empty(&from->output);
		q = q->prev) {
		struct question *last = list_entry(q, struct question, link);
		if (last->to != p)
			continue;
		last->to = k->peer;
		struct list *waiting = from->output.prev;
		list_remove(waiting);
		list_push(&to->output, waiting);
	}
	to->output_octets = from->output_octets;
	from->output_octets = 0;
	loop_watch_set(to->watch, LOOP_READ | LOOP_WRITE);
}

#define ANSWER_ROW(name, fd) {MSG_##name, ~0u, on_answer},
static const struct peer_row answer_rows[] = {MESSAGES(ANSWER_ROW)};

struct asker *
asker_new(struct arena *a, struct loop *l, struct str directory,
	const char *asked)
{
	struct asker *k = arena_one(a, struct asker);
	k->peers = (struct peers){.loop = l, .rows = answer_rows,
		.count = sizeof answer_rows / sizeof *answer_rows, .ctx = k,
		.on_deaf = ask_successor, .on_close = on_lost};
	k->path = str_cstr(a,
		str_printf(a, "%.*s/%s", STR_ARG(directory), asked));
	list_init(&k->asked);
	return k;
}

static void
fail_later(void *ctx)
{
	fail_those(ctx, NULL);
}

void
asker_ask(struct asker *k, const struct message *question, answer_fn fn,
	void *ctx)
{
	struct question *q = must(calloc(1, sizeof *q));
	*q = (struct question){.fn = fn, .ctx = ctx};
	list_add(&k->asked, &q->link);
	/* One that retires takes no question: its successor does. */
	for (int tries = 0; tries < 2; tries++) {
		if (!connect_asker(k)) {
			loop_timer(k->peers.loop, clock_in(100), fail_later, k);
			return;
		}
		q->to = NULL;
		peer_send(k->peer, question);
		if (!peer_is_closing(k->peer))
			break;
	}
	q->to = k->peer;
}
