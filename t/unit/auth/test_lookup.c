/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

#include <unistd.h>

static const char conf[] =
	"general { domains = {example.org, example.net} plus = \"+-\" }"
	"remote { transports = {\"pipe.test pipe:one\", \"lost.test pipe:two\"} }"
	"pipe { commands = {\"one _suratpipe /bin/one\","
	" \"two no-such-user /bin/two\"} }";
static const char users[] =
	"alice:{PLAIN}a:::::\n"
	"bob:{PLAIN}b:1000:1000::/home/bob:\n"
	"carol@example.net:{PLAIN}c\n"
	"mary-ann:{PLAIN}m\n"
	"dora:{PLAIN}d\n";
static const char aliases[] =
	"sales: alice, bob, far@elsewhere.test\n"
	"everybody: sales, carol@example.net\n"
	"self: \\self, alice\n"
	"bob: bob, copy@elsewhere.test\n"
	"round: about\nabout: round\n"
	"lost: nobody\n"
	"half: nobody, alice\n"
	"boss: alice@elsewhere.test\n"
	"mary-ann: moved@elsewhere.test\nteam: mary-ann, others\n"
	"others: mary-ann, alice\n"
	"both: \\bob, bob\n"
	"chief: deputy, alice\ndeputy: chief\n"
	"dora: head\nhead: dora, far@elsewhere.test\n"
	"cmd: |/bin/cmd\ncmds: cmd, alice, \"|/bin/cmd\"\n"
	"list+owner: bob\n"
	"@example.net: alice\n"
	"info@example.net: carol@example.net\n";

/* "agent address user, ..." or the refusal. */
static struct str
route(struct arena *a, const struct auth *x, const char *address)
{
	struct msg_route_result r = {.status = status_fine()};
	struct buf *out = buf_new(a);
	struct lookup l = {.auth = x, .arena = a};
	lookup_route(&l, str_from(address), &r);
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
	struct lookup l = {.auth = x, .arena = a};
	enum domain_class class;
	const struct user *u;
	struct status st = lookup_rcpt(&l, str_from(address), &class, &u);
	return class == DOMAIN_ELSEWHERE ? "elsewhere" :
		status_is_later(st) ? "later" :
		!status_is_fine(st) ? "unknown" :
		class == DOMAIN_RELAY ? "relayed" : "taken";
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
			"remote far@elsewhere.test , "
			"remote copy@elsewhere.test , local bob bob"},
		/* an alias that names itself means the user */
		{"bob@example.org", "remote copy@elsewhere.test , "
			"local bob bob"},
		/* whatever leads to a user leads there once */
		{"everybody@example.org", "local carol@example.net "
			"carol@example.net, local alice alice, "
			"remote far@elsewhere.test , "
			"remote copy@elsewhere.test , local bob bob"},
		/* two that lead to one are no circle */
		{"team@example.org", "remote moved@elsewhere.test , "
			"local alice alice"},
		{"both@example.org", "local bob bob, "
			"remote copy@elsewhere.test "},
		/* who is a user on a circle */
		{"chief@example.org", "local alice alice"},
		{"dora@example.org", "remote far@elsewhere.test , "
			"local dora dora"},
		{"self@example.org", "local alice alice, nobody self "},
		{"round@example.org", "5.4.6"},
		{"lost@example.org", "5.1.1"},
		{"half@example.org", "local alice alice, nobody nobody "},
		{"list+owner@example.org", "remote copy@elsewhere.test , "
			"local bob bob"},
		{"any@example.net", "local alice alice"},
		/* no domain at all is not one of ours */
		{"alice@i\342\235\244.ws", "remote alice@i\342\235\244.ws "},
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

