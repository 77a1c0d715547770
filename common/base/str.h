/* SPDX-License-Identifier: ISC */
/*
 * str: text as a view, a pointer and a length in octets.
 *
 * A view does not own what it shows and is not NUL-terminated: NUL is data,
 * each grammar says whether it allows it.  Views into an input buffer hold
 * until the next read; to keep one, copy it to an arena.  NUL-terminated
 * strings live only at the border to system calls (str_cstr).
 *
 * Case-insensitive means ASCII letters only; Unicode is the business of
 * mail/charset.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct arena;

struct str {
	const char *p;
	size_t n;
};

/* A list of views; the array belongs to whoever's arena made it. */
struct str_list {
	struct str *v;
	size_t n;
};

/* From a literal, usable in static tables; from a C string; from parts. */
#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_INIT(literal) {"" literal, sizeof(literal) - 1}

static inline struct str
str_from(const char *cstr)
{
	return (struct str){cstr, cstr == NULL ? 0 : strlen(cstr)};
}

static inline struct str
str_of(const void *p, size_t n)
{
	return (struct str){(const char *)p, n};
}

/* For printf: "%.*s", STR_ARG(s).  Lengths past INT_MAX show nothing. */
#define STR_ARG(s) ((s).n > 0x7fffffff ? 0 : (int)(s).n), \
	((s).p == NULL ? "" : (s).p)

static inline bool
str_is_empty(struct str s)
{
	return s.n == 0;
}

bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b);
/* Octet order, shorter first when one begins the other; as memcmp. */
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
/* No octet above 127. */
bool str_is_ascii(struct str s);

/* Index of the first (last) such octet, or s.n when there is none. */
size_t str_find(struct str s, char c);
size_t str_find_last(struct str s, char c);
/* Index of the first occurrence of needle, or s.n.  Empty needle: 0. */
size_t str_search(struct str s, struct str needle);
bool str_has(struct str s, char c);

/* The first n octets; all but the first n; both stop at the end. */
static inline struct str
str_head(struct str s, size_t n)
{
	return (struct str){s.p, n < s.n ? n : s.n};
}

static inline struct str
str_skip(struct str s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return (struct str){n == 0 ? s.p : s.p + n, s.n - n};
}

/* Without spaces and tabs (and CR, LF) at both ends. */
struct str str_trim(struct str s);

/*
 * Takes what stands before the first sep off the front of *s and the sep
 * with it; the rest stays in *s.  Without a sep takes all.  False when *s
 * had nothing left (so a loop ends), except that "a," yields "a" and "".
 */
bool str_cut(struct str *s, char sep, struct str *piece);

/* Cuts one run of non-blank octets; false when only blanks are left. */
bool str_word(struct str *s, struct str *word);

/*
 * A whole decimal number without sign, at most max; anything else, an empty
 * view included, is false and leaves *value alone.
 */
bool str_number(struct str s, uint64_t max, uint64_t *value);

/* The copy belongs to the arena. */
struct str str_copy(struct arena *a, struct str s);
struct str str_lower(struct arena *a, struct str s);
/* NUL-terminated copy; a view with a NUL inside is cut there: check first
 * where it comes from strangers (str_has(s, 0)). */
char *str_cstr(struct arena *a, struct str s);
struct str str_printf(struct arena *a, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
struct str str_vprintf(struct arena *a, const char *fmt, va_list ap);
/* All pieces one after the other. */
struct str str_join(struct arena *a, struct str_list list, struct str sep);
/* The texts named, without what printf costs where it is done for every
 * message. */
#define str_concat(a, ...) \
	str_join((a), (struct str_list){(struct str[]){__VA_ARGS__}, \
		sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str)}, \
		STR(""))
struct str str_decimal(struct arena *a, uint64_t number);
/* The same at the end of digits, which the result points into. */
enum { STR_DIGITS = 20 };
struct str str_digits(char digits[STR_DIGITS], uint64_t number);

/* FNV-1a: the same in every process and forever, fit to be stored. */
uint64_t str_hash(struct str s);

/* Constant time in the contents; lengths are no secret. */
bool str_eq_secret(struct str a, struct str b);

static inline char
char_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static inline char
char_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

#endif
