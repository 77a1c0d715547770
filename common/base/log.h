/* SPDX-License-Identifier: ISC */
/*
 * log: one event, one line.
 *
 *	smtpd[812]: 3k9d accepted queue=4Xb2 from=<a@b> size=1204
 *
 * A line is the id of the session or message it belongs to, the event, then
 * key=value.  The session id stands first until a queue id exists, both
 * appear once together, then the queue id alone: grep of one id tells the
 * whole story across processes.  Values are quoted when they need it; every
 * octet that is not printable ASCII is escaped as \xHH, long values are cut
 * with "...".  Secrets are never handed to the log.
 *
 * Lines go to standard error (foreground), or syslog, as text or as one JSON
 * object a line.  A log that cannot be written never blocks mail.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/str.h"

#include <syslog.h>

enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };
enum log_format { LOG_AS_TEXT, LOG_AS_JSON };

struct log_field {
	const char *key; /* NULL ends the list */
	struct str text;
	int64_t number;
	bool is_number;
};

#define LOG_STR(key, s) ((struct log_field){(key), (s), 0, false})
#define LOG_CSTR(key, c) ((struct log_field){(key), str_from(c), 0, false})
#define LOG_NUM(key, n) \
	((struct log_field){(key), {NULL, 0}, (int64_t)(n), true})

/* ident is the program's name, not copied.  Until called: text, stderr. */
void log_open(const char *ident, enum log_target to, enum log_format as);

/* Lines below this importance (LOG_ERR .. LOG_DEBUG) are not written. */
void log_level(int level);

void log_write(int level, struct str id, const char *event,
	const struct log_field *fields);

/*
 * For a program that does much in one turn: lines are written together, at
 * log_flush, when a few thousand octets are there, or with the first that is a
 * warning or worse.  What is killed in between loses them.  Until it is told
 * otherwise each line is written at once; so it is again in a forked child.
 * One thread logs.
 */
void log_gather(bool on);
void log_flush(void);

/* log_info(id, "accepted", LOG_STR("from", s), LOG_NUM("size", n)); an id
 * with nothing in it is written as "-". */
#define log_at(level, id, event, ...) \
	log_write((level), (id), (event), \
		(const struct log_field[]){__VA_ARGS__ __VA_OPT__(,) \
			{NULL, {NULL, 0}, 0, false}})
#define log_error(id, event, ...) log_at(LOG_ERR, id, event, __VA_ARGS__)
#define log_warn(id, event, ...) log_at(LOG_WARNING, id, event, __VA_ARGS__)
#define log_info(id, event, ...) log_at(LOG_INFO, id, event, __VA_ARGS__)
#define log_debug(id, event, ...) log_at(LOG_DEBUG, id, event, __VA_ARGS__)

#define LOG_NO_ID ((struct str){NULL, 0})

/*
 * The world is broken (no memory, our own configuration unreadable, a peer
 * process gone): one line and exit status 75.  The parent restarts us with
 * back-off.  why may be NULL; errno is added when it is not 0.
 */
void fatal(const char *what, const char *why) __attribute__((noreturn));

#endif
