/* SPDX-License-Identifier: ISC */
#ifndef UNIT_IMAPD_H
#define UNIT_IMAPD_H

#include "imapd/parse.h"

#include <check.h>

Suite *suite_parse(void);
Suite *suite_seqset(void);
Suite *suite_section(void);
Suite *suite_flags(void);
Suite *suite_search(void);
Suite *suite_match(void);
Suite *suite_resync(void);
Suite *suite_sort(void);
Suite *suite_thread(void);
Suite *suite_url(void);
Suite *suite_deflate(void);

/*
 * A command as a client sends it, line ends and literals and all, as a source
 * for the parser; the first line is what parse_begin gets.
 */
struct script {
	struct str rest;
	size_t continuations; /* how often a waiting client was let go on */
	uint64_t skipped;
};
struct parse_source script_source(struct script *s);
bool script_line(void *ctx, struct str *line);

#endif
