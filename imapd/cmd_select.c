/* SPDX-License-Identifier: ISC */
/*
 * SELECT, EXAMINE, CLOSE, UNSELECT, CHECK; RFC 3501 6.3.1, 6.3.2, 6.4.1,
 * 6.4.2, RFC 9051 6.3.2, RFC 3691, parameters RFC 4466 and 7162.  The states before and
 * after are the table's.
 */
#include "commands.h"
#include "resync.h"
#include "view.h"
#include "base/arena.h"
#include "base/clock.h"

/* "(CONDSTORE)", "(QRESYNC (...))"; false for what is not known, or was not
 * enabled (RFC 7162 3.2.3). */
static bool
take_parameters(
	struct imap_session *s, const struct arg *arg, struct resync *r)
{
	const struct arg *word;
	unsigned enables = 0;
	if (arg == NULL)
		return true;
	if (!arg_list(arg, &word) || arg->next != NULL)
		return false;
	for (; word != NULL; word = word->next) {
		if (arg_is(word, "CONDSTORE")) {
			enables |= IMAP_CONDSTORE;
			continue;
		}
		if (!arg_is(word, "QRESYNC") || r->wanted ||
			!(s->enabled & IMAP_QRESYNC) ||
			!resync_parse(s->transaction, word->next, r))
			return false;
		word = word->next;
	}
	s->enabled |= enables;
	return true;
}

static void
describe(struct imap_session *s, const struct arg *arg)
{
	const struct folder *f = mailbox_folder(s->mailbox);
	bool rev1 = !(s->enabled & IMAP_REV2);
	uint32_t unseen = rev1 ? mailbox_first_unseen(s->mailbox) : 0;
	view_put_flags(s);
	reply_untagged(s->conn, "%u EXISTS", mailbox_count(s->mailbox));
	view_put_recent(s);
	view_put_list(s, f->name, view_denormal(s, arg));
	if (unseen > 0 && !(s->enabled & IMAP_UIDONLY))
		reply_untagged(s->conn, "OK [UNSEEN %u] First unseen", unseen);
	reply_untagged(
		s->conn, "OK [UIDVALIDITY %u] UIDs valid", f->uidvalidity);
	reply_untagged(
		s->conn, "OK [UIDNEXT %u] Predicted next UID", f->uidnext);
	reply_untagged(s->conn, "OK [MAILBOXID (%.*s)] Its id",
		STR_ARG(f->mailbox_id));
	reply_untagged(s->conn, "OK [HIGHESTMODSEQ %llu] Highest",
		(unsigned long long)f->highestmodseq);
}

static uint32_t
uid_of(const void *ctx, uint32_t seq)
{
	return mailbox_uid(ctx, seq);
}

/* Expunges first, then flags, of what the client knows (RFC 7162 3.2.5.1,
 * 3.2.6).  Another UIDVALIDITY says that it knows nothing. */
static struct status
resynchronise(struct imap_session *s, const struct resync *r)
{
	struct mailbox *m = s->mailbox;
	struct uid_range ever = {1, mailbox_folder(m)->uidnext - 1};
	struct uid_set known = r->all ? (struct uid_set){&ever, ever.last > 0}
				      : r->known;
	struct uid_set gone, changed;
	if (!r->wanted || r->uidvalidity != mailbox_folder(m)->uidvalidity)
		return status_fine();
	struct uid_range sure = {
		1, resync_match(r, mailbox_count(m), uid_of, m)};
	gone = uid_set_minus(s->transaction, &known,
		&(struct uid_set){&sure, sure.last > 0});
	mailbox_vanished(m, s->transaction, r->modseq, &gone, &gone);
	view_put_vanished(s, &gone, true);
	struct status st =
		mailbox_changed(m, s->transaction, r->modseq, &changed);
	if (!status_is_fine(st))
		return st;
	changed = uid_set_and(s->transaction, &changed, &known);
	return view_put_rows(s, &changed, true);
}

static struct imap_reply
refuse(struct imap_session *s, struct status st)
{
	st.text = str_copy(s->transaction, st.text);
	if (s->mailbox != NULL) {
		view_close(s);
	} else {
		arena_free(s->view);
		s->view = NULL;
	}
	return reply_status(st);
}

static struct imap_reply
open_mailbox(struct imap_session *s, const struct arg *args, bool read_only)
{
	struct str name;
	struct resync r = {0};
	if (args == NULL || args->kind == ARG_LIST)
		return REPLY_BAD("Mailbox name expected");
	if (!take_parameters(s, args->next, &r))
		return REPLY_BAD("Unknown parameter");
	if (r.match_seqs.n > 0 && (s->enabled & IMAP_UIDONLY))
		return REPLY_UIDREQUIRED;
	if (s->mailbox != NULL) {
		view_close(s);
		reply_untagged(s->conn, "OK [CLOSED] Previous mailbox closed");
	}
	if (!view_take_name(s, args, &name))
		return REPLY_NO("CANNOT", "No such mailbox name");
	s->view = arena_new("view");
	struct status st =
		mailbox_open(s->store, s->view, name, read_only, &s->mailbox);
	if (!status_is_fine(st)) {
		s->mailbox = NULL;
		return refuse(s, st);
	}
	s->unsettled = true;
	describe(s, args);
	st = resynchronise(s, &r);
	if (!status_is_fine(st))
		return refuse(s, st);
	if (read_only)
		return REPLY(IMAP_OK, "READ-ONLY", "Examined");
	if (mailbox_is_read_only(s->mailbox))
		return REPLY(IMAP_OK, "READ-ONLY", "Selected, to read");
	return REPLY(IMAP_OK, "READ-WRITE", "Selected");
}

struct imap_reply
imap_select(struct imap_session *s, const struct arg *args)
{
	return open_mailbox(s, args, false);
}

struct imap_reply
imap_examine(struct imap_session *s, const struct arg *args)
{
	return open_mailbox(s, args, true);
}

/* Expunges without a word (RFC 3501 6.4.2). */
struct imap_reply
imap_close(struct imap_session *s, const struct arg *args)
{
	struct uid_range all = {1, UINT32_MAX};
	struct status st = status_fine();
	(void)args;
	if (!mailbox_is_read_only(s->mailbox))
		st = mailbox_expunge(s->mailbox, s->transaction,
			&(struct uid_set){&all, 1}, false);
	view_close(s);
	return status_is_fine(st) ? REPLY_OK("Closed") : reply_status(st);
}

struct imap_reply
imap_unselect(struct imap_session *s, const struct arg *args)
{
	(void)args;
	view_close(s);
	return REPLY_OK("Closed");
}

/* A moment for the housekeeping that otherwise waits for silence. */
struct imap_reply
imap_check(struct imap_session *s, const struct arg *args)
{
	(void)args;
	s->unsettled = !mailbox_settle(s->mailbox, clock_in(1000));
	return REPLY_OK("Checked");
}
