/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "imapd_suites.h"
#include "imapd/result.h"
#include "imapd/seqset.h"
#include "imapd/sort.h"
#include "base/arena.h"
#include "base/buf.h"

static struct arg *
parse(struct arena *a, const char *text)
{
	static struct script none;
	static const struct parse_limits limits = {100, 10, 100, 100};
	struct parse_source source = script_source(&none);
	struct parse p;
	struct arg *args;
	parse_begin(&p, a, &source, &limits, str_from(text));
	ck_assert(parse_args(&p, &args));
	return args;
}

static const struct message_row messages[] = {
	{.uid = 1, .modseq = 7, .date = 30, .sent = 10, .size = 5, .sort_from = STR_INIT("B"),
		.sort_subject = STR_INIT("LONGER THAN EIGHT"),
		.display_to = STR_INIT("Z")},
	{.uid = 2, .modseq = 9, .date = 20, .sent = 10, .size = 7, .sort_from = STR_INIT(""),
		.sort_subject = STR_INIT("LONGER THAN EIGHU")},
	{.uid = 3, .date = 10, .sent = -5, .size = 6,
		.sort_from = STR_INIT("A"),
		.sort_subject = STR_INIT("LONGER T")},
	{.uid = 4, .date = 30, .sent = 20, .size = 6,
		.sort_from = STR_INIT("A\xcc\x88"), .sort_subject = {NULL, 0},
		.display_to = STR_INIT("Y")},
};

static const struct {
	const char *keys, *order; /* NULL: refused */
} rows[] = {
	{"(ARRIVAL)", "3,2,1,4"},
	{"(reverse arrival)", "1,4,2:3"},
	{"(DATE)", "3,1:2,4"},
	{"(REVERSE DATE)", "4,1:3"},
	{"(DATE REVERSE SIZE)", "3,2,1,4"},
	{"(SIZE)", "1,3:4,2"},
	{"(SIZE REVERSE ARRIVAL)", "1,4,3,2"},
	{"(FROM)", "2:4,1"},
	{"(REVERSE FROM)", "1,4,3,2"},
	{"(SUBJECT)", "4,3,1:2"},
	{"(REVERSE SUBJECT)", "2,1,3:4"},
	{"(TO CC DISPLAYFROM DISPLAYTO)", "2:4,1"},
	{"(SIZE SIZE SIZE REVERSE SIZE SIZE SIZE SIZE SIZE SIZE SIZE SIZE)",
		"1,3:4,2"},
	{"()", NULL},
	{"SIZE", NULL},
	{"(REVERSE)", NULL},
	{"(SIZE REVERSE)", NULL},
	{"(REVERSE REVERSE SIZE)", NULL},
	{"(COLOUR)", NULL},
	{"((SIZE))", NULL},
	{"(\"SIZE\")", NULL},
};

START_TEST(orders)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		struct sort_order order;
		bool fine = sort_parse(parse(a, rows[i].keys), &order);
		ck_assert_msg(fine == (rows[i].order != NULL), "%s",
			rows[i].keys);
		struct sorting q;
		struct result r = {0};
		struct buf *out = buf_new(a);
		sort_begin(&q, a, &order, 0);
		for (size_t k = 0; fine && k < 4; k++)
			sort_add(&q, &messages[k]);
		const struct sort_entry *v = sort_run(&q);
		for (size_t k = 0; k < q.n; k++) {
			ck_assert_uint_eq(sort_modseq(&q, &v[k]),
				messages[v[k].uid - 1].modseq);
			result_add(a, &r, v[k].uid, 1);
		}
		seqset_print(&r.order, out);
		ck_assert_msg(!fine || str_eq(buf_str(out),
			str_from(rows[i].order)), "%s: %.*s", rows[i].keys,
			STR_ARG(buf_str(out)));
		arena_free(a);
	}
}
END_TEST

/* Thousands, against the C library: texts with a common beginning of any length,
 * numbers of both signs, many equal. */
static int
by_expectation(const void *x, const void *y)
{
	const struct message_row *a = x, *b = y;
	int d = str_cmp(a->sort_subject, b->sort_subject);
	if (d != 0)
		return -d;
	if (a->sent != b->sent)
		return a->sent < b->sent ? -1 : 1;
	return a->uid < b->uid ? -1 : 1;
}

