/* SPDX-License-Identifier: ISC */
/* Dates; the civil-day arithmetic counts in years that begin in March, so
 * that the leap day is the last of its year. */
#include "mail/date.h"
#include "base/arena.h"

enum { DAY = 86400, DAYS_400 = 146097, YEAR_MOST = 9999 };

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char days[] = "SunMonTueWedThuFriSat";

static int64_t
day_number(int64_t year, int month, int day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t yoe = year - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * DAYS_400 + doe - 719468;
}

int64_t
date_from_day(int64_t year, int month, int day)
{
	return day_number(year, month, day) * DAY;
}

static int64_t
floor_div(int64_t n, int64_t by)
{
	return n / by - (n % by < 0);
}

struct date_parts
date_split(struct date d)
{
	int64_t local = d.seconds + d.zone * 60;
	int64_t number = floor_div(local, DAY), rest = local - number * DAY;
	int64_t z = number + 719468, era = floor_div(z, DAYS_400);
	int64_t doe = z - era * DAYS_400;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	struct date_parts p = {
		.day = (int)(doy - (153 * mp + 2) / 5 + 1),
		.month = (int)(mp < 10 ? mp + 3 : mp - 9),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
		.weekday = (int)(number + 4 - floor_div(number + 4, 7) * 7),
	};
	p.year = yoe + era * 400 + (p.month <= 2);
	return p;
}

/* ------------------------------------------------------------- reading */

static bool
find_name(struct str word, const char *names, int count, int *index)
{
	for (int i = 0; i < count; i++) {
		if (!str_starts_nocase(word, str_of(names + i * 3, 3)))
			continue;
		*index = i;
		return true;
	}
	return false;
}

/* Words of a date: separated by blanks and commas, comments dropped. */
static bool
next_word(struct str *s, struct str *word)
{
	int depth = 0;
	size_t i = 0;
	for (; i < s->n; i++) {
		char c = s->p[i];
		if (c == '(')
			depth++;
		else if (c == ')' && depth > 0)
			depth--;
		else if (depth == 0 && c != ' ' && c != '\t' && c != ',' &&
			c != '\r' && c != '\n')
			break;
	}
	*s = str_skip(*s, i);
	for (i = 0; i < s->n; i++)
		if (str_has(STR(" \t,\r\n("), s->p[i]))
			break;
	*word = str_head(*s, i);
	*s = str_skip(*s, i);
	return i > 0;
}

static bool
parse_number(struct str s, int64_t most, int64_t *n)
{
	uint64_t value;
	if (s.n > 6 || !str_number(s, (uint64_t)most, &value))
		return false;
	*n = (int64_t)value;
	return true;
}

/* "17:00" or "17:00:59" */
static bool
parse_clock(struct str s, int64_t *seconds)
{
	struct str part;
	int64_t n[3] = {0, 0, 0};
	static const int most[3] = {23, 59, 60};
	int count = 0;
	for (; count < 3 && str_cut(&s, ':', &part); count++)
		if (!parse_number(part, most[count], &n[count]))
			return false;
	*seconds = n[0] * 3600 + n[1] * 60 + n[2];
	return count >= 2 && s.p == NULL;
}

/* "+0700": minutes east. */
static bool
parse_offset(struct str s, int *zone)
{
	int64_t n;
	if (s.n != 5 || (s.p[0] != '+' && s.p[0] != '-') ||
		!parse_number(str_skip(s, 1), 2359, &n) || n % 100 >= 60)
		return false;
	*zone = (int)(n / 100 * 60 + n % 100);
	if (s.p[0] == '-')
		*zone = -*zone;
	return true;
}

/* An offset, or one of RFC 5322 4.3's names; unknown names mean UTC. */
static int
parse_zone(struct str s)
{
	static const struct {
		const char *name;
		int hours;
	} names[] = {{"EDT", -4}, {"EST", -5}, {"CDT", -5}, {"CST", -6},
		{"MDT", -6}, {"MST", -7}, {"PDT", -7}, {"PST", -8}};
	int zone = 0;
	if (parse_offset(s, &zone))
		return zone;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq_nocase(s, str_from(names[i].name)))
			return names[i].hours * 60;
	return 0;
}

