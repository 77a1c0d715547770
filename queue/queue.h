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
 *	repair.c	what to do when it is damaged
 *	load.c		rows into memory, as there is room
 *	msg.c		messages and recipients in memory
 *	seen.c		a set of final addresses
 *	route.c		recipients to final recipients, by asking auth
 *	provider.c	hosts behind many domains: what they bear together
 *	lane.c		who is next: works, fairness, concurrency, back-off
 *	dispatch.c	agents, jobs, results
 *	checkpoint.c	delivered mail to disk, then rows to history
 *	outcome.c	what a result means: finished, deferred, failed
 *	report.c	delivery reports
 *	language.c	their words
 *	rows.c		the operator's questions
 *	control.c	the operator's orders
 *	figures.c	what is counted
 *
 * The loop thread owns everything here but the writer's connection; it hands
 * over a batch, goes on reading, and hears of the commit by an eventfd.
 * doc/queue.md has the states and what a crash leaves in each.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "ask/figures.h"
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
struct seen;
struct order;
struct routing;
struct template;
struct language;

enum {
	INLINE_MOST = 128 * 1024, /* larger content lies in a body file */
	QID_LENGTH = 11,
	JOB_RECIPIENTS = 50,
	/* A recipient's number has its place in the envelope in its lowest
	 * bits, unique within the message, and above them which of its final
	 * recipients it is. */
	NUMBER_BITS = 20,
	CRASHES_MOST = 3,
	/* Recipients in memory that wait for auth or an agent.  Rows are read
	 * up to WINDOW; what was just taken may come on top up to twice that,
	 * so that a backlog holds up nobody. */
	WINDOW = 10000,
	ROUTING_MOST = 500, /* of these with auth */
	LANE_MOST = 2000, /* of these for one lane */
	LANE_LEAST = 20, /* a lane gets, though the window be full */
	LANES_MOST = 5000, /* made of rows, though the window be full */
	WORK_MOST = 500, /* of these of one message in one lane */
	CONTENT_MOST = 16 << 20, /* octets of content in memory, about */
};

/* States of a recipient row. */
enum row_state {
	ROW_NEW = 0, /* not routed yet */
	ROW_DUE = 1, /* routed; tried at `next` */
	ROW_HELD = 2,
	ROW_STATES
};

/* Where a recipient in memory is. */
enum rcpt_where {
	RCPT_ROUTING,
	RCPT_QUEUED, /* in a work of a lane */
	RCPT_ACTIVE, /* with an agent */
	RCPT_FAILED, /* waits for the report on its message */
	RCPT_DELIVERED, /* waits for a checkpoint */
	RCPT_LEAVING, /* its row's last change is being committed */
	RCPT_WHERES
};

struct rcpt {
	struct list of_message;
	struct list of_work; /* of a work, a job, or an agent's list */
	struct msg *msg;
	struct work *work; /* while queued */
	int64_t number;
	enum rcpt_where where;
	struct str address, orcpt, notify;
	struct str agent, user, home, ids, destination;
	int attempts; /* of its own */
	int parked; /* rounds it waited for its host instead */
	int bumps; /* times it gave its place to others */
	int64_t attempted;
	bool notified; /* the sender heard of the delay */
	bool verify; /* may have been delivered before a crash */
	bool rewrite; /* what was delivered may not be on the disk */
	bool recovers; /* sessions wait for its verification */
	bool unwritten; /* its row does not say yet where it goes */
	const struct order *wish; /* of an operator, while an agent has it */
	int64_t started, took; /* the attempt, microseconds, since 1970 */
	struct str detail; /* what its agent said of it */
	struct str remote;
};

