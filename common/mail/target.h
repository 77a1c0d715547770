/* SPDX-License-Identifier: ISC */
/*
 * target: lines of aliases(5) and of .forward files, and what they lead to:
 * addresses and commands, separated by commas.  Quotes keep commas and blanks together;
 * a backslash in quotes stands for the character behind it.
 */
#ifndef MAIL_TARGET_H
#define MAIL_TARGET_H

#include "base/str.h"

struct arena;

enum { TARGET_COMMAND_MOST = 1000 };

/*
 * The next entry of an aliases(5) file: a line and those behind it that begin
 * with a blank; comments and empty lines are passed over.  False at the end.
 * *line is the number of its first line; begin with 1, *next with 1 too.
 */
bool target_entry(struct arena *a, struct str *text, struct str *entry,
	int *line, int *next);

/* Takes the name, in lower case, and its colon off an entry; false when they
 * are not there. */
bool target_name(struct arena *a, struct str *entry, struct str *name);

/* The next one, without blanks around it and perhaps empty; *rest is what is
 * behind its comma. */
struct str target_take(struct str *rest);

/* Does it ask for a command: |... or "|..."? */
bool target_is_command(struct str t);

/*
 * "|command" as it is to be passed on: without the quotes around it and blanks
 * behind the bar.  False when it is empty, too long or has control characters,
 * or when its quotes do not fit.
 */
bool target_command(struct arena *a, struct str t, struct str *out);

#endif
