/* SPDX-License-Identifier: ISC */
#include "suites.h"
#include "mail.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"
#include "mail/sasl.h"

static struct sasl_server server;

static enum sasl_need
begin(struct arena *a, enum sasl_mechanism m, const char *nonce,
	const char *binding)
{
	sasl_server_start(
		&server, a, m, str_from(nonce), str_from(binding));
	return SASL_CHALLENGE;
}

START_TEST(plain)
{
	static const struct {
		struct str response;
		enum sasl_need need;
	} rows[] = {
		{STR_INIT("\0alice\0secret"), SASL_PASSWORD},
		{STR_INIT("bob\0alice\0secret"), SASL_PASSWORD},
		{STR_INIT("\0alice\0"), SASL_MALFORMED},
		{STR_INIT("\0\0secret"), SASL_MALFORMED},
		{STR_INIT("alice\0secret"), SASL_MALFORMED},
		{STR_INIT("\0alice\0secret\0"), SASL_MALFORMED},
		{STR_INIT("\0al\nice\0secret"), SASL_MALFORMED},
		{STR_INIT(""), SASL_MALFORMED},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		begin(a, SASL_PLAIN, "", "");
		ck_assert_int_eq(sasl_server_step(&server, rows[i].response),
			rows[i].need);
		if (rows[i].need == SASL_PASSWORD) {
			ck_assert_view(server.user, "alice");
			ck_assert_view(server.password, "secret");
		}
		arena_free(a);
	}
}
END_TEST

START_TEST(plain_and_login_without_initial_response)
{
	struct arena *a = arena_new("test");
	begin(a, SASL_PLAIN, "", "");
	ck_assert_int_eq(sasl_server_step(&server, (struct str){NULL, 0}),
		SASL_CHALLENGE);
	ck_assert_uint_eq(server.challenge.n, 0);
	ck_assert_int_eq(sasl_server_step(&server, STR("\0a\0b")),
		SASL_PASSWORD);
	begin(a, SASL_LOGIN, "", "");
	ck_assert_int_eq(sasl_server_step(&server, (struct str){NULL, 0}),
		SASL_CHALLENGE);
	ck_assert_view(server.challenge, "Username:");
	ck_assert_int_eq(sasl_server_step(&server, STR("alice")),
		SASL_CHALLENGE);
	ck_assert_view(server.challenge, "Password:");
	ck_assert_int_eq(sasl_server_step(&server, STR("pw")), SASL_PASSWORD);
	ck_assert_view(server.user, "alice");
	/* with the name along with AUTH LOGIN */
	begin(a, SASL_LOGIN, "", "");
	ck_assert_int_eq(sasl_server_step(&server, STR("alice")),
		SASL_CHALLENGE);
	ck_assert_view(server.challenge, "Password:");
	arena_free(a);
}
END_TEST

/* RFC 7677 3 and RFC 5802 5. */
static void
vector(enum sasl_mechanism m, const char *const text[5], const char *salt64)
{
	struct arena *a = arena_new("test");
	struct buf *salt = buf_new(a);
	begin(a, m, text[4], "");
	ck_assert(base64_decode(salt, str_from(salt64)));
	struct sasl_secret secret = sasl_make_secret(
		a, m, STR("pencil"), buf_str(salt), 4096);
	ck_assert_int_eq(sasl_server_step(&server, str_from(text[0])),
		SASL_SECRET);
	ck_assert_view(server.user, "user");
	ck_assert_int_eq(sasl_server_secret(&server, &secret), SASL_CHALLENGE);
	ck_assert_msg(str_eq(server.challenge, str_from(text[1])), "%.*s",
		STR_ARG(server.challenge));
	ck_assert_int_eq(sasl_server_step(&server, str_from(text[2])),
		SASL_DONE);
	ck_assert_msg(str_eq(server.challenge, str_from(text[3])), "%.*s",
		STR_ARG(server.challenge));
	arena_free(a);
}

