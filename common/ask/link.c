/* SPDX-License-Identifier: ISC */
/* One connection, one question at a time. */
#include "ask/link.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/ipc.h"

#include <assert.h>
#include <poll.h>
#include <unistd.h>

enum { PATIENCE = 30 * 1000, RECONNECT_PAUSE = 100, PAUSE_MOST = 2000 };

struct link {
	const char *asked;
	char *path;
	int fd;
	int64_t patience;
	unsigned generation;
};

static void
close_link(void *ctx)
{
	link_close(ctx);
}

struct link *
link_new(struct arena *a, struct str directory, const char *asked)
{
	struct link *l = arena_one(a, struct link);
	struct str path = str_printf(a, "%.*s/%s", STR_ARG(directory), asked);
	l->asked = asked;
	l->path = str_cstr(a, path);
	l->fd = -1;
	l->patience = PATIENCE;
	arena_hook(a, close_link, l);
	return l;
}

void
link_patience(struct link *l, int64_t ms)
{
	l->patience = ms;
	if (l->fd >= 0)
		ipc_patience(l->fd, ms);
}

unsigned
link_generation(const struct link *l)
{
	return l->generation;
}

bool
link_is_open(const struct link *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	return l->fd >= 0 && (poll(&p, 1, 0) <= 0 ||
		(p.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0);
}

void
link_close(struct link *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static struct status
away(struct link *l, struct arena *a, const char *how)
{
	link_close(l);
	return status_later(3, 0, str_printf(a, "%s %s", l->asked, how));
}

/* A restarted process is back within a moment: keep trying that long. */
static bool
connect_until(struct link *l, int64_t deadline)
{
	while (l->fd < 0) {
		l->fd = ipc_connect(l->path);
		if (l->fd >= 0) {
			ipc_patience(l->fd, l->patience);
			l->generation++;
			break;
		}
		if (clock_left(deadline) <= 0)
			return false;
		usleep(RECONNECT_PAUSE * 1000);
	}
	return true;
}

static bool
send_question(struct link *l, const struct message *q, int64_t deadline)
{
	for (int tries = 0; tries < 2; tries++) {
		if (!connect_until(l, deadline))
			return false;
		enum ipc_result r =
			ipc_send_wait(&ask_messages, l->fd, q, deadline);
		if (r == IPC_OK)
			return true;
		link_close(l);
		if (r == IPC_AGAIN)
			return false;
	}
	return false;
}

static struct status
ask(struct link *l, struct arena *a, const struct message *q,
	struct message *answer, bool repeat)
{
	int64_t deadline = clock_in(l->patience);
	/* One who dies of the question is not to be asked in a whirl. */
	for (int64_t pause = RECONNECT_PAUSE;;
		pause = pause < PAUSE_MOST ? pause * 2 : pause) {
		if (!send_question(l, q, deadline))
			return away(l, a, "is not there");
		enum ipc_result r = ipc_recv_patient(
			&ask_messages, l->fd, a, answer);
		if (r == IPC_OK)
			return status_fine();
		if (r == IPC_AGAIN)
			return away(l, a, "does not answer");
		link_close(l);
		if (r == IPC_BAD || !repeat)
			return away(l, a, "went away");
		usleep((useconds_t)pause * 1000);
	}
}

static struct status
check(struct link *l, struct arena *a, struct status s,
	enum message_kind expect, struct message *answer)
{
	if (!status_is_fine(s) || answer->kind == expect)
		return s;
	message_drop(answer);
	return away(l, a, "gave an unexpected answer");
}

struct status
link_call(struct link *l, struct arena *a, const struct message *question,
	enum message_kind expect, struct message *answer)
{
	struct status s = ask(l, a, question, answer, false);
	return check(l, a, s, expect, answer);
}

struct status
link_call_again(struct link *l, struct arena *a,
	const struct message *question, enum message_kind expect,
	struct message *answer)
{
	struct status s = ask(l, a, question, answer, true);
	return check(l, a, s, expect, answer);
}

/* One round of questions and answers; IPC_CLOSED may be tried again. */
static enum ipc_result
ask_all(struct link *l, struct arena *a, const struct message *questions,
	size_t n, struct message *answers, int64_t deadline)
{
	enum ipc_result r = IPC_OK;
	if (!connect_until(l, deadline))
		return IPC_AGAIN;
	for (size_t i = 0; i < n && r == IPC_OK; i++)
		r = ipc_send_wait(&ask_messages, l->fd, &questions[i],
			deadline);
	for (size_t i = 0; i < n && r == IPC_OK; i++)
		r = ipc_recv_wait(
			&ask_messages, l->fd, a, &answers[i], deadline);
	if (r != IPC_OK)
		link_close(l);
	return r;
}

struct status
link_call_all(struct link *l, struct arena *a,
	const struct message *questions, size_t n, struct message *answers)
{
	int64_t deadline = clock_in(l->patience);
	enum ipc_result r = IPC_OK;
	assert(n <= LINK_AT_ONCE);
	for (int tries = 0; tries < 2; tries++) {
		r = ask_all(l, a, questions, n, answers, deadline);
		if (r == IPC_OK)
			return status_fine();
		if (r != IPC_CLOSED)
			break;
	}
	return away(l, a, r == IPC_AGAIN ? "does not answer" : "went away");
}

void
link_tell(struct link *l, const struct message *m)
{
	if (l->fd >= 0 && ipc_send(&ask_messages, l->fd, m) != IPC_OK)
		link_close(l);
}

struct status
link_next(struct link *l, struct arena *a, struct message *answer)
{
	if (l->fd < 0)
		return away(l, a, "went away");
	enum ipc_result r = ipc_recv_patient(
		&ask_messages, l->fd, a, answer);
	if (r == IPC_OK)
		return status_fine();
	return away(l, a, r == IPC_AGAIN ? "does not answer" : "went away");
}
