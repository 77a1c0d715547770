/* SPDX-License-Identifier: ISC */
/*
 * queue: keeps what was taken over until every recipient has it.
 *
 * Files, in the order a message meets them:
 *	start.c		directories, sockets, recovery, housekeeping
 *	intake.c	submit, body_open: what is taken, and when 250 is true
 *	batch.c		what is to be written, gathered by the loop thread
 *	writer.c	the thread that commits one batch after another
 *	table.c		the database: schema, statements, rows
 *	load.c		rows into memory: the window, recovery, messages
 *	route.c		recipients to final recipients, by asking auth
 *	lane.c		who is next: works, fairness, concurrency, back-off
 *	dispatch.c	agents, jobs, results
 *	checkpoint.c	delivered mail to disk, then rows to history
 *	outcome.c	what a result means: finished, deferred, failed
 *	report.c	delivery reports
 *	control.c	the operator's questions and orders
 *
 * The loop thread owns everything here but the writer's connection; it hands
 * over a batch, goes on reading, and hears of the commit by an eventfd.
 * doc/queue.md has the states and what a crash leaves in each.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "ask/messages.h"
#include "ask/peers.h"
#include "base/list.h"
#include "base/map.h"
#include "base/status.h"
#include "base/str.h"
#include "sys/loop.h"
#include "sys/service.h"

struct batch;
struct writer;
struct table;
struct lane;
struct agent;

enum {
	INLINE_MOST = 64 * 1024, /* larger content lies in a body file */
	QID_LENGTH = 11,
	WINDOW_RECIPIENTS = 20000, /* in memory at most, about */
	JOB_RECIPIENTS = 50,
	CRASHES_MOST = 3,
};

/* States of a recipient row. */
enum row_state {
	ROW_NEW = 0, /* not routed yet */
	ROW_DUE = 1, /* routed; tried at `next` */
	ROW_HELD = 2,
};

/* Where a recipient in memory is. */
enum rcpt_where {
	RCPT_ROUTING,
	RCPT_QUEUED, /* in a work of a lane */
	RCPT_ACTIVE, /* with an agent */
	RCPT_DELIVERED, /* waits for a checkpoint */
};

struct rcpt {
	struct list of_message;
	struct list of_work; /* of a work, a job, or the checkpoint's list */
	struct msg *msg;
	struct work *work; /* while queued */
	int64_t number;
	enum rcpt_where where;
	struct str address, orcpt, notify;
	struct str agent, user, home, ids, destination;
	int attempts, bumps;
	int64_t attempted;
	bool notified; /* the sender heard of the delay */
	bool verify; /* may have been delivered before a crash */
	struct str remote;
};

/* A message with at least one recipient in memory; freed with the last. */
struct msg {
	struct arena *arena;
	int64_t id;
	char qid[QID_LENGTH + 1];
	struct str sender, origin, session, client, user;
	struct str ret, envid, body_type, body;
	bool utf8, requiretls;
	int64_t arrival, size;
	int crashes;
	struct str content; /* small and just received, else p NULL */
	struct list rcpts;
	struct map *loaded; /* numbers in memory */
	struct map *seen; /* final addresses, to deliver once to each */
	struct work *work; /* the last one made */
	size_t pending; /* routing, queued or with agents */
	struct list failures; /* of this round, for one report */
};

/* One recipient's failure or delay, waiting for its report. */
struct failure {
	struct list link;
	struct rcpt *rcpt;
	struct status status;
	struct str remote;
	bool delay;
};

struct queue {
	struct program *program;
	const struct conf *conf;
	struct arena *arena;
	struct loop *loop;
	struct peers intake, agents;
	struct asker *auth, *master;
	struct table *reader; /* the loop's connection */
	struct writer *writer;
	struct batch *gathering; /* not yet handed over; NULL when empty */
	struct str directory; /* <state>/queue */
	int bodies; /* directory descriptor of bodies/ */
	struct map *messages; /* qid to struct msg */
	size_t recipients; /* in memory */
	size_t content; /* octets of messages in memory */
	int64_t last_id;
	struct map *lanes;
	struct list lane_list; /* in the order of their turns */
	struct list idle_agents; /* remote ones without a job */
	struct list agent_list; /* all */
	size_t remote_agents, agents_asked;
	struct list delivered; /* rcpts since the last checkpoint */
	struct list settling; /* rcpts whose checkpoint is under way */
	size_t checkpoints; /* agents that have not answered yet */
	bool checkpoint_failed;
	struct loop_timer *checkpoint_timer, *load_timer;
	bool more_rows; /* rows may be due that are not in memory */
	int64_t load_cursor[3]; /* next, message, number */
	bool refusing; /* a commit failed: no intake until one succeeds */
	int64_t recovering; /* rows still to verify; -1: over */
	int64_t recovery_deadline;
	int64_t turn;
};

