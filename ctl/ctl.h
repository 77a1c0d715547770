/* SPDX-License-Identifier: ISC */
/*
 * ctl: the commands of people: surat (main_surat.c), and sendmail, mailq and
 * newaliases (main_sendmail.c).  They run as their caller, own nothing, and
 * ask the running suite over its sockets or edit its files.
 *
 * surat is a table of subcommands.  Each takes a struct ctl and returns the
 * exit status, one of sysexits(3); 1 means that there was nothing to do it
 * to.  Text is for people, --json for programs: one JSON object a line.
 */
#ifndef CTL_H
#define CTL_H

#include "ask/messages.h"
#include "base/str.h"
#include "sys/conf.h"
#include "sys/options.h"

#include <sysexits.h>

struct arena;
struct buf;

enum { EX_NOTHING = 1 };

struct ctl;
typedef int (*ctl_fn)(struct ctl *c);

struct ctl {
	struct arena *arena;
	const char *config; /* file of the configuration */
	struct str_list overrides;
	bool json;
	int argc; /* operands, without the subcommand */
	char **argv;
	/* what was called so far, "surat queue", and the row it came by */
	struct str called;
	const struct subcommand *row;
};

struct subcommand {
	const char *name;
	const char *operands; /* as in the synopsis */
	const char *help; /* one sentence */
	ctl_fn fn;
	int most; /* operands there may be */
};

/* -------------------------------------------------------------- options */

/* "PROGRAM: ..." on standard error, and the end. */
void ctl_fail(int status, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 2, 3)));

/*
 * Takes the options out of argv, wherever they stand, so that operands are
 * left; "--" ends them.  --config, --set and --json are known to every
 * subcommand.  Ends with EX_USAGE on anything unknown and on more operands
 * than the subcommand has, and with the rows' help and 0 on --help.
 */
void ctl_options(struct ctl *c, const struct option_row *rows, size_t n);

/* Runs the row that argv[0] names, or shows what there is. */
int ctl_dispatch(struct ctl *c, const char *prefix,
	const struct subcommand *rows, size_t n);

/* ---------------------------------------------------------------- house */

/*
 * The configuration; ends with EX_CONFIG and its mistakes.  It may hold a
 * password and be root's alone: then what suratd publishes of it will do.
 */
const struct conf *ctl_conf(struct ctl *c);

/*
 * Asks a program that runs, from the sockets of asker ("surat" or
 * "sendmail"); the answers come from ctl_answer.  Both end with EX_TEMPFAIL
 * and the reason when it is not there or falls silent.
 */
int ctl_ask(struct ctl *c, const char *asker, const char *asked,
	const struct message *question);
/* The next answer; lives in the arena, its fd is the caller's. */
void ctl_answer(struct arena *a, int conversation, struct message *answer);
/* The only answer is done: silence and 0, or its text and a status. */
int ctl_done(struct ctl *c, int conversation);
/* Says what is not fine; the exit status for it. */
int ctl_status(struct status s);

/* The directory this program lies in. */
struct str ctl_directory(struct arena *a);

/* ---------------------------------------------------------------- files */

/* Whole contents; false with errno. */
bool file_read(struct arena *a, const char *path, struct str *text);
/*
 * Replaces the file in one step (written beside, synced, renamed).  mode is
 * for a new one; an old one's mode and owner are kept.  False with errno.
 */
bool file_replace(struct arena *a, const char *path, struct str text,
	unsigned mode);

/* --------------------------------------------------------------- output */

/* One JSON object, a line on standard output, from name and value. */
struct json_row;
struct json_row *json_begin(void);
void json_text(struct json_row *j, const char *name, struct str value);
void json_number(struct json_row *j, const char *name, int64_t value);
void json_end(struct json_row *j);

/* "2026-11-23 20:15:01", "-" for 0; "5m", "3h", "2d" for seconds. */
struct str text_time(struct arena *a, int64_t when);
struct str text_duration(struct arena *a, int64_t seconds);
/* Only printable ASCII goes to a terminal. */
struct str text_safe(struct arena *a, struct str s);

/* ---------------------------------------------------------- subcommands */

