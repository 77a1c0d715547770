/* SPDX-License-Identifier: ISC */
/*
 * policy: the rules of surat.conf that say what becomes of a recipient.
 *
 *	ACTION [if CONDITION [and CONDITION]...] [: TEXT]
 *
 *	accept			no further rule is asked
 *	reject, defer		with TEXT as the reply
 *	hold			taken, but held in the queue until released
 *	redirect to ADDRESS	goes there instead
 *
 * A condition is one of these, or "not" and one of these:
 *
 *	client is LIST		addresses and networks
 *	helo is LIST		what the client calls itself
 *	reverse is LIST		the confirmed name of its address, or unknown
 *	sender is LIST		<> is the null sender; or unknown: its domain
 *				does not exist
 *	recipient is LIST
 *	authenticated [as LIST]
 *	tls
 *	listed [at least N]	the sum of what DNS lists say of the client
 *
 * LIST is comma separated: words, in which * stands for anything, "@domain",
 * and tables (sys/table_ref.h), which hold what is in them.  "in" may be
 * written for "is".  The first rule that fits decides.
 */
#ifndef SYS_POLICY_H
#define SYS_POLICY_H

#include "base/str.h"

struct arena;

enum policy_action {
	POLICY_ACCEPT,
	POLICY_REJECT,
	POLICY_DEFER,
	POLICY_HOLD,
	POLICY_REDIRECT,
};

enum policy_fact {
	FACT_CLIENT,
	FACT_HELO,
	FACT_REVERSE,
	FACT_SENDER,
	FACT_RECIPIENT,
	FACT_AUTHENTICATED,
	FACT_TLS,
	FACT_LISTED,
	FACT_COUNT,
};

struct policy_condition {
	enum policy_fact fact;
	bool negated;
	struct str_list values; /* none: for authenticated, anybody */
	int64_t least; /* listed */
};

enum { POLICY_CONDITIONS = 8 };

struct policy_rule {
	enum policy_action action;
	struct str target; /* redirect */
	struct str text; /* empty: the usual one */
	struct policy_condition conditions[POLICY_CONDITIONS];
	size_t count;
	struct str source; /* as written */
};

/* NULL, or what is wrong with it.  Views into s and the arena. */
const char *policy_parse(struct arena *a, struct str s,
	struct policy_rule *out);

/* Does the text fit a pattern in which * stands for anything?  ASCII letters
 * in any case; linear in both but for the number of stars. */
bool policy_matches(struct str text, struct str pattern);

#endif
