/* SPDX-License-Identifier: ISC */
/*
 * options: command lines from rows.  "--name value" and "--name=value",
 * wherever they stand; "--" ends them; what is left are operands.
 */
#ifndef SYS_OPTIONS_H
#define SYS_OPTIONS_H

#include "base/str.h"

struct arena;

enum option_kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_LIST,
	OPTION_NUMBER,
	OPTION_SIGNED, /* a number that may be negative */
};

struct option_row {
	const char *name; /* with its dashes */
	enum option_kind kind;
	void *where; /* bool, const char *, struct str_list, int64_t */
	const char *value; /* what the help calls it; not of a flag */
	const char *help; /* half a sentence; NULL: not for everybody */
};

/*
 * Takes the options out of argv (argc words, no program name) and returns how
 * many words are left.  A mistake ends the program with EX_USAGE and a line
 * that names it and `help`.  With help NULL unknown options are left in argv.
 */
int options_take(struct arena *a, int argc, char **argv,
	const struct option_row *rows, size_t n, const char *help);

#endif
