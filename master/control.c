/* SPDX-License-Identifier: ISC */
/*
 * What others may ask of master: the queue for a delivery agent and to say
 * that it has recovered, auth for a session, the operator for a list, a
 * reload and the end.  The ids asked for are checked again here, because this
 * is the process that can grant any.
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/notify.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void
answer(struct peer *p, struct status status, int64_t count)
{
	struct message done = MESSAGE(done);
	done.done.status = status;
	done.done.count = count;
	peer_send(p, &done);
}

static struct status
refuse(struct arena *a, const char *what, struct str value)
{
	return status_never(3, 5, str_printf(a, "%s: \"%.*s\"", what,
		STR_ARG(value)));
}

/* ------------------------------------------------------------------ ids */

/* Mail of root goes through an alias; our own ids serve nobody but us. */
static bool
is_reserved(struct master *m, const struct team *t, struct ids ids)
{
	if (ids.uid == 0 || ids.gid == 0)
		return true;
	for (size_t i = 0; i < m->team_count; i++)
		if (m->teams[i].ids.uid == ids.uid &&
			ids.uid != t->ids.uid)
			return true;
	return false;
}

/* "-" and "uid:gid"; *given says which.  Without root there is one id, and
 * what is asked for changes nothing. */
static bool
parse_ids(struct team *t, struct str text, struct ids *ids, bool *given)
{
	struct str rest = text, first;
	uint64_t uid, gid;
	*given = false;
	if (str_eq(text, STR("-")) || !t->master->root)
		return true;
	if (!str_cut(&rest, ':', &first) ||
		!str_number(first, UINT32_MAX - 1, &uid) ||
		!str_number(rest, UINT32_MAX - 1, &gid))
		return false;
	*ids = (struct ids){uid, gid, t->role->flags & ROLE_GROUPS};
	*given = true;
	return !is_reserved(t->master, t, *ids);
}

/* ------------------------------------------------------- agents, sessions */

/* The queue replaces an agent before the old one is quite gone. */
static bool
is_crowded(const struct team *t)
{
	return keeper_size(&t->keep) >= team_number(t, t->role->most) * 2 + 8;
}

/* An agent that runs under an id of ours has a unit of its own: systemd starts
 * one for each who connects. */
static struct status
connect_agent(struct master *m, struct arena *a, const struct role *role,
	int *other)
{
	const char *path = str_cstr(a, str_printf(a, "%.*s/master/%s",
		STR_ARG(m->now->conf->general.runtime), role->name));
	*other = ipc_connect(path);
	if (*other < 0)
		return status_errno(a, path, errno);
	ipc_roomy(*other);
	return status_fine();
}

static struct status
start_agent(struct master *m, struct arena *a, struct msg_agent_start *s,
	int *other)
{
	struct str name = str_printf(a, "deliver-%.*s", STR_ARG(s->agent));
	const struct role *role = role_find(name);
	struct team *t = role != NULL ? team_of(m, role) : NULL;
	struct ids ids;
	bool given;
	int pair[2];
	if (t == NULL || role->kind != ROLE_AGENT)
		return refuse(a, "no such agent", s->agent);
	if (!parse_ids(t, s->ids, &ids, &given))
		return refuse(a, "no agent runs under these ids", s->ids);
	if (m->stopping || is_crowded(t))
		return status_later(3, 2, STR("too many agents"));
	given = given && (role->flags & ROLE_AS_USER);
	if (m->launcher && !given)
		return connect_agent(m, a, role, other);
	if (!keeper_pair(pair))
		return status_errno(a, "link of an agent", errno);
	ipc_roomy(pair[1]);
	struct start with = {.ids = given ? &ids : NULL,
		.home = given ? s->home : STR(""), .queue = pair[1]};
	bool ok = team_start(t, &with);
	close(pair[1]);
	*other = ok ? pair[0] : -1;
	if (!ok)
		close(pair[0]);
	return ok ? status_fine()
		  : status_later(3, 0, STR("the agent cannot be started"));
}

