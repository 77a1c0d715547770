/* SPDX-License-Identifier: ISC */
/*
 * The queue's start and its housekeeping.  Directories are made and opened
 * before rights are given up (queue_prepare); then tables, writer, sockets and
 * rows, and the loop until the starter goes away (queue_run).
 */
#include "queue.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

enum { HOUSEKEEPING_MS = 60 * 1000, RECOVERY_POLL_MS = 20,
	RECOVERY_MOST_MS = 30 * 1000, ALONE_MOST_MS = 30 * 1000,
	ALONE_POLL_MS = 20 };

static void
make_directory(const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		fatal("cannot make the directory", path);
}

/* `surat check` asks about the words of reports, which nobody else reads. */
static void
check_and_exit(struct program *p)
{
	struct str wrong = language_check(p);
	if (wrong.n == 0)
		exit(EX_OK);
	fwrite(wrong.p, 1, wrong.n, stderr);
	exit(EX_CONFIG);
}

/*
 * Two on one database would hand out everything twice, and one sweeps away the
 * bodies the other has just taken.  The one before may still be about its end
 * (finish.c), though nobody is its starter any more.
 */
static void
be_alone(const struct queue *q)
{
	int64_t deadline = clock_in(ALONE_MOST_MS);
	bool said = false;
	/* File systems without locks cannot tell. */
	while (flock(q->bodies, LOCK_EX | LOCK_NB) != 0 &&
		errno == EWOULDBLOCK) {
		if (!said)
			log_warn(LOG_NO_ID, "queue-busy", LOG_STR("directory",
				q->directory));
		said = true;
		errno = 0;
		if (clock_left(deadline) <= 0)
			fatal("queue", "another one has the database");
		usleep(ALONE_POLL_MS * 1000);
	}
}

void
queue_prepare(struct program *p)
{
	if (p->argc > 0 && strcmp(p->argv[0], "--check") == 0)
		check_and_exit(p);
	struct queue *q = arena_one(p->arena, struct queue);
	struct arena *a = p->arena;
	arena_limit(a, (size_t)1 << 30);
	/* Nobody asks how much it has; counting locks every allocation. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	p->ctx = q;
	q->program = p;
	q->conf = p->conf;
	q->arena = a;
	q->directory = str_printf(
		a, "%.*s/queue", STR_ARG(p->conf->general.state));
	make_directory(str_cstr(a, p->conf->general.state));
	make_directory(str_cstr(a, q->directory));
	char *bodies = str_cstr(a,
		str_printf(a, "%.*s/bodies", STR_ARG(q->directory)));
	make_directory(bodies);
	q->bodies = open(bodies, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (q->bodies < 0 || fsync(q->bodies) != 0)
		fatal("cannot use the directory", bodies);
	be_alone(q);
	errno = 0;
	language_open(q);
}

const char **
queue_trees(struct program *p)
{
	struct queue *q = p->ctx;
	const char **list = arena_array(p->arena, 2, sizeof *list);
	list[0] = str_cstr(p->arena, q->directory);
	return list;
}

const char **
queue_readable(struct program *p)
{
	const char **list = arena_array(p->arena, 2, sizeof *list);
	if (p->conf->queue.report_templates.n > 0)
		list[0] = str_cstr(
			p->arena, p->conf->queue.report_templates);
	return list;
}

void
queue_prune(struct queue *q)
{
	const struct conf_queue *c = &q->conf->queue;
	int64_t now = clock_wall();
	struct op o = {.kind = OP_PRUNE, .next = now - c->history,
		.attempted = now, .parked = 2 * c->retry_max + 3600};
	batch_add(q, &o);
}

static void
keep_house(void *ctx)
{
	struct queue *q = ctx;
	queue_prune(q);
	lane_sweep(q);
	dispatch_sweep(q);
	report_sweep(q);
	loop_timer(q->loop, clock_in(HOUSEKEEPING_MS), keep_house, q);
}

/* ------------------------------------------------------------- recovery */

static void
told(void *ctx, struct arena *a, struct message *m)
{
	(void)ctx, (void)a, (void)m;
}

/* Sessions may be let in once what a crash left half done is looked at. */
static void
check_recovery(void *ctx)
{
	struct queue *q = ctx;
	bool looked = q->fresh.passed && q->local.passed &&
		q->recovering == 0;
	if (!looked && clock_left(q->recovery_deadline) > 0) {
		loop_timer(q->loop, clock_in(RECOVERY_POLL_MS),
			check_recovery, q);
		return;
	}
	log_info(LOG_NO_ID, "recovered", LOG_NUM("left", q->recovering));
	q->recovered = true;
	struct message m = MESSAGE(service);
	m.service.verb = STR("recovered");
	asker_ask(q->master, &m, told, q);
}

/* A damaged one is repaired at once when it cannot even be opened. */
static void
open_database(struct queue *q)
{
	struct arena *a = q->arena;
	char *path = str_cstr(a,
		str_printf(a, "%.*s/queue.db", STR_ARG(q->directory)));
	q->reader = arena_one(a, struct table);
	if (repair_is_due(q))
		repair_now(q);
	struct status s = table_open(a, path, q->reader);
	if (!status_is_fine(s) && q->reader->damaged) {
		repair_now(q);
		s = table_open(a, path, q->reader);
	}
	if (!status_is_fine(s))
		fatal("queue database", str_cstr(a, s.text));
}

static void
end_turn(void *ctx)
{
	struct queue *q = ctx;
	route_flush(q);
	if (q->dispatching)
		dispatch(q);
	outcome_report(q);
	batch_flush(q);
	finish_look(q);
	log_flush();
}

static void
watch_master(void *ctx, int fd, unsigned events)
{
	struct queue *q = ctx;
	(void)fd, (void)events;
	loop_unwatch(q->master_watch);
	finish_start(q);
}

void
queue_run(struct program *p)
{
	struct queue *q = p->ctx;
	struct arena *a = p->arena;
	q->loop = loop_new(a);
	q->messages = map_new(a);
	list_init(&q->settled);
	open_database(q);
	q->writer = writer_start(q);
	q->auth = asker_new(a, q->loop, p->sockets, "auth");
	q->master = asker_new(a, q->loop, p->sockets, "master");
	srandom((unsigned)clock_us());
	dispatch_start(q);
	intake_start(q);
	load_start(q);
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		q->master_watch = loop_watch(
			q->loop, master, 0, watch_master, q);
	loop_after(q->loop, end_turn, q);
	keep_house(q);
	q->recovery_deadline = clock_in(RECOVERY_MOST_MS);
	check_recovery(q);
	batch_flush(q);
	log_gather(true);
	loop_run(q->loop);
	log_gather(false);
}
