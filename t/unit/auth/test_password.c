/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "auth_suites.h"
#include "base/arena.h"
#include "base/clock.h"
#include "sys/loop.h"

#include <crypt.h>

static int answers;
static bool last;

static void
answered(void *ctx, struct str answer)
{
	(void)ctx;
	answers++;
	last = str_eq(answer, STR("1"));
}

static void
turn_until(struct loop *l, int count)
{
	int64_t deadline = clock_in(60000);
	while (answers < count && clock_left(deadline) > 0)
		loop_turn(l, 100);
	ck_assert_int_eq(answers, count);
}

START_TEST(schemes)
{
	static const struct {
		const char *secret, *password;
		bool plain;
		const char *hash; /* NULL: none */
	} rows[] = {
		{"{PLAIN}secret", "secret", true, NULL},
		{"{plain}secret", "secret", true, NULL},
		{"{PLAIN}secret", "secreT", false, NULL},
		{"{PLAIN}secret", "secrets", false, NULL},
		{"{PLAIN}", "x", false, NULL},
		{"$6$salt$hash", "x", false, "$6$salt$hash"},
		{"{CRYPT}$y$j9T$x$y", "x", false, "$y$j9T$x$y"},
		{"{SHA512-CRYPT}$6$x$y", "x", false, "$6$x$y"},
		{"{blf-crypt}$2y$x", "x", false, "$2y$x"},
		{"{MD5-CRYPT}$1$x$y", "x", false, "$1$x$y"},
		{"{MD5}$1$x$y", "x", false, "$1$x$y"},
		{"{DES-CRYPT}abJnggxhB/yWI", "x", false,
			"abJnggxhB/yWI"},
		{"{SSHA}abcd", "x", false, "{SSHA}abcd"},
		{"{CLEARTEXT}secret", "secret", true, NULL},
		{"{CRYPT}$6$a$b {PLAIN}pl", "pl", true, "$6$a$b"},
		{"{PLAIN}a {PLAIN}b", "b", true, NULL},
		/* nobody gets in by these */
		{"", "", false, NULL},
		{"*", "*", false, NULL},
		{"!$6$x$y", "x", false, NULL},
		{"{CRAM-MD5}abc", "abc", false, NULL},
		{"{CRYPT}ab.old.des", "x", false, NULL},
	};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str secrets = str_from(rows[i].secret), hash = STR("");
		ck_assert_msg(password_is_plain(secrets,
			str_from(rows[i].password)) == rows[i].plain, "%zu", i);
		ck_assert_msg(password_hash(a, &secrets, &hash) ==
			(rows[i].hash != NULL), "%zu", i);
		if (rows[i].hash != NULL)
			ck_assert_msg(str_eq(hash, str_from(rows[i].hash)),
				"row %zu: %.*s", i, STR_ARG(hash));
	}
	arena_free(a);
}
END_TEST

/* "test", as doveadm pw has it; the third has two lanes, the fourth version 16 of
 * the algorithm, which says so by saying nothing. */
START_TEST(slow_hashes)
{
	static const char *const rows[] = {
		"{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$nb8gQn7wfBvcnAdvbxM0CQ$"
		"01Ro1BzHJF4RGu10ffOiLe776/r1auBp97mha8hnKbc",
		"{argon2id}$argon2id$v=19$m=65536,t=3,p=1$GvTQicNYKU8+wQRRtUMjRg"
		"$dJq3zF/FnYgUDPVmr6Wf+NQhRi6zjLgXEKWV7FMwT8U",
		"{ARGON2ID}$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHRzb21lc2FsdA$"
		"8Enb888kMJD3oLiCaBGc8NJYxRkV8fIAwGGCBVwmZWk",
		"{ARGON2I}$argon2i$m=256,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$"
		"wPCdeLYSeu63emJJ0OQmMb0HA1U9iewffvweFQJ8zOw",
		"{PBKDF2}$1$7MPdUk/UZycFy12a$5000$"
		"b1bf7dfb1a2dc360ede49b195f91218b3feebd4e",
	};
	static const char *const malformed[] = {"{ARGON2ID}", "{PBKDF2}",
		"{ARGON2ID}$argon2i$v=19$m=32,t=4,p=1$nb8gQn7wfBvcnAdvbxM0CQ$"
		"01Ro1BzHJF4RGu10ffOiLe776/r1auBp97mha8hnKbc",
		"{ARGON2I}$argon2i$v=19$m=4294967295,t=4,p=1$nb8gQn7wfBvcnAdvbx"
		"M0CQ$01Ro1BzHJF4RGu10ffOiLe776/r1auBp97mha8hnKbc",
		"{ARGON2I}$argon2i$v=19$m=32,t=0,p=1$nb8gQn7wfBvcnAdvbxM0CQ$"
		"01Ro1BzHJF4RGu10ffOiLe776/r1auBp97mha8hnKbc",
		"{ARGON2I}$argon2i$v=19$m=32,t=1,p=1$nb8gQn7wfBvcnAdvbxM0CQ$",
		"{ARGON2I}$argon2i$v=19$m=32,t=1,p=1$$AAAA",
		"{PBKDF2}$1$salt$0$b1bf7dfb1a2dc360ede49b195f91218b3feebd4e",
		"{PBKDF2}$1$salt$9999999999$b1bf7dfb1a2dc360ede49b195f91218b3f"
		"eebd4e", "{PBKDF2}$1$salt$5$b1bf", "{PBKDF2}$2$s$1$00", ""};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str s = str_from(rows[i]);
		ck_assert(kdf_is(s) && !password_is_weak(s));
		ck_assert_msg(kdf_agrees(a, s, STR("test")), "%s", rows[i]);
		ck_assert(!kdf_agrees(a, s, STR("tests")));
		ck_assert(!kdf_agrees(a, s, STR("")));
	}
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
		ck_assert_msg(!kdf_agrees(a, str_from(malformed[i]),
			STR("test")), "%s", malformed[i]);
	arena_free(a);
}
END_TEST

