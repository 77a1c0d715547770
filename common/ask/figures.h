/* SPDX-License-Identifier: ISC */
/*
 * figures: what a program counts of its own work, told to the operator on
 * demand: the question is service with the verb "figures", the answer a
 * figure_row for each figure and done.
 *
 * A counter begins at 0 with the process.  To count costs an addition; nothing
 * is kept, sorted or sent before somebody asks.
 */
#ifndef ASK_FIGURES_H
#define ASK_FIGURES_H

#include "base/str.h"

#include <stdint.h>

struct arena;
struct message;
struct peer;

/* From a millisecond to five days, as they matter to people who wait. */
enum { HISTOGRAM_BOUNDS = 14 };

struct histogram {
	int64_t count, sum; /* of microseconds */
	int64_t in[HISTOGRAM_BOUNDS]; /* above the bound before, up to its own */
};

/* A time of so many microseconds; of a clock that was set back it is 0. */
void histogram_note(struct histogram *h, int64_t us);

/* labels: "name=value" texts, a blank between, as the program itself knows
 * them; never a stranger's. */
void figure_tell(struct peer *p, struct str name, struct str labels,
	int64_t value);
void figure_tell_histogram(struct peer *p, struct arena *a, struct str name,
	struct str labels, const struct histogram *h);

/* The end of the answer; to any other verb than "figures" it is a refusal,
 * and true says to tell the figures first. */
bool figures_wanted(const struct message *m);
void figures_end(struct peer *p, const struct message *m);

#endif
