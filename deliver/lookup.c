/* SPDX-License-Identifier: ISC */
/*
 * Questions to resolve: several at once, so that a slow name server costs its
 * time once.  That resolve is away is as if no name server had answered: the
 * mail waits.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/log.h"

void
lookup(struct remote *g, struct arena *a, const struct question *q, size_t n,
	struct msg_dns_answer *answers)
{
	struct message *m = arena_array(a, n, sizeof *m);
	struct message *got = arena_array(a, n, sizeof *got);
	for (size_t i = 0; i < n; i++) {
		m[i] = MESSAGE(dns_ask);
		m[i].dns_ask.name = q[i].name;
		m[i].dns_ask.type = str_from(q[i].type);
	}
	struct status s = link_call_all(g->resolve, a, m, n, got);
	if (!status_is_fine(s))
		log_warn(LOG_NO_ID, "no-resolver", LOG_STR("why", s.text));
	for (size_t i = 0; i < n; i++) {
		if (status_is_fine(s) && got[i].kind == MSG_dns_answer) {
			answers[i] = got[i].dns_answer;
			continue;
		}
		answers[i] = (struct msg_dns_answer){
			.rcode = STR("servfail"), .canonical = q[i].name};
	}
}

bool
lookup_failed(const struct msg_dns_answer *m)
{
	return str_eq(m->rcode, STR("servfail")) ||
		str_eq(m->rcode, STR("bogus"));
}
