/* SPDX-License-Identifier: ISC */
/*
 * A private key that is another process.  The public half comes from the
 * certificate; the private operations of RSA and EC are replaced by a question
 * to keys.  The library's method tables are deprecated in favour of providers,
 * which for two functions would take some thousand lines.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls.h"
#include "base/arena.h"
#include "base/log.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>

/* The handshake in hand waits for its signature: the question takes a tenth
 * of a millisecond.  One process, one certificate: one asker. */
static struct tls *asking;

static struct str
sign(struct arena *a, const char *algorithm, struct str digest)
{
	struct message m = MESSAGE(key_sign), answer;
	m.key_sign.certificate = asking->certificate;
	m.key_sign.algorithm = str_from(algorithm);
	m.key_sign.digest = digest;
	struct status s = link_call_again(
		asking->keys, a, &m, MSG_key_signed, &answer);
	if (status_is_fine(s))
		s = answer.key_signed.status;
	if (status_is_fine(s))
		return answer.key_signed.signature;
	log_error(LOG_NO_ID, "not-signed", LOG_STR("why", s.text));
	return STR("");
}

static int
rsa_private(int n, const unsigned char *from, unsigned char *to, RSA *rsa,
	int padding)
{
	struct arena *a = arena_new("sign");
	int size = RSA_size(rsa), result = -1;
	const char *algorithm = padding == RSA_PKCS1_PADDING ? "rsa-pkcs1"
							     : "rsa-raw";
	struct str sig = sign(a, algorithm, str_of(from, (size_t)n));
	if (sig.n > 0 && sig.n == (size_t)size) {
		memcpy(to, sig.p, sig.n);
		result = size;
	}
	arena_free(a);
	return result;
}

static ECDSA_SIG *
ec_private(const unsigned char *digest, int n, const BIGNUM *kinv,
	const BIGNUM *r, EC_KEY *key)
{
	struct arena *a = arena_new("sign");
	(void)kinv, (void)r, (void)key;
	struct str sig = sign(a, "ecdsa", str_of(digest, (size_t)n));
	const unsigned char *der = (const unsigned char *)sig.p;
	ECDSA_SIG *out = NULL;
	if (sig.n > 0)
		out = d2i_ECDSA_SIG(NULL, &der, (long)sig.n);
	arena_free(a);
	return out;
}

static int
ec_sign(int type, const unsigned char *digest, int n, unsigned char *sig,
	unsigned *sig_n, const BIGNUM *kinv, const BIGNUM *r, EC_KEY *key)
{
	(void)type;
	ECDSA_SIG *s = ec_private(digest, n, kinv, r, key);
	if (s == NULL)
		return 0;
	int size = i2d_ECDSA_SIG(s, &sig);
	ECDSA_SIG_free(s);
	*sig_n = size > 0 ? (unsigned)size : 0;
	return size > 0;
}

static EVP_PKEY *
remote_rsa(EVP_PKEY *public)
{
	RSA_METHOD *method = RSA_meth_dup(RSA_PKCS1_OpenSSL());
	RSA *rsa = EVP_PKEY_get1_RSA(public);
	EVP_PKEY *key = EVP_PKEY_new();
	RSA_meth_set_priv_enc(method, rsa_private);
	RSA_set_method(rsa, method);
	/* No part of it is here: nobody may look for one. */
	RSA_set_flags(rsa, RSA_FLAG_EXT_PKEY);
	EVP_PKEY_assign_RSA(key, rsa);
	return key;
}

static EVP_PKEY *
remote_ec(EVP_PKEY *public)
{
	EC_KEY_METHOD *method = EC_KEY_METHOD_new(EC_KEY_OpenSSL());
	EC_KEY *ec = EVP_PKEY_get1_EC_KEY(public);
	EVP_PKEY *key = EVP_PKEY_new();
	EC_KEY_METHOD_set_sign(method, ec_sign, NULL, ec_private);
	EC_KEY_set_method(ec, method);
	EVP_PKEY_assign_EC_KEY(key, ec);
	return key;
}

EVP_PKEY *
remote_key(struct tls *t, X509 *certificate)
{
	EVP_PKEY *public = X509_get0_pubkey(certificate);
	asking = t;
	switch (EVP_PKEY_get_base_id(public)) {
	case EVP_PKEY_RSA:
		return remote_rsa(public);
	case EVP_PKEY_EC:
		return remote_ec(public);
	default:
		ERR_raise_data(ERR_LIB_SSL, SSL_R_UNKNOWN_PKEY_TYPE,
			"must be RSA or EC");
		return NULL;
	}
}
