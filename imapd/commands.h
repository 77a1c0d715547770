/* SPDX-License-Identifier: ISC */
/*
 * commands: every function the table names, by the file it stands in; and
 * what these files lend each other.
 */
#ifndef IMAPD_COMMANDS_H
#define IMAPD_COMMANDS_H

#include "imapd.h"

#define COMMAND(name)                                                          \
	struct imap_reply name(struct imap_session *, const struct arg *)

/* capability.c */
COMMAND(imap_capability);
COMMAND(imap_enable);
COMMAND(imap_id);
/* "IMAP4rev1 SASL-IR ..." for the state the session is in. */
struct str capability_text(struct imap_session *s);
/* Does imap.hide keep it from this client? */
bool capability_is_hidden(const struct imap_session *s, struct str name);

/* cmd_login.c */
COMMAND(imap_noop);
COMMAND(imap_logout);
COMMAND(imap_starttls);
COMMAND(imap_login);
COMMAND(imap_authenticate);
/* Puts TLS under the connection; on failure the session is CLOSED. */
void login_start_tls(struct imap_session *s);
COMMAND(imap_unauthenticate);
/* The connection goes back to the login processes, as it stands. */
void login_leave(struct imap_session *s);
/* May a password be sent now? */
bool login_is_allowed(const struct imap_session *s);

/* Object ids of RFC 8474, of numbers. */
#define EMAIL_ID "M%016llx"
#define THREAD_ID "T%016llx"

struct folder;

/* cmd_folders.c, cmd_list.c */
/* "(MESSAGES UNSEEN ...)" as a set, at least one; and what was asked for as a
 * line. */
bool status_parse_items(const struct imap_session *s, const struct arg *list,
	unsigned *items);
void status_put(
	struct imap_session *s, const struct folder *f, unsigned items);
COMMAND(imap_create);
COMMAND(imap_delete);
COMMAND(imap_rename);
COMMAND(imap_subscribe);
COMMAND(imap_unsubscribe);
COMMAND(imap_namespace);
COMMAND(imap_status);
COMMAND(imap_list);
COMMAND(imap_lsub);

/* cmd_select.c */
COMMAND(imap_select);
COMMAND(imap_examine);
COMMAND(imap_close);
COMMAND(imap_unselect);
COMMAND(imap_check);

/* deflate.c */
COMMAND(imap_compress);
void compress_start(struct imap_session *s);

/* cmd_quota.c */
COMMAND(imap_getquota);
COMMAND(imap_getquotaroot);
COMMAND(imap_setquota);
/* After something was put in: says so when the account is nearly full
 * (RFC 9208 5.3: an untagged NO). */
void quota_warn(struct imap_session *s);

/* cmd_sort.c */
COMMAND(imap_sort);
COMMAND(imap_thread);

/* One file each */
COMMAND(imap_append);
COMMAND(imap_replace);
COMMAND(imap_fetch);
COMMAND(imap_store);
COMMAND(imap_search);
COMMAND(imap_copy);
COMMAND(imap_move);
COMMAND(imap_expunge);
COMMAND(imap_idle);

/* main.c's rows: a client to log in; a client that has. */
enum served login_serve(struct program *p, struct client *c);
const char **start_trees(struct program *p);
void start_run(struct program *p);

#endif
