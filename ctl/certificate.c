/* SPDX-License-Identifier: ISC */
/*
 * The throw-away certificate of `surat run`: an EC P-256 key and a
 * certificate for it, signed by itself, for the given names and loopback.
 */
#include "ctl.h"
#include "base/arena.h"
#include "base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { VALID_DAYS = 90, DAY = 86400 };

static void
must(bool ok, const char *what)
{
	if (!ok)
		ctl_fail(EX_SOFTWARE, "certificate: %s", what);
}

static bool
is_good(const char *path)
{
	FILE *f = fopen(path, "re");
	X509 *x = f == NULL ? NULL : PEM_read_X509(f, NULL, NULL, NULL);
	time_t tomorrow = time(NULL) + DAY;
	bool good = x != NULL &&
		X509_cmp_time(X509_get0_notAfter(x), &tomorrow) > 0;
	if (f != NULL)
		fclose(f);
	X509_free(x);
	return good;
}

static void
extend(struct arena *a, X509 *x, int nid, struct str value)
{
	X509V3_CTX ctx;
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	X509_EXTENSION *e =
		X509V3_EXT_conf_nid(NULL, &ctx, nid, str_cstr(a, value));
	must(e != NULL && X509_add_ext(x, e, -1) == 1, "extension");
	X509_EXTENSION_free(e);
}

static struct str
alternatives(struct arena *a, struct str_list names)
{
	struct buf *b = buf_new(a);
	buf_adds(b, "DNS:localhost,IP:127.0.0.1,IP:::1");
	for (size_t i = 0; i < names.n; i++)
		buf_printf(b, ",DNS:%.*s", STR_ARG(names.v[i]));
	return buf_str(b);
}

static X509 *
make(struct arena *a, EVP_PKEY *key, struct str_list names)
{
	X509 *x = X509_new();
	uint64_t serial;
	must(x != NULL && RAND_bytes((unsigned char *)&serial, sizeof serial),
		"random");
	must(X509_set_version(x, 2) == 1 &&
		ASN1_INTEGER_set_uint64(X509_get_serialNumber(x),
			serial >> 1) == 1 &&
		X509_gmtime_adj(X509_getm_notBefore(x), -DAY) != NULL &&
		X509_gmtime_adj(X509_getm_notAfter(x),
			(long)VALID_DAYS * DAY) != NULL &&
		X509_set_pubkey(x, key) == 1, "fields");
	X509_NAME *name = X509_get_subject_name(x);
	must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
		(const unsigned char *)names.v[0].p, (int)names.v[0].n, -1,
		0) == 1 && X509_set_issuer_name(x, name) == 1, "name");
	extend(a, x, NID_basic_constraints, STR("critical,CA:TRUE"));
	extend(a, x, NID_subject_alt_name, alternatives(a, names));
	must(X509_sign(x, key, EVP_sha256()) > 0, "signature");
	return x;
}

static FILE *
create(const char *path, mode_t mode)
{
	unlink(path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	if (f == NULL)
		ctl_fail(EX_CANTCREAT, "%s: %s", path, strerror(errno));
	return f;
}

void
certificate_make(struct ctl *c, const char *cert, const char *key,
	struct str_list names)
{
	if (is_good(cert) && access(key, R_OK) == 0)
		return;
	EVP_PKEY *pair = EVP_EC_gen("P-256");
	must(pair != NULL, "key");
	X509 *x = make(c->arena, pair, names);
	FILE *f = create(key, 0600);
	must(PEM_write_PrivateKey(f, pair, NULL, NULL, 0, NULL, NULL) == 1 &&
		fclose(f) == 0, key);
	f = create(cert, 0644);
	must(PEM_write_X509(f, x) == 1 && fclose(f) == 0, cert);
	X509_free(x);
	EVP_PKEY_free(pair);
}
