/* SPDX-License-Identifier: ISC */
/*
 * Mechanisms.  SCRAM's messages are comma-separated attributes; the parts that
 * enter the proof are kept as the octets that were on the wire.
 */
#include "mail/sasl.h"
#include "base/arena.h"
#include "base/buf.h"
#include "mail/encode.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { HASH_MOST = 64, NAME_MOST = 255, ITERATIONS_LEAST = 4096,
	ITERATIONS_MOST = 1000000 };

static const struct {
	const char *name;
	enum sasl_mechanism mechanism;
} mechanisms[] = {
	{"PLAIN", SASL_PLAIN},
	{"LOGIN", SASL_LOGIN},
	{"SCRAM-SHA-1", SASL_SCRAM_SHA_1},
	{"SCRAM-SHA-1-PLUS", SASL_SCRAM_SHA_1_PLUS},
	{"SCRAM-SHA-256", SASL_SCRAM_SHA_256},
	{"SCRAM-SHA-256-PLUS", SASL_SCRAM_SHA_256_PLUS},
};

enum { COUNT = sizeof mechanisms / sizeof *mechanisms };

enum sasl_mechanism
sasl_mechanism(struct str name)
{
	for (size_t i = 0; i < COUNT; i++)
		if (str_eq_nocase(name, str_from(mechanisms[i].name)))
			return mechanisms[i].mechanism;
	return SASL_NONE;
}

struct str
sasl_name(enum sasl_mechanism m)
{
	for (size_t i = 0; i < COUNT; i++)
		if (mechanisms[i].mechanism == m)
			return str_from(mechanisms[i].name);
	return STR("");
}

bool
sasl_is_plaintext(enum sasl_mechanism m)
{
	return m == SASL_PLAIN || m == SASL_LOGIN;
}

bool
sasl_binds(enum sasl_mechanism m)
{
	return m == SASL_SCRAM_SHA_1_PLUS || m == SASL_SCRAM_SHA_256_PLUS;
}

static const EVP_MD *
hash_of(enum sasl_mechanism m)
{
	return m == SASL_SCRAM_SHA_1 || m == SASL_SCRAM_SHA_1_PLUS
		? EVP_sha1() : EVP_sha256();
}

/* A name or password: no controls, not absurdly long. */
static bool
is_clean(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			return false;
	return s.n <= NAME_MOST;
}

/* --------------------------------------------------------- PLAIN, LOGIN */

/* [authzid] NUL authcid NUL passwd */
static enum sasl_need
plain_step(struct sasl_server *s, struct str response)
{
	struct str part[3];
	if (response.p == NULL) {
		s->challenge = STR("");
		return s->step++ == 0 ? SASL_CHALLENGE : SASL_MALFORMED;
	}
	for (int i = 0; i < 3; i++)
		if (!str_cut(&response, 0, &part[i]) || !is_clean(part[i]))
			return SASL_MALFORMED;
	if (response.p != NULL || part[1].n == 0 || part[2].n == 0)
		return SASL_MALFORMED;
	s->authzid = str_copy(s->arena, part[0]);
	s->user = str_copy(s->arena, part[1]);
	s->password = str_copy(s->arena, part[2]);
	return SASL_PASSWORD;
}

static enum sasl_need
login_step(struct sasl_server *s, struct str response)
{
	if (response.p == NULL && s->step == 0) {
		s->challenge = STR("Username:");
		s->step = 1;
		return SASL_CHALLENGE;
	}
	if (!is_clean(response) || response.n == 0)
		return SASL_MALFORMED;
	if (s->user.n == 0) {
		s->user = str_copy(s->arena, response);
		s->challenge = STR("Password:");
		return SASL_CHALLENGE;
	}
	s->password = str_copy(s->arena, response);
	return SASL_PASSWORD;
}

/* --------------------------------------------------------------- crypto */

struct digest {
	unsigned char octets[HASH_MOST];
	size_t n;
};

static struct str
digest_str(const struct digest *d)
{
	return str_of(d->octets, d->n);
}

