/* SPDX-License-Identifier: ISC */
/*
 * table_ref: how an option names a lookup table, TYPE:PLACE.
 *
 *	text:/FILE			a key and its value on each line
 *	passwd:/FILE			people of the system, passwd(5)
 *	cidr:/FILE			networks and values, the first that fits
 *	pcre:/FILE			/expressions/ and values, the same
 *	sqlite:/FILE SELECT ...		?1 is the key
 *	socketmap:unix:/SOCKET:MAP	a server that speaks Postfix's protocol
 *	socketmap:inet:ADDRESS:PORT:MAP
 *
 * Only the form is looked at here; auth opens them.
 */
#ifndef SYS_TABLE_REF_H
#define SYS_TABLE_REF_H

#include "base/str.h"

struct net_address;

enum table_type {
	TABLE_TEXT,
	TABLE_PASSWD,
	TABLE_CIDR,
	TABLE_PCRE,
	TABLE_SQLITE,
	TABLE_SOCKETMAP,
};

struct table_ref {
	enum table_type type;
	struct str whole; /* as written */
	struct str path; /* of the file or socket; empty for inet */
	struct str query; /* SQLite's */
	struct str host; /* socketmap:inet */
	int port;
	struct str map; /* socketmap's name for it */
};

/* False when it is not of that form. */
bool table_ref_parse(struct str s, struct table_ref *out);

/* Does it begin like one (a type, then a colon)? */
bool table_ref_is(struct str s);

#endif
