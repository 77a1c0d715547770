/* SPDX-License-Identifier: ISC */
/* A job as the agent holds it: its content at hand, a state per recipient. */
#include "remote.h"
#include "mapped.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/header.h"

struct job *
job_new(struct arena *a, struct message *m)
{
	struct job *j = arena_one(a, struct job);
	size_t n = m->job.number.n;
	j->arena = a;
	j->m = m->job;
	j->since = clock_us();
	if (n == 0 || m->job.rcpt.n != n || m->job.orcpt.n != n ||
		m->job.notify.n != n)
		return NULL;
	j->count = n;
	j->targets = arena_array(a, n, sizeof *j->targets);
	for (size_t i = 0; i < n; i++)
		j->targets[i].address = m->job.rcpt.v[i];
	if (!mapped_content(a, m, &j->content))
		job_finish(j, STATUS(STATUS_LATER, 3, 0,
			"the content cannot be read"), SCOPE_MESSAGE, STR(""),
			STR(""));
	return j;
}

void
job_free(struct job *j)
{
	arena_free(j->arena);
}

size_t
job_waiting(const struct job *j)
{
	size_t n = 0;
	for (size_t i = 0; i < j->count; i++)
		n += j->targets[i].state == TARGET_WAITING;
	return n;
}

void
job_finish(struct job *j, struct status s, enum scope scope, struct str host,
	struct str detail)
{
	for (size_t i = 0; i < j->count; i++) {
		struct target *t = &j->targets[i];
		if (t->state >= TARGET_DONE)
			continue;
		t->state = TARGET_DONE;
		t->status = s;
		t->scope = scope;
		t->host = host;
		t->detail = detail;
	}
}

void
job_passed(struct job *j, enum phase p)
{
	int64_t now = clock_us();
	/* A phase that took no time was there all the same. */
	j->took[p] += now > j->since ? now - j->since : 1;
	j->since = now;
}

struct str
job_phases(struct arena *a, const struct job *j)
{
	static const char *const names[PHASES] = {
		[PHASE_LOOKUP] = "lookup",
		[PHASE_CONNECT] = "connect",
		[PHASE_HELLO] = "hello",
		[PHASE_ENVELOPE] = "envelope",
		[PHASE_CONTENT] = "content",
		[PHASE_ANSWER] = "answer",
	};
	struct buf *out = buf_new(a);
	for (int i = 0; i < PHASES; i++)
		if (j->took[i] > 0)
			buf_printf(out, " %s=%.3f", names[i],
				(double)j->took[i] / 1e6);
	return buf_str(out);
}

void
job_look(struct job *j)
{
	struct str value, header;
	if (j->looked)
		return;
	j->looked = true;
	j->facts = content_look(j->content);
	header = str_head(j->content, header_length(j->content));
	j->tls_optional = j->m.requiretls == 0 &&
		header_find(header, STR("TLS-Required"), &value) &&
		str_eq_nocase(value, STR("No"));
}

bool
job_requires_tls(const struct job *j)
{
	return j->m.requiretls && j->m.sender.n > 0;
}
