/* SPDX-License-Identifier: ISC */
/*
 * Workers for crypt(3).  Each has one end of a SEQPACKET pair: hash NUL
 * password in, one octet out.  They know no user and can reach nothing.  Work
 * waits in order while all are busy; a worker that dies ends auth,
 * which is started again with new ones.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "sys/ipc.h"

#include <crypt.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MOST = 1000, QUESTION_MOST = 2048 };

struct question {
	struct list link;
	hashed_fn fn;
	void *ctx;
	size_t n;
	char text[];
};

struct worker {
	struct hashers *all;
	int fd;
	struct question *asked;
};

struct hashers {
	struct arena *arena;
	size_t count;
	struct worker *workers;
	struct list waiting;
	size_t waiting_count;
};

/* ------------------------------------------------------------ the worker */

static bool
is_right(char *question, size_t n)
{
	static struct crypt_data data;
	char *end = memchr(question, 0, n);
	if (end == NULL || end == question + n - 1)
		return false;
	const char *got = crypt_r(end + 1, question, &data);
	bool right = got != NULL && got[0] != '*' &&
		str_eq_secret(str_from(got), str_from(question));
	explicit_bzero(&data, sizeof data);
	return right;
}

static void __attribute__((noreturn))
work(struct program *p, int fd)
{
	char question[QUESTION_MOST + 1];
	prctl(PR_SET_NAME, "auth-hasher");
	program_confine(p, SANDBOX_PURE);
	for (;;) {
		ssize_t n = recv(fd, question, QUESTION_MOST, 0);
		if (n <= 0)
			_exit(0);
		question[n] = 0;
		char answer = is_right(question, (size_t)n) ? '1' : '0';
		explicit_bzero(question, sizeof question);
		if (send(fd, &answer, 1, MSG_NOSIGNAL) != 1)
			_exit(0);
	}
}

struct hashers *
hashers_fork(struct program *p, size_t count)
{
	struct hashers *h = arena_one(p->arena, struct hashers);
	h->arena = p->arena;
	h->count = count;
	h->workers = arena_array(p->arena, count, sizeof *h->workers);
	list_init(&h->waiting);
	for (size_t i = 0; i < count; i++) {
		int pair[2];
		ipc_pair(pair);
		pid_t pid = fork();
		if (pid < 0)
			fatal("fork", NULL);
		if (pid == 0) {
			for (size_t k = 0; k < i; k++)
				close(h->workers[k].fd);
			for (size_t k = 0; k < p->fd_count; k++)
				close(p->fds[k].fd);
			close(pair[0]);
			work(p, pair[1]);
		}
		close(pair[1]);
		h->workers[i] = (struct worker){h, pair[0], NULL};
	}
	return h;
}

/* -------------------------------------------------------------- the asker */

static void
forget(struct question *q)
{
	explicit_bzero(q->text, q->n);
	free(q);
}

static void
answer(struct worker *w, bool right)
{
	struct question *q = w->asked;
	w->asked = NULL;
	if (q == NULL)
		return;
	q->fn(q->ctx, right);
	forget(q);
}

static bool
give(struct worker *w, struct question *q)
{
	if (w->fd < 0 || w->asked != NULL ||
		send(w->fd, q->text, q->n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return false;
	w->asked = q;
	return true;
}

static void
next(struct hashers *h, struct worker *w)
{
	struct question *q = list_first(&h->waiting, struct question, link);
	if (q == NULL || !give(w, q))
		return;
	list_remove(&q->link);
	h->waiting_count--;
}

static void
on_answer(void *ctx, int fd, unsigned events)
{
	struct worker *w = ctx;
	char octet = '0';
	(void)events;
	ssize_t n = recv(fd, &octet, 1, MSG_DONTWAIT);
	if (n == 0)
		fatal("a hasher died", NULL);
	if (n != 1)
		return;
	answer(w, octet == '1');
	next(w->all, w);
}

void
hashers_start(struct hashers *h, struct loop *l)
{
	for (size_t i = 0; i < h->count; i++)
		loop_watch(l, h->workers[i].fd, LOOP_READ, on_answer,
			&h->workers[i]);
}

bool
hashers_ask(struct hashers *h, struct str hash, struct str password,
	hashed_fn fn, void *ctx)
{
	size_t n = hash.n + 1 + password.n;
	if (h->waiting_count >= WAITING_MOST || n > QUESTION_MOST ||
		str_has(hash, 0) || str_has(password, 0))
		return false;
	struct question *q = calloc(1, sizeof *q + n);
	if (q == NULL)
		fatal("out of memory", NULL);
	q->fn = fn;
	q->ctx = ctx;
	q->n = n;
	memcpy(q->text, hash.p, hash.n);
	memcpy(q->text + hash.n + 1, password.p, password.n);
	for (size_t i = 0; i < h->count; i++)
		if (give(&h->workers[i], q))
			return true;
	list_add(&h->waiting, &q->link);
	h->waiting_count++;
	return true;
}