static struct digest
hmac(enum sasl_mechanism m, struct str key, struct str text)
{
	struct digest d;
	unsigned n = 0;
	HMAC(hash_of(m), key.p, (int)key.n, (const unsigned char *)text.p,
		text.n, d.octets, &n);
	d.n = n;
	return d;
}

static struct digest
hash(enum sasl_mechanism m, struct str text)
{
	struct digest d;
	unsigned n = 0;
	EVP_Digest(text.p, text.n, d.octets, &n, hash_of(m), NULL);
	d.n = n;
	return d;
}

static struct digest
salted_password(enum sasl_mechanism m, struct str password, struct str salt,
	uint32_t iterations)
{
	struct digest d = {.n = (size_t)EVP_MD_get_size(hash_of(m))};
	PKCS5_PBKDF2_HMAC(password.p, (int)password.n,
		(const unsigned char *)salt.p, (int)salt.n, (int)iterations,
		hash_of(m), (int)d.n, d.octets);
	return d;
}

struct sasl_secret
sasl_make_secret(struct arena *a, enum sasl_mechanism m, struct str password,
	struct str salt, uint32_t iterations)
{
	struct digest salted = salted_password(m, password, salt, iterations);
	struct digest client = hmac(m, digest_str(&salted), STR("Client Key"));
	struct digest server = hmac(m, digest_str(&salted), STR("Server Key"));
	struct digest stored = hash(m, digest_str(&client));
	struct sasl_secret out = {.salt = str_copy(a, salt),
		.iterations = iterations,
		.stored_key = str_copy(a, digest_str(&stored)),
		.server_key = str_copy(a, digest_str(&server))};
	OPENSSL_cleanse(&salted, sizeof salted);
	OPENSSL_cleanse(&client, sizeof client);
	return out;
}

/* --------------------------------------------------------- SCRAM server */

/* "k=value" at the front, up to the next comma. */
static bool
take_attribute(struct str *s, char key, struct str *value)
{
	struct str piece;
	if (!str_cut(s, ',', &piece) || piece.n < 2 || piece.p[0] != key ||
		piece.p[1] != '=')
		return false;
	*value = str_skip(piece, 2);
	return true;
}

/* RFC 5802 5.1 saslname: "=2C" is a comma, "=3D" an equals sign. */
static bool
decode_name(struct arena *a, struct str s, struct str *name)
{
	struct buf *out = buf_new(a);
	while (s.n > 0) {
		size_t n = str_find(s, '=');
		buf_add(out, str_head(s, n));
		s = str_skip(s, n);
		if (s.n == 0)
			break;
		if (str_starts(s, STR("=2C")))
			buf_addc(out, ',');
		else if (str_starts(s, STR("=3D")))
			buf_addc(out, '=');
		else
			return false;
		s = str_skip(s, 3);
	}
	*name = buf_str(out);
	return name->n > 0 && is_clean(*name);
}

/* gs2-header: p=tls-exporter, n or y; [a=authzid]; */
static bool
take_gs2(struct sasl_server *s, struct str *rest)
{
	struct str flag, authzid, all = *rest;
	if (!str_cut(rest, ',', &flag) || !str_cut(rest, ',', &authzid) ||
		rest->p == NULL)
		return false;
	s->gs2 = str_copy(s->arena, str_head(all, all.n - rest->n));
	if (authzid.n > 0 && (!str_starts(authzid, STR("a=")) ||
		!decode_name(s->arena, str_skip(authzid, 2), &s->authzid)))
		return false;
	if (sasl_binds(s->mechanism))
		return str_eq(flag, STR("p=tls-exporter"));
	/* "y": the client thinks we cannot bind.  When we can, somebody took
	 * the -PLUS form out of our list (RFC 5802 6). */
	return str_eq(flag, STR("n")) ||
		(str_eq(flag, STR("y")) && s->binding.n == 0);
}

static enum sasl_need
scram_first(struct sasl_server *s, struct str response)
{
	struct str rest = response, name, nonce;
	if (!take_gs2(s, &rest))
		return SASL_MALFORMED;
	s->client_first = str_copy(s->arena, rest);
	if (!take_attribute(&rest, 'n', &name) ||
		!decode_name(s->arena, name, &s->user) ||
		!take_attribute(&rest, 'r', &nonce) || nonce.n == 0 ||
		nonce.n > NAME_MOST)
		return SASL_MALFORMED;
	s->nonce = str_printf(s->arena, "%.*s%.*s", STR_ARG(nonce),
		STR_ARG(s->nonce));
	s->step = 2;
	return SASL_SECRET;
}

