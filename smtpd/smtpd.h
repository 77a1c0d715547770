/* SPDX-License-Identifier: ISC */
/*
 * smtpd: SMTP, submission and LMTP as a server (RFC 5321, 6409, 2033).
 *
 *	main.c		the service row
 *	client.c	before the first command; how much patience there is
 *	session.c	read, dispatch, reply; the end of a transaction
 *	commands.c	the tables, and the short commands
 *	envelope.c	MAIL and RCPT
 *	policy.c	who may send what to whom
 *	facts.c		what DNS says of a stranger
 *	data.c		DATA and BDAT: reading to the end
 *	content.c	what is read becomes one submission
 *	submission.c	what only submission repairs: Date, Message-ID, Bcc
 *	login.c		STARTTLS and AUTH
 *	xclient.c	a host we trust speaks for another
 *
 * One client, one process, straight-line code. A command's function is called
 * only in the states its row names; it returns one status, which the loop
 * writes, logs and moves to the next state by. Every way out of a transaction
 * ends in session_reset.
 */
#ifndef SMTPD_SMTPD_H
#define SMTPD_SMTPD_H

#include "ask/link.h"
#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"
#include "mail/command.h"
#include "mail/smtp.h"
#include "sys/conn.h"
#include "sys/service.h"

struct arena;
struct incoming;

enum smtp_state {
	SMTP_FRESH = 1, /* greeted, nothing said yet */
	SMTP_READY = 2, /* HELO, EHLO or LHLO said */
	SMTP_MAIL = 4, /* MAIL said */
	SMTP_RCPT = 8, /* at least one recipient */
	SMTP_CLOSED = 16,
	SMTP_BLOCKED = 32, /* only QUIT is heard (RFC 5321 3.1) */
	SMTP_CHUNKS = 64, /* BDAT said, LAST not yet */
	SMTP_TALKING = SMTP_READY | SMTP_MAIL | SMTP_RCPT | SMTP_CHUNKS,
	SMTP_ANY = SMTP_FRESH | SMTP_TALKING,
};

enum smtp_flags {
	CMD_LAST = 1, /* ends a pipelining group: input behind it is an error
		       * only for STARTTLS */
	CMD_FREE = 2, /* no mail in it, but not counted as idle talk */
	CMD_NO_LMTP = 4,
	CMD_ONLY_LMTP = 8,
	CMD_PAYLOAD = 32, /* octets follow that are no commands, whatever we say */
	CMD_PLAIN = 16, /* replies without enhanced codes (RFC 2034 3) */
};

/* RFC 5321 4.5.3 and reliability 2.4 */
enum smtp_limits {
	SMTP_IDLE_COMMANDS = 100, /* that move no mail */
	SMTP_TRANSACTIONS = 1000, /* of one session */
	SMTP_INLINE_MOST = 128 * 1024,
	SMTP_HEADER_MOST = 256 * 1024,
	SMTP_FIELDS_MOST = 1000,
	SMTP_CHUNKS_MOST = 10000,
	SMTP_OVERSHOOT = 1000, /* recipients beyond the most, all refused */
};

struct recipient {
	struct str address, orcpt, notify;
	struct recipient *next;
};

struct transaction {
	struct str sender;
	struct recipient *first, **last;
	size_t count, refused; /* refused: beyond the most */
	struct str ret, envid, body_type;
	bool utf8, requiretls;
	bool facts_asked;
	struct str sender_domain; /* "null", "unknown" or empty */
	struct str hold; /* why it is to be held, or empty */
	uint64_t declared; /* SIZE=, 0: not said */
	struct incoming *incoming; /* by BDAT, so far */
	unsigned chunks;
};

/* A body file the queue opened for us that no message needs. */
struct spare {
	int fd; /* or -1 */
	unsigned generation; /* of the link it was opened over */
	char name[32];
};

/* They last as long as the process: its askings are one after another. */
struct links {
	struct link *auth, *tls, *queue, *resolve;
	struct spare spare;
};

struct session {
	struct program *program;
	const struct conf *conf;
	struct client *client;
	struct arena *arena; /* the session's */
	struct arena *transaction_arena;
	struct arena *command_arena; /* until its reply is written */
	struct conn *conn;
	struct str id, ip;
	int64_t began; /* connected, microseconds since 1970 */
	enum smtp_state state;
	bool lmtp, submission, trusted; /* trusted: relay_networks */
	bool xclient; /* this host may say for whom it speaks */
	struct str helo;
	struct str reverse; /* name of the address, confirmed; or empty */
	bool reverse_known; /* XCLIENT said it */
	bool facts_known; /* DNS was asked about the client */
	int64_t listed; /* sum of what DNS lists say */
	struct str listed_by;
	bool esmtp, tls;
	struct str tls_version, binding;
	struct str user; /* logged in */
	struct str_list senders; /* may send from these */
	struct str_list mechanisms; /* to be offered, without -PLUS */
	int64_t busy; /* percent of all workers, as last heard */
	int64_t waiting; /* in the line before us, as last seen */
	bool known; /* need not be watched before it is greeted */
	bool passed; /* was watched, and waited */
	int errors, login_failures;
	unsigned idle_commands, transactions;
	struct transaction t;
	struct link *auth, *to_tls, *queue, *resolve;
	struct links *links;
	bool more; /* the command is part of the way: BDAT without LAST */
};

