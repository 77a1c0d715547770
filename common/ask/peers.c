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
	int fd;
	bool closing;
	struct loop_watch *watch;
	struct list output;
	size_t output_octets;
	struct arena *arena;
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
destroy(void *ctx)
{
	struct connection *c = ctx;
	if (c->peer.peers->on_close != NULL)
		c->peer.peers->on_close(&c->peer);
	list_each(&c->output, at, save)
		forget(c, list_entry(at, struct waiting, link));
	loop_unwatch(c->watch);
	close(c->fd);
	arena_free(c->arena);
	free(c);
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
	return ((const struct connection *)p)->closing;
}

int
peer_fd(const struct peer *p)
{
	return ((const struct connection *)p)->fd;
}

static void
dispatch(struct connection *c, struct message *m)
{
	struct peers *ps = c->peer.peers;
	for (size_t i = 0; i < ps->count; i++) {
		const struct peer_row *row = &ps->rows[i];
		if (row->kind != m->kind || (row->from & c->peer.who) == 0)
			continue;
		row->fn(&c->peer, c->arena, m);
		return;
	}
	log_warn(LOG_NO_ID, "message-refused", LOG_NUM("kind", m->kind),
		LOG_NUM("peer", c->peer.who));
	peer_close(&c->peer);
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
		if (r != IPC_OK)
			peer_close(&c->peer);
	}
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
		forget(c, w);
		if (r != IPC_OK) {
			peer_close(&c->peer);
			return;
		}
	}
	loop_watch_set(c->watch, LOOP_READ);
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
	if (events & (LOOP_READ | LOOP_HANGUP))
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
	return &c->peer;
}

struct listening {
	struct peers *peers;
	unsigned who;
	struct loop_watch *watch;
};

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
		peers_take(l->peers, client, l->who);
	}
}

void
peers_listen(struct peers *ps, int listening, unsigned who)
{
	struct listening *l = must(calloc(1, sizeof *l));
	*l = (struct listening){.peers = ps, .who = who};
	fcntl(listening, F_SETFL, fcntl(listening, F_GETFL) | O_NONBLOCK);
	l->watch = loop_watch(ps->loop, listening, LOOP_READ, on_accept, l);
}

static void
keep(struct connection *c, struct str bytes, int fd)
{
	struct waiting *w = must(malloc(sizeof *w + bytes.n));
	w->n = bytes.n;
	w->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	memcpy(w->bytes, bytes.p, bytes.n);
	list_add(&c->output, &w->link);
	c->output_octets += w->n;
	loop_watch_set(c->watch, LOOP_READ | LOOP_WRITE);
}

void
peer_send(struct peer *p, const struct message *m)
{
	struct connection *c = of(p);
	if (c->closing)
		return;
	struct arena_mark mark = arena_mark(c->arena);
	struct buf *out = buf_new(c->arena);
	enum ipc_result r = IPC_AGAIN;
	ipc_encode(&ask_messages, m, out);
	if (list_is_empty(&c->output))
		r = ipc_send_bytes(c->fd, buf_str(out), m->fd);
	if (r == IPC_AGAIN && c->output_octets + out->n <= WAITING_MOST)
		keep(c, buf_str(out), m->fd);
	else if (r != IPC_OK)
		peer_close(p);
	arena_rewind(c->arena, mark);
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

#define ANSWER_ROW(name, fd) {MSG_##name, ~0u, on_answer},
static const struct peer_row answer_rows[] = {MESSAGES(ANSWER_ROW)};

struct asker *
asker_new(struct arena *a, struct loop *l, struct str directory,
	const char *asked)
{
	struct asker *k = arena_one(a, struct asker);
	k->peers = (struct peers){.loop = l, .rows = answer_rows,
		.count = sizeof answer_rows / sizeof *answer_rows, .ctx = k,
		.on_close = on_lost};
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
	if (k->peer != NULL && of(k->peer)->closing)
		k->peer = NULL;
	if (k->peer == NULL) {
		int fd = ipc_connect(k->path);
		if (fd < 0) {
			loop_timer(k->peers.loop, clock_in(100), fail_later, k);
			return;
		}
		k->peer = peers_take(&k->peers, fd, ~0u);
	}
	q->to = k->peer;
	peer_send(k->peer, question);
}
