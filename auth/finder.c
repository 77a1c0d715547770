/* SPDX-License-Identifier: ISC */
/*
 * Questions about addresses and names of users.  Most are answered at once;
 * where a table is a server of its own (socketmap) nobody may wait for it here,
 * so whole questions go to worker processes, which have every table too, the
 * network, and time.  A peer's questions go to one worker, so that they are
 * answered in order.  A worker that dies ends auth, which is started again with
 * new ones.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { FINDERS = 4 };

/* ------------------------------------------------------------ answering */

static void
begin(struct lookup *l, struct auth *x, struct arena *a, int64_t explain,
	struct str_list *why)
{
	*l = (struct lookup){.auth = x, .arena = a};
	if (explain != 0)
		l->why = why;
}

static void
find_login(struct lookup *l, struct str name, struct msg_login_found *out)
{
	const struct user *u = lookup_login(l, name);
	out->status = !l->later ? status_fine() : STATUS(STATUS_LATER, 4, 3,
		"a table of users cannot be asked now");
	l->unknown = u == NULL;
	if (u != NULL) {
		out->name = u->name;
		out->rest = u->rest;
	}
}

static bool
answer_with(struct lookup *l, struct auth *x, struct arena *a,
	const struct message *m, struct message *answer)
{
	struct str_list why = {NULL, 0};
	switch (m->kind) {
	case MSG_rcpt_lookup:
		*answer = MESSAGE(rcpt_result);
		begin(l, x, a, m->rcpt_lookup.explain, &why);
		policy_decide(l, &m->rcpt_lookup, &answer->rcpt_result);
		answer->rcpt_result.why = why;
		return true;
	case MSG_route:
		*answer = MESSAGE(route_result);
		begin(l, x, a, m->route.explain, &why);
		lookup_route(l, m->route.address, &answer->route_result);
		answer->route_result.why = why;
		return true;
	case MSG_routes:
		*answer = MESSAGE(routes_result);
		begin(l, x, a, 0, &why);
		lookup_routes(l, m->routes.addresses, &answer->routes_result);
		return true;
	case MSG_sender:
		*answer = MESSAGE(sender_result);
		begin(l, x, a, 0, &why);
		senders_answer(l, &m->sender, &answer->sender_result);
		return true;
	case MSG_login_find:
		*answer = MESSAGE(login_found);
		begin(l, x, a, 0, &why);
		find_login(l, m->login_find.name, &answer->login_found);
		return true;
	default:
		return false;
	}
}

/* Who is not there may have been put there a moment ago: whoever writes to a
 * table and then sends mail need not wait. */
bool
finder_answer(struct auth *x, struct arena *a, const struct message *m,
	struct message *answer)
{
	struct lookup l = {.unknown = false};
	tables_refresh(x);
	if (!answer_with(&l, x, a, m, answer))
		return false;
	if (l.unknown && tables_look_again(x))
		answer_with(&l, x, a, m, answer);
	return true;
}

/* ------------------------------------------------------------ the worker */

struct asked {
	struct list link;
	struct peer *peer; /* NULL: gone */
	found_fn fn; /* of a login, which has no peer */
	void *ctx;
};

struct finder {
	struct auth *auth;
	int fd;
	struct peers peers; /* of one: us */
	struct peer *peer;
	struct list asked; /* in order */
};

struct finders {
	struct auth *auth;
	struct finder v[FINDERS];
};

static void __attribute__((noreturn))
work(struct auth *x, int fd)
{
	prctl(PR_SET_NAME, "auth-finder");
	tables_start(x);
	for (;;) {
		struct arena *a = arena_new("find");
		struct message m, answer;
		enum ipc_result r = ipc_recv_wait(
			&ask_messages, fd, a, &m, clock_in(TABLES_CHECK_MS));
		if (r == IPC_AGAIN)
			tables_refresh(x);
		else if (r != IPC_OK || !finder_answer(x, a, &m, &answer) ||
			ipc_send_wait(&ask_messages, fd, &answer,
				CLOCK_FOREVER) != IPC_OK)
			_exit(0);
		arena_free(a);
	}
}

