/* SPDX-License-Identifier: ISC */
/* Fuzz entry of dates: what was understood is the same moment when written
 * and read again. */
#include "base/arena.h"
#include "mail/date.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str text = str_of(data, n);
	struct date d, again;
	int64_t day;
	bool ok = date_parse(text, &d) || date_parse_imap(text, &d);
	int64_t year = ok ? date_split(d).year : 0;
	if (ok && year >= 1000 && year <= 9999) {
		assert(date_parse(date_format(a, d), &again));
		assert(again.seconds == d.seconds && again.zone == d.zone);
		assert(date_parse_imap(date_format_imap(a, d), &again));
		assert(again.seconds == d.seconds && again.zone == d.zone);
	}
	if (date_parse_day(text, &day))
		assert(day % 86400 == 0);
	arena_free(a);
	return 0;
}