/* "test" by each scheme, as other servers' tools write it. */
START_TEST(digests)
{
	static const char *const rows[] = {
		"{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
		"{sha1}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
		"{SSHA}9DgilxbKtDVpSW86NjCzcnUkuBtzYWx0",
		"{SHA256}n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
		"{SSHA256}Tt8H7clbL9y8ryN4/RLYrCEsKqbjJsWcPmKb4wOdZDJzYWx0",
		"{SMD5}MVJAxhIYpKhh7JSRZqhe8HNhbHQ=",
		"{LDAP-MD5}CY9rzUYh03PK3k6DJie09g==",
		"{PLAIN-MD5}098f6bcd4621d373cade4e832627b4f6",
		"{MD5}098f6bcd4621d373cade4e832627b4f6",
		"{MD5}CY9rzUYh03PK3k6DJie09g==",
		/* written otherwise */
		"{SHA256.HEX}9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd1"
		"5d6c15b0f00a08",
		"{sha256}9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c"
		"15b0f00a08",
		"{SSHA256.hex}e374c8bc928dd5380be6f9b3ee8e0ef622189ce7d0a507153"
		"1d76d664e03173b56aa82ea",
		"{SHA1.B64}qUqP5cyxm6YcTAhz05Hph5gvu9M=",
		"{PLAIN-MD5.base64}CY9rzUYh03PK3k6DJie09g==",
		"{LDAP-MD5}098f6bcd4621d373cade4e832627b4f6",
	};
	static const char *const malformed[] = {"{SHA}", "{SHA}!", "{SSHA}abcd",
		"{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9NzYWx0",
		"{PLAIN-MD5}098f6bcd4621d373cade4e832627b4",
		"{SHA.OCT}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "{SHA.}", "{.HEX}00",
		"{SHA256.HEX}n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
		"{SHA", "{}", "{MD5}$1$x$y", ""};
	struct arena *a = arena_new("test");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct str s = str_from(rows[i]);
		ck_assert_msg(digest_agrees(a, s, STR("test")), "%s", rows[i]);
		ck_assert(!digest_agrees(a, s, STR("tests")));
		ck_assert(!digest_agrees(a, s, STR("")));
		ck_assert(password_is_weak(s));
	}
	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
		ck_assert(!digest_agrees(
			a, str_from(malformed[i]), STR("test")));
	ck_assert(password_is_weak(STR("{MD5-CRYPT}$1$x$y")));
	ck_assert(password_is_weak(STR("$1$x$y")));
	ck_assert(password_is_weak(STR("{MD5}$1$x$y")));
	ck_assert(password_is_weak(STR("{CRYPT}abJnggxhB/yWI")));
	ck_assert(!password_is_weak(STR("$6$x$y")));
	ck_assert(!password_is_weak(password_decoy()));
	ck_assert(!password_is_weak(STR("{SCRAM-SHA-256}1,a,b,c")));
	arena_free(a);
}
END_TEST

