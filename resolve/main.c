/* SPDX-License-Identifier: ISC */
/* resolve's service row, and the one question it answers. */
#include "resolve.h"
#include "base/arena.h"

#include <stdio.h>

enum { RETIRE_MS = 60 * 1000 };

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

/* Name servers: the usual port, and those the configuration names. */
static const uint16_t *
ports(struct program *p)
{
	struct str_list servers = p->conf->resolve.forward;
	uint16_t *list = arena_array(p->arena, servers.n + 2, sizeof *list);
	size_t n = 0;
	list[n++] = 53;
	for (size_t i = 0; i < servers.n; i++) {
		size_t at = str_find_last(servers.v[i], '@');
		uint64_t port;
		if (str_number(str_skip(servers.v[i], at + 1), UINT16_MAX,
			&port))
			list[n++] = (uint16_t)port;
	}
	return list;
}

static void
on_unbound(void *ctx, int fd, unsigned events)
{
	struct resolve *r = ctx;
	(void)fd, (void)events;
	ub_process(r->unbound);
}

static void
over(void *ctx)
{
	struct resolve *r = ctx;
	loop_stop(r->loop);
}

static void
watch_master(void *ctx, int fd, unsigned events)
{
	struct resolve *r = ctx;
	(void)fd, (void)events;
	loop_unwatch(r->master);
	peers_retire(&r->peers, program_grace(r->program, RETIRE_MS),
		over);
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
		r->master = loop_watch(r->loop, master, 0, watch_master, r);
	loop_run(r->loop);
}

int
main(int argc, char **argv)
{
	static const struct service resolve = {
		.name = "resolve",
		.profile = SANDBOX_ASKER | SANDBOX_INET | SANDBOX_THREADS,
		.prepare = prepare,
		.ports = ports,
		.run = run,
		.usage = "Asks name servers, validates and remembers their "
			"answers for the other programs.",
	};
	return service_main(&resolve, argc, argv);
}
