/* SPDX-License-Identifier: ISC */
/*
 * keys: holds the private keys and signs.  It reads no octet of a stranger;
 * who asks is tls, which may have been taken over and then can have
 * signatures, at a counted rate, but never the key.
 */
#include "tls.h"
#include "base/arena.h"
#include "base/log.h"

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

enum { REPORT_EVERY = 100000, RETIRE_MS = 120 * 1000 };

struct keys {
	struct loop *loop;
	struct loop_watch *master;
	struct peers peers;
	EVP_PKEY *key;
	uint64_t signatures;
};

static void
on_sign(struct peer *p, struct arena *a, struct message *m)
{
	struct keys *k = p->peers->ctx;
	struct message answer = MESSAGE(key_signed);
	if (k->key == NULL)
		answer.key_signed.status = STATUS(STATUS_LATER, 7, 0,
			"There is no private key: set tls.key");
	else
		answer.key_signed.status = key_sign(a, k->key,
			m->key_sign.algorithm, m->key_sign.digest,
			&answer.key_signed.signature);
	if (!status_is_fine(answer.key_signed.status))
		log_warn(LOG_NO_ID, "sign-refused",
			LOG_STR("algorithm", m->key_sign.algorithm),
			LOG_NUM("octets", m->key_sign.digest.n));
	else if (++k->signatures % REPORT_EVERY == 0)
		log_info(LOG_NO_ID, "signatures",
			LOG_NUM("count", k->signatures));
	peer_send(p, &answer);
}

static const struct peer_row rows[] = {
	{MSG_key_sign, PEER_TLS, on_sign},
};

static int
no_password(char *buf, int size, int writing, void *ctx)
{
	(void)buf, (void)size, (void)writing, (void)ctx;
	return -1;
}

/* suratd asks before it believes a new certificate. */
static bool
is_check(const struct program *p)
{
	return p->argc > 0 && strcmp(p->argv[0], "--check") == 0;
}

/* Who signs with another key than the certificate's is of no use, and would
 * be found out by every client instead of once by us. */
static void
check_pair(struct program *p, const struct keys *k)
{
	struct str name = p->conf->tls.certificate;
	char *path = str_cstr(p->arena, name);
	int fd = program_open(p, "certificate", name);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	X509 *cert = f == NULL ? NULL :
		PEM_read_X509_AUX(f, NULL, no_password, NULL);
	if (cert == NULL)
		fatal(path, "is no certificate in PEM");
	fclose(f);
	if (X509_check_private_key(cert, k->key) != 1)
		fatal(path, "does not belong to the private key");
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		log_warn(LOG_NO_ID, "certificate-expired",
			LOG_CSTR("file", path));
	X509_free(cert);
	errno = 0;
}

static void
prepare(struct program *p)
{
	struct keys *k = arena_one(p->arena, struct keys);
	p->ctx = k;
	if (is_check(p))
		log_open("keys", LOG_TO_STDERR, LOG_AS_TEXT);
	if (p->conf->tls.key.n == 0)
		return;
	char *path = str_cstr(p->arena, p->conf->tls.key);
	int fd = program_open(p, "key", p->conf->tls.key);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	if (f == NULL)
		fatal("the private key", path);
	k->key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
	fclose(f);
	errno = 0;
	if (k->key == NULL)
		fatal(path, "is not an unencrypted private key in PEM");
	check_pair(p, k);
	if (is_check(p))
		exit(0);
}

/* A tls that was begun with this key may need it to the end of its
 * handshakes; it says so by hanging up. */
static bool
is_needed(const struct peer *p)
{
	(void)p;
	return true;
}

static void
over(void *ctx)
{
	struct keys *k = ctx;
	loop_stop(k->loop);
}

static void
watch_master(void *ctx, int fd, unsigned events)
{
	struct keys *k = ctx;
	(void)fd, (void)events;
	loop_unwatch(k->master);
	peers_retire(&k->peers, RETIRE_MS, over);
}

static void
run(struct program *p)
{
	struct keys *k = p->ctx;
	k->loop = loop_new(p->arena);
	k->peers = (struct peers){.loop = k->loop, .rows = rows,
		.count = sizeof rows / sizeof *rows, .ctx = k,
		.is_busy = is_needed};
	int fd = program_fd(p, "ask.tls", 0);
	if (fd >= 0)
		peers_listen(&k->peers, fd, PEER_TLS);
	int master = program_fd(p, "master", 0);
	if (master >= 0)
		k->master = loop_watch(k->loop, master, 0, watch_master, k);
	loop_run(k->loop);
}

int
main(int argc, char **argv)
{
	static const struct service keys = {
		.name = "keys",
		.profile = SANDBOX_PURE,
		.prepare = prepare,
		.run = run,
		.usage = "Holds the private keys of certificates and signs for "
			"tls; gives none away.",
	};
	return service_main(&keys, argc, argv);
}
