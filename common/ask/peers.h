/* SPDX-License-Identifier: ISC */
/*
 * peers: answering, and asking, for programs with a loop.
 *
 * A table says which message may come from whom and what answers it; a
 * message that is malformed, unknown or not permitted costs that peer its
 * connection, nobody else anything.  Replies may be sent at once or later;
 * each peer's questions are answered in the order they came when the program
 * answers in order, and blocking askers have only one under way anyway.
 *
 * What cannot be sent at once waits in memory, bounded: a peer that does not
 * read is dropped.
 */
#ifndef ASK_PEERS_H
#define ASK_PEERS_H

#include "ask/messages.h"
#include "sys/loop.h"

struct arena;
struct peer;
struct peers_state;

/* The message lives in the arena a, which is gone after the call; its fd is
 * dropped unless taken. */
typedef void (*peer_fn)(struct peer *p, struct arena *a, struct message *m);

struct peer_row {
	enum message_kind kind;
	unsigned from; /* peer_who bits that may send it */
	peer_fn fn;
};

struct peers {
	struct loop *loop;
	const struct peer_row *rows;
	size_t count;
	void *ctx; /* the program's, for its functions */
	/* The peer is gone; its data is the program's to release.  May be
	 * NULL. */
	void (*on_close)(struct peer *p);
	/* Is there something unfinished between questions (a dialogue, a file
	 * half written)?  May be NULL: never. */
	bool (*is_busy)(const struct peer *p);
	/* Connections of one local user (PEER_LOCAL) that are let in; 0: as
	 * many as come. */
	size_t user_most;
	struct peers_state *state; /* peers' own; NULL at first */
	/* An asker's: the other end takes no more, but answers what it has
	 * taken, and closes.  NULL: such a peer is closed at once. */
	void (*on_deaf)(struct peer *p);
};

/* One end of a conversation; valid until on_close has run. */
struct peer {
	struct peers *peers;
	unsigned who;
	void *data; /* the program's, for this peer */
};

/* Accepts on a listening socket; all who come are `who`. */
void peers_listen(struct peers *ps, int listening, unsigned who);

/*
 * The end, for whom a successor already listens: nobody new is let in, what
 * was asked is answered, and each peer is left when it has nothing unfinished;
 * what it had not asked yet it asks the successor.  fn(ps->ctx) is called once
 * all are gone, or after ms.
 *
 * An exchange is over with the first answer that is not called *_row.
 */
void peers_retire(struct peers *ps, int64_t ms, loop_timer_fn fn);

/* Takes a connected socket. */
struct peer *peers_take(struct peers *ps, int fd, unsigned who);

/* Sends a copy of m (and its fd, which stays the caller's).  A peer that went
 * away meanwhile is closed at the end of the turn, not in here. */
void peer_send(struct peer *p, const struct message *m);

/* Descriptor, for the kernel's word on who it is. */
int peer_fd(const struct peer *p);

/* Closes at the end of the turn; on_close runs then. */
void peer_close(struct peer *p);
/* It went away, or is to be closed: what is sent now reaches nobody. */
bool peer_is_closing(const struct peer *p);

/*
 * Asking from within a loop: questions go out in order, answers come back in
 * order.  fn gets NULL instead of a message when the other side went away;
 * the connection is then made anew with the next question.
 */
struct asker;
typedef void (*answer_fn)(void *ctx, struct arena *a, struct message *m);

struct asker *asker_new(struct arena *a, struct loop *l, struct str directory,
	const char *asked);
void asker_ask(struct asker *k, const struct message *question, answer_fn fn,
	void *ctx);

#endif
