/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "sys/policy.h"
#include "sys/table_ref.h"

START_TEST(good_rules)
{
	static const struct {
		const char *rule;
		enum policy_action action;
		size_t conditions;
		const char *text;
	} rows[] = {
		{"accept", POLICY_ACCEPT, 0, ""},
		{"reject : Go away", POLICY_REJECT, 0, "Go away"},
		{"reject: Go away: now", POLICY_REJECT, 0, "Go away: now"},
		{"Reject if client in 192.0.2.0/24, 2001:db8::/32, ::1",
			POLICY_REJECT, 1, ""},
		{"defer if reverse is unknown and not authenticated: Fix it",
			POLICY_DEFER, 2, "Fix it"},
		{"hold if sender is *@example.com, <>", POLICY_HOLD, 1, ""},
		{"redirect to a@b.test if listed at least 3 and tls",
			POLICY_REDIRECT, 2, ""},
		{"accept if authenticated as alice, bob", POLICY_ACCEPT, 1,
			""},
		{"reject if recipient in text:/etc/x, pcre:/etc/y: No",
			POLICY_REJECT, 1, "No"},
		{"reject if sender in sqlite:/db SELECT a, b FROM t WHERE k=?1",
			POLICY_REJECT, 1, ""},
		{"reject if client in socketmap:inet:[::1]:99:bad, cidr:/c",
			POLICY_REJECT, 1, ""},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct policy_rule r;
		const char *wrong = policy_parse(
			a, str_from(rows[i].rule), &r);
		ck_assert_msg(wrong == NULL, "%s: %s", rows[i].rule, wrong);
		ck_assert_int_eq(r.action, rows[i].action);
		ck_assert_uint_eq(r.count, rows[i].conditions);
		ck_assert(str_eq(r.text, str_from(rows[i].text)));
		ck_assert(str_eq(r.source, str_from(rows[i].rule)));
	}
	struct policy_rule r;
	ck_assert_ptr_null(policy_parse(a, STR("redirect to x@y.test if "
		"listed at least 3 and not sender is a@b.test , *.c"), &r));
	ck_assert_view(r.target, "x@y.test");
	ck_assert_int_eq(r.conditions[0].least, 3);
	ck_assert(r.conditions[1].negated && !r.conditions[0].negated);
	ck_assert_uint_eq(r.conditions[1].values.n, 2);
	ck_assert_view(r.conditions[1].values.v[0], "a@b.test");
	arena_free(a);
}
END_TEST

START_TEST(bad_rules)
{
	static const struct {
		const char *rule, *wrong;
	} rows[] = {
		{"", "a rule begins"},
		{"refuse", "a rule begins"},
		{"accept when tls", "if is missing"},
		{"accept if", "a condition begins"},
		{"accept if moon is full", "a condition begins"},
		{"accept if not", "a condition begins"},
		{"accept if tls and", "nothing comes behind"},
		{"accept if tls now", "nothing comes behind"},
		{"accept if client 10.0.0.1", "is or in"},
		{"accept if client is", "a value is missing"},
		{"accept if client is 10.0.0.1,", "a value is missing"},
		{"accept if client is example.org", "a client is"},
		{"accept if client is 10.0.0.0/33", "a client is"},
		{"accept if sender is text:relative", "that is not how"},
		{"accept if listed 3", "listed, or"},
		{"accept if listed at least many", "listed, or"},
		{"accept if authenticated alice", "authenticated, or"},
		{"redirect if tls", "redirect to"},
		{"redirect to nobody if tls", "redirect to"},
		{"reject:", "nothing stands"},
		{"reject: na\xc3\xafve", "the text must"},
		{"accept if tls and tls and tls and tls and tls and tls and "
			"tls and tls and tls", "too many conditions"},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct policy_rule r;
		const char *wrong = policy_parse(
			a, str_from(rows[i].rule), &r);
		ck_assert_msg(wrong != NULL &&
			str_starts(str_from(wrong), str_from(rows[i].wrong)),
			"%s: %s", rows[i].rule, wrong);
	}
	arena_free(a);
}
END_TEST

START_TEST(patterns)
{
	static const struct {
		const char *text, *pattern;
		bool matches;
	} rows[] = {
		{"a", "a", true}, {"A", "a", true}, {"a", "b", false},
		{"", "", true}, {"", "*", true}, {"", "**", true},
		{"abc", "a*c", true}, {"abc", "a*b", false},
		{"mail.example.org", "*.example.org", true},
		{"example.org", "*.example.org", false},
		{"a@example.org", "*@example.org", true},
		{"aXbXc", "*x*x*", true}, {"aaaaab", "*a*a*b", true},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
			"*a*a*a*a*a*a*a*a*b", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(policy_matches(str_from(rows[i].text),
			str_from(rows[i].pattern)) == rows[i].matches,
			"row %zu", i);
}
END_TEST

START_TEST(table_refs)
{
	static const struct {
		const char *text;
		bool good;
		enum table_type type;
		const char *path, *rest;
	} rows[] = {
		{"text:/etc/x", true, TABLE_TEXT, "/etc/x", ""},
		{"pcre:/etc/x y", true, TABLE_PCRE, "/etc/x y", ""},
		{"cidr:x", false, TABLE_CIDR, "", ""},
		{"sqlite:/db SELECT v FROM t WHERE k = ?1", true,
			TABLE_SQLITE, "/db", "SELECT v FROM t WHERE k = ?1"},
		{"sqlite:/db", false, TABLE_SQLITE, "", ""},
		{"sqlite:/db DELETE FROM t", false, TABLE_SQLITE, "", ""},
		{"socketmap:unix:/s:map", true, TABLE_SOCKETMAP, "/s", "map"},
		{"socketmap:inet:127.0.0.1:99:map", true, TABLE_SOCKETMAP, "",
			"map"},
		{"socketmap:inet:[::1]:99:map", true, TABLE_SOCKETMAP, "",
			"map"},
		{"socketmap:inet:localhost:99:map", false, TABLE_SOCKETMAP,
			"", ""},
		{"socketmap:unix:/s", false, TABLE_SOCKETMAP, "", ""},
		{"hash:/etc/x", false, TABLE_TEXT, "", ""},
		{"/etc/x", false, TABLE_TEXT, "", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct table_ref r;
		ck_assert_msg(table_ref_parse(str_from(rows[i].text), &r) ==
			rows[i].good, "%s", rows[i].text);
		if (!rows[i].good)
			continue;
		ck_assert_int_eq(r.type, rows[i].type);
		ck_assert(str_eq(r.path, str_from(rows[i].path)));
		struct str rest = r.type == TABLE_SQLITE ? r.query : r.map;
		ck_assert(rest.n == 0 || str_eq(rest, str_from(rows[i].rest)));
	}
}
END_TEST

Suite *
suite_policy(void)
{
	return SUITE("policy", good_rules, bad_rules, patterns, table_refs);
}
