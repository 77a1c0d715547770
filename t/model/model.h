/* SPDX-License-Identifier: ISC */
/*
 * Random sessions against a small model of SMTP: what must be answered, and
 * what must have been accepted.
 *
 *	main.c	plays sessions, compares, prints
 *	talk.c	makes up a session, command by command
 *	model.c	what the RFCs and the manual say about each command
 *	world.c	the programs smtpd asks, as functions
 *
 * The session code runs in this process, on the other end of a socket pair
 * that keeps packets apart: what it reads at once is what was sent at once.
 * Its links to other programs are replaced (ask/link.h is defined here).
 * Nothing depends on time: all that a client will say lies in the socket
 * before the session begins.
 */
#ifndef T_MODEL_H
#define T_MODEL_H

#include "base/buf.h"
#include "base/str.h"
#include "sys/conf.h"

struct arena;

/* What differs between sessions from the beginning on. */
struct setup {
	const char *name, *service, *conf;
	bool lmtp, submission;
	bool trusted; /* comes from 127.0.0.1, which relays */
	bool plaintext; /* AUTH without TLS */
	bool xclient; /* may speak for others */
	bool normalise; /* bare CR and LF are made CRLF */
	bool early; /* not known, so it must not talk first */
	bool etrn;
};

enum limits {
	MAX_ERRORS = 20,
	MAX_FAILURES = 3,
	MAX_IDLE = 100,
	MAX_RCPTS = 100,
	MAX_SIZE = 65536,
	MAX_TRANSACTIONS = 1000,
};

/* --------------------------------------------------------------- world.c */

/* One message the queue has taken: its envelope in words, its content. */
struct taken {
	struct str envelope, content;
	struct taken *next;
};

struct world {
	struct arena *arena; /* a session's */
	bool known; /* the client was seen lately */
	bool tls_fails;
	int *body; /* the file given out last, of this smtpd; 0: none */
	const int *streams; /* what TLS yields, one after another */
	struct taken *first, **last;
};

extern struct world world;

void world_begin(struct arena *a, bool known, int *body);
/* An envelope as world.c and model.c both write it. */
struct envelope {
	struct str sender, ret, envid, body, user, hold, origin;
	bool utf8, requiretls;
};
void envelope_write(struct buf *out, const struct envelope *e);
void envelope_rcpt(struct buf *out, struct str address, struct str orcpt,
	struct str notify);

/* --------------------------------------------------------------- model.c */

enum state { FRESH, READY, MAIL, RCPT, CHUNKS, BLOCKED, CLOSED };

struct model {
	const struct setup *setup;
	struct arena *arena;
	enum state state;
	bool esmtp, tls;
	bool relays, loopback; /* by its address, now */
	struct str user; /* empty: nobody */
	bool any_sender; /* the login came by XCLIENT */
	int idle, errors, failures, transactions;
	/* the transaction */
	struct envelope now;
	struct str rcpt[MAX_RCPTS];
	size_t rcpts;
	struct buf *names; /* envelope_rcpt of each */
	struct buf *chunks; /* BDAT so far */
	/* what has to come */
	struct buf *want; /* codes, each an int */
	struct taken *first, **last;
};

/* A path or parameter as the talk chose it. */
struct choice {
	const char *text;
	int code; /* what is wrong with it by itself, or 0 */
	const char *kept; /* the same as an address, when not the text */
};

void model_begin(struct model *m, const struct setup *s, struct arena *a);
size_t model_wants(const struct model *m);

void model_hello(struct model *m, const char *verb, bool named);
void model_mail(struct model *m, struct choice path, struct choice param);
void model_rcpt(struct model *m, struct choice path, struct choice param);
/* May the content be sent?  Then it ends with model_data_end. */
bool model_data(struct model *m);
void model_data_end(struct model *m, struct str wire);
void model_bdat(struct model *m, struct str chunk, bool last);
/* BDAT whose octets cannot be counted, or are far too many. */
void model_bdat_bad(struct model *m, int code);
void model_rset(struct model *m);
void model_quit(struct model *m);
/* What has one answer in every state but BLOCKED and CLOSED. */
void model_plain(struct model *m, int code);
/* A line that is no command: 500; or ends the session at once. */
void model_garbage(struct model *m, int code, bool ends);
void model_etrn(struct model *m, int code);
void model_xclient(struct model *m, struct choice what);
bool model_may_auth(struct model *m);
void model_auth(struct model *m, int code, const char *user);
/* True when TLS begins. */
bool model_starttls(struct model *m, bool alone, bool works);

/* ---------------------------------------------------------------- talk.c */

/* What the client sends: octets, and where packets end.  A new stream begins
 * with TLS. */
struct said {
	struct buf *octets;
	struct buf *cuts; /* size_t each: a packet ends here */
	struct buf *streams; /* size_t each: a stream begins here */
	bool whole; /* packets may not be cut elsewhere */
};

uint64_t random_next(void);
void random_seed(uint64_t seed);
size_t random_below(size_t n);
bool random_one_in(size_t n);

void talk(struct model *m, struct said *said);

#endif
