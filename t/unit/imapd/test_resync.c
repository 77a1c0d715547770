/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/resync.h"
#include "base/arena.h"

static bool
parse(struct arena *a, const char *text, struct resync *r)
{
	static struct script none;
	static const struct parse_limits limits = {100, 10, 100, 100};
	struct parse_source source = script_source(&none);
	struct parse p;
	struct arg *args;
	parse_begin(&p, a, &source, &limits, str_from(text));
	ck_assert(parse_args(&p, &args));
	return resync_parse(a, args, r);
}

static const char *const refused[] = {
	"()", "(1)", "x", "(0 1)", "(1 0)", "(1 -1)", "(4294967296 1)",
	"(1 9223372036854775808)", "(1 1 *)", "(1 1 1:*)", "(1 1 0)",
	"(1 1 ())", "(1 1 (1))", "(1 1 (1 2 3))", "(1 1 (1:2 1))",
	"(1 1 (1 *))", "(1 1 (() ()))", "(1 1 1 1)", "(1 1 1 (1 1) 1)",
	"(1 1 $)",
};

START_TEST(parameters)
{
	struct arena *a = arena_new("test");
	struct resync r;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		ck_assert_msg(!parse(a, refused[i], &r), "%s", refused[i]);
	ck_assert(parse(a, "(7 9)", &r));
	ck_assert(r.wanted && r.all && r.uidvalidity == 7 && r.modseq == 9);
	ck_assert(parse(a, "(7 9 41:211,1)", &r));
	ck_assert(!r.all && uid_set_count(&r.known) == 172);
	ck_assert(parse(a, "(7 9 (1,5:6 2:3,9))", &r));
	ck_assert(r.all && r.match_seqs.n == 2 && r.match_uids.n == 2);
	ck_assert(parse(a, "(7 9 1 (1 1))", &r));
	arena_free(a);
}
END_TEST

/* A mailbox in which every third UID is left. */
static uint32_t
every_third(const void *ctx, uint32_t seq)
{
	ck_assert_uint_ge(seq, 1);
	ck_assert_uint_le(seq, *(const uint32_t *)ctx);
	return seq * 3;
}

START_TEST(matches)
{
	static const struct {
		const char *text;
		uint32_t best;
	} rows[] = {
		{"(1 1)", 0},
		{"(1 1 (1 1))", 0},
		{"(1 1 (1 3))", 3},
		{"(1 1 (1:3 3,6,9))", 9},
		{"(1 1 (1:3 3,6,10))", 6},
		{"(1 1 (5,7,9 15,21,28))", 21},
		{"(1 1 (5000,9990:9991 15000,29970,29973))", 29973},
		{"(1 1 (10000 30000))", 30000},
		{"(1 1 (10001 30003))", 0},
		/* what follows a pair that is wrong may be right again */
		{"(1 1 (1,2 4,6))", 6},
		{"(1 1 (1:4294967295 1:4294967295))", 0},
		{"(1 1 (1:4294967293 3:4294967295))", 3},
	};
	const uint32_t count = 10000;
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct resync r;
		ck_assert_msg(parse(a, rows[i].text, &r), "%s", rows[i].text);
		ck_assert_uint_eq(resync_match(&r, count, every_third, &count),
			rows[i].best);
	}
	arena_free(a);
}
END_TEST

Suite *
suite_resync(void)
{
	Suite *s = suite_create("resync");
	TCase *t = tcase_create("resync");
	tcase_add_test(t, parameters);
	tcase_add_test(t, matches);
	suite_add_tcase(s, t);
	return s;
}