static void
on_agent_start(struct peer *p, struct arena *a, struct message *m)
{
	struct message opened = MESSAGE(opened);
	opened.opened.status = start_agent(p->peers->ctx, a, &m->agent_start,
		&opened.fd);
	opened.opened.name = m->agent_start.agent;
	peer_send(p, &opened);
	message_drop(&opened);
}

/* A session whose client has gone takes the next one of the same user, if it
 * lives; others that wait for one give way. */
static struct status
lend_or_start(struct team *t, const struct start *with)
{
	int link = keeper_lend(&t->keep, with->key);
	if (link >= 0 && ipc_send(&ask_messages, link, with->first) == IPC_OK)
		return status_fine();
	if (t->master->stopping ||
		(keeper_size(&t->keep) >= team_number(t, t->role->most) &&
			!keeper_spare(&t->keep)))
		return status_later(3, 2, STR("too many sessions"));
	return team_start(t, with) ? status_fine() :
		status_later(3, 0, STR("the session cannot be started"));
}

static struct status
start_session(struct master *m, struct arena *a, struct message *start)
{
	const struct msg_session_start *s = &start->session_start;
	struct str service = str_head(s->service, sizeof "imap" - 1);
	const struct role *role = role_find(
		str_printf(a, "%.*s-session", STR_ARG(service)));
	struct team *t = role != NULL ? team_of(m, role) : NULL;
	struct ids ids;
	bool given;
	if (t == NULL || start->fd < 0)
		return refuse(a, "no session for", s->service);
	if (!parse_ids(t, s->ids, &ids, &given))
		return refuse(a, "no session runs under these ids", s->ids);
	/* Whoever shares an id with others is shut in at home. */
	struct start with = {.ids = given ? &ids : NULL, .first = start,
		.home = s->home, .enclosed = !given, .queue = -1,
		.key = str_printf(a, "%.*s\n%.*s\n%.*s", STR_ARG(s->user),
			STR_ARG(s->ids), STR_ARG(s->home))};
	return lend_or_start(t, &with);
}

static void
on_session_start(struct peer *p, struct arena *a, struct message *m)
{
	answer(p, start_session(p->peers->ctx, a, m), 0);
}

/* ------------------------------------------------------------- operator */

static struct str
state_of(const struct team *t)
{
	if (t->keep.pause != NULL)
		return STR("failing");
	if (t->role->kind == ROLE_POOL)
		return keeper_size(&t->keep) == 0	       ? STR("off")
			: t->keep.in[KEPT_IDLE] > 0 ? STR("waiting")
						: STR("busy");
	return t->keep.in[KEPT_STARTING] + t->keep.in[KEPT_BUSY] > 0
		? STR("running") : STR("none");
}

static struct message
row_of(const struct team *t)
{
	struct message row = MESSAGE(service_row);
	pid_t pid = 0;
	if (t->role->kind == ROLE_SINGLE)
		keeper_pids(&t->keep, &pid, 1);
	row.service_row = (struct msg_service_row){
		.name = str_from(t->role->name),
		.pid = pid,
		.state = state_of(t),
		.since = t->keep.since,
		.restarts = t->keep.restarts,
		.busy = t->keep.in[KEPT_BUSY],
		.served = t->keep.served,
	};
	return row;
}

static void
verb_list(struct peer *p)
{
	struct master *m = p->peers->ctx;
	for (size_t i = 0; i < m->team_count; i++) {
		struct message row = row_of(&m->teams[i]);
		peer_send(p, &row);
	}
	answer(p, status_fine(), (int64_t)m->team_count);
}

static void
verb_reload(struct peer *p)
{
	struct arena *a = arena_new("reload");
	answer(p, control_reload(p->peers->ctx, a), 0);
	arena_free(a);
}

static void
verb_recovered(struct peer *p)
{
	struct master *m = p->peers->ctx;
	m->recovered = true;
	answer(p, status_fine(), 0);
	teams_tend(m);
	ready_look(m);
}