/* Each as if it were asked about alone, one behind the other. */
START_TEST(routes_of_several)
{
	struct arena *a = arena_new("test");
	const struct auth *x = test_auth(a, conf, users, aliases);
	struct lookup l = {.auth = x, .arena = a};
	struct msg_routes_result r = {.status = {NULL, 0}};
	struct str v[] = {STR("sales@example.org"), STR("nobody@example.org"),
		STR("everybody@example.org"), STR("x@elsewhere.test"),
		STR("alice@example.org")};
	static const size_t finals[] = {4, 0, 5, 1, 1};
	size_t n = sizeof v / sizeof *v, at = 0;
	lookup_routes(&l, (struct str_list){v, n}, &r);
	ck_assert_uint_eq(r.status.n, n);
	ck_assert_uint_eq(r.finals.n, n);
	ck_assert_uint_eq(r.agent.n, 11);
	for (size_t i = 0; i < n; i++) {
		struct msg_route_result one = {.status = status_fine()};
		struct lookup alone = {.auth = x, .arena = a};
		lookup_route(&alone, v[i], &one);
		ck_assert(str_eq(status_format(a, one.status), r.status.v[i]));
		ck_assert(str_eq(str_printf(a, "%zu", finals[i]),
			r.finals.v[i]));
		ck_assert_uint_eq(one.agent.n, finals[i]);
		for (size_t k = 0; k < finals[i]; k++, at++) {
			ck_assert(str_eq(one.agent.v[k], r.agent.v[at]));
			ck_assert(str_eq(one.address.v[k], r.address.v[at]));
			ck_assert(str_eq(one.user.v[k], r.user.v[at]));
			ck_assert(str_eq(one.home.v[k], r.home.v[at]));
			ck_assert(str_eq(one.ids.v[k], r.ids.v[at]));
			ck_assert(str_eq(one.command.v[k], r.command.v[at]));
		}
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
	struct lookup l = {.auth = x, .arena = a};
	lookup_route(&l, STR("n0@example.org"), &r);
	ck_assert_uint_eq(r.agent.n, 0);
	ck_assert(status_is_later(r.status));
	/* a quarter of them: all */
	lookup_route(&l, STR("n1@example.org"), &r);
	ck_assert_uint_eq(r.agent.n, 1000);
	ck_assert(status_is_fine(r.status));
	arena_free(a);
}
END_TEST

/* A file that could not be read since the start might know anybody. */
START_TEST(broken_at_the_start)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, conf, users, aliases);
	struct conf_general *c =
		&((struct conf *)(uintptr_t)x->conf)->general;
	c->aliases = str_from(test_file(a, "sales: alice\nnonsense\n"));
	c->users = str_from(test_file(a, "alice:{PLAIN}a\n"));
	x->users = NULL;
	x->aliases = NULL;
	tables_start(x);
	ck_assert_str_eq(rcpt(a, x, "sales@example.org"), "later");
	ck_assert_view(route(a, x, "sales@example.org"), "4.3.0");
	c->users = str_from(test_file(a, "nonsense\n"));
	c->aliases = str_from(test_file(a, "sales: alice\n"));
	x->users = NULL;
	x->aliases = NULL;
	tables_start(x);
	ck_assert_str_eq(rcpt(a, x, "alice@example.org"), "later");
	ck_assert_view(route(a, x, "alice@example.org"), "4.3.0");
	/* none at all is an empty one */
	c->users = STR("/no/such/file");
	x->users = NULL;
	x->aliases = NULL;
	tables_start(x);
	ck_assert_str_eq(rcpt(a, x, "alice@example.org"), "unknown");
	arena_free(a);
}
END_TEST

START_TEST(senders)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, conf, users, aliases);
	struct str_list l = senders_of(
		x, a, users_find(x->users, STR("alice")));
	struct str all = str_join(a, l, STR(" "));
	static const char *const own[] = {"alice@example.org",
		"alice@example.net", "sales@example.org", "self@example.net",
		"half@example.org", "@example.net"};
	static const char *const others[] = {"bob@", "carol@", "everybody@",
		"boss@"}; /* somebody else's alice */
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
		struct lookup l = {.auth = x, .arena = a};
		const struct user *u =
			lookup_login(&l, str_from(rows[i].name));
		ck_assert_msg((u == NULL) == (rows[i].user == NULL), "%s",
			rows[i].name);
		if (u != NULL)
			ck_assert(str_eq(u->name, str_from(rows[i].user)));
	}
	arena_free(a);
}
END_TEST

/* ------------------------------------------------------ kinds of domains */

static struct auth *
domains(struct arena *a, const char *table, const char *relay)
{
	struct str conf_text = str_printf(a, "general { domains = {example.org"
		"} plus = \"+\" }\naddress {\n virtual_domains = "
		"{virtual.test}\n alias_domains = {alias.test}\n"
		" relay_domains = {relay.test}\n aliases = {\"text:%s\"}\n"
		" relay_recipients = {%s}\n}\n", table, relay);
	return test_auth(a, str_cstr(a, conf_text),
		"alice:{PLAIN}a\nbob@virtual.test:{PLAIN}b\n",
		"sales: alice\nshop@alias.test: alice, x@elsewhere.test\n"
		"moved@relay.test: alice\n");
}

