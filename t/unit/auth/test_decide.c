/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

#include <unistd.h>

static const char users[] = "alice:{PLAIN}a\n";

static struct auth *
with_rules(struct arena *a, const char *rules)
{
	return test_auth(a, str_cstr(a, str_printf(a,
		"general { domains = {example.org} }\n"
		"smtp { relay_networks = {10.0.0.0/8} dns_threshold = 3 }\n"
		"address { relay_domains = {relay.test} }\n"
		"policy { rules = {%s} }\n", rules)), users, "");
}

static struct msg_rcpt_result
decide(struct arena *a, const struct auth *x, struct msg_rcpt_lookup q)
{
	struct msg_rcpt_result r = {.status = status_fine()};
	struct lookup l = {.auth = x, .arena = a};
	if (q.client.n == 0)
		q.client = STR("192.0.2.1");
	if (q.address.n == 0)
		q.address = STR("alice@example.org");
	policy_decide(&l, &q, &r);
	return r;
}

/* "2", "4 text" or "5 text". */
static struct str
said(struct arena *a, struct msg_rcpt_result r)
{
	if (r.hold.n > 0)
		return str_printf(a, "hold %.*s", STR_ARG(r.hold));
	if (r.address.n > 0)
		return str_printf(a, "to %.*s", STR_ARG(r.address));
	if (status_is_fine(r.status))
		return STR("2");
	return str_printf(a, "%d %.*s", r.status.class,
		STR_ARG(r.status.text));
}

#define ASK(x, ...) \
	said(a, decide(a, (x), (struct msg_rcpt_lookup){__VA_ARGS__}))

/* The relay is closed, whatever the rules say. */
START_TEST(relay)
{
	struct arena *a = arena_new("test");
	const struct auth *x = with_rules(a, "\"accept\"");
	const struct auth *none = with_rules(a, "");
	const struct auth *both[] = {x, none};
	for (int i = 0; i < 2; i++) {
		x = both[i];
		ck_assert_view(ASK(x, .address = STR("x@far.test")),
			"5 Relaying is not allowed");
		ck_assert_view(ASK(x, .address = STR("x@far.test"),
			.user = STR("alice")), "2");
		ck_assert_view(ASK(x, .address = STR("x@far.test"),
			.client = STR("10.1.2.3")), "2");
		ck_assert_view(ASK(x, .address = STR("x@relay.test")), "2");
		ck_assert_view(ASK(x, .address = STR("x@example.org")),
			"5 There is no such user here");
		ck_assert_view(ASK(x, .client = STR("nonsense")), "2");
		ck_assert_view(ASK(x, .address = STR("nonsense")),
			"5 There is no such user here");
	}
	ck_assert_int_eq(decide(a, x, (struct msg_rcpt_lookup){
		.address = STR("x@far.test")}).ours, 0);
	ck_assert_int_eq(decide(a, x, (struct msg_rcpt_lookup){
		.address = STR("x@relay.test")}).ours, 1);
	arena_free(a);
}
END_TEST

