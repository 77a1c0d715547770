/* SPDX-License-Identifier: ISC */
/*
 * stand: a queue process of its own between stand-ins for everybody it talks
 * to: auth, master, agents, and askers.  The queue is a forked child that can
 * be killed and started again on the same directory; the stand-ins live here,
 * on one loop, which turns while a test waits.
 *
 * Routes: alice@local.test is the local user alice, bob@ids<N>.test is bob
 * under the ids N:N, later@local.test cannot be judged now, unknown@local.test
 * is nobody; x@nobody.test, where an alias leads, too; what stand_alias names is
 * expanded; everything else is remote.
 */
#ifndef UNIT_QUEUE_STAND_H
#define UNIT_QUEUE_STAND_H

#include "queue.h"
#include "suites.h"
#include "base/arena.h"
#include "base/list.h"
#include "base/map.h"
#include "base/clock.h"

#include <sys/types.h>

struct stand;

/* A job an agent holds. */
struct stand_job {
	struct list link;
	struct arena *arena;
	struct peer *peer; /* of the agent */
	struct msg_job job;
	struct str content;
	bool local;
};

/* What the agents do with a job; NULL keeps it for the test. */
typedef void (*stand_agent_fn)(struct stand *s, struct stand_job *j);

struct stand {
	struct arena *arena;
	struct loop *loop;
	char directory[64];
	struct conf *conf;
	pid_t queue;
	int asks[3], master;
	struct peers auth, masters, agents, clients;
	struct map *aliases;
	bool auth_silent; /* routes are not answered but kept: */
	size_t routes; /* asked */
	size_t questions; /* in so many questions */
	stand_agent_fn agent;
	struct str remote; /* the host that remote agents name */
	struct str detail; /* and what all say beside it */
	struct list jobs;
	size_t jobs_seen, agents_started, agents_alive, checkpoints;
	bool no_agents; /* master refuses */
	struct status checkpoint; /* what local agents answer */
	bool recovered; /* the queue said so */
	void (*in_child)(void); /* before the queue runs */
	struct status last; /* of the last submission */
};

/* Options are lines of surat.conf's section queue. */
struct stand *stand_new(const char *options);
void stand_start(struct stand *s);
void stand_kill(struct stand *s);
/* SIGKILL, and a new one. */
void stand_again(struct stand *s);
/* Closes its link to master: it ends by itself; its exit status. */
int stand_stop(struct stand *s);
void stand_free(struct stand *s);

/* "list@local.test" to "a@local.test b@remote.test". */
void stand_alias(struct stand *s, const char *from, const char *to);

struct peer *stand_connect(struct stand *s, const char *asker);
void stand_send(struct peer *p, const struct message *m);
/* Has the queue ended, by itself or not? */
bool stand_is_dead(struct stand *s);
/* The next answer, in the stand's arena; false when the queue closed or died. */
bool stand_answer(struct stand *s, struct peer *p, struct message *answer);
/* Was this connection closed by the queue?  It turns the loop a while. */
bool stand_is_closed(struct stand *s, struct peer *p);
void stand_drop(struct stand *s, struct peer *p);

struct msg_submit stand_envelope(struct stand *s, const char *from,
	const char *to, const char *content);
/* The queue id, or "" (the status is in s->last). */
struct str stand_submit_as(
	struct stand *s, struct peer *p, const struct msg_submit *m);
struct str stand_submit(struct stand *s, const char *from, const char *to,
	const char *content);

/* `surat queue` on this message or filter; rows in the arena. */
struct stand_rows {
	struct msg_queue_row *v;
	size_t n;
	struct status status;
	size_t pages;
};
struct stand_rows stand_list(struct stand *s, const struct msg_queue_list *l);
/* Rows of one message; state as text of its first row, "" when gone. */
struct str stand_state(struct stand *s, struct str id);
/* How often; -1 when refused. */
int64_t stand_change(struct stand *s, struct msg_queue_change m);

/* Answers a job and forgets it.  "2.0.0 - fine", scope "" for both. */
void stand_result(struct stand *s, struct stand_job *j, const char *status,
	const char *scope);
/* One recipient of it; the job is forgotten with the last. */
void stand_result_one(struct stand *s, struct stand_job *j, size_t i,
	const char *status, const char *scope);
/* Its only recipient wants it elsewhere: "\\,bob", as in job_result. */
void stand_forward(struct stand *s, struct stand_job *j, const char *to);
/* The agent dies with this job in hand. */
void stand_crash(struct stand *s, struct stand_job *j);
struct stand_job *stand_job(struct stand *s); /* the first held, waits */
/* The first held for this recipient; NULL without waiting. */
struct stand_job *stand_job_for(struct stand *s, const char *rcpt);
void stand_fine(struct stand *s, struct stand_job *j); /* an agent_fn */

/* One number from the queue's database. */
int64_t stand_sql(struct stand *s, const char *sql);
void stand_exec(struct stand *s, const char *sql);
/* Is this text in what the queue logged? */
bool stand_logged(struct stand *s, const char *text);
/* Kilobytes of the queue's VmRSS. */
long stand_memory(const struct stand *s);
void stand_turn(struct stand *s, int ms);

#define stand_until(s, condition) \
	do { \
		int64_t end_ = clock_in(60000); \
		bool met_; \
		while (!(met_ = (condition)) && clock_left(end_) > 0) \
			stand_turn((s), 10); \
		ck_assert_msg(met_, "waited in vain for %s", #condition); \
	} while (0)

#endif
