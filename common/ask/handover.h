/* SPDX-License-Identifier: ISC */
/*
 * handover: how a session process of IMAP or POP3 comes by its client.
 *
 * From session_start, the first message on its link to the starter, which
 * carries the client's descriptor; or from inetd, as the user who runs it.
 * Either way the process already is the user, and the login, where there was
 * one, is over.
 */
#ifndef ASK_HANDOVER_H
#define ASK_HANDOVER_H

#include "ask/messages.h"

struct program;

struct handover {
	struct message message;
	const struct msg_session_start *start; /* in message */
	int in, out;
	bool inetd;
};

/* Is this a session process: --session; or -i without --service, when no
 * network is on standard input?  Who comes from there has to log in. */
bool handover_is_session(int argc, char **argv);

/* For the service row: waits for the client.  p->ctx is the handover. */
void handover_prepare(struct program *p);
const struct handover *handover_of(const struct program *p);
/* The user's Maildir. */
const char **handover_trees(struct program *p);

#endif