enum sasl_need
sasl_server_secret(struct sasl_server *s, const struct sasl_secret *secret)
{
	struct buf *salt = buf_new(s->arena);
	base64_encode(salt, secret->salt);
	s->secret = *secret;
	s->server_first = str_printf(s->arena, "r=%.*s,s=%.*s,i=%u",
		STR_ARG(s->nonce), STR_ARG(buf_str(salt)), secret->iterations);
	s->challenge = s->server_first;
	return SASL_CHALLENGE;
}

static struct str
auth_message(struct arena *a, struct str client_first, struct str server_first,
	struct str final_without_proof)
{
	return str_printf(a, "%.*s,%.*s,%.*s", STR_ARG(client_first),
		STR_ARG(server_first), STR_ARG(final_without_proof));
}

/* c= must be the GS2 header we saw and, for -PLUS, our channel's octets. */
static bool
binding_agrees(struct sasl_server *s, struct str c)
{
	struct buf *got = buf_new(s->arena), *want = buf_new(s->arena);
	buf_add(want, s->gs2);
	if (sasl_binds(s->mechanism))
		buf_add(want, s->binding);
	return base64_decode(got, c) &&
		str_eq_secret(buf_str(got), buf_str(want));
}

static bool
proof_agrees(struct sasl_server *s, struct str message, struct str proof)
{
	struct buf *p = buf_new(s->arena);
	struct digest d = hmac(s->mechanism, s->secret.stored_key, message);
	if (!base64_decode(p, proof) || p->n != d.n)
		return false;
	for (size_t i = 0; i < d.n; i++)
		d.octets[i] ^= (unsigned char)p->p[i];
	struct digest stored = hash(s->mechanism, digest_str(&d));
	return str_eq_secret(digest_str(&stored), s->secret.stored_key);
}

static enum sasl_need
scram_final(struct sasl_server *s, struct str response)
{
	struct str rest = response, c, r, proof;
	size_t last = str_find_last(response, ',');
	if (!take_attribute(&rest, 'c', &c) || !take_attribute(&rest, 'r', &r))
		return SASL_MALFORMED;
	rest = str_skip(response, last + 1);
	if (!take_attribute(&rest, 'p', &proof))
		return SASL_MALFORMED;
	struct str message = auth_message(s->arena, s->client_first,
		s->server_first, str_head(response, last));
	if (!str_eq(r, s->nonce) || !binding_agrees(s, c) ||
		!proof_agrees(s, message, proof))
		return SASL_REFUSED;
	struct digest d = hmac(s->mechanism, s->secret.server_key, message);
	struct buf *v = buf_new(s->arena);
	buf_adds(v, "v=");
	base64_encode(v, digest_str(&d));
	s->challenge = buf_str(v);
	s->step = 3;
	return SASL_DONE;
}

static enum sasl_need
scram_step(struct sasl_server *s, struct str response)
{
	if (response.p == NULL && s->step == 0) {
		s->step = 1;
		s->challenge = STR("");
		return SASL_CHALLENGE;
	}
	if (response.p == NULL || str_has(response, 0))
		return SASL_MALFORMED;
	if (s->step <= 1)
		return scram_first(s, response);
	return s->step == 2 ? scram_final(s, response) : SASL_MALFORMED;
}

