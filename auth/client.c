/* SPDX-License-Identifier: ISC */
/*
 * Who asks us, and the clients that are served.  The counts hold even when who
 * serves them dies: its connection to us ends with it.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdlib.h>

struct caller *
caller_of(struct peer *p)
{
	if (p->data == NULL) {
		struct caller *c = calloc(1, sizeof *c);
		if (c == NULL)
			fatal("out of memory", NULL);
		c->auth = p->peers->ctx;
		c->pool = p->who == PEER_IMAPD ? POOL_IMAP :
			p->who == PEER_POP3D ? POOL_POP3 : POOL_SMTP;
		p->data = c;
	}
	return p->data;
}

struct str
caller_block(const struct caller *c)
{
	return str_of(c->block, c->block_n);
}

static void
leave(struct caller *c, int64_t errors)
{
	if (!c->serving)
		return;
	if (c->pool == POOL_SMTP)
		limits_leave(c->auth, caller_block(c), errors);
	else
		limits_depart(c->auth, caller_block(c));
	limits_count(c->auth, c->pool, -1);
	c->serving = false;
	c->block_n = 0;
}

void
caller_closed(struct peer *p)
{
	struct caller *c = p->data;
	struct auth *x = p->peers->ctx;
	finders_forget(x->finders, p);
	rooms_forget(x, p);
	if (c == NULL)
		return;
	p->data = NULL;
	leave(c, 0);
	if (c->dialogue != NULL)
		login_forget(c->dialogue);
	free(c);
}

static void
enter(struct caller *c, struct arena *a, const struct msg_client *m,
	struct msg_client_result *out)
{
	struct auth *x = c->auth;
	struct str block = limits_block(x, a, m->ip);
	leave(c, 0);
	out->status = c->pool == POOL_SMTP ? limits_enter(x, block) :
		limits_admit(x, block, c->pool);
	if (c->pool == POOL_SMTP)
		figures_client(x, m->service, status_is_fine(out->status));
	if (!status_is_fine(out->status))
		return;
	c->block_n = block.n;
	memcpy(c->block, block.p, block.n);
	c->serving = true;
	limits_count(x, c->pool, 1);
	out->known = block.n == 0 || limits_is_known(x, m->ip);
	out->mechanisms = scram_offer(x, a);
}

void
client_message(struct peer *p, struct arena *a, struct message *m)
{
	const struct msg_client *q = &m->client;
	struct caller *c = caller_of(p);
	struct message answer = MESSAGE(client_result);
	if (str_eq(q->verb, STR("leave"))) {
		if (q->passed != 0)
			limits_passed(c->auth, q->ip);
		leave(c, q->errors);
		return;
	}
	if (str_eq(q->verb, STR("slow"))) {
		limits_slow(c->auth, limits_block(c->auth, a, q->ip));
		return;
	}
	answer.client_result.status = status_fine();
	if (str_eq(q->verb, STR("offer")))
		answer.client_result.mechanisms = scram_offer(c->auth, a);
	else if (str_eq(q->verb, STR("enter")))
		enter(c, a, q, &answer.client_result);
	answer.client_result.busy = limits_busy(c->auth, c->pool);
	peer_send(p, &answer);
}
