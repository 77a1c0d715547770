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

static const struct scheme {
	struct str name;
	const char *digest;
	size_t octets;
	bool salted, hex;
} schemes[] = {
	{STR_INIT("SHA"), "SHA1", 20},
	{STR_INIT("SHA1"), "SHA1", 20},
	{STR_INIT("SSHA"), "SHA1", 20, .salted = true},
	{STR_INIT("SHA256"), "SHA256", 32},
	{STR_INIT("SSHA256"), "SHA256", 32, .salted = true},
	{STR_INIT("SHA512"), "SHA512", 64},
	{STR_INIT("SSHA512"), "SHA512", 64, .salted = true},
	{STR_INIT("SMD5"), "MD5", 16, .salted = true},
	{STR_INIT("MD5"), "MD5", 16},
	{STR_INIT("LDAP-MD5"), "MD5", 16},
	{STR_INIT("PLAIN-MD5"), "MD5", 16, .hex = true},
};

enum { SCHEMES = sizeof schemes / sizeof *schemes };

/* {SCHEME} or {SCHEME.ENCODING}, taken apart; NULL: not one of ours.  What
 * begins with a dollar is crypt(3)'s, whatever it is called. */
static const struct scheme *
take_apart(struct str secret, struct str *encoding, struct str *value)
{
	struct str name;
	if (!str_starts(secret, STR("{")))
		return NULL;
	*value = str_skip(secret, 1);
	if (!str_cut(value, '}', encoding) || str_starts(*value, STR("$")) ||
		!str_cut(encoding, '.', &name))
		return NULL;
	for (size_t i = 0; i < SCHEMES; i++)
		if (str_eq_nocase(name, schemes[i].name))
			return &schemes[i];
	return NULL;
}

bool
digest_is(struct str secret)
{
	struct str encoding, value;
	return take_apart(secret, &encoding, &value) != NULL;
}

/* Who does not say how it is written means the scheme's own way, or
 * hexadecimal digits when there are just so many as it takes. */
static bool
decode(struct buf *out, const struct scheme *s, struct str encoding,
	struct str text)
{
	bool hex = s->hex || (!s->salted && text.n == 2 * s->octets);
	if (encoding.n > 0) {
		hex = str_eq_nocase(encoding, STR("HEX"));
		if (!hex && !str_eq_nocase(encoding, STR("B64")) &&
			!str_eq_nocase(encoding, STR("BASE64")))
			return false;
	} else if (s->hex && text.n != 2 * s->octets) {
		hex = false;
	}
	return hex ? hex_decode(out, text) : base64_decode(out, text);
}

bool
digest_agrees(struct arena *a, struct str secret, struct str password)
{
	unsigned char got[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct str encoding, value;
	const struct scheme *s = take_apart(secret, &encoding, &value);
	struct buf *stored = buf_new(a), *text = buf_new(a);
	if (s == NULL || !decode(stored, s, encoding, value))
		return false;
	struct str digest = str_head(buf_str(stored), s->octets);
	struct str salt = str_skip(buf_str(stored), s->octets);
	if (digest.n != s->octets || (salt.n > 0) != s->salted)
		return false;
	buf_add(text, password);
	buf_add(text, salt);
	const EVP_MD *md = EVP_get_digestbyname(s->digest);
	bool right = md != NULL &&
		EVP_Digest(text->p, text->n, got, &n, md, NULL) == 1 &&
		str_eq_secret(str_of(got, n), digest);
	if (text->n > 0)
		explicit_bzero(text->p, text->n);
	return right;
}