/* One rule at a time: what fits and what does not. */
START_TEST(conditions)
{
	static const struct {
		const char *rule;
		struct msg_rcpt_lookup fits, not;
	} rows[] = {
		{"client is 192.0.2.0/24",
			{.client = STR_INIT("192.0.2.7")},
			{.client = STR_INIT("192.0.3.7")}},
		{"client is 2001:db8::/32, 203.0.113.1",
			{.client = STR_INIT("2001:db8::1")},
			{.client = STR_INIT("203.0.113.2")}},
		{"helo is localhost, *.dyn.test",
			{.helo = STR_INIT("A1.DYN.test")},
			{.helo = STR_INIT("dyn.test")}},
		{"reverse is *.bad.test", {.reverse = STR_INIT("x.bad.test")},
			{.reverse = STR_INIT("bad.test.org")}},
		{"reverse is unknown", {.reverse = STR_INIT("")},
			{.reverse = STR_INIT("unknown")}},
		{"sender is a@b.test, @c.test",
			{.sender = STR_INIT("x@c.test")},
			{.sender = STR_INIT("x@d.c.test")}},
		{"sender is <>", {.sender = STR_INIT("")},
			{.sender = STR_INIT("a@b.test")}},
		{"sender is unknown", {.sender = STR_INIT("a@no.test"),
			.sender_domain = STR_INIT("unknown")},
			{.sender = STR_INIT("unknown")}},
		{"recipient is alice@*",
			{.address = STR_INIT("alice@example.org")},
			{.address = STR_INIT("postmaster@example.org")}},
		{"authenticated", {.user = STR_INIT("alice")},
			{.user = STR_INIT("")}},
		{"authenticated as bob, alice", {.user = STR_INIT("alice")},
			{.user = STR_INIT("carol")}},
		{"not authenticated", {.user = STR_INIT("")},
			{.user = STR_INIT("alice")}},
		{"tls", {.tls = 1}, {.tls = 0}},
		{"listed", {.listed = 1}, {.listed = 0}},
		{"listed at least 2", {.listed = 2}, {.listed = 1}},
		{"tls and not helo is x and sender is *@*",
			{.tls = 1, .sender = STR_INIT("a@b.test")},
			{.tls = 1, .helo = STR_INIT("x"),
				.sender = STR_INIT("a@b.test")}},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct auth *x = with_rules(a, str_cstr(a, str_printf(a,
			"\"reject if %s: Caught\"", rows[i].rule)));
		ck_assert_msg(str_eq(said(a, decide(a, x, rows[i].fits)),
			STR("5 Caught")), "%s", rows[i].rule);
		ck_assert_msg(str_eq(said(a, decide(a, x, rows[i].not)),
			STR("2")), "not %s", rows[i].rule);
	}
	arena_free(a);
}
END_TEST

START_TEST(actions)
{
	struct arena *a = arena_new("test");
	const struct auth *x = with_rules(a,
		"\"accept if helo is good\", \"reject if helo is bad: Go, away\","
		"\"defer if helo is slow\", \"hold if helo is odd: Look at it\","
		"\"redirect to spam@example.net if helo is spam\","
		"\"reject if helo is *\"");
	ck_assert_view(ASK(x, .helo = STR("good")), "2");
	ck_assert_view(ASK(x, .helo = STR("bad")), "5 Go, away");
	ck_assert_view(ASK(x, .helo = STR("slow")), "4 Not now; try again "
		"later");
	ck_assert_view(ASK(x, .helo = STR("odd")), "hold Look at it");
	ck_assert_view(ASK(x, .helo = STR("spam")), "to spam@example.net");
	ck_assert_view(ASK(x, .helo = STR("other")),
		"5 Refused by the rules of this server");
	/* whose rule it was */
	struct msg_rcpt_result r = decide(a, x,
		(struct msg_rcpt_lookup){.helo = STR("slow")});
	ck_assert_view(r.rule, "defer if helo is slow");
	/* nobody is held or sent elsewhere who could not be taken */
	ck_assert_view(ASK(x, .helo = STR("odd"),
		.address = STR("x@far.test")), "hold Look at it");
	r = decide(a, x, (struct msg_rcpt_lookup){.helo = STR("odd"),
		.address = STR("x@far.test")});
	ck_assert_int_eq(r.status.class, STATUS_NEVER);
	r = decide(a, x, (struct msg_rcpt_lookup){.helo = STR("spam"),
		.address = STR("x@far.test")});
	ck_assert_int_eq(r.status.class, STATUS_NEVER);
	/* somebody who is not there may be redirected */
	r = decide(a, x, (struct msg_rcpt_lookup){.helo = STR("spam"),
		.address = STR("nobody@example.org")});
	ck_assert_int_eq(r.status.class, STATUS_FINE);
	/* postmaster hears everybody */
	ck_assert_view(ASK(x, .helo = STR("bad"),
		.address = STR("PostMaster@example.org")), "2");
	ck_assert_view(ASK(x, .helo = STR("bad"),
		.address = STR("postmaster")), "2");
	ck_assert_view(ASK(x, .helo = STR("bad"),
		.address = STR("postmaster@far.test")), "5 Go, away");
	arena_free(a);
}
END_TEST

