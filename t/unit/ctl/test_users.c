/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "ctl_suites.h"
#include "ctl.h"
#include "base/arena.h"

#include <crypt.h>

START_TEST(names)
{
	static const struct {
		const char *name;
		bool ok;
	} rows[] = {
		{"alice", true}, {"alice@example.org", true},
		{"a.b+c", true}, {"\xc3\xa4", true},
		{"", false}, {"a:b", false}, {"a/b", false}, {"..", false},
		{".x", false}, {"a b", false}, {"a\nb", false},
		{"a@b@c", false}, {"@b", false}, {"a@", false},
		{"a@..", false}, {"#a", false}, {"a\x7f", false}, {"-x", false},
		{"a..b", false},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(user_name_ok(str_from(rows[i].name)) ==
			rows[i].ok, "%s", rows[i].name);
}
END_TEST

START_TEST(lines_hold_a_hash)
{
	struct arena *a = arena_new("test");
	struct str line = user_line(a, STR("al"), STR("geheim"), STR("/h"), 1);
	struct str rest = line, name, secret;
	struct crypt_data data = {0};
	ck_assert(str_cut(&rest, ':', &name) && str_cut(&rest, ':', &secret));
	ck_assert_view(name, "al");
	ck_assert_view(rest, ":::/h::\n");
	ck_assert(str_starts(secret, STR("{CRYPT}$y$")));
	const char *hash = str_cstr(a, str_skip(secret, 7));
	ck_assert_str_eq(crypt_r("geheim", hash, &data), hash);
	ck_assert_str_ne(crypt_r("geheim ", hash, &data), hash);
	arena_free(a);
}
END_TEST

Suite *
suite_users(void)
{
	return SUITE("users", names, lines_hold_a_hash);
}
