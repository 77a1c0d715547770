/* SPDX-License-Identifier: ISC */
/* What libunbound says, as the asker hears it. */
#include "suites.h"
#include "base/arena.h"
#include "resolve/resolve.h"

static struct message
answer(struct arena *a, const char *type, const struct ub_result *res)
{
	struct message m;
	question_answer(a, &m, STR("mail.test"),
		type[0] == 'A' ? 1 : 15, res);
	ck_assert_int_eq(m.kind, MSG_dns_answer);
	return m;
}

START_TEST(rcodes)
{
	static const struct {
		struct ub_result res;
		const char *rcode;
		int secure;
	} rows[] = {
		{{.rcode = 0}, "noerror", 0},
		{{.rcode = 0, .secure = 1}, "noerror", 1},
		{{.rcode = 3, .nxdomain = 1, .secure = 1}, "nxdomain", 1},
		{{.rcode = 3}, "nxdomain", 0},
		{{.rcode = 2}, "servfail", 0},
		{{.rcode = 5}, "servfail", 0},
		/* What is bogus is never secure, whatever else is said. */
		{{.rcode = 2, .bogus = 1, .secure = 1}, "bogus", 0},
		{{.rcode = 0, .bogus = 1}, "bogus", 0},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct message m = answer(a, "A", &rows[i].res);
		ck_assert(str_eq(m.dns_answer.rcode,
			str_from(rows[i].rcode)));
		ck_assert_int_eq(m.dns_answer.secure, rows[i].secure);
		ck_assert_uint_eq(m.dns_answer.records.n, 0);
		ck_assert_view(m.dns_answer.canonical, "mail.test");
	}
	struct message none = answer(a, "A", NULL);
	ck_assert_view(none.dns_answer.rcode, "servfail");
	arena_free(a);
}
END_TEST

START_TEST(records)
{
	char good[] = {127, 0, 0, 1}, bad[] = {1, 2, 3};
	char *data[] = {bad, good, good, NULL};
	int len[] = {3, 4, -5};
	char canonical[] = "www.Example.org.";
	struct ub_result res = {.havedata = 1, .data = data, .len = len,
		.canonname = canonical, .ttl = 300};
	struct arena *a = arena_new("test");
	struct message m = answer(a, "A", &res);
	ck_assert_view(m.dns_answer.rcode, "noerror");
	ck_assert_view(m.dns_answer.canonical, "www.Example.org");
	ck_assert_int_eq(m.dns_answer.ttl, 300);
	ck_assert_uint_eq(m.dns_answer.records.n, 1);
	ck_assert_view(m.dns_answer.records.v[0], "127.0.0.1");
	/* Nothing but garbage is no proof of absence. */
	len[1] = 1;
	m = answer(a, "A", &res);
	ck_assert_view(m.dns_answer.rcode, "servfail");
	arena_free(a);
}
END_TEST

Suite *suite_answer(void);

Suite *
suite_answer(void)
{
	return SUITE("answer", rcodes, records);
}
