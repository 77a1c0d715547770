/* SPDX-License-Identifier: ISC */
/* What the private key signs for whoever may ask, and what not. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "suites.h"
#include "tls.h"
#include "base/arena.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

enum { SIZE_MOST = 512 };

Suite *suite_key_sign(void);

static struct status
ask(struct arena *a, EVP_PKEY *key, const char *algorithm, const void *block,
	size_t n, struct str *signature)
{
	return key_sign(a, key, str_from(algorithm), str_of(block, n),
		signature);
}

static bool
is_refused(struct arena *a, EVP_PKEY *key, const char *algorithm,
	const void *block, size_t n)
{
	struct str signature = STR("x");
	struct status s = ask(a, key, algorithm, block, n, &signature);
	return s.class == STATUS_NEVER && signature.n == 0;
}

/* Is it the signature of that digest, as RSA-PSS of TLS? */
static bool
verifies(EVP_PKEY *key, const EVP_MD *md, const unsigned char *digest,
	struct str signature)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(key, NULL);
	bool ok = EVP_PKEY_verify_init(c) == 1 &&
		EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PSS_PADDING) == 1 &&
		EVP_PKEY_CTX_set_signature_md(c, md) == 1 &&
		EVP_PKEY_CTX_set_rsa_pss_saltlen(
			c, RSA_PSS_SALTLEN_DIGEST) == 1 &&
		EVP_PKEY_verify(c, (const unsigned char *)signature.p,
			signature.n, digest, (size_t)EVP_MD_get_size(md)) == 1;
	EVP_PKEY_CTX_free(c);
	return ok;
}

/* Keys of lengths that are and that are not whole octets, less the one bit. */
START_TEST(what_tls_pads_is_signed)
{
	static const unsigned lengths[] = {2048, 2049, 2050, 2055};
	const EVP_MD *hashes[] = {EVP_sha256(), EVP_sha384(), EVP_sha512()};
	static const unsigned char digest[64] = "a digest of some handshake";
	unsigned char block[SIZE_MOST];
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		EVP_PKEY *key = EVP_RSA_gen(lengths[i]);
		RSA *rsa = EVP_PKEY_get1_RSA(key);
		size_t n = (size_t)RSA_size(rsa);
		for (int h = 0; h < 3; h++) {
			struct arena *a = arena_new("test");
			struct str signature;
			ck_assert_int_eq(RSA_padding_add_PKCS1_PSS_mgf1(rsa,
				block, digest, hashes[h], NULL, -1), 1);
			ck_assert(status_is_fine(ask(a, key, "rsa-raw", block,
				n, &signature)));
			ck_assert(verifies(key, hashes[h], digest, signature));
			arena_free(a);
		}
		RSA_free(rsa);
		EVP_PKEY_free(key);
	}
}
END_TEST

/* Of what was encrypted for the key, times something: the way to have it
 * decrypted is to find a factor with which it is signed. */
START_TEST(nothing_is_decrypted)
{
	static const unsigned char secret[48] = "\3\3of somebody's session";
	EVP_PKEY *key = EVP_RSA_gen(2048);
	RSA *rsa = EVP_PKEY_get1_RSA(key);
	unsigned char block[SIZE_MOST];
	struct arena *a = arena_new("test");
	BN_CTX *x = BN_CTX_new();
	BIGNUM *c = BN_new(), *r = BN_new(), *b = BN_new();
	const BIGNUM *n, *e;
	RSA_get0_key(rsa, &n, &e, NULL);
	ck_assert_int_eq(RSA_public_encrypt(sizeof secret, secret, block, rsa,
		RSA_PKCS1_PADDING), 256);
	ck_assert(is_refused(a, key, "rsa-raw", block, 256));
	ck_assert(is_refused(a, key, "rsa-pkcs1", block, 256));
	BN_bin2bn(block, 256, c);
	for (int i = 0; i < 5000; i++) {
		BN_rand_range(r, n);
		BN_mod_exp(b, r, e, n, x);
		BN_mod_mul(b, c, b, n, x);
		BN_bn2binpad(b, block, 256);
		ck_assert(is_refused(a, key, "rsa-raw", block, 256));
	}
	BN_free(c);
	BN_free(r);
	BN_free(b);
	BN_CTX_free(x);
	arena_free(a);
	RSA_free(rsa);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(padding_is_looked_at)
{
	static const unsigned char digest[64] = "a digest";
	EVP_PKEY *key = EVP_RSA_gen(2048);
	RSA *rsa = EVP_PKEY_get1_RSA(key);
	unsigned char block[SIZE_MOST] = {0};
	struct arena *a = arena_new("test");
	/* another hash, another length of the salt */
	ck_assert_int_eq(RSA_padding_add_PKCS1_PSS_mgf1(rsa, block, digest,
		EVP_sha1(), NULL, -1), 1);
	ck_assert(is_refused(a, key, "rsa-raw", block, 256));
	ck_assert_int_eq(RSA_padding_add_PKCS1_PSS_mgf1(rsa, block, digest,
		EVP_sha256(), NULL, 20), 1);
	ck_assert(is_refused(a, key, "rsa-raw", block, 256));
	ck_assert_int_eq(RSA_padding_add_PKCS1_PSS_mgf1(rsa, block, digest,
		EVP_sha256(), NULL, -1), 1);
	/* any octet before the salt, the end, the length */
	for (size_t i = 0; i < 190; i++) {
		block[i] ^= 1;
		ck_assert(is_refused(a, key, "rsa-raw", block, 256));
		block[i] ^= 1;
	}
	block[255] ^= 1;
	ck_assert(is_refused(a, key, "rsa-raw", block, 256));
	block[255] ^= 1;
	ck_assert(is_refused(a, key, "rsa-raw", block, 255));
	ck_assert(is_refused(a, key, "rsa-raw", block, 0));
	ck_assert(is_refused(a, key, "ecdsa", digest, 32));
	struct str signature;
	ck_assert(status_is_fine(
		ask(a, key, "rsa-raw", block, 256, &signature)));
	arena_free(a);
	RSA_free(rsa);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(digests_are_signed)
{
	static const unsigned char info[51] = "\x30\x31\x30\x0d\x06\x09\x60\x86"
		"\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
	EVP_PKEY *key = EVP_RSA_gen(2048), *ec = EVP_EC_gen("P-256");
	struct arena *a = arena_new("test");
	struct str signature;
	ck_assert(status_is_fine(ask(a, key, "rsa-pkcs1", info, sizeof info,
		&signature)));
	ck_assert(is_refused(a, key, "rsa-pkcs1", info, sizeof info - 1));
	ck_assert(is_refused(a, key, "rsa-pkcs1", info + 19, 32));
	ck_assert(status_is_fine(ask(a, ec, "ecdsa", info, 32, &signature)));
	ck_assert(is_refused(a, ec, "ecdsa", info, 31));
	ck_assert(is_refused(a, ec, "rsa-raw", info, 32));
	ck_assert(is_refused(a, ec, "nonsense", info, 32));
	arena_free(a);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ec);
}
END_TEST

Suite *
suite_key_sign(void)
{
	return SUITE("key_sign", what_tls_pads_is_signed, nothing_is_decrypted,
		padding_is_looked_at, digests_are_signed);
}
