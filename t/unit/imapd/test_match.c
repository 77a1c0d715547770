/* SPDX-License-Identifier: ISC */
/* Patterns, by rows and against a plain recursive matcher. */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/match.h"

struct row {
	const char *pattern, *name;
	bool matches;
};

static const struct row rows[] = {
	{"*", "", true},
	{"%", "", true},
	{"", "a", false},
	{"*", "a/b/c", true},
	{"%", "a/b", false},
	{"%/%", "a/b", true},
	{"%/%", "a/b/c", false},
	{"a*c", "a/b/c", true},
	{"a%c", "abc", true},
	{"a%c", "a/c", false},
	{"*%", "a/b", true},
	{"%*", "a/b", true},
	{"a/*", "a", false},
	{"a/%", "a/", true},
	{"inbox", "INBOX", true},
	{"iNb%", "INBOX", true},
	{"inbox/x", "INBOX/x", true},
	{"inbox/X", "INBOX/x", false},
	{"*ox", "INBOX", true},
	{"inboxes", "INBOXES", false},
	{"INBOXES", "INBOXES", true},
	{"a", "A", false},
	{"**%%**x", "yyx", true},
};

START_TEST(by_rows)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(match_name(str_from(rows[i].pattern),
				      str_from(rows[i].name)) ==
				      rows[i].matches,
			"%s %s", rows[i].pattern, rows[i].name);
}
END_TEST

static bool
plain(const char *p, const char *n)
{
	if (*p == '\0')
		return *n == '\0';
	if (*p != '*' && *p != '%')
		return *p == *n && plain(p + 1, n + 1);
	return plain(p + 1, n) ||
	       (*n != '\0' && (*p == '*' || *n != '/') && plain(p, n + 1));
}

/* The ith word of at most six of these letters. */
static void
spell(unsigned i, const char *letters, char word[8])
{
	size_t n = 0, base = strlen(letters);
	for (; i > 0 && n < 7; i /= (unsigned)base)
		word[n++] = letters[i % base];
	word[n] = '\0';
}

START_TEST(as_plainly)
{
	char pattern[8], name[8];
	for (unsigned i = 0; i < 1024; i++) {
		spell(i, "a/*%", pattern);
		for (unsigned k = 0; k < 243; k++) {
			spell(k, "ab/", name);
			ck_assert_msg(match_name(str_from(pattern),
					      str_from(name)) ==
					      plain(pattern, name),
				"%s %s", pattern, name);
		}
	}
}
END_TEST

/* What is long is looked at in pieces of 64. */
START_TEST(long_ones_too)
{
	char pattern[160], name[160];
	memset(pattern, 'a', sizeof pattern);
	memset(name, 'a', sizeof name);
	for (size_t before = 58; before < 68; before++)
		for (unsigned i = 0; i < 1024; i++)
			for (unsigned k = 0; k < 81; k++) {
				spell(i, "a/*%", pattern + before);
				spell(k, "ab/", name + before);
				ck_assert_msg(match_name(str_from(pattern),
						      str_from(name)) ==
						      plain(pattern, name),
					"%s %s", pattern, name);
			}
}
END_TEST

START_TEST(hostile_patterns_take_no_time)
{
	static char pattern[MATCH_PATTERN_MOST], name[1000];
	memset(pattern, '*', sizeof pattern);
	for (size_t i = 1; i < sizeof pattern; i += 2)
		pattern[i] = 'a';
	memset(name, 'a', sizeof name);
	ck_assert(!match_name(str_of(pattern, sizeof pattern),
		str_of(name, sizeof name - 1)));
	ck_assert(!match_name(
		str_of(pattern, sizeof pattern), STR("aaaaaaaaaa")));
	ck_assert(match_name(str_of(pattern, 1001), str_of(name, 1000)));
}
END_TEST

Suite *
suite_match(void)
{
	return SUITE("match", by_rows, as_plainly, long_ones_too,
		hostile_patterns_take_no_time);
}
