/* SPDX-License-Identifier: ISC */
/*
 * What TLS we speak: 1.2 and up, no renegotiation, no compression, small
 * buffers when idle.  Tickets and sessions are bound to the service, so that
 * one of port 25 is no key to port 993.
 */
#include "tls.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { USAGE_TA = 2, USAGE_EE = 3 }; /* RFC 7218 2.1: DANE-TA, DANE-EE */

struct str
context_error(struct arena *a)
{
	unsigned long e = ERR_peek_last_error();
	const char *why = e == 0 ? "the connection was closed"
				 : ERR_reason_error_string(e);
	ERR_clear_error();
	return str_copy(a, str_from(why == NULL ? "unknown error" : why));
}

/* RFC 7301 with the registered names; a client that offers protocols and not
 * ours has lost its way (ALPACA). */
static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n,
	const unsigned char *in, unsigned length, void *ctx)
{
	struct str service = str_from(SSL_get_app_data(ssl));
	struct str offered = str_of(in, length);
	(void)ctx;
	if (str_eq(service, STR("submission")))
		service = STR("smtp");
	while (offered.n > 0) {
		size_t size = (unsigned char)offered.p[0];
		struct str name = str_head(str_skip(offered, 1), size);
		if (str_eq(name, service)) {
			*out = (const unsigned char *)name.p;
			*n = (unsigned char)name.n;
			return SSL_TLSEXT_ERR_OK;
		}
		offered = str_skip(offered, 1 + size);
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *
new_context(const struct conf *c, const SSL_METHOD *method)
{
	SSL_CTX *x = SSL_CTX_new(method);
	if (x == NULL)
		fatal("SSL_CTX_new", NULL);
	SSL_CTX_set_min_proto_version(x, str_eq(c->tls.minimum, STR("1.3"))
			? TLS1_3_VERSION : TLS1_2_VERSION);
	SSL_CTX_set_options(x, SSL_OP_NO_RENEGOTIATION |
		SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
		SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(x, SSL_MODE_RELEASE_BUFFERS |
		SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return x;
}

static struct str
fingerprint(struct arena *a, X509 *cert)
{
	static const char hex[] = "0123456789abcdef";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	X509_digest(cert, EVP_sha256(), digest, &n);
	char *text = arena_alloc(a, n * 2);
	for (unsigned i = 0; i < n; i++) {
		text[i * 2] = hex[digest[i] >> 4];
		text[i * 2 + 1] = hex[digest[i] & 15];
	}
	return str_of(text, n * 2);
}

/* The certificate and those that lead from it to a root. */
static bool
load_chain(SSL_CTX *x, BIO *b)
{
	X509 *cert = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
	if (cert == NULL || SSL_CTX_use_certificate(x, cert) != 1)
		return false;
	X509_free(cert);
	while ((cert = PEM_read_bio_X509(b, NULL, NULL, NULL)) != NULL)
		if (SSL_CTX_add0_chain_cert(x, cert) != 1)
			return false;
	unsigned long e = ERR_peek_last_error();
	ERR_clear_error();
	return ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

/* A context for clients of ours, with that certificate and the key keys has;
 * NULL, and the library's error, when it cannot be used. */
static SSL_CTX *
new_server_context(struct tls *t, BIO *certificate)
{
	SSL_CTX *x = new_context(t->program->conf, TLS_server_method());
	EVP_PKEY *key = NULL;
	SSL_CTX_set_alpn_select_cb(x, choose_protocol, NULL);
	SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
	if (load_chain(x, certificate))
		key = remote_key(t, SSL_CTX_get0_certificate(x));
	if (key != NULL && SSL_CTX_use_PrivateKey(x, key) == 1) {
		EVP_PKEY_free(key);
		return x;
	}
	EVP_PKEY_free(key);
	SSL_CTX_free(x);
	return NULL;
}

static void
load_certificate(struct tls *t, struct str name)
{
	struct arena *a = t->arena;
	char *path = str_cstr(a, name);
	int fd = program_open(t->program, "certificate", name);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	BIO *b = f == NULL ? NULL : BIO_new_fp(f, BIO_CLOSE);
	if (b == NULL)
		fatal("the certificate", path);
	t->server = new_server_context(t, b);
	if (t->server == NULL)
		fatal(path, str_cstr(a, context_error(a)));
	BIO_free(b);
	t->certificate = fingerprint(a, SSL_CTX_get0_certificate(t->server));
}

/*
 * Another keys may be there than was asked last: one with a renewed
 * certificate, which is shown from now on.  Links that are there keep theirs.
 * Whatever goes wrong, the one we have is as good as before.
 */
static void
follow_keys(struct tls *t, struct arena *a)
{
	struct message m = MESSAGE(key_which), answer;
	if (link_is_open(t->keys))
		return;
	m.key_which.have = t->certificate;
	struct status s = link_call_again(t->keys, a, &m, MSG_key_chain,
		&answer);
	struct str chain = status_is_fine(s) ? answer.key_chain.chain : STR("");
	if (chain.n == 0)
		return;
	BIO *b = BIO_new_mem_buf(chain.p, (int)chain.n);
	SSL_CTX *x = b == NULL ? NULL : new_server_context(t, b);
	BIO_free(b);
	if (x == NULL) {
		log_error(LOG_NO_ID, "certificate-unusable",
			LOG_STR("why", context_error(a)));
		return;
	}
	struct str print = fingerprint(a, SSL_CTX_get0_certificate(x));
	if (str_eq(print, t->certificate)) {
		SSL_CTX_free(x);
		return;
	}
	SSL_CTX_free(t->server);
	t->server = x;
	t->certificate = str_copy(t->arena, print);
	log_info(LOG_NO_ID, "certificate-renewed",
		LOG_STR("sha256", t->certificate));
}

void
context_start(struct tls *t)
{
	const struct conf *c = t->program->conf;
	struct str path = c->tls.certificate;
	t->client = new_context(c, TLS_client_method());
	char *roots = str_cstr(t->arena, c->tls.roots);
	if (access(roots, R_OK) == 0 &&
		SSL_CTX_load_verify_locations(t->client, roots, NULL) != 1)
		fatal(roots, str_cstr(t->arena, context_error(t->arena)));
	SSL_CTX_dane_enable(t->client);
	resume_start(t);
	errno = 0;
	if (path.n == 0)
		return;
	load_certificate(t, path);
}

/* ---------------------------------------------------------------- client */

/* "3 1 1 hex" into the SSL; false when it is no usable record. */
static bool
add_tlsa(struct arena *a, SSL *ssl, struct str record)
{
	struct str word;
	uint64_t n[3];
	struct buf *data = buf_new(a);
	for (int i = 0; i < 3; i++)
		if (!str_word(&record, &word) || !str_number(word, 255, &n[i]))
			return false;
	/* RFC 7672 3.1.3: PKIX usages are not for mail. */
	if (n[0] != USAGE_TA && n[0] != USAGE_EE)
		return false;
	record = str_trim(record);
	for (size_t i = 0; i + 1 < record.n; i += 2) {
		char pair[3] = {record.p[i], record.p[i + 1], 0};
		char *end;
		long octet = strtol(pair, &end, 16);
		if (*end != 0)
			return false;
		buf_addc(data, (char)octet);
	}
	return SSL_dane_tlsa_add(ssl, (uint8_t)n[0], (uint8_t)n[1],
		(uint8_t)n[2], (const unsigned char *)data->p, data->n) == 1;
}

/* RFC 7672: usable records decide; none usable means encrypt, verify not. */
static bool
set_dane(struct arena *a, SSL *ssl, const char *name, struct str_list tlsa)
{
	bool usable = false;
	if (SSL_dane_enable(ssl, name) != 1)
		return false;
	SSL_dane_set_flags(ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	for (size_t i = 0; i < tlsa.n; i++)
		usable = add_tlsa(a, ssl, tlsa.v[i]) || usable;
	if (usable)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	return true;
}

/* The name or address the certificate must be for. */
static bool
set_verified(SSL *ssl, const char *name, bool is_ip)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(ssl);
	/* An empty name would be any name. */
	if (name[0] == 0)
		return false;
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return is_ip ? X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1
		     : SSL_set1_host(ssl, name) == 1;
}

static SSL *
new_client(struct tls *t, struct arena *a, const struct msg_tls_start *m,
	struct status *s)
{
	SSL *ssl = SSL_new(t->client);
	char *name = str_cstr(a, m->name);
	struct net_address any;
	bool is_ip = net_parse_ip(m->name, 0, &any), ok = true;
	if (ssl == NULL)
		fatal("SSL_new", NULL);
	SSL_set_connect_state(ssl);
	/* RFC 6066 3: an address is no server name. */
	if (m->name.n > 0 && !is_ip)
		SSL_set_tlsext_host_name(ssl, name);
	if (str_eq(m->policy, STR("verified")))
		ok = set_verified(ssl, name, is_ip);
	else if (str_eq(m->policy, STR("dane")))
		ok = set_dane(a, ssl, name, m->tlsa);
	if (ok) {
		resume_offer(a, ssl, m);
		return ssl;
	}
	*s = STATUS(STATUS_LATER, 7, 5, "TLS: that name cannot be verified");
	SSL_free(ssl);
	return NULL;
}

static SSL *
new_server(struct tls *t, struct arena *a, struct status *s)
{
	if (t->server != NULL)
		follow_keys(t, a);
	SSL *ssl = t->server == NULL ? NULL : SSL_new(t->server);
	if (t->server == NULL)
		*s = STATUS(STATUS_LATER, 7, 0,
			"TLS is not available: no certificate is configured");
	else if (ssl == NULL)
		fatal("SSL_new", NULL);
	else
		SSL_set_accept_state(ssl);
	return ssl;
}

static const char *
service_name(struct str service)
{
	static const char *const names[] = {
		"smtp", "submission", "imap", "pop3", "lmtp"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (str_eq(service, str_from(names[i])))
			return names[i];
	return NULL;
}

SSL *
context_new(struct tls *t, struct arena *a, const struct msg_tls_start *m,
	struct status *s)
{
	const char *service = service_name(m->service);
	SSL *ssl = NULL;
	if (service == NULL)
		*s = STATUS(STATUS_NEVER, 5, 4, "No such service");
	else if (str_eq(m->role, STR("client")))
		ssl = new_client(t, a, m, s);
	else
		ssl = new_server(t, a, s);
	if (ssl == NULL)
		return NULL;
	/* A table's string: it outlives every link. */
	SSL_set_app_data(ssl, (void *)(uintptr_t)service);
	SSL_set_session_id_context(ssl, (const unsigned char *)service,
		(unsigned)strlen(service));
	return ssl;
}

struct str
context_verified(SSL *ssl)
{
	if (SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE ||
		SSL_get_verify_result(ssl) != X509_V_OK)
		return STR("none");
	return SSL_get0_dane_authority(ssl, NULL, NULL) >= 0 ? STR("dane")
							     : STR("chain");
}
