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
#include <unistd.h>

enum { REPORT_EVERY = 100000, RETIRE_MS = 120 * 1000, CHAIN_MOST = 128 * 1024 };

struct keys {
	struct loop *loop;
	struct loop_watch *master;
	struct peers peers;
	bool succeeded; /* another listens when this one is told to end */
	EVP_PKEY *key;
	struct str chain; /* what the file of its certificate says */
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

/* Certificates are public; who restarted us may have renewed ours. */
static void
on_which(struct peer *p, struct arena *a, struct message *m)
{
	struct keys *k = p->peers->ctx;
	struct message answer = MESSAGE(key_chain);
	(void)a, (void)m;
	answer.key_chain.status = status_fine();
	answer.key_chain.chain = k->chain;
	peer_send(p, &answer);
}

static const struct peer_row rows[] = {
	{MSG_key_sign, PEER_TLS, on_sign},
	{MSG_key_which, PEER_TLS, on_which},
};

/* The whole file; empty when there is none or it is too large for one. */
static struct str
read_chain(struct arena *a, int fd)
{
	char *text = arena_alloc(a, CHAIN_MOST);
	size_t n = 0;
	ssize_t got = 0;
	while (fd >= 0 && n < CHAIN_MOST &&
		(got = read(fd, text + n, CHAIN_MOST - n)) > 0)
		n += (size_t)got;
	if (fd >= 0)
		close(fd);
	return got < 0 || n == CHAIN_MOST ? STR("") : str_of(text, n);
}

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
check_pair(struct program *p, struct keys *k)
{
	struct str name = p->conf->tls.certificate;
	char *path = str_cstr(p->arena, name);
	k->chain = read_chain(p->arena, program_open(p, "certificate", name));
	BIO *b = BIO_new_mem_buf(k->chain.p, (int)k->chain.n);
	X509 *cert = b == NULL ? NULL :
		PEM_read_bio_X509_AUX(b, NULL, no_password, NULL);
	if (cert == NULL)
		fatal(path, "is no certificate in PEM");
	BIO_free(b);
	if (X509_check_private_key(cert, k->key) != 1)
		fatal(path, "does not belong to the private key");
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		log_warn(LOG_NO_ID, "certificate-expired",
			LOG_CSTR("file", path));
	X509_free(cert);
	errno = 0;
}

static void
read_key(struct program *p, struct keys *k)
{
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
}

static void
prepare(struct program *p)
{
	struct keys *k = arena_one(p->arena, struct keys);
	p->ctx = k;
	if (is_check(p))
		log_open("keys", LOG_TO_STDERR, LOG_AS_TEXT);
	if (p->conf->tls.key.n > 0)
		read_key(p, k);
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
	/* systemd starts another when this one is gone, and tls follows it. */
	if (!k->succeeded) {
		loop_stop(k->loop);
		return;
	}
	peers_retire(&k->peers, RETIRE_MS, over);
}

static void
run(struct program *p)
{
	struct keys *k = p->ctx;
	k->loop = loop_new(p->arena);
	k->succeeded = program_has_successor(p);
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
