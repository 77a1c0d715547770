/* SPDX-License-Identifier: ISC */
/* Clocks. */
#include "base/clock.h"

#include <limits.h>
#include <time.h>

static int64_t
now_us(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t
clock_ms(void)
{
	return now_us(CLOCK_BOOTTIME) / 1000;
}

int64_t
clock_us(void)
{
	return now_us(CLOCK_BOOTTIME);
}

int64_t
clock_wall(void)
{
	return now_us(CLOCK_REALTIME) / 1000000;
}

int64_t
clock_wall_us(void)
{
	return now_us(CLOCK_REALTIME);
}

int
clock_left(int64_t deadline)
{
	if (deadline == CLOCK_FOREVER)
		return -1;
	int64_t left = deadline - clock_ms();
	if (left < 0)
		return 0;
	return left > INT_MAX ? INT_MAX : (int)left;
}

bool
clock_parse_duration(struct str s, int64_t *seconds)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400},
		{'w', 7 * 86400}};
	int64_t unit = 1;
	uint64_t n;
	if (s.n == 0)
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (s.p[s.n - 1] == units[i].unit) {
			unit = units[i].seconds;
			s.n--;
			break;
		}
	}
	if (!str_number(s, 1000000000, &n))
		return false;
	*seconds = (int64_t)n * unit;
	return true;
}
