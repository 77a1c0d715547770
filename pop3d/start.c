/* SPDX-License-Identifier: ISC */
/*
 * A session's first words and last deeds.  The +OK of the login that auth
 * accepted is said here, by the process that can keep what it promises; so
 * are the refusals that only who holds the mail can give (RFC 2449 8.1,
 * RFC 3206).
 *
 * A process may serve several clients of its user, one after another: what is
 * kept between them is the open store, which is the user's and not theirs.
 */
#include "pop3d.h"
#include "ask/handover.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "maildrop.h"
#include "store/store.h"

#include <poll.h>

/* Made now: later the home's own directory is out of reach. */
const char **
start_trees(struct program *p)
{
	store_make_home(p->arena, handover_of(p)->start->home);
	return handover_trees(p);
}

static struct pop3_reply
welcome(struct pop3_session *s)
{
	struct pop3_reply r = OK(SAY_WELCOME);
	s->state = POP3_TRANSACTION;
	r.numbers[0] = maildrop_count(s->drop);
	r.numbers[1] = maildrop_octets(s->drop);
	return r;
}

static enum drop_refusal
look(struct pop3_session *s, struct str home, struct store **store,
	struct status *why)
{
	*why = status_fine();
	if (*store == NULL)
		*why = store_open(s->arena, home, store);
	if (!status_is_fine(*why))
		return DROP_FAILED;
	return maildrop_open(s->arena, *store, &s->conf->pop3, &s->drop, why);
}

static struct pop3_reply
open_drop(struct pop3_session *s, struct str home, struct store **store)
{
	static const struct {
		const char *code, *word;
		enum say text;
	} refusals[] = {
		[DROP_FAILED] = {"SYS/TEMP", "no-mailbox", SAY_NO_MAILDROP},
		[DROP_IN_USE] = {"IN-USE", "in-use", SAY_IN_USE},
		[DROP_TOO_OFTEN] = {"LOGIN-DELAY", "too-often", SAY_TOO_OFTEN},
	};
	struct status why;
	enum drop_refusal r = look(s, home, store, &why);
	if (r == DROP_FINE)
		return welcome(s);
	s->state = POP3_CLOSED;
	log_at(r == DROP_FAILED ? LOG_ERR : LOG_INFO, s->id, refusals[r].word,
		LOG_STR("user", s->user), LOG_STR("why", why.text));
	return ERR(refusals[r].code, refusals[r].text);
}

static bool
shall_end(const struct pop3_session *s)
{
	struct pollfd p = {.fd = s->stop, .events = POLLIN};
	return poll(&p, 1, 0) != 0;
}

/* The client need not wait for what is done to the mailbox after QUIT; a slow
 * disk gets the time it takes. */
static void
finish(struct pop3_session *s)
{
	enum { TURN_MS = 500, PATIENCE_MS = 120 * 1000 };
	int64_t last = clock_in(PATIENCE_MS);
	conn_close(s->conn);
	if (s->drop == NULL)
		return;
	while (!maildrop_settle(s->drop, TURN_MS) && !shall_end(s) &&
		clock_ms() < last)
		;
	maildrop_close(s->drop);
	log_info(s->id, "ended", LOG_NUM("commands", s->commands),
		LOG_NUM("retrieved", s->retrieved),
		LOG_NUM("octets", s->octets),
		LOG_NUM("deleted", maildrop_removed(s->drop)));
}

/* login.c's tag_of. */
static void
take_tag(struct pop3_session *s, struct str tag)
{
	struct str word;
	struct str *v = arena_array(s->arena, tag.n, sizeof *v);
	const struct language *l =
		str_word(&tag, &word) ? language_find(word) : NULL;
	if (l != NULL)
		s->language = l;
	s->guest.mechanisms.v = v;
	while (str_word(&tag, &word))
		v[s->guest.mechanisms.n++] = word;
}

static void
run_client(struct program *p, int stop, struct store **store)
{
	const struct handover *h = handover_of(p);
	const struct msg_session_start *m = h->start;
	struct pop3_session *s = session_new(p, h->in, h->out);
	s->stop = stop;
	conn_stop_on(s->conn, s->stop);
	s->id = m->session;
	s->user = m->user;
	s->guest.tls = m->tls != 0;
	if (m->client.n > 0)
		s->guest.client = m->client;
	take_tag(s, m->tag);
	log_info(s->id, "session", LOG_STR("user", s->user),
		LOG_STR("client", s->guest.client));
	session_reply(s, open_drop(s,
		program_path(p, m->home), store));
	conn_preload(s->conn, m->pending);
	session_run(s);
	finish(s);
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