/* A message with at least one recipient in memory; freed with the last. */
struct msg {
	struct arena *arena;
	int64_t id;
	char qid[QID_LENGTH + 1];
	struct str sender, origin, session, client, user;
	struct str ret, envid, body_type, body, message_id, trace;
	bool utf8, requiretls;
	bool fresh; /* just taken: none of its rows was routed before */
	bool suspect; /* was with an agent that died */
	int64_t arrival, size;
	int crashes;
	char *content; /* small and just received, until it is sent; or NULL */
	struct list rcpts;
	size_t count; /* of them */
	struct map *loaded; /* numbers in memory, when they are many */
	struct seen *seen; /* final addresses, to deliver once to each */
	struct work *work; /* the first one made */
	struct map *works; /* lane to the others */
	size_t pending; /* routing, queued or with agents */
	size_t unsent; /* routing or queued */
	struct list failures; /* of this round, for one report */
	struct list of_settled; /* its report is due */
	size_t failed; /* how many */
	int64_t free_number; /* for the next redirection; 0: not known yet */
	int64_t failed_since; /* boot clock */
};

/* What an attempt came to. */
struct result {
	struct status status;
	struct str remote; /* who said so */
	struct str detail; /* the agent's words for log and trace */
	int64_t took; /* microseconds */
	struct str forward; /* the user wants it there instead, or empty */
	struct str scope; /* host, message, recipient */
};

/* One recipient's failure or delay, waiting for its report. */
struct failure {
	struct list link;
	struct rcpt *rcpt;
	struct result result; /* texts are the message's */
	bool delay;
};

/* A place in the rows of one state, ordered by next, message, number: what
 * stands before was seen. */
struct cursor {
	int64_t next, message, number;
	bool more; /* rows may follow that are due */
	bool passed; /* was at the end once */
};

/* Lanes that could use an agent: remote ones that have none come first. */
enum ready { READY_LOCAL, READY_FIRST, READY_MORE, READY_KINDS };

/* What an attempt came to; a failure that came of age is expired. */
enum delivery_result {
	DELIVERY_DONE,
	DELIVERY_DEFERRED,
	DELIVERY_FAILED,
	DELIVERY_EXPIRED,
	DELIVERY_FORWARDED,
	DELIVERY_RESULTS
};

enum { FIGURE_AGENTS = 4 }; /* local, remote, pipe, not known */

struct figures {
	int64_t deliveries[FIGURE_AGENTS][DELIVERY_RESULTS];
	struct histogram until_delivered[FIGURE_AGENTS], accept;
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
	size_t writing; /* octets of the batch that was */
	struct str directory; /* <state>/queue */
	int bodies; /* directory descriptor of bodies/ */
	int64_t last_id, first_id; /* first_id: of this run */
	/* As many as queue.report_languages: files, and what they say. */
	struct language *languages;
	const struct template **words;
	int64_t words_looked; /* boot clock, ms */

	struct map *messages; /* qid to struct msg */
	size_t in[RCPT_WHERES]; /* recipients in memory, by where they are */
	size_t content; /* octets of messages in memory */

	struct cursor fresh, local, remote; /* where reading rows stands */
	struct list hungry; /* lanes that want to read their own rows */
	struct loop_timer *load_timer;
	int64_t load_at; /* its wall time, ms */
	bool blocked; /* reading waits for room */
	bool halted; /* reading waits for the writer */
	enum {
		FINISH_NOT,
		FINISH_JOBS, /* until agents have answered */
		FINISH_INTAKE, /* until submitters have their answers */
		FINISH_WRITES, /* until the last batch is written */
	} finishing;
	int64_t finish_deadline;
	struct loop_watch *master_watch;

	struct routing *to_route; /* not asked yet, or NULL */
	struct list settled; /* messages whose reports are due */
	struct map *lanes, *providers;
	struct list lane_list; /* all */
	struct list ready[READY_KINDS]; /* could use an agent, in turn */
	bool dispatching; /* wanted at the end of the turn */

	struct list agent_list; /* all */
	struct list idle_agents; /* remote ones without a job */
	size_t remote_agents, local_agents, pipe_agents, agents_asked;
	int agents_failed; /* in a row */
	struct loop_timer *agents_timer; /* none is asked for until then */
	struct loop_timer *turn_timer; /* a local lane's next turn */
	struct loop_timer *lazy_timer; /* of a batch nobody waits for */
	struct loop_timer *checkpoint_timer;
	int64_t turn;

