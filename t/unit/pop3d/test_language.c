/* SPDX-License-Identifier: ISC */
/* RFC 4647 3.4 (lookup), and that every text is there in every language. */
#include "suites.h"
#include "pop3d/language.h"
#include "pop3d_suites.h"
#include "base/arena.h"
#include "mail/charset.h"

static const struct {
	const char *range, *tag;
} ranges[] = {
	{"en", "en"},
	{"*", "i-default"},
	{"i-default", "i-default"},
	{"DE", "de"},
	{"de-AT-1996", "de"},
	{"fr-x-strange", "fr"},
	{"es-419", "es"},
	{"x-es", NULL},
	{"tlh", NULL},
	{"deutsch", NULL},
	{"", NULL},
	{"-", NULL},
	{"--", NULL},
	{"de-", "de"},
	{"e", NULL},
};

START_TEST(finds)
{
	const struct language *l = language_find(str_from(ranges[_i].range));
	ck_assert_msg((l == NULL) == (ranges[_i].tag == NULL), "%s",
		ranges[_i].range);
	if (l != NULL)
		ck_assert_str_eq(l->tag, ranges[_i].tag);
}
END_TEST

static size_t
count(struct str s, char c)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

START_TEST(whole)
{
	struct arena *a = arena_new("test");
	const struct language *l;
	/* Numbers that no text has by itself. */
	uint64_t numbers[] = {7777777, 7777777};
	for (size_t i = 0; (l = language_nth(i)) != NULL; i++)
		for (int t = SAY_NOTHING + 1; t < SAY_COUNT; t++) {
			struct buf *out = buf_new(a), *first = buf_new(a);
			language_say(l, (enum say)t, numbers, out);
			language_say(
				language_nth(0), (enum say)t, numbers, first);
			ck_assert_msg(out->n > 0, "%s %d", l->tag, t);
			ck_assert(charset_is_utf8(buf_str(out)));
			ck_assert_int_eq(count(buf_str(out), '#'), 0);
			ck_assert_int_eq(count(buf_str(out), '7'),
				count(buf_str(first), '7'));
			/* RFC 2449 4: 512 octets with all that goes before. */
			ck_assert_int_lt((int)out->n, 200);
		}
	arena_free(a);
}
END_TEST

Suite *
suite_language(void)
{
	Suite *s = suite_create("language");
	TCase *c = tcase_create("language");
	tcase_add_loop_test(c, finds, 0, sizeof ranges / sizeof *ranges);
	tcase_add_test(c, whole);
	suite_add_tcase(s, c);
	return s;
}
