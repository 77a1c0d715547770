/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/buf.h"

static struct buf *errors;

static struct users *
parse(struct arena *a, const char *text)
{
	errors = buf_new(a);
	return users_parse(a, str_from(text), "users", STR("/mail"), errors);
}

START_TEST(fields_and_defaults)
{
	struct arena *a = arena_new("test");
	struct users *u = parse(a, "# a comment\n\n"
		"alice:{CRYPT}$6$x:1000:1001:Alice:/home/alice:/bin/sh:\n"
		"  Bob@Example.ORG:{PLAIN}b:::::::\r\n"
		"carol:$y$j9T$x\n"
		"dave:{PLAIN}d:-:-::::x, disabled\n");
	ck_assert_msg(u != NULL, "%.*s", STR_ARG(buf_str(errors)));
	struct user *alice = users_find(u, STR("ALICE"));
	ck_assert_ptr_nonnull(alice);
	ck_assert_view(alice->name, "alice");
	ck_assert_view(alice->secret, "{CRYPT}$6$x");
	ck_assert_view(alice->ids, "1000:1001");
	ck_assert_view(alice->home, "/home/alice");
	ck_assert(!alice->disabled);
	struct user *bob = users_find(u, STR("bob@example.org"));
	ck_assert_ptr_nonnull(bob);
	ck_assert_view(bob->home, "/mail/example.org/bob");
	ck_assert_view(bob->ids, "-");
	ck_assert_view(users_find(u, STR("carol"))->home, "/mail/carol");
	ck_assert(users_find(u, STR("dave"))->disabled);
	ck_assert_ptr_null(users_find(u, STR("bob")));
	ck_assert_ptr_null(users_find(u, STR("")));
	arena_free(a);
}
END_TEST

