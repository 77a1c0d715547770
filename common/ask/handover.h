/* SPDX-License-Identifier: ISC */
/*
 * handover: how a session process of IMAP or POP3 comes by its client.
 *
 * From session_start, the first message on its link to the starter, which
 * carries the client's descriptor; or from inetd, as the user who runs it.
 * Either way the process already is the user, and the login, where there was
 * one, is over.
 *
 * When the client has gone, the starter may have another one of the same user
 * within moments: mail programs come back all the time, and a process that is
 * confined and has the mail open serves them at a fraction of the cost of a
 * new one.  It is never given anybody else's client, and looks.
 */
#ifndef ASK_HANDOVER_H
#define ASK_HANDOVER_H

#include "ask/messages.h"

struct conn;
struct program;

struct handover {
	struct message message;
	const struct msg_session_start *start; /* in message */
	int in, out;
	bool inetd;
	struct arena *client; /* what start points into; NULL: the process's */
};

/* Is this a session process: --session; or -i without --service, when no
 * network is on standard input?  Who comes from there has to log in. */
bool handover_is_session(int argc, char **argv);

/* For the service row: waits for the client.  p->ctx is the handover. */
void handover_prepare(struct program *p);
const struct handover *handover_of(const struct program *p);
/* Waits for the next client, until the starter has none or stop (of
 * program_stop_fd) says so: then false, and the process is to end. */
bool handover_next(struct program *p, int stop);
/* Gives the client back, as one who has not logged in, with the input that is
 * buffered; where session_start says that it may be.  The conn is of no use
 * then but to be closed. */
void handover_return(struct conn *c);
/* The user's Maildir. */
const char **handover_trees(struct program *p);

#endif
