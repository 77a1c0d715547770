/* SPDX-License-Identifier: ISC */
/*
 * Stored secrets: "{SCHEME}value" as other servers' tables have them.  Hashes
 * of crypt(3) are slow on purpose and go to a hasher; plain text is compared
 * here, in constant time; so are app passwords, which are too long to be
 * guessed.  A password that was right is remembered for a while
 * as an HMAC under a key of this process's life.
 */
#include "auth.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "mail/encode.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { CACHE_MOST = 10000 };

static const char *const crypt_schemes[] = {"{CRYPT}", "{YESCRYPT}",
	"{SHA512-CRYPT}", "{SHA256-CRYPT}", "{BLF-CRYPT}", "{MD5-CRYPT}",
	"{MD5}", "{DES-CRYPT}"};
static const char *const plain_schemes[] = {"{PLAIN}", "{CLEARTEXT}",
	"{CLEAR}"};

bool
password_next(struct str *secrets, struct str *secret)
{
	struct str rest = *secrets;
	if (rest.n == 0)
		return false;
	/* Only what looks like a scheme begins the next one: a plain password
	 * may have blanks in it. */
	size_t n = str_search(rest, STR(" {"));
	*secret = str_head(rest, n);
	*secrets = str_trim(str_skip(rest, n));
	return true;
}

/* Takes a scheme of the table off the front. */
static bool
cut_scheme(struct str *secret, const char *const *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str scheme = str_from(table[i]);
		if (!str_starts_nocase(*secret, scheme))
			continue;
		*secret = str_skip(*secret, scheme.n);
		return true;
	}
	return false;
}

#define CUT(secret, table) \
	cut_scheme(secret, table, sizeof table / sizeof *table)

static bool
is_des(struct str hash)
{
	return hash.n == 13 && hash.p[0] != '$' && hash.p[0] != '{';
}

/* Of crypt(3): DES, and MD5 ($1$); and every plain digest. */
bool
password_is_weak(struct str secret)
{
	if (digest_is(secret))
		return true;
	CUT(&secret, crypt_schemes);
	return str_starts(secret, STR("$1$")) || is_des(secret);
}

bool
password_is_pam(struct str secret)
{
	return str_eq_nocase(secret, STR("{PAM}"));
}

/* What crypt(3), the SCRAM hasher or PAM can be asked about; empty: nothing. */
static struct str
hash_of(struct arena *a, struct str secret)
{
	enum sasl_mechanism m;
	struct sasl_secret scram;
	if (digest_is(secret) || kdf_is(secret) || password_is_pam(secret))
		return secret;
	bool crypt = CUT(&secret, crypt_schemes);
	if (str_starts(secret, STR("$")) || (crypt && is_des(secret)) ||
		scram_parse(a, secret, &m, &scram))
		return secret;
	return STR("");
}

bool
password_is_plain(struct str secrets, struct str password)
{
	struct str secret;
	bool found = false;
	while (password_next(&secrets, &secret))
		if (CUT(&secret, plain_schemes) &&
			str_eq_secret(secret, password))
			found = true;
	return found;
}

bool
password_hash(struct arena *a, struct str *secrets, struct str *hash)
{
	struct str secret;
	while (password_next(secrets, &secret)) {
		*hash = hash_of(a, secret);
		if (hash->n > 0)
			return true;
	}
	return false;
}

/* -------------------------------------------------------- app passwords */

bool
app_parse(struct arena *a, struct str secret, struct str *label,
	struct str *digest)
{
	struct buf *octets = buf_new(a);
	if (!str_starts_nocase(secret, STR("{APP}")))
		return false;
	secret = str_skip(secret, 5);
	if (!str_cut(&secret, ',', label) || label->n == 0 ||
		!base64_decode(octets, secret) || octets->n != 32)
		return false;
	*digest = buf_str(octets);
	return true;
}

bool
password_has_app(struct str secrets)
{
	return str_starts(secrets, STR("{APP}")) ||
		str_search(secrets, STR(" {APP}")) < secrets.n;
}

/* As people type it from paper: groups and case do not matter. */
static struct str
digest_of_app(struct arena *a, struct str password)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct buf *text = buf_new(a);
	for (size_t i = 0; i < password.n; i++)
		if (password.p[i] != '-' && password.p[i] != ' ')
			buf_addc(text, char_lower(password.p[i]));
	if (EVP_Digest(text->p, text->n, digest, &n, EVP_sha256(), NULL) != 1)
		return STR("");
	if (text->n > 0)
		OPENSSL_cleanse(text->p, text->n);
	return str_copy(a, str_of(digest, n));
}

bool
password_is_app(struct arena *a, struct str secrets, struct str password,
	struct str *label)
{
	struct str secret, name, digest, got;
	bool found = false;
	if (!password_has_app(secrets))
		return false;
	got = digest_of_app(a, password);
	while (password_next(&secrets, &secret)) {
		if (!app_parse(a, secret, &name, &digest) ||
			!str_eq_secret(digest, got))
			continue;
		*label = name;
		found = true;
	}
	return found;
}

struct str
password_decoy(void)
{
	return STR("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$"
		"tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC");
}

struct str
password_stand_in(const struct auth *x, struct str name)
{
	const struct str_list *some = &x->users->samples;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (some->n == 0 || HMAC(EVP_sha256(), x->decoy_key,
		sizeof x->decoy_key, (const unsigned char *)name.p, name.n,
		digest, &n) == NULL)
		return password_decoy();
	return some->v[(digest[0] << 8 | digest[1]) % some->n];
}

static struct str
cache_name(struct auth *x, struct arena *a, const struct user *u,
	struct str password)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	struct str text = str_printf(a, "%zu %.*s %zu %.*s ", u->name.n,
		STR_ARG(u->name), u->secret.n, STR_ARG(u->secret));
	struct str parts[] = {text, password};
	text = str_join(a, (struct str_list){parts, 2}, STR(""));
	HMAC(EVP_sha256(), x->cache_key, sizeof x->cache_key,
		(const unsigned char *)text.p, text.n, digest, &n);
	OPENSSL_cleanse((char *)(uintptr_t)text.p, text.n);
	return str_copy(a, str_of(digest, n));
}

bool
cache_has(struct auth *x, struct arena *a, const struct user *u,
	struct str password)
{
	if (x->conf->auth.cache == 0)
		return false;
	struct str name = cache_name(x, a, u, password);
	void *expiry = map_get(x->cache, name);
	if (expiry == NULL)
		return false;
	if ((int64_t)(intptr_t)expiry > clock_ms())
		return true;
	map_remove(x->cache, name);
	return false;
}

void
cache_add(struct auth *x, struct arena *a, const struct user *u,
	struct str password)
{
	if (x->conf->auth.cache == 0)
		return;
	/* Full: begin anew, which costs everybody one hash. */
	if (map_count(x->cache) >= CACHE_MOST) {
		struct str key;
		void *value;
		size_t cursor = 0;
		while (map_next(x->cache, &cursor, &key, &value))
			map_remove(x->cache, key);
	}
	int64_t expiry = clock_in(x->conf->auth.cache * 1000);
	map_set(x->cache, cache_name(x, a, u, password),
		(void *)(intptr_t)expiry);
}