	bool refusing; /* a commit failed: no intake until one succeeds */
	bool retrying; /* and it is time for the next */
	int commits_failed; /* in a row */
	int64_t refusal_logged;
	struct figures figures;
	bool recovered; /* sessions are let in */
	size_t recovering; /* recipients they wait for */
	int64_t recovery_deadline;
};

/* What waits for auth or an agent. */
static inline size_t
queue_waiting(const struct queue *q)
{
	return q->in[RCPT_ROUTING] + q->in[RCPT_QUEUED] + q->in[RCPT_ACTIVE];
}

/* -------------------------------------------------------------- start.c */
/* Makes the directories; p->ctx is the queue from then on. */
void queue_prepare(struct program *p);
const char **queue_trees(struct program *p);
const char **queue_readable(struct program *p);
/* Until the starter goes away. */
void queue_run(struct program *p);
/* Old history, tokens, destinations go; rows of a clock that was set back
 * become due. */
void queue_prune(struct queue *q);

/* ------------------------------------------------------------- finish.c */
/* The starter wants this process to end. */
void finish_start(struct queue *q);
/* At the end of each turn: is it over? */
void finish_look(struct queue *q);

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
	struct str ret, envid, body_type, body, content, message_id, trace;
	struct str hold; /* why it begins held, or empty */
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
	OP_REDIRECT,
	OP_CRASHES,
	OP_LANE, /* what was learned of a destination */
	OP_PRUNE,
	OP_KINDS
};

struct op {
	struct list link;
	enum op_kind kind;
	bool lazy; /* a crash that loses it costs work, nothing else */
	struct rcpt *forget; /* once committed */
	int64_t message, number;
	int64_t new_number; /* OP_REDIRECT */
	enum row_state state;
	int64_t next, attempts, parked, attempted, notified;
	struct str address, orcpt, notify, agent, user, home, ids, destination;
	struct str reply, remote, outcome;
	/* OP_DEFER, OP_FINISH: the attempt, in microseconds; 0: none was made */
	int64_t started, took;
	struct str detail;
	/* OP_MESSAGE */
	struct new_message *fresh;
	batch_stored_fn stored;
	void *ctx;
	bool before, own; /* own: to be tried again like a change */
	/* OP_PRUNE: rows that had to be made due; more is left to prune */
	int64_t undone;
	bool more;
	/* OP_FINISH: the file of a message whose last recipient it was */
	struct str body;
	/* OP_LANE */
	double limit, ceiling;
	int64_t ceiling_until, ceiling_hold;
};

struct batch {
	struct arena *arena;
	struct list ops;
	size_t count;
	bool urgent; /* somebody waits for it, or must not be surprised */
	struct status status; /* of the commit */
	bool damaged; /* the database is */
};

/* own: a message of the queue's own, which goes with the other changes. */
void batch_add_message(struct queue *q, const struct new_message *m,
	batch_stored_fn stored, void *ctx, bool own);
/* An op whose texts (they are copied) the caller sets in a copy. */
void batch_add(struct queue *q, const struct op *op);
/* The row of a recipient, as it now stands in memory. */
struct op op_of(enum op_kind kind, const struct rcpt *r);
/* More waits for the writer than memory should hold: nothing is read, sent or
 * told of that would add to it. */
bool batch_is_full(const struct queue *q);
/* Hands over what was gathered, if the writer is free. */
void batch_flush(struct queue *q);
/* The batch is through (loop thread). */
void batch_done(struct queue *q, struct batch *b);

/* ------------------------------------------------------------- writer.c */
struct writer *writer_start(struct queue *q);
/* False while it is busy with another. */
bool writer_give(struct writer *w, struct batch *b);
bool writer_is_idle(struct writer *w);

