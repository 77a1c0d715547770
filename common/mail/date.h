/* SPDX-License-Identifier: ISC */
/*
 * date: times on paper: RFC 5322 3.3 (and what mailers made of it), IMAP's
 * date-time and date (RFC 3501 9).  Proleptic Gregorian arithmetic on 64-bit
 * seconds since 1970; the system's time zone plays no part.
 */
#ifndef MAIL_DATE_H
#define MAIL_DATE_H

#include "base/str.h"

struct arena;

struct date {
	int64_t seconds; /* since 1970, UTC */
	int zone; /* minutes east of UTC in which it was written */
};

/* Field by field, in the date's own zone. */
struct date_parts {
	int64_t year;
	int month, day; /* 1.. */
	int hour, minute, second;
	int weekday; /* 0 is Sunday */
};

struct date_parts date_split(struct date d);
/* Seconds since 1970 of a day at 00:00 UTC. */
int64_t date_from_day(int64_t year, int month, int day);

/* "Mon, 23 Nov 2026 17:00:00 +0000", obsolete forms and two-digit years
 * included; false for what cannot be understood. */
bool date_parse(struct str s, struct date *out);

/* "Mon, 23 Nov 2026 17:00:00 +0000" */
struct str date_format(struct arena *a, struct date d);

/* " 3-Nov-2026 17:00:00 +0000", and back (the leading blank or digit). */
struct str date_format_imap(struct arena *a, struct date d);
bool date_parse_imap(struct str s, struct date *out);

/* "3-Nov-2026" of SEARCH: the first second of that day, UTC. */
bool date_parse_day(struct str s, int64_t *seconds);

#endif