/* -------------------------------------------------------------- start.c */
/* Makes the directories; p->ctx is the queue from then on. */
void queue_prepare(struct program *p);
const char **queue_trees(struct program *p);
/* Until the starter goes away. */
void queue_run(struct program *p);

/* ------------------------------------------------------------- intake.c */
void intake_start(struct queue *q);
void qid_format(int64_t id, char qid[QID_LENGTH + 1]);
bool qid_parse(struct str qid, int64_t *id);
int64_t queue_next_id(struct queue *q);

/* -------------------------------------------------------------- batch.c */
/*
 * Rows to be written: everything is copied into the batch.  A recipient named
 * in a change stays in memory until the change is committed, so that no row
 * can be loaded again meanwhile; then it is forgotten.  When a commit fails,
 * submissions are answered later and forgotten, changes are tried again.
 */
struct new_rcpt {
	struct str address, orcpt, notify;
};

struct new_message {
	int64_t id;
	struct str token;
	struct str sender, origin, session, client, user;
	struct str ret, envid, body_type, body, content;
	bool utf8, requiretls;
	int64_t arrival, size;
	const struct new_rcpt *rcpts;
	size_t count;
};

/* After the commit.  m->id is what the token stands for: another id than was
 * given means the message was taken before. */
typedef void (*batch_stored_fn)(struct queue *q, void *ctx, struct status s,
	const struct new_message *m, bool before);

enum op_kind {
	OP_MESSAGE,
	OP_RCPT, /* a further final recipient */
	OP_ROUTE,
	OP_DEFER,
	OP_STATE,
	OP_FINISH,
	OP_CRASHES,
	OP_RELEASE,
	OP_PRUNE,
};

struct op {
	struct list link;
	enum op_kind kind;
	struct rcpt *forget; /* once committed */
	int64_t message, number;
	enum row_state state;
	int64_t next, attempts, attempted, notified;
	struct str address, orcpt, notify, agent, user, home, ids, destination;
	struct str reply, remote, outcome;
	/* OP_MESSAGE */
	struct new_message *fresh;
	batch_stored_fn stored;
	void *ctx;
	bool before;
};

struct batch {
	struct arena *arena;
	struct list ops;
	size_t count;
	struct status status; /* of the commit */
};

void batch_add_message(struct queue *q, const struct new_message *m,
	batch_stored_fn stored, void *ctx);
/* An op whose texts (they are copied) the caller sets in a copy. */
void batch_add(struct queue *q, const struct op *op);
/* The row of a recipient, as it now stands in memory. */
struct op op_of(enum op_kind kind, const struct rcpt *r);
/* Hands over what was gathered, if the writer is free. */
void batch_flush(void *q);
/* The batch is through (loop thread). */
void batch_done(struct queue *q, struct batch *b);

/* ------------------------------------------------------------- writer.c */
struct writer *writer_start(struct queue *q);
/* False while it is busy with another. */
bool writer_give(struct writer *w, struct batch *b);

/* --------------------------------------------------------------- load.c */
/* Highest id and high-water marks; counts rows to be verified. */
void load_start(struct queue *q);
/* Rows that are due into memory, as the window has room; sets its own timer
 * for what is due later. */
void load_due(struct queue *q);
void load_soon(struct queue *q);
struct msg *load_message(struct queue *q, int64_t id);
/* A message just stored, without reading it back. */
void load_fresh(struct queue *q, const struct new_message *m);
/* The recipient leaves memory, and its message with the last one. */
void rcpt_forget(struct queue *q, struct rcpt *r);
struct rcpt *rcpt_new(struct queue *q, struct msg *m, int64_t number);
/* The content, in the arena or in memory; or a descriptor to read. */
struct status msg_content(struct queue *q, struct arena *a, struct msg *m,
	struct str *content, int *fd);

/* -------------------------------------------------------------- route.c */
void route_rcpt(struct queue *q, struct rcpt *r);

/* --------------------------------------------------------------- lane.c */
/*
 * A lane: what goes one way.  Remote: one per destination, several agents at
 * once up to a limit that is learned.  Local: one per agent, by ids and a hash
 * of the user, so that one mailbox is always written by the same agent.
 */