/* ------------------------------------------------------------- repair.c */
/* Leaves a mark and ends the process: the database is damaged. */
void repair_later(struct queue *q) __attribute__((noreturn));
bool repair_is_due(struct queue *q);
/* Before anything has opened the database. */
void repair_now(struct queue *q);

/* --------------------------------------------------------------- load.c */
/* The highest id, rows no state of ours fits; body files nobody names. */
void load_start(struct queue *q);
/* Rows that are due into memory, as there is room, now or in a moment. */
void load_soon(struct queue *q);
/* The writer has taken some of what was gathered. */
void load_resume(struct queue *q);
/* A row was written: it is to be found when it is due. */
void load_row(struct queue *q, const struct op *o);
/* All rows that are due once more. */
void load_again(struct queue *q);
struct msg *load_message(struct queue *q, int64_t id);
/* One recipient's row into memory, held or not; NULL when it is not there or
 * makes no sense. */
struct rcpt *load_rcpt(struct queue *q, int64_t message, int64_t number);
/* A message just stored, without reading it back. */
void load_fresh(struct queue *q, const struct new_message *m);

/* ---------------------------------------------------------------- msg.c */
struct msg *msg_new(struct queue *q, int64_t id);
struct msg *msg_find(struct queue *q, int64_t id);
/* For one that was loaded for a question only. */
void msg_release(struct queue *q, struct msg *m);
struct rcpt *rcpt_new(struct queue *q, struct msg *m, int64_t number);
struct rcpt *rcpt_find(const struct msg *m, int64_t number);
void rcpt_move(struct queue *q, struct rcpt *r, enum rcpt_where where);
/* It was looked at after a crash, or will never be. */
void rcpt_recovered(struct queue *q, struct rcpt *r);
/* The recipient leaves memory, and its message with the last one. */
void rcpt_forget(struct queue *q, struct rcpt *r);
/*
 * The content, in the arena or in memory; or a descriptor to read.  Later when
 * it cannot be had now, never when it is not there or not what it was.
 */
struct status msg_content(struct queue *q, struct arena *a, struct msg *m,
	struct str *content, int *fd);
/* Memory's copy is needed no more. */
void msg_drop_content(struct queue *q, struct msg *m);

/* --------------------------------------------------------------- seen.c */
/* A set of hashes in few octets; goes with the arena. */
struct seen *seen_new(struct arena *a);
/* False when it was there already. */
bool seen_add(struct seen *s, struct str text);

/* -------------------------------------------------------------- route.c */
/* Auth is asked at the end of the turn. */
void route_rcpt(struct queue *q, struct rcpt *r);
void route_flush(struct queue *q);
/* The user wants it elsewhere (job_result's forward); false when it has been
 * sent on too often. */
bool route_forward(struct queue *q, struct rcpt *r, struct str targets);

/* --------------------------------------------------------------- lane.c */
/*
 * A lane: what goes one way.  Remote: one per destination, several agents at
 * once up to a limit that is learned and remembered.  Local: one per agent, by
 * ids and a hash of the user, so that one mailbox is always written by the
 * same agent.
 */
struct lane {
	struct queue *queue;
	struct list of_queue, of_ready, of_hungry;
	struct arena *arena; /* local: of these texts */
	struct str key;
	bool local; /* has an agent of its own */
	bool pipe; /* and that one runs commands; local too */
	struct str ids, user, home; /* local: whose agent */
	struct list works; /* one per message, in turn */
	size_t waiting; /* recipients in works */
	size_t active; /* jobs out */
	enum ready ready_as; /* the list it is in, if it is in one */
	/* Rows: */
	bool more; /* due ones may not be in memory */
	bool stepped_over; /* local: the cursor went past some */
	size_t refill_at; /* when so few wait, read more */
	int64_t moved; /* boot clock: when one was last taken */
	/* Local: */
	struct agent *agent;
	bool agent_asked;
	int64_t next_turn; /* boot clock: jobs gather until then */
	int deaths; /* of agents that did nothing */
	struct loop_timer *pause; /* no agent, no job until then */
	/* Remote: */
	struct provider *provider; /* of its last result; NULL: none yet */
	struct list of_provider, of_blocked;
	int64_t rate; /* recipients a minute; 0: as fast as it goes */
	double limit; /* how many at once */
	double ceiling; /* as many were refused last time */
	int64_t ceiling_until, ceiling_hold; /* wall; how long it holds */
	int failures; /* host failures in a row */
	int64_t parked_until; /* wall: nothing is tried before */
	int64_t horizon; /* latest parked_until: rows parked are due early */
	struct status reply; /* of the host, its text the lane's own */
	char *reply_text;
	bool changed; /* what is remembered is not written yet */
	char key_text[];
};

