/* SPDX-License-Identifier: ISC */
/*
 * A session's first words.  The tagged OK of the LOGIN or AUTHENTICATE that
 * auth accepted is said here, by the process that can keep what it promises.
 *
 * A process may serve several clients of its user, one after another: what is
 * kept between them is the open store, which is the user's and not theirs.
 */
#include "commands.h"
#include "progress.h"
#include "ask/handover.h"
#include "base/arena.h"
#include "base/log.h"
#include "store/quota.h"
#include "store/store.h"

/* Made now: later the home's own directory is out of reach. */
const char **
start_trees(struct program *p)
{
	store_make_home(p->arena, handover_of(p)->start->home);
	return handover_trees(p);
}

static void
greet(struct imap_session *s, const struct handover *h)
{
	struct imap_reply r = REPLY_OK("Logged in");
	struct str text = capability_text(s);
	if (h->inetd) {
		reply_untagged(s->conn,
			"PREAUTH [CAPABILITY %.*s] "
			"%.*s surat ready",
			STR_ARG(text), STR_ARG(s->program->hostname));
		return;
	}
	r.code = str_printf(s->transaction, "CAPABILITY %.*s", STR_ARG(text));
	reply_line(s->conn, h->start->tag, r);
}

static struct status
open_store(struct imap_session *s, struct store **store)
{
	struct status st = status_fine();
	if (*store == NULL)
		st = store_open(s->arena, s->home, store);
	s->store = *store;
	if (status_is_fine(st))
		quota_configure(*store, s->conf);
	return st;
}

/* An index that cannot be written has the limits it had. */
static void
take_limits(struct imap_session *s, struct str limits)
{
	struct quota q;
	if (quota_parse(limits, &q))
		quota_note(s->store, s->transaction, &q);
}

/* The login was right, but there is no mail to be had: no session. */
static void
refuse(struct imap_session *s, const struct handover *h, struct status why)
{
	struct imap_reply r = reply_status(why);
	log_error(s->id, "no-store", LOG_STR("user", s->user),
		LOG_STR("why", why.text));
	r.code = STR("UNAVAILABLE");
	if (!h->inetd)
		reply_line(s->conn, h->start->tag, r);
	reply_untagged(s->conn, "BYE Mail cannot be opened");
}

static void
serve(struct imap_session *s, const struct handover *h)
{
	greet(s, h);
	conn_preload(s->conn, h->start->pending);
	session_run(s);
	log_info(s->id, "ended", LOG_NUM("commands", s->commands));
}

static void
run_client(struct program *p, int stop, struct store **store)
{
	const struct handover *h = handover_of(p);
	const struct msg_session_start *m = h->start;
	struct imap_session *s = session_new(p, h->in, h->out);
	conn_stop_on(s->conn, stop);
	s->id = m->session;
	s->user = m->user;
	s->home = program_path(p, m->home);
	s->guest.tls = m->tls != 0;
	s->guest.back = m->back != 0;
	if (m->client.n > 0)
		s->guest.client = m->client;
	s->state = IMAP_AUTH;
	log_info(s->id, "session", LOG_STR("user", s->user),
		LOG_STR("client", s->guest.client));
	struct status opened = open_store(s, store);
	if (status_is_fine(opened)) {
		take_limits(s, m->limits);
		progress_listen(s);
		serve(s, h);
	} else {
		refuse(s, h, opened);
	}
	session_free(s);
}

void
start_run(struct program *p)
{
	struct store *store = NULL;
	int stop = program_stop_fd();
	do
		run_client(p, stop, &store);
	while (handover_next(p, stop));
	store_close(store);
}
