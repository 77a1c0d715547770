/* SPDX-License-Identifier: ISC */
/*
 * deliver-pipe: gives queued mail to commands.
 *
 * Two processes under the id that the commands have.  The agent is confined:
 * it takes jobs, reads the message, makes of it what a command is to read, and
 * answers.  The runner, forked before, is not, because what it starts could
 * not be; it never looks into a message.  It hears jobs with the message as a
 * sealed memory file, and believes no command: it looks for the text where
 * whoever may write commands has written it.
 *
 *	main_pipe.c	the agent
 *	pipe_runner.c	the runner: a command, its time, its output
 *	pipe_source.c	where commands are written
 *	pipe_exit.c	what an exit status means
 *
 * A command that is not finished when the queue, the agent or the runner ends
 * is killed with its group: nobody would hear of it, and it is run again.
 */
#ifndef DELIVER_PIPE_H
#define DELIVER_PIPE_H

#include "ask/messages.h"
#include "base/status.h"
#include "base/str.h"
#include "sys/conf.h"

struct arena;
struct program;

/* --------------------------------------------------------- pipe_source.c */
/*
 * The command of a job (its destination): NULL-ended, in the arena.  Not fine:
 * it stands nowhere, runs as somebody else, or cannot be given these values.
 */
struct status pipe_find(struct arena *a, const struct conf *c,
	const struct msg_job *j, char ***argv);
/* Is it run once for all recipients? */
bool pipe_is_together(const struct conf *c, struct str command);
/* "a+b@c" in pieces, by the separators; "a", "b", "c". */
void pipe_split(struct str address, struct str plus, struct str *user,
	struct str *extension, struct str *domain);

/* ----------------------------------------------------------- pipe_exit.c */
/* How a command ended. */
struct pipe_end {
	int status; /* of wait */
	bool late; /* it was killed for taking too long */
	struct str output; /* what it wrote, the beginning of it */
};

/* sysexits.h, as sendmail and Postfix read it; the text has the output.  An
 * output that begins with an enhanced status code of a failure says better
 * than the exit status what kind it is. */
struct status pipe_status(struct arena *a, const struct pipe_end *e);

/* --------------------------------------------------------- pipe_runner.c */
/* Serves the agent at the other end of fd until it is gone. */
void pipe_runner(struct program *p, int fd) __attribute__((noreturn));

#endif