/* What a recipient's lane follows from. */
struct way {
	struct str agent, user, home, ids, destination;
};

/* The recipients of one message in one lane. */
struct work {
	struct list of_lane;
	struct lane *lane;
	struct msg *msg;
	struct list rcpts;
	size_t count;
	size_t active; /* jobs out */
};

/* Into the lane, or back to its row when the lane's host is down. */
void lane_add(struct queue *q, struct rcpt *r);
/* Takes a queued recipient out again. */
void lane_remove(struct queue *q, struct rcpt *r);
struct lane *lane_of(struct queue *q, const struct rcpt *r);
/* The lane of such rows, made if it is not there; or NULL then. */
struct lane *lane_for(struct queue *q, const struct way *w);
struct lane *lane_find(const struct queue *q, const struct way *w);
/* Is there room for one more, of this message (NULL: any)? */
bool lane_has_room(struct queue *q, const struct lane *l, const struct msg *m);
/* The same for one that is in memory already, more generously. */
bool lane_fits(struct queue *q, const struct lane *l, const struct msg *m);
/* A row of this lane stays a row for want of room. */
void lane_skip(struct queue *q, struct lane *l);
/* The message whose turn it is; NULL: none may have another agent now. */
struct work *lane_next(const struct lane *l);
/* Its next recipients, at most n, into list; the number taken. */
size_t lane_take(struct queue *q, struct work *w, struct list *rcpts,
	size_t n);
/* Could use an agent, or not: into the list of ready ones, or out. */
void lane_look(struct queue *q, struct lane *l);
/* The remote side answered for itself. */
void lane_success(struct queue *q, struct lane *l);
/* It did not; true when it serves others just now: it wants fewer at once,
 * and the recipient goes back into the lane.  said: it was a reply. */
bool lane_failure(struct queue *q, struct lane *l, bool said);
/* A job of this lane goes out, or comes to its end. */
void lane_began(struct queue *q, struct work *w);
void lane_ended(struct queue *q, struct work *w);
/* The host is down: nothing more until `parked_until`, which is set. */
void lane_park(struct queue *q, struct lane *l, struct status s);
/* May be tried now, though its host is thought to be down. */
void lane_wake(struct queue *q, struct str destination);
/* Writes down what was learned; forgets lanes in which nothing is left. */
void lane_sweep(struct queue *q);

/* ----------------------------------------------------------- provider.c */
struct provider;

/* A result of this lane came from that host. */
void provider_meet(struct queue *q, struct lane *l, struct str host);
/* The lane goes. */
void provider_leave(struct queue *q, struct lane *l);
/* May one more job go out? */
bool provider_has_room(const struct lane *l);
/* It may not: the lane is looked at when another's job has ended or left the
 * provider with its lane, and when the limit is over. */
void provider_wait(struct lane *l);
void provider_began(struct lane *l);
void provider_ended(struct lane *l);
void provider_success(struct lane *l);
/* Refused by word; true when others of the provider are served. */
bool provider_failure(struct queue *q, struct lane *l);

