/* SPDX-License-Identifier: ISC */
/*
 * guest: a client that has not logged in, as the login processes of IMAP and
 * POP3 serve it: TLS under its stream, and the question to auth that ends
 * with the client in a session process.
 *
 * Passwords are auth's to judge.  The question carries the client's
 * descriptor and the input already read; when the answer says that the client
 * was handed over, a session speaks with it and the asker says nothing more.
 */
#ifndef ASK_GUEST_H
#define ASK_GUEST_H

#include "base/status.h"
#include "base/str.h"
#include "sys/conf.h"
#include "sys/conn.h"
#include "sys/net.h"

struct arena;
struct client;
struct link;
struct message;
struct program;

struct guest {
	const struct conf *conf;
	struct arena *arena; /* lives as long as the client is served */
	struct conn *conn;
	struct str service; /* imap, pop3: a literal */
	struct str id; /* the session's, for the log */
	struct net_address peer;
	struct str client; /* its address as text */
	struct link *auth, *to_tls;
	bool tls;
	bool back; /* may come back when its session is over (tls_back) */
	struct str binding; /* tls-exporter octets, RFC 9266 */
	struct str_list mechanisms; /* once asked for */
	int64_t failures;
	struct program *program; /* NULL in a session process */
	int64_t began, waits; /* when it came, and its last command ended */
	int64_t look; /* when the line of those behind it is looked at next */
	bool crowded; /* others waited then */
	int64_t usual; /* patience, in ms */
	int64_t busy; /* percent of all workers, as last heard */
};

/* A client on in and out; without links, for a session process. */
void guest_init(struct guest *g, struct program *p, struct arena *a,
	struct str service, int in, int out);
/* With its links, for a login process; logs that it came. */
void guest_welcome(struct guest *g, struct program *p,
	const struct client *c);

/* Tells auth that it is here; later: it may not stay.  It counts as long as its
 * links live. */
struct status guest_enter(struct guest *g);
/*
 * Waits for a line of at most so many octets, for the usual patience (ms) or as
 * long as there is, and sets the deadline of the read to come.  False when the
 * client has used up its time, whatever it said: ten minutes for a login, ten
 * seconds when others wait to be served.
 */
bool guest_wait(struct guest *g, size_t most, int64_t usual);

/* The same of one whose session is over; false when that is not what was asked
 * of us.  Its stream is in m. */
bool guest_come_back(struct guest *g, struct program *p,
	const struct message *m);

/* May a password be sent: under TLS, or on loopback if smtp.plaintext_auth
 * says so. */
bool guest_may_login(const struct guest *g);
bool guest_may_start_tls(const struct guest *g);

/*
 * Puts TLS under the stream.  False, logged: there is none, or the client
 * spoke in the clear behind its wish for TLS, which somebody in between may
 * have done (RFC 3501 6.2.1, RFC 2595 4): end the connection without a word.
 */
bool guest_start_tls(struct guest *g);

/* SASL mechanisms to offer, the strongest first, the -PLUS forms only where
 * there is a channel to bind to.  auth is asked once a client, and again after
 * TLS; none when it is away. */
struct str_list guest_mechanisms(struct guest *g);

struct guest_login {
	struct str mechanism, response; /* empty: no initial response */
	struct str tag; /* what the session is to know (session_start) */
	/* Sends a challenge and reads the response, which may live in the
	 * arena of the login; false when the client cancels it, cannot be
	 * understood or is gone. */
	bool (*exchange)(
		void *ctx, struct str challenge, struct str *response);
	void *ctx;
};

enum guest_result {
	GUEST_HANDED, /* say nothing, serve the next */
	GUEST_REFUSED, /* wrong; guest_is_trying may end it */
	GUEST_LATER, /* not now; the status has the reason */
	GUEST_CANCELLED, /* exchange said so */
};

/* The whole dialogue.  Texts in a. */
enum guest_result guest_login(struct guest *g, struct arena *a,
	const struct guest_login *how, struct status *why);

/* Has this client failed as often as auth.max_failures allows? */
bool guest_is_trying(const struct guest *g);

#endif