struct lane {
	struct list of_queue;
	struct arena *arena;
	struct str key;
	bool local;
	struct str ids, user, home; /* local: whose agent */
	struct list works; /* one per message, in turn */
	size_t waiting; /* recipients in works */
	struct agent *agent; /* local */
	bool agent_asked;
	size_t active; /* jobs out */
	double limit; /* remote: how many at once */
	int failures; /* host failures in a row */
	int64_t succeeded; /* when it last went well */
};

struct work {
	struct list of_lane;
	struct lane *lane;
	struct list rcpts;
	size_t count;
};

void lane_add(struct queue *q, struct rcpt *r);
/* Takes a queued recipient out again. */
void lane_remove(struct rcpt *r);
struct lane *lane_of(struct queue *q, const struct rcpt *r);
/* The next recipients to be tried, at most n, all of one message, into list;
 * the number taken. */
size_t lane_take(struct lane *l, struct list *rcpts, size_t n);
void lane_success(struct queue *q, struct lane *l);
/* A host failed; true when others are being served there: it wants fewer
 * connections, and the recipient goes back into the lane. */
bool lane_failure(struct queue *q, struct lane *l);
/* Everything that waits for a dead host is parked until the probe's time. */
void lane_park(struct queue *q, struct lane *l, struct status s);
/* Forgets lanes in which nothing is left. */
void lane_sweep(struct queue *q);

/* ----------------------------------------------------------- dispatch.c */
void dispatch_start(struct queue *q);
/* Gives what waits to agents that are free; asks for agents. */
void dispatch(struct queue *q);
/* Sends the question to every local agent; the number asked. */
size_t dispatch_checkpoint(struct queue *q);

/* --------------------------------------------------------- checkpoint.c */
void checkpoint_add(struct queue *q, struct rcpt *r);
/* What was delivered over this lane since the last checkpoint has lost the
 * agent that could sync it. */
void checkpoint_lost(struct queue *q, const struct lane *l);
/* An agent answered, or is gone (later). */
void checkpoint_answered(struct queue *q, struct status s);

/* ------------------------------------------------------------ outcome.c */
void outcome(struct queue *q, struct rcpt *r, struct status s,
	struct str remote);
/* Deferred without an attempt of its own (its host is down). */
void outcome_parked(struct queue *q, struct rcpt *r, struct status s,
	int64_t next);
/* Held with a reason; leaves memory. */
void outcome_held(struct queue *q, struct rcpt *r, struct str reason);
/* Off the queue, into history. */
void outcome_finished(struct queue *q, struct rcpt *r, const char *outcome,
	struct str reply, struct str remote);
int64_t outcome_next(struct queue *q, int attempts);
/* One recipient less under way; the last one's answer ends the round. */
void outcome_settled(struct queue *q, struct msg *m);

/* ------------------------------------------------------------- report.c */
void report_failures(struct queue *q, struct msg *m);

/* ------------------------------------------------------------ control.c */
void control_list(struct peer *p, struct arena *a, struct message *m);
void control_change(struct peer *p, struct arena *a, struct message *m);

/* -------------------------------------------------------------- table.c */
#include <sqlite3.h>

enum statement {
	INSERT_MESSAGE,
	INSERT_RCPT,
	INSERT_TOKEN,
	FIND_TOKEN,
	PRUNE_TOKENS,
	ROUTE_RCPT,
	DEFER_RCPT,
	SET_STATE,
	INSERT_HISTORY,
	DELETE_RCPT,
	DELETE_MESSAGE,
	SET_CRASHES,
	RELEASE_DESTINATION,
	PRUNE_HISTORY,
	SELECT_DUE,
	SELECT_NEXT_DUE,
	SELECT_MESSAGE,
	SELECT_CONTENT,
	SELECT_HIGHEST,
	SELECT_LOCAL_DUE,
	SELECT_BODY,
	SELECT_ROWS,
	SELECT_HISTORY,
	PROBE,
	STATEMENTS
};

struct table {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
};

/* Opens (creates) the database; later with SQLite's reason. */
struct status table_open(struct arena *a, const char *path, struct table *t);
void table_close(struct table *t);
/* The statement, reset and without bindings. */
sqlite3_stmt *table_get(struct table *t, enum statement s);
void table_bind_text(sqlite3_stmt *s, int at, struct str text);
void table_bind_blob(sqlite3_stmt *s, int at, struct str octets);
struct str table_text(struct arena *a, sqlite3_stmt *s, int column);
/* Runs to the end; false when SQLite failed. */
bool table_run(sqlite3_stmt *s);
struct status table_failure(struct arena *a, struct table *t,
	const char *action);

#endif