START_TEST(scram_vectors)
{
	static const char *const sha1[] = {
		"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
		"s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,"
		"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=", "3rfcNHYJY1ZVvWVs7j"};
	static const char *const sha256[] = {
		"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"};
	vector(SASL_SCRAM_SHA_1, sha1, "QSXCR+Q6sek8bf92");
	vector(SASL_SCRAM_SHA_256, sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
}
END_TEST

/* Our client against our server; password as given on either side. */
static bool
dialogue(const char *server_password, const char *client_password,
	const char *user)
{
	struct arena *a = arena_new("test");
	struct sasl_client client;
	enum sasl_mechanism m = SASL_SCRAM_SHA_256;
	struct sasl_secret secret = sasl_make_secret(
		a, m, str_from(server_password), STR("salty"), 4096);
	begin(a, m, "servernonce", "");
	sasl_client_start(&client, a, m, str_from(user),
		str_from(client_password), STR("clientnonce"));
	ck_assert(sasl_client_step(&client, STR("")));
	ck_assert_int_eq(sasl_server_step(&server, client.response),
		SASL_SECRET);
	ck_assert(str_eq(server.user, str_from(user)));
	sasl_server_secret(&server, &secret);
	ck_assert(sasl_client_step(&client, server.challenge));
	enum sasl_need need = sasl_server_step(&server, client.response);
	bool ok = need == SASL_DONE &&
		sasl_client_step(&client, server.challenge) &&
		client.server_proved;
	ck_assert(ok || need == SASL_REFUSED);
	/* Nothing more is taken after the end. */
	ck_assert_int_ne(sasl_server_step(&server, client.response),
		SASL_DONE);
	arena_free(a);
	return ok;
}

START_TEST(scram_client_and_server)
{
	ck_assert(dialogue("right", "right", "alice"));
	ck_assert(dialogue("right", "right", "a,b=c"));
	ck_assert(!dialogue("right", "wrong", "alice"));
}
END_TEST

START_TEST(scram_binding)
{
	static const struct {
		enum sasl_mechanism m;
		const char *binding, *first;
		enum sasl_need need;
	} rows[] = {
		{SASL_SCRAM_SHA_256_PLUS, "exporter",
			"p=tls-exporter,,n=u,r=x", SASL_SECRET},
		{SASL_SCRAM_SHA_256_PLUS, "exporter", "n,,n=u,r=x",
			SASL_MALFORMED},
		{SASL_SCRAM_SHA_256_PLUS, "exporter", "p=tls-unique,,n=u,r=x",
			SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "exporter", "p=tls-exporter,,n=u,r=x",
			SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "exporter", "y,,n=u,r=x", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "y,,n=u,r=x", SASL_SECRET},
		{SASL_SCRAM_SHA_256, "", "n,,n=u=2X,r=x", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "n,,n=u,r=", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "n,,n=,r=x", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "n,,m=ext,n=u,r=x", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "n", SASL_MALFORMED},
		{SASL_SCRAM_SHA_256, "", "", SASL_MALFORMED},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new("test");
		begin(a, rows[i].m, "nonce", rows[i].binding);
		ck_assert_msg(sasl_server_step(&server,
			str_from(rows[i].first)) == rows[i].need, "row %zu", i);
		arena_free(a);
	}
}
END_TEST

START_TEST(names)
{
	for (int m = SASL_PLAIN; m <= SASL_SCRAM_SHA_256_PLUS; m++)
		ck_assert_int_eq(sasl_mechanism(sasl_name(
			(enum sasl_mechanism)m)), m);
	ck_assert_int_eq(sasl_mechanism(STR("plain")), SASL_PLAIN);
	ck_assert_int_eq(sasl_mechanism(STR("CRAM-MD5")), SASL_NONE);
}
END_TEST

Suite *
suite_sasl(void)
{
	return SUITE("sasl", plain, plain_and_login_without_initial_response,
		scram_vectors, scram_client_and_server, scram_binding, names);
}
