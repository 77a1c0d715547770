/* SPDX-License-Identifier: ISC */
/*
 * When the suite is ready: the queue has recovered and every port has a
 * worker waiting behind it.  Said once, to whoever started us: a line on
 * standard output (--announce) and sd_notify(3).
 */
#include "master.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "sys/notify.h"

#include <stdio.h>
#include <unistd.h>

enum { DESPAIR_AFTER = 3 };

static bool
is_up(const struct team *t)
{
	if (t->role->kind == ROLE_SINGLE)
		return t->keep.in[KEPT_BUSY] > 0;
	return t->role->kind != ROLE_POOL ||
		!generation_serves(t->master->now, t->role->file) ||
		t->keep.in[KEPT_IDLE] + t->keep.in[KEPT_BUSY] > 0;
}

void
ready_look(struct master *m)
{
	/* Of a launcher nobody waits for more than its sockets. */
	bool up = (m->recovered || m->launcher) && !m->ready && !m->stopping;
	for (size_t i = 0; i < m->team_count && up && !m->launcher; i++)
		up = is_up(&m->teams[i]);
	if (!up)
		return;
	m->ready = true;
	log_info(LOG_NO_ID, "ready", LOG_NUM("children", teams_children(m)));
	notify_starter("READY=1");
	/* Who asked for it has had it from who we were before. */
	if (!m->announce || m->again)
		return;
	printf("surat: ready pid=%d\n", (int)getpid());
	fflush(stdout);
}

void
ready_despair(struct master *m, const struct team *t)
{
	if (!m->announce || m->ready || t->keep.failures < DESPAIR_AFTER)
		return;
	log_error(LOG_NO_ID, "cannot-start", LOG_CSTR("name", t->role->name),
		LOG_CSTR("why", "it ends as soon as it is started"));
	stop_begin(m, 1);
}
