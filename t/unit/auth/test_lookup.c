/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

static const char conf[] =
	"general { domains = {example.org, example.net} plus = \"+-\" }";
static const char users[] =
	"alice:{PLAIN}a:::::\n"
	"bob:{PLAIN}b:1000:1000::/home/bob:\n"
	"carol@example.net:{PLAIN}c\n"
	"mary-ann:{PLAIN}m\n";
static const char aliases[] =
	"sales: alice, bob, far@elsewhere.test\n"
	"everybody: sales, carol@example.net\n"
	"self: \\self, alice\n"
	"bob: bob, copy@elsewhere.test\n"
	"round: about\nabout: round\n"
	"lost: nobody\n"
	"half: nobody, alice\n"
	"list+owner: bob\n"
	"@example.net: alice\n"
	"info@example.net: carol@example.net\n";

/* "agent address user, ..." or the refusal. */
static struct str
route(struct arena *a, const struct auth *x, const char *address)
{
	struct msg_route_result r = {.status = status_fine()};
	struct buf *out = buf_new(a);
	lookup_route((struct auth *)(uintptr_t)x, a, str_from(address), &r);
	if (!status_is_fine(r.status))
		return status_enhanced(a, r.status);
	for (size_t i = 0; i < r.agent.n; i++)
		buf_printf(out, "%s%.*s %.*s %.*s", i > 0 ? ", " : "",
			STR_ARG(r.agent.v[i]), STR_ARG(r.address.v[i]),
			STR_ARG(r.user.v[i]));
	return buf_str(out);
}

static const char *
rcpt(struct arena *a, const struct auth *x, const char *address)
{
	struct msg_rcpt_result r = {.status = status_fine()};
	lookup_rcpt((struct auth *)(uintptr_t)x, a, str_from(address), &r);
	return !r.local ? "elsewhere" :
		status_is_fine(r.status) ? "taken" : "unknown";
}

START_TEST(recipients)
{
	static const struct {
		const char *address, *want;
	} rows[] = {
		{"alice@example.org", "taken"},
		{"ALICE@EXAMPLE.ORG", "taken"},
		{"alice+list@example.org", "taken"},
		{"alice-list@example.org", "taken"},
		{"mary-ann@example.org", "taken"},
		{"mary-ann+x@example.org", "taken"},
		{"mary@example.org", "unknown"},
		{"alice@mx.example.org", "taken"},
		{"alice@localhost", "taken"},
		{"carol@example.net", "taken"},
		{"carol@example.org", "unknown"},
		{"whoever@example.net", "taken"},
		{"whoever@example.org", "unknown"},
		{"sales@example.org", "taken"},
		{"sales+q3@example.org", "taken"},
		{"postmaster", "taken"},
		{"PostMaster@example.org", "taken"},
		{"abuse@example.org", "taken"},
		{"alice@elsewhere.test", "elsewhere"},
		{"alice%elsewhere.test@example.org", "unknown"},
		{"elsewhere.test!alice@example.org", "unknown"},
		{"\"alice@elsewhere.test\"@example.org", "unknown"},
		{"\"alice\"@example.org", "taken"},
		{"\"\"@example.org", "unknown"},
	};
	struct arena *a = arena_new("test");
	const struct auth *x = test_auth(a, conf, users, aliases);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(strcmp(rcpt(a, x, rows[i].address),
			rows[i].want) == 0, "%s is %s", rows[i].address,
			rcpt(a, x, rows[i].address));
	arena_free(a);
}
END_TEST

