/* SPDX-License-Identifier: ISC */
/*
 * pop3d: POP3 on a plain stream (RFC 1939, 2449, 2595, 3206, 5034, 6856).
 *
 * One program in two roles.  The login process is unprivileged and serves
 * clients until they have logged in; auth hands them to a session process,
 * which already is the user.  Both run the same loop over the same table;
 * what a role may do follows from the state: GREETED and NAMED exist only in
 * the login process, TRANSACTION only in a session.
 *
 *	main.c		the two service rows
 *	session.c	the loop: one command, one reply
 *	commands.c	the table, and the short commands
 *	language	what is said, in the client's language (LANG, UTF8)
 *	capability.c	CAPA
 *	login.c		STLS, USER, PASS, AUTH
 *	start.c		a session's first words and last deeds
 *	maildrop	the messages by number: sizes, marks, the update
 *	cmd_drop.c	STAT, LIST, UIDL, DELE, RSET
 *	cmd_retr.c	RETR, TOP
 *	stuff		a file's octets as they go over the wire
 *
 * A command's function is called only in the states its row names.  It
 * returns one reply, which the loop writes and moves to the next state by.
 */
#ifndef POP3D_POP3D_H
#define POP3D_POP3D_H

#include "ask/guest.h"
#include "base/buf.h"
#include "base/str.h"
#include "language.h"
#include "mail/command.h"
#include "sys/conn.h"
#include "sys/service.h"

struct arena;
struct maildrop;

/* RFC 1939 4 to 6; AUTHORIZATION is two of these. */
enum pop3_state {
	POP3_GREETED = 1,
	POP3_NAMED = 2, /* USER was said */
	POP3_TRANSACTION = 4,
	POP3_CLOSED = 8,
	POP3_LOGIN = POP3_GREETED | POP3_NAMED,
	POP3_ANY = POP3_LOGIN | POP3_TRANSACTION,
};

enum pop3_limits {
	POP3_LINE_LOGIN = 12288, /* RFC 5034 4 */
	POP3_LINE = 512, /* RFC 2449 4 says 255 */
	POP3_ERRORS = 20, /* not understood, without any success between */
	POP3_LOGIN_PATIENCE = 3 * 60 * 1000,
	POP3_CHUNK = 32 * 1024, /* of a file at once */
};

/* ---------------------------------------------------------------- reply */
enum pop3_result {
	POP3_OK,
	POP3_ERR,
	POP3_BAD, /* -ERR as well: not understood, and counted */
	POP3_SAID, /* done; the function has written everything */
	POP3_SILENT, /* the client is somebody else's, or gone */
};

/* What a command comes to: the loop makes the line of it. */
struct pop3_reply {
	enum pop3_result result;
	const char *code; /* within [] (RFC 2449 8), or NULL */
	enum say text;
	struct str before; /* "2 320" before the text, may be empty */
	uint64_t numbers[2]; /* for each # of the text */
};

#define OK(say) ((struct pop3_reply){POP3_OK, NULL, (say)})
#define ERR(code, say) ((struct pop3_reply){POP3_ERR, (code), (say)})
#define BAD(say) ((struct pop3_reply){POP3_BAD, NULL, (say)})
#define SAID ((struct pop3_reply){.result = POP3_SAID})
#define SILENT ((struct pop3_reply){.result = POP3_SILENT})

/* -------------------------------------------------------------- session */
struct pop3_session {
	struct program *program;
	const struct conf *conf;
	struct arena *arena; /* the session's */
	struct arena *transaction; /* one command's */
	struct guest guest; /* where the client is, and its login */
	struct conn *conn;
	struct str id; /* for the log */
	enum pop3_state state;
	unsigned commands, errors;
	const struct language *language;

	/* Login role: the argument of USER. */
	struct str name;

	/* Session role. */
	struct str user;
	struct maildrop *drop;
	int stop; /* readable when the server stops */
	uint64_t retrieved, octets; /* for the log */
};

/* A client on in and out.  Everything lives in its own arenas. */
struct pop3_session *session_new(struct program *p, int in, int out);
void session_free(struct pop3_session *s);

/* Serves until the state is CLOSED or the connection is gone. */
void session_run(struct pop3_session *s);

/* "+OK before text" or "-ERR [code] text". */
void session_reply(struct pop3_session *s, struct pop3_reply r);

/* ------------------------------------------------------------- commands */
/* args: what follows the verb and one blank, as it came. */
typedef struct pop3_reply (*pop3_fn)(struct pop3_session *s, struct str args);

enum pop3_flags {
	CMD_NO_ARGS = 1 << 0,
};

struct pop3_command {
	struct command command; /* first */
	pop3_fn fn;
	/* What follows +OK on the wire; may be NULL. */
	void (*after)(struct pop3_session *s);
};

extern const struct pop3_command pop3_commands[];
extern const size_t pop3_command_count;

#define COMMAND(name) struct pop3_reply name(struct pop3_session *, struct str)

/* commands.c */
COMMAND(pop3_noop);
COMMAND(pop3_quit);

/* capability.c */
COMMAND(pop3_capa);

/* language.c */
COMMAND(pop3_lang);
COMMAND(pop3_utf8);

/* login.c */
COMMAND(pop3_stls);
COMMAND(pop3_user);
COMMAND(pop3_pass);
COMMAND(pop3_auth);
/* Puts TLS under the connection; on failure the session is CLOSED. */
void login_start_tls(struct pop3_session *s);

/* cmd_drop.c */
COMMAND(pop3_stat);
COMMAND(pop3_list);
COMMAND(pop3_uidl);
COMMAND(pop3_dele);
COMMAND(pop3_rset);

/* cmd_retr.c */
COMMAND(pop3_retr);
COMMAND(pop3_top);

/* main.c's rows: a client to log in; a client that has. */
enum served login_serve(struct program *p, struct client *c);
const char **start_trees(struct program *p);
void start_run(struct program *p);

#endif
