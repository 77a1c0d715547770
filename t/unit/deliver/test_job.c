/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "remote.h"
#include "base/arena.h"

#include <sys/mman.h>
#include <unistd.h>

static struct str texts[3] = {STR_INIT("0"), STR_INIT("1"), STR_INIT("2")};

static struct message
job_message(size_t n)
{
	struct message m = MESSAGE(job);
	m.job.number = m.job.rcpt = m.job.orcpt = m.job.notify =
		(struct str_list){texts, n};
	m.job.content = STR("A: b\r\nTLS-Required: no\r\n\r\nx\r\n");
	return m;
}

START_TEST(lists_must_fit)
{
	struct arena *a = arena_new("test");
	struct message m = job_message(0);
	ck_assert(job_new(a, &m) == NULL);
	m = job_message(3);
	m.job.notify.n = 2;
	ck_assert(job_new(a, &m) == NULL);
	arena_free(a);
}
END_TEST

START_TEST(finishing)
{
	struct message m = job_message(3);
	struct job *j = job_new(arena_new("test"), &m);
	ck_assert_uint_eq(job_waiting(j), 3);
	j->targets[1].state = TARGET_REPORTED;
	j->targets[2].state = TARGET_SENT;
	job_finish(j, STATUS(STATUS_LATER, 4, 1, "x"), SCOPE_HOST, STR("h"),
		STR("d"));
	ck_assert_uint_eq(job_waiting(j), 0);
	ck_assert_int_eq(j->targets[0].state, TARGET_DONE);
	ck_assert_int_eq(j->targets[1].state, TARGET_REPORTED);
	ck_assert_int_eq(j->targets[2].status.class, STATUS_LATER);
	ck_assert_view(j->targets[2].host, "h");
	job_free(j);
}
END_TEST

START_TEST(wishes_in_the_header)
{
	struct message m = job_message(1);
	struct job *j = job_new(arena_new("test"), &m);
	job_look(j);
	ck_assert(j->tls_optional);
	job_free(j);
	m = job_message(1);
	m.job.requiretls = 1;
	j = job_new(arena_new("test"), &m);
	job_look(j);
	ck_assert(!j->tls_optional);
	job_free(j);
}
END_TEST

START_TEST(content_by_descriptor)
{
	struct message m = job_message(1);
	int fd = memfd_create("content", MFD_CLOEXEC);
	ck_assert_int_eq(write(fd, "hello", 5), 5);
	m.job.content = STR("");
	m.fd = fd;
	struct job *j = job_new(arena_new("test"), &m);
	ck_assert_view(j->content, "hello");
	ck_assert_int_eq(m.fd, -1);
	job_free(j);
	/* Not a file: the message waits. */
	int pipes[2];
	ck_assert_int_eq(pipe(pipes), 0);
	m.fd = pipes[0];
	j = job_new(arena_new("test"), &m);
	ck_assert_int_eq(j->targets[0].state, TARGET_DONE);
	ck_assert_int_eq(j->targets[0].status.class, STATUS_LATER);
	job_free(j);
	close(pipes[1]);
}
END_TEST

Suite *
suite_job(void)
{
	return SUITE("job", lists_must_fit, finishing, wishes_in_the_header,
		content_by_descriptor);
}
