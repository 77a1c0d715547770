/* SPDX-License-Identifier: ISC */
/* resolve's service row, and the one question it answers. */
#include "resolve.h"
#include "base/arena.h"

#include <stdio.h>

static void
on_ask(struct peer *p, struct arena *a, struct message *m)
{
	(void)a;
	question_ask(p->peers->ctx, p, m);
}

static const struct peer_row rows[] = {
	{MSG_dns_ask, PEER_SMTPD | PEER_REMOTE_AGENT | PEER_SURAT, on_ask},
};

static void
prepare(struct program *p)
{
	struct resolve *r = arena_one(p->arena, struct resolve);
	p->ctx = r;
	r->program = p;
	r->unbound = upstream_new(p->arena, p->conf);
}

static void
on_unbound(void *ctx, int fd, unsigned events)
{
	struct resolve *r = ctx;
	(void)fd, (void)events;
	ub_process(r->unbound);
}

static void
watch_master(void *ctx, int fd, unsigned events)
{
	(void)fd, (void)events;
	loop_stop(ctx);
}

static void
run(struct program *p)
{
	static const char *const askers[] = {"smtpd", "deliver", "surat"};
	struct resolve *r = p->ctx;
	r->loop = loop_new(p->arena);
	r->peers = (struct peers){.loop = r->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = r,
		.on_close = question_forget};
	for (size_t i = 0; i < sizeof askers / sizeof *askers; i++) {
		char name[32];
		snprintf(name, sizeof name, "ask.%s", askers[i]);
		int fd = program_fd(p, name, 0);
		if (fd >= 0)
			peers_listen(&r->peers, fd,
				ask_peer_bit(str_from(askers[i])));
	}
	loop_watch(r->loop, ub_fd(r->unbound), LOOP_READ, on_unbound, r);
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		loop_watch(r->loop, master, 0, watch_master, r->loop);
	loop_run(r->loop);
}

int
main(int argc, char **argv)
{
	static const struct service resolve = {
		.name = "resolve",
		.profile = SANDBOX_NETWORK,
		.prepare = prepare,
		.run = run,
		.usage = "Asks name servers, validates and remembers their "
			"answers for the other programs.",
	};
	return service_main(&resolve, argc, argv);
}
