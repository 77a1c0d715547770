/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/ipc.h"

#include <sys/socket.h>
#include <unistd.h>

static struct auth *x;
static int client = -1; /* our end of the conversation */

static const struct peer_row rows[] = {
	{MSG_auth_step, PEER_SMTPD, login_step},
};

static void
begin(struct arena *a)
{
	int pair[2];
	/* the password is "secret" */
	x = test_auth(a, "general { domains = {example.org} }\n"
		"auth { failure_delay = 0 hash_workers = 1 }",
		"alice:{PLAIN}secret\n"
		"off:{PLAIN}secret::::::disabled\n", "sales: alice\n");
	x->loop = loop_new(a);
	x->cache = map_new(a);
	x->hashers = hashers_fork(x->program, 1);
	hashers_start(x->hashers, x->loop);
	x->tables_checked = CLOCK_FOREVER / 2;
	x->peers = (struct peers){.loop = x->loop, .rows = rows, .count = 1,
		.ctx = x, .on_close = login_closed};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	peers_take(&x->peers, pair[0], PEER_SMTPD);
	client = pair[1];
}

static void
end(struct arena *a)
{
	close(client);
	for (int i = 0; i < 10; i++)
		loop_turn(x->loop, 0);
	arena_free(a);
}

static void
say(const char *mechanism, struct str response, bool tls, const char *ip)
{
	struct message m = MESSAGE(auth_step);
	m.auth_step.session = STR("session");
	m.auth_step.service = STR("submission");
	m.auth_step.mechanism = str_from(mechanism);
	m.auth_step.response = response;
	m.auth_step.client = str_from(ip);
	m.auth_step.tls = tls;
	ck_assert_int_eq(ipc_send(&ask_messages, client, &m), IPC_OK);
}

/* False when auth closed the conversation instead. */
static bool
hear(struct arena *a, struct msg_auth_result *out)
{
	int64_t deadline = clock_in(60000);
	struct message m;
	for (;;) {
		loop_turn(x->loop, 10);
		enum ipc_result r = ipc_recv_wait(
			&ask_messages, client, a, &m, clock_in(1));
		if (r == IPC_OK)
			break;
		if (r != IPC_AGAIN)
			return false;
		ck_assert_int_gt(clock_left(deadline), 0);
	}
	ck_assert_int_eq(m.kind, MSG_auth_result);
	*out = m.auth_result;
	return true;
}

static struct msg_auth_result
step(struct arena *a, const char *mechanism, struct str response)
{
	struct msg_auth_result r;
	say(mechanism, response, true, "192.0.2.1");
	ck_assert(hear(a, &r));
	return r;
}

START_TEST(plain)
{
	struct arena *a = arena_new("test");
	begin(a);
	struct msg_auth_result r = step(a, "PLAIN", STR("\0alice\0secret"));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	ck_assert_int_eq(status_reply_code(r.status), 235);
	ck_assert_view(r.user, "alice");
	ck_assert_int_eq(r.handed, 0);
	ck_assert_view(r.senders.v[0], "alice@example.org");
	r = step(a, "plain", STR(""));
	ck_assert_int_eq(r.more, 1);
	r = step(a, "", STR("\0alice@example.org\0secret"));
	ck_assert_view(r.user, "alice");
	r = step(a, "PLAIN", STR("alice\0alice\0secret"));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	end(a);
}
END_TEST

START_TEST(login)
{
	struct arena *a = arena_new("test");
	begin(a);
	struct msg_auth_result r = step(a, "LOGIN", STR(""));
	ck_assert_view(r.challenge, "Username:");
	r = step(a, "", STR("alice"));
	ck_assert_view(r.challenge, "Password:");
	r = step(a, "", STR("secret"));
	ck_assert_view(r.user, "alice");
	end(a);
}
END_TEST

/* What must all look the same to who guesses. */
START_TEST(refused)
{
	static const struct str responses[] = {
		STR_INIT("\0alice\0wrong"),
		STR_INIT("\0nobody\0secret"),
		STR_INIT("\0off\0secret"),
		STR_INIT("bob\0alice\0secret"),
		STR_INIT("\0sales\0secret"),
	};
	struct arena *a = arena_new("test");
	begin(a);
	for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
		struct msg_auth_result r = step(a, "PLAIN", responses[i]);
		ck_assert_msg(r.status.class == STATUS_NEVER, "%zu", i);
		ck_assert_view(r.status.text, "Wrong user name or password");
		ck_assert_int_eq(status_reply_code(r.status), 535);
		ck_assert_uint_eq(r.user.n, 0);
		ck_assert_uint_eq(r.senders.n, 0);
	}
	end(a);
}
END_TEST

START_TEST(malformed)
{
	struct arena *a = arena_new("test");
	begin(a);
	struct msg_auth_result r = step(a, "PLAIN", STR("alice"));
	ck_assert_int_eq(r.status.class, STATUS_NEVER);
	ck_assert_int_eq(status_reply_code(r.status), 501);
	r = step(a, "CRAM-MD5", STR("x"));
	ck_assert_int_eq(status_reply_code(r.status), 504);
	r = step(a, "XYZZY", STR(""));
	ck_assert_int_eq(status_reply_code(r.status), 504);
	end(a);
}
END_TEST

START_TEST(needs_tls)
{
	struct arena *a = arena_new("test");
	struct msg_auth_result r;
	begin(a);
	say("PLAIN", STR("\0alice\0secret"), false, "192.0.2.1");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(status_reply_code(r.status), 538);
	/* not on loopback either, unless the option says so */
	say("PLAIN", STR("\0alice\0secret"), false, "127.0.0.1");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(status_reply_code(r.status), 538);
	end(a);
}
END_TEST

/* A second step without a first costs the conversation, nothing else. */
START_TEST(out_of_order)
{
	struct arena *a = arena_new("test");
	struct msg_auth_result r;
	begin(a);
	say("", STR("\0alice\0secret"), true, "192.0.2.1");
	ck_assert(!hear(a, &r));
	end(a);
}
END_TEST

/* A peer that goes away while its answer waits for the delay. */
START_TEST(gone_in_the_delay)
{
	struct arena *a = arena_new("test");
	begin(a);
	struct conf *c = (struct conf *)(uintptr_t)x->conf;
	c->auth.failure_delay = 1;
	say("PLAIN", STR("\0alice\0wrong"), true, "192.0.2.1");
	loop_turn(x->loop, 100);
	close(client);
	client = -1;
	int64_t deadline = clock_in(1500);
	while (clock_left(deadline) > 0)
		loop_turn(x->loop, 100);
	arena_free(a);
}
END_TEST

START_TEST(delay)
{
	struct arena *a = arena_new("test");
	struct msg_auth_result r;
	begin(a);
	struct conf *c = (struct conf *)(uintptr_t)x->conf;
	c->auth.failure_delay = 1;
	int64_t before = clock_ms();
	say("PLAIN", STR("\0alice\0wrong"), true, "192.0.2.1");
	ck_assert(hear(a, &r));
	ck_assert_int_ge(clock_ms() - before, 1000);
	end(a);
}
END_TEST

Suite *
suite_login(void)
{
	return SUITE("login", plain, login, refused, malformed, needs_tls,
		out_of_order, gone_in_the_delay, delay);
}