/* ----------------------------------------------------------- dispatch.c */
struct agent {
	struct list of_queue, of_idle;
	struct queue *queue;
	struct peer *peer;
	struct lane *lane; /* of the job in hand, or the last one */
	bool local;
	bool useful; /* has answered a job */
	bool delicate; /* what it has in hand must be alone */
	bool retiring; /* gets no more jobs: others wait for its place */
	struct list jobs;
	size_t count;
	int64_t since; /* boot clock: when it was started */
	int64_t used; /* when it last had a job */
	struct loop_timer *patience; /* remote: with the job it has */
	/* Local: recipients whose files it wrote. */
	struct list delivered; /* since the last checkpoint */
	struct list settling; /* the checkpoint is under way */
	bool syncing;
};

void dispatch_start(struct queue *q);
/* At the end of the turn, gives what waits to agents. */
void dispatch_soon(struct queue *q);
void dispatch(struct queue *q);
/* Ends agents nobody has had a use for lately. */
void dispatch_sweep(struct queue *q);
/* Jobs that agents have in hand. */
size_t dispatch_jobs_out(const struct queue *q);
/* Remote agents that have handed nothing over go: there is no more to come. */
void dispatch_hang_up(struct queue *q);
/* Nothing of this local agent's is left to be synced. */
void dispatch_settled(struct queue *q, struct agent *g);

/* --------------------------------------------------------- checkpoint.c */
void checkpoint_add(struct queue *q, struct agent *g, struct rcpt *r);
/* Now rather than at its time. */
void checkpoint_begin(struct queue *q, struct agent *g);
/* The agent answered. */
void checkpoint_answered(struct queue *q, struct agent *g, struct status s);
/* The agent is gone, and with it whoever could sync what it wrote. */
void checkpoint_lost(struct queue *q, struct agent *g);

/* ------------------------------------------------------------ outcome.c */
/* g: the agent, NULL when none had it. */
void outcome(struct queue *q, struct rcpt *r, struct agent *g,
	const struct result *x);
/* Its host turned out to be down: tried, and due with the others. */
void outcome_down(struct queue *q, struct rcpt *r, const struct result *x,
	int64_t next);
/* Deferred without an attempt of its own (its host is down). */
void outcome_parked(struct queue *q, struct rcpt *r, struct status s,
	int64_t next);
/* Its row says where it goes, if it did not yet: asked again while its message
 * is in memory, it would be taken for a duplicate of itself. */
void outcome_way(struct queue *q, struct rcpt *r);
/* Held with a reason; leaves memory. */
void outcome_held(struct queue *q, struct rcpt *r, struct str reason);
/* Off the queue, into history. */
void outcome_finished(struct queue *q, struct rcpt *r, const char *outcome,
	const struct result *x);
/* A delivered recipient is where it was to go; else it is another's now. */
bool outcome_is_final(const struct rcpt *r);
/* Seconds until the next attempt after so many. */
int64_t outcome_next(const struct queue *q, int attempts);
/* One recipient less under way; the last one's answer ends the round. */
void outcome_settled(struct queue *q, struct msg *m);
/* At the end of the turn: the reports on the rounds that ended in it. */
void outcome_report(struct queue *q);

/* ------------------------------------------------------------- report.c */
/* One report on what failed so far, and these recipients are finished. */
void report_failures(struct queue *q, struct msg *m);
/* A report on this one's success, when its sender wanted one. */
void report_success(struct queue *q, struct rcpt *r, const struct result *x);
/* Reports that waited long enough for the rest of their message. */
void report_sweep(struct queue *q);

/* The words of queue.report_languages; says in the log what is wrong with a
 * file.  The second looks whether one changed, once a second at most. */
void language_open(struct queue *q);
void language_refresh(struct queue *q);
/* For `surat check`: what is wrong, as lines; empty when nothing is. */
struct str language_check(struct program *p);

/* --------------------------------------------------------------- rows.c */
/*
 * The operator's questions: a page of rows that fit a filter.  A page is a
 * bounded number of rows looked at, so that no question holds up the mail.
 */
struct filter {
	int64_t id; /* 0: any, -1: none has it */
	struct str sender, rcpt, domain, state, reply, about;
	int64_t before, larger; /* arrival, size */
};

