/* SPDX-License-Identifier: ISC */
/*
 * resolve: the suite's only reader of what strangers' name servers send, and
 * its one validating cache.
 *
 * A peer asks dns_ask and gets one dns_answer for each, in the order asked,
 * each within the configured time.  libunbound does the walking, validating
 * and caching, in a thread of its own; its answers arrive through a descriptor
 * of the loop.  The thread starts with the first question, after rights are
 * given up; this process never forks.
 */
#ifndef RESOLVE_RESOLVE_H
#define RESOLVE_RESOLVE_H

#include "ask/messages.h"
#include "ask/peers.h"
#include "sys/loop.h"
#include "sys/service.h"

#include <unbound.h>

struct resolve {
	struct program *program;
	struct loop *loop;
	struct loop_watch *master;
	struct ub_ctx *unbound;
	struct peers peers;
};

/*
 * A context by the configuration: name servers, trust anchor, the hosts file.
 * All files are read in here.  fatal when libunbound does not take it.
 */
struct ub_ctx *upstream_new(struct arena *a, const struct conf *conf);

/* Asks: the answer goes to p when it is there. */
void question_ask(struct resolve *r, struct peer *p, struct message *m);
/* p is gone, and with it what it wanted to know. */
void question_forget(struct peer *p);

/* A dns_answer in the arena from what libunbound says; res may be NULL when
 * nothing came. */
void question_answer(struct arena *a, struct message *answer, struct str name,
	int type, const struct ub_result *res);

#endif
