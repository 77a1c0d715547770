/* SPDX-License-Identifier: ISC */
/*
 * sasl: authentication mechanisms as step functions: PLAIN (RFC 4616), LOGIN
 * (never standardised, spoken by everybody), SCRAM-SHA-1 and SCRAM-SHA-256
 * with their -PLUS forms (RFC 5802, 7677, 9266).
 *
 * The server side knows no table of users.  A step ends in what it needs next:
 * a password to be checked, a stored SCRAM secret, another response, or
 * nothing.  Octets are compared as they come; control characters in names and
 * passwords are refused, which is as much of SASLprep as is done.
 */
#ifndef MAIL_SASL_H
#define MAIL_SASL_H

#include "base/str.h"

struct arena;

enum sasl_mechanism {
	SASL_NONE,
	SASL_PLAIN,
	SASL_LOGIN,
	SASL_SCRAM_SHA_1,
	SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_256_PLUS,
};

enum sasl_mechanism sasl_mechanism(struct str name);
struct str sasl_name(enum sasl_mechanism m);
/* Does the client's password cross the wire? */
bool sasl_is_plaintext(enum sasl_mechanism m);
/* Is it one of the -PLUS forms, bound to the channel? */
bool sasl_binds(enum sasl_mechanism m);

enum sasl_need {
	SASL_CHALLENGE, /* send challenge, feed the answer */
	SASL_PASSWORD, /* check user's password, then it is over */
	SASL_SECRET, /* sasl_server_secret with user's stored secret */
	SASL_DONE, /* authenticated; challenge may hold a last message */
	SASL_REFUSED, /* wrong proof */
	SASL_MALFORMED, /* not the mechanism's grammar */
};

/* What a server keeps of a password for SCRAM (RFC 5803). */
struct sasl_secret {
	struct str salt;
	uint32_t iterations;
	struct str stored_key, server_key;
};

struct sasl_server {
	enum sasl_mechanism mechanism;
	struct arena *arena; /* lives as long as the dialogue */
	struct str user; /* who wants in */
	struct str authzid; /* as whom; empty or the same */
	struct str password; /* with SASL_PASSWORD */
	struct str challenge;
	/* internal */
	unsigned step;
	struct str binding; /* tls-exporter octets, empty without TLS */
	struct str nonce, client_first, server_first, gs2;
	struct sasl_secret secret;
};

/* For programs that are confined later: the library of hashes gets ready now,
 * and not from files at its first use. */
void sasl_open(void);

/* nonce: fresh randomness as printable text, for SCRAM; the caller's, so that
 * this stays a function of its input. */
void sasl_server_start(struct sasl_server *s, struct arena *a,
	enum sasl_mechanism m, struct str nonce, struct str binding);

/* One response; first with what came along with AUTH (p NULL: nothing did). */
enum sasl_need sasl_server_step(struct sasl_server *s, struct str response);

/* The secret asked for; for users who have none a made-up one keeps the
 * dialogue the same.  Always ends in a challenge. */
enum sasl_need sasl_server_secret(struct sasl_server *s,
	const struct sasl_secret *secret);

/* Derives a secret from a password; mechanism gives the hash. */
struct sasl_secret sasl_make_secret(struct arena *a, enum sasl_mechanism m,
	struct str password, struct str salt, uint32_t iterations);

/* ---------------------------------------------------------------- client */
struct sasl_client {
	enum sasl_mechanism mechanism;
	struct arena *arena;
	struct str user, password, nonce;
	struct str response;
	unsigned step;
	struct str client_first, auth_message, server_key;
	bool server_proved;
};

void sasl_client_start(struct sasl_client *c, struct arena *a,
	enum sasl_mechanism m, struct str user, struct str password,
	struct str nonce);
/* The next response for a challenge (the first challenge is empty); false
 * when the server does not speak the mechanism or cannot prove it knows the
 * password: give up. */
bool sasl_client_step(struct sasl_client *c, struct str challenge);

#endif