START_TEST(domain_classes)
{
	static const struct {
		const char *address, *want;
	} rows[] = {
		{"alice@example.org", "taken"},
		/* bare names are users of local domains alone */
		{"alice@virtual.test", "unknown"},
		{"sales@virtual.test", "unknown"},
		{"bob@virtual.test", "taken"},
		{"bob+x@virtual.test", "taken"},
		{"bob@example.org", "unknown"},
		{"postmaster@virtual.test", "taken"},
		{"shop@alias.test", "taken"},
		{"alice@alias.test", "unknown"},
		{"postmaster@alias.test", "taken"},
		{"anybody@relay.test", "relayed"},
		{"postmaster@relay.test", "relayed"},
		{"x@sub.relay.test", "elsewhere"},
		{"table@example.org", "taken"},
		{"bare@example.org", "taken"},
		{"bare@virtual.test", "unknown"},
		{"any@caught.test", "elsewhere"},
	};
	struct arena *a = arena_new("test");
	const char *table = test_file(a, "table@example.org alice\n"
		"bare alice, far@elsewhere.test\n@caught.test alice\n");
	const struct auth *x = domains(a, table, "");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(strcmp(rcpt(a, x, rows[i].address),
			rows[i].want) == 0, "%s is %s", rows[i].address,
			rcpt(a, x, rows[i].address));
	ck_assert_view(route(a, x, "bare@example.org"),
		"local alice alice, remote far@elsewhere.test ");
	ck_assert_view(route(a, x, "any@relay.test"),
		"remote any@relay.test ");
	ck_assert_view(route(a, x, "moved@relay.test"), "local alice alice");
	unlink(table);
	arena_free(a);
}
END_TEST

START_TEST(relay_recipients)
{
	struct arena *a = arena_new("test");
	const char *table = test_file(a, "");
	const char *relay = test_file(a, "known@relay.test\n");
	const struct auth *x = domains(a, table, str_cstr(a,
		str_printf(a, "\"text:%s\"", relay)));
	ck_assert_str_eq(rcpt(a, x, "known@relay.test"), "relayed");
	ck_assert_str_eq(rcpt(a, x, "Known@Relay.Test"), "relayed");
	ck_assert_str_eq(rcpt(a, x, "other@relay.test"), "unknown");
	unlink(relay);
	unlink(table);
	arena_free(a);
}
END_TEST

/* A table that cannot be read says "later" for everybody it might know. */
START_TEST(table_away)
{
	struct arena *a = arena_new("test");
	const struct auth *x = domains(a, "/no/such/file", "");
	ck_assert_str_eq(rcpt(a, x, "nobody@example.org"), "later");
	ck_assert_view(route(a, x, "nobody@example.org"), "4.3.0");
	ck_assert_str_eq(rcpt(a, x, "x@elsewhere.test"), "elsewhere");
	arena_free(a);
}
END_TEST

START_TEST(table_users)
{
	struct arena *a = arena_new("test");
	const char *table = test_file(a,
		"zoe {PLAIN}z:1000:1000::/home/zoe::\n"
		"yan@virtual.test {PLAIN}y\nbroken x:y:z\n");
	struct auth *x = test_auth(a, str_cstr(a, str_printf(a,
		"general { domains = {example.org} }\naddress {\n"
		" virtual_domains = {virtual.test}\n"
		" users = {\"text:%s\"}\n}\n", table)), "", "");
	struct lookup l = {.auth = x, .arena = a};
	const struct user *u = lookup_login(&l, STR("zoe@example.org"));
	ck_assert_ptr_nonnull(u);
	ck_assert_view(u->home, "/home/zoe");
	ck_assert_view(u->ids, "1000:1000");
	ck_assert_view(route(a, x, "zoe@example.org"),
		"local zoe@example.org zoe");
	ck_assert_view(route(a, x, "yan@virtual.test"),
		"local yan@virtual.test yan@virtual.test");
	ck_assert_ptr_null(lookup_login(&l, STR("broken")));
	ck_assert(l.later);
	unlink(table);
	arena_free(a);
}
END_TEST

/* -------------------------------------------------------------- rewriting */

