/* SPDX-License-Identifier: ISC */
/*
 * view: the selected mailbox as the client knows it, on the wire.
 *
 * The view itself is the store's (store/mailbox.h); here are its news as
 * untagged lines, and the client's words for messages and mailboxes.
 */
#ifndef IMAPD_VIEW_H
#define IMAPD_VIEW_H

#include "imapd.h"
#include "store/mailbox.h"

/* Sends what happened since the client was last told; EXPUNGE only where the
 * command in hand allows it (RFC 3501 7.4.1).  Ends the session when the
 * folder is no more. */
void view_news(struct imap_session *s, bool expunges);

/* "1:3,7" of a resolved set, however long it is; and "* VANISHED ..." of one,
 * unless it is empty (RFC 7162 3.2.10). */
void view_put_set(struct imap_session *s, const struct uid_set *set);
void view_put_vanished(
	struct imap_session *s, const struct uid_set *uids, bool earlier);

/* The response code that tells a client of QRESYNC how far the news sent last
 * went, else nothing (RFC 7162 3.2.7). */
struct str view_modseq_code(struct imap_session *s);

/* Closes the selected mailbox, if one is. */
void view_close(struct imap_session *s);

/* FLAGS and PERMANENTFLAGS, when the client does not know all keywords. */
void view_tell_keywords(struct imap_session *s);
void view_put_flags(struct imap_session *s);

/* \Recent and RECENT are for IMAP4rev1 alone. */
bool view_is_recent(const struct imap_session *s, uint32_t uid);
void view_put_recent(struct imap_session *s);

/* "* n FETCH (", or "* u UIDFETCH (" (RFC 9586 3.3); false when the message is
 * not in the view. */
bool view_begin_row(struct imap_session *s, uint32_t uid);

/* "* n FETCH (UID u FLAGS (...))" of each that is still there. */
struct status view_put_rows(
	struct imap_session *s, const struct uid_set *uids, bool flags);

/*
 * The messages an argument names: UIDs after the word UID, else sequence
 * numbers, of which none may be past the end (RFC 3501 9).  Those are UIDs
 * now, and there may be others in the ranges that no message has.
 */
bool view_take_set(struct imap_session *s, const struct arg *arg,
	struct uid_set *uids, struct imap_reply *why);

/* What `$` stands for: kept until the mailbox is closed; what is expunged is
 * no part of it any more. */
void view_save(struct imap_session *s, const struct uid_set *uids);
struct uid_set view_saved(struct imap_session *s);

/* A set of UIDs in which those of messages that are gone count: `*` is the
 * highest there ever was. */
bool view_take_past_set(struct imap_session *s, const struct arg *arg,
	struct uid_set *uids);

/* Sequence numbers of UIDs that all are in the view, in the same order. */
struct uid_set view_seqs(struct imap_session *s, const struct uid_set *uids);

/* Wire text of a mailbox name, or of a pattern for some, as UTF-8 in NFC:
 * modified UTF-7 until the client enables UTF-8 (RFC 6855 3).
 * False when it is not written as names are. */
bool view_decode_name(
	struct imap_session *s, struct str wire, struct str *text);
/* A mailbox name from the wire, normalised; a separator at its end is
 * dropped.  And one for the wire. */
bool view_take_name(
	struct imap_session *s, const struct arg *arg, struct str *name);
void view_put_name(struct imap_session *s, struct buf *out, struct str name);

/* For IMAP4rev2: the mailbox, and what it was called before, or by the client,
 * unless that is empty (RFC 9051 6.3.9.7). */
void view_put_list(struct imap_session *s, struct str name, struct str old);
/* The name as the client wrote it, when that is not how it is kept; or empty.
 */
struct str view_denormal(struct imap_session *s, const struct arg *arg);

#endif
