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

static void
announce(const struct master *m)
{
	struct arena *a = arena_new("announce");
	struct buf *line = buf_new(a);
	const char *last = "";
	buf_printf(line, "surat: ready pid=%d", (int)getpid());
	for (size_t i = 0; i < m->now->listener_count; i++) {
		const struct listener *l = &m->now->listeners[i];
		if (l->fd < 0)
			continue;
		if (strcmp(last, l->service) == 0)
			buf_addc(line, ',');
		else
			buf_printf(line, " %s=", l->service);
		buf_printf(line, "%.*s", STR_ARG(l->spec));
		last = l->service;
	}
	puts(str_cstr(a, buf_str(line)));
	fflush(stdout);
	arena_free(a);
}

static bool
is_up(const struct team *t)
{
	bool wanted = false;
	for (size_t i = 0; i < t->master->now->listener_count; i++)
		wanted |= strcmp(t->master->now->listeners[i].file,
			t->role->file) == 0;
	if (t->role->kind == ROLE_SINGLE)
		return t->in[CHILD_BUSY] > 0;
	return t->role->kind != ROLE_POOL || !wanted ||
		t->in[CHILD_IDLE] + t->in[CHILD_BUSY] > 0;
}

void
ready_look(struct master *m)
{
	bool up = m->recovered && !m->ready && !m->stopping;
	for (size_t i = 0; i < m->team_count && up; i++)
		up = is_up(&m->teams[i]);
	if (!up)
		return;
	m->ready = true;
	log_info(LOG_NO_ID, "ready", LOG_NUM("children", m->children));
	notify_starter("READY=1");
	if (m->announce)
		announce(m);
}

void
ready_despair(struct master *m, const struct team *t)
{
	if (!m->announce || m->ready || t->failures < DESPAIR_AFTER)
		return;
	log_error(LOG_NO_ID, "cannot-start", LOG_CSTR("name", t->role->name),
		LOG_CSTR("why", "it ends as soon as it is started"));
	stop_begin(m, 1);
}