START_TEST(strangers)
{
	struct arena *a = arena_new("test");
	const struct auth *x = with_rules(a, "\"accept if helo is good\"");
	ck_assert_view(ASK(x, .listed = 2, .listed_by = STR("bl.test")), "2");
	ck_assert_view(ASK(x, .listed = 3, .listed_by = STR("bl.test")),
		"5 192.0.2.1 is listed by bl.test");
	ck_assert_view(ASK(x, .listed = 3, .helo = STR("good")), "2");
	ck_assert_view(ASK(x, .listed = 3, .user = STR("alice")), "2");
	ck_assert_view(ASK(x, .listed = 3, .client = STR("10.0.0.1")), "2");
	ck_assert_view(ASK(x, .listed = 3,
		.address = STR("postmaster@example.org")), "2");
	struct msg_rcpt_result r = decide(a, x, (struct msg_rcpt_lookup){
		.sender = STR("a@null.test"), .sender_domain = STR("null")});
	ck_assert_int_eq(status_reply_code(r.status), 550);
	ck_assert_int_eq(r.status.detail, 27);
	arena_free(a);
}
END_TEST

/* What is said of an address may be said of its domain; a table that cannot be
 * asked decides nothing. */
START_TEST(tables)
{
	struct arena *a = arena_new("test");
	const char *text = test_file(a, "bad@b.test\n@worse.test\nworst.test\n");
	const char *nets = test_file(a, "192.0.2.0/24\n");
	const struct auth *x = with_rules(a, str_cstr(a, str_printf(a,
		"\"reject if sender in text:%s: Sender\","
		"\"reject if client in cidr:%s and tls: Client\"",
		text, nets)));
	ck_assert_view(ASK(x, .sender = STR("bad@b.test")), "5 Sender");
	ck_assert_view(ASK(x, .sender = STR("x@worse.test")), "5 Sender");
	ck_assert_view(ASK(x, .sender = STR("x@WORST.test")), "5 Sender");
	ck_assert_view(ASK(x, .sender = STR("good@b.test")), "2");
	ck_assert_view(ASK(x, .tls = 1), "5 Client");
	ck_assert_view(ASK(x, .tls = 1, .client = STR("192.0.3.1")), "2");
	unlink(text);
	unlink(nets);
	x = with_rules(a, "\"reject if sender in text:/no/such/file\"");
	ck_assert_view(ASK(x, .sender = STR("a@b.test")),
		"4 A table cannot be asked now");
	ck_assert_view(ASK(x, .address = STR("postmaster")), "2");
	arena_free(a);
}
END_TEST

START_TEST(reasons)
{
	struct arena *a = arena_new("test");
	const struct auth *x = with_rules(a,
		"\"reject if helo is bad\", \"accept if tls\"");
	struct str_list why = {NULL, 0};
	struct lookup l = {.auth = x, .arena = a, .why = &why};
	struct msg_rcpt_lookup q = {.address = STR("alice@example.org"),
		.client = STR("192.0.2.1"), .tls = 1};
	struct msg_rcpt_result r;
	policy_decide(&l, &q, &r);
	ck_assert_uint_eq(why.n, 3);
	ck_assert_view(why.v[0], "rule 2: accept if tls");
	ck_assert_view(why.v[1], "example.org is local");
	ck_assert_view(why.v[2], "user alice, mail in /mail/alice");
	arena_free(a);
}
END_TEST

Suite *
suite_decide(void)
{
	return SUITE("decide", relay, conditions, actions, strangers, tables,
		reasons);
}
