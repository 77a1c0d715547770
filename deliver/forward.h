/* SPDX-License-Identifier: ISC */
/*
 * forward: a user's .forward file, read as that user.
 *
 * For alice+list@... HOME/.forward+list is looked for, then HOME/.forward.  It
 * holds addresses and, where they may be, |commands, separated by commas and
 * line ends; # begins a comment; the user's own name with a backslash before it
 * is the user's own mailbox.  A file cannot be named, and a .forward somebody
 * else could have written is not believed: then mail is delivered as if there
 * were none, and the log says why.
 */
#ifndef DELIVER_FORWARD_H
#define DELIVER_FORWARD_H

#include "base/str.h"

struct arena;

enum { FORWARD_MOST = 100 };

struct forward_rules {
	struct str user;
	struct str plus; /* separators of an extension */
	bool commands; /* may be named */
	struct str id; /* for the log */
};

enum forward_found {
	FORWARD_NONE, /* the mail is to be delivered */
	FORWARD_FOUND,
	FORWARD_UNSEEN, /* there is one that forward_files had not */
};

/*
 * Where mail for rcpt goes instead: addresses and "|command"s with LF between,
 * "\" for the mailbox itself.
 */
enum forward_found forward_find(struct arena *a, struct str home,
	struct str rcpt, const struct forward_rules *rules, struct str *out);

/*
 * For who may afterwards read of a home what is in this list alone: the paths
 * of its .forward files, NULL-ended.  A process has one such home.
 */
const char **forward_files(struct arena *a, struct str home);

/* The contents of a file, for tests: false with the reason. */
bool forward_parse(struct arena *a, struct str text,
	const struct forward_rules *rules, struct str *out,
	const char **wrong);

/* What stands in rcpt between the user's name and the domain; empty when there
 * is nothing, or what cannot be part of a file's name. */
struct str forward_extension(struct str rcpt, struct str user,
	struct str plus);

#endif
