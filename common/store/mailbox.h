/* SPDX-License-Identifier: ISC */
/*
 * mailbox: one folder as a session sees it.
 *
 * A view is a promise to one client: which messages have which sequence
 * numbers, until the client has been told otherwise.  It keeps UIDs as runs
 * and what the client was last told (two modseqs), nothing per message; all
 * else is read from the index when asked for.  What other sessions, the
 * delivery agent or foreign programs change shows up in mailbox_news.
 *
 *	mailbox_open -> [ mailbox_news, scan, changes ... ]* -> mailbox_close
 *
 * What always holds:
 *  - UIDs only grow; every row whose UID is at most mailbox_last_uid is in the
 *    view, so a range of sequence numbers is a range of UIDs.
 *  - A row may be gone while the view still has its UID: a scan passes it
 *    over, message_read says so.
 *  - Changes are in the index when the call returns; file names follow in
 *    mailbox_settle, which the session calls when its client is silent.
 */
#ifndef STORE_MAILBOX_H
#define STORE_MAILBOX_H

#include "store/folders.h"
#include "store/message.h"

struct mailbox;

/* Fails with never 5.1.1 when there is no such folder, or only a name that
 * has children.  The view lives in the arena and needs mailbox_close. */
struct status mailbox_open(struct store *s, struct arena *a, struct str name,
	bool read_only, struct mailbox **out);
/* Settles a little of what is owed to file names: the client may wait for
 * this.  store_settle does the rest. */
void mailbox_close(struct mailbox *m);

/* The folder's row as of the last open or news. */
const struct folder *mailbox_folder(const struct mailbox *m);
/* As it was opened, or because nobody can write there. */
bool mailbox_is_read_only(const struct mailbox *m);

/* ---------------------------------------------------------------- view */
/* Messages in the view; UID of a sequence number (1..count, else 0) and
 * back (0 when not in the view); the highest UID in the view or 0. */
uint32_t mailbox_count(const struct mailbox *m);
uint32_t mailbox_uid(const struct mailbox *m, uint32_t seq);
uint32_t mailbox_seq(const struct mailbox *m, uint32_t uid);
uint32_t mailbox_last_uid(const struct mailbox *m);

/* Sequence numbers to UIDs, one range each; numbers past the end are left
 * out. */
struct uid_set mailbox_uids(const struct mailbox *m, struct arena *a,
	const struct uid_set *seqs);
/* The UIDs of the set that are in the view, exactly. */
struct uid_set mailbox_known(const struct mailbox *m, struct arena *a,
	const struct uid_set *uids);

/* How many messages of the view are in the set. */
uint32_t mailbox_count_in(const struct mailbox *m, const struct uid_set *uids);

/* RFC 3501 2.3.2: has this session, and no other, been told of it first? */
bool mailbox_is_recent(const struct mailbox *m, uint32_t uid);
uint32_t mailbox_recent(const struct mailbox *m);
/* Sequence number of the first message without \Seen, or 0. */
uint32_t mailbox_first_unseen(struct mailbox *m);
/* Keywords ever used here. */
struct status mailbox_keywords(struct mailbox *m, struct arena *a,
	struct str_list *out);

/* ---------------------------------------------------------------- news */
/*
 * What happened since the client was last told.  Looks at the directories
 * for foreign changes first.  Without expunges nothing leaves the view and
 * they are told another time.  Send in the order of the members.
 */
struct mailbox_news {
	bool any;
	/* Gone from the view with this call: their UIDs, and the sequence
	 * numbers they had before; highest first, each can be sent as is. */
	struct uid_set expunged;
	struct uid_set expunged_seqs;
	/* Messages now; arrived: how many of them are new. */
	uint32_t exists, arrived;
	/* UIDs whose flags others changed (not those that arrived). */
	struct uid_set changed;
	/* When any arrived or changed: as mailbox_keywords has them. */
	struct str_list keywords;
	/* HIGHESTMODSEQ the client knows once it was told all this; lower
	 * than that of other changes when expunges were held back. */
	uint64_t modseq;
	bool held_back;
	/* The folder itself was deleted or made anew: end the session. */
	bool gone;
};
struct status mailbox_news(struct mailbox *m, struct arena *a, bool expunges,
	struct mailbox_news *out);

/* What the directories said was not certain, as somebody was changing them:
 * ask for news again after MAILBOX_SOON ms. */
enum { MAILBOX_SOON = 30 };
bool mailbox_is_unsure(const struct mailbox *m);

/* Of the UIDs within, those without a message in the view that may have been
 * expunged since modseq (RFC 7162 3.2.5.1).  False when the tombstones do not
 * reach back: then all that have no message count. */
bool mailbox_vanished(struct mailbox *m, struct arena *a, uint64_t since,
	const struct uid_set *within, struct uid_set *out);

/* UIDs, among others that no message has, of those that arrived or were
 * changed since modseq. */
struct status mailbox_changed(struct mailbox *m, struct arena *a, uint64_t since,
	struct uid_set *out);

/* ---------------------------------------------------------------- scan */
/*
 * Rows in ascending UID order, streamed:
 *
 *	struct mailbox_scan c = {.uids = set, .want = WANT_SIZES};
 *	while (mailbox_next(m, &c, &row)) ...
 *	st = mailbox_scan_end(m, &c);
 *
 * Texts of a row hold until the next call.  mask and value: only rows with
 * (flags & mask) == value; since: only rows with modseq > since.  One scan at
 * a time per mailbox; other calls on the mailbox between are fine.
 * mailbox_scan_end may be called early and says whether anything failed.
 */
