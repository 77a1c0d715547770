/* SPDX-License-Identifier: ISC */
/*
 * Fuzz entry of stored secrets, as other servers' tables have them: the first
 * line is the secret, the rest the password.  What is slow on purpose is
 * replaced, and sees only arguments that can be carried out; nobody is let in
 * whose digest differs.
 */
#include "auth/auth.h"
#include "base/arena.h"
#include "base/buf.h"

#include <argon2.h>
#include <assert.h>
#include <openssl/evp.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MADE = 0xa5, KIB_MOST = 2 << 20 };

/* Instead of libargon2's and libcrypto's: a digest of one kind of octet. */
int
argon2_ctx(argon2_context *c, argon2_type type)
{
	assert(type == Argon2_i || type == Argon2_id);
	assert(c->threads == 1 && c->m_cost <= KIB_MOST);
	assert(c->salt != NULL && c->saltlen > 0 && c->outlen > 0);
	memset(c->out, MADE, c->outlen);
	return ARGON2_OK;
}

int
PKCS5_PBKDF2_HMAC(const char *password, int n, const unsigned char *salt,
	int salt_n, int rounds, const EVP_MD *digest, int out_n,
	unsigned char *out)
{
	assert((password != NULL || n == 0) && (salt != NULL || salt_n == 0));
	assert(rounds > 0 && digest != NULL);
	memset(out, MADE, (size_t)out_n);
	return 1;
}

/* A secret of this kind has the digest above in it, in base64 or in
 * hexadecimal digits. */
static bool
has_made(struct str secret)
{
	return str_search(secret, STR("pa")) < secret.n ||
		str_search(secret, STR("paWl")) < secret.n ||
		str_search(secret, STR("a5a5")) < secret.n ||
		str_search(secret, STR("A5")) < secret.n;
}

static void
check_secret(struct arena *a, struct str secret, struct str password)
{
	enum sasl_mechanism m;
	struct sasl_secret scram;
	struct str label, digest;
	if (kdf_agrees(a, secret, password))
		assert(kdf_is(secret) && has_made(secret));
	if (digest_agrees(a, secret, password))
		assert(digest_is(secret) && password_is_weak(secret));
	if (scram_parse(a, secret, &m, &scram))
		assert(!kdf_is(secret) && !digest_is(secret));
	if (app_parse(a, secret, &label, &digest))
		assert(label.n > 0 && digest.n == 32);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena *a = arena_new("fuzz");
	struct str password = str_of(data, n), secrets, rest, one, hash, label;
	str_cut(&password, '\n', &secrets);
	rest = secrets;
	while (password_next(&rest, &one)) {
		assert(one.p >= secrets.p &&
			one.p + one.n <= secrets.p + secrets.n);
		check_secret(a, one, password);
	}
	rest = secrets;
	while (password_hash(a, &rest, &hash))
		assert(hash.n > 0 && rest.n < secrets.n);
	if (password_is_plain(secrets, password))
		assert(str_search(secrets, password) < secrets.n ||
			password.n == 0);
	if (password_is_app(a, secrets, password, &label))
		assert(password_has_app(secrets) && label.n > 0);
	arena_free(a);
	return 0;
}
