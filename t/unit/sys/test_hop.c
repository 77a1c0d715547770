/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "sys/hop.h"

START_TEST(hops)
{
	static const struct {
		const char *text, *host;
		enum hop_kind kind;
		int port;
		bool lmtp, tls, ok;
	} rows[] = {
		{"direct", "", HOP_MX, 0, false, false, true},
		{"mx:example.org", "example.org", HOP_MX, 0, false, false,
			true},
		{"smtp:a.example", "a.example", HOP_HOST, 0, false, false,
			true},
		{"smtp:a.example:2525", "a.example", HOP_HOST, 2525, false,
			false, true},
		{"smtp:192.0.2.1:25", "192.0.2.1", HOP_HOST, 25, false, false,
			true},
		{"smtp:[2001:db8::1]:25", "2001:db8::1", HOP_HOST, 25, false,
			false, true},
		{"smtp:[2001:db8::1]", "2001:db8::1", HOP_HOST, 0, false,
			false, true},
		{"smtps:a", "a", HOP_HOST, 465, false, true, true},
		{"lmtp:a", "a", HOP_HOST, 24, true, false, true},
		{"lmtp:unix:sock", "sock", HOP_UNIX, 0, true, false, true},
		{"lmtp:unix:../sock", "", HOP_UNIX, 0, true, false, false},
		{"lmtp:unix:", "", HOP_UNIX, 0, true, false, false},
		{"smtp:", "", 0, 0, false, false, false},
		{"smtp:a:", "", 0, 0, false, false, false},
		{"smtp:a:0", "", 0, 0, false, false, false},
		{"smtp:a:70000", "", 0, 0, false, false, false},
		{"smtp:2001:db8::1", "", 0, 0, false, false, false},
		{"smtp:[a]", "", 0, 0, false, false, false},
		{"smtp:[::1", "", 0, 0, false, false, false},
		{"http:a", "", 0, 0, false, false, false},
		{"", "", 0, 0, false, false, false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct hop h;
		bool ok = hop_parse(str_from(rows[i].text), &h);
		ck_assert_msg(ok == rows[i].ok, "%s", rows[i].text);
		if (!ok)
			continue;
		ck_assert(str_eq(h.host, str_from(rows[i].host)));
		ck_assert_int_eq(h.kind, rows[i].kind);
		ck_assert_int_eq(h.port, rows[i].port);
		ck_assert(h.lmtp == rows[i].lmtp && h.tls == rows[i].tls);
	}
}
END_TEST

START_TEST(rules_by_fit)
{
	struct str list[] = {STR_INIT("* any"), STR_INIT(".example.org sub"),
		STR_INIT(".b.example.org deeper"),
		STR_INIT("example.org  domain with words "),
		STR_INIT("@example.net at"), STR_INIT("vip@example.org vip"),
		STR_INIT("")};
	struct str_list rules = {list, sizeof list / sizeof *list}, none = {0};
	static const char *const rows[][2] = {
		{"example.com", "any"}, {"a.example.org", "sub"},
		{"a.b.example.org", "deeper"}, {"b.example.org", "sub"},
		{"EXAMPLE.org", "domain with words"},
		{"x@example.org", "domain with words"},
		{"x@example.net", "at"}, {"Vip@Example.Org", "vip"},
		{"x@vip@example.org", "domain with words"}, {"", "any"}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str value;
		ck_assert(rule_find(rules, str_from(rows[i][0]), &value));
		ck_assert_msg(str_eq(value, str_from(rows[i][1])), "%s: %.*s",
			rows[i][0], STR_ARG(value));
		ck_assert(!rule_find(none, str_from(rows[i][0]), &value));
	}
}
END_TEST

/* What is no command's leaves the name as it was. */
START_TEST(rules_of_commands)
{
	struct str rows[] = {STR("a.b pipe:archive"), STR("c.d smtp:e.f:25")};
	struct str_list rules = {rows, 2};
	struct str name = STR("");
	ck_assert(!rule_pipe(rules, STR("x@c.d"), &name) && name.n == 0);
	ck_assert(!rule_pipe(rules, STR("x@e.f"), &name) && name.n == 0);
	ck_assert(rule_pipe(rules, STR("x@a.b"), &name));
	ck_assert(str_eq(name, STR("archive")));
}
END_TEST

START_TEST(rules_checked)
{
	ck_assert(rule_is_hop(STR("a.b direct")));
	ck_assert(!rule_is_hop(STR("a.b")));
	ck_assert(!rule_is_hop(STR("a.b direct now")));
	ck_assert(!rule_is_hop(STR("a.b nowhere")));
	ck_assert(rule_is_smarthost(STR("@a smtp:b")));
	ck_assert(rule_is_smarthost(STR("@a smtp:b user password")));
	ck_assert(!rule_is_smarthost(STR("@a smtp:b user")));
	ck_assert(rule_is_tls(STR("a dane")) && !rule_is_tls(STR("a b")));
	ck_assert(rule_is_source(STR("@a 192.0.2.1")));
	ck_assert(rule_is_source(STR("@a 192.0.2.1 2001:db8::1")));
	ck_assert(!rule_is_source(STR("@a 192.0.2.1 192.0.2.2")));
	ck_assert(!rule_is_source(STR("@a b")) && !rule_is_source(STR("")));
}
END_TEST

Suite *
suite_hop(void)
{
	return SUITE("hop", hops, rules_by_fit, rules_of_commands,
		rules_checked);
}
