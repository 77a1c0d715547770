/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/ipc.h"

#include <sys/socket.h>
#include <unistd.h>

static struct auth *
begin(struct arena *a, const char *conf)
{
	struct auth *x = test_auth(a, conf, "alice:{PLAIN}a\n", "");
	x->limits = limits_new(a);
	x->rooms = rooms_new(a, x->loop);
	return x;
}

START_TEST(blocks)
{
	static const struct {
		const char *one, *other;
		bool same;
	} rows[] = {
		{"192.0.2.1", "192.0.2.254", true},
		{"192.0.2.1", "192.0.3.1", false},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"::ffff:192.0.2.1", "192.0.2.9", true},
		{"127.0.0.1", "127.0.0.9", true},
		{"nonsense", "unix", true},
	};
	struct arena *a = arena_new("test");
	const struct auth *x = begin(a, "limit { exempt = {} }");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(str_eq(limits_block(x, a, str_from(rows[i].one)),
			limits_block(x, a, str_from(rows[i].other))) ==
			rows[i].same, "row %zu", i);
	ck_assert_uint_eq(limits_block(x, a, STR("unix")).n, 0);
	x = begin(a, "limit { exempt = {192.0.2.0/28} ipv4_block = 30 }");
	ck_assert_uint_eq(limits_block(x, a, STR("192.0.2.15")).n, 0);
	ck_assert_uint_gt(limits_block(x, a, STR("192.0.2.16")).n, 0);
	ck_assert(str_eq(limits_block(x, a, STR("192.0.2.16")),
		limits_block(x, a, STR("192.0.2.19"))));
	ck_assert(!str_eq(limits_block(x, a, STR("192.0.2.16")),
		limits_block(x, a, STR("192.0.2.20"))));
	arena_free(a);
}
END_TEST

START_TEST(connections)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "limit { connections = 3 }");
	struct str block = limits_block(x, a, STR("192.0.2.1"));
	struct str other = limits_block(x, a, STR("192.0.9.1"));
	for (int i = 0; i < 3; i++)
		ck_assert(status_is_fine(limits_enter(x, block)));
	struct status st = limits_enter(x, block);
	ck_assert_int_eq(status_reply_code(st), 421);
	ck_assert(status_is_fine(limits_enter(x, other)));
	limits_leave(x, block, 0);
	ck_assert(status_is_fine(limits_enter(x, block)));
	ck_assert(!status_is_fine(limits_enter(x, block)));
	/* without a block nothing limits */
	for (int i = 0; i < 100; i++)
		ck_assert(status_is_fine(limits_enter(x, STR(""))));
	arena_free(a);
}
END_TEST

/* Who was too slow waits; its errors and logins are another thing. */
START_TEST(slow)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "limit { pause = 1 }\n"
		"imap { max_processes = 9 }");
	struct str block = limits_block(x, a, STR("192.0.2.1"));
	limits_slow(x, block);
	ck_assert_int_eq(status_reply_code(limits_enter(x, block)), 421);
	/* there are workers enough; then there are not */
	ck_assert(status_is_fine(limits_admit(x, block, POOL_IMAP)));
	limits_count(x, POOL_IMAP, 8);
	ck_assert(!status_is_fine(limits_admit(x, block, POOL_IMAP)));
	ck_assert(status_is_fine(limits_admit(x,
		limits_block(x, a, STR("192.0.9.1")), POOL_IMAP)));
	limits_slow(x, STR(""));
	ck_assert(status_is_fine(limits_enter(x, STR(""))));
	usleep(1100 * 1000);
	ck_assert(status_is_fine(limits_admit(x, block, POOL_IMAP)));
	ck_assert(status_is_fine(limits_enter(x, block)));
	arena_free(a);
}
END_TEST

START_TEST(rates)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "limit { connection_rate = 600 "
		"recipient_rate = 10 error_rate = 5 connections = 1000 }");
	struct str block = limits_block(x, a, STR("192.0.2.1"));
	int taken = 0;
	int64_t start = clock_ms();
	while (taken < 1000 && status_is_fine(limits_enter(x, block)))
		taken++;
	ck_assert_int_ge(taken, 600);
	ck_assert_int_le(taken, 600 + (clock_ms() - start) / 100 + 1);
	/* ten a second leak out */
	int64_t deadline = clock_in(60000);
	while (!status_is_fine(limits_enter(x, block)))
		ck_assert_int_gt(clock_left(deadline), 0);
	for (int i = 0; i < 10; i++)
		ck_assert(status_is_fine(limits_recipient(x, block)));
	ck_assert_int_eq(limits_recipient(x, block).class, STATUS_LATER);
	/* errors: the whole block waits */
	block = limits_block(x, a, STR("192.0.3.1"));
	ck_assert(status_is_fine(limits_enter(x, block)));
	limits_leave(x, block, 4);
	ck_assert(status_is_fine(limits_enter(x, block)));
	limits_leave(x, block, 4);
	ck_assert_int_eq(status_reply_code(limits_enter(x, block)), 421);
	arena_free(a);
}
END_TEST

