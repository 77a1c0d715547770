/* SPDX-License-Identifier: ISC */
/*
 * forward: a user's .forward file, read as that user.
 *
 * For alice+list@... HOME/.forward+list is looked for, then HOME/.forward.  It
 * holds addresses, separated by commas and line ends; # begins a comment; the
 * user's own name with a backslash before it is the user's own mailbox.  A
 * program or a file cannot be named, and a file somebody else could have
 * written is not believed: then mail is delivered as if there were none, and
 * the log says why.
 */
#ifndef DELIVER_FORWARD_H
#define DELIVER_FORWARD_H

#include "base/str.h"

struct arena;

enum { FORWARD_MOST = 100 };

/*
 * Where mail for rcpt goes instead: addresses separated by commas, "\" for the
 * mailbox itself.  False when it is to be delivered.  plus: separators of an
 * extension; id is for the log.
 */
bool forward_find(struct arena *a, struct str home, struct str rcpt,
	struct str user, struct str plus, struct str id, struct str *out);

/* The contents of a file, for tests: false with the reason. */
bool forward_parse(struct arena *a, struct str text, struct str user,
	struct str *out, const char **wrong);

#endif
