/* SPDX-License-Identifier: ISC */
/*
 * hop: next hops and the rules that choose them, as the configuration writes
 * them.
 *
 *	direct			the destination's own mail exchangers
 *	mx:DOMAIN[:PORT]	those of another domain
 *	smtp:HOST[:PORT]	this host, whatever its MX records say
 *	smtps:HOST[:PORT]	the same, under TLS from the start (465)
 *	lmtp:HOST[:PORT]	LMTP over TCP (24)
 *	lmtp:unix:NAME		LMTP over a Unix socket in the agent's directory
 *	pipe:NAME		no server: the command of that name (sys/argv.h)
 *
 * HOST is a name, an IPv4 address, or an IPv6 address in brackets.
 */
#ifndef SYS_HOP_H
#define SYS_HOP_H

#include "base/str.h"

enum hop_kind {
	HOP_MX, /* host is empty for the destination itself */
	HOP_HOST,
	HOP_UNIX,
	HOP_PIPE, /* host is the command's name */
};

struct hop {
	enum hop_kind kind;
	struct str host; /* without brackets; of a Unix socket its name */
	int port; /* 0: the usual one */
	bool lmtp, tls; /* tls: from the start */
};

/* Views into text.  False when it is none of the above. */
bool hop_parse(struct str text, struct hop *out);

/* "HOST", "HOST:PORT", "[IPv6]:PORT" without a scheme; port 0 when none. */
bool hop_parse_host(struct str text, struct str *host, int *port);

/*
 * A rule is a pattern, blanks, and what holds for those it fits.  Patterns:
 * "user@domain" for one address, "domain" or "@domain", ".domain" for all
 * domains below, "*" for everything.  The most specific wins, whatever the
 * order.  Looks for the address (or bare domain); false when none fits, else
 * *value is what follows the pattern.
 */
bool rule_find(struct str_list rules, struct str address, struct str *value);

/* Is a command the next hop of this address?  Only then *name is set. */
bool rule_pipe(struct str_list rules, struct str address, struct str *name);

/* For the check of the configuration: the rest of a rule is one hop; a hop and
 * perhaps a user and a password; one of the words of remote.tls or dane; one
 * address or one of each family. */
bool rule_is_hop(struct str rule);
bool rule_is_smarthost(struct str rule);
bool rule_is_tls(struct str rule);
bool rule_is_source(struct str rule);

#endif
