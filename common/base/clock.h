/* SPDX-License-Identifier: ISC */
/*
 * clock: durations and deadlines by CLOCK_BOOTTIME, dates by CLOCK_REALTIME.
 *
 * A deadline is a point of the boot clock in milliseconds, so that setting
 * the wall clock ends no session.  CLOCK_FOREVER never comes.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/str.h"

#define CLOCK_FOREVER INT64_MAX

/* Milliseconds (microseconds) since boot. */
int64_t clock_ms(void);
int64_t clock_us(void);

/* Seconds (microseconds) since 1970, by the wall clock. */
int64_t clock_wall(void);
int64_t clock_wall_us(void);

static inline int64_t
clock_in(int64_t ms)
{
	return clock_ms() + ms;
}

/* Milliseconds until the deadline for poll(2): at least 0, -1 for never. */
int clock_left(int64_t deadline);

/* "90", "90s", "5m", "4h", "5d", "2w" to seconds; false for anything else. */
bool clock_parse_duration(struct str s, int64_t *seconds);

#endif