void
sasl_open(void)
{
	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

void
sasl_server_start(struct sasl_server *s, struct arena *a,
	enum sasl_mechanism m, struct str nonce, struct str binding)
{
	*s = (struct sasl_server){.mechanism = m, .arena = a,
		.nonce = str_copy(a, nonce), .binding = str_copy(a, binding)};
}

enum sasl_need
sasl_server_step(struct sasl_server *s, struct str response)
{
	s->challenge = STR("");
	switch (s->mechanism) {
	case SASL_NONE:
		return SASL_MALFORMED;
	case SASL_PLAIN:
		return plain_step(s, response);
	case SASL_LOGIN:
		return login_step(s, response);
	case SASL_SCRAM_SHA_1:
	case SASL_SCRAM_SHA_1_PLUS:
	case SASL_SCRAM_SHA_256:
	case SASL_SCRAM_SHA_256_PLUS:
		break;
	}
	return scram_step(s, response);
}

/* --------------------------------------------------------------- client */

void
sasl_client_start(struct sasl_client *c, struct arena *a,
	enum sasl_mechanism m, struct str user, struct str password,
	struct str nonce)
{
	*c = (struct sasl_client){.mechanism = m, .arena = a, .user = user,
		.password = password, .nonce = nonce};
}

static void
encode_name(struct buf *out, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] == ',')
			buf_adds(out, "=2C");
		else if (name.p[i] == '=')
			buf_adds(out, "=3D");
		else
			buf_addc(out, name.p[i]);
	}
}

static bool
client_first(struct sasl_client *c)
{
	struct buf *out = buf_new(c->arena);
	buf_adds(out, "n=");
	encode_name(out, c->user);
	buf_adds(out, ",r=");
	buf_add(out, c->nonce);
	c->client_first = buf_str(out);
	c->response = str_printf(
		c->arena, "n,,%.*s", STR_ARG(c->client_first));
	return true;
}

static bool
client_final(struct sasl_client *c, struct str challenge)
{
	struct str rest = challenge, r, s64, i;
	uint64_t iterations;
	struct buf *salt = buf_new(c->arena), *proof = buf_new(c->arena);
	if (!take_attribute(&rest, 'r', &r) || !str_starts(r, c->nonce) ||
		r.n == c->nonce.n || !take_attribute(&rest, 's', &s64) ||
		!base64_decode(salt, s64) || !take_attribute(&rest, 'i', &i) ||
		!str_number(i, ITERATIONS_MOST, &iterations) ||
		iterations < ITERATIONS_LEAST)
		return false;
	struct str without =
		str_printf(c->arena, "c=biws,r=%.*s", STR_ARG(r));
	c->auth_message = auth_message(
		c->arena, c->client_first, challenge, without);
	struct digest salted = salted_password(c->mechanism, c->password,
		buf_str(salt), (uint32_t)iterations);
	struct digest key = hmac(
		c->mechanism, digest_str(&salted), STR("Client Key"));
	struct digest server = hmac(
		c->mechanism, digest_str(&salted), STR("Server Key"));
	struct digest stored = hash(c->mechanism, digest_str(&key));
	struct digest sig =
		hmac(c->mechanism, digest_str(&stored), c->auth_message);
	for (size_t k = 0; k < sig.n; k++)
		sig.octets[k] ^= key.octets[k];
	c->server_key = str_copy(c->arena, digest_str(&server));
	base64_encode(proof, digest_str(&sig));
	c->response = str_printf(c->arena, "%.*s,p=%.*s", STR_ARG(without),
		STR_ARG(buf_str(proof)));
	return true;
}

static bool
client_verify(struct sasl_client *c, struct str challenge)
{
	struct str v;
	struct buf *got = buf_new(c->arena);
	struct digest d = hmac(c->mechanism, c->server_key, c->auth_message);
	c->response = STR("");
	c->server_proved = take_attribute(&challenge, 'v', &v) &&
		base64_decode(got, v) &&
		str_eq_secret(buf_str(got), digest_str(&d));
	return c->server_proved;
}

bool
sasl_client_step(struct sasl_client *c, struct str challenge)
{
	unsigned step = c->step++;
	struct buf *out = buf_new(c->arena);
	if (c->mechanism == SASL_PLAIN) {
		buf_addc(out, 0);
		buf_add(out, c->user);
		buf_addc(out, 0);
		buf_add(out, c->password);
		c->response = buf_str(out);
		return step == 0;
	}
	if (c->mechanism == SASL_LOGIN) {
		c->response = step == 0 ? c->user : c->password;
		return step < 2;
	}
	if (step == 0)
		return client_first(c);
	if (step == 1)
		return client_final(c, challenge);
	return step == 2 && client_verify(c, challenge);
}
