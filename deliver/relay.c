/* SPDX-License-Identifier: ISC */
/*
 * A job, server after server (RFC 5321 5.1), until each of its recipients has
 * a status.  What one server will not take now the next may; what it refuses
 * for good is refused.
 *
 * A connection kept from an earlier job may turn out to be dead, or tired of
 * us, when it is used: that is no failure of the host, and it is called anew.
 */
#include "remote.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum {
	LIFE_MS = 5 * 60 * 1000, /* of a connection */
	MESSAGES_MOST = 1000, /* over one */
	MEMORY_MS = 60 * 60 * 1000, /* of servers whose TLS fails */
};

/* ------------------------------------------------- sessions and routes */

static void
set_route(struct remote *g, struct route *r)
{
	if (g->route != NULL && g->route != r)
		arena_free(g->route->arena);
	g->route = r;
}

void
relay_end_session(struct remote *g)
{
	if (g->session == NULL)
		return;
	session_close(g->session);
	g->session = NULL;
}

static bool
is_worn(const struct session *s)
{
	uint64_t most = s->can.mail_most;
	return s->broken || s->transactions >= MESSAGES_MOST ||
		(most > 0 && s->transactions >= most) ||
		clock_ms() - s->opened > LIFE_MS;
}

/* RFC 8689 4.2.1: a way that is not proven is no way. */
static bool
is_proven(const struct route *r, const struct job *j)
{
	return !job_requires_tls(j) || r->secure || r->fixed;
}

/* The session as it is, for a job that was not thought of when it began. */
static bool
fits(struct remote *g, struct job *j)
{
	const struct session *s = g->session;
	job_look(j);
	return s != NULL && !is_worn(s) && route_serves(g->route, j) &&
		is_proven(g->route, j) &&
		session_meets(s, secure_policy(g->route, s->host, j));
}

/* Another destination whose best hosts include the one we are with. */
static bool
adopt(struct remote *g, struct trip *t, const struct job *j)
{
	struct session *s = g->session;
	if (s == NULL || is_worn(s))
		return false;
	for (size_t i = 0; i < t->count; i++) {
		struct host *h = t->v[i].host;
		enum tls_policy policy = secure_policy(t->route, h, j);
		/* What was proven was proven of the name. */
		if (!session_is_with(s, t->route, h) ||
			!session_meets(s, policy) ||
			(policy >= TLS_VERIFIED && !str_eq(s->name, h->name)))
			continue;
		s->host = h;
		s->name = str_copy(s->arena, h->name);
		set_route(g, t->route);
		return true;
	}
	return false;
}

/* --------------------------------------------- servers whose TLS fails */

struct memory {
	struct net_address at;
	int64_t until;
};

static struct memory no_tls[16];
static size_t no_tls_next;

static bool
is_known_to_fail(const struct net_address *at)
{
	for (size_t i = 0; i < sizeof no_tls / sizeof *no_tls; i++)
		if (no_tls[i].at.n == at->n && no_tls[i].until > clock_ms() &&
			memcmp(&no_tls[i].at.sa, &at->sa, at->n) == 0)
			return true;
	return false;
}

static void
remember_failure(const struct net_address *at)
{
	no_tls[no_tls_next++ % (sizeof no_tls / sizeof *no_tls)] =
		(struct memory){*at, clock_in(MEMORY_MS)};
}

/* -------------------------------------------------------------- opening */

static struct session *
open_one(struct trip *t, struct job *j, int fd)
{
	const struct candidate *c = t->current;
	enum tls_policy policy = secure_policy(t->route, c->host, j);
	struct status st;
	bool tls_failed;
	if (policy == TLS_OPPORTUNISTIC && is_known_to_fail(&c->at))
		policy = TLS_NONE;
	struct session *s = session_open(t, fd, policy, &st, &tls_failed);
	job_passed(j, PHASE_HELLO);
	if (s == NULL && tls_failed && policy == TLS_OPPORTUNISTIC) {
		/* RFC 7435: better in clear than not at all, and over a new
		 * connection (the old one's state is anybody's guess). */
		log_info(j->m.id, "without-tls", LOG_STR("host", c->host->name),
			LOG_STR("why", st.text));
		remember_failure(&c->at);
		fd = trip_again(t, j);
		if (fd < 0)
			return NULL;
		s = session_open(t, fd, TLS_NONE, &st, &tls_failed);
		job_passed(j, PHASE_HELLO);
	}
	if (s == NULL)
		trip_note(t, j, c->host, &c->at, st);
	return s;
}

