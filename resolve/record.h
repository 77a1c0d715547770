/* SPDX-License-Identifier: ISC */
/*
 * record: the data of one DNS record, as strangers' name servers wrote it,
 * into the text that dns_answer carries.
 *
 * What always holds: nothing outside the octets given is looked at, whatever
 * lengths stand in them; a record that is not exactly one of its type, with
 * nothing before or after, is none.
 */
#ifndef RESOLVE_RECORD_H
#define RESOLVE_RECORD_H

#include "base/str.h"

struct arena;

enum { RECORD_NAME_MOST = 253, RECORD_LABEL_MOST = 63 };

/* The number of the type called so (A, MX, ...); 0: not asked for here. */
int record_type(struct str name);

/*
 * The record in presentation form: "192.0.2.1", "10 mx.example.org",
 * "3 1 1 <hex>", text octets as they are.  Names have no trailing dot, but the
 * root, which is "."; octets that are no part of host names are written \DDD.
 * False when it is malformed, or text with a NUL in it.
 */
bool record_text(struct arena *a, int type, struct str rdata,
	struct str *out);

/* May a question be asked for this name?  Labels of 1 to 63 printable octets
 * without backslash, 253 in all. */
bool record_is_name(struct str name);

#endif