START_TEST(many)
{
	enum { N = 5000 };
	struct arena *a = arena_new("test");
	struct sort_order order;
	struct sorting q;
	struct message_row *made = arena_array(a, N, sizeof *made);
	uint64_t r = 1;
	ck_assert(sort_parse(parse(a, "(REVERSE SUBJECT DATE)"), &order));
	sort_begin(&q, a, &order, 10);
	for (uint32_t i = 0; i < N; i++) {
		r = r * 6364136223846793005 + 1442695040888963407;
		char *text = arena_array(a, 20, 1);
		size_t n = r >> 33 & 15;
		memset(text, 'A', n);
		if (n > 0)
			text[n - 1] = (char)("\x01 B\xff"[r >> 40 & 3]);
		made[i] = (struct message_row){.uid = i + 1,
			.sent = (int64_t)(r >> 44 & 7) - 4,
			.sort_subject = str_of(text, n)};
		sort_add(&q, &made[i]);
	}
	const struct sort_entry *v = sort_run(&q);
	qsort(made, N, sizeof *made, by_expectation);
	for (size_t i = 0; i < N; i++)
		ck_assert_uint_eq(v[i].uid, made[i].uid);
	arena_free(a);
}
END_TEST

/* Of the order 5, 6, 7, 2, 9, 3 with modseqs 50, 60, ... */
static const struct {
	const char *options; /* NULL in the next: refused */
	const char *part, *saved;
	uint64_t modseq;
} picks[] = {
	{"RETURN ()", "", "2:3,5:7,9", 90},
	{"RETURN (SAVE)", "", "2:3,5:7,9", 90},
	{"RETURN (MIN)", "", "5", 50},
	{"RETURN (max save)", "", "3", 30},
	{"RETURN (MAX MIN)", "", "3,5", 50},
	{"RETURN (MIN COUNT)", "", "2:3,5:7,9", 90},
	{"RETURN (MIN ALL)", "", "2:3,5:7,9", 90},
	{"RETURN (PARTIAL 1:2)", "5:6", "5:6", 90},
	{"RETURN (PARTIAL 4:2)", "6:7,2", "2,6:7", 90},
	{"RETURN (PARTIAL 3:3 MAX)", "7", "3,7", 90},
	{"RETURN (PARTIAL 3:3 COUNT)", "7", "2:3,5:7,9", 90},
	{"RETURN (PARTIAL 6:4294967295)", "3", "3", 90},
	{"RETURN (PARTIAL 7:8)", "", "", 90},
	{"RETURN (PARTIAL -1:-2)", "9,3", "3,9", 90},
	{"RETURN (PARTIAL -5:-5)", "6", "6", 90},
	{"RETURN (PARTIAL -4294967295:-6)", "5", "5", 90},
	{"RETURN (PARTIAL -7:-9)", "", "", 90},
	{"RETURN (PARTIAL 1:2 ALL)", NULL, NULL, 0},
	{"RETURN (PARTIAL 1:2 PARTIAL 1:2)", NULL, NULL, 0},
	{"RETURN (PARTIAL)", NULL, NULL, 0},
	{"RETURN (PARTIAL 1)", NULL, NULL, 0},
	{"RETURN (PARTIAL 0:1)", NULL, NULL, 0},
	{"RETURN (PARTIAL -1:1)", NULL, NULL, 0},
	{"RETURN (PARTIAL 1:-1)", NULL, NULL, 0},
	{"RETURN (PARTIAL 1:*)", NULL, NULL, 0},
	{"RETURN (PARTIAL 1:2:3)", NULL, NULL, 0},
	{"RETURN (CONTEXT)", NULL, NULL, 0},
	{"RETURN ALL", NULL, NULL, 0},
	{"RETURN", NULL, NULL, 0},
};

static void
check_set(struct arena *a, const struct uid_set *set, const char *want,
	const char *what)
{
	struct buf *out = buf_new(a);
	seqset_print(set, out);
	ck_assert_msg(str_eq(buf_str(out), str_from(want)), "%s: %.*s", what,
		STR_ARG(buf_str(out)));
}

START_TEST(options)
{
	static const uint32_t order[] = {5, 6, 7, 2, 9, 3};
	for (size_t i = 0; i < sizeof picks / sizeof *picks; i++) {
		struct arena *a = arena_new("test");
		struct result r = {0};
		const struct arg *args = parse(a, picks[i].options);
		bool fine = result_parse(&args, &r.options);
		ck_assert_msg(fine == (picks[i].part != NULL), "%s",
			picks[i].options);
		for (size_t k = 0; k < 6; k++)
			result_add(a, &r, order[k], order[k] * 10);
		if (fine) {
			struct uid_set saved = result_saved(a, &r), part = {0};
			if (r.options.items & RESULT_PARTIAL)
				part = partial_pick(a, &r.order,
					&r.options.partial);
			check_set(a, &saved, picks[i].saved, picks[i].options);
			check_set(a, &part, picks[i].part, picks[i].options);
			ck_assert_uint_eq(result_modseq(&r), picks[i].modseq);
			ck_assert_ptr_null(args);
		}
		arena_free(a);
	}
}
END_TEST

Suite *
suite_sort(void)
{
	Suite *s = suite_create("sort");
	TCase *t = tcase_create("sort");
	tcase_add_test(t, orders);
	tcase_add_test(t, many);
	tcase_add_test(t, options);
	suite_add_tcase(s, t);
	return s;
}
