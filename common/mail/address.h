/* SPDX-License-Identifier: ISC */
/*
 * address: mailboxes and paths as SMTP writes them (RFC 5321 4.1.2, 4.1.3,
 * with RFC 6531 for UTF-8).
 *
 * The normal form is what the house works with: the local part unquoted in
 * meaning and quoted on paper only where it must be, its case kept; the domain
 * in lower case; source routes dropped.  Two addresses are the same when
 * their normal forms are.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/str.h"

struct arena;

struct address {
	struct str local; /* unquoted: the octets meant */
	struct str domain; /* lower case; "[192.0.2.1]" for literals; may be
			    * empty for <postmaster> */
	bool utf8; /* has octets beyond ASCII */
};

enum { ADDRESS_LOCAL_MOST = 64, ADDRESS_DOMAIN_MOST = 255,
	ADDRESS_MOST = 254 };

/*
 * "local@domain", whole; false when it is not one.  With utf8 UTF-8 is
 * allowed in both parts.  Lengths are those of RFC 5321 4.5.3.1.
 */
bool address_parse(struct arena *a, struct str text, bool utf8,
	struct address *out);

/*
 * A path at the front of *text, which is advanced past it: "<a@b>", "<>" (an
 * empty address), "<@x,@y:a@b>" (the route is dropped), "<postmaster>".
 */
bool address_parse_path(struct arena *a, struct str *text, bool utf8,
	struct address *out);

/* The normal form; "" for the null path. */
struct str address_text(struct arena *a, const struct address *x);

/* Local part on paper: quoted where it must be. */
struct str address_local(struct arena *a, const struct address *x);

static inline bool
address_is_null(const struct address *x)
{
	return x->local.n == 0 && x->domain.n == 0;
}

/*
 * The user and the extension of a local part, at the first of the separator
 * characters that is neither first nor last: "bob+list" is bob and list.
 */
void address_split(struct str local, struct str separators, struct str *user,
	struct str *extension);

/* Letters, digits, hyphens, underscores, dots between; each label 1..63. */
bool address_is_domain(struct str domain, bool utf8);

/* "[192.0.2.1]" or "[IPv6:2001:db8::1]": the address within, or false. */
bool address_literal(struct str domain, struct str *ip);

/* The domain in A-labels; the empty view when it has none. */
struct str address_to_ascii(struct arena *a, struct str domain);
/* In U-labels where it can. */
struct str address_to_unicode(struct arena *a, struct str domain);

/* Is it well-formed UTF-8 without C0 controls? */
bool address_is_utf8(struct str s);

#endif