enum rows_of { ROWS_LIVE, ROWS_HISTORY, ROWS_ATTEMPTS };

/* One row that fits; its texts live until the call returns. */
typedef void (*row_fn)(void *ctx, const struct msg_queue_row *r, int64_t id);

/* Calls fn for each that fits, on one page from *place (a text as done.next
 * has it); sets it to where the next page begins, empty at the end.  limit:
 * at most so many are told, 0 for a page's worth. */
struct status rows_read(struct queue *q, struct arena *a, enum rows_of of,
	const struct filter *f, struct str *place, int64_t limit, row_fn fn,
	void *ctx);
int64_t rows_older(int64_t age); /* the arrival before which */
int64_t rows_id(struct str qid);

void rows_list(struct peer *p, struct arena *a, struct message *m);

/* ------------------------------------------------------------ control.c */
void control_change(struct peer *p, struct arena *a, struct message *m);
/* The recipient has left its agent: what an operator wished meanwhile. */
bool control_wish(struct queue *q, struct rcpt *r);

/* ------------------------------------------------------------ figures.c */
/* The message was taken; its client hears of it now. */
void figures_accepted(struct queue *q, int64_t id);
void figures_delivery(struct queue *q, const struct rcpt *r,
	enum delivery_result result);
void figures_tell(struct peer *p, struct arena *a, struct message *m);

/* -------------------------------------------------------------- table.c */
#include <sqlite3.h>

enum statement {
	INSERT_MESSAGE,
	INSERT_CONTENT,
	INSERT_RCPT,
	INSERT_TOKEN,
	FIND_TOKEN,
	PRUNE_TOKENS,
	ROUTE_RCPT,
	DEFER_RCPT,
	SET_STATE,
	INSERT_HISTORY,
	INSERT_ATTEMPT,
	REDIRECT_RCPT,
	REDIRECT_ATTEMPTS,
	DELETE_RCPT,
	SELECT_DONE,
	DELETE_MESSAGE,
	DELETE_CONTENT,
	SET_CRASHES,
	PRUNE_ATTEMPTS,
	UNDO_FUTURE,
	SAVE_DESTINATION,
	PRUNE_DESTINATIONS,
	PRUNE_HISTORY,
	SELECT_DUE,
	SELECT_LANE,
	SELECT_NEXT_DUE,
	SELECT_ODD,
	SELECT_MESSAGE,
	SELECT_CONTENT,
	SELECT_ROUTED,
	SELECT_LAST_NUMBER,
	SELECT_DESTINATION,
	SELECT_HIGHEST,
	SELECT_BODY,
	SELECT_ROW,
	SELECT_ROWS,
	SELECT_KEYS,
	SELECT_SHOWN,
	SELECT_HISTORY,
	SELECT_ATTEMPTS,
	PROBE,
	STATEMENTS
};

/* The log's usual length: the pages at which it is folded back, and some. */
enum { TABLE_LOG_OCTETS = 2500 * (4096 + 24) };

struct table {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENTS];
	bool damaged; /* SQLite found that it is no sound database */
};

/* Opens (creates) the database; later with SQLite's reason, t->damaged when
 * the file is none or not a sound one. */
struct status table_open(struct arena *a, const char *path, struct table *t);
void table_close(struct table *t);
/* The statement, reset and without bindings. */
sqlite3_stmt *table_get(struct table *t, enum statement s);
void table_bind_text(sqlite3_stmt *s, int at, struct str text);
void table_bind_blob(sqlite3_stmt *s, int at, struct str octets);
struct str table_text(struct arena *a, sqlite3_stmt *s, int column);
/* The next row; false at the end, and when it cannot be read. */
bool table_step(struct table *t, sqlite3_stmt *s);
/* Runs to the end; false when SQLite failed. */
bool table_run(sqlite3_stmt *s);
/* Does this result of SQLite mean that the file is damaged? */
bool table_is_damage(int result);
struct status table_failure(struct arena *a, struct table *t,
	const char *action);

#endif
