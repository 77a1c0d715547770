/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "sys.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/net.h"

#include <errno.h>
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

/* A listening socket whose queue is full: connections to it hang. */
static int
hole(struct net_address *at, int *fill, size_t n)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert(net_parse_ip(STR("127.0.0.1"), 0, at));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at->sa, at->n), 0);
	ck_assert_int_eq(listen(fd, 0), 0);
	*at = net_local(fd);
	for (size_t i = 0; i < n; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&at->sa, at->n);
	}
	return fd;
}

START_TEST(dial_the_first_that_answers)
{
	struct net_address to[4], list[2];
	int errors[4], fill[4];
	size_t n;
	ck_assert(net_parse_listen(STR("127.0.0.1:0"), list, &n));
	int l = net_listen(&list[0]), silent = hole(&to[0], fill, 4);
	int refused = net_listen(&list[0]);
	to[1] = net_local(refused);
	close(refused);
	to[2] = net_local(l);
	to[3] = to[2];
	struct net_dial d = {.to = to, .n = 4, .errors = errors,
		.stagger = 50, .patience = 5000};
	int fd = net_dial(&d);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(d.winner, 2);
	ck_assert_int_eq(errors[0], 0);
	ck_assert_int_eq(errors[1], ECONNREFUSED);
	struct net_address peer = net_peer(fd);
	ck_assert_int_eq(net_port(&peer), net_port(&to[2]));
	close(fd);
	/* Nobody answers. */
	d.n = 2;
	d.patience = 200;
	ck_assert_int_eq(net_dial(&d), -1);
	ck_assert_int_eq(errors[0], ETIMEDOUT);
	ck_assert_int_eq(errors[1], ECONNREFUSED);
	d.n = 0;
	ck_assert_int_eq(net_dial(&d), -1);
	/* From an address of ours, and from one that is not. */
	d.to = &to[2];
	d.n = 1;
	ck_assert(net_parse_ip(STR("127.0.0.5"), 0, &d.source4));
	fd = net_dial(&d);
	struct net_address here = net_local(fd);
	ck_assert(net_within(&here, STR("127.0.0.5")));
	close(fd);
	ck_assert(net_parse_ip(STR("192.0.2.1"), 0, &d.source4));
	ck_assert_int_eq(net_dial(&d), -1);
	ck_assert_int_eq(errors[0], EADDRNOTAVAIL);
	for (size_t i = 0; i < 4; i++)
		close(fill[i]);
	close(silent);
	close(l);
}
END_TEST

START_TEST(what_is_ours)
{
	struct net_address n;
	ck_assert(net_parse_ip(STR("127.0.0.1"), 25, &n));
	ck_assert(net_is_ours(&n));
	ck_assert(net_parse_ip(STR("198.51.100.7"), 25, &n));
	ck_assert(!net_is_ours(&n));
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
		dial_the_first_that_answers, what_is_ours, what_to_listen_on);
}
