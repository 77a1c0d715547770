/* SPDX-License-Identifier: ISC */
/* The suites of common/store, and what their tests share. */
#ifndef UNIT_STORE_SUITES_H
#define UNIT_STORE_SUITES_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "store/deliver.h"
#include "store/folders.h"
#include "store/index.h"
#include "store/mailbox.h"
#include "store/notify.h"
#include "store/store.h"
#include "suites.h"

Suite *suite_uids(void);
Suite *suite_maildir(void);
Suite *suite_message(void);
Suite *suite_folders(void);
Suite *suite_mailbox(void);
Suite *suite_deliver(void);
Suite *suite_sync(void);
Suite *suite_rebuild(void);
Suite *suite_crash(void);
Suite *suite_quota(void);
Suite *suite_spool(void);
Suite *suite_check(void);

/* An account in a directory of its own, removed by home_gone. */
struct home {
	struct arena *a;
	char path[64];
	struct store *s;
};

void home_new(struct home *h);
void home_gone(struct home *h);
void home_reopen(struct home *h);
/* The same account, opened once more. */
struct store *home_other(struct home *h);

/* "cd <Maildir> && <command>"; its exit status. */
int shell(struct home *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The number it prints. */
long shell_number(struct home *h, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What linkat says (EPERM, as of a file that is somebody else's), but of files in
 * a directory with this in its path (NULL: none); 0: what it always says. */
void links_fail(int err, const char *but);
/* What pread says, -1 and this or, below zero, nothing; 0: what it always
 * says. */
void reads_fail(int err);
/* The same of so many alone. */
void reads_fail_times(int err, int times);
/* What fsync says of directories; 0: what it always says. */
void syncs_fail(int err);
/* What a foreign program does in the Maildir while the next one is made. */
void at_next_sync(struct home *h, const char *command);
/* Once, behind the next renameat2 of the store. */
void after_next_move(void (*fn)(void *ctx), void *ctx);
/* Calls of fsync until now. */
unsigned syncs_done(void);
/* Of the index's log alone. */
unsigned log_syncs_done(void);

/* The number that a statement about the index says. */
long sql_number(struct home *h, const char *sql);

/* One message each; name is its unique part. */
void deliver_one(struct store *s, struct arena *a, const char *name);
void deliver_many(struct store *s, struct arena *a, const char *prefix,
	unsigned n);
/* As jobs that may have been done before. */
void deliver_again(struct store *s, struct arena *a, const char *prefix,
	unsigned n);
struct mailbox *open_box(struct store *s, struct arena *a, const char *name);
struct uid_set set_of(struct arena *a, uint32_t first, uint32_t last);
void set_flags(struct mailbox *m, struct arena *a, uint32_t uid,
	enum flag_change how, unsigned flags, const char *keyword);
void settle(struct mailbox *m);
/* The only folder named so, fresh. */
struct folder status_of(struct store *s, struct arena *a, const char *name);
/* "uid:flags:keywords ..." of every row, flags in hex. */
struct str rows_of(struct mailbox *m, struct arena *a);
/* Reads them, whether that fails or not. */
void rows_of_or_not(struct mailbox *m, struct arena *a);
/* As if the machine had been started since, the account opened anew. */
void let_boot_pass(struct home *h);
/* Everything that can be counted agrees with what is counted. */
void check_counts(struct store *s, struct arena *a);

#define ck_fine(st) \
	do { \
		struct status st_ = (st); \
		ck_assert_msg(status_is_fine(st_), "%.*s", \
			STR_ARG(st_.text)); \
	} while (0)

#endif