typedef struct status (*smtp_fn)(struct session *s, struct str args);

struct smtp_row {
	struct command command; /* first */
	smtp_fn fn;
};

const struct smtp_row *smtp_rows(size_t *count);

/* -------------------------------------------------------------- session.c */
enum served smtp_serve(struct program *p, struct client *c);
/* Forgets the transaction; the only way out of one. */
void session_reset(struct session *s);
void session_reply(struct session *s, struct status st);
bool session_is_trusted(const struct session *s);
/* 221, 421 ...: the last thing said. */
void session_close(struct session *s, struct status st);

/* --------------------------------------------------------------- client.c */
/* Tells auth that the client is here; later: it may not stay. */
struct status client_enter(struct session *s);
void client_leave(struct session *s);
void client_greet(struct session *s);
/* 554, and nothing but QUIT from here on. */
void client_block(struct session *s, struct status why);
/* Waits for a line of at most so many octets as long as there is patience, and
 * sets the deadline of the read to come.  False when the suite is being stopped
 * and the client has no transaction in hand. */
bool client_wait(struct session *s, size_t most);
/* While a client is served SIGTERM ends it at the next chance, not at once. */
void client_heed_stop(bool heed);
/* How long it may keep silent now, in ms. */
int64_t client_patience(const struct session *s);
int client_errors_most(const struct session *s);

/* ----------------------------------------------------------- the commands */
struct status smtp_helo(struct session *s, struct str args);
struct status smtp_ehlo(struct session *s, struct str args);
struct status smtp_lhlo(struct session *s, struct str args);
struct status smtp_starttls(struct session *s, struct str args);
struct status smtp_auth(struct session *s, struct str args);
struct status smtp_mail(struct session *s, struct str args);
struct status smtp_rcpt(struct session *s, struct str args);
struct status smtp_data(struct session *s, struct str args);
struct status smtp_bdat(struct session *s, struct str args);
struct status smtp_etrn(struct session *s, struct str args);
struct status smtp_xclient(struct session *s, struct str args);
struct status smtp_rset(struct session *s, struct str args);
struct status smtp_noop(struct session *s, struct str args);
struct status smtp_vrfy(struct session *s, struct str args);
struct status smtp_help(struct session *s, struct str args);
struct status smtp_quit(struct session *s, struct str args);

/* A BDAT that is refused for this reason: its octets are passed over. */
struct status bdat_refuse(struct session *s, struct str args,
	struct status why);

/* -------------------------------------------------------------- content.c */
/* A message of the transaction, in its arena.  dots: it ends with a dot alone
 * and dots are stuffed (DATA). */
struct incoming *content_begin(struct session *s, bool dots);
/* How much of input was used; what goes wrong is kept for later. */
size_t content_feed(struct incoming *in, struct str input);
bool content_is_done(const struct incoming *in);
bool content_is_too_slow(const struct incoming *in);
struct status content_status(const struct incoming *in);
/* It will not be taken, for this reason or an earlier one. */
void content_refuse(struct incoming *in, struct status st);
/* It is whole: into the queue. */
struct status content_submit(struct incoming *in);

/* --------------------------------------------------------------- policy.c */
/* May this client begin a transaction with this sender at all? */
struct status policy_sender(struct session *s, const struct address *sender);
/* May it send to this recipient?  Asks auth, whose rules may change to->address
 * or hold the message. */
struct status policy_rcpt(struct session *s, struct recipient *to);

/* ---------------------------------------------------------------- facts.c */
/* Once a transaction, before its first recipient is judged. */
void facts_gather(struct session *s);

/* ---------------------------------------------------------------- login.c */
/* After the 220 of STARTTLS, or before the greeting: the handshake; closes
 * the session when it fails. */
bool login_start_tls(struct session *s);
bool login_may_start_tls(const struct session *s);
bool login_may_auth(const struct session *s);
/* "AUTH mechanism ..." as a line of EHLO's reply, when there is any. */
void login_keyword(const struct session *s, struct buf *out);

/* -------------------------------------------------------------- xclient.c */
void xclient_keyword(const struct session *s, struct buf *out);

/* ----------------------------------------------------------- submission.c */
/*
 * The header as it should have been: Date, Message-ID and From added where
 * missing, Sender where somebody else is in From, Bcc taken out, senders as
 * the outside is to see them, in the envelope too.  Appends the whole header
 * with its empty line.  Later: a table cannot be asked now.
 */
struct status submission_repair(struct session *s, struct arena *a,
	struct str header, struct buf *out);

#endif
