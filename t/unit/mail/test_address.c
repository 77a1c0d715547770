/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "mail/address.h"

/* NULL: refused. */
static const struct {
	const char *text, *normal;
	bool utf8;
} paths[] = {
	{"<a@b.example>", "a@b.example", false},
	{"<A.b@EXAMPLE.Org>", "A.b@example.org", false},
	{"<>", "", false},
	{"<postmaster>", "postmaster", false},
	{"<PostMaster>", "PostMaster", false},
	{"<alice>", NULL, false},
	{"<@x.org,@y.org:a@b>", "a@b", false},
	{"<@x.org a@b>", NULL, false},
	{"<\"a b\"@x>", "\"a b\"@x", false},
	{"<\"plain\"@x>", "plain@x", false},
	{"<\"a\\\"b\"@x>", "\"a\\\"b\"@x", false},
	{"<\"\"@x>", "\"\"@x", false},
	{"<\"a@b\"@c>", "\"a@b\"@c", false},
	{"<\"a\r\nb\"@c>", NULL, false},
	{"<\"a@c>", NULL, false},
	{"<a@[192.0.2.1]>", "a@[192.0.2.1]", false},
	{"<a@[IPv6:2001:DB8::1]>", "a@[ipv6:2001:db8::1]", false},
	{"<a@[IPv6:1:2:3:4:5:6:7:8]>", "a@[ipv6:1:2:3:4:5:6:7:8]", false},
	{"<a@[IPv6:1:2:3:4:5:6:7]>", NULL, false},
	{"<a@[IPv6:::ffff:192.0.2.1]>", "a@[ipv6:::ffff:192.0.2.1]", false},
	{"<a@[IPv6:1::2::3]>", NULL, false},
	{"<a@[300.0.0.1]>", NULL, false},
	{"<a@[192.0.2]>", NULL, false},
	{"<a@x.>", "a@x", false},
	{"<a@.x>", NULL, false},
	{"<a@x..y>", NULL, false},
	{"<a@-x>", NULL, false},
	{"<a@x_y.org>", "a@x_y.org", false},
	{"<.a@x>", NULL, false},
	{"<a.@x>", NULL, false},
	{"<a..b@x>", NULL, false},
	{"<a b@x>", NULL, false},
	{"<a@x", NULL, false},
	{"a@x>", NULL, false},
	{"<a%b@x>", "a%b@x", false},
	{"<x!a@b>", "x!a@b", false},
	{"<-rf@x>", "-rf@x", false},
	{"<;id|`$(x)@x>", NULL, false},
	{"<caf\xc3\xa9@x>", NULL, false},
	{"<caf\xc3\xa9@b\xc3\xbc" "cher.example>",
		"caf\xc3\xa9@b\xc3\xbc" "cher.example", true},
	{"<caf\xe9@x>", NULL, true},
	{"<a\xed\xa0\x80@x>", NULL, true},
};

START_TEST(what_a_path_is)
{
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct arena *a = arena_new("test");
		struct str text = str_from(paths[i].text);
		struct address x;
		bool ok = address_parse_path(a, &text, paths[i].utf8, &x);
		ck_assert_msg(ok == (paths[i].normal != NULL), "%s",
			paths[i].text);
		if (ok) {
			struct str normal = address_text(a, &x);
			ck_assert_uint_eq(text.n, 0);
			ck_assert_msg(str_eq(normal,
				str_from(paths[i].normal)), "%s: %.*s",
				paths[i].text, STR_ARG(normal));
		}
		arena_free(a);
	}
}
END_TEST

START_TEST(row40_lengths)
{
	struct arena *a = arena_new("test");
	char local[80], domain[300];
	struct address x;
	memset(local, 'a', sizeof local);
	ck_assert(address_parse(a, str_printf(a, "%.64s@x", local), false, &x));
	ck_assert(!address_parse(
		a, str_printf(a, "%.65s@x", local), false, &x));
	for (size_t i = 0; i < sizeof domain; i++)
		domain[i] = i % 60 == 59 ? '.' : 'd';
	ck_assert(address_parse(
		a, str_printf(a, "a@%.252s", domain), false, &x));
	ck_assert(!address_parse(
		a, str_printf(a, "a@%.256s", domain), false, &x));
	memset(domain, 'd', 64);
	ck_assert(!address_parse(
		a, str_printf(a, "a@%.64s", domain), false, &x));
	arena_free(a);
}
END_TEST

START_TEST(users_and_extensions)
{
	static const char *const rows[][3] = {
		{"bob+list", "bob", "list"}, {"bob", "bob", ""},
		{"+bob", "+bob", ""}, {"bob+", "bob+", ""},
		{"bob-a+b", "bob", "a+b"}, {"b", "b", ""}, {"", "", ""},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str user, ext;
		address_split(str_from(rows[i][0]), STR("+-"), &user, &ext);
		ck_assert(str_eq(user, str_from(rows[i][1])));
		ck_assert(str_eq(ext, str_from(rows[i][2])));
	}
}
END_TEST

START_TEST(international_domains)
{
	struct arena *a = arena_new("test");
	ck_assert_view(address_to_ascii(a, STR("b\xc3\xbc" "cher.example")),
		"xn--bcher-kva.example");
	ck_assert_view(address_to_unicode(a, STR("xn--bcher-kva.example")),
		"b\xc3\xbc" "cher.example");
	ck_assert_view(address_to_ascii(a, STR("x.example")), "x.example");
	arena_free(a);
}
END_TEST

Suite *
suite_address(void)
{
	return SUITE("address", what_a_path_is, row40_lengths,
		users_and_extensions, international_domains);
}
