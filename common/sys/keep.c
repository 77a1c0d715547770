/* SPDX-License-Identifier: ISC */
/* Bookkeeping of children; who starts them, and as what, is the owner's. */
#include "sys/keep.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "sys/ipc.h"
#include "sys/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	QUICK_DEATH = 2000, /* ms after the start */
	PAUSE_FIRST = 1000, /* for one that did not come up, */
	PAUSE_AFTER = 100, /* and for one that had */
	PAUSE_MOST = 60 * 1000,
	NUDGE_PATIENCE = 5 * 1000, /* between SIGTERM and SIGKILL */
	SURPLUS_AFTER = 60 * 1000, /* an idle worker too many goes home, */
	LENDABLE_FOR = 10 * 1000, /* and who waits to be lent, */
	LENDABLE_MOST = 64, /* or before, when there are more */
	WORDS_PER_TURN = 64,
};

struct kept {
	struct list link;
	struct arena *arena;
	struct keeper *keeper;
	pid_t pid;
	int fd; /* our end of its link; -1 when closed */
	struct loop_watch *watch;
	enum kept_state state;
	int64_t started, since; /* clock_ms: the state it is in */
	int64_t served;
	struct str key;
	struct loop_timer *patience; /* when retired */
};

void
keeper_init(struct keeper *k)
{
	list_init(&k->children);
}

int64_t
keeper_size(const struct keeper *k)
{
	return k->in[KEPT_STARTING] + k->in[KEPT_IDLE] + k->in[KEPT_BUSY];
}

size_t
keeper_pids(const struct keeper *k, pid_t *out, size_t most)
{
	size_t n = 0;
	list_each(&k->children, at, save)
		if (n < most)
			out[n++] = list_entry(at, struct kept, link)->pid;
	return n;
}

static void
enter(struct kept *c, enum kept_state state)
{
	c->keeper->in[c->state]--;
	c->keeper->in[state]++;
	c->state = state;
	c->since = clock_ms();
}

static void
stop_hearing(struct kept *c)
{
	if (c->watch != NULL)
		loop_unwatch(c->watch);
	c->watch = NULL;
}

