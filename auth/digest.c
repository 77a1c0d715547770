/* SPDX-License-Identifier: ISC */
/*
 * Hashes that are a digest of the password and perhaps a salt, as tables of
 * other servers have them (RFC 2307, Dovecot's schemes): base64 of digest and
 * salt, or hexadecimal digits.  All of them are weak: whoever has the table
 * tries billions a second.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"

#include <openssl/evp.h>

static const struct {
	struct str scheme;
	const char *digest;
	size_t octets;
	bool salted, hex;
} schemes[] = {
	{STR_INIT("{SHA}"), "SHA1", 20},
	{STR_INIT("{SHA1}"), "SHA1", 20},
	{STR_INIT("{SSHA}"), "SHA1", 20, .salted = true},
	{STR_INIT("{SHA256}"), "SHA256", 32},
	{STR_INIT("{SSHA256}"), "SHA256", 32, .salted = true},
	{STR_INIT("{SHA512}"), "SHA512", 64},
	{STR_INIT("{SSHA512}"), "SHA512", 64, .salted = true},
	{STR_INIT("{SMD5}"), "MD5", 16, .salted = true},
	{STR_INIT("{LDAP-MD5}"), "MD5", 16},
	{STR_INIT("{PLAIN-MD5}"), "MD5", 16, .hex = true},
};

enum { SCHEMES = sizeof schemes / sizeof *schemes };

static size_t
scheme_of(struct str secret)
{
	size_t i = 0;
	while (i < SCHEMES && !str_starts_nocase(secret, schemes[i].scheme))
		i++;
	return i;
}

bool
digest_is(struct str secret)
{
	return scheme_of(secret) < SCHEMES;
}

static bool
decode(struct buf *out, struct str text, bool hex)
{
	return hex ? hex_decode(out, text) : base64_decode(out, text);
}

bool
digest_agrees(struct arena *a, struct str secret, struct str password)
{
	unsigned char got[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	size_t i = scheme_of(secret);
	struct buf *stored = buf_new(a), *text = buf_new(a);
	if (i == SCHEMES || !decode(stored,
		str_skip(secret, schemes[i].scheme.n), schemes[i].hex))
		return false;
	struct str digest = str_head(buf_str(stored), schemes[i].octets);
	struct str salt = str_skip(buf_str(stored), schemes[i].octets);
	if (digest.n != schemes[i].octets || (salt.n > 0) != schemes[i].salted)
		return false;
	buf_add(text, password);
	buf_add(text, salt);
	const EVP_MD *md = EVP_get_digestbyname(schemes[i].digest);
	bool right = md != NULL &&
		EVP_Digest(text->p, text->n, got, &n, md, NULL) == 1 &&
		str_eq_secret(str_of(got, n), digest);
	if (text->n > 0)
		explicit_bzero(text->p, text->n);
	return right;
}