/* The digest is that of "abcde"; as people type it. */
START_TEST(app_passwords)
{
	struct arena *a = arena_new("test");
	struct str label = STR(""), digest;
	struct str secrets = STR("{CRYPT}$6$x$y "
		"{APP}phone,NrvlDtloQdEEQ7y2cNZVTwo0t2G+Z+ycSorSwMRMpCw= "
		"{APP}old,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
	ck_assert(password_is_app(a, secrets, STR("abcde"), &label));
	ck_assert_view(label, "phone");
	ck_assert(password_is_app(a, secrets, STR("AB-cd e"), &label));
	ck_assert(!password_is_app(a, secrets, STR("abcdf"), &label));
	ck_assert(!password_is_app(a, secrets, STR(""), &label));
	ck_assert(!password_is_app(a, STR("{CRYPT}$6$x$y"), STR("abcde"),
		&label));
	ck_assert(password_has_app(secrets));
	ck_assert(!password_has_app(STR("{CRYPT}$6$x$y")));
	ck_assert(app_parse(a, STR("{APP}x,"
		"NrvlDtloQdEEQ7y2cNZVTwo0t2G+Z+ycSorSwMRMpCw="), &label,
		&digest));
	ck_assert(!app_parse(a, STR("{APP}x"), &label, &digest));
	ck_assert(!app_parse(a, STR("{APP},NrvlDtloQdEEQ7y2cNZVTwo0t2G+Z+"
		"ycSorSwMRMpCw="), &label, &digest));
	ck_assert(!app_parse(a, STR("{APP}x,abcd"), &label, &digest));
	arena_free(a);
}
END_TEST

START_TEST(hashers_answer)
{
	struct arena *a = arena_new("test");
	struct program *p = arena_one(a, struct program);
	p->arena = a;
	struct loop *l = loop_new(a);
	struct hashers *h = hashers_fork(p, &hasher_hashes, 2);
	hashers_start(h, l);
	const char *right = crypt("Hello world!", "$6$saltstring");
	ck_assert_ptr_nonnull(right);
	answers = 0;
	ck_assert(hashers_ask(h, str_from(right), STR("Hello world!"), answered,
		NULL));
	turn_until(l, 1);
	ck_assert(last);
	ck_assert(hashers_ask(h, str_from(right), STR("Hello world"), answered,
		NULL));
	turn_until(l, 2);
	ck_assert(!last);
	ck_assert(hashers_ask(h, STR("nonsense"), STR("x"), answered, NULL));
	turn_until(l, 3);
	ck_assert(!last);
	/* what no hash can be asked about */
	ck_assert(!hashers_ask(h, STR("$6$a\0b"), STR("x"), answered, NULL));
	ck_assert(!hashers_ask(h, str_from(right), STR("x\0y"), answered, NULL));
	/* more than the workers: in order, none forgotten */
	for (int i = 0; i < 20; i++)
		ck_assert(hashers_ask(h, str_from(right), STR("Hello world!"),
			answered, NULL));
	turn_until(l, 23);
	ck_assert(last);
	arena_free(a);
}
END_TEST

START_TEST(decoy_is_a_hash)
{
	/* crypt(3) must take as long over it as over a real one */
	ck_assert(str_starts(password_decoy(), STR("$y$j9T$")));
	ck_assert_uint_eq(password_decoy().n, 73);
}
END_TEST

START_TEST(cache)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, "auth { cache = 1m }",
		"alice:{PLAIN}a\nbob:{PLAIN}a\n", "");
	const struct user *alice = users_find(x->users, STR("alice"));
	const struct user *bob = users_find(x->users, STR("bob"));
	struct user changed = *alice;
	x->cache = map_new(a);
	ck_assert(!cache_has(x, a, alice, STR("pw")));
	cache_add(x, a, alice, STR("pw"));
	ck_assert(cache_has(x, a, alice, STR("pw")));
	ck_assert(!cache_has(x, a, alice, STR("pW")));
	ck_assert(!cache_has(x, a, bob, STR("pw")));
	/* a new password in the table ends the old one's memory */
	changed.secret = STR("{PLAIN}b");
	ck_assert(!cache_has(x, a, &changed, STR("pw")));
	/* bounded */
	for (int i = 0; i < 30000; i++) {
		struct arena_mark m = arena_mark(a);
		cache_add(x, a, alice, str_printf(a, "pw%d", i));
		arena_rewind(a, m);
	}
	ck_assert_uint_le(map_count(x->cache), 10000);
	arena_free(a);
}
END_TEST

START_TEST(cache_ends)
{
	struct arena *a = arena_new("test");
	struct auth *x = test_auth(a, "auth { cache = 1s }",
		"alice:{PLAIN}a\n", "");
	const struct user *alice = users_find(x->users, STR("alice"));
	x->cache = map_new(a);
	cache_add(x, a, alice, STR("pw"));
	int64_t deadline = clock_in(60000);
	while (cache_has(x, a, alice, STR("pw")))
		ck_assert_int_gt(clock_left(deadline), 0);
	ck_assert_uint_eq(map_count(x->cache), 0);
	x = test_auth(a, "auth { cache = 0 }", "alice:{PLAIN}a\n", "");
	x->cache = map_new(a);
	cache_add(x, a, alice, STR("pw"));
	ck_assert(!cache_has(x, a, alice, STR("pw")));
	arena_free(a);
}
END_TEST

Suite *
suite_password(void)
{
	return SUITE("password", schemes, digests, slow_hashes, app_passwords,
		hashers_answer, decoy_is_a_hash,
		cache, cache_ends);
}
