/* SPDX-License-Identifier: ISC */
/* Fuzz entry of numbers and durations: what is taken is what a person reading
 * the digits would say, and never more than the bound. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The digits without leading zeros; false for anything else. */
static bool
significant(struct str s, struct str *digits)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	*digits = s;
	while (digits->n > 1 && digits->p[0] == '0')
		*digits = str_skip(*digits, 1);
	return s.n > 0;
}

static void
check_number(struct arena *a, struct str s, uint64_t most)
{
	uint64_t value = 4711;
	struct str digits, limit = str_printf(a, "%llu",
		(unsigned long long)most);
	bool good = significant(s, &digits) && (digits.n < limit.n ||
		(digits.n == limit.n && str_cmp(digits, limit) <= 0));
	assert(str_number(s, most, &value) == good);
	if (!good)
		assert(value == 4711);
	else
		assert(str_eq(digits, str_printf(a, "%llu",
			(unsigned long long)value)));
}

static void
check_duration(struct str s)
{
	static const int64_t units[] = {1, 60, 3600, 86400, 604800};
	int64_t seconds = -1;
	uint64_t n;
	struct str unit = s.n > 0 ? str_skip(s, s.n - 1) : STR("");
	size_t at = str_search(STR("smhdw"), unit);
	if (!clock_parse_duration(s, &seconds)) {
		assert(seconds == -1);
		return;
	}
	assert(seconds >= 0 && s.n > 0);
	if (at < 5)
		s = str_head(s, s.n - 1);
	assert(str_number(s, UINT64_MAX, &n));
	assert((int64_t)n * units[at < 5 ? at : 0] == seconds);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint64_t bounds[] = {0, 1, 9, 10, 255, 999, UINT32_MAX,
		INT64_MAX, UINT64_MAX};
	struct arena *a = arena_new("fuzz");
	struct str s = str_of(data, n);
	for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
		check_number(a, s, bounds[i]);
	check_duration(s);
	arena_free(a);
	return 0;
}