static bool
any_slow(const struct auth *x)
{
	for (size_t i = 0; i < x->table_count; i++)
		if (x->tables[i]->ref.type == TABLE_SOCKETMAP)
			return true;
	return false;
}

static void
become_worker(struct auth *x, const struct finders *f, size_t count, int fd)
{
	struct program *p = x->program;
	for (size_t k = 0; k < count; k++)
		close(f->v[k].fd);
	for (size_t k = 0; k < p->fd_count; k++)
		close(p->fds[k].fd);
	program_confine(p, SANDBOX_NETWORK, auth_trees(p));
	work(x, fd);
}

struct finders *
finders_fork(struct auth *x)
{
	if (!any_slow(x))
		return NULL;
	struct finders *f = arena_one(x->arena, struct finders);
	for (size_t i = 0; i < FINDERS; i++) {
		int pair[2];
		ipc_pair(pair);
		pid_t pid = fork();
		if (pid < 0)
			fatal("fork", NULL);
		if (pid == 0) {
			close(pair[0]);
			become_worker(x, f, i, pair[1]);
		}
		close(pair[1]);
		f->v[i].fd = pair[0];
	}
	return f;
}

/* ------------------------------------------------------------- asking it */

static void
on_answer(struct peer *p, struct arena *a, struct message *m)
{
	struct finder *f = p->peers->ctx;
	struct asked *q = list_first(&f->asked, struct asked, link);
	(void)a;
	if (q == NULL)
		return;
	list_remove(&q->link);
	if (q->fn != NULL)
		q->fn(q->ctx, m);
	else if (q->peer != NULL)
		rooms_answer(f->auth, q->peer, m);
	free(q);
}

static void
on_lost(struct peer *p)
{
	(void)p;
	fatal("a finder died", NULL);
}

static const struct peer_row rows[] = {
	{MSG_rcpt_result, ~0u, on_answer},
	{MSG_route_result, ~0u, on_answer},
	{MSG_routes_result, ~0u, on_answer},
	{MSG_sender_result, ~0u, on_answer},
	{MSG_login_found, ~0u, on_answer},
};

void
finders_start(struct finders *fs, struct auth *x)
{
	if (fs == NULL)
		return;
	fs->auth = x;
	for (size_t i = 0; i < FINDERS; i++) {
		struct finder *f = &fs->v[i];
		f->auth = x;
		list_init(&f->asked);
		f->peers = (struct peers){.loop = x->loop, .rows = rows,
			.count = sizeof rows / sizeof *rows, .ctx = f,
			.on_close = on_lost};
		f->peer = peers_take(&f->peers, f->fd, ~0u);
	}
}

/* asker: whose questions are answered in order */
static bool
ask(struct finders *fs, const void *asker, const struct message *m,
	struct asked what)
{
	if (fs == NULL)
		return false;
	struct finder *f = &fs->v[((uintptr_t)asker >> 6) % FINDERS];
	struct asked *q = malloc(sizeof *q);
	if (q == NULL)
		fatal("out of memory", NULL);
	*q = what;
	list_init(&q->link);
	list_add(&f->asked, &q->link);
	peer_send(f->peer, m);
	return true;
}

bool
finders_ask(struct finders *fs, struct peer *p, const struct message *m)
{
	return ask(fs, p, m, (struct asked){.peer = p});
}

bool
finders_ask_login(struct finders *fs, struct str name, found_fn fn, void *ctx)
{
	struct message m = MESSAGE(login_find);
	m.login_find.name = name;
	return ask(fs, ctx, &m, (struct asked){.fn = fn, .ctx = ctx});
}

void
finders_forget(struct finders *fs, struct peer *p)
{
	for (size_t i = 0; fs != NULL && i < FINDERS; i++)
		list_each(&fs->v[i].asked, at, save) {
			struct asked *q = list_entry(at, struct asked, link);
			if (q->peer == p)
				q->peer = NULL;
		}
}
