/* SPDX-License-Identifier: ISC */
/*
 * Hashes that are slow on purpose and that crypt(3) does not know, as
 * Dovecot's tables have them:
 *
 *	{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$salt$digest	RFC 9106;
 *	{ARGON2I}  the same; base64 without padding
 *	{PBKDF2}$1$salt$rounds$digest	RFC 8018 with HMAC-SHA-1; salt as it
 *		stands, digest in hexadecimal digits
 *
 * libargon2's own reading of a hash would begin a thread for each lane, which
 * a hasher may not.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"

#include <argon2.h>
#include <openssl/evp.h>

enum { PBKDF2_OCTETS = 20, ARGON2_KIB_MOST = 2 << 20 };

/* -------------------------------------------------------------- argon2 */

static bool
decode_bare(struct arena *a, struct str text, struct str *out)
{
	struct buf *b = buf_new(a);
	struct str pad = str_head(STR("==="), (4 - text.n % 4) % 4);
	struct str padded = str_printf(
		a, "%.*s%.*s", STR_ARG(text), STR_ARG(pad));
	bool ok = !str_has(text, '=') && base64_decode(b, padded);
	*out = buf_str(b);
	return ok && out->n > 0;
}

/* "name=number" */
static bool
cut_number(struct str *rest, char until, const char *name, uint32_t *n)
{
	struct str word;
	uint64_t value;
	if (!str_cut(rest, until, &word) || !str_starts(word, str_from(name)) ||
		!str_number(str_skip(word, strlen(name)), UINT32_MAX, &value))
		return false;
	*n = (uint32_t)value;
	return true;
}

/* After "$argon2id$". */
static bool
parse_argon2(struct arena *a, struct str rest, argon2_context *c,
	struct str *digest)
{
	struct str text, salt;
	uint32_t version = ARGON2_VERSION_10;
	*c = (argon2_context){.flags = ARGON2_DEFAULT_FLAGS, .threads = 1};
	if (str_starts(rest, STR("v=")) &&
		!cut_number(&rest, '$', "v=", &version))
		return false;
	if (!cut_number(&rest, ',', "m=", &c->m_cost) ||
		!cut_number(&rest, ',', "t=", &c->t_cost) ||
		!cut_number(&rest, '$', "p=", &c->lanes) ||
		!str_cut(&rest, '$', &text) || !decode_bare(a, text, &salt) ||
		!decode_bare(a, rest, digest))
		return false;
	c->version = version;
	c->salt = (uint8_t *)(uintptr_t)salt.p;
	c->saltlen = (uint32_t)salt.n;
	return c->m_cost <= ARGON2_KIB_MOST;
}

static bool
argon2_agrees(struct arena *a, struct str hash, argon2_type type,
	struct str password)
{
	argon2_context c;
	struct str digest;
	if (!parse_argon2(a, hash, &c, &digest))
		return false;
	c.out = arena_alloc(a, digest.n);
	c.outlen = (uint32_t)digest.n;
	c.pwd = (uint8_t *)(uintptr_t)password.p;
	c.pwdlen = (uint32_t)password.n;
	return argon2_ctx(&c, type) == ARGON2_OK &&
		str_eq_secret(str_of(c.out, c.outlen), digest);
}

static bool
argon2i(struct arena *a, struct str hash, struct str password)
{
	return argon2_agrees(a, hash, Argon2_i, password);
}

static bool
argon2id(struct arena *a, struct str hash, struct str password)
{
	return argon2_agrees(a, hash, Argon2_id, password);
}

/* -------------------------------------------------------------- PBKDF2 */

static bool
pbkdf2(struct arena *a, struct str hash, struct str password)
{
	unsigned char got[PBKDF2_OCTETS];
	struct buf *digest = buf_new(a);
	struct str salt, number;
	uint64_t rounds;
	return str_cut(&hash, '$', &salt) && str_cut(&hash, '$', &number) &&
		str_number(number, INT32_MAX, &rounds) && rounds > 0 &&
		hex_decode(digest, hash) && digest->n == sizeof got &&
		PKCS5_PBKDF2_HMAC(password.p, (int)password.n,
			(const unsigned char *)salt.p, (int)salt.n,
			(int)rounds, EVP_sha1(), sizeof got, got) == 1 &&
		str_eq_secret(str_of(got, sizeof got), buf_str(digest));
}

/* -------------------------------------------------------------- schemes */

static const struct {
	struct str scheme, begin;
	bool (*agrees)(struct arena *a, struct str hash, struct str password);
} schemes[] = {
	{STR_INIT("{ARGON2I}"), STR_INIT("$argon2i$"), argon2i},
	{STR_INIT("{ARGON2ID}"), STR_INIT("$argon2id$"), argon2id},
	{STR_INIT("{PBKDF2}"), STR_INIT("$1$"), pbkdf2},
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
kdf_is(struct str secret)
{
	return scheme_of(secret) < SCHEMES;
}

bool
kdf_agrees(struct arena *a, struct str secret, struct str password)
{
	size_t i = scheme_of(secret);
	if (i == SCHEMES)
		return false;
	secret = str_skip(secret, schemes[i].scheme.n);
	return str_starts(secret, schemes[i].begin) &&
		schemes[i].agrees(a, str_skip(secret, schemes[i].begin.n),
			password);
}