int ctl_run(struct ctl *c); /* run.c */
int ctl_check(struct ctl *c); /* suite.c */
int ctl_config(struct ctl *c);
int ctl_suite_status(struct ctl *c);
int ctl_reload(struct ctl *c);
int ctl_queue(struct ctl *c); /* queue.c */
int ctl_trace(struct ctl *c); /* trace.c */
int ctl_user(struct ctl *c); /* users.c */
int ctl_mailbox(struct ctl *c); /* mailbox.c */
int ctl_explain(struct ctl *c); /* explain.c */
int ctl_setup(struct ctl *c); /* setup.c */
int ctl_doctor(struct ctl *c); /* doctor.c */

int ctl_metrics(struct ctl *c); /* metrics.c */
int ctl_backup(struct ctl *c); /* backup.c */
int ctl_restore(struct ctl *c);

/* The home of a user whose mail is kept here, by the running suite's word. */
struct str user_home(struct ctl *c, struct str user);

/* One thing looked at, and whether it is well, which is returned. */
bool doctor_say(const struct ctl *c, const char *what, bool good,
	struct str why);
bool doctor_disk(const struct ctl *c, struct str path);
bool doctor_clock(const struct ctl *c);

/* What setup looks at before it writes.  probe: "HOST[:PORT]" that is asked
 * whether mail gets out, NULL for the smarthost if there is one; offline:
 * nobody is. */
struct preflight {
	struct str hostname, smarthost;
	const char *probe;
	bool offline;
};
void preflight(const struct ctl *c, const struct preflight *p);

/* This user with this password, whoever had the name before. */
void user_put(struct ctl *c, struct str name, struct str password);

/* A line of the users table for a user with this password, whose mail lies in
 * home (empty: below the mail root).  cost: of yescrypt, 1 to 11; or
 * USER_SCRAM for a secret of SCRAM-SHA-256. */
enum { USER_SCRAM = 0 };
struct str user_line(struct arena *a, struct str name, struct str password,
	struct str home, unsigned cost);
/* Is this name fit for the table? */
bool user_name_ok(struct str name);

/* Makes a key and a certificate signed by itself for these names, unless
 * there is one that holds for another day. */
void certificate_make(struct ctl *c, const char *cert, const char *key,
	struct str_list names);

/* ------------------------------------------------------------- sendmail */

/* A message on its way from a local program into the queue. */
struct letter {
	struct arena *arena;
	struct str hostname;
	struct str domain; /* for addresses without one */
	struct str sender; /* of the envelope; "" is the null sender */
	struct str author; /* full name for a missing From; may be empty */
	struct str_list rcpts;
	struct str notify, ret, envid; /* RFC 3461; may be empty */
	struct buf *content; /* CRLF lines */
};

/* Adds the addresses of a list as people write it, qualified; false when one
 * cannot be understood or there are too many. */
bool letter_rcpts(struct letter *l, struct str list);
/* "user" or "user@domain" in normal form; false when it is no address. */
bool letter_address(const struct letter *l, struct str text, struct str *out);
/*
 * Makes l->content of what the program wrote: lines ended by CRLF, a header
 * with From, Date and Message-ID, no Bcc and no Return-Path.  With extract
 * the addressees of the header are added to rcpts; false as letter_rcpts.
 */
bool letter_compose(struct letter *l, struct str raw, bool extract);
/* Into the queue at path/queue; fine: id names the message. */
struct status letter_submit(const struct letter *l, struct str sockets,
	struct str *id);

/* -bs: SMTP on standard input and output, for one program; l is the mould of
 * every message. */
int stdio_smtp(const struct letter *l, struct str sockets, int64_t max_size);

/* Queue listing, for `surat queue` and mailq. */
int queue_list(struct ctl *c, const struct msg_queue_list *filter);

/* ------------------------------------------------------------- the queue */

/*
 * Asks page after page and hands over what comes, a queue_row or queue_count
 * at a time, until the end or until fn returns false; the exit status.
 */
typedef bool (*queue_fn)(void *ctx, const struct message *m);
int queue_pages(struct ctl *c, const struct msg_queue_list *ask, queue_fn fn,
	void *ctx);
/* Options that say which recipients are meant, and the operand, an id. */
void queue_filter(struct ctl *c, struct msg_queue_list *ask);
/* For programs, and for people: all of one recipient. */
void queue_row_json(const struct msg_queue_row *r);
void queue_row_long(struct arena *a, const struct msg_queue_row *r);
void queue_message_long(struct arena *a, const struct msg_queue_row *r);

int queue_why(struct ctl *c); /* queue_why.c */
int queue_counts(struct ctl *c);
int queue_top(struct ctl *c);

#endif
