/* SPDX-License-Identifier: ISC */
/*
 * link: asking another process, for blocking programs: one call, one answer.
 *
 * A link connects when it is first used and again when the other side was
 * restarted.  Its path is RUNTIME/<asker>/<asked>, or just /<asked> for a
 * program whose root directory is RUNTIME/<asker>.
 */
#ifndef ASK_LINK_H
#define ASK_LINK_H

#include "ask/messages.h"

struct arena;
struct link;

/* directory is where this program finds its sockets (program_sockets). */
struct link *link_new(struct arena *a, struct str directory, const char *asked);

/*
 * Sends and waits for an answer of the kind expected.  Fine: *answer is set,
 * lives in the arena, its fd is the caller's.  Otherwise later 4.3.0 naming
 * the program that is away or slow; the link is closed then, so that a late
 * answer cannot be taken for the next one's.
 *
 * A connection found dead before the question was sent is opened again.  When
 * it dies afterwards the question is asked again only if repeat is set (it
 * must be harmless to be asked twice).
 */
struct status link_call(struct link *l, struct arena *a,
	const struct message *question, enum message_kind expect,
	struct message *answer);
struct status link_call_again(struct link *l, struct arena *a,
	const struct message *question, enum message_kind expect,
	struct message *answer);

/*
 * Several questions of one kind at once: all are sent before the first answer
 * is awaited, so that they take as long as the slowest.  Fine only when every
 * answer came; they are asked again (harmless ones only) like those of
 * link_call_again.  At most LINK_AT_ONCE, small ones.
 */
enum { LINK_AT_ONCE = 48 };
struct status link_call_all(struct link *l, struct arena *a,
	const struct message *questions, size_t n, struct message *answers);

/* Is it connected, and the other side not gone as far as can be told without
 * asking? */
bool link_is_open(const struct link *l);

/* Another number after each reconnection: what the other side kept for us
 * before is gone. */
unsigned link_generation(const struct link *l);

/* Says what is not answered; lost when the other side is not there. */
void link_tell(struct link *l, const struct message *m);

/* For exchanges with several answers (queue_list): the next message. */
struct status link_next(struct link *l, struct arena *a,
	struct message *answer);

/* How long to wait for an answer; default 30000. */
void link_patience(struct link *l, int64_t ms);

void link_close(struct link *l);

#endif
