/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of SASL: the first octet picks the mechanism, the rest are
 * lines.  They are responses to a server, challenges to a client, and a name
 * and a password with which client and server must find together.
 */
#include "base/arena.h"
#include "mail/sasl.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { STEPS_MOST = 8, ITERATIONS = 4096 };

static void
check_clean(struct str s)
{
	assert(s.n <= 255);
	for (size_t i = 0; i < s.n; i++)
		assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

/* Derived once: it costs thousands of hashes. */
static struct sasl_secret
secret_of(enum sasl_mechanism m)
{
	static struct arena *kept;
	static struct sasl_secret secrets[SASL_SCRAM_SHA_256_PLUS + 1];
	if (kept == NULL)
		kept = arena_new("secrets");
	if (secrets[m].iterations == 0)
		secrets[m] = sasl_make_secret(kept, m, STR("pencil"),
			STR("salt of the earth"), ITERATIONS);
	return secrets[m];
}

/* A stranger's responses never end in DONE: nobody guesses a proof. */
static void
check_server(struct arena *a, enum sasl_mechanism m, struct str lines)
{
	struct sasl_server s;
	struct str line;
	struct sasl_secret secret = secret_of(sasl_is_plaintext(m)
		? SASL_SCRAM_SHA_1 : m);
	sasl_server_start(&s, a, m, STR("fyko+d2lbbFgONRv9qkxdawL"),
		STR("octets of the channel"));
	for (int i = 0; i < STEPS_MOST && str_cut(&lines, '\n', &line); i++) {
		enum sasl_need need = sasl_server_step(&s, line);
		if (need == SASL_SECRET)
			need = sasl_server_secret(&s, &secret);
		assert(need != SASL_DONE);
		if (need == SASL_CHALLENGE)
			continue;
		if (need == SASL_PASSWORD) {
			assert(sasl_is_plaintext(m) && s.user.n > 0 &&
				s.password.n > 0);
			check_clean(s.user);
			check_clean(s.authzid);
			check_clean(s.password);
		}
		break;
	}
}

/* A count of iterations that is legal and takes long is not worth the time. */
static bool
is_costly(struct str line)
{
	size_t at = str_search(line, STR(",i="));
	return at < line.n && line.n - at > 3 + 4;
}

static void
check_client(struct arena *a, enum sasl_mechanism m, struct str lines)
{
	struct sasl_client c;
	struct str line;
	if (sasl_binds(m))
		return;
	/* Not the password of RFC 7677 3, whose server is a seed. */
	sasl_client_start(&c, a, m, STR("user"), STR("crayon"),
		STR("rOprNGfwEbeRWgbNEkqO"));
	if (!sasl_client_step(&c, STR("")))
		return;
	for (int i = 0; i < STEPS_MOST && str_cut(&lines, '\n', &line); i++) {
		if (is_costly(line))
			break;
		bool on = sasl_client_step(&c, line);
		assert(!c.server_proved || sasl_is_plaintext(m));
		if (!on)
			break;
	}
}

static bool
is_usable(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return s.n > 0 && s.n <= 255;
}

/* Both ends of one dialogue; what the server needs last. */
static enum sasl_need
talk(struct sasl_server *s, struct sasl_client *c,
	const struct sasl_secret *secret)
{
	enum sasl_need need = SASL_CHALLENGE;
	struct str none = {NULL, 0};
	for (int i = 0; i < STEPS_MOST; i++) {
		need = sasl_server_step(s, i == 0 ? none : c->response);
		if (need == SASL_SECRET)
			need = sasl_server_secret(s, secret);
		if (need != SASL_CHALLENGE && need != SASL_DONE)
			return need;
		if (need == SASL_DONE && s->challenge.n == 0)
			return need;
		if (!sasl_client_step(c, s->challenge))
			return SASL_REFUSED;
		if (need == SASL_DONE)
			return need;
	}
	return need;
}

static void
check_both(struct arena *a, enum sasl_mechanism m, struct str lines)
{
	struct sasl_server s;
	struct sasl_client c;
	struct str user, password;
	if (sasl_binds(m) || !str_cut(&lines, '\n', &user) ||
		!str_cut(&lines, '\n', &password) || !is_usable(user) ||
		!is_usable(password))
		return;
	bool plain = sasl_is_plaintext(m);
	/* Thousands of hashes each: now and then is enough. */
	if (!plain && user.n % 16 != 4)
		return;
	if (!plain)
		password = STR("pencil");
	struct sasl_secret secret =
		secret_of(plain ? SASL_SCRAM_SHA_1 : m);
	sasl_server_start(&s, a, m, STR("SrvNonce"), STR(""));
	sasl_client_start(&c, a, m, user, password, STR("CltNonce"));
	enum sasl_need need = talk(&s, &c, &secret);
	assert(need == (plain ? SASL_PASSWORD : SASL_DONE));
	assert(str_eq(s.user, user));
	assert(!plain || str_eq(s.password, password));
	assert(plain || c.server_proved);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str lines = str_skip(str_of(data, n), 1);
	enum sasl_mechanism m = (enum sasl_mechanism)(SASL_PLAIN +
		(n > 0 ? data[0] : 0) % SASL_SCRAM_SHA_256_PLUS);
	check_server(a, m, lines);
	check_client(a, m, lines);
	check_both(a, m, lines);
	arena_free(a);
	return 0;
}