static struct session *
open_next(struct trip *t, struct job *j)
{
	struct session *s = NULL;
	int fd;
	while (s == NULL && (fd = trip_next(t, j)) >= 0)
		s = open_one(t, j, fd);
	return s;
}

/* A way for the job, with its first hosts looked up.  NULL: there is none,
 * and the job is finished. */
static struct trip *
find_trip(struct remote *g, struct job *j, const struct net_address *avoid)
{
	struct arena *a = arena_new("route");
	struct route *r = arena_one(a, struct route);
	struct status st = route_find(g, a, j, r);
	job_passed(j, PHASE_LOOKUP);
	if (status_is_fine(st) && !is_proven(r, j))
		st = STATUS(STATUS_NEVER, 7, 30, "REQUIRETLS is asked for, "
			"but DNSSEC does not prove the mail exchangers");
	if (!status_is_fine(st)) {
		st.text = str_copy(j->arena, st.text);
		job_finish(j, st, SCOPE_HOST, STR(""),
			str_trim(job_phases(j->arena, j)));
		arena_free(a);
		return NULL;
	}
	struct trip *t = trip_new(g, r);
	trip_avoid(t, avoid);
	trip_look(t, j);
	return t;
}

/* No server is left: what was said of a recipient by one of them, else why
 * none was reached. */
static void
finish(struct trip *t, struct job *j)
{
	struct str host;
	struct status st = trip_status(t, j, &host);
	st.text = str_copy(j->arena, st.text);
	host = str_copy(j->arena, host);
	for (size_t i = 0; i < j->count; i++)
		if (j->targets[i].state == TARGET_WAITING &&
			j->targets[i].status.class != 0)
			j->targets[i].state = TARGET_DONE;
	job_finish(j, st, SCOPE_HOST, host,
		str_trim(job_phases(j->arena, j)));
}

/* A session for what still waits.  NULL: the job is finished. */
static bool
have_session(struct remote *g, struct job *j, struct trip **t,
	const struct net_address *avoid)
{
	if (*t == NULL && fits(g, j))
		return true;
	if (*t == NULL) {
		*t = find_trip(g, j, avoid);
		if (*t == NULL)
			return false;
		if (adopt(g, *t, j))
			return true;
	}
	relay_end_session(g);
	struct session *s = open_next(*t, j);
	if (s == NULL) {
		finish(*t, j);
		return false;
	}
	g->session = s;
	set_route(g, (*t)->route);
	return true;
}

/* -------------------------------------------------------------- the job */

static bool
any_untried(const struct job *j)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->targets[i].state == TARGET_WAITING &&
			!j->targets[i].tried)
			return true;
	return false;
}

/* With this session: as many transactions as the server wants it to be. */
static void
converse(struct remote *g, struct job *j)
{
	struct session *s = g->session;
	for (size_t i = 0; i < j->count; i++)
		j->targets[i].tried = false;
	while (!s->broken && !g->over && any_untried(j)) {
		remote_may_leave(true);
		struct transaction *x = transaction_begin(s, j);
		if (x != NULL)
			transaction_run(x);
		remote_report(g, j);
	}
}

/* That a kept connection was dead says nothing about the host. */
static void
forget_faults(struct job *j)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->targets[i].state == TARGET_WAITING)
			j->targets[i].status = (struct status){.class = 0};
}

void
relay(struct remote *g, struct job *j)
{
	struct trip *t = NULL;
	struct net_address avoid = {.n = 0};
	while (job_waiting(j) > 0) {
		bool kept = t == NULL;
		remote_may_leave(true);
		if (!have_session(g, j, &t, &avoid))
			break;
		kept = kept && g->session->transactions > 0;
		converse(g, j);
		if (g->over)
			break;
		if (g->session->broken && kept && !j->again) {
			j->again = true;
			forget_faults(j);
		} else {
			avoid = g->session->at;
			trip_avoid(t, &avoid);
		}
		if (g->session->broken || job_waiting(j) > 0)
			relay_end_session(g);
	}
	remote_report(g, j);
	if (t != NULL && t->route != g->route)
		arena_free(t->route->arena);
}
