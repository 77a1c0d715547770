/* SPDX-License-Identifier: ISC */
/*
 * inbox: jobs of the queue into mailboxes, several at once.
 *
 * Jobs are gathered, their recipients grouped by mailbox, each mailbox served
 * by one transaction, and every recipient answered.  Stores stay open, the
 * last used ones.  A mailbox that is locked by somebody is put off behind the
 * others once, and then answered "later": nobody else waits for it.
 */
#ifndef DELIVER_INBOX_H
#define DELIVER_INBOX_H

#include "ask/messages.h"

struct arena;
struct conf;
struct delivery_rules;
struct inbox;
struct spool;
struct stat;

/* rules: of store/deliver.h; they live as long. */
struct inbox *inbox_new(struct arena *a, const struct delivery_rules *rules);
void inbox_free(struct inbox *x);
/* Obeys .forward files (forward.h); plus: separators of an extension;
 * commands: those of users with ids of their own may name commands. */
void inbox_forward(struct inbox *x, struct str plus, bool commands);
/* Mail of users with an id of their own goes into an mbox file; a spool
 * without a name: that of the user. */
void inbox_spool(struct inbox *x, const struct spool *s);
/* Maildirs are below that directory, which was then what the agent was shut in
 * with. */
void inbox_tree(struct inbox *x, const char *path, const struct stat *then);
/* Accounts hold no more than c says (store/quota.h). */
void inbox_limit(struct inbox *x, const struct conf *c);

/*
 * Adds a job to the batch; job is a copy that lives in the batch's arena, the
 * descriptor is taken.  False when its lists do not fit together.
 */
struct arena *inbox_arena(struct inbox *x);
bool inbox_add(struct inbox *x, struct message *job);
/* Octets and jobs gathered are enough for one batch. */
bool inbox_is_full(const struct inbox *x);

/* Delivers the batch; reply is called once for each job, in order. */
typedef void (*inbox_reply)(void *ctx, struct message *result);
void inbox_deliver(struct inbox *x, inbox_reply reply, void *ctx);

/* Is there room for a message of that many octets in that account?  limits: as
 * auth writes them; they are noted there. */
struct status inbox_room(struct inbox *x, const struct msg_room *q);

/* syncfs of every file system written to since the last. */
struct status inbox_checkpoint(struct inbox *x);

#endif
