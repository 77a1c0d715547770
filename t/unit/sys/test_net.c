/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/net.h"

#include <unistd.h>

START_TEST(networks)
{
	static const struct {
		const char *ip, *network;
		bool within;
	} rows[] = {
		{"192.0.2.77", "192.0.2.0/24", true},
		{"192.0.3.1", "192.0.2.0/24", false},
		{"192.0.2.129", "192.0.2.128/25", true},
		{"192.0.2.127", "192.0.2.128/25", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "0.0.0.0/0", true},
		{"2001:db8::1", "2001:db8::/32", true},
		{"2001:db9::1", "2001:db8::/32", false},
		{"::ffff:127.0.0.1", "127.0.0.0/8", true},
		{"127.0.0.1", "::1", false},
		{"127.0.0.1", "127.0.0.0/33", false},
		{"127.0.0.1", "localhost", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct net_address n;
		ck_assert(net_parse_ip(str_from(rows[i].ip), 25, &n));
		ck_assert_msg(net_within(&n, str_from(rows[i].network)) ==
			rows[i].within, "%s in %s", rows[i].ip,
			rows[i].network);
	}
}
END_TEST

START_TEST(kinds_of_addresses)
{
	struct net_address n;
	ck_assert(net_parse_ip(STR("127.8.0.1"), 0, &n));
	ck_assert(net_is_loopback(&n) && net_is_private(&n));
	ck_assert(net_parse_ip(STR("10.1.2.3"), 0, &n));
	ck_assert(!net_is_loopback(&n) && net_is_private(&n));
	ck_assert(net_parse_ip(STR("8.8.8.8"), 0, &n));
	ck_assert(!net_is_private(&n));
	ck_assert(!net_parse_ip(STR("example.org"), 0, &n));
	ck_assert(!net_parse_ip(STR("127.0.0.1\0"), 0, &n));
	ck_assert(!net_parse_ip(STR(""), 0, &n));
}
END_TEST

START_TEST(listen_and_connect)
{
	struct arena *a = arena_new("test");
	struct net_address list[2];
	size_t n;
	ck_assert(net_parse_listen(STR("127.0.0.1:0"), list, &n));
	ck_assert_uint_eq(n, 1);
	int l = net_listen(&list[0]);
	ck_assert_int_ge(l, 0);
	struct net_address here = net_local(l);
	int c = net_connect(&here, NULL, clock_in(1000));
	ck_assert_int_ge(c, 0);
	struct net_address peer = net_peer(c);
	ck_assert_int_eq(net_port(&peer), net_port(&here));
	ck_assert_view(net_ip(a, &peer), "127.0.0.1");
	close(c);
	close(l);
	ck_assert_int_eq(net_connect(&here, NULL, clock_in(1000)), -1);
	arena_free(a);
}
END_TEST

START_TEST(what_to_listen_on)
{
	struct net_address list[2];
	size_t n;
	ck_assert(net_parse_listen(STR("*:25"), list, &n));
	ck_assert_uint_eq(n, 2);
	ck_assert(net_parse_listen(STR("[::1]:25"), list, &n));
	ck_assert_int_eq(net_port(&list[0]), 25);
	ck_assert(net_parse_listen(STR("/run/x"), list, &n));
	ck_assert(!net_parse_listen(STR("25"), list, &n));
	ck_assert(!net_parse_listen(STR("host:25"), list, &n));
	ck_assert(!net_parse_listen(STR("*:70000"), list, &n));
}
END_TEST

Suite *
suite_net(void)
{
	return SUITE("net", networks, kinds_of_addresses, listen_and_connect,
		what_to_listen_on);
}
