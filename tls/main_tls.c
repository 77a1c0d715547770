/* SPDX-License-Identifier: ISC */
/* tls's service row, and the one question it answers. */
#include "tls.h"
#include "ask/link.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdio.h>

enum { RETIRE_MS = 60 * 1000 };

static void
on_start(struct peer *p, struct arena *a, struct message *m)
{
	struct tls *t = p->peers->ctx;
	struct message answer = MESSAGE(tls_ready);
	struct status s = status_fine();
	SSL *ssl = NULL;
	/* One handshake per peer: askers block on it. */
	if (m->fd < 0 || p->data != NULL)
		s = STATUS(STATUS_NEVER, 5, 1, "Nothing to put TLS under");
	else
		ssl = context_new(t, a, &m->tls_start, &s);
	if (ssl != NULL) {
		/* Nobody else may have clients come back. */
		if (p->who != PEER_IMAPD)
			m->tls_start.address = STR("");
		link_start(t, p, ssl, message_take_fd(m), &m->tls_start);
		return;
	}
	answer.tls_ready.status = s;
	peer_send(p, &answer);
}

static const struct peer_row rows[] = {
	{MSG_tls_start,
		PEER_SMTPD | PEER_IMAPD | PEER_POP3D | PEER_REMOTE_AGENT,
		on_start},
};

static void
prepare(struct program *p)
{
	struct tls *t = arena_one(p->arena, struct tls);
	p->ctx = t;
	t->program = p;
	t->arena = p->arena;
	context_start(t);
}

/* No handshake is left: keys is needed no more. */
static void
handshakes_over(void *ctx)
{
	struct tls *t = ctx;
	link_close(t->keys);
	t->no_more = true;
	if (t->links == 0 || !program_has_successor(t->program))
		loop_stop(t->loop);
}

/* Told to end: open links are carried on to theirs, if new ones are another
 * process's by now. */
static void
watch_master(void *ctx, int fd, unsigned events)
{
	struct tls *t = ctx;
	(void)fd, (void)events;
	loop_unwatch(t->master);
	peers_retire(&t->peers, program_grace(t->program, RETIRE_MS),
		handshakes_over);
}

static void
run(struct program *p)
{
	static const char *const askers[] = {"smtpd", "imapd", "pop3d",
		"deliver"};
	struct tls *t = p->ctx;
	t->loop = loop_new(p->arena);
	t->keys = link_new(p->arena, p->sockets, "keys");
	link_patience(t->keys, 5000);
	t->peers = (struct peers){.loop = t->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = t,
		.on_close = link_forget};
	for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
		char name[32];
		snprintf(name, sizeof name, "ask.%s", askers[i]);
		int fd = program_fd(p, name, 0);
		if (fd >= 0)
			peers_listen(&t->peers, fd,
				ask_peer_bit(str_from(askers[i])));
	}
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		t->master = loop_watch(t->loop, master, 0, watch_master, t);
	loop_run(t->loop);
}

int
main(int argc, char **argv)
{
	static const struct service tls = {
		.name = "tls",
		.asker = "tls",
		.profile = SANDBOX_ASKER,
		.prepare = prepare,
		.run = run,
		.usage = "Puts TLS under other programs' streams; private keys "
			"are with keys.",
	};
	return service_main(&tls, argc, argv);
}
