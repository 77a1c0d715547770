/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "deliver_suites.h"
#include "remote.h"
#include "base/arena.h"

#include <stdlib.h>

START_TEST(row17_mx_records)
{
	static const struct {
		const char *record, *name;
		unsigned preference;
	} rows[] = {{"10 mx.example.org", "mx.example.org", 10},
		{"0 MX.Example.ORG.", "mx.example.org", 0}, {"0 .", ".", 0},
		{"65535 a", "a", 65535}, {"65536 a", NULL, 0},
		{"x a", NULL, 0}, {"10", NULL, 0}, {"", NULL, 0},
		{"-1 a", NULL, 0}};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct host h;
		bool ok = route_parse_mx(a, str_from(rows[i].record), &h);
		ck_assert_msg(ok == (rows[i].name != NULL), "%s",
			rows[i].record);
		if (!ok)
			continue;
		ck_assert(str_eq(h.name, str_from(rows[i].name)));
		ck_assert_uint_eq(h.preference, rows[i].preference);
	}
	arena_free(a);
}
END_TEST

START_TEST(row22_by_preference)
{
	size_t first[3] = {0};
	srandom(1);
	for (int turn = 0; turn < 600; turn++) {
		struct host h[6] = {{.name = STR_INIT("a"), .preference = 10},
			{.name = STR_INIT("b"), .preference = 10},
			{.name = STR_INIT("c"), .preference = 10},
			{.name = STR_INIT("d"), .preference = 5},
			{.name = STR_INIT("e"), .preference = 70},
			{.name = STR_INIT("f"), .preference = 30}};
		route_sort(h, 6);
		ck_assert_view(h[0].name, "d");
		ck_assert_view(h[4].name, "f");
		ck_assert_view(h[5].name, "e");
		first[h[1].name.p[0] - 'a']++;
	}
	for (int i = 0; i < 3; i++)
		ck_assert_msg(first[i] > 120, "%zu of 600", first[i]);
	route_sort(NULL, 0);
}
END_TEST

static bool
is_self(const char *listen, const char *ip, int port)
{
	struct str spec = str_from(listen), own = STR("192.0.2.77");
	struct conf c = {.listen.smtp = {&spec, 1},
		.remote.own_addresses = {&own, 1}};
	struct net_address at;
	ck_assert(net_parse_ip(str_from(ip), port, &at));
	return route_is_self(&c, &at);
}

START_TEST(who_we_are)
{
	ck_assert(is_self("127.0.0.1:25", "127.0.0.1", 25));
	ck_assert(!is_self("127.0.0.1:25", "127.0.0.1", 26));
	ck_assert(!is_self("127.0.0.1:25", "127.0.0.2", 25));
	ck_assert(is_self("*:25", "127.0.0.2", 25));
	ck_assert(!is_self("*:25", "198.51.100.1", 25));
	ck_assert(!is_self("[::1]:25", "127.0.0.1", 25));
	ck_assert(is_self("[::1]:25", "::1", 25));
	ck_assert(!is_self("/run/x", "127.0.0.1", 25));
	ck_assert(is_self("127.0.0.1:25", "192.0.2.77", 25));
}
END_TEST

START_TEST(policies)
{
	struct route r = {.tls = TLS_OPPORTUNISTIC};
	struct host h = {.count = 1};
	struct job j = {.looked = true};
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_OPPORTUNISTIC);
	h.dane = true;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_DANE);
	j.tls_optional = true;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_OPPORTUNISTIC);
	r.tls = TLS_DANE;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_DANE);
	h.dane = j.tls_optional = false;
	r.tls = TLS_NONE;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_NONE);
	r.implicit_tls = true;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_REQUIRED);
	/* Of a report it is wished, of others demanded (RFC 8689 5). */
	j.m.requiretls = 1;
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_REQUIRED);
	j.m.sender = STR("a@b.test");
	ck_assert_int_eq(secure_policy(&r, &h, &j), TLS_VERIFIED);
}
END_TEST

Suite *
suite_route(void)
{
	return SUITE("route", row17_mx_records, row22_by_preference, who_we_are, policies);
}
