/* SPDX-License-Identifier: ISC */
/*
 * Workers for crypt(3), other slow hashes and SCRAM's keys.  Each has one end of a SEQPACKET pair:
 * hash NUL password in, a few octets out.  They know no user and can reach nothing.  Work
 * waits in order while all are busy; a worker that dies ends auth,
 * which is started again with new ones.  Those that ask PAM (pam.c) are a
 * crew of their own: they may be slow, and nobody's hash waits for them.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/log.h"
#include "mail/encode.h"
#include "sys/ipc.h"

#include <crypt.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MOST = 1000, QUESTION_MOST = 2048, ANSWER_MOST = 128 };

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
crypt_agrees(const char *hash, const char *password)
{
	static struct crypt_data data;
	const char *got = crypt_r(password, hash, &data);
	bool right = got != NULL && got[0] != '*' &&
		str_eq_secret(str_from(got), str_from(hash));
	explicit_bzero(&data, sizeof data);
	return right;
}

static bool
scram_agrees(struct arena *a, struct str hash, struct str password)
{
	enum sasl_mechanism m;
	struct sasl_secret want;
	if (!scram_parse(a, hash, &m, &want))
		return false;
	struct sasl_secret got = sasl_make_secret(
		a, m, password, want.salt, want.iterations);
	return str_eq_secret(got.stored_key, want.stored_key);
}

/* "derive:MECHANISM,iterations,salt" */
static struct str
derive(struct arena *a, struct str question, struct str password)
{
	struct str name, number;
	struct buf *salt = buf_new(a), *keys = buf_new(a);
	uint64_t iterations;
	if (!str_cut(&question, ',', &name) ||
		!str_cut(&question, ',', &number) ||
		!str_number(number, UINT32_MAX, &iterations) ||
		!base64_decode(salt, question))
		return STR("0");
	struct sasl_secret s = sasl_make_secret(a, sasl_mechanism(name),
		password, buf_str(salt), (uint32_t)iterations);
	buf_add(keys, s.stored_key);
	buf_add(keys, s.server_key);
	return buf_str(keys);
}

/* hash NUL password, ended by a NUL of ours */
static struct str
answer_to(struct arena *a, const char *question, size_t n)
{
	const char *end = memchr(question, 0, n);
	bool right = false;
	if (end == NULL)
		return STR("0");
	struct str hash = str_of(question, (size_t)(end - question));
	struct str password = str_from(end + 1);
	if (str_starts(hash, STR("derive:")))
		return derive(a, str_skip(hash, 7), password);
	if (digest_is(hash)) {
		/* as dear as any other, so that time tells nothing */
		crypt_agrees(password_decoy().p, password.p);
		right = digest_agrees(a, hash, password);
	} else if (kdf_is(hash))
		right = kdf_agrees(a, hash, password);
	else if (str_starts(hash, STR("{")))
		right = scram_agrees(a, hash, password);
	else if (password.n > 0)
		right = crypt_agrees(question, password.p);
	return right ? STR("1") : STR("0");
}

const struct hasher_work hasher_hashes = {
	.name = "auth-hasher", .rights = SANDBOX_PURE, .answer = answer_to};

static void __attribute__((noreturn))
work(struct program *p, const struct hasher_work *what, int fd)
{
	char question[QUESTION_MOST + 1];
	prctl(PR_SET_NAME, what->name);
	program_confine(p, what->rights, what->readable);
	for (;;) {
		struct arena *a = arena_new("hash");
		ssize_t n = recv(fd, question, QUESTION_MOST, 0);
		if (n <= 0)
			_exit(0);
		question[n] = 0;
		struct str answer = what->answer(a, question, (size_t)n);
		explicit_bzero(question, sizeof question);
		if (send(fd, answer.p, answer.n, MSG_NOSIGNAL) < 0)
			_exit(0);
		arena_free(a);
	}
}

struct hashers *
hashers_fork(
	struct program *p, const struct hasher_work *what, size_t count)
{
	struct hashers *h = arena_one(p->arena, struct hashers);
	h->arena = p->arena;
	h->count = count;
	h->workers = arena_array(p->arena, count, sizeof *h->workers);
	list_init(&h->waiting);
	sasl_open();
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
			work(p, what, pair[1]);
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
answer(struct worker *w, struct str octets)
{
	struct question *q = w->asked;
	w->asked = NULL;
	if (q == NULL)
		return;
	q->fn(q->ctx, octets);
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
	char octets[ANSWER_MOST];
	(void)events;
	ssize_t n = recv(fd, octets, sizeof octets, MSG_DONTWAIT);
	if (n == 0)
		fatal("a hasher died", NULL);
	if (n < 0)
		return;
	answer(w, str_of(octets, (size_t)n));
	explicit_bzero(octets, sizeof octets);
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
