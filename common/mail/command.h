/* SPDX-License-Identifier: ISC */
/*
 * command: the table a line protocol is.
 *
 * A protocol's row begins with this struct and adds its own function pointer
 * and flags.  The loop of the session finds the row by verb, checks the state
 * against it, calls the function, and moves to the next state by what came of
 * it: handlers neither check nor set state.
 */
#ifndef MAIL_COMMAND_H
#define MAIL_COMMAND_H

#include "base/str.h"

/* What came of a command, as far as the next state is concerned. */
enum command_outcome {
	COMMAND_DONE,
	COMMAND_MORE, /* part of the way: BDAT without LAST, USER before PASS */
	COMMAND_FAILED,
};

struct command {
	struct str verb;
	unsigned states; /* bit mask: in which it is legal */
	/* The state afterwards; 0 means stay. */
	unsigned done, more, failed;
	unsigned flags; /* the protocol's own */
	const char *help; /* arguments and one sentence */
};

/* The row of this verb (ASCII case-insensitive), or NULL.  rows is an array
 * of structs of `size` octets that begin with struct command. */
const void *command_find(const void *rows, size_t count, size_t size,
	struct str verb);

/* Splits "VERB rest": the verb, and the rest without the blanks between. */
struct str command_verb(struct str line, struct str *rest);

/* The state after an outcome. */
unsigned command_next(const struct command *c, unsigned state,
	enum command_outcome outcome);

#endif