START_TEST(accounts)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "limit { account_rate = 20 "
		"sender_rate = 10 }");
	int64_t start = clock_ms();
	for (int i = 0; i < 10; i++)
		ck_assert(status_is_fine(limits_account(x, STR("alice"),
			STR("alice@example.test"))));
	ck_assert_int_eq(limits_account(x, STR("alice"),
		STR("alice@example.test")).class, STATUS_LATER);
	/* another account has its own; this one has another sender */
	ck_assert(status_is_fine(limits_account(x, STR("bob"),
		STR("bob@example.test"))));
	int taken = 0;
	while (status_is_fine(limits_account(x, STR("alice"),
		str_printf(a, "sales%d@example.test", taken))))
		taken++;
	/* eleven were asked for before, and some leaked out since */
	ck_assert_int_ge(taken, 9);
	ck_assert_int_le(taken, 9 + (clock_ms() - start) / 3000 + 1);
	arena_free(a);
}
END_TEST

START_TEST(bounded)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "auth { ban_after = 2 }");
	for (int i = 0; i < 250000; i++) {
		struct arena_mark m = arena_mark(a);
		struct str ip = str_printf(a, "10.%d.%d.1", i / 256 % 256,
			i % 256);
		struct str name = str_printf(a, "user%d", i);
		limits_login_failed(x, limits_block(x, a, ip), name);
		limits_passed(x, name);
		arena_rewind(a, m);
	}
	ck_assert(limits_is_known(x, STR("user249999")));
	arena_free(a);
}
END_TEST

START_TEST(delays_grow)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "auth { failure_delay = 1s }");
	struct str block = limits_block(x, a, STR("192.0.2.1"));
	static const int64_t want[] = {1, 2, 4, 8, 16, 16, 16};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++)
		ck_assert_int_eq(limits_login_failed(x, block, STR("alice")),
			want[i] * 1000);
	ck_assert_int_eq(limits_login_failed(x, STR(""), STR("bob")), 1000);
	arena_free(a);
}
END_TEST

/* ------------------------------------------- through the conversation */

static const struct peer_row rows[] = {
	{MSG_client, PEER_SMTPD, client_message},
};

static struct msg_client_result
ask(struct auth *x, struct arena *a, int fd, const char *verb)
{
	struct message m = MESSAGE(client);
	m.client.verb = str_from(verb);
	m.client.ip = STR("192.0.2.1");
	ck_assert_int_eq(ipc_send(&ask_messages, fd, &m), IPC_OK);
	int64_t deadline = clock_in(60000);
	while (ipc_recv_wait(&ask_messages, fd, a, &m, clock_in(1)) != IPC_OK) {
		loop_turn(x->loop, 10);
		ck_assert_int_gt(clock_left(deadline), 0);
	}
	return m.client_result;
}

/* An smtpd that dies leaves no connection counted. */
START_TEST(the_dead_leave)
{
	struct arena *a = arena_new("test");
	struct auth *x = begin(a, "limit { connections = 1 }\n"
		"smtp { max_processes = 4 }");
	int one[2], two[2];
	x->loop = loop_new(a);
	x->peers = (struct peers){.loop = x->loop, .rows = rows, .count = 1,
		.ctx = x, .on_close = caller_closed};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, one), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, two), 0);
	peers_take(&x->peers, one[0], PEER_SMTPD);
	peers_take(&x->peers, two[0], PEER_SMTPD);
	struct msg_client_result r = ask(x, a, one[1], "enter");
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	ck_assert_int_eq(r.busy, 25);
	ck_assert_uint_ge(r.mechanisms.n, 2);
	r = ask(x, a, two[1], "enter");
	ck_assert_int_eq(r.status.class, STATUS_LATER);
	ck_assert_int_eq(r.busy, 25);
	close(one[1]);
	for (int i = 0; i < 10; i++)
		loop_turn(x->loop, 0);
	r = ask(x, a, two[1], "enter");
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	/* entering again leaves first */
	r = ask(x, a, two[1], "enter");
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	ck_assert_int_eq(ask(x, a, two[1], "poll").busy, 25);
	close(two[1]);
	for (int i = 0; i < 10; i++)
		loop_turn(x->loop, 0);
	ck_assert_int_eq(limits_busy(x, POOL_SMTP), 0);
	arena_free(a);
}
END_TEST

Suite *
suite_limits(void)
{
	return SUITE("limits", blocks, connections, slow, rates, accounts, bounded,
		delays_grow, the_dead_leave);
}
