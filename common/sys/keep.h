/* SPDX-License-Identifier: ISC */
/*
 * keep: the children of one kind that a starter (suratd, or a program with
 * workers of its own) has: what they say on their links, how many there are,
 * when to pause before the next, their end.
 *
 * A child has one end of a SEQPACKET pair and says on it "-" (has come up, or
 * waits for a client) and "+" (took one).  Closing the starter's end tells it
 * to finish: it is retired then, and never counted again.
 *
 * One that was started for a client says "-" a second time when that client
 * has gone, and may be lent another one, if that has the same key: then no
 * program needs to be started.
 */
#ifndef SYS_KEEP_H
#define SYS_KEEP_H

#include "base/list.h"
#include "base/str.h"

#include <sys/types.h>

struct loop;
struct loop_timer;
struct loop_watch;

enum kept_state {
	KEPT_STARTING,
	KEPT_IDLE, /* waits for a client, or another one */
	KEPT_BUSY, /* a worker with one; of others: up */
	KEPT_RETIRED,
	KEPT_STATES,
};

struct keeper {
	struct loop *loop;
	const char *name; /* for the log */
	bool workers; /* they wait for clients */
	/* One said something, one is gone, or a pause is over. */
	void (*changed)(struct keeper *k);
	void *ctx; /* its owner's */
	struct list children;
	int64_t in[KEPT_STATES]; /* how many */
	int64_t failures; /* deaths at once after the start, in a row */
	int64_t restarts, served;
	int64_t since; /* wall clock of the last start */
	struct loop_timer *pause; /* no start before it is over */
};

/* loop, name, workers, changed and ctx are set. */
void keeper_init(struct keeper *k);

/* A link for a child to be: ours in pair[0].  False with errno. */
bool keeper_pair(int pair[2]);
/* Takes link (our end; -1 for one that another process of ours started).  key:
 * whom it may be lent to; empty: to nobody. */
void keeper_add(struct keeper *k, pid_t pid, int link, struct str key);

/* The link of one that waits for another client of that key, and is busy from
 * now on; it stays the keeper's.  -1: there is none. */
int keeper_lend(struct keeper *k, struct str key);
/* None that there are will be lent: who waits is retired, the others when
 * their clients have gone.  For when children are started with other things
 * than these were. */
void keeper_recall(struct keeper *k);

/* Children that are not retired. */
int64_t keeper_size(const struct keeper *k);
/* At most as many; how many they are.  The oldest come first. */
size_t keeper_pids(const struct keeper *k, pid_t *out, size_t most);

/*
 * Back-off is for what does not come up: a child that dies within moments of
 * its start, without having served anybody, makes the keeper pause 1, 2, 4 and
 * so on to 60 seconds, and from a tenth of a second on when it had said that
 * it was up.  One that dies later, or is killed, may be replaced at once; a
 * client who can crash a worker pays a connection for each.
 */
void keeper_pause(struct keeper *k);

/* Tells all to finish.  After patience (ms; 0: never) they are ended. */
void keeper_retire(struct keeper *k, int64_t patience);
/* Lets those go that nobody needed for a while, down to idle. */
void keeper_sweep(struct keeper *k, int64_t idle);
/* Lets the one go that has waited longest; false when none waits. */
bool keeper_spare(struct keeper *k);
/* To each with all its own children. */
void keeper_signal(struct keeper *k, int signal);

/*
 * waitpid's word on a child.  ending: everybody is told to finish, a death is
 * nothing to act on.  replaced: children of this kind are started again.
 * False when it is none of this keeper's.
 */
bool keeper_bury(struct keeper *k, pid_t pid, int status, bool ending,
	bool replaced);

#endif
