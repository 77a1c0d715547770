/* SPDX-License-Identifier: ISC */
/*
 * COPY and MOVE, RFC 3501 6.4.7, RFC 6851, with COPYUID (RFC 4315).
 */
#include "commands.h"
#include "seqset.h"
#include "view.h"
#include "base/buf.h"

static struct imap_reply
refused(struct status st)
{
	struct imap_reply r = reply_status(st);
	if (str_eq(r.code, STR("NONEXISTENT")))
		r.code = STR("TRYCREATE");
	return r;
}

static struct str
copyuid(struct imap_session *s, const struct mailbox_copied *copied)
{
	struct buf *code = buf_new(s->transaction);
	buf_printf(code, "COPYUID %u ", copied->uidvalidity);
	seqset_print(&copied->from, code);
	buf_addc(code, ' ');
	seqset_print(&copied->to, code);
	return buf_str(code);
}

/* RFC 2180 4.4: what is gone cannot be copied, and the client, who thought it
 * could, is told.  What is no message to it either goes without saying. */
static struct imap_reply
nothing(uint32_t known)
{
	if (known > 0)
		return REPLY_NO("EXPUNGEISSUED", "All are gone");
	return REPLY_OK("No such messages");
}

/* Of a move COPYUID comes before the EXPUNGEs, which are news (RFC 6851 4.3).
 */
static struct imap_reply
outcome(struct imap_session *s, const struct mailbox_copied *copied,
	uint32_t known, bool move)
{
	if (copied->to.n == 0)
		return nothing(known);
	if (uid_set_count(&copied->from) < known)
		reply_untagged(s->conn, "OK [EXPUNGEISSUED] Some are gone");
	struct imap_reply r = {IMAP_OK, copyuid(s, copied),
		move ? STR("Moved") : STR("Copied")};
	if (!move)
		return r;
	reply_line(s->conn, STR(""), r);
	s->unsettled = true;
	view_news(s, true);
	return (struct imap_reply){
		IMAP_OK, view_modseq_code(s), STR("Moved")};
}

static struct imap_reply
copy(struct imap_session *s, const struct arg *args, bool move)
{
	struct uid_set uids;
	struct str name;
	struct imap_reply why;
	struct mailbox_copied copied;
	if (arg_count(args) != 2 || args->next->kind == ARG_LIST)
		return REPLY_BAD("Message set and mailbox name expected");
	if (!view_take_set(s, args, &uids, &why))
		return why;
	if (!view_take_name(s, args->next, &name))
		return REPLY_NO("CANNOT", "No such mailbox name");
	struct status st = mailbox_copy(
		s->mailbox, s->transaction, &uids, name, move, &copied);
	uint32_t known = mailbox_count_in(s->mailbox, &uids);
	if (!status_is_fine(st))
		return refused(st);
	if (!move)
		quota_warn(s);
	return outcome(s, &copied, known, move);
}

struct imap_reply
imap_copy(struct imap_session *s, const struct arg *args)
{
	return copy(s, args, false);
}

struct imap_reply
imap_move(struct imap_session *s, const struct arg *args)
{
	return copy(s, args, true);
}
