/* SPDX-License-Identifier: ISC */
/* deliver-remote's service row. */
#include "remote.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/sasl.h"

#include <stdlib.h>

static void
run(struct program *p)
{
	struct remote g = {.program = p, .conf = p->conf,
		.queue = program_fd(p, "queue", 0)};
	if (g.queue < 0)
		fatal("queue", "no link to the queue was handed over");
	g.resolve = link_new(p->arena, p->sockets, "resolve");
	g.tls = link_new(p->arena, p->sockets, "tls");
	/* Their own limits are below: time-outs are theirs to tell. */
	link_patience(g.resolve, (p->conf->resolve.timeout + 5) * 1000);
	link_patience(g.tls, 45 * 1000);
	srandom((unsigned)clock_us());
	while (!g.over)
		remote_serve(&g);
	relay_end_session(&g);
}

static void
prepare(struct program *p)
{
	int queue = program_fd(p, "queue", 0);
	if (queue >= 0)
		remote_watch(queue);
	sasl_open();
}

int
main(int argc, char **argv)
{
	static const struct service service = {
		.name = "deliver-remote",
		.asker = "deliver",
		.profile = SANDBOX_ASKER | SANDBOX_INET,
		.prepare = prepare,
		.ports = route_ports,
		.files = 64,
		.run = run,
		.usage = "Carries queued mail to other servers.  Started by "
			 "suratd for the queue, whose end of a socket it "
			 "inherits.",
	};
	return service_main(&service, argc, argv);
}