static bool
is_day_of(int64_t year, int month, int64_t day)
{
	static const int lengths[] = {
		31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
	return day >= 1 && day <= lengths[month - 1] + (leap && month == 2);
}

static bool
assemble(int64_t year, int month, int64_t day, int64_t clock, int zone,
	struct date *out)
{
	if (!is_day_of(year, month, day))
		return false;
	out->seconds = date_from_day(year, month, (int)day) + clock - zone * 60;
	out->zone = zone;
	return true;
}

/* RFC 5322 4.3: two digits are 1950..2049, three count from 1900. */
static int64_t
whole_year(int64_t year, size_t digits)
{
	if (digits >= 4)
		return year;
	if (digits == 3)
		return year + 1900;
	return year < 50 ? year + 2000 : year + 1900;
}

bool
date_parse(struct str s, struct date *out)
{
	struct str word, year_word;
	int64_t day, year, clock = 0;
	int month, weekday;
	if (!next_word(&s, &word))
		return false;
	if (find_name(word, days, 7, &weekday) && !next_word(&s, &word))
		return false;
	/* ctime's order puts the month first: "Nov 23 17:00:00 2026". */
	bool ctime = find_name(word, months, 12, &month);
	if (ctime && !next_word(&s, &word))
		return false;
	if (!parse_number(word, 31, &day))
		return false;
	if (!ctime && (!next_word(&s, &word) ||
		!find_name(word, months, 12, &month)))
		return false;
	if (ctime && (!next_word(&s, &word) || !parse_clock(word, &clock)))
		return false;
	if (!next_word(&s, &year_word) ||
		!parse_number(year_word, YEAR_MOST, &year))
		return false;
	if (!ctime && next_word(&s, &word) && !parse_clock(word, &clock))
		return false;
	int zone = next_word(&s, &word) ? parse_zone(word) : 0;
	return assemble(whole_year(year, year_word.n), month + 1, day, clock,
		zone, out);
}

/* "23-Nov-2026" */
static bool
parse_dashed(struct str s, int64_t *year, int *month, int64_t *day)
{
	struct str part[3];
	for (int i = 0; i < 3; i++)
		if (!str_cut(&s, '-', &part[i]))
			return false;
	if (s.p != NULL || part[1].n != 3 || part[2].n != 4 ||
		!find_name(part[1], months, 12, month))
		return false;
	(*month)++;
	return parse_number(str_trim(part[0]), 31, day) &&
		parse_number(part[2], YEAR_MOST, year) &&
		is_day_of(*year, *month, *day);
}

bool
date_parse_day(struct str s, int64_t *seconds)
{
	int64_t year, day;
	int month;
	if (!parse_dashed(s, &year, &month, &day))
		return false;
	*seconds = date_from_day(year, month, (int)day);
	return true;
}

bool
date_parse_imap(struct str s, struct date *out)
{
	int64_t year, day, clock;
	int month, zone;
	/* "dd-Mon-yyyy hh:mm:ss +zzzz", always 26 octets */
	if (s.n != 26 || s.p[11] != ' ' || s.p[20] != ' ')
		return false;
	return parse_dashed(str_head(s, 11), &year, &month, &day) &&
		parse_clock(str_head(str_skip(s, 12), 8), &clock) &&
		parse_offset(str_skip(s, 21), &zone) &&
		assemble(year, month, day, clock, zone, out);
}

/* ------------------------------------------------------------- writing */

static char *
put_two(char *to, int n)
{
	*to++ = (char)('0' + n / 10 % 10);
	*to++ = (char)('0' + n % 10);
	return to;
}

static char *
put_clock(char *to, const struct date_parts *p, int zone)
{
	*to++ = ' ';
	to = put_two(to, p->hour);
	*to++ = ':';
	to = put_two(to, p->minute);
	*to++ = ':';
	to = put_two(to, p->second);
	*to++ = ' ';
	*to++ = zone < 0 ? '-' : '+';
	zone = zone < 0 ? -zone : zone;
	return put_two(put_two(to, zone / 60), zone % 60);
}

/* By hand, as below: each message taken has one.  But for years nobody
 * writes. */
struct str
date_format(struct arena *a, struct date d)
{
	enum { LONGEST = sizeof "Tue, 13 Nov 2026 17:00:00 +0000" - 1 };
	struct date_parts p = date_split(d);
	char clock[sizeof " 17:00:00 +0000"] = "", *text, *to;
	put_clock(clock, &p, d.zone);
	if (p.year < 0 || p.year > 9999)
		return str_printf(a, "%.3s, %d %.3s %04lld%s",
			days + p.weekday * 3, p.day, months + (p.month - 1) * 3,
			(long long)p.year, clock);
	text = to = arena_alloc(a, LONGEST + 1);
	to = mempcpy(mempcpy(to, days + p.weekday * 3, 3), ", ", 2);
	if (p.day >= 10)
		*to++ = (char)('0' + p.day / 10);
	*to++ = (char)('0' + p.day % 10);
	*to++ = ' ';
	to = mempcpy(to, months + (p.month - 1) * 3, 3);
	*to++ = ' ';
	to = put_two(put_two(to, (int)p.year / 100), (int)p.year);
	to = mempcpy(to, clock, sizeof clock - 1);
	return str_of(text, (size_t)(to - text));
}

/* By hand: listing a mailbox writes one for each message.  The grammar has
 * four digits for the year. */
struct str
date_format_imap(struct arena *a, struct date d)
{
	enum { LENGTH = sizeof " 3-Nov-2026 17:00:00 +0000" - 1 };
	struct date_parts p = date_split(d);
	int year = p.year < 0 ? 0 : p.year > 9999 ? 9999 : (int)p.year;
	char *text = arena_alloc(a, LENGTH), *to = put_two(text, p.day);
	if (text[0] == '0')
		text[0] = ' ';
	*to++ = '-';
	to = mempcpy(to, months + (p.month - 1) * 3, 3);
	*to++ = '-';
	put_clock(put_two(put_two(to, year / 100), year), &p, d.zone);
	return str_of(text, LENGTH);
}