static void
close_link(struct kept *c)
{
	stop_hearing(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* ------------------------------------------------------------- retiring */

static void
kill_child(void *ctx)
{
	struct kept *c = ctx;
	c->patience = NULL;
	kill(-c->pid, SIGKILL);
}

static void
nudge_child(void *ctx)
{
	struct kept *c = ctx;
	kill(c->pid, SIGTERM);
	c->patience = loop_timer(c->keeper->loop, clock_in(NUDGE_PATIENCE),
		kill_child, c);
}

static void
retire(struct kept *c, int64_t patience)
{
	if (c->state == KEPT_RETIRED)
		return;
	enter(c, KEPT_RETIRED);
	close_link(c);
	if (patience > 0)
		c->patience = loop_timer(c->keeper->loop, clock_in(patience),
			nudge_child, c);
}

/* ------------------------------------------------------- what they say */

/* Who waits stands behind those who began to before it. */
static void
rest(struct kept *c)
{
	enter(c, KEPT_IDLE);
	list_remove(&c->link);
	list_add(&c->keeper->children, &c->link);
	if (!c->keeper->workers && c->keeper->in[KEPT_IDLE] > LENDABLE_MOST)
		keeper_spare(c->keeper);
}

static void
heard_ready(struct kept *c)
{
	if (c->keeper->workers || (c->state == KEPT_BUSY && c->key.n > 0))
		rest(c);
	else if (c->state == KEPT_STARTING)
		enter(c, KEPT_BUSY);
	else
		retire(c, 0);
}

static void
heard(struct kept *c, char said)
{
	bool workers = c->keeper->workers;
	if (c->state == KEPT_RETIRED)
		return;
	if (said == '-') {
		heard_ready(c);
	} else if (said == '+' && workers) {
		enter(c, KEPT_BUSY);
		c->served++;
		c->keeper->served++;
	}
}

static void
on_link(void *ctx, int fd, unsigned events)
{
	struct kept *c = ctx;
	char said;
	ssize_t n = 1;
	(void)events;
	for (int i = 0; i < WORDS_PER_TURN && n > 0 && c->fd >= 0; i++) {
		n = recv(fd, &said, 1, MSG_DONTWAIT);
		if (n > 0)
			heard(c, said);
	}
	/* Its end of the link is gone, so is it; SIGCHLD says how. */
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		stop_hearing(c);
	c->keeper->changed(c->keeper);
}

/* ------------------------------------------------------------- starting */

bool
keeper_pair(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return false;
	ipc_roomy(pair[0]);
	return true;
}

void
keeper_add(struct keeper *k, pid_t pid, int link, struct str key)
{
	struct arena *a = arena_new("child");
	struct kept *c = arena_one(a, struct kept);
	*c = (struct kept){.arena = a, .keeper = k, .pid = pid, .fd = link,
		.started = clock_ms(), .since = clock_ms(),
		.key = str_copy(a, key),
		.state = link < 0 ? KEPT_BUSY : KEPT_STARTING};
	k->in[c->state]++;
	k->served += key.n > 0;
	k->since = clock_wall();
	if (link >= 0)
		c->watch = loop_watch(k->loop, link, LOOP_READ, on_link, c);
	list_add(&k->children, &c->link);
	log_debug(LOG_NO_ID, "started", LOG_CSTR("name", k->name),
		LOG_NUM("child", pid));
}

/* -------------------------------------------------------------- pausing */

static void
pause_over(void *ctx)
{
	struct keeper *k = ctx;
	k->pause = NULL;
	k->changed(k);
}

static void
back_off(struct keeper *k, int64_t first)
{
	int64_t shift = k->failures > 10 ? 10 : k->failures;
	int64_t ms = shift == 0 ? first : first << (shift - 1);
	if (k->pause == NULL)
		k->pause = loop_timer(k->loop,
			clock_in(ms < PAUSE_MOST ? ms : PAUSE_MOST),
			pause_over, k);
}

void
keeper_pause(struct keeper *k)
{
	back_off(k, PAUSE_FIRST);
}

/* -------------------------------------------------------------- lending */

/* The one that has waited the shortest: the others may go. */
int
keeper_lend(struct keeper *k, struct str key)
{
	struct kept *found = NULL;
	list_each(&k->children, at, save) {
		struct kept *c = list_entry(at, struct kept, link);
		if (c->state == KEPT_IDLE && c->watch != NULL &&
			str_eq(c->key, key))
			found = c;
	}
	if (found == NULL)
		return -1;
	enter(found, KEPT_BUSY);
	k->served++;
	return found->fd;
}

void
keeper_recall(struct keeper *k)
{
	list_each(&k->children, at, save) {
		struct kept *c = list_entry(at, struct kept, link);
		c->key = STR("");
		if (c->state == KEPT_IDLE)
			retire(c, 0);
	}
}

/* ----------------------------------------------------------- letting go */

void
keeper_retire(struct keeper *k, int64_t patience)
{
	list_each(&k->children, at, save)
		retire(list_entry(at, struct kept, link), patience);
}

/* Idle longest first, as they stand. */
void
keeper_sweep(struct keeper *k, int64_t idle)
{
	int64_t surplus = k->in[KEPT_IDLE] - idle;
	int64_t before = clock_ms() -
		(k->workers ? SURPLUS_AFTER : LENDABLE_FOR);
	list_each(&k->children, at, save) {
		struct kept *c = list_entry(at, struct kept, link);
		if (surplus <= 0)
			return;
		if (c->state != KEPT_IDLE || c->since > before)
			continue;
		retire(c, 0);
		surplus--;
	}
}

bool
keeper_spare(struct keeper *k)
{
	list_each(&k->children, at, save) {
		struct kept *c = list_entry(at, struct kept, link);
		if (c->state != KEPT_IDLE)
			continue;
		retire(c, 0);
		return true;
	}
	return false;
}

void
keeper_signal(struct keeper *k, int signal)
{
	list_each(&k->children, at, save)
		kill(-list_entry(at, struct kept, link)->pid, signal);
}

/* ------------------------------------------------------------- the dead */

static void
report(const struct kept *c, int status, bool ending)
{
	bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	bool told = c->state == KEPT_RETIRED || ending;
	bool ours = WIFSIGNALED(status) && (WTERMSIG(status) == SIGTERM ||
		WTERMSIG(status) == SIGKILL);
	if (fine || (told && ours))
		return;
	log_warn(LOG_NO_ID, "died", LOG_CSTR("name", c->keeper->name),
		LOG_NUM("child", c->pid), LOG_CSTR("how",
			WIFSIGNALED(status) ? "signal" : "exit"),
		LOG_NUM("code", WIFSIGNALED(status) ? WTERMSIG(status)
						    : WEXITSTATUS(status)));
}

/* SIGKILL is somebody's decision, not a fault that the next start will show
 * again. */
static bool
is_fault(int status)
{
	return !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

static void
mourn(struct kept *c, int status)
{
	struct keeper *k = c->keeper;
	if (c->served == 0)
		k->restarts++;
	if (c->served > 0 || clock_ms() - c->started >= QUICK_DEATH ||
		!is_fault(status)) {
		k->failures = 0;
		return;
	}
	k->failures++;
	back_off(k, c->state == KEPT_STARTING ? PAUSE_FIRST : PAUSE_AFTER);
}

bool
keeper_bury(struct keeper *k, pid_t pid, int status, bool ending,
	bool replaced)
{
	struct kept *c = NULL;
	list_each(&k->children, at, save) {
		c = list_entry(at, struct kept, link);
		if (c->pid == pid)
			break;
		c = NULL;
	}
	if (c == NULL)
		return false;
	report(c, status, ending);
	if (replaced && !ending && c->state != KEPT_RETIRED)
		mourn(c, status);
	k->in[c->state]--;
	loop_untimer(c->patience);
	close_link(c);
	list_remove(&c->link);
	arena_free(c->arena);
	k->changed(k);
	return true;
}
