/* SPDX-License-Identifier: ISC */
/*
 * imapd: IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051) on a plain stream.
 *
 * One program in two roles.  The login process is unprivileged and serves
 * clients until they have logged in; auth hands them to a session process,
 * which already is the user.  Both run the same loop (session.c) over the
 * same table (commands.c); what a role may do follows from the state: GREETED
 * exists only in the login process, AUTH and SELECTED only in a session.
 *
 *	session.c	the loop: one command, its news, one tagged reply
 *	commands.c	the table; commands.h has what it names
 *	parse		a command's arguments as a tree
 *	seqset, flags, section, search, resync
 *			the words clients use, as values
 *	find, sort, thread, result, answer.c
 *			which messages, in which order, as which answer
 *	reply.c		what is sent
 *	view		the selected mailbox: news, names, sets
 *	capability.c	what is offered
 *	appending, catenate.c, url
 *			messages on their way in
 *	progress	how far a long command is
 *	deflate		the connection under COMPRESS
 *	cmd_*.c		the commands, one file a family
 *	start.c		the session process: its first words
 *	main.c		the two service rows
 */
#ifndef IMAPD_IMAPD_H
#define IMAPD_IMAPD_H

#include "ask/guest.h"
#include "base/status.h"
#include "base/str.h"
#include "parse.h"
#include "mail/command.h"
#include "store/message.h"
#include "sys/conn.h"
#include "sys/service.h"

struct body;
struct buf;
struct imap_session;
struct mailbox;
struct store;

/* RFC 3501 3 */
enum imap_state {
	IMAP_GREETED = 1,
	IMAP_AUTH = 2,
	IMAP_SELECTED = 4,
	IMAP_CLOSED = 8,
	IMAP_ANY = IMAP_GREETED | IMAP_AUTH | IMAP_SELECTED,
	IMAP_USER = IMAP_AUTH | IMAP_SELECTED,
};

/* ---------------------------------------------------------------- reply */
enum imap_result {
	IMAP_OK,
	IMAP_NO,
	IMAP_BAD,
	IMAP_SILENT, /* the client is somebody else's, or gone */
};

/* What a command comes to: the loop makes the tagged line of it. */
struct imap_reply {
	enum imap_result result;
	struct str code; /* within [], may be empty */
	struct str text;
};

#define REPLY(result, code, text)                                              \
	((struct imap_reply){(result), STR(code), STR(text)})
#define REPLY_OK(text) REPLY(IMAP_OK, "", text)
#define REPLY_NO(code, text) REPLY(IMAP_NO, code, text)
#define REPLY_BAD(text) REPLY(IMAP_BAD, "", text)
#define REPLY_UIDREQUIRED                                                      \
	REPLY(IMAP_BAD, "UIDREQUIRED", "Only UIDs have been enabled")
/* Heard only where the server is about to stop. */
#define REPLY_INTERRUPTED REPLY_NO("UNAVAILABLE", "Interrupted")

/* NO with the response code of RFC 5530 that fits. */
struct imap_reply reply_status(struct status st);