static void
verb_stop(struct peer *p)
{
	answer(p, status_fine(), 0);
	stop_begin(p->peers->ctx, 0);
}

static const struct {
	struct str verb;
	unsigned from;
	void (*fn)(struct peer *p);
} verbs[] = {
	{STR_INIT("list"), PEER_SURAT, verb_list},
	{STR_INIT("reload"), PEER_SURAT, verb_reload},
	{STR_INIT("recovered"), PEER_QUEUE, verb_recovered},
	{STR_INIT("stop"), PEER_SURAT, verb_stop},
};

static void
on_service(struct peer *p, struct arena *a, struct message *m)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (!str_eq(verbs[i].verb, m->service.verb) ||
			(verbs[i].from & p->who) == 0)
			continue;
		verbs[i].fn(p);
		return;
	}
	answer(p, refuse(a, "no such verb", m->service.verb), 0);
}

static const struct peer_row rows[] = {
	{MSG_agent_start, PEER_QUEUE | PEER_AUTH, on_agent_start},
	{MSG_session_start, PEER_AUTH, on_session_start},
	{MSG_service, PEER_QUEUE | PEER_SURAT, on_service},
};

void
control_open(struct master *m)
{
	m->peers = (struct peers){.loop = m->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = m};
	for (size_t i = 0; i < m->ask_count; i++)
		if (strcmp(m->asks[i].asked, "master") == 0)
			peers_listen(&m->peers, m->asks[i].fd,
				ask_peer_bit(str_from(m->asks[i].asker)));
}

/* --------------------------------------------------------------- reload */

/* Where the sockets are cannot change under those who use them. */
static bool
is_same_place(const struct generation *now, const struct generation *next,
	struct buf *errors)
{
	if (str_eq(now->conf->general.runtime, next->conf->general.runtime))
		return true;
	buf_adds(errors, "general.runtime changed: that needs a restart\n");
	return false;
}

static void
renew(struct master *m, struct generation *next)
{
	struct generation *old = m->now;
	bool same = str_eq(old->text, next->text);
	m->now = next;
	for (size_t i = 0; i < m->team_count; i++) {
		struct team *t = &m->teams[i];
		bool kept = t->role->kind == ROLE_AGENT ||
			t->role->kind == ROLE_SESSION;
		bool other = !same || old->marks[i] != next->marks[i] ||
			(t->role->flags & ROLE_FILES);
		if (!kept && other)
			team_retire(t);
		else if (other)
			keeper_recall(&t->keep);
	}
	generation_free(old);
	sockets_publish(m);
	teams_tend(m);
}

static bool
reload(struct master *m, struct buf *errors)
{
	struct generation *next = generation_read(m, errors);
	if (next != NULL && upgrade_is_due(m)) {
		generation_free(next);
		if (!upgrade(m))
			buf_printf(errors, "%s would not start with this; its "
				"reason is in the log\n", m->exe);
		return errors->n == 0;
	}
	if (next != NULL && is_same_place(m->now, next, errors) &&
		generation_listen(next, m->now, errors)) {
		renew(m, next);
		log_info(LOG_NO_ID, "reloaded", LOG_CSTR("file",
			m->source.file));
		return true;
	}
	if (next != NULL)
		generation_free(next);
	return false;
}

struct status
control_reload(struct master *m, struct arena *a)
{
	struct buf *errors = buf_new(a);
	struct str line = STR("");
	notify_starter("RELOADING=1");
	bool done = reload(m, errors);
	struct str rest = buf_str(errors);
	while (!done && str_cut(&rest, '\n', &line) && line.n > 0)
		log_error(LOG_NO_ID, "reload-refused", LOG_STR("why", line));
	notify_starter("READY=1");
	rest = buf_str(errors);
	str_cut(&rest, '\n', &line);
	return done ? status_fine() : status_never(3, 5, line);
}
