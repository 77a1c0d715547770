/* SPDX-License-Identifier: ISC */
/*
 * section: which octets of a message a client asks for, BODY[...]<...> (RFC
 * 3501 6.4.5 and 9, section-spec).
 */
#ifndef IMAPD_SECTION_H
#define IMAPD_SECTION_H

#include "parse.h"

struct buf;

enum section_kind {
	SECTION_ALL,
	SECTION_HEADER,
	SECTION_FIELDS,     /* the fields named */
	SECTION_FIELDS_NOT, /* all others */
	SECTION_TEXT,
	SECTION_MIME,
};

/* Which word the section stands behind; all but BODY are of parts alone (RFC
 * 3516). */
enum section_form {
	SECTION_BODY,
	SECTION_BINARY, /* without its transfer encoding */
	SECTION_SIZE,   /* how long that is */
};

enum { SECTION_DEPTH = 100 };

struct section {
	uint32_t *path; /* part numbers from the outermost in */
	size_t depth;
	enum section_kind kind;
	enum section_form form;
	struct str_list fields;
	bool peek;
	bool partial;
	uint64_t from, most; /* octets, if partial */
};

/*
 * Reads BODY[...], BODY.PEEK[...], BINARY[...], BINARY.PEEK[...],
 * BINARY.SIZE[...] with the list and the end that may follow as further
 * arguments, and moves *arg past them.  False with *arg unmoved
 * when it does not begin so; false with why set when it begins so and goes
 * on wrongly.
 */
bool section_parse(struct arena *a, const struct arg **arg, struct section *out,
	const char **why);

/* Can it be answered from the fields the index has (facts_keeps)? */
bool section_is_kept(const struct section *s);

/* "BODY[1.HEADER.FIELDS (From)]<0>", "BINARY[1]", as a response names it. */
void section_print(const struct section *s, struct buf *out);

#endif
