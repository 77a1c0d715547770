/* SPDX-License-Identifier: ISC */
/* Views: compare, find, cut.  Everything here is bounded by the length. */
#include "base/str.h"
#include "base/arena.h"
#include "base/log.h"

#include <stdio.h>
#include <strings.h>

bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (char_lower(a.p[i]) != char_lower(b.p[i]))
			return false;
	return true;
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int order = n == 0 ? 0 : memcmp(a.p, b.p, n);
	if (order != 0 || a.n == b.n)
		return order;
	return a.n < b.n ? -1 : 1;
}

bool
str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq(str_head(s, prefix.n), prefix);
}

bool
str_starts_nocase(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq_nocase(str_head(s, prefix.n), prefix);
}

bool
str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && str_eq(str_skip(s, s.n - suffix.n), suffix);
}

bool
str_is_ascii(struct str s)
{
	unsigned char all = 0;
	for (size_t i = 0; i < s.n; i++)
		all |= (unsigned char)s.p[i];
	return all < 0x80;
}

size_t
str_find(struct str s, char c)
{
	const char *at = s.n == 0 ? NULL : memchr(s.p, c, s.n);
	return at == NULL ? s.n : (size_t)(at - s.p);
}

size_t
str_find_last(struct str s, char c)
{
	const char *at = s.n == 0 ? NULL : memrchr(s.p, c, s.n);
	return at == NULL ? s.n : (size_t)(at - s.p);
}

size_t
str_search(struct str s, struct str needle)
{
	if (needle.n == 0)
		return 0;
	const char *at =
		s.n == 0 ? NULL : memmem(s.p, s.n, needle.p, needle.n);
	return at == NULL ? s.n : (size_t)(at - s.p);
}

bool
str_has(struct str s, char c)
{
	return str_find(s, c) < s.n;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str
str_trim(struct str s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = str_skip(s, 1);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool
str_cut(struct str *s, char sep, struct str *piece)
{
	if (s->p == NULL)
		return false;
	size_t at = str_find(*s, sep);
	*piece = str_head(*s, at);
	if (at == s->n)
		*s = (struct str){NULL, 0};
	else
		*s = str_skip(*s, at + 1);
	return true;
}

bool
str_word(struct str *s, struct str *word)
{
	while (s->n > 0 && is_blank(s->p[0]))
		*s = str_skip(*s, 1);
	size_t n = 0;
	while (n < s->n && !is_blank(s->p[n]))
		n++;
	*word = str_head(*s, n);
	*s = str_skip(*s, n);
	return n > 0;
}

bool
str_number(struct str s, uint64_t max, uint64_t *value)
{
	uint64_t sum = 0;
	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		if (__builtin_mul_overflow(sum, 10, &sum) ||
			__builtin_add_overflow(sum, s.p[i] - '0', &sum))
			return false;
	}
	if (sum > max)
		return false;
	*value = sum;
	return true;
}

struct str
str_copy(struct arena *a, struct str s)
{
	return (struct str){arena_copy(a, s.p, s.n), s.n};
}

struct str
str_lower(struct arena *a, struct str s)
{
	char *copy = arena_copy(a, s.p, s.n);
	for (size_t i = 0; i < s.n; i++)
		copy[i] = char_lower(copy[i]);
	return (struct str){copy, s.n};
}

char *
str_cstr(struct arena *a, struct str s)
{
	char *copy = arena_alloc(a, s.n + 1);
	if (s.n > 0)
		memcpy(copy, s.p, s.n);
	return copy;
}

struct str
str_vprintf(struct arena *a, const char *fmt, va_list ap)
{
	char usual[256]; /* most are short: printed once, then copied */
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(usual, sizeof usual, fmt, again);
	va_end(again);
	if (n < 0)
		fatal("str_printf", fmt);
	if ((size_t)n < sizeof usual)
		return (struct str){
			arena_copy(a, usual, (size_t)n + 1), (size_t)n};
	char *text = arena_alloc(a, (size_t)n + 1);
	vsnprintf(text, (size_t)n + 1, fmt, ap);
	return (struct str){text, (size_t)n};
}

struct str
str_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	struct str s = str_vprintf(a, fmt, ap);
	va_end(ap);
	return s;
}

struct str
str_join(struct arena *a, struct str_list list, struct str sep)
{
	size_t n = 0;
	for (size_t i = 0; i < list.n; i++)
		n += list.v[i].n + (i > 0 ? sep.n : 0);
	char *text = arena_alloc(a, n), *to = text;
	for (size_t i = 0; i < list.n; i++) {
		if (i > 0 && sep.n > 0)
			to = mempcpy(to, sep.p, sep.n);
		if (list.v[i].n > 0)
			to = mempcpy(to, list.v[i].p, list.v[i].n);
	}
	return (struct str){text, n};
}

struct str
str_digits(char digits[STR_DIGITS], uint64_t number)
{
	size_t at = STR_DIGITS;
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	return (struct str){digits + at, STR_DIGITS - at};
}

struct str
str_decimal(struct arena *a, uint64_t number)
{
	char digits[STR_DIGITS];
	return str_copy(a, str_digits(digits, number));
}

uint64_t
str_hash(struct str s)
{
	uint64_t h = 0xcbf29ce484222325;
	for (size_t i = 0; i < s.n; i++)
		h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3;
	return h;
}

bool
str_eq_secret(struct str a, struct str b)
{
	unsigned char differ = 0;
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		differ |= (unsigned char)(a.p[i] ^ b.p[i]);
	return differ == 0;
}
