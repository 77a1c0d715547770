/* SPDX-License-Identifier: ISC */
/*
 * Secrets for SCRAM (RFC 5802, 7677).  A stored one reads as other servers'
 * tables have it:
 *
 *	{SCRAM-SHA-256}4096,<salt>,<stored key>,<server key>
 *
 * the last three in base64.  From a password in the table one is derived when
 * it is needed, by a hasher.  Who is not there gets a salt and a refusal like
 * everybody else.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

enum { ITERATIONS = 4096, SALT = 16, ITERATIONS_MOST = 1000000 };

static const struct {
	struct str scheme;
	enum sasl_mechanism mechanism;
	size_t key;
} schemes[] = {
	{STR_INIT("{SCRAM-SHA-1}"), SASL_SCRAM_SHA_1, 20},
	{STR_INIT("{SCRAM-SHA-256}"), SASL_SCRAM_SHA_256, 32},
};

enum { SCHEMES = sizeof schemes / sizeof *schemes };

static enum sasl_mechanism
without_plus(enum sasl_mechanism m)
{
	return m == SASL_SCRAM_SHA_1_PLUS ? SASL_SCRAM_SHA_1 :
		m == SASL_SCRAM_SHA_256_PLUS ? SASL_SCRAM_SHA_256 : m;
}

static bool
take_base64(struct arena *a, struct str *rest, struct str *octets)
{
	struct str piece;
	struct buf *out = buf_new(a);
	if (!str_cut(rest, ',', &piece) || !base64_decode(out, piece))
		return false;
	*octets = buf_str(out);
	return octets->n > 0;
}

bool
scram_parse(struct arena *a, struct str secret, enum sasl_mechanism *m,
	struct sasl_secret *out)
{
	struct str number;
	uint64_t iterations;
	size_t i = 0;
	while (i < SCHEMES && !str_starts_nocase(secret, schemes[i].scheme))
		i++;
	if (i == SCHEMES)
		return false;
	secret = str_skip(secret, schemes[i].scheme.n);
	if (!str_cut(&secret, ',', &number) ||
		!str_number(number, ITERATIONS_MOST, &iterations) ||
		iterations < ITERATIONS || !take_base64(a, &secret, &out->salt) ||
		!take_base64(a, &secret, &out->stored_key) ||
		!take_base64(a, &secret, &out->server_key) ||
		secret.p != NULL || out->stored_key.n != schemes[i].key ||
		out->server_key.n != schemes[i].key)
		return false;
	*m = schemes[i].mechanism;
	out->iterations = (uint32_t)iterations;
	return true;
}

enum scram_find
scram_find(struct arena *a, struct str secrets, enum sasl_mechanism m,
	struct sasl_secret *out, struct str *password)
{
	enum sasl_mechanism has;
	struct str secret;
	enum scram_find found = SCRAM_NONE;
	while (password_next(&secrets, &secret)) {
		if (scram_parse(a, secret, &has, out)) {
			if (has == without_plus(m))
				return SCRAM_STORED;
		} else if (str_starts_nocase(secret, STR("{PLAIN}"))) {
			*password = str_skip(secret, 7);
			found = SCRAM_DERIVE;
		}
	}
	return found;
}

struct str
scram_salt(const struct auth *x, struct arena *a, struct str name)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	HMAC(EVP_sha256(), x->decoy_key, sizeof x->decoy_key,
		(const unsigned char *)name.p, name.n, digest, &n);
	return str_copy(a, str_of(digest, SALT));
}

struct sasl_secret
scram_decoy(struct arena *a, struct str salt, uint32_t iterations)
{
	unsigned char *keys = arena_alloc(a, 64);
	RAND_bytes(keys, 64);
	return (struct sasl_secret){.salt = salt,
		.iterations = iterations > 0 ? iterations : ITERATIONS,
		.stored_key = str_of(keys, 32),
		.server_key = str_of(keys + 32, 32)};
}

struct str
scram_question(struct arena *a, enum sasl_mechanism m, struct str salt)
{
	struct buf *out = buf_new(a);
	struct str name = sasl_name(without_plus(m));
	buf_printf(out, "derive:%.*s,%d,", STR_ARG(name), ITERATIONS);
	base64_encode(out, salt);
	return buf_str(out);
}

bool
scram_answer(struct arena *a, struct str answer, struct str salt,
	struct sasl_secret *out)
{
	if (answer.n != 40 && answer.n != 64)
		return false;
	answer = str_copy(a, answer);
	*out = (struct sasl_secret){.salt = salt, .iterations = ITERATIONS,
		.stored_key = str_head(answer, answer.n / 2),
		.server_key = str_skip(answer, answer.n / 2)};
	return true;
}

struct str_list
scram_offer(const struct auth *x, struct arena *a)
{
	struct str mode = x->conf->auth.scram;
	bool all = str_eq(mode, STR("yes")), none = str_eq(mode, STR("no"));
	/* What further tables hold cannot be known. */
	none = none || (!all && x->conf->address.users.n > 0);
	struct str_list out = {arena_array(a, 4, sizeof *out.v), 0};
	if (all || (!none && x->users->scram_sha_256))
		out.v[out.n++] = STR("SCRAM-SHA-256");
	if (all || (!none && x->users->scram_sha_1))
		out.v[out.n++] = STR("SCRAM-SHA-1");
	out.v[out.n++] = STR("PLAIN");
	out.v[out.n++] = STR("LOGIN");
	return out;
}