START_TEST(rewriting)
{
	static const struct {
		const char *from, *to;
	} rows[] = {
		{"alice@host.example.org", "alice@example.org"},
		{"root@host.example.org", "root@host.example.org"},
		{"alice@example.org", "Alice.Liddell@example.com"},
		{"bob@old.test", "bob@new.test"},
		{"\"b c\"@old.test", "\"b c\"@new.test"},
		{"x@elsewhere.test", "x@elsewhere.test"},
		{"x@nexample.org", "x@nexample.org"},
		{"", ""}, {"nonsense", "nonsense"},
	};
	struct arena *a = arena_new("test");
	const char *table = test_file(a,
		"alice@example.org Alice.Liddell@example.com\n"
		"@old.test @new.test\n");
	struct auth *x = test_auth(a, str_cstr(a, str_printf(a,
		"general { domains = {example.org} }\naddress {\n"
		" masquerade = {example.org}\n senders = {\"text:%s\"}\n}\n",
		table)), "alice:{PLAIN}a\n", "");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct lookup l = {.auth = x, .arena = a};
		struct str got = senders_rewrite(&l, str_from(rows[i].from));
		ck_assert_msg(str_eq(got, str_from(rows[i].to)), "%s is %.*s",
			rows[i].from, STR_ARG(got));
	}
	unlink(table);
	arena_free(a);
}
END_TEST

START_TEST(ownership)
{
	static const struct {
		const char *address;
		bool own;
	} rows[] = {
		{"alice@example.org", true}, {"alice+x@example.org", true},
		{"ALICE@example.org", true}, {"half@example.org", true},
		{"bob@example.org", false}, {"everybody@example.org", true},
		{"x@elsewhere.test", false}, {"nobody@example.org", false},
		{"any@example.net", true},
	};
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, conf, users, aliases);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct lookup l = {.auth = x, .arena = a};
		struct str address = str_from(rows[i].address);
		struct msg_sender q = {STR("alice"), {&address, 1}};
		struct msg_sender_result r;
		senders_answer(&l, &q, &r);
		ck_assert_msg(status_is_fine(r.status) == rows[i].own, "%s",
			rows[i].address);
	}
	arena_free(a);
}
END_TEST

/* One address, however it is written. */
START_TEST(row73_utf8)
{
	static const struct {
		const char *address, *want;
	} rows[] = {
		{"j\xc3\xb6rg@b\xc3\xbc" "cher.test", "taken"},
		{"jo\xcc\x88rg@b\xc3\xbc" "cher.test", "taken"},
		{"j\xc3\xb6rg@xn--bcher-kva.test", "taken"},
		{"J\xc3\xb6RG@XN--BCHER-KVA.test", "taken"},
		{"jorg@xn--bcher-kva.test", "unknown"},
		{"alice@xn--caf-dma.test", "taken"},
		{"alice@caf\xc3\xa9.test", "taken"},
		{"carl@caf\xc3\xa9.test", "taken"},
		{"carl@xn--caf-dma.test", "taken"},
	};
	struct arena *a = arena_new("test");
	const struct auth *x = test_auth(a, "general { domains = "
		"{b\xc3\xbc" "cher.test, xn--caf-dma.test} }",
		"alice:{PLAIN}a\nj\xc3\xb6rg:{PLAIN}j\n"
		"carl@caf\xc3\xa9.test:{PLAIN}c\n", "");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(strcmp(rcpt(a, x, rows[i].address),
			rows[i].want) == 0, "%s is %s", rows[i].address,
			rcpt(a, x, rows[i].address));
	arena_free(a);
}
END_TEST

START_TEST(commands)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, conf, users, aliases);
	struct msg_route_result r = {.status = status_fine()};
	struct lookup l = {.auth = x, .arena = a};
	ck_assert_view(route(a, x, "cmd+x@example.org"),
		"pipe cmd+x@example.org ");
	ck_assert_view(route(a, x, "cmds@example.org"),
		"pipe cmds@example.org , local alice alice");
	/* a client's address is none, however it begins */
	ck_assert_view(route(a, x, "|/bin/cmd"), "5.1.1");
	ck_assert_view(route(a, x, "|cmd@example.org"), "5.1.1");
	lookup_route(&l, STR("you@pipe.test"), &r);
	ck_assert_uint_eq(r.agent.n, 1);
	ck_assert_view(r.agent.v[0], "pipe");
	ck_assert_view(r.command.v[0], "one");
	ck_assert_view(r.ids.v[0], "-");
	/* a command nobody can run waits for its user */
	ck_assert_view(route(a, x, "you@lost.test"), "4.3.0");
	ck_assert_view(route(a, x, "you@else.test"), "remote you@else.test ");
	arena_free(a);
}
END_TEST

Suite *
suite_lookup(void)
{
	return SUITE("lookup", commands, broken_at_the_start, recipients, routes,
		routes_of_several, too_many, senders, logins,
		domain_classes, relay_recipients, table_away, table_users,
		rewriting, ownership, row73_utf8);
}
