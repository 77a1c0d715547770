/* SPDX-License-Identifier: ISC */
/*
 * argv: a command that mail is given to, as pipe.commands writes it:
 *
 *	NAME USER /PROGRAM ARGUMENT...
 *
 * Words are separated by blanks; '...' keeps blanks in one.  No shell ever
 * sees them.  In an argument {word} stands for something of the message, of
 * which ARGV_WORDS are all; a brace means nothing else.  {recipients} is an
 * argument by itself and becomes one for each recipient: then the program is
 * run once for all that the message has there, else once for each.
 */
#ifndef SYS_ARGV_H
#define SYS_ARGV_H

#include "base/str.h"

struct arena;

enum { ARGV_MOST = 64 };

/* In the order of struct argv_values. */
#define ARGV_WORDS(W) \
	W(sender) W(recipient) W(local) W(user) W(extension) W(domain) \
	W(original) W(queue_id) W(size)

struct argv_values {
#define ARGV_MEMBER(word) struct str word;
	ARGV_WORDS(ARGV_MEMBER)
#undef ARGV_MEMBER
	struct str_list recipients;
};

struct argv {
	struct str name, user;
	struct str words[ARGV_MOST]; /* the program first */
	size_t count;
	bool together; /* has {recipients} */
};

/* Views into text.  False when it is none of that form. */
bool argv_parse(struct str text, struct argv *out);
/* For the check of the configuration. */
bool argv_is_good(struct str text);

/* The one of that name among lines that were checked; false: none. */
bool argv_find(struct str_list lines, struct str name, struct argv *out);

/*
 * What the program is started with, NULL-ended, in the arena.  NULL when a
 * value cannot be given to a program: it has a control character, or begins
 * with a hyphen where an argument begins and would be taken for an option.
 */
char **argv_fill(struct arena *a, const struct argv *c,
	const struct argv_values *v);

#endif
