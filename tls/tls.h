/* SPDX-License-Identifier: ISC */
/*
 * tls: TLS under other people's streams.  keys: the private keys, apart.
 *
 *	main_tls.c	tls: service row, tls_start
 *	link.c		one stream: handshake, then octets both ways
 *	context.c	certificates, policies, ALPN, what was verified
 *	resume.c	sessions with servers, to be taken up again
 *	remote_key.c	a private key that is somebody else's process
 *	main_keys.c	keys: loads them, signs, gives none away
 *	key_sign.c	what it signs, and what not
 *
 * tls holds no secret but those of the sessions it carries: the key whose
 * compromise would matter is asked for one signature at a time.
 */
#ifndef TLS_TLS_H
#define TLS_TLS_H

#include "ask/link.h"
#include "ask/messages.h"
#include "ask/peers.h"
#include "base/status.h"
#include "base/str.h"
#include "sys/loop.h"
#include "sys/service.h"

#include <openssl/ssl.h>

struct tls {
	struct program *program;
	struct arena *arena;
	struct loop *loop;
	struct peers peers;
	struct link *keys;
	SSL_CTX *server, *client;
	struct str certificate; /* SHA-256 of its DER, hex */
	size_t links; /* that are alive */
	bool no_more; /* the last of them ends the program */
	struct loop_watch *master;
};

/* -------------------------------------------------------------- context.c */
/* Reads the certificate and the trusted roots; fatal when one is named but
 * cannot be used. */
void context_start(struct tls *t);
/* An SSL for this start, with policy and names set; NULL with *s. */
SSL *context_new(struct tls *t, struct arena *a, const struct msg_tls_start *m,
	struct status *s);
/* none, chain or dane */
struct str context_verified(SSL *ssl);
/* The last error of the library, as words. */
struct str context_error(struct arena *a);

/* --------------------------------------------------------------- resume.c */
/* The client context keeps sessions from now on. */
void resume_start(struct tls *t);
/* Offers the server the last session with it under the same demands, and lets
 * this one be kept. */
void resume_offer(struct arena *a, SSL *ssl, const struct msg_tls_start *m);

/* ----------------------------------------------------------- remote_key.c */
/* A private key that matches the certificate and asks keys for signatures;
 * NULL, and the library's error, when it is neither RSA nor EC. */
EVP_PKEY *remote_key(struct tls *t, X509 *certificate);

/* ----------------------------------------------------------------- link.c */
/* Takes net (the stranger's end) and begins the handshake; p gets tls_ready
 * when it is over.  The policy and names are in ssl. */
void link_start(struct tls *t, struct peer *p, SSL *ssl, int net,
	const struct msg_tls_start *m);
/* The peer who asked went away: its handshake is over. */
void link_forget(struct peer *p);

/* -------------------------------------------------------------- key_sign.c */
/* Signs if the digest is one that TLS could have made; else never. */
struct status key_sign(struct arena *a, EVP_PKEY *key, struct str algorithm,
	struct str digest, struct str *signature);

#endif