struct mailbox_scan {
	struct uid_set uids;
	unsigned want; /* enum message_want */
	/* With WANT_FILE: mailbox_read_row will read each; the files of some
	 * are opened ahead. */
	bool reads;
	unsigned mask, value;
	uint64_t since;
	/* Out: the UID of one that may have been passed over, as its file is
	 * there and cannot be read (mailbox_read says why), else 0. */
	uint32_t unread;
	/* the room's own */
	size_t range;
	uint32_t next;
	unsigned rows;
	uint32_t complete; /* up to here all rows are, of that index */
	unsigned generation;
	void *statement;
	int failed;
};
bool mailbox_next(struct mailbox *m, struct mailbox_scan *c,
	struct message_row *row);
struct status mailbox_scan_end(struct mailbox *m, struct mailbox_scan *c);

/* One row; false when it is gone.  Texts in the arena. */
bool mailbox_row(struct mailbox *m, struct arena *a, uint32_t uid,
	unsigned want, struct message_row *row);

/*
 * The octets of a message, read as a whole, for as long as the arena lives,
 * whatever becomes of the file.  Whoever renamed the file meanwhile is followed.  Never 5.6.0
 * when there is no such file any more, or another one in its place.  The second knows the file's name from a row that was read
 * with WANT_FILE, which saves asking for it.
 */
struct status mailbox_read(struct mailbox *m, struct arena *a, uint32_t uid,
	struct message_file *out);
struct status mailbox_read_row(struct mailbox *m, struct arena *a,
	const struct message_row *row, struct message_file *out);

/* The file of a row (WANT_FILE), open for reading, for who passes a message
 * on in pieces; the caller closes it.  -1 with errno: with ENOENT the row is
 * behind what somebody else did, and mailbox_read finds out what. */
int mailbox_file(struct mailbox *m, struct arena *a,
	const struct message_row *row);

/* ------------------------------------------------------------- changes */
enum flag_change { FLAGS_ADD, FLAGS_REMOVE, FLAGS_REPLACE };

struct mailbox_store {
	enum flag_change how;
	unsigned flags;
	struct str_list keywords; /* valid atoms; case-insensitive */
	uint64_t unchanged_since; /* UINT64_MAX: no condition */
	/* What came of it: */
	uint64_t modseq; /* of the rows that changed, 0 for none */
	struct uid_set changed; /* rows that are different now */
	struct uid_set modified; /* refused by unchanged_since */
	uint64_t met; /* rows there are, of those asked for */
};
/* News will not report these changes to this session, unless others have
 * changed one of the messages too since it was last told. */
struct status mailbox_store(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, struct mailbox_store *how);

/* Those of uids with \Deleted (force: all).  The files go afterwards; the
 * client hears of it by the next news with expunges. */
struct status mailbox_expunge(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, bool force);

struct mailbox_copied {
	uint32_t uidvalidity;
	struct uid_set from, to; /* matching, in order */
};
/* All or nothing; durable when it returns.  Never 5.1.1 when there is no such
 * folder.  Moving expunges here what arrived there, in one transaction. */
struct status mailbox_copy(struct mailbox *m, struct arena *a,
	const struct uid_set *uids, struct str target, bool move,
	struct mailbox_copied *out);

/*
 * Lets file names follow flags, removes files of expunged messages, moves
 * new/ to cur/.  Works until the deadline (base/clock); true when nothing is
 * left.  To be called when the client is silent, then again while false.
 */
bool mailbox_settle(struct mailbox *m, int64_t deadline);
/* The same for what a new index has to learn from the files: nobody need wait
 * for it later. */
bool mailbox_describe(struct mailbox *m, int64_t deadline);

/* -------------------------------------------------------------- append */
/*
 * New messages from the client (RFC 3501 6.3.11, RFC 3502: one or more, all
 * or none):
 *
 *	append_begin -> [ append_message, append_write*, append_end ]+
 *		-> append_commit
 *
 * Octets come as sent; they are stored with LF line ends.  Nothing is visible
 * before the commit, which syncs once.  append_abort drops everything and may
 * be called at any time, also by the end of the arena, which must not outlive
 * the store; a commit that fails has dropped everything.
 */
struct append;

struct append_message {
	unsigned flags;
	struct str_list keywords;
	int64_t date; /* seconds since 1970 */
	int zone; /* minutes east */
};

struct append_result {
	uint32_t uidvalidity;
	struct uid_set uids; /* in the order given */
};

/* Never 5.1.1 when there is no such folder. */
struct status append_begin(struct store *s, struct arena *a, struct str name,
	struct append **out);
/* Flags and keywords are copied. */
struct status append_message(struct append *p, const struct append_message *m);
struct status append_write(struct append *p, struct str octets);
struct status append_end(struct append *p);
/* The commit also expunges that message of the mailbox, in one transaction (RFC
 * 8508); never 5.6.0 when it is gone by then. */
void append_replaces(struct append *p, struct mailbox *m, uint32_t uid);
struct status append_commit(struct append *p, struct append_result *out);
void append_abort(struct append *p);

#endif