START_TEST(who_may_log_in_where)
{
	struct arena *a = arena_new("test");
	struct users *u = parse(a,
		"any:{PLAIN}x::::::\n"
		"off:{PLAIN}x::::::disabled\n"
		"six:{PLAIN}x::::::o=1,allow_nets=192.0.2.0/24 2001:db8::/32,"
		" protocols=imap submission\n");
	ck_assert_msg(u != NULL, "%.*s", STR_ARG(buf_str(errors)));
	static const struct {
		const char *name, *service, *client;
		bool may;
	} rows[] = {
		{"any", "pop3", "198.51.100.1", true},
		{"any", "imap", "unix", true},
		{"off", "imap", "192.0.2.1", false},
		{"six", "imap", "192.0.2.77", true},
		{"six", "submission", "2001:db8::5", true},
		{"six", "imap", "192.0.3.1", false},
		{"six", "imap", "unix", false},
		{"six", "pop3", "192.0.2.77", false},
		{"six", "smtp", "192.0.2.77", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(users_may_login(
			users_find(u, str_from(rows[i].name)),
			str_from(rows[i].service), str_from(rows[i].client)) ==
			rows[i].may, "row %zu", i);
	arena_free(a);
}
END_TEST

START_TEST(every_mistake_with_its_line)
{
	static const struct {
		const char *text, *complaint;
	} rows[] = {
		{"alice\n", "users:1: a line is name:"},
		{"\n#\nalice\n", "users:3: a line is name:"},
		{":x\n", "users:1: that name cannot be"},
		{".alice:x\n", "users:1: that name cannot be"},
		{"-rf:x\n", "users:1: that name cannot be"},
		{"al/ice:x\n", "users:1: that name cannot be"},
		{"al ice:x\n", "users:1: that name cannot be"},
		{"a..b:x\n", "users:1: that name cannot be"},
		{"a@.b:x\n", "users:1: that name cannot be"},
		{"@b:x\n", "users:1: that name cannot be"},
		{"a@:x\n", "users:1: that name cannot be"},
		{"@:x\n", "users:1: that name cannot be"},
		{"a:x::::::allow_nets=10.0.0.0/33\n", "users:1: allow_nets"},
		{"a:x::::::allow_nets=\n", "users:1: allow_nets"},
		{"a:x::::::protocols=imap ftp\n", "users:1: protocols"},
		{"a:{APP}x::::::\n", "users:1: an app password"},
		{"a:x:1000\n", "users:1: uid and gid"},
		{"a:x:1000:\n", "users:1: uid and gid"},
		{"a:x:one:two\n", "users:1: uid and gid"},
		{"a:x:4294967295:1\n", "users:1: uid and gid"},
		{"a:x:0:0\n", "users:1: root cannot have mail"},
		{"a:x:1000:0\n", "users:1: root cannot have mail"},
		{"a:x:::A:relative\n", "users:1: home must be"},
		{"a:x\nb:y\nA:z\n", "users:3: the user stands here twice"},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		ck_assert_msg(parse(a, rows[i].text) == NULL, "row %zu", i);
		ck_assert_msg(str_starts(buf_str(errors),
			str_from(rows[i].complaint)), "row %zu: %.*s", i,
			STR_ARG(buf_str(errors)));
		arena_free(a);
	}
}
END_TEST

START_TEST(all_mistakes_at_once)
{
	struct arena *a = arena_new("test");
	ck_assert_ptr_null(parse(a, "good:x\nbad\ngood:y\n-:z\n"));
	ck_assert_msg(str_search(buf_str(errors), STR("users:2: ")) == 0,
		"%.*s", STR_ARG(buf_str(errors)));
	ck_assert(str_search(buf_str(errors), STR("\nusers:3: ")) <
		errors->n);
	ck_assert(str_search(buf_str(errors), STR("\nusers:4: ")) <
		errors->n);
	arena_free(a);
}
END_TEST

START_TEST(ten_thousand)
{
	struct arena *a = arena_new("test");
	arena_limit(a, 256 << 20);
	struct buf *text = buf_new(a);
	for (int i = 0; i < 10000; i++)
		buf_printf(text, "user%d@example.org:{PLAIN}p\n", i);
	struct users *u = users_parse(
		a, buf_str(text), "users", STR("/mail"), buf_new(a));
	ck_assert_ptr_nonnull(u);
	ck_assert_uint_eq(map_count(u->by_name), 10000);
	ck_assert_ptr_nonnull(users_find(u, STR("user9999@example.org")));
	arena_free(a);
}
END_TEST

START_TEST(limits)
{
	static const struct {
		const char *options, *want; /* NULL: refused */
	} rows[] = {
		{"", "1048576 0 90 0"},
		{"quota=2g", "2147483648 0 90 0"},
		{"quota=0", "0 0 90 0"},
		{"quota_messages=7,quota_warn=50", "1048576 7 50 0"},
		{"allow_nets=::1,quota=64k", "65536 0 90 0"},
		{"quota=", NULL},
		{"quota=much", NULL},
		{"quota=-1", NULL},
		{"quota_messages=1k", NULL},
		{"quota_warn=0", NULL},
		{"quota_warn=101", NULL},
	};
	struct arena *a = arena_new("test");
	struct conf c = {.general = {.quota = 1 << 20, .quota_warn = 90}};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct user u = {.disabled = false};
		struct str line = str_printf(a, "a:{PLAIN}x::::::%s",
			rows[i].options);
		const char *wrong = users_parse_line(a, line, STR("/m"), &u);
		ck_assert_msg((wrong == NULL) == (rows[i].want != NULL),
			"%s", rows[i].options);
		if (wrong == NULL)
			ck_assert(str_eq(users_limits(a, &c, &u),
				str_from(rows[i].want)));
	}
	arena_free(a);
}
END_TEST

Suite *
suite_users(void)
{
	return SUITE("users", fields_and_defaults, who_may_log_in_where, every_mistake_with_its_line,
		all_mistakes_at_once, ten_thousand, limits);
}