START_TEST(routes)
{
	static const struct {
		const char *address, *want;
	} rows[] = {
		{"alice@example.org", "local alice@example.org alice"},
		{"alice+x@example.org", "local alice+x@example.org alice"},
		{"x@elsewhere.test", "remote x@elsewhere.test "},
		{"sales@example.org", "local alice alice, "
			"remote far@elsewhere.test , local bob bob, "
			"remote copy@elsewhere.test "},
		/* an alias that names itself means the user */
		{"bob@example.org", "remote copy@elsewhere.test , "
			"local bob bob"},
		/* whatever leads to a user leads there once */
		{"everybody@example.org", "local carol@example.net "
			"carol@example.net, local alice alice, "
			"remote far@elsewhere.test , local bob bob, "
			"remote copy@elsewhere.test "},
		{"self@example.org", "local alice alice"},
		{"round@example.org", "5.4.6"},
		{"lost@example.org", "5.1.1"},
		{"half@example.org", "local alice alice"},
		{"list+owner@example.org", "local bob bob, "
			"remote copy@elsewhere.test "},
		{"any@example.net", "local alice alice"},
		{"info@example.net",
			"local carol@example.net carol@example.net"},
		{"nobody@example.org", "5.1.1"},
	};
	struct arena *a = arena_new("test");
	const struct auth *x = test_auth(a, conf, users, aliases);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str got = route(a, x, rows[i].address);
		ck_assert_msg(str_eq(got, str_from(rows[i].want)),
			"%s goes to \"%.*s\"", rows[i].address, STR_ARG(got));
	}
	arena_free(a);
}
END_TEST

START_TEST(too_many)
{
	struct arena *a = arena_new("test");
	struct buf *text = buf_new(a);
	/* a tree of 10 * 10 * 10 * 10 */
	for (int i = 0; i < 1111; i++) {
		buf_printf(text, "n%d: ", i);
		for (int k = 1; k <= 10; k++)
			buf_printf(text, "%sn%d", k > 1 ? ", " : "",
				i * 10 + k);
		buf_addc(text, '\n');
	}
	for (int i = 1111; i <= 11110; i++)
		buf_printf(text, "n%d: x%d@elsewhere.test\n", i, i);
	buf_addc(text, 0);
	const struct auth *x = test_auth(a, conf, users, text->p);
	struct msg_route_result r = {.status = status_fine()};
	lookup_route((struct auth *)(uintptr_t)x, a, STR("n0@example.org"),
		&r);
	ck_assert_uint_le(r.agent.n, 1000);
	arena_free(a);
}
END_TEST

START_TEST(senders)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, conf, users, aliases);
	struct str_list l = lookup_senders(
		x, a, users_find(x->users, STR("alice")));
	struct str all = str_join(a, l, STR(" "));
	static const char *const own[] = {"alice@example.org",
		"alice@example.net", "sales@example.org", "self@example.net",
		"half@example.org", "@example.net"};
	static const char *const others[] = {"bob@", "carol@", "everybody@"};
	for (size_t i = 0; i < sizeof own / sizeof *own; i++)
		ck_assert_msg(str_search(all, str_from(own[i])) < all.n, "%s",
			own[i]);
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		ck_assert_msg(str_search(all, str_from(others[i])) == all.n,
			"%s", others[i]);
	arena_free(a);
}
END_TEST

START_TEST(logins)
{
	struct arena *a = arena_new("test");
	const struct auth *x = test_auth(a, conf, users, aliases);
	static const struct {
		const char *name, *user;
	} rows[] = {
		{"alice", "alice"}, {"Alice", "alice"},
		{"alice@example.org", "alice"},
		{"alice@elsewhere.test", NULL},
		{"carol@example.net", "carol@example.net"},
		{"carol", NULL}, {"sales", NULL}, {"", NULL}, {"@", NULL},
		{"alice+x", NULL},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct user *u = lookup_login(x, str_from(rows[i].name));
		ck_assert_msg((u == NULL) == (rows[i].user == NULL), "%s",
			rows[i].name);
		if (u != NULL)
			ck_assert(str_eq(u->name, str_from(rows[i].user)));
	}
	arena_free(a);
}
END_TEST

Suite *
suite_lookup(void)
{
	return SUITE("lookup", recipients, routes, too_many, senders, logins);
}
