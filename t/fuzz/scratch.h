/* SPDX-License-Identifier: ISC */
/*
 * scratch: a home with a Maildir for entries whose sessions have one, and
 * files in memory for what goes into a session and comes out.
 */
#ifndef FUZZ_SCRATCH_H
#define FUZZ_SCRATCH_H

#include "base/str.h"

struct arena;

/* A new home below TMPDIR, or /tmp; in INBOX/new what texts say, up to NULL.
 * The path is valid until it is removed. */
struct str scratch_home(const char *const *texts);
void scratch_remove(void);

/* A descriptor of its own to read text from; *keep: the file, which serves
 * again (-1 at first). */
int scratch_file(int *keep, struct str text);
/* All that was written to it. */
struct str scratch_text(struct arena *a, int keep);

#endif
