/* SPDX-License-Identifier: ISC */
/* What the queue counts: attempts by what came of them, and how long it took
 * until a message was accepted, and until a recipient had it. */
#include "queue.h"
#include "base/clock.h"

/* Nobody knows yet how one is delivered whose address was not judged. */
static const char *const agents[] = {"local", "remote", "pipe", "none"};
static const char *const results[DELIVERY_RESULTS] = {
	[DELIVERY_DONE] = "delivered", [DELIVERY_DEFERRED] = "deferred",
	[DELIVERY_FAILED] = "failed", [DELIVERY_EXPIRED] = "expired",
	[DELIVERY_FORWARDED] = "forwarded"};

_Static_assert(sizeof agents / sizeof *agents == FIGURE_AGENTS,
	"struct figures has a row for each");

static size_t
agent_of(const struct rcpt *r)
{
	size_t i = 0;
	while (i < FIGURE_AGENTS - 1 &&
		!str_eq(r->agent, str_from(agents[i])))
		i++;
	return i;
}

/* An id is the microsecond it was given. */
void
figures_accepted(struct queue *q, int64_t id)
{
	histogram_note(&q->figures.accept, clock_wall_us() - id);
}

void
figures_delivery(struct queue *q, const struct rcpt *r,
	enum delivery_result result)
{
	size_t agent = agent_of(r);
	q->figures.deliveries[agent][result]++;
	if (result == DELIVERY_DONE)
		histogram_note(&q->figures.until_delivered[agent],
			clock_wall_us() - r->msg->id);
}

void
figures_tell(struct peer *p, struct arena *a, struct message *m)
{
	const struct figures *f =
		&((const struct queue *)p->peers->ctx)->figures;
	for (size_t i = 0; figures_wanted(m) && i < FIGURE_AGENTS; i++) {
		struct str agent = str_printf(a, "agent=%s", agents[i]);
		for (size_t k = 0; k < DELIVERY_RESULTS; k++)
			figure_tell(p, STR("deliveries"),
				str_printf(a, "%.*s result=%s",
					STR_ARG(agent), results[k]),
				f->deliveries[i][k]);
		figure_tell_histogram(p, a, STR("delivery_seconds"), agent,
			&f->until_delivered[i]);
	}
	if (figures_wanted(m))
		figure_tell_histogram(p, a, STR("accept_seconds"), STR(""),
			&f->accept);
	figures_end(p, m);
}
