/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/encode.h"
#include "sys/ipc.h"

#include <sys/socket.h>
#include <unistd.h>

static struct auth *x;
static int client = -1; /* our end of the conversation */

static const struct peer_row rows[] = {
	{MSG_auth_step, PEER_SMTPD, login_step},
};

static const char conf[] = "general { domains = {example.org} }\n"
	"auth { failure_delay = 0 hash_workers = 1 ban_after = 4 }";

/* Every password is "secret". */
static const char plain_users[] = "alice:{PLAIN}secret\n"
	"off:{PLAIN}secret::::::disabled\n";
static void
begin_with(struct arena *a, const char *users)
{
	int pair[2];
	x = test_auth(a, conf, users, "sales: alice\n");
	x->loop = loop_new(a);
	x->cache = map_new(a);
	x->limits = limits_new(a);
	x->rooms = rooms_new(a, x->loop);
	x->hashers = hashers_fork(x->program, &hasher_hashes, 1);
	hashers_start(x->hashers, x->loop);
	x->tables_checked = CLOCK_FOREVER / 2;
	x->peers = (struct peers){.loop = x->loop, .rows = rows, .count = 1,
		.ctx = x, .on_close = caller_closed};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	peers_take(&x->peers, pair[0], PEER_SMTPD);
	client = pair[1];
}