/* "tag OK [code] text"; "* OK [code] text" with an empty tag. */
void reply_line(struct conn *c, struct str tag, struct imap_reply r);
/* "* " and CRLF are added. */
void reply_untagged(struct conn *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Writes an atom where one suffices, else mail/structure's string. */
void reply_astring(struct buf *out, struct str text);
/* In quotes whatever it is; what cannot be said so is "?", and of UTF-8, for
 * who enabled it, only control characters are that. */
void reply_quoted(struct buf *out, struct str text);
void reply_utf8(struct buf *out, struct str text);
void reply_string(struct buf *out, struct str text);

/* -------------------------------------------------------------- session */
enum imap_limits {
	IMAP_LINE_LOGIN = 8 * 1024,
	IMAP_LINE = 2 * 1024 * 1024, /* sets of UIDs are long */
	IMAP_LITERALS_LOGIN = 8 * 1024,
	IMAP_LITERALS = 4 * 1024 * 1024, /* but messages */
	IMAP_ARGS = 64 * 1024,
	IMAP_DEPTH = 100,
	IMAP_TAG = 255,
	IMAP_ERRORS = 20, /* BADs without any OK between them */
	IMAP_LOGIN_PATIENCE = 3 * 60 * 1000,
	IMAP_QUIET = 300, /* ms of silence before files are renamed */
	IMAP_SLICE = 20,  /* ms of that work before the next look at input */
};

/* Extensions a client has switched on (RFC 5161). */
enum imap_enabled {
	IMAP_CONDSTORE = 1 << 0,
	IMAP_QRESYNC = 1 << 1,
	IMAP_UTF8 = 1 << 2,
	IMAP_REV2 = 1 << 3, /* RFC 9051, where it differs */
	IMAP_UTF8_NAMES = IMAP_UTF8 | IMAP_REV2, /* either will do */
	IMAP_UIDONLY = 1 << 4, /* no message numbers at all */
};

struct imap_session {
	struct program *program;
	const struct conf *conf;
	struct arena *arena;       /* the session's */
	struct arena *transaction; /* one command's */
	struct conn *conn;
	struct str id; /* for the log */
	enum imap_state state;
	unsigned enabled;
	unsigned commands, errors;

	/* The command in hand. */
	struct str tag;
	struct parse parse;
	bool uid; /* its name was preceded by UID */
	bool numbers; /* it named messages by their numbers none the less */
	int64_t progress; /* when to say how far it is (progress.h) */

	/* Where the client is, and its login. */
	struct guest guest;

	/* Session role. */
	struct str user, home;
	struct store *store;
	struct arena *view;      /* lives as long as a mailbox is selected */
	struct mailbox *mailbox; /* NULL: none is */
	struct body *body;       /* the message read last (fetch.h) */
	struct arena *saved_arena; /* of saved; NULL: nothing is */
	struct uid_set saved;    /* UIDs for `$` (RFC 5182) */
	size_t keywords_told;    /* how many the client knows of */
	bool unsettled;          /* the mailbox has work for quiet times */
	bool compressed;
};

/* A client on in and out.  Everything lives in its own arenas. */
struct imap_session *session_new(struct program *p, int in, int out);
void session_free(struct imap_session *s);

/* Serves until the state is CLOSED or the connection is gone. */
void session_run(struct imap_session *s);

/* Gives memory back, as the client is silent. */
void session_rest(struct imap_session *s);

/* BYE, when it is we who will wait no longer. */
void session_say_why(struct imap_session *s);

/* Work that waits for silence, for a moment (IMAP_SLICE), with a mailbox. */
void session_tidy(struct imap_session *s);

/* ------------------------------------------------------------- commands */
typedef struct imap_reply (*imap_fn)(
	struct imap_session *s, const struct arg *args);

enum imap_flags {
	CMD_UID = 1 << 0, /* may be preceded by UID */
	CMD_NO_ARGS = 1 << 1,
	CMD_READS = 1 << 2,    /* parses its arguments itself */
	CMD_SEQUENCE = 1 << 3, /* no EXPUNGE may be sent (RFC 3501 7.4.1) */
	CMD_NO_NEWS = 1 << 4,  /* nor anything else of the mailbox */
	CMD_WRITES = 1 << 5,   /* not in a mailbox opened by EXAMINE */
	CMD_NUMBERS = 1 << 6,  /* has message numbers without UID before it */
	CMD_LONG = 1 << 7,     /* says how far it is (progress.h) */
};

struct imap_command {
	struct command command;
	imap_fn fn;
	/* What follows the tagged OK on the wire; may be NULL. */
	void (*after)(struct imap_session *s);
};

extern const struct imap_command imap_commands[];
extern const size_t imap_command_count;

#endif
