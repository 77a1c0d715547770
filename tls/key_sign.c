/* SPDX-License-Identifier: ISC */
/*
 * What the private key is used for.  ECDSA: a digest of a hash's length.  RSA:
 * a block that is padded as TLS pads, PKCS #1 v1.5 as DigestInfo, or PSS, of
 * which every octet but salt and hash is looked at: a number of somebody's
 * choice, and so what was encrypted for this key, is not among them.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "tls.h"
#include "base/arena.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>

enum { RSA_MOST = 1024 };

static struct status
refuse(void)
{
	return STATUS(STATUS_NEVER, 7, 0,
		"That is nothing this key is used for");
}

static bool
is_digest_length(size_t n)
{
	return n == 20 || n == 28 || n == 32 || n == 48 || n == 64;
}

static struct status
sign_ec(struct arena *a, EVP_PKEY *key, struct str digest,
	struct str *signature)
{
	size_t n = (size_t)EVP_PKEY_get_size(key);
	unsigned char *out = arena_alloc(a, n);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool ok = is_digest_length(digest.n) && ctx != NULL &&
		EVP_PKEY_sign_init(ctx) == 1 &&
		EVP_PKEY_sign(ctx, out, &n, (const unsigned char *)digest.p,
			digest.n) == 1;
	EVP_PKEY_CTX_free(ctx);
	*signature = str_of(out, ok ? n : 0);
	return ok ? status_fine() : refuse();
}

/* DigestInfo: SEQUENCE of an algorithm and an OCTET STRING that ends it. */
static bool
is_digest_info(struct str s)
{
	static const uint8_t lengths[] = {20, 28, 32, 36, 48, 64};
	const unsigned char *p = (const unsigned char *)s.p;
	/* TLS 1.0's bare MD5 and SHA-1 together are not among ours. */
	for (size_t i = 0; i < sizeof lengths; i++) {
		size_t n = lengths[i];
		if (s.n > n + 4 && p[0] == 0x30 && p[1] == s.n - 2 &&
			p[s.n - n - 2] == 0x04 && p[s.n - n - 1] == n)
			return true;
	}
	return false;
}

/*
 * RFC 8017 9.1.2: masked DB, H, bc; DB is zeros, 01 and a salt, in TLS as long
 * as the hash (RFC 8446 4.2.3).  What was hashed is not known here, but that
 * the mask of H gives that many zeros is no accident.
 */
static bool
is_pss_with(struct str s, size_t bits, const EVP_MD *md)
{
	unsigned char mask[RSA_MOST];
	const unsigned char *p = (const unsigned char *)s.p;
	size_t hash = (size_t)EVP_MD_get_size(md);
	size_t unused = 8 * s.n - bits; /* bits of the first octet, all 0 */
	if (s.n < 2 * hash + 2 || p[s.n - 1] != 0xbc ||
		p[0] >> (8 - unused) != 0)
		return false;
	size_t db = s.n - hash - 1, zeros = db - hash - 1;
	if (PKCS1_MGF1(mask, (long)db, p + db, (long)hash, md) != 0)
		return false;
	mask[0] &= (unsigned char)(0xff >> unused);
	for (size_t i = 0; i < zeros; i++)
		if (p[i] != mask[i])
			return false;
	return (p[zeros] ^ mask[zeros]) == 1;
}

static bool
is_pss(struct str s, const RSA *rsa)
{
	size_t bits = (size_t)RSA_bits(rsa) - 1;
	/* Where bits fill octets the block begins with one more, of zeros. */
	if (s.n != (size_t)RSA_size(rsa) || (bits % 8 == 0 && s.p[0] != 0))
		return false;
	if (bits % 8 == 0)
		s = str_skip(s, 1);
	return is_pss_with(s, bits, EVP_sha256()) ||
		is_pss_with(s, bits, EVP_sha384()) ||
		is_pss_with(s, bits, EVP_sha512());
}

static struct status
sign_rsa(struct arena *a, EVP_PKEY *key, struct str algorithm,
	struct str block, struct str *signature)
{
	const RSA *rsa = EVP_PKEY_get0_RSA(key);
	size_t size = (size_t)RSA_size(rsa);
	bool raw = str_eq(algorithm, STR("rsa-raw"));
	if (size > RSA_MOST || (raw ? !is_pss(block, rsa)
				    : !is_digest_info(block)))
		return refuse();
	unsigned char *out = arena_alloc(a, size);
	int n = RSA_private_encrypt((int)block.n,
		(const unsigned char *)block.p, out, (RSA *)(uintptr_t)rsa,
		raw ? RSA_NO_PADDING : RSA_PKCS1_PADDING);
	*signature = str_of(out, n < 0 ? 0 : (size_t)n);
	return n > 0 ? status_fine() : refuse();
}

struct status
key_sign(struct arena *a, EVP_PKEY *key, struct str algorithm,
	struct str digest, struct str *signature)
{
	*signature = STR("");
	int type = EVP_PKEY_get_base_id(key);
	if (type == EVP_PKEY_EC && str_eq(algorithm, STR("ecdsa")))
		return sign_ec(a, key, digest, signature);
	if (type == EVP_PKEY_RSA && str_starts(algorithm, STR("rsa-")))
		return sign_rsa(a, key, algorithm, digest, signature);
	return refuse();
}
