/* SPDX-License-Identifier: ISC */
/* A job as the agent holds it: its content at hand, a state per recipient. */
#include "remote.h"
#include "base/arena.h"
#include "mail/header.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct mapping {
	void *p;
	size_t n;
};

static void
unmap(void *ctx)
{
	struct mapping *m = ctx;
	munmap(m->p, m->n);
}

/* A large content comes as a descriptor of a file nobody changes any more. */
static bool
map_content(struct job *j, struct message *m)
{
	struct stat st;
	int fd = arena_own_fd(j->arena, message_take_fd(m));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	if (st.st_size == 0)
		return true;
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd,
		0);
	if (p == MAP_FAILED)
		return false;
	struct mapping *kept = arena_one(j->arena, struct mapping);
	*kept = (struct mapping){p, (size_t)st.st_size};
	arena_hook(j->arena, unmap, kept);
	j->content = str_of(p, kept->n);
	return true;
}

struct job *
job_new(struct arena *a, struct message *m)
{
	struct job *j = arena_one(a, struct job);
	size_t n = m->job.number.n;
	j->arena = a;
	j->m = m->job;
	j->content = m->job.content;
	if (n == 0 || m->job.rcpt.n != n || m->job.orcpt.n != n ||
		m->job.notify.n != n)
		return NULL;
	j->count = n;
	j->targets = arena_array(a, n, sizeof *j->targets);
	for (size_t i = 0; i < n; i++)
		j->targets[i].address = m->job.rcpt.v[i];
	if (m->fd >= 0 && !map_content(j, m))
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
