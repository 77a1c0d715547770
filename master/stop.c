/* SPDX-License-Identifier: ISC */
/*
 * The end, in steps: first those who face clients are told to finish, then
 * everyone behind them, then whoever is left is made to.  Each step begins
 * when the one before has nobody left or its time is over.
 */
#include "master.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/loop.h"
#include "sys/notify.h"

#include <signal.h>

enum {
	SESSION_PATIENCE = 1000, /* for what it has in hand */
	FRONT_PATIENCE = 10 * 1000, /* a message that is coming in */
	BACK_PATIENCE = 15000,
	KILL_PATIENCE = 5000,
};

static bool
is_front(const struct team *t)
{
	return t->role->kind == ROLE_POOL || t->role->kind == ROLE_SESSION;
}

static bool
has_front(const struct master *m)
{
	int64_t n = 0;
	for (size_t i = 0; i < m->team_count; i++)
		if (is_front(&m->teams[i]))
			n += keeper_size(&m->teams[i].keep) +
				m->teams[i].keep.in[KEPT_RETIRED];
	return n > 0;
}

static void
step_kill(void *ctx)
{
	struct master *m = ctx;
	log_warn(LOG_NO_ID, "killing", LOG_NUM("children", teams_children(m)));
	teams_signal(m, SIGKILL);
}

static void
step_term(void *ctx)
{
	struct master *m = ctx;
	teams_signal(m, SIGTERM);
	loop_timer(m->loop, clock_in(KILL_PATIENCE), step_kill, m);
}

static void
step_back(struct master *m)
{
	m->stop_step = STOP_BACK;
	for (size_t i = 0; i < m->team_count; i++)
		team_retire(&m->teams[i]);
	loop_timer(m->loop, clock_in(BACK_PATIENCE), step_term, m);
}

static void
front_over(void *ctx)
{
	struct master *m = ctx;
	if (m->stop_step == STOP_FRONT)
		step_back(m);
}

/* smtpd goes on with a message and then ends by itself; who does not know
 * better ends at once. */
static void
front_term(void *ctx)
{
	struct master *m = ctx;
	if (m->stop_step != STOP_FRONT)
		return;
	for (size_t i = 0; i < m->team_count; i++)
		if (is_front(&m->teams[i]))
			keeper_signal(&m->teams[i].keep, SIGTERM);
	loop_timer(m->loop, clock_in(FRONT_PATIENCE), front_over, m);
}

void
stop_begin(struct master *m, int exit_status)
{
	if (m->stopping)
		return;
	m->stopping = true;
	m->exit_status = exit_status;
	m->stop_step = STOP_FRONT;
	log_info(LOG_NO_ID, "stopping", LOG_NUM("children", teams_children(m)));
	notify_starter("STOPPING=1");
	for (size_t i = 0; i < m->team_count; i++)
		if (is_front(&m->teams[i]))
			team_retire(&m->teams[i]);
	loop_timer(m->loop, clock_in(SESSION_PATIENCE), front_term, m);
	stop_look(m);
}

void
stop_look(struct master *m)
{
	if (!m->stopping)
		return;
	if (m->stop_step == STOP_FRONT && !has_front(m))
		step_back(m);
	if (teams_children(m) == 0)
		loop_stop(m->loop);
}
