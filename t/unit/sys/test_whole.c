/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "sys/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LARGE = 1 << 20 };

/* A pipe takes and gives a part at a time, and signals come between. */
static void
on_alarm(int sig)
{
	(void)sig;
}

static void
be_interrupted(void)
{
	struct sigaction sa = {.sa_handler = on_alarm}; /* no SA_RESTART */
	sigaction(SIGALRM, &sa, NULL);
	ualarm(500, 500);
}

START_TEST(a_pipe_is_read_and_written_whole)
{
	struct arena *a = arena_new("whole");
	char *octets = arena_alloc(a, LARGE);
	int ends[2], status;
	for (size_t i = 0; i < LARGE; i++)
		octets[i] = (char)(i * 7 + i / 251);
	ck_assert_int_eq(pipe(ends), 0);
	pid_t child = fork();
	be_interrupted();
	if (child == 0)
		_exit(whole_write(ends[1], str_of(octets, LARGE)) ? 0 : 1);
	close(ends[1]);
	struct buf *b = buf_new(a);
	ck_assert(whole_read(ends[0], b, LARGE));
	ualarm(0, 0);
	ck_assert_uint_eq(b->n, LARGE);
	ck_assert_mem_eq(buf_str(b).p, octets, LARGE);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	close(ends[0]);
	arena_free(a);
}
END_TEST

START_TEST(there_may_be_a_limit)
{
	struct arena *a = arena_new("whole");
	struct buf *b = buf_new(a);
	int fd = memfd_create("whole", MFD_CLOEXEC);
	ck_assert(whole_write(fd, STR("0123456789")));
	buf_adds(b, "before");
	lseek(fd, 0, SEEK_SET);
	ck_assert(whole_read(fd, b, 10));
	ck_assert_view(buf_str(b), "before0123456789");
	lseek(fd, 0, SEEK_SET);
	errno = 0;
	ck_assert(!whole_read(fd, b, 9));
	ck_assert_int_eq(errno, EFBIG);
	close(fd);
	ck_assert(!whole_read(fd, b, 9));
	ck_assert_int_eq(errno, EBADF);
	arena_free(a);
}
END_TEST

START_TEST(a_full_disk_is_said)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	ck_assert(!whole_write(fd, STR("x")));
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert(whole_write(fd, STR("")));
	close(fd);
}
END_TEST

Suite *
suite_whole(void)
{
	return SUITE("whole", a_pipe_is_read_and_written_whole,
		there_may_be_a_limit, a_full_disk_is_said);
}