static void
begin(struct arena *a)
{
	begin_with(a, plain_users);
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
	((struct conf *)(uintptr_t)x->conf)->auth.ban_after = 100;
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

/* Any secret that fits lets in, wherever it stands; one that only stands in for
 * another does not. */
START_TEST(several_secrets)
{
	static const char users[] = "two:{CRYPT}$5$rounds=1000$aa$ouOHIRNBm7EE/"
		"RH2bSuyGuNSkjdENBUD.VKdrmMdEnC {CRYPT}$5$rounds=1000$bb$4HaiVnU"
		"tMos3c2nNduvUJNN72HW5qTdeUn5X.XgBYI9\n"
		"mix:{CRYPT}$5$rounds=1000$aa$ouOHIRNBm7EE/RH2bSuyGuNSkjdENBUD.V"
		"KdrmMdEnC {PLAIN}plain\n";
	static const struct {
		struct str response;
		bool fine;
	} tries[] = {
		{STR_INIT("\0two\0one"), true},
		{STR_INIT("\0two\0two"), true},
		{STR_INIT("\0two\0three"), false},
		{STR_INIT("\0mix\0one"), true},
		{STR_INIT("\0mix\0plain"), true},
		{STR_INIT("\0mix\0two"), false},
		{STR_INIT("\0nobody\0one"), false},
		{STR_INIT("\0nobody\0two"), false},
	};
	struct arena *a = arena_new("test");
	begin_with(a, users);
	((struct conf *)(uintptr_t)x->conf)->auth.ban_after = 100;
	ck_assert_uint_eq(x->users->most_hashes, 2);
	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
		ck_assert_msg(status_is_fine(step(a, "PLAIN",
			tries[i].response).status) == tries[i].fine, "%zu", i);
	end(a);
}
END_TEST

/* Microseconds for some refusals. */
static int64_t
cost(struct arena *a, const char *response, size_t n)
{
	int64_t began = clock_us();
	for (int i = 0; i < 5; i++)
		ck_assert(!status_is_fine(
			step(a, "PLAIN", str_of(response, n)).status));
	return clock_us() - began;
}

/* Who is there and who is not takes as long to refuse. */
START_TEST(time_tells_nothing)
{
	static const char alice[] = "\0alice\0wrong", none[] = "\0none\0wrong";
	struct arena *a = arena_new("test");
	begin(a);
	((struct conf *)(uintptr_t)x->conf)->auth.ban_after = 1000;
	/* A plain secret is compared in no time; a hash of nobody takes some. */
	int64_t there = cost(a, alice, sizeof alice - 1);
	int64_t not_there = cost(a, none, sizeof none - 1);
	ck_assert_int_gt(there * 20, not_there);
	ck_assert_int_gt(not_there * 20, there);
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

/* ---------------------------------------------------------------- SCRAM */

/* Our client against auth: true when it is let in and auth has proved that it
 * knows the password too. */
static bool
scram(struct arena *a, const char *mechanism, const char *user,
	const char *password)
{
	struct sasl_client c;
	sasl_client_start(&c, a, sasl_mechanism(str_from(mechanism)),
		str_from(user), str_from(password), STR("clientnonce"));
	ck_assert(sasl_client_step(&c, STR("")));
	struct msg_auth_result r = step(a, mechanism, c.response);
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	ck_assert_int_eq(r.more, 1);
	ck_assert(sasl_client_step(&c, r.challenge));
	r = step(a, "", c.response);
	if (!status_is_fine(r.status)) {
		ck_assert_int_eq(status_reply_code(r.status), 535);
		return false;
	}
	ck_assert_int_eq(r.more, 1);
	ck_assert_uint_eq(r.user.n, 0);
	if (!sasl_client_step(&c, r.challenge))
		return false;
	r = step(a, "", STR(""));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	ck_assert_int_eq(r.more, 0);
	return str_eq(r.user, str_from(user)) && c.server_proved;
}

START_TEST(scram_derived)
{
	struct arena *a = arena_new("test");
	begin(a);
	((struct conf *)(uintptr_t)x->conf)->auth.ban_after = 100;
	ck_assert(scram(a, "SCRAM-SHA-256", "alice", "secret"));
	ck_assert(scram(a, "SCRAM-SHA-1", "alice", "secret"));
	ck_assert(!scram(a, "SCRAM-SHA-256", "alice", "wrong"));
	ck_assert(!scram(a, "SCRAM-SHA-256", "nobody", "secret"));
	ck_assert(!scram(a, "SCRAM-SHA-256", "off", "secret"));
	end(a);
}
END_TEST

/* A line for a users table with SCRAM-SHA-256's secret of a password. */
static struct str
scram_line(struct arena *a, const char *name, const char *password)
{
	struct buf *out = buf_new(a);
	struct sasl_secret s = sasl_make_secret(a, SASL_SCRAM_SHA_256,
		str_from(password), STR("salty"), 4096);
	buf_printf(out, "%s:{SCRAM-SHA-256}4096,", name);
	base64_encode(out, s.salt);
	buf_addc(out, ',');
	base64_encode(out, s.stored_key);
	buf_addc(out, ',');
	base64_encode(out, s.server_key);
	buf_addc(out, 0);
	return buf_str(out);
}

START_TEST(scram_stored)
{
	struct arena *a = arena_new("test");
	begin_with(a, scram_line(a, "alice", "secret").p);
	ck_assert(x->users->scram_sha_256);
	ck_assert(!x->users->scram_sha_1);
	ck_assert(scram(a, "SCRAM-SHA-256", "alice", "secret"));
	ck_assert(!scram(a, "SCRAM-SHA-256", "alice", "wrong"));
	ck_assert(!scram(a, "SCRAM-SHA-256", "nobody", "secret"));
	/* a password can be checked against it */
	struct msg_auth_result r = step(a, "PLAIN", STR("\0alice\0secret"));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	r = step(a, "PLAIN", STR("\0alice\0wrong"));
	ck_assert_int_eq(status_reply_code(r.status), 535);
	/* what not all of them can is not offered */
	r = step(a, "SCRAM-SHA-1", STR("n,,n=alice,r=x"));
	ck_assert_int_eq(status_reply_code(r.status), 504);
	/* there is nothing to bind to */
	r = step(a, "SCRAM-SHA-256-PLUS",
		STR("p=tls-exporter,,n=alice,r=x"));
	ck_assert_int_eq(status_reply_code(r.status), 504);
	end(a);
}
END_TEST

/* The salt of who does not exist is the same every time. */
START_TEST(scram_salts)
{
	struct arena *a = arena_new("test");
	begin(a);
	((struct conf *)(uintptr_t)x->conf)->auth.ban_after = 100;
	struct msg_auth_result r;
	struct str salts[4];
	static const char *const names[] = {"nobody", "nobody", "alice",
		"other"};
	for (int i = 0; i < 4; i++) {
		r = step(a, "SCRAM-SHA-256", str_printf(a, "n,,n=%s,r=x",
			names[i]));
		size_t at = str_search(r.challenge, STR(",s="));
		salts[i] = str_skip(r.challenge, at);
		r = step(a, "", STR("c=biws,r=x,p=AAAA"));
		ck_assert_int_eq(status_reply_code(r.status), 535);
	}
	ck_assert(str_eq(salts[0], salts[1]));
	ck_assert(!str_eq(salts[0], salts[3]));
	ck_assert_uint_eq(salts[0].n, salts[2].n);
	end(a);
}
END_TEST

START_TEST(scram_not_offered)
{
	struct arena *a = arena_new("test");
	begin_with(a, "alice:{PLAIN}secret\nbob:$6$salt$hash\n");
	struct str_list offer = scram_offer(x, a);
	ck_assert_uint_eq(offer.n, 2);
	ck_assert_view(offer.v[0], "PLAIN");
	struct msg_auth_result r = step(
		a, "SCRAM-SHA-256", STR("n,,n=alice,r=x"));
	ck_assert_int_eq(status_reply_code(r.status), 504);
	end(a);
}
END_TEST

/* ----------------------------------------------------------------- bans */

START_TEST(ban)
{
	struct arena *a = arena_new("test");
	begin(a);
	struct msg_auth_result r;
	/* alice's own network */
	say("PLAIN", STR("\0alice\0secret"), true, "198.51.100.7");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	/* guesses from several hosts of one block */
	for (int i = 0; i < 4; i++) {
		r = step(a, "PLAIN", STR("\0alice\0wrong"));
		ck_assert_int_eq(status_reply_code(r.status), 535);
	}
	r = step(a, "PLAIN", STR("\0alice\0secret"));
	ck_assert_int_eq(status_reply_code(r.status), 454);
	/* a neighbour in the block, for somebody else */
	say("PLAIN", STR("\0sales\0secret"), true, "192.0.2.200");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(status_reply_code(r.status), 454);
	/* the account from a block it was never used from */
	say("PLAIN", STR("\0alice\0secret"), true, "203.0.113.9");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(status_reply_code(r.status), 454);
	/* but not from home */
	say("PLAIN", STR("\0alice\0secret"), true, "198.51.100.8");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	/* nor from a network that is exempt */
	struct conf *c = (struct conf *)(uintptr_t)x->conf;
	c->smtp.plaintext_auth = true;
	say("PLAIN", STR("\0alice\0secret"), false, "127.0.0.1");
	ck_assert(hear(a, &r));
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	end(a);
}
END_TEST

Suite *
suite_login(void)
{
	return SUITE("login", plain, login, refused, several_secrets,
		time_tells_nothing, malformed, needs_tls,
		out_of_order, gone_in_the_delay, delay, scram_derived,
		scram_stored, scram_salts, scram_not_offered, ban);
}
